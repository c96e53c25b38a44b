"""A process wrote straight into the memory of another by process_vm_writev, or tried to.

Code put into a process that is trusted runs under its name, with its files and rights; no program file is left behind.
A call that was refused counts: nobody tries by mistake, and the result is in the evidence.

Noise: message passing between the ranks of one parallel program (MPI, UCX), and debuggers outside of packages.
Blind to: what was written; memory that both share; writes through ptrace and the proc file system (types of their own).
"""

from __future__ import annotations

from agent.findings._base import FindingType
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import silent
from agent.findings._reach_examples import process_vm
from agent.findings._reach_examples import target
from agent.findings._results import outcome
from agent.model import Context
from agent.model import Evidence
from agent.model import ProcessVm
from agent.model import Severity

NAME = "DefenseEvasion:Runtime/ProcessInjection.VirtualMemoryWrite"


def match(event: ProcessVm, context: Context) -> Evidence | None:
    """Return into whom was written, and what came of it."""
    if event.direction != "write" or event.target_tgid == event.tgid:
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    whom = event.target_number if event.target_tgid is None else event.target_tgid
    return Evidence(
        reason=f"process_vm_writev into the memory of process {whom}{outcome(event.result)}",
        target_process=context.target,
        result=event.result,
    )


FINDING = FindingType[ProcessVm](
    name=NAME,
    severity=Severity.HIGH,
    attack="T1055",
    title="{process} {place} wrote into the memory of another process",
    on=ProcessVm,
    match=match,
    examples=(
        fires(
            "a write",
            process_vm(result=8),
            on_host(target=target()),
            shows={
                "target_process": target(),
                "result": 8,
                "reason": "process_vm_writev into the memory of process 777",
            },
        ),
        fires(
            "an attempt, in a container",
            process_vm(result=-14),
            in_container(target=target()),
            shows={"result": -14, "reason": "process_vm_writev into the memory of process 777 (refused: EFAULT)"},
        ),
        fires(
            "into one that is gone",
            process_vm(result=-3, target_tgid=None, target_started_ns=None, target_number=-1),
            on_host(),
            shows={"reason": "process_vm_writev into the memory of process -1 (refused: ESRCH)"},
        ),
        silent("a read", process_vm(direction="read"), on_host(target=target())),
        silent("into itself", process_vm(target_tgid=4242), on_host(target=target())),
    ),
)
