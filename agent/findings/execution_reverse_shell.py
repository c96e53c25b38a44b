"""A program was started with an outbound connection in place of a terminal: whoever listens there types commands.

Whatever the program is called; what counts is the socket on its descriptors, and that this host opened it. Or another
process holds the connection and hands on what comes: by pipes, a pseudo-terminal or a unix socket on which it started
a shell (socat, pty.spawn), or in a ring of pipes (a FIFO with openssl or nc).

Noise: clients that hand their connection to a child; terminals that programs with connections of their own open.
Blind to: a shell of no distribution fed by another process; a ring of more programs; a shell that never starts one.
At balanced, a dup of descriptor 0 alone: `</dev/tcp/HOST/PORT` is how scripts wait for a port; and shells on pipes that
were not told to be interactive, started five seconds or more after the connection was made.
"""

from __future__ import annotations

from agent.findings._base import LOW_ASKS
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
from agent.findings._network_examples import net_connect
from agent.findings._reach_examples import wired
from agent.findings._wires import TOGETHER_NS
from agent.findings._wires import handed_to_a_shell
from agent.model import Context
from agent.model import Evidence
from agent.model import FdDup
from agent.model import NetConnect
from agent.model import Process
from agent.model import ProcessExec
from agent.model import Sensitivity
from agent.model import Severity
from agent.model import Socket
from agent.model import Stdio

NAME = "Execution:Runtime/ReverseShell"


def match(event: ProcessExec | FdDup | NetConnect, context: Context) -> Evidence | None:
    """Return the connection that serves as terminal, if this host opened it and nobody was told of it yet."""
    handed = handed_to_a_shell(context)
    wire = handed.socket or _own(event, context)
    if wire is None:
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    way = handed.way
    return Evidence(
        reason=f"an outbound connection to {wire.remote_address} port {wire.remote_port} serves as terminal{way}",
        target_process=handed.shell,
        socket=wire,
        connection_direction="OUTBOUND",
        address_family="AF_INET6" if ":" in str(wire.remote_address) else "AF_INET",
        iana_protocol_number=wire.protocol,
    )


def _own(event: ProcessExec | FdDup | NetConnect, context: Context) -> Socket | None:
    """Return the outbound connection that is on a program's own descriptors, unless an ancestor had it there."""
    if isinstance(event, NetConnect):
        return None
    if isinstance(event, ProcessExec):
        wire, earlier = _wire(event.stdio, shell=_is_shell(context.actor)), context.lineage
    else:
        wire, earlier = _wired_now(event, context), (context.actor, *context.lineage)
    if wire is None or wire.cookie not in context.outbound_cookies:
        return None
    return None if any(_had(wire, process) for process in earlier) else wire


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

FINDING = FindingType[ProcessExec | FdDup | NetConnect](
    name=NAME,
    severity=Severity.HIGH,
    company=LOW_ASKS,
    attack="T1059.004",
    title="{process} {place} takes its commands from an outbound connection",
    on=(ProcessExec, FdDup, NetConnect),
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
        fires(
            "a shell on a terminal of who holds the connection",
            process_exec(),
            on_host(actor=wired().shell, wire=wired()),
            shows={
                "target_process": None,
                "reason": "an outbound connection to 198.51.100.7 port 443 serves as terminal of shell 4242, by way of "
                "process 777 and a terminal",
            },
        ),
        fires(
            "… that is made when the shell is there, in a container",
            net_connect("198.51.100.7"),
            in_container(actor=wired().holder, wire=wired(kind="pipe")),
            shows={"target_process": wired(kind="pipe").shell},
        ),
        fires(
            "… by a unix socket, long after",
            net_connect("198.51.100.7"),
            on_host(wire=wired(kind="socket", apart_ns=TOGETHER_NS)),
        ),
        fires(
            "… by pipes, long after, told to be interactive",
            net_connect("198.51.100.7"),
            on_host(wire=wired("-i", kind="pipe", apart_ns=TOGETHER_NS)),
        ),
        fires(
            "… by pipes, long after, at high",
            net_connect("198.51.100.7"),
            on_host(wire=wired(kind="pipe", apart_ns=TOGETHER_NS)),
            sensitivity=Sensitivity.HIGH,
        ),
        fires(
            "… below a shell with another input",
            process_exec(),
            on_host(actor=wired().shell, wire=wired(), lineage=(wired(kind="pipe").shell,)),
        ),
        silent(
            "… by pipes, long after: a script",
            net_connect("198.51.100.7"),
            on_host(wire=wired(kind="pipe", apart_ns=TOGETHER_NS)),
        ),
        silent("… with a command of its own", process_exec(), on_host(wire=wired("-c", "id"))),
        silent(
            "… within the shell that was the finding",
            process_exec(),
            on_host(actor=wired().shell, wire=wired(), lineage=(wired().shell,)),
        ),
        silent("a connection that no shell hangs on", net_connect("198.51.100.7"), on_host()),
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
