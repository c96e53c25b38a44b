"""Files of rules as the commands read them: all of a directory, and one rule in words."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agent.commands import _names
from agent.errors import ConfigError
from agent.rules import directory as files
from agent.rules.current import united
from agent.rules.position import heads
from agent.rules.rule import Rule


class Loaded(NamedTuple):
    """What files of rules come to."""

    files: tuple[Path, ...]
    rules: tuple[Rule, ...]
    errors: tuple[str, ...]


def load(paths: Iterable[Path]) -> Loaded:
    """Return the rules of files, and of those in directories, and what is wrong with them, each with file and line.

    A directory that is not there has none.

    Raises ConfigError for a directory that cannot be read.
    """
    found = tuple(file for path in paths for file in ([path] if path.is_file() else files.states(path)))
    parsed = [files.read(file) for file in found]
    rules, doubled = united(one.rules for one in parsed)
    return Loaded(found, rules, (*(error for one in parsed for error in one.errors), *doubled))


def only(file: Path, name: str | None) -> tuple[Rule, ...]:
    """Return the rules of a file, or that one of them.  Raises ConfigError when there is an error in it, or none."""
    loaded = load([file])
    if loaded.errors:
        raise ConfigError(_first(loaded.errors))
    if not loaded.rules:
        raise ConfigError(f"{file} has no rule: it begins with [[rule]] (docs/rules.md)")
    if name is None:
        return loaded.rules
    known = {rule.type: rule for rule in loaded.rules}
    return (known[_names.resolve(name, known, "rule")],)


def in_force(paths: Iterable[Path]) -> tuple[Rule, ...]:
    """Return the rules of files and directories that are enabled.  Raises ConfigError when there is an error in one."""
    loaded = load(paths)
    if loaded.errors:
        raise ConfigError(_first(loaded.errors))
    return tuple(rule for rule in loaded.rules if rule.enabled)


def explained(type_: str, directory: Path) -> Iterator[str]:
    """Yield what a rule of a directory says, as lines.  Raises ConfigError when there is none of that name."""
    loaded = load([directory])
    known = {rule.type: rule for rule in loaded.rules}
    if not known:
        raise ConfigError(f"{type_}: there are no rules in {directory}; --rules says where they are")
    rule = known[_names.resolve(type_, known, f"rule in {directory}")]
    yield from (rule.type, "")
    yield from (rule.description, "")
    yield f"- Severity: {rule.severity.name.title()} ({rule.severity.value:g})"
    yield f"- Fires: {fires(rule)}"
    yield f"- Technique: {f'MITRE ATT&CK {rule.attack}' if rule.attack else 'none is named'}"
    yield f"- Events: {', '.join(rule.kinds)}"
    yield f"- From: {rule.file}:{rule.line}"
    yield f'- To quiet it: a [[rule.except]] in its file, or types = {{ "{rule.type}" = "off" }} under [findings]'
    yield ""
    yield from _text(rule)


def _first(errors: tuple[str, ...]) -> str:
    more = len(errors) - 1
    return errors[0] + (f" (and {more} more: vedette rules check)" if more else "")


def fires(rule: Rule) -> str:
    """Return in a few words whether and when a rule fires."""
    if not rule.enabled:
        return "never: it is not enabled"
    if rule.dry_run:
        return "never: dry_run only counts and logs"
    return "in odd company (docs/company.md); at `high` at once" if rule.company else "at once"


def _text(rule: Rule) -> Iterator[str]:
    """Yield the lines of a rule as its file has them."""
    text = Path(rule.file).read_text(encoding="utf-8")
    lines = text.splitlines()
    begins = [text.count("\n", 0, offset) for offset in heads(text, "rule")]
    ends = next((line for line in begins if line >= rule.line), len(lines))
    yield from (f"    {line}" for line in "\n".join(lines[rule.line - 1 : ends]).rstrip().split("\n"))
