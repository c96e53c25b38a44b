"""A server on 127.0.0.1 answers its one client, ourselves, with a shell; the client says `exit`.

The server is Python, the shell a copy of sh under another name.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import sys

from agent.errors import HostUnsupported
from agent.simulate._base import TIMEOUT_SECONDS
from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._base import program
from agent.simulate._base import scratch

_SERVE = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
client, _ = server.accept()
for fd in (0, 1, 2):
    os.dup2(client.fileno(), fd)
os.execv(sys.argv[1], ["x"])
"""  # the server becomes the shell, so that its pid is the one that we know


def run() -> Deed:
    """Start the server, connect to it, and say goodbye to the shell."""
    with scratch() as directory:
        shell = directory / f"x{secrets.token_hex(4)}"
        shutil.copy(program("sh", "dash"), shell)
        server = subprocess.Popen(
            [sys.executable, "-I", "-c", _SERVE, shell],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        try:
            _visit(server)
        finally:
            server.kill()
            server.communicate()
    return Deed(
        pid=server.pid, path=str(shell), container_id=None, note="a server on 127.0.0.1 gave its client a shell"
    )


def _visit(server: subprocess.Popen[str]) -> None:
    """Connect, say `exit`, and see the shell leave."""
    said = "" if server.stdout is None else server.stdout.readline().strip()
    if not said.isdecimal():
        raise HostUnsupported("no server could be started on 127.0.0.1")
    try:
        with socket.create_connection(("127.0.0.1", int(said)), TIMEOUT_SECONDS) as connection:
            connection.sendall(b"exit\n")
            server.wait(TIMEOUT_SECONDS)
    except (TimeoutError, subprocess.TimeoutExpired, OSError) as error:
        raise HostUnsupported("the shell did not leave: is the directory for temporary files noexec?") from error


TRIGGER = Trigger(finding="Execution:Runtime/SuspiciousShellCreated", needs=("sh",), run=run)
