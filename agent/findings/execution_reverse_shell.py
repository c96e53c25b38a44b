"""A program was started with an outbound connection in place of a terminal: whoever listens there types commands.

Whatever the program is called; what counts is the socket on its descriptors, and that this host opened it.

Noise: clients that hand their connection to a child. Commands of a shell that wired itself are told one by one.
Blind to: shells fed through a pipe, a pseudo-terminal or a unix socket, by socat or openssl;
a shell that never starts a program. At balanced, a dup of descriptor 0 alone: `</dev/tcp/HOST/PORT`
is how scripts wait for a port.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.findings._base import FindingType
from agent.findings._examples import COOKIE
from agent.findings._examples import fd_dup
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import process_exec
from agent.findings._examples import silent
from agent.findings._examples import socket
from agent.findings._examples import stdio
from agent.model import Context
from agent.model import Evidence
from agent.model import FdDup
from agent.model import Process
from agent.model import ProcessExec
from agent.model import Sensitivity
from agent.model import Severity
from agent.model import Socket
from agent.model import Stdio

NAME = "Execution:Runtime/ReverseShell"


def match(event: ProcessExec | FdDup, context: Context) -> Evidence | None:
    """Return the connection that serves as terminal, if this host opened it and nobody was told of it yet."""
    if isinstance(event, ProcessExec):
        wire = _wire(event.stdio, shell=_is_shell(context.actor))
        earlier: Iterable[Process] = context.lineage
    else:
        wire = _wired_now(event, context)
        earlier = (context.actor, *context.lineage)
    if wire is None or wire.cookie not in context.outbound_cookies:
        return None
    if any(_had(wire, process) for process in earlier):
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    return Evidence(
        reason=f"an outbound connection to {wire.remote_address} port {wire.remote_port} serves as terminal",
        socket=wire,
        connection_direction="OUTBOUND",
        address_family="AF_INET6" if ":" in str(wire.remote_address) else "AF_INET",
        iana_protocol_number=wire.protocol,
    )


def _wire(descriptors: tuple[Stdio, ...], *, shell: bool) -> Socket | None:
    """Return the connected socket that input comes from and, unless it is a shell, output or errors go to."""
    sockets = {descriptor.fd: descriptor.socket for descriptor in descriptors}
    wire = sockets.get(0)
    if wire is None or wire.remote_address is None:
        return None
    answers = (sockets.get(fd) for fd in (1, 2))
    if shell or any(answer is not None and answer.cookie == wire.cookie for answer in answers):
        return wire
    return None


def _wired_now(event: FdDup, context: Context) -> Socket | None:
    """Return the socket that a shell just gave two of its standard descriptors; at high, its input alone."""
    exe = context.actor.exe
    if exe is None or exe.shell is None:
        return None
    if event.socket.remote_address is None:
        return None
    both = {event.old_fd, event.new_fd} in ({0, 1}, {0, 2})
    alone = context.sensitivity is Sensitivity.HIGH and event.new_fd == 0
    return event.socket if both or alone else None


def _had(wire: Socket, process: Process) -> bool:
    """Answer whether a process was started on the same connection, and so was a finding itself."""
    before = _wire(process.stdio, shell=_is_shell(process))
    return before is not None and before.cookie == wire.cookie


def _is_shell(process: Process) -> bool:
    """Answer whether a process runs a shell, under whatever name."""
    return process.exe is not None and process.exe.shell is not None


_OUT = frozenset({COOKIE})
_BASH = process("/usr/bin/bash")

FINDING = FindingType[ProcessExec | FdDup](
    name=NAME,
    severity=Severity.HIGH,
    attack="T1059.004",
    title="{process} {place} takes its commands from an outbound connection",
    on=(ProcessExec, FdDup),
    match=match,
    needs=("net_connect",),
    examples=(
        fires(
            "any program on the socket",
            process_exec(stdio=stdio(0, 1, 2)),
            on_host(outbound_cookies=_OUT),
            shows={"address_family": "AF_INET", "iana_protocol_number": 6, "socket": socket()},
        ),
        fires("input and output, in a container", process_exec(stdio=stdio(0, 1)), in_container(outbound_cookies=_OUT)),
        fires("input and errors", process_exec(stdio=stdio(0, 2)), on_host(outbound_cookies=_OUT)),
        fires(
            "a shell, input alone",
            process_exec(stdio=stdio(0)),
            on_host(outbound_cookies=_OUT, actor=process("/bin/sh")),
        ),
        fires(
            "over IPv6 to this host itself",
            process_exec(stdio=stdio(0, 1, local_address="::1", remote_address="::1")),
            on_host(outbound_cookies=_OUT),
            shows={"address_family": "AF_INET6"},
        ),
        fires(
            "a child of a shell on another connection",
            process_exec(stdio=stdio(0, 1)),
            on_host(outbound_cookies=_OUT, lineage=(process("/bin/sh", stdio=stdio(0, 1, cookie=COOKIE + 1)),)),
        ),
        fires(
            "a child of a program that had the socket for errors alone",
            process_exec(stdio=stdio(0, 1)),
            on_host(outbound_cookies=_OUT, lineage=(process(exe=None, stdio=stdio(2)),)),
        ),
        fires(
            "a child of a program, not a shell, that had the socket for input alone",
            process_exec(stdio=stdio(0, 1)),
            on_host(outbound_cookies=_OUT, lineage=(process(stdio=stdio(0)),)),
        ),
        fires("a shell that wires output and input", fd_dup(), on_host(outbound_cookies=_OUT, actor=_BASH)),
        fires("… input and output", fd_dup(old_fd=0, new_fd=1), on_host(outbound_cookies=_OUT, actor=_BASH)),
        fires("… input and errors", fd_dup(old_fd=2), on_host(outbound_cookies=_OUT, actor=_BASH)),
        fires(
            "… its input alone, at high",
            fd_dup(old_fd=5),
            on_host(outbound_cookies=_OUT, actor=_BASH),
            sensitivity=Sensitivity.HIGH,
        ),
        silent("an accepted connection: inetd, sshd", process_exec(stdio=stdio(0, 1, 2)), on_host()),
        silent("output alone", process_exec(stdio=stdio(1, 2)), on_host(outbound_cookies=_OUT)),
        silent("input alone, not a shell", process_exec(stdio=stdio(0)), on_host(outbound_cookies=_OUT)),
        silent(
            "not connected",
            process_exec(stdio=stdio(0, 1, remote_address=None)),
            on_host(outbound_cookies=_OUT),
        ),
        silent(
            "input and output on two connections",
            process_exec(stdio=(stdio(0)[0], stdio(1, cookie=COOKIE + 1)[1])),
            on_host(outbound_cookies=_OUT),
        ),
        silent("a terminal", process_exec(stdio=stdio()), on_host(outbound_cookies=_OUT)),
        silent(
            "a command of the shell that was the finding",
            process_exec(stdio=stdio(0, 1)),
            on_host(outbound_cookies=_OUT, lineage=(process(stdio=stdio(0, 1)),)),
        ),
        silent(
            "a command of a shell that was the finding by its input",
            process_exec(stdio=stdio(0, 1)),
            on_host(outbound_cookies=_OUT, lineage=(process("/bin/sh", stdio=stdio(0)),)),
        ),
        silent("a shell, input alone: waits for a port", fd_dup(old_fd=5), on_host(outbound_cookies=_OUT, actor=_BASH)),
        silent("a shell, output and errors", fd_dup(new_fd=2), on_host(outbound_cookies=_OUT, actor=_BASH)),
        silent(
            "… output alone, at high",
            fd_dup(old_fd=5, new_fd=1),
            on_host(outbound_cookies=_OUT, actor=_BASH),
            sensitivity=Sensitivity.HIGH,
        ),
        silent("a dup by no shell", fd_dup(), on_host(outbound_cookies=_OUT)),
        silent("a dup by a program that is gone", fd_dup(), on_host(outbound_cookies=_OUT, actor=process(exe=None))),
        silent("a dup of an accepted connection", fd_dup(), on_host(actor=_BASH)),
        silent(
            "a dup of a socket without a peer",
            fd_dup(socket=socket(remote_address=None)),
            on_host(outbound_cookies=_OUT, actor=_BASH),
        ),
        silent(
            "a dup within the shell that was the finding",
            fd_dup(),
            on_host(outbound_cookies=_OUT, actor=process("/usr/bin/bash", stdio=stdio(0, 1))),
        ),
    ),
)
