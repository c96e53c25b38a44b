"""A shell under another name connects to 127.0.0.1 and takes one command from there: `exit`.

The listener is ours, on loopback, on a port that the kernel chose, and accepts
one connection.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import HostUnsupported
from agent.simulate._base import TIMEOUT_SECONDS
from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._base import program
from agent.simulate._base import scratch


def run() -> Deed:
    """Open a listener, let a renamed shell connect to it, and send it away."""
    with scratch() as directory, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT_SECONDS)
        shell = directory / f"x{secrets.token_hex(4)}"
        shutil.copy(program("bash", "bash"), shell)
        port = int(listener.getsockname()[1])
        with _calling_home(shell, port) as child:
            _dismiss(child, listener)
    note = f"a copy of bash took its commands from 127.0.0.1:{port}"
    return Deed(pid=child.pid, path=str(shell), container_id=None, note=note)


@contextmanager
def _calling_home(shell: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start the shell with a connection for a terminal; it is gone when the block ends."""
    # `exec` keeps the process, so that its pid is the one we started; no terminal is left to it by the new session.
    command = f"exec {shell} --norc -i >& /dev/tcp/127.0.0.1/{port} 0>&1"
    try:
        child = subprocess.Popen(
            [shell, "-c", command],
            env={"HISTFILE": str(shell.with_name("history")), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except PermissionError as error:
        raise HostUnsupported(f"{shell.parent} is mounted noexec: set TMPDIR to a directory that is not") from error
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def _dismiss(child: subprocess.Popen[bytes], listener: socket.socket) -> None:
    """Answer the shell's connection with `exit`, and see it leave."""
    try:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"exit\n")
            child.wait(TIMEOUT_SECONDS)
    except (TimeoutError, subprocess.TimeoutExpired) as error:
        raise HostUnsupported("the shell did not connect and leave: was bash built without /dev/tcp?") from error


TRIGGER = Trigger(finding="Execution:Runtime/ReverseShell", needs=("bash",), run=run)
