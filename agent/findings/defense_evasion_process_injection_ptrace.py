"""A process took hold of another by ptrace, or changed its memory or registers, or tried to.

Code put into a process that is trusted runs under its name and rights. Two kinds of request count: becoming the tracer
(ATTACH, SEIZE), which is how an injection begins, and what puts something in (POKE*, SET*REGS*, SET_SYSCALL_INFO).
Reading counts at high only. So does taking hold of an own child: whoever starts a program may watch it.

Noise: debuggers and tracers that no package owns; crash reporters; checkpointing (CRIU).
Blind to: a child that asked to be traced and is only read, at balanced; process numbers of nobody.
"""

from __future__ import annotations

from agent.findings._base import FindingType
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import silent
from agent.findings._reach_examples import ptrace
from agent.findings._reach_examples import target
from agent.findings._results import outcome
from agent.model import Context
from agent.model import Evidence
from agent.model import Ptrace
from agent.model import Sensitivity
from agent.model import Severity

NAME = "DefenseEvasion:Runtime/ProcessInjection.Ptrace"

# include/uapi/linux/ptrace.h; SETREGS, SETFPREGS and SETFPXREGS of x86 (arch/x86/include/asm/ptrace-abi.h), which
# other architectures have under SETREGSET.
_TRACEME = 0
_TAKES = {16: "ATTACH", 0x4206: "SEIZE"}
_PUTS = {
    4: "POKETEXT",
    5: "POKEDATA",
    6: "POKEUSR",
    13: "SETREGS",
    15: "SETFPREGS",
    19: "SETFPXREGS",
    0x4205: "SETREGSET",
    0x4212: "SET_SYSCALL_INFO",
}


def match(event: Ptrace, context: Context) -> Evidence | None:
    """Return who is traced or changed, by which request, and what came of it."""
    if event.target_tgid is None or event.target_tgid == event.tgid or not _counts(event.request_raw, context):
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    word = (_TAKES | _PUTS).get(event.request_raw, f"request {event.request_raw}")
    return Evidence(
        reason=f"ptrace {word} of process {event.target_tgid}{outcome(event.result)}",
        target_process=context.target,
        result=event.result,
    )


def _counts(request: int, context: Context) -> bool:
    """Answer whether a request is one of those that an injection is made of."""
    if context.sensitivity is Sensitivity.HIGH:
        return request != _TRACEME
    if request in _TAKES:
        return context.target is None or context.target.parent != context.actor.key
    return request in _PUTS


_CHILD = target(parent=process().key)

FINDING = FindingType[Ptrace](
    name=NAME,
    severity=Severity.MEDIUM,
    attack="T1055.008",
    title="{process} {place} took hold of another process by ptrace",
    on=Ptrace,
    match=match,
    examples=(
        fires(
            "becomes its tracer",
            ptrace(16),
            on_host(target=target()),
            shows={"target_process": target(), "result": 0, "reason": "ptrace ATTACH of process 777"},
        ),
        fires("… without stopping it", ptrace(0x4206), on_host(target=target())),
        fires(
            "tries to, in a container",
            ptrace(16, result=-1),
            in_container(target=target()),
            shows={"result": -1, "reason": "ptrace ATTACH of process 777 (refused: EPERM)"},
        ),
        fires("of one that enrichment does not know", ptrace(16), on_host()),
        fires("puts code into its own child", ptrace(4), on_host(target=_CHILD)),
        fires("changes the registers of its own child", ptrace(0x4205), on_host(target=_CHILD)),
        fires("takes hold of its own child, at high", ptrace(16), on_host(target=_CHILD), sensitivity=Sensitivity.HIGH),
        fires(
            "reads, at high",
            ptrace(3),
            on_host(target=target()),
            sensitivity=Sensitivity.HIGH,
            shows={"reason": "ptrace request 3 of process 777"},
        ),
        silent("takes hold of its own child", ptrace(0x4206), on_host(target=_CHILD)),
        silent("reads", ptrace(3), on_host(target=target())),
        silent("lets go", ptrace(17), on_host(target=target())),
        silent("nobody", ptrace(16, target_tgid=None, target_started_ns=None, result=-3), on_host()),
        silent("a thread of its own", ptrace(16, target_tgid=4242), on_host(target=process())),
        silent(
            "asks to be traced, of whoever started it",
            ptrace(0),
            on_host(target=target()),
            sensitivity=Sensitivity.HIGH,
        ),
    ),
)
