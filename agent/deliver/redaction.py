"""Secrets leave out of what leaves: passwords and tokens in arguments become `***`.

Here, at the door of the spool, and nowhere before: what is judged is judged as it
was.  `agent/deliver/secrets.py` has what is taken for a secret.

Blind to: a secret that has no name before it and no form of its own (`echo s3cret |
chpasswd`), one that was cut in two where the kernel's record had no room, and what
is in the path or the name of a file.  What is no secret and looks like one goes, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from agent.counters import Counters
from agent.deliver.secrets import HINTS
from agent.deliver.secrets import LOGIN
from agent.deliver.secrets import LOGINS
from agent.deliver.secrets import OPTION
from agent.deliver.secrets import TEXTS
from agent.deliver.secrets import Options
from agent.deliver.secrets import options_of
from agent.errors import ConfigError
from agent.model import Event
from agent.model import Evidence
from agent.model import Finding
from agent.model import ModuleLoad
from agent.model import Mount
from agent.model import ProcessExec

STAND_IN = "***"
FLAG = "redacted"
"""Among the flags of an event that does not say all it could."""
_REGEX_BYTES = 1 << 18  # what one may take, compiled and with the states it has been in: as for rules
_WORD = re.compile(r"(?:\"[^\"]*\"|'[^']*'|[^\s\"']+)+")
_BLANK = re.compile(r"\s")  # in a command line, and in no name with its value
_BREAKS = ";|&(`"
_BREAK_AS_SLASH = str.maketrans(dict.fromkeys(_BREAKS, "/"))
_UNFILLED = ("$", "`", '"$', '"`')
"""How what a shell has yet to fill in begins, in a command line; in an argument by itself it is a secret's own `$`."""


class Redaction:
    """Replaces what is taken for a secret, and counts it."""

    def __init__(self, counters: Counters, patterns: Sequence[str] = ()) -> None:
        """`patterns`: of the operator's own, in RE2's words. Raises ConfigError for one that RE2 does not take."""
        self._counters = counters
        self._own = [_compiled(pattern) for pattern in patterns]

    def event(self, event: Event) -> Event:
        """Return the event as it may leave."""
        if isinstance(event, ProcessExec):
            return self._exec(event)
        if isinstance(event, Mount):
            return self._replaced(event, source=event.source, value=event.value)
        if isinstance(event, ModuleLoad):
            return self._replaced(event, parameters=event.parameters)
        return event

    def finding(self, finding: Finding) -> Finding:
        """Return the finding as it may leave."""
        evidence = self._evidence(finding.evidence)
        return msgspec.structs.replace(finding, title=self.text(finding.title), evidence=evidence)

    def text(self, text: str) -> str:
        """Return a text without secrets; a command line is one, too."""
        (redacted,) = self._texts([text])
        return redacted

    def _exec(self, event: ProcessExec) -> ProcessExec:
        given = (*event.args, *event.args_tail)
        clean = self._texts(given)
        if clean == given:
            return event
        parts = len(event.args)
        flags = (*event.flags, FLAG)
        return msgspec.structs.replace(event, args=clean[:parts], args_tail=clean[parts:], flags=flags)

    def _replaced(self, event: Event, **texts: str | None) -> Event:
        clean = {name: None if text is None else self.text(text) for name, text in texts.items()}
        if clean == texts:
            return event
        changed: Any = {**clean, "flags": (*event.flags, FLAG)}
        return msgspec.structs.replace(event, **changed)

    def _evidence(self, evidence: Evidence) -> Evidence:
        signals = tuple(msgspec.structs.replace(signal, reason=self.text(signal.reason)) for signal in evidence.signals)
        rule = evidence.rule
        if rule is not None:
            rule = msgspec.structs.replace(rule, matched=tuple(map(self.text, rule.matched)))
        return msgspec.structs.replace(
            evidence,
            reason=self.text(evidence.reason),
            command_line_example=evidence.command_line_example and self.text(evidence.command_line_example),
            mount_source=evidence.mount_source and self.text(evidence.mount_source),
            signals=signals,
            rule=rule,
        )

    def _texts(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Return arguments, or texts, without secrets."""
        given = tuple(texts)
        small = "\n".join(given).lower()
        clean, count = given, 0
        if any(hint in small for hint in HINTS):
            clean, count = _known(given)
        for own in self._own:
            clean, more = _each(clean, own)
            count += more
        if count:
            self._counters.add("deliver.redacted_values", count)
        return clean


Substitute = Callable[[str], tuple[str, int]]
"""Returns a text without secrets, and how many those were."""


def _known(given: tuple[str, ...]) -> tuple[tuple[str, ...], int]:
    """Return arguments without what is known as a secret, and how many those were."""
    clean, count = _arguments(given)
    together = "\n".join(given)  # one look for all arguments: in most there is nothing of the kind
    found = [substitute for pattern, substitute in _SUBSTITUTES if pattern.search(together)]
    for substitute in (_inner, *found):
        clean, more = _each(clean, substitute)
        count += more
    return clean, count


def _each(texts: tuple[str, ...], substitute: Substitute) -> tuple[tuple[str, ...], int]:
    found = [substitute(text) for text in texts]
    return tuple(text for text, _ in found), sum(count for _, count in found)


def _inner(text: str) -> tuple[str, int]:
    """Redact the arguments of a command line that is one argument: of `sh -c`."""
    words = list(_WORD.finditer(text))
    if len(words) < 2:  # noqa: PLR2004  # a program and an option
        return text, 0
    clean, count = _arguments(tuple(_unquoted(word.group()) for word in words), _UNFILLED)
    clean, more = _each(clean, _inner)  # of a shell's command in a shell's command; quotes go two deep
    count += more
    if not count:
        return text, 0
    pieces, at = [], 0
    for word, instead in zip(words, clean, strict=True):
        quoted = word.group()
        plain = _unquoted(quoted)
        pieces += [text[at : word.start()], quoted if instead == plain else quoted.replace(plain, instead)]
        at = word.end()
    return "".join((*pieces, text[at:])), count


def _unquoted(word: str) -> str:
    """Return a word without the quotes around it; one that is quoted in part as it is."""
    return word[1:-1] if word[0] in "\"'" and word.find(word[0], 1) == len(word) - 1 else word


def _arguments(args: tuple[str, ...], unfilled: tuple[str, ...] = ()) -> tuple[tuple[str, ...], int]:
    """Redact by the program and the option before, but for what begins as `unfilled`."""
    clean: list[str] = []
    count = 0
    for arg, (options, before) in zip(args, _context(args), strict=True):
        redacted = _by_option(arg, options, before, unfilled)
        clean.append(redacted)
        count += redacted != arg
    return tuple(clean), count


def _context(args: tuple[str, ...]) -> Iterator[tuple[Options, str]]:
    """Yield of each argument whose options it may be one of, and the argument before it."""
    options, before, login = Options(), "", False
    for arg in args:
        yield options, before
        name = arg.rstrip(_BREAKS).translate(_BREAK_AS_SLASH).rpartition("/")[2]
        if before.endswith(tuple(_BREAKS)):
            options, login = Options(), False
        if not before.startswith("--") or before == "--":  # else it is what an option says: `--name mysql`
            login = login or LOGINS.fullmatch(name) is not None
            options = LOGIN if login and arg == "login" else options_of(name) or options
        before = arg


def _by_option(arg: str, options: Options, before: str, unfilled: tuple[str, ...]) -> str:
    if arg.startswith(unfilled):
        return arg
    if OPTION.fullmatch(before) and arg and not arg.startswith("-"):
        return STAND_IN
    before = _alone(before, options.flags)
    if before in options.apart:
        return STAND_IN
    if before in options.pairs:
        return _paired(arg)
    alone = _alone(arg, options.flags)
    cluster = arg[: 1 + len(arg) - len(alone)]  # what is before the option's letter, its dash included
    for option in options.pairs:
        if not option.startswith("--") and alone.startswith(option) and not arg.startswith("--"):
            return cluster + option[1:] + _paired(alone.removeprefix(option))
    for option in options.glued:
        given = alone[len(option) :] if alone.startswith(option) else ""
        if given and not given.startswith(unfilled):
            return cluster + option[1:] + STAND_IN
    return arg


def _alone(arg: str, flags: str) -> str:
    """Return `-uX` for `-sSuX`, where `s` and `S` are flags; any other argument as it is."""
    if not arg.startswith("-") or arg.startswith("--"):
        return arg
    return "-" + (arg[1:].lstrip(flags) or arg[1:])


def _paired(arg: str) -> str:
    """Return `USER:***` for `USER:SECRET`; a user alone stays."""
    found = re.fullmatch(r"([^:%]*[:%]).+", arg, re.DOTALL)
    return f"{found[1]}{STAND_IN}" if found else arg


def _substitute_of(pattern: re.Pattern[str]) -> Substitute:
    def substitute(text: str) -> tuple[str, int]:
        clean = pattern.sub(partial(_replaced, _UNFILLED if _BLANK.search(text) else ()), text)
        # A secret with *** in it counts for less than it is, and one at least.
        return clean, max(clean.count(STAND_IN) - text.count(STAND_IN), int(clean != text))

    return substitute


def _replaced(unfilled: tuple[str, ...], found: re.Match[str]) -> str:
    plain = found.group(1).strip("\"'")
    if not plain or plain.startswith((STAND_IN, *unfilled)):
        return found.group()
    begins, ends = found.start(1) - found.start(), found.end(1) - found.start()
    return f"{found.group()[:begins]}{STAND_IN}{found.group()[ends:]}"


_SUBSTITUTES = tuple((pattern, _substitute_of(pattern)) for pattern in TEXTS)


def _compiled(pattern: str) -> Substitute:
    """Return what replaces the first group of an operator's pattern, or all of it where it has none."""
    import re2  # noqa: PLC0415  4 MiB that an agent without such a pattern does not need

    options = re2.Options()
    options.max_mem = _REGEX_BYTES
    options.log_errors = False
    try:
        compiled = re2.compile(pattern.encode(), options)
    except re2.error as error:
        said = error.args[0] if error.args else "not understood"
        told = said.decode() if isinstance(said, bytes) else said
        raise ConfigError(f"privacy.patterns: {pattern!r} is no expression of RE2: {told}") from error
    group = 1 if compiled.groups else 0

    def substitute(text: str) -> tuple[str, int]:
        raw = text.encode("utf-8", "backslashreplace")
        spans = [found.span(group) for found in compiled.finditer(raw)]
        spans = [(begins, ends) for begins, ends in spans if 0 <= begins < ends]
        if not spans:
            return text, 0
        begun = [0, *(ends for _, ends in spans)]
        ended = [*(begins for begins, _ in spans), len(raw)]
        kept = (raw[begin:end] for begin, end in zip(begun, ended, strict=True))
        return STAND_IN.encode().join(kept).decode("utf-8", "replace"), len(spans)

    return substitute
