"""A container ran a program that was created or changed after the container started.

Images ship their programs, so one that appears later was brought in: by an intruder, or by someone who should
have built an image.

Noise: packages installed at start-up; programs that update themselves; scripts that an entrypoint writes, and those
of Ansible and its like inside of a container; chmod or setcap of a program of the image; a volume written from outside
the container.
Blind to: a script that is gone before it is read, or comes through a pipe; who wrote a script; a file that outlived
a restart of its container; a clock set back; anything on the host. At balanced, what a linker of the image makes from
whatever it was given.
"""

from __future__ import annotations

from msgspec.structs import replace

from agent.findings._base import ASKS_COMPANY
from agent.findings._base import FindingType
from agent.findings._examples import AFTER_START
from agent.findings._examples import AT_START
from agent.findings._examples import content
from agent.findings._examples import executable
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process_exec
from agent.findings._examples import silent
from agent.findings._examples import unknown_start
from agent.findings._examples import written_by
from agent.model import Content
from agent.model import Context
from agent.model import Evidence
from agent.model import ProcessExec
from agent.model import Sensitivity
from agent.model import Severity

NAME = "Execution:Runtime/NewBinaryExecuted"


def match(event: ProcessExec, context: Context) -> Evidence | None:
    """Return who changed the program and when, if it is younger than its container; read later, the script."""
    if context.container is None or context.container.started_at_ns is None:
        return None
    if context.contents:
        return _script(context.contents, context.container.started_at_ns)
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


def _script(contents: tuple[Content, ...], started_at_ns: int) -> Evidence | None:
    """Return the script that is younger than the container, if an interpreter was given one."""
    new = (one for one in contents if one.role == "script" and (one.changed_at_ns or 0) > started_at_ns)
    script = next(new, None)
    if script is None:  # nobody is excused: the writer that is known is the interpreter's
        return None
    return Evidence(
        reason=f"{script.path}, a script, was created or changed after its container started",
        script_path=script.path,
        modified_at_ns=script.changed_at_ns,
    )


_PROGRAM = content("/usr/bin/dash", changed_at_ns=AFTER_START)
_SCRIPT = content("/tmp/x.sh", role="script", changed_at_ns=AFTER_START)  # noqa: S108  # a path in an example
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
    wants_contents=True,
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
        fires(
            "a script",
            process_exec(changed_at_ns=AT_START),
            in_container(contents=(_PROGRAM, _SCRIPT)),
            shows={"script_path": "/tmp/x.sh", "modified_at_ns": AFTER_START},  # noqa: S108  # a path in an example
        ),
        fires(
            "a script, by an interpreter that the image linked",
            process_exec(),
            in_container(contents=(_SCRIPT,), writer=written_by(executable("/usr/bin/ld"))),
        ),
        silent(
            "a script of the image",
            process_exec(),
            in_container(contents=(_PROGRAM, replace(_SCRIPT, changed_at_ns=AT_START))),
        ),
        silent(
            "a script of unknown age", process_exec(), in_container(contents=(replace(_SCRIPT, changed_at_ns=None),))
        ),
        silent("a program that is read", process_exec(), in_container(contents=(_PROGRAM,))),
        silent("a script on the host", process_exec(), on_host(contents=(_SCRIPT,))),
        silent("linked by the image", process_exec(), in_container(writer=written_by(executable("/usr/bin/ld")))),
        silent("as old as the container", process_exec(changed_at_ns=AT_START), in_container()),
        silent("in the image's layers", process_exec(upper=False), in_container()),
        silent("from memory", process_exec(memfd=True), in_container()),
        silent("in a container of unknown age", process_exec(), in_container(container=unknown_start())),
        silent("on the host", process_exec(), on_host()),
    ),
)
