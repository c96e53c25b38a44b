"""A file of rules becomes rules, or errors with file, line and column; a rule is never half understood."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from collections.abc import Mapping
from functools import cache
from typing import Any
from typing import NamedTuple

from agent.model import Canary
from agent.model import Event
from agent.model import Severity
from agent.rules import fields
from agent.rules.conditions import Compiler
from agent.rules.errors import BadRule
from agent.rules.errors import Path
from agent.rules.position import at
from agent.rules.position import heads
from agent.rules.position import position
from agent.rules.predicates import short
from agent.rules.rule import Excepted
from agent.rules.rule import Judged
from agent.rules.rule import Rule
from agent.wording import instead

FILE_BYTES = 256 * 1024  # some 600 rules
FILE_RULES = 500
EXCEPTIONS_MAX = 64  # of one rule: who needs more has the wrong rule
ERRORS_MAX = 20  # of one file: the next are seen when these are mended
_KEYS = ("name", "description", "severity", "kinds", "when", "except", "attack", "enabled", "dry_run", "company")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_ATTACK = re.compile(r"T\d{4}(\.\d{3})?")
_DESCRIPTION_MAX = 1_000


class Parsed(NamedTuple):
    """What a file comes to."""

    rules: tuple[Rule, ...] = ()
    errors: tuple[str, ...] = ()
    """Each `FILE:LINE:COLUMN: what`."""


@cache
def kinds() -> dict[str, type[Event]]:
    """Return the kinds of event that a rule can be about; the agent's own sign of life is none."""
    return {str(one.__struct_config__.tag): one for one in Event.__subclasses__() if one is not Canary}


def parse(text: str, file: str) -> Parsed:
    """Return the rules of a TOML document, and what is wrong with those that are none."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Parsed(errors=(_syntax(text, file, str(error)),))
    except RecursionError:
        return Parsed(errors=(f"{file}:1:1: nested too deep",))
    try:
        tables = _tables(document)
        lists = _lists(document)
    except BadRule as bad:
        return Parsed(errors=(_located(bad, text, file),))
    lines = tuple(at(text, offset).line for offset in heads(text, "rule"))
    return _rules(tables, _File(text, file, lists, lines))


class _File(NamedTuple):
    """A document, and where it is from."""

    text: str
    name: str
    lists: Mapping[str, list[str]]
    lines: tuple[int, ...]
    """Of the rules, in their order."""


def _rules(tables: list[Any], file: _File) -> Parsed:
    found: dict[str, Rule] = {}
    errors: list[str] = []
    for number, table in enumerate(tables):
        if len(errors) >= ERRORS_MAX:
            break
        try:
            rule = _rule(table, ("rule", number), file)
        except BadRule as bad:
            errors.append(_located(bad, file.text, file.name))
            continue
        first = found.setdefault(rule.name, rule)
        if first is not rule:
            twice = BadRule(("rule", number, "name"), f"the name {rule.name} is that of the rule in line {first.line}")
            errors.append(_located(twice, file.text, file.name))
    return Parsed(tuple(found.values()), tuple(errors))


def _tables(document: dict[str, Any]) -> list[Any]:
    for key in document:
        if key not in {"rule", "lists"}:
            raise BadRule((key,), f"unknown key {key}; a file has [[rule]] and [lists]")
    tables = document.get("rule", [])
    if not isinstance(tables, list):
        raise BadRule(("rule",), "a rule begins with [[rule]], in two brackets")
    if len(tables) > FILE_RULES:
        raise BadRule(("rule", FILE_RULES), f"a file has at most {FILE_RULES} rules; write another file")
    return tables


def _lists(document: dict[str, Any]) -> dict[str, list[str]]:
    """Return the lists of a file; what is in them is looked at where they are used."""
    lists = document.get("lists", {})
    if not isinstance(lists, dict):
        raise BadRule(("lists",), "lists is a table: write [lists]")
    for name, values in lists.items():
        if not isinstance(values, list):
            raise BadRule(("lists", name), f"{name} must be a list of texts, not {short(values)}")
    return lists


def _rule(table: object, path: Path, file: _File) -> Rule:
    """Return a rule.  Raises BadRule."""
    if not isinstance(table, dict):
        raise BadRule(path, "a rule is a table: write [[rule]]")
    for key in table:
        if key not in _KEYS:
            raise BadRule((*path, key), f"unknown key {key}; {instead(key, _KEYS)}")
    given = _Given(table, path)
    name = given.text("name", 64)
    if not _NAME.fullmatch(name):
        raise BadRule((*path, "name"), f"{short(name)} is no name: a letter, then letters, digits, `_`, `.` and `-`")
    attack = given.text("attack", 16) if "attack" in table else None
    if attack is not None and not _ATTACK.fullmatch(attack):
        raise BadRule((*path, "attack"), f"{short(attack)} is no ATT&CK technique, such as T1059 or T1059.004")
    return Rule(
        name=name,
        description=given.text("description", _DESCRIPTION_MAX),
        severity=_severity(given),
        attack=attack,
        enabled=given.yes_no("enabled", usually=True),
        dry_run=given.yes_no("dry_run", usually=False),
        company=given.yes_no("company", usually=False),
        file=file.name,
        line=next(iter(file.lines[int(path[-1]) :]), 1),
        judged=dict(_judged(given, file)),
    )


class _Given(NamedTuple):
    """The table of a rule, and where it is."""

    table: dict[str, Any]
    path: Path

    def at(self, key: str) -> Path:
        return (*self.path, key)

    def text(self, key: str, most: int) -> str:
        value = self.needed(key)
        if not isinstance(value, str) or not value.strip() or len(value) > most:
            raise BadRule(self.at(key), f"{key} must be a text of 1 to {most} characters, not {short(value)}")
        return value.strip()

    def yes_no(self, key: str, *, usually: bool) -> bool:
        value = self.table.get(key, usually)
        if not isinstance(value, bool):
            raise BadRule(self.at(key), f"{key} must be true or false, not {short(value)}")
        return value

    def needed(self, key: str) -> Any:
        if key not in self.table:
            raise BadRule(self.path, f"this rule has no {key}")
        return self.table[key]


def _severity(given: _Given) -> Severity:
    value = given.text("severity", 64)
    names = [one.name.lower() for one in Severity]
    if value not in names:
        raise BadRule(given.at("severity"), f"severity must be one of {', '.join(names)}, not {short(value)}")
    return Severity[value.upper()]


def _judged(given: _Given, file: _File) -> Iterator[tuple[type[Event], Judged]]:
    """Yield the condition and the exceptions for each kind of event."""
    when, exceptions = given.needed("when"), given.table.get("except", [])
    if not isinstance(exceptions, list) or len(exceptions) > EXCEPTIONS_MAX:
        raise BadRule(given.at("except"), f"except must be at most {EXCEPTIONS_MAX} tables: write [[rule.except]]")
    for kind in _kinds(given):
        event_class = kinds()[kind]
        compiler = Compiler(fields.shape(event_class), kind, file.lists)
        tests = compiler.condition(when, given.at("when"))
        excepted = [_excepted(compiler, one, (*given.at("except"), n)) for n, one in enumerate(exceptions)]
        yield event_class, Judged(tests, tuple(test.holds for test in tests), tuple(excepted))


def _excepted(compiler: Compiler, table: object, path: Path) -> Excepted:
    if not isinstance(table, dict):
        raise BadRule(path, "an exception is a table: write [[rule.except]]")
    reason = _Given(table, path).text("reason", _DESCRIPTION_MAX)
    conditions = {key: value for key, value in table.items() if key != "reason"}
    if not conditions:
        raise BadRule(path, "an exception needs a condition, or the rule would never fire")
    return Excepted(reason, tuple(test.holds for test in compiler.condition(conditions, path)))


def _kinds(given: _Given) -> tuple[str, ...]:
    value = given.needed("kinds")
    names = value if isinstance(value, list) else [value]
    for name in names:
        if not isinstance(name, str) or name not in kinds():
            raise BadRule(given.at("kinds"), f"no such kind of event: {short(name)}; {instead(str(name), kinds())}")
    if not names:
        raise BadRule(given.at("kinds"), "kinds must name at least one kind of event")
    return tuple(dict.fromkeys(names))


def _located(bad: BadRule, text: str, file: str) -> str:
    found = position(text, bad.path)
    return f"{file}:{found.line}:{found.column}: {bad.complaint}"


def _syntax(text: str, file: str, complaint: str) -> str:
    found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", complaint, re.DOTALL)
    if found:
        return f"{file}:{found[2]}:{found[3]}: {found[1]}"
    return f"{file}:{text.count(chr(10)) + 1}:1: {complaint}"
