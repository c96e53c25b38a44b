"""Docker's and podman's HTTP over their unix sockets: GET /containers/ID/json.

HTTP/1.0 with one request a connection, so that a reply ends with it and is never chunked: what is left to read is a
status line, headers nobody needs, and JSON.  http.client would bring 2 MB of mail parser into the agent, and its
timeouts are of one read each; here the whole reply has one deadline.

A socket below /run/user is its user's: it is asked for a container of that user's alone, and only when it is he who
listens (SO_PEERCRED).
"""

from __future__ import annotations

import re
import socket
import struct
import time
from http import HTTPStatus

import msgspec

from agent.enrich.asking import marks
from agent.enrich.asking.said import ANSWER_BYTES
from agent.enrich.asking.said import IMAGE_CHARACTERS
from agent.enrich.asking.said import NoAnswer
from agent.enrich.asking.said import Question
from agent.enrich.asking.said import Said
from agent.enrich.asking.said import TooLarge
from agent.enrich.asking.said import digest_of
from agent.enrich.asking.said import labels
from agent.enrich.asking.said import moment_ns
from agent.enrich.asking.said import mounts
from agent.enrich.asking.said import text

READ_BYTES = 65_536
_ENGINE_ID = re.compile(r"[0-9a-f]{64}")
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r\n")


class _State(msgspec.Struct, rename="pascal"):
    pid: int | None = None
    started_at: str | None = None


class _Config(msgspec.Struct, rename="pascal"):
    image: str | None = None
    labels: dict[str, str] | None = None


class _HostConfig(msgspec.Struct, rename="pascal"):
    privileged: bool | None = None


class _Mount(msgspec.Struct, rename="pascal"):
    source: str = ""
    destination: str = ""
    writable: bool = msgspec.field(default=True, name="RW")


class _Inspected(msgspec.Struct, rename="pascal"):
    id: str
    name: str | None = None
    image: str | None = None
    image_digest: str | None = None
    """podman alone has it."""
    state: _State | None = None
    config: _Config | None = None
    host_config: _HostConfig | None = None
    mounts: list[_Mount] | None = None


class DockerSocket:
    """Asks one engine: docker, or podman by its own paths."""

    def __init__(self, path: str, timeout_s: float, *, podman: bool = False, uid: int = 0) -> None:
        """`uid`: whose engine it is."""
        self._path = path
        self._timeout_s = timeout_s
        self._runtime = "podman" if podman else "docker"
        self._prefix = "/v4.0.0/libpod" if podman else ""
        self._uid = uid

    def version(self) -> str:
        """Return what the engine says of itself.  Raises NoAnswer."""
        status, _ = self._get(f"{self._prefix}/_ping")
        if status != HTTPStatus.OK:
            raise NoAnswer(f"status {status}")
        return self._runtime

    def ask(self, question: Question) -> Said | None:
        """Return what the engine says, None when it knows no such container.  Raises NoAnswer."""
        if question.runtime not in {self._runtime, "ecs", None} or not _ENGINE_ID.fullmatch(question.id):
            return None
        status, body = self._get(f"{self._prefix}/containers/{question.id}/json")
        if status == HTTPStatus.NOT_FOUND:
            return None
        if status != HTTPStatus.OK:
            raise NoAnswer(f"status {status}")
        try:
            found = msgspec.json.decode(body, type=_Inspected)
        except (msgspec.DecodeError, RecursionError) as exc:
            raise NoAnswer(f"the engine does not say what it should: {str(exc)[:100]}") from exc
        # Names are looked up too: another's container may be called as this one's id.
        return _said(found, self._runtime) if found.id == question.id else None

    def _get(self, path: str) -> tuple[int, bytes]:
        until_s = time.monotonic() + self._timeout_s
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
                connection.settimeout(self._timeout_s)
                connection.connect(self._path)
                self._require_owner(connection)
                connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
                reply = _received(connection, until_s)
        except TimeoutError as exc:
            raise NoAnswer(f"no answer within {self._timeout_s:g} s") from exc
        except OSError as exc:
            raise NoAnswer(exc.strerror or str(exc)) from exc
        match = _STATUS.match(reply)
        head, blank, body = reply.partition(b"\r\n\r\n")
        if match is None or not blank:
            raise NoAnswer(f"no HTTP: {bytes(head[:40])!r}")
        return int(match[1]), body

    def _require_owner(self, connection: socket.socket) -> None:
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        listening = _CREDENTIALS.unpack(raw)[1]
        if listening not in {0, self._uid}:
            raise NoAnswer(f"user {listening} listens there")


def _received(connection: socket.socket, until_s: float) -> bytes:
    """Return all until the other end closes.  Raises OSError, TooLarge."""
    reply = bytearray()
    while True:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        chunk = connection.recv(READ_BYTES)
        if not chunk:
            return bytes(reply)
        reply += chunk
        if len(reply) > ANSWER_BYTES:
            raise TooLarge(f"an answer of more than {ANSWER_BYTES} bytes")


def _said(found: _Inspected, runtime: str) -> Said:
    state = found.state or _State()
    config = found.config or _Config()
    written = config.labels or {}
    kept, cut_labels = labels(written)
    mounted, cut_mounts = mounts((one.destination, one.source, not one.writable) for one in found.mounts or ())
    own = Said(
        runtime=runtime,
        name=text(found.name.removeprefix("/")) if found.name else None,
        image=text(config.image, IMAGE_CHARACTERS),
        image_digest=digest_of(found.image_digest) or digest_of(found.image),
        labels=kept or None,
        mounts=mounted or None,
        privileged=found.host_config.privileged if found.host_config else None,
        started_at_ns=moment_ns(state.started_at),
        pid=state.pid or None,
        trimmed=cut_labels or cut_mounts,
    )
    return own.then(marks.pod_of(written)) if "io.kubernetes.pod.uid" in written else own
