"""A program or script was run whose SHA-256 is on a list of malware.

No name, place or padding of arguments changes what a file holds: this is the surest of all signs, for what is known.

Noise: the EICAR test file, run; a list that names a file which many programs share.
Blind to: what is on no list: one changed byte is another file; libraries; a program or script that was gone before it
could be read, or is larger than is read (`enrich.never_read` counts them by reason).
"""

from __future__ import annotations

from agent.findings._base import LOW_ASKS
from agent.findings._base import FindingType
from agent.findings._examples import content
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process_exec
from agent.findings._examples import silent
from agent.findings._malware import listed
from agent.model import Context
from agent.model import Evidence
from agent.model import ProcessExec
from agent.model import Severity

NAME = "Execution:Runtime/MaliciousFileExecuted"


def match(_: ProcessExec, context: Context) -> Evidence | None:
    """Return the file, if it is on a list of malware; known once it is read."""
    found = listed(context, "malware")
    if found is None:
        return None
    file, threat = found
    return Evidence(
        reason=f"{file.path} has the SHA-256 {threat.entry} of the list {threat.list_name}",
        threat_file_path=file.path,
        script_path=file.path if file.role == "script" else None,
        threats=(threat,),
    )


_LISTED = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"  # the EICAR test file
_OTHER = "0c2c408069efc8fc9d18aa19937e40cc1e0d3c757d7a4390b25e0ab7808491f6"  # the script of vedette simulate

FINDING = FindingType(
    name=NAME,
    severity=Severity.HIGH,
    company=LOW_ASKS,
    attack="T1204.002",
    title="{process} was started from a file on a list of malware {place}",
    on=ProcessExec,
    match=match,
    wants_contents=True,
    examples=(
        fires(
            "a program on a list",
            process_exec(),
            on_host(contents=(content("/tmp/x", _LISTED),)),  # noqa: S108  # a path in an example
            shows={"threat_file_path": "/tmp/x", "script_path": None},  # noqa: S108  # as above
        ),
        fires(
            "a script on a list, in a container",
            process_exec(path="/usr/bin/dash", interpreted=True, filename="/tmp/x"),  # noqa: S108  # as above
            in_container(contents=(content("/usr/bin/dash"), content("/tmp/x", _LISTED, role="script"))),  # noqa: S108
            shows={"threat_file_path": "/tmp/x", "script_path": "/tmp/x"},  # noqa: S108  # as above
        ),
        silent("a program on no list", process_exec(), on_host(contents=(content("/tmp/x"),))),  # noqa: S108  # as above
        silent(
            "a program of the operator's own list",
            process_exec(),
            on_host(contents=(content("/tmp/x", _OTHER),)),  # noqa: S108  # as above
        ),
        silent(
            "settings on a list, which nobody ran",
            process_exec(),
            on_host(contents=(content("/tmp/x"), content("/tmp/x.json", _LISTED, role="config"))),  # noqa: S108
        ),
        silent("a program that could not be read", process_exec(), on_host()),
    ),
)
