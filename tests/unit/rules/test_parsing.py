"""What a file of rules comes to, and how it is refused: line, column, and what is allowed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Severity
from agent.rules import parsing
from agent.rules.directory import read
from agent.rules.parsing import parse
from tests.unit.rules.made import RULE
from tests.unit.rules.made import complaint
from tests.unit.rules.made import parsed
from tests.unit.rules.made import text

EXAMPLE = Path(__file__).parents[3] / "docs" / "rules.example.toml"
PLACED = re.compile(r"my\.toml:(\d+):(\d+): .+", re.DOTALL)
GOOD = """\
[lists]
shells = ["/bin/sh", "/bin/dash"]

[[rule]]
name = "Shell"
description = "A shell."
severity = "low"
kinds = ["process_exec"]
attack = "T1059.004"

[rule.when]
path = { list = "shells" }
any = [
    { process.user = "root" },
    { uid = 0, ancestor = { path = { glob = "*/sshd" } } },
]

[[rule.except]]
reason = "ours"
parent.path = "/usr/bin/tool"

[[rule]]
name = "Other"
description = "Another."
severity = "high"
kinds = ["file_open", "file_unlink"]
enabled = false
dry_run = true
company = true
when.path.prefix = "/etc/"
"""


def test_a_file_says_what_it_says() -> None:
    """Every key of a rule, and what it is when it is not there."""
    shell, other = parse(GOOD, "my.toml").rules

    assert ("Shell", "A shell.", Severity.LOW, "T1059.004") == (
        shell.name,
        shell.description,
        shell.severity,
        shell.attack,
    )
    assert (True, False, False) == (shell.enabled, shell.dry_run, shell.company)
    assert ("my.toml", 4, ("process_exec",)) == (shell.file, shell.line, shell.kinds)
    assert (False, True, True, None) == (other.enabled, other.dry_run, other.company, other.attack)
    assert ("my.toml", 22, ("file_open", "file_unlink")) == (other.file, other.line, other.kinds)


def test_the_examples_are_rules() -> None:
    """What ships to be copied is understood, and is quiet until somebody makes it his own."""
    found = read(EXAMPLE)

    assert () == found.errors
    assert len(found.rules) > 10
    assert all(rule.dry_run and rule.attack for rule in found.rules)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("path = { list", "pth = { list", "12:1: process_exec has no field pth; did you mean path?"),
        ('"shells" }', '"shell" }', "12:10: no such list: 'shell'; this file has shells"),
        ("process.user", "process.usr", "14:15: process_exec has no field process.usr; did you mean process.user?"),
        ("process.user", "proces.user", "14:7: process_exec has no field proces; did you mean process?"),
        ("uid = 0", 'uid = "root"', "15:7: uid must be a whole number, not root"),
        ("uid = 0", "uid = true", "15:7: uid must be a whole number, not True"),
        ('"root"', "0", "14:15: process.user must be a text or a list of texts, not 0"),
        ("glob =", "globe =", "15:38: ancestor.path has no operator globe; it is a text"),
        ("glob =", "cidr =", "15:38: ancestor.path has no operator cidr; it is a text"),
        ('glob = "*/sshd"', "regex = '(x'", "15:38: ancestor.path: bad regex: missing ): (x"),
        ('glob = "*/sshd"', "regex = '(a)\\1'", "15:38: ancestor.path: bad regex: invalid escape sequence"),
        ('{ glob = "*/sshd" }', "{}", "15:29: ancestor.path = {} says nothing; it is a text"),
        ('["process_exec"]', '["proces_exec"]', "8:1: no such kind of event: proces_exec; did you mean process_exec?"),
        ('["process_exec"]', "[]", "8:1: kinds must name at least one kind of event"),
        ('["file_open", "file_unlink"]', '["canary"]', "26:1: no such kind of event: canary"),
        ('"file_unlink"', '"file_rename"', "30:6: file_rename has no field path; did you mean"),
        ('"low"', '"hihg"', "7:1: severity must be one of low, medium, high, not hihg"),
        ('"T1059.004"', '"1059"', "9:1: 1059 is no ATT&CK technique, such as T1059 or T1059.004"),
        ('name = "Other"', 'name = "Shell"', "23:1: the name Shell is that of the rule in line 4"),
        ('name = "Other"', 'name = "a/b"', "23:1: a/b is no name: a letter, then letters"),
        ('name = "Other"\n', "", "22:1: this rule has no name"),
        ("severity", "severty", "7:1: unknown key severty; did you mean severity?"),
        ("enabled = false", "enabled = 0", "27:1: enabled must be true or false, not 0"),
        ('reason = "ours"\n', "", "18:8: this rule has no reason"),
        ('parent.path = "/usr/bin/tool"\n', "", "18:8: an exception needs a condition"),
        ("parent.path", "parent.pth", "20:8: process_exec has no field parent.pth; did you mean parent.path?"),
        ("any = [", "any = [ 1,", "13:1: 0 must be a table of conditions, and not empty"),
        ("[lists]", "[list]", "1:2: unknown key list; a file has [[rule]] and [lists]"),
        ('["/bin/sh", "/bin/dash"]', '"/bin/sh"', "2:1: shells must be a list of texts, not /bin/sh"),
        ('["/bin/sh", "/bin/dash"]', '["/bin/sh", 1]', "12:10: path must be a text or a list of texts, not 1"),
        ('["/bin/sh", "/bin/dash"]', '["/bin/sh", ""]', "12:10: a text of path has 1 to 1024 characters, not 0"),
        ('"A shell."', '"A shell.', "6:24: Illegal character '\\n'"),
        ("[rule.when]", "[[rule.when]]", "11:8: when must be a table of conditions, and not empty"),
    ],
)
def test_a_mistake_is_told_with_its_place(old: str, new: str, expected: str) -> None:
    """Whoever edits a rule reads where the mistake is, and what would be right."""
    changed = GOOD.replace(old, new, 1)
    assert changed != GOOD

    found = parse(changed, "my.toml")

    assert found.errors[0].startswith(f"my.toml:{expected}"), found.errors
    assert 1 == len(found.errors)


def test_all_mistakes_are_told_at_once() -> None:
    """Nobody mends a file one run at a time; and a file of nothing but mistakes does not fill the log."""
    bad = text('pth = "x"')

    assert 3 == len(parse(bad * 3, "my.toml").errors)
    assert parsing.ERRORS_MAX == len(parse(bad * 100, "my.toml").errors)


@pytest.mark.parametrize(
    "when",
    [
        "",
        'path = { any = ["x"] }',
        "any = []",
        "any = {}",
        "not = 1",
        "exists = true",
        "path.exists = 1",
        "memfd = 1",
        "memfd = { min = 1 }",
        "uid = { min = [1] }",
        "uid = { bits = 1.5 }",
        "uid = 1e400",
        f"uid = {1 << 65}",
        'path = ""',
        f'path = "{"x" * 1025}"',
        "path = []",
        f"path = {['x'] * 1001}",
        "path = { ignore_case = 1 }",
        'path = { list = ["x"] }',
        'path.x.y = "1"',
        '"path.x" = "1"',
        '"" = 1',
        "process = 1",
        "process = {}",
        'ancestor = "x"',
        "remote_address = 1",
        "path.regex = '(a{1000}){1000}'",
        "not = { " * 20 + "uid = 1" + " }" * 20,
    ],
)
def test_what_no_condition_can_be_is_refused(when: str) -> None:
    """Each with a place, and none with a traceback."""
    assert PLACED.fullmatch(complaint(when))


@pytest.mark.parametrize("value", ['"10.0.0.0/33"', '"example.org"', '"10.0.0.1/8"'])
def test_a_network_must_be_one(value: str) -> None:
    """A network with bits of a host is a slip of the pen, and not guessed at."""
    assert "does not appear to be" in (found := complaint(f"remote_address.cidr = {value}", kinds='"net_connect"')) or (
        "has host bits set" in found
    )


@pytest.mark.parametrize("key", ["name", "description", "severity", "kinds"])
def test_what_a_rule_must_have(key: str) -> None:
    """A rule without a name, a sentence, a severity or a kind is none."""
    assert f"my.toml:1:1: this rule has no {key}" == complaint("uid = 1", **{key: None})


def test_a_rule_must_have_a_condition() -> None:
    """A rule about every event there is would be a mistake."""
    assert ("my.toml:1:1: this rule has no when",) == parse(RULE, "my.toml").errors


def test_what_is_too_much_is_refused() -> None:
    """Rules, exceptions and conditions have an end."""
    many = text("uid = 1")
    conditions = "any = [" + ", ".join("{ uid = 1 }" for _ in range(300)) + "]"
    exceptions = text("uid = 1") + '[[rule.except]]\nreason = "r"\nuid = 2\n' * 65

    assert "at most 500 rules" in parse(many * 501, "my.toml").errors[0]
    assert "at most 256 conditions" in complaint(conditions)
    assert "at most 64 tables" in parse(exceptions, "my.toml").errors[0]


def test_a_file_that_is_none_is_said_to_be_none(tmp_path: Path) -> None:
    """A pipe is not waited for; what is large, not UTF-8, away or a directory is told."""
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (parsing.FILE_BYTES + 1))
    (tmp_path / "latin.toml").write_bytes(b"# a\n# \xe9\n")
    (tmp_path / "dir.toml").mkdir()

    def said(name: str) -> str:
        [error] = read(tmp_path / name).errors
        return error.removeprefix(str(tmp_path / name))

    assert ":1:1: cannot be read: not a file" == said("pipe.toml")
    assert ":1:1: larger than 262144 bytes; write several files" == said("large.toml")
    assert ":2:1: not UTF-8" == said("latin.toml")
    assert ":1:1: cannot be read: not a file" == said("dir.toml")
    assert ":1:1: cannot be read: No such file or directory" == said("away.toml")


def test_lines_end_as_elsewhere_too(tmp_path: Path) -> None:
    """A file that was edited on another system is the same file."""
    (tmp_path / "a.toml").write_bytes(GOOD.replace("\n", "\r\n").encode())

    assert [4, 22] == [rule.line for rule in read(tmp_path / "a.toml").rules]


@given(st.text(alphabet="[]{}=.,\"'\\\n #ruletwhnamy0-\r\t\x00", max_size=80))
def test_any_text_is_rules_or_errors(source: str) -> None:
    """No file brings the agent down: it has rules, or says where it is wrong."""
    found = parse(source, "my.toml")

    assert all(PLACED.fullmatch(error) for error in found.errors)


@given(st.integers(0, len(GOOD)), st.integers(0, 12), st.text(max_size=3))
def test_a_damaged_file_is_rules_or_errors(at: int, gone: int, put: str) -> None:
    """A slip anywhere in a good file is told, or changes what it says, and nothing else happens."""
    found = parse(GOOD[:at] + put + GOOD[at + gone :], "my.toml")

    assert all(PLACED.fullmatch(error) for error in found.errors)


@pytest.mark.parametrize(
    "source", ["rule = " + "[" * 5000, "a = " + "{b=" * 3000, "[[rule]]\nwhen" + ".a" * 5000 + " = 1"]
)
def test_depth_is_no_way_in(source: str) -> None:
    """A file nested deeper than anybody writes is refused."""
    assert parse(source, "my.toml").errors
    assert () == parse(source, "my.toml").rules


def test_one_rule_is_parsed_as_it_is_made() -> None:
    """The rule that other tests begin with is one."""
    assert "One" == parsed("uid = 1").rules[0].name
