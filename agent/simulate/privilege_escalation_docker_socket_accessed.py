"""A process in a container connects to /run/docker.sock, a socket of our own that is mounted there.

No engine is asked for anything: ours takes the connection and says nothing.
"""

from __future__ import annotations

import socket

from agent.errors import HostUnsupported
from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._base import scratch
from agent.simulate._container import running_container

PATH = "/run/docker.sock"
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


def run() -> Deed:
    """Bind a socket of the engine's name, and connect to it from a container."""
    with scratch() as directory, socket.socket(socket.AF_UNIX) as listener:
        ours = directory / "docker.sock"
        listener.bind(str(ours))
        listener.listen()
        with running_container(binds={PATH: ours}) as container:
            done = container.python(CONNECT, PATH)
    if done.status != 0:
        raise HostUnsupported(f"the socket could not be reached from the container: {done.stderr.strip()}")
    return Deed(
        pid=done.pid,
        path=str(ours),
        container_id=container.id,
        note=f"connected from container {container.id} to {PATH}, which is a socket of our own",
    )


TRIGGER = Trigger(finding="PrivilegeEscalation:Runtime/DockerSocketAccessed", needs=("root", "runc"), run=run)
