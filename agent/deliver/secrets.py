"""What a secret looks like in the arguments of a program.

Three ways to know one, each a table: by itself (a token has a prefix that its maker
chose), by the name before it (`password=`), and by the program and option before it
(`mysql -pX`).  The prefixes are those that the makers publish for secret scanning
(https://docs.github.com/en/code-security/secret-scanning, AWS's and Slack's pages on
their keys, RFC 7519 for JWT).

No expression goes back over what it took: each begins with a literal where a run of
its own letters begins, so that a hostile argument of 64 KiB costs a pass, not its square.
"""

from __future__ import annotations

import re
from typing import NamedTuple

HINTS = (
    "pass", "pwd", "secret", "token", "key", "credential", "bearer", "authorization", "cookie", "@",
    "akia", "asia", "abia", "acca", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "gldt-", "glrt-",
    "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "gloas-", "glsoat-", "xox", "xapp-", "eyj", "sk_live", "sk_test",
    "rk_live", "rk_test", "sk-", "aiza", "npm_", "pypi-", "hvs.", "mysql", "mariadb", "redis-cli", "mongo", "login",
    "ldap", "ipmitool", "sqlcmd", "bcp", "isql", "tsql", "rdp", "rdesktop", "7z", "zip", "rar", "snmp", "curl", "smb",
    "rpcclient", "private", "sharedaccess",
)  # fmt: skip
"""One of these, in small letters, is in every command line that holds a secret known here: the rest costs no more."""

_NAMES = (
    r"pass(?:word|wd|phrase|code)|secret|(?:auth|access|api|session|refresh|id|bot|private|deploy)?[_-]?token"
    r"|(?:api|access|secret|account|shared|storage|master|encryption|signing|license)[_-]?key"
    r"|mysql_pwd|(?:--?|_)pass|sharedaccesssignature"
)
_VALUE = r"""(?P<_>"[^"]*"?|'[^']*'?|[^\s"'&;|<>]+)"""

TEXTS = tuple(
    re.compile(one.replace("(?P<_>", "("), (re.IGNORECASE if cased == "any" else 0) | re.MULTILINE)
    for cased, one in (
        # The userinfo of an address: https://www.rfc-editor.org/rfc/rfc3986#section-3.2.1
        ("any", r"://[^\s/:@'\"]*:(?P<_>[^\s/'\"]+)@"),
        # A header, to the end of what it holds.
        ("any", r"\b(?:proxy-)?authorization[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?(?:[a-z]+[ \t]+)?(?P<_>[^\s\"']+)"),
        ("any", r"\bcookie[\"']?:[ \t]{0,4}[\"']?(?P<_>[^\r\n\"']+)"),
        ("any", r"\bbearer[ \t]{1,4}(?=[\w.~+/=-]*\d)(?P<_>[\w.~+/=-]{12,})"),
        # A name and its value, as a shell, a header, JSON or YAML writes it.
        ("any", rf"(?:{_NAMES})(?:=|[\"']?:[ \t]{{1,4}}|[\"'][ \t]{{0,4}}[:=][ \t]{{0,4}}){_VALUE}"),
        # Of a database's string, and no directory; SQL Server takes 128 characters, and bounded it costs no square.
        ("", r"\b(?:PWD|Pwd|pwd);?=(?P<_>(?![/.~$\"'])[^\s\"'&;|<>/]{1,128})(?=;|$)"),
        ("any", r"(?:^|\s)pass:(?P<_>\S+)"),  # openssl-passphrase-options(1)
        # What gives itself away.
        ("", r"(?<![\w-])(?:AKIA|ASIA|ABIA|ACCA)(?P<_>[A-Z2-7]{16})(?![\w-])"),
        ("", r"(?<![\w-])gh[pousr]_(?P<_>[A-Za-z0-9]{30,255})"),
        ("", r"(?<![\w-])github_pat_(?P<_>\w{22,255})"),
        ("", r"(?<![\w-])gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat)-(?P<_>[\w.-]{20,300})"),
        ("", r"(?<![\w-])(?:xox[abceoprs]|xapp)-(?P<_>[A-Za-z0-9-]{10,300})"),
        ("", r"(?<![\w-])eyJ(?P<_>[\w-]{5,}\.eyJ[\w-]{5,}\.[\w-]*)"),  # `{"` in base64, twice
        ("", r"(?<![\w-])(?:sk|rk)_(?:live|test)_(?P<_>[A-Za-z0-9]{16,255})"),
        ("", r"(?<![\w-])sk-(?P<_>(?=[\w-]*\d)[\w-]{20,300})"),
        ("", r"(?<![\w-])AIza(?P<_>[\w-]{35})(?![\w-])"),
        ("", r"(?<![\w-])npm_(?P<_>[A-Za-z0-9]{36})(?!\w)"),
        ("", r"(?<![\w-])pypi-(?P<_>AgE[\w-]{40,})"),
        ("", r"(?<![\w-])hvs\.(?P<_>[\w-]{20,})"),
        ("", r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?P<_>[\s\S]+?)(?:-----END|\Z)"),
    )
)
"""What a secret is by itself or by the name before it: the first group is the secret.

One that is in an argument is also found in all arguments with a line for each."""

OPTION = re.compile(
    r"--?(?:[a-z0-9]+[-_])*(?:pass|passwd|password|passphrase|passcode|storepass|keypass|token|api-?key|access-?key"
    r"|secret-?(?:access-?)?key|(?:client|app|consumer|api)[-_]secret|oauth2-bearer)",
    re.IGNORECASE,
)
"""An option whose value is the next argument."""


class Options(NamedTuple):
    """The options of a program that take a secret."""

    glued: tuple[str, ...] = ()
    """With the secret right behind: `-pX`."""
    apart: tuple[str, ...] = ()
    """With the secret as the next argument: `-p X`."""
    pairs: tuple[str, ...] = ()
    """With `USER:SECRET` or `USER%SECRET`, glued or apart."""
    flags: str = ""
    """Letters of options without a value, which may stand before one of these: `-sSu`."""


_CURL_FLAGS = "#:012346BGIJLMNORSVZafgijklnpqsv"  # curl(1)

PROGRAMS = (
    (re.compile(r"(?:mysql|mariadb)[a-z_-]*[0-9.]*"), Options(glued=("-p",))),  # -p alone asks; the next is a database
    (re.compile(r"sshpass"), Options(glued=("-p",), apart=("-p",))),
    (re.compile(r"7z[arz]?|(?:un)?rar"), Options(glued=("-p",))),
    (re.compile(r"(?:un)?zip"), Options(glued=("-P",), apart=("-P",), flags="0123456789TXDjmnoqruvy")),
    (re.compile(r"curl"), Options(pairs=("-u", "--user", "-U", "--proxy-user"), flags=_CURL_FLAGS)),
    (re.compile(r"redis-cli"), Options(apart=("-a",))),
    (re.compile(r"mongo[a-z]*"), Options(glued=("-p",), apart=("-p",))),
    (re.compile(r"ldap[a-z]+"), Options(glued=("-w",), apart=("-w",), flags="ACLMNQZcnrvx")),
    (re.compile(r"ipmitool"), Options(glued=("-P",), apart=("-P",))),
    (re.compile(r"(?:sqlcmd|bcp|isql|tsql)"), Options(glued=("-P",), apart=("-P",))),
    (re.compile(r"smbclient|smbget|rpcclient"), Options(pairs=("-U", "--user"))),
    (re.compile(r"snmp[a-z]+"), Options(glued=("-A", "-X"), apart=("-A", "-X"))),
    (re.compile(r"(?:x|wl)freerdp[0-9]?"), Options(glued=("/p:",))),
    (re.compile(r"rdesktop"), Options(glued=("-p",), apart=("-p",))),
    (re.compile(r"ssh|scp|sftp|rsync|su|sh|bash"), Options()),  # what comes behind is not of the program before
)
"""Programs by their names, with what in their manuals takes a secret."""
_ANY_PROGRAM = re.compile("|".join(name.pattern for name, _ in PROGRAMS))  # one look for what nearly no word is

LOGINS = re.compile(r"(?:docker|podman|nerdctl|buildah|skopeo|helm|oras|crane|az|cf|oc|gcloud)")
"""Programs that take `-p X` where `login` is one of their arguments."""
LOGIN = Options(glued=("-p",), apart=("-p",))


def options_of(program: str) -> Options | None:
    """Return what takes a secret with a program of this name; None for no program of these."""
    if not _ANY_PROGRAM.fullmatch(program):
        return None
    return next(options for name, options in PROGRAMS if name.fullmatch(program))
