"""A process that takes connections from the network, or one that it started, gave somebody an interactive shell.

A web or database server runs commands, it has no use for a person at a prompt: a shell on a terminal, on the accepted
connection itself, or told to be interactive is what an intruder makes of it. Only the first one of a tree is told.

Noise: terminals in a browser, and development servers that are used from the shell they were started in and start one.
Servers that log people in (sshd, telnetd) are known good.
Blind to: shells that are given their commands as arguments (see the SuspiciousCommand types); copies that were padded.
"""

from __future__ import annotations

from typing import Any

from agent.findings._base import FindingType
from agent.findings._examples import COOKIE
from agent.findings._examples import executable
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import process_exec
from agent.findings._examples import renamed_shell
from agent.findings._examples import silent
from agent.findings._examples import stdio
from agent.findings._reach_examples import target
from agent.findings._shells import takes_commands
from agent.findings._shells import wants_a_person
from agent.model import Context
from agent.model import Evidence
from agent.model import Process
from agent.model import ProcessExec
from agent.model import ProcessKey
from agent.model import Severity
from agent.model import Stdio

NAME = "Execution:Runtime/SuspiciousShellCreated"


def match(event: ProcessExec, context: Context) -> Evidence | None:
    """Return who serves the network, if this is a shell for a person and the first one below it."""
    server = context.serving
    if server is None or not _is_interactive(context.actor, context.outbound_cookies):
        return None
    if server.key != context.actor.key and _told_before(server, context.lineage):
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    return Evidence(
        reason=f"process {server.key.tgid}, which takes connections from the network, started an interactive shell"
    )


def _is_interactive(process: Process, outbound: frozenset[int] = frozenset()) -> bool:
    """Answer whether a process is a shell on a terminal or an accepted connection, or was told to be interactive."""
    if not takes_commands(process):
        return False
    commands = next((one for one in process.stdio if one.fd == 0), None)
    if commands is None:
        return wants_a_person(process)
    accepted = commands.socket is not None and commands.socket.cookie not in outbound
    return accepted or commands.kind == "tty" or (commands.socket is None and wants_a_person(process))


def _told_before(server: Process, lineage: tuple[Process, ...]) -> bool:
    """Answer whether one of the ancestors, up to the server, is such a shell itself."""
    for ancestor in lineage:
        if _is_interactive(ancestor) or ancestor.key == server.key:
            return _is_interactive(ancestor)
    return False


def _shell(*args: str, kind: str = "tty", **changes: Any) -> Process:
    """Return a shell with a terminal, or `kind`, for input."""
    given: dict[str, Any] = {"args": ("bash", *args), "stdio": (Stdio(fd=0, kind=kind),)}
    return process("/usr/bin/bash", **given | changes)


_SERVER = target(exe=executable("/usr/sbin/nginx"))
_UP = (process(key=ProcessKey(4200, 400_000)), _SERVER)
_ON_SOCKET: dict[str, Any] = {"stdio": stdio(0, 1, 2)}

FINDING = FindingType[ProcessExec](
    name=NAME,
    severity=Severity.LOW,
    attack="T1059.004",
    title="{process} {place} is an interactive shell that a network service started",
    on=ProcessExec,
    match=match,
    needs=("net_listen", "net_accept"),
    examples=(
        fires(
            "on a terminal",
            process_exec(),
            on_host(actor=_shell(), serving=_SERVER, lineage=_UP),
            shows={"reason": "process 777, which takes connections from the network, started an interactive shell"},
        ),
        fires(
            "a copy under another name, in a container",
            process_exec(),
            in_container(actor=_shell(exe=renamed_shell()), serving=_SERVER, lineage=_UP),
        ),
        fires(
            "told to be interactive",
            process_exec(),
            on_host(actor=_shell("-i", kind="pipe"), serving=_SERVER, lineage=_UP),
        ),
        fires(
            "… with nothing for input",
            process_exec(),
            on_host(actor=_shell("-i", stdio=()), serving=_SERVER, lineage=_UP),
        ),
        fires(
            "on the accepted connection, by the server itself",
            process_exec(),
            on_host(actor=_shell(**_ON_SOCKET), serving=_shell(**_ON_SOCKET), lineage=(_shell(),)),
        ),
        fires(
            "of a server that a person started",
            process_exec(),
            on_host(actor=_shell(), serving=_SERVER, lineage=(*_UP, _shell(key=ProcessKey(5, 5)))),
        ),
        silent("nobody serves the network", process_exec(), on_host(actor=_shell())),
        silent("no shell", process_exec(), on_host(actor=process(stdio=_shell().stdio), serving=_SERVER)),
        silent("a command", process_exec(), on_host(actor=_shell("-c", "id"), serving=_SERVER, lineage=_UP)),
        silent("no terminal", process_exec(), on_host(actor=_shell(kind="pipe"), serving=_SERVER, lineage=_UP)),
        silent("nothing for input", process_exec(), on_host(actor=_shell(stdio=()), serving=_SERVER, lineage=_UP)),
        silent(
            "on an outbound connection: a reverse shell",
            process_exec(),
            on_host(
                actor=_shell("-i", **_ON_SOCKET), serving=_SERVER, lineage=_UP, outbound_cookies=frozenset({COOKIE})
            ),
        ),
        silent(
            "within a shell that was told",
            process_exec(),
            on_host(actor=_shell(), serving=_SERVER, lineage=(_UP[0], _shell(key=ProcessKey(5, 5)), _SERVER)),
        ),
        silent(
            "within a server that became such a shell",
            process_exec(),
            on_host(actor=_shell(), serving=_shell(key=_SERVER.key), lineage=(_shell(key=_SERVER.key),)),
        ),
    ),
)
