"""A process in a container connected to the socket of a container engine.

Who speaks to Docker, or to containerd, CRI-O or Podman, starts what it likes on the host: the socket is root. The name
is that which the engine bound, told by the kernel: links, bind mounts and other names in the container change nothing.

Noise: what is given the socket to do its work: Portainer, Traefik, Watchtower, CI runners, monitoring agents; the
clients of an engine that runs in the container itself.
Blind to: sockets with abstract names and of other names; a connection that was received from another process; the
engine over TCP; a socket that is not there, or at which nobody listens.
"""

from __future__ import annotations

import errno

from agent.findings import _engines
from agent.findings._base import FindingType
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import silent
from agent.findings._examples import unix_connect
from agent.model import Context
from agent.model import Evidence
from agent.model import Severity
from agent.model import UnixConnect

NAME = "PrivilegeEscalation:Runtime/DockerSocketAccessed"
MET = (0, -errno.EACCES)  # refused by permissions it was there, and somebody tried


def match(event: UnixConnect, context: Context) -> Evidence | None:
    """Return the socket, if it has the name of an engine's and was there."""
    if context.container is None or event.path is None or event.abstract or event.result not in MET:
        return None
    if event.path.rpartition("/")[2] not in _engines.SOCKETS:
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    did = "connected to" if event.result == 0 else "was refused by permissions at"
    return Evidence(
        reason=f"a process in a container {did} {event.path}, the socket of a container engine",
        socket_path=event.path,
        result=event.result,
    )


_SOCKET = "/var/run/docker.sock"

FINDING = FindingType(
    name=NAME,
    severity=Severity.MEDIUM,
    attack="T1611",
    title="{process} connected to the socket of a container engine {place}",
    on=UnixConnect,
    match=match,
    examples=(
        fires(
            "in a container",
            unix_connect(_SOCKET),
            in_container(),
            shows={
                "socket_path": _SOCKET,
                "reason": f"a process in a container connected to {_SOCKET}, the socket of a container engine",
            },
        ),
        fires("containerd's", unix_connect("/run/containerd/containerd.sock"), in_container()),
        fires("bound by a relative name", unix_connect("docker.sock"), in_container()),
        fires("refused by permissions", unix_connect(_SOCKET, result=-errno.EACCES), in_container()),
        silent("on the host", unix_connect(_SOCKET), on_host()),
        silent("that is not there", unix_connect(_SOCKET, result=-errno.ENOENT), in_container()),
        silent("of a name that nobody could read", unix_connect(None), in_container()),
        silent("of an abstract name", unix_connect("@/run/docker.sock", abstract=True), in_container()),
        silent("another socket", unix_connect("/run/docker.sock.d/x"), in_container()),
    ),
)
