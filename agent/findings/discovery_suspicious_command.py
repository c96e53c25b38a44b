"""A command asks what an intruder asks first: who he is, where he is, and what is to be had here.

Some questions tell by themselves, such as credentials asked of the cloud's metadata service or setuid programs looked
for everywhere; of the ordinary ones four different kinds are a survey, in one text or by one parent within a minute.

Noise: inventories, support scripts and administrators who look around; log-in banners that say much.
Blind to: a program that reads the same by itself; questions spread over more than a minute, or over many parents.
"""

from __future__ import annotations

from agent.findings._base import FindingType
from agent.findings._examples import command
from agent.findings._examples import executable
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import silent
from agent.findings._survey import surveyed
from agent.findings._suspicious import evidence
from agent.model import Context
from agent.model import Evidence
from agent.model import Process
from agent.model import ProcessExec
from agent.model import Severity

NAME = "Discovery:Runtime/SuspiciousCommand"


def match(event: ProcessExec, context: Context) -> Evidence | None:
    """Return the pattern that the command line is, or the questions that it completes."""
    found = evidence("discovery", event, context) or _surveyed(event, context)
    if found is None:
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    return found


def _surveyed(event: ProcessExec, context: Context) -> Evidence | None:
    """Return the kinds of question that were asked at once."""
    asked = surveyed(event, context)
    if not asked:
        return None
    return Evidence(
        reason=f"it was asked within a minute {', '.join(asked)}",
        severity=Severity.LOW,
        command_line_example="id; uname -a; ip addr; ps aux",
    )


def _ran(program: str, *rest: str) -> Process:
    return process(exe=executable(program), args=(program, *rest))


_LOOKED = (_ran("/usr/bin/id"), _ran("/usr/bin/uname", "-a"), _ran("/usr/bin/ip", "a"))
_TEXT = "id; uname -a; ip a; ps aux"
_PS = command("/usr/bin/ps", "aux")

FINDING = FindingType(
    name=NAME,
    severity=Severity.LOW,
    attack="T1082",
    title="{process} was started {place} with a command line that looks around",
    on=ProcessExec,
    match=match,
    examples=(
        fires(
            "credentials asked of the metadata service",
            command("/usr/bin/curl", "http://169.254.169.254/latest/meta-data/iam/security-credentials/"),
            in_container(),
            shows={"severity": Severity.LOW},
        ),
        fires(
            "four questions in one text",
            command("/bin/sh", "-c", _TEXT),
            in_container(),
            shows={"command_line_example": "id; uname -a; ip addr; ps aux", "severity": Severity.LOW},
        ),
        fires("the fourth question of one parent", _PS, on_host(siblings=_LOOKED)),
        silent("the third question of one parent", _PS, on_host(siblings=_LOOKED[:2])),
        silent("the fifth, when the fourth was told", _PS, on_host(siblings=(*_LOOKED, _ran("/usr/bin/w")))),
        silent("the fourth question asked again", _PS, on_host(siblings=(*_LOOKED, _ran("/usr/bin/ps")))),
        silent("no question, after three", command("/usr/bin/ls"), on_host(siblings=_LOOKED)),
        silent("three questions in one text", command("/bin/sh", "-c", _TEXT[:-8]), in_container()),
        silent(
            "asked by the text that was the finding",
            _PS,
            on_host(siblings=_LOOKED, lineage=(process("/bin/sh", args=("sh", "-c", _TEXT)),)),
        ),
        silent(
            "a metadata service asked for a name",
            command("/usr/bin/curl", "http://169.254.169.254/latest/meta-data/hostname"),
            in_container(),
        ),
    ),
)
