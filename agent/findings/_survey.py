"""How many different questions about the host were asked at once: each is ordinary, several are a survey."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from functools import lru_cache

from agent.findings import _commandlines
from agent.findings import _patterns
from agent.findings._commandlines import Line
from agent.findings._shelltext import Command
from agent.findings._suspicious import ANCESTORS
from agent.findings._suspicious import Check
from agent.model import Context
from agent.model import Process
from agent.model import ProcessExec

FACETS_MIN = 4  # a log-in script asks two or three; a survey that somebody typed or pasted, five and more


def surveyed(event: ProcessExec, context: Context) -> tuple[str, ...]:
    """Return what was asked, when this program asks the question that makes it a survey; else nothing.

    It is said once, when the number is reached: in one text, or with what the same parent started shortly before.
    """
    now = asked(_commandlines.of_exec(event))
    if not now or any(map(_is_survey, context.lineage[:ANCESTORS])):
        return ()
    before: set[str] = set()
    for sibling in context.siblings:
        before |= asked(_commandlines.of_process(sibling))
    return tuple(sorted(now | before)) if len(before) < FACETS_MIN <= len(now | before) else ()


def _is_survey(process: Process) -> bool:
    """Answer whether the text that a process was started with asks enough by itself, and so was the finding."""
    return len(asked(_commandlines.of_process(process))) >= FACETS_MIN


@lru_cache(maxsize=_commandlines.LINES_KEPT)
def asked(line: Line) -> frozenset[str]:
    """Return the names of the questions in a command line."""
    commands = (command for pipeline in line.pipelines for command in pipeline)
    return frozenset(name for command in commands for name in _of(command))


def _of(command: Command) -> Iterable[str]:
    return (name for name, check in _checks().get(_commandlines.name_of(command), ()) if check.holds(command))


@cache
def _checks() -> dict[str, tuple[tuple[str, Check], ...]]:
    """Return the checks by the program that they are about, with what each asks."""
    found: dict[str, tuple[tuple[str, Check], ...]] = {}
    checks = [(facet.name, Check(step)) for facet in _patterns.facets("discovery") for step in facet.any]
    for name, check in checks:
        for program in check.programs:
            found[program] = (*found.get(program, ()), (name, check))
    return found
