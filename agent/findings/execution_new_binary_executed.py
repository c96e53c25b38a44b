"""A container ran a program that was created or changed after the container started.

Images ship their programs, so one that appears later was brought in: by an intruder, or by someone who should
have built an image.

Noise: packages installed at start-up; programs that update themselves; chmod or setcap of a program of the image; a
volume written from outside the container.
Blind to: scripts, whose interpreter is the image's own; a file that outlived a restart of its container; a clock set
back; anything on the host. At balanced, what a linker of the image makes from whatever it was given.
"""

from __future__ import annotations

from agent.findings._base import ASKS_COMPANY
from agent.findings._base import FindingType
from agent.findings._examples import AFTER_START
from agent.findings._examples import AT_START
from agent.findings._examples import executable
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process_exec
from agent.findings._examples import silent
from agent.findings._examples import unknown_start
from agent.findings._examples import written_by
from agent.model import Context
from agent.model import Evidence
from agent.model import ProcessExec
from agent.model import Sensitivity
from agent.model import Severity

NAME = "Execution:Runtime/NewBinaryExecuted"


def match(event: ProcessExec, context: Context) -> Evidence | None:
    """Return who changed the program and when, if it is younger than its container."""
    if context.container is None or context.container.started_at_ns is None:
        return None
    if event.memfd or event.upper is False:  # a memfd is FilelessExecution; the lower layer is the image
        return None
    if event.changed_at_ns <= context.container.started_at_ns:
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    return Evidence(
        reason=f"{event.path} was created or changed after its container started",
        modifying_process=context.writer.process if context.writer else None,
        modified_at_ns=event.changed_at_ns,
    )


_CP = written_by(executable("/usr/bin/cp"))

FINDING = FindingType(
    name=NAME,
    severity=Severity.MEDIUM,
    company=ASKS_COMPANY,
    attack="T1204.002",
    title="{process} was created or changed {place} and then executed",
    on=ProcessExec,
    match=match,
    uses=("file_open",),
    examples=(
        fires(
            "copied by a program of the image",
            process_exec(),
            in_container(writer=_CP),
            shows={"modifying_process": _CP.process, "modified_at_ns": AFTER_START},
        ),
        fires("by nobody we saw", process_exec(), in_container(), shows={"modifying_process": None}),
        fires("in the writable layer of an overlay", process_exec(upper=True), in_container()),
        fires(
            "linked by a linker that was itself brought in",
            process_exec(),
            in_container(writer=written_by(executable("/usr/bin/ld", changed_at_ns=AFTER_START))),
        ),
        fires(
            "linked by the image, at high",
            process_exec(),
            in_container(writer=written_by(executable("/usr/bin/ld"))),
            sensitivity=Sensitivity.HIGH,
        ),
        silent("linked by the image", process_exec(), in_container(writer=written_by(executable("/usr/bin/ld")))),
        silent("as old as the container", process_exec(changed_at_ns=AT_START), in_container()),
        silent("in the image's layers", process_exec(upper=False), in_container()),
        silent("from memory", process_exec(memfd=True), in_container()),
        silent("in a container of unknown age", process_exec(), in_container(container=unknown_start())),
        silent("on the host", process_exec(), on_host()),
    ),
)
