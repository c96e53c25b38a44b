"""A program asked to be traced by its parent, which is no debugger: so that no debugger can be, or to find one.

A process has one tracer. A program that takes that place for its parent is refused when somebody watches it already,
and cannot be attached to afterwards: packed malware does it before anything else. Weak by itself.

Noise: debuggers of no package, whose children ask to be traced before they become the program to be looked at;
test suites of tracers; programs with copy protection.
Blind to: other ways to notice a tracer (TracerPid in the status of a process, timing, signals).
"""

from __future__ import annotations

from agent.findings._base import ASKS_COMPANY
from agent.findings._base import FindingType
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import silent
from agent.findings._reach_examples import ptrace
from agent.findings._results import outcome
from agent.model import Context
from agent.model import Evidence
from agent.model import Ptrace
from agent.model import Severity

NAME = "DefenseEvasion:Runtime/PtraceAntiDebugging"

_TRACEME = 0  # include/uapi/linux/ptrace.h


def match(event: Ptrace, context: Context) -> Evidence | None:
    """Return what came of it; EPERM means that somebody was tracing it."""
    if event.request_raw != _TRACEME:
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    return Evidence(
        reason=f"asked to be traced by its parent, so that nobody else can{outcome(event.result)}",
        result=event.result,
    )


FINDING = FindingType[Ptrace](
    name=NAME,
    severity=Severity.LOW,
    company=ASKS_COMPANY,
    attack="T1622",
    title="{process} {place} keeps debuggers away",
    on=Ptrace,
    match=match,
    examples=(
        fires("asks to be traced", ptrace(0), on_host(), shows={"result": 0}),
        fires(
            "is traced already, in a container",
            ptrace(0, result=-1),
            in_container(),
            shows={
                "result": -1,
                "reason": "asked to be traced by its parent, so that nobody else can (refused: EPERM)",
            },
        ),
        silent("traces another", ptrace(16), on_host()),
    ),
)
