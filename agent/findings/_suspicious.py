"""Which suspicious patterns a command line is: the five SuspiciousCommand findings ask here.

A command that an ancestor's own shell text had is that ancestor's finding, not one more
of the program that the shell then starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from functools import cache
from functools import lru_cache
from typing import NamedTuple

from agent.findings import _commandlines
from agent.findings import _patterns
from agent.findings._commandlines import Line
from agent.findings._patterns import Pattern
from agent.findings._patterns import Step
from agent.findings._shelltext import Command
from agent.findings._shelltext import Pipeline
from agent.findings._shelltext import Script
from agent.model import Context
from agent.model import Evidence
from agent.model import Process
from agent.model import ProcessExec

ANCESTORS = 4  # sh -c, sudo, sh -c again and a wrapper: what one typed line puts between text and program
INNER_DEEP = 4  # of substitutions: as deep as they are read
UNIT_SUFFIX = ".service"
_NEEDS = ("writes", "assigned", "code", "")
"""Fields of a step that an ordinary program has nothing for; most steps about any program have one."""


class Hit(NamedTuple):
    """A pattern that a command line is."""

    pattern: Pattern
    service: str | None
    """The security service that it names."""
    hidden: bool
    """It had to be decoded first."""


def evidence(tactic: str, event: ProcessExec, context: Context) -> Evidence | None:
    """Return what is suspicious of a tactic in what a program was started with: the gravest, and how many more."""
    found = hits(tactic, _commandlines.of_exec(event))
    if not found or told(tactic, found, context.lineage):
        return None
    worst = max(found, key=lambda hit: hit.pattern.level.value)
    more = len({hit.pattern.name for hit in found}) - 1
    return Evidence(
        reason=worst.pattern.reason
        + (", in encoded text" if worst.hidden else "")
        + (f", and {more} more of the kind" if more else ""),
        severity=worst.pattern.level,
        command_line_example=worst.pattern.example,
        service_name=next((hit.service for hit in found if hit.service is not None), None),
        script_path=event.filename if event.interpreted else None,
    )


def told(tactic: str, found: Iterable[Hit], lineage: tuple[Process, ...]) -> bool:
    """Answer whether an ancestor was started with text that has the same patterns, and so was the finding."""
    names = {hit.pattern.name for hit in found}
    for ancestor in lineage[:ANCESTORS]:
        line = _commandlines.of_process(ancestor)
        if line.text and names <= {hit.pattern.name for hit in hits(tactic, line)}:
            return True
    return False


def hits(tactic: str, line: Line) -> tuple[Hit, ...]:
    """Return the patterns of a tactic that a command line is, each once."""
    return _found(line).get(tactic, ())


@lru_cache(maxsize=_commandlines.LINES_KEPT)
def _found(line: Line) -> dict[str, tuple[Hit, ...]]:
    """Return, by tactic, what a command line is: of all at once, since all are asked about each program."""
    found: dict[str, dict[str, Hit]] = {}
    for rule, hit in _all_hits(_rules(), line):
        found.setdefault(rule.tactic, {}).setdefault(hit.pattern.name, hit)
    return {tactic: tuple(by_name.values()) for tactic, by_name in found.items()}


def _all_hits(rules: _Rules, line: Line) -> Iterator[tuple[_Rule, Hit]]:
    for pipeline in line.pipelines:
        for rule, service in _rules_of(rules, pipeline, text=line.text):
            yield rule, Hit(rule.pattern, service, any(pipeline is each for each in line.hidden))
    if len(line.pipelines) > 1:
        yield from ((rule, Hit(rule.pattern, None, hidden=False)) for rule in rules.following if rule.followed(line))


def _rules_of(rules: _Rules, pipeline: Pipeline, *, text: bool) -> Iterator[tuple[_Rule, str | None]]:
    """Yield what a pipeline is by itself, with the security service that is named."""
    for command in pipeline:
        told = (rule for rule in rules.about(command) if text or not rule.pattern.needs_text)
        yield from ((rule, rule.first.service_of(command)) for rule in told if rule.first.holds(command))
    if len(pipeline) > 1 or any(command.inner for command in pipeline):
        yield from ((rule, None) for rule in rules.feeding if rule.fed(pipeline))


class _Words:
    """Words to compare arguments with: exact ones, and such with `*` in them."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self._exact = frozenset(word for word in words if "*" not in word)
        self._globs = tuple(tuple(word.split("*")) for word in words if "*" in word)

    def covers(self, text: str) -> bool:
        """Answer whether a text is one of them."""
        return text in self._exact or any(_is_like(text, pieces) for pieces in self._globs)

    def cover_one(self, texts: tuple[str, ...]) -> bool:
        """Answer whether one of the texts is one of them."""
        return any(map(self.covers, texts)) if self._globs else not self._exact.isdisjoint(texts)


def _is_like(text: str, pieces: tuple[str, ...]) -> bool:
    """Answer whether a text has the pieces in order, the first and the last at its ends."""
    first, *middle, last = pieces
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


class Check:
    """A step, ready to be asked about many commands."""

    def __init__(self, step: Step) -> None:
        self.programs = _patterns.group(step.program)
        self._step = step
        self._args = tuple(map(_Words, step.args))
        self._without = _Words(step.without)
        self._writes = _Words(step.writes)
        self._assigned = _Words(step.assigned)

    @property
    def need(self) -> str:
        """Return one thing that a command must have for the step to hold, '' when nothing is sure."""
        return next((need for need in _NEEDS if need and getattr(self._step, need)), "")

    def holds(self, command: Command) -> bool:
        """Answer whether a command is what the step says, but for what it is fed and which file it runs."""
        if self.programs and _commandlines.name_of(command) not in self.programs:
            return False
        rest = command.words[1:]
        if not all(group.cover_one(rest) for group in self._args) or self._without.cover_one(rest):
            return False
        return self._around(command) and self._says(command)

    def service_of(self, command: Command) -> str | None:
        """Return the security service that an argument of the command names."""
        if not self._step.service:
            return None
        named = (word.rpartition("/")[2].removesuffix(UNIT_SUFFIX) for word in command.words[1:])
        return next((name for name in named if name in _services()), None)

    def _around(self, command: Command) -> bool:
        step = self._step
        if step.writes and not self._writes.cover_one(command.writes):
            return False
        if step.assigned and not self._assigned.cover_one(command.assigned):
            return False
        if step.operands is not None and step.operands is not any(_commandlines.arguments(command.words[1:])):
            return False
        return not step.service or self.service_of(command) is not None

    def _says(self, command: Command) -> bool:
        if not self._step.code:
            return True
        code = _commandlines.code_of(command)
        if code is None:
            return False
        code = code.lower()
        return all(any(word in code for word in group) for group in self._step.code)


class _Rule:
    """A pattern, ready to be asked about many command lines."""

    def __init__(self, tactic: str, pattern: Pattern) -> None:
        self.tactic = tactic
        self.pattern = pattern
        self.first = Check(pattern.is_)
        self.is_alone = pattern.feeds is None and pattern.then is None
        self._second = Check(pattern.feeds or pattern.then or Step())

    def fed(self, pipeline: Pipeline) -> bool:
        """Answer whether the first step feeds the second, by a pipe or by being substituted into it."""
        step = self.pattern.feeds or Step()
        begun = False
        for command in pipeline:
            fits = self._second.holds(command)
            if fits and begun and (not step.runs_input or _commandlines.runs_stdin(command)):
                return True
            if step.runs_input and self._substituted(command):
                return True
            begun = begun or self.first.holds(command)
        return False

    def followed(self, line: Line) -> bool:
        """Answer whether a command runs a file that one before it named."""
        files: set[str] = set()
        for pipeline in line.pipelines:
            if files and any(self._second.holds(each) and _runs_one_of(files, each) for each in pipeline):
                return True
            if any(map(self.first.holds, pipeline)):
                files.update(_named(pipeline))
        return False

    def _substituted(self, command: Command) -> bool:
        if not command.inner or not _commandlines.runs_substituted(command):
            return False
        return any(self.first.holds(each) for script in command.inner for each in _commands(script, INNER_DEEP))


def _commands(script: Script, deep: int) -> Iterator[Command]:
    """Yield the commands of a script and of what is substituted in it."""
    for pipeline in script:
        yield from pipeline
        for inner in (each for command in pipeline for each in command.inner if deep):
            yield from _commands(inner, deep - 1)


def _named(pipeline: Pipeline) -> Iterator[str]:
    """Yield the last part of every file or address that a pipeline names."""
    for command in pipeline:
        for word in (*_commandlines.arguments(command.words[1:]), *command.writes):
            yield word.partition("?")[0].rpartition("/")[2]


def _runs_one_of(files: set[str], command: Command) -> bool:
    """Answer whether a command runs a file of one of these names: by its path, or through a shell or interpreter."""
    if not command.words:
        return False
    program = command.words[0]
    if "/" in program or program.startswith("$"):
        return program.rpartition("/")[2] in files
    if program not in {".", "source"} and not _commandlines.runs_scripts(command):
        return False
    script = next(_commandlines.arguments(command.words[1:]), "")
    return script.rpartition("/")[2] in files


def _has(command: Command, need: str) -> bool:
    """Answer whether a command has what every rule of a need looks at first."""
    match need:
        case "writes":
            return bool(command.writes)
        case "assigned":
            return bool(command.assigned)
    return _commandlines.code_of(command) is not None


class _Rules:
    """The patterns of all tactics, by the programs they are about."""

    def __init__(self) -> None:
        tactics = _patterns.tactics()
        rules = tuple(_Rule(tactic, pattern) for tactic in tactics for pattern in _patterns.patterns(tactic))
        self.feeding = tuple(rule for rule in rules if rule.pattern.feeds is not None)
        self.following = tuple(rule for rule in rules if rule.pattern.then is not None)
        alone = tuple(rule for rule in rules if rule.is_alone)
        anybody = tuple(rule for rule in alone if not rule.first.programs)
        needs = {need: tuple(rule for rule in anybody if rule.first.need == need) for need in _NEEDS}
        self._by_need = tuple((need, rules) for need, rules in needs.items() if rules)
        self._by_program: dict[str, tuple[_Rule, ...]] = {}
        for rule in alone:
            for name in rule.first.programs:
                self._by_program[name] = (*self._by_program.get(name, ()), rule)

    def about(self, command: Command) -> Iterable[_Rule]:
        """Return those that a command alone can be: of those about any program, what it has the one need of."""
        found = self._by_program.get(_commandlines.name_of(command), ())
        for need, rules in self._by_need:
            if not need or _has(command, need):
                found += rules
        return found


@cache
def _rules() -> _Rules:
    return _Rules()


@cache
def _services() -> frozenset[str]:
    return frozenset(_patterns.names().security_services)
