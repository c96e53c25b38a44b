"""The Container Runtime Interface: gRPC over the socket of containerd or cri-o (proto/vedette/v1/cri.proto).

`verbose` brings, as JSON of no fixed form, what the interface has no field for: the image as it was asked for,
whether the container is privileged, its first process and its pod's sandbox.  An answer that is too large with it is
asked for again without.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

import grpc
import msgspec
from google.protobuf.message import Message

from agent.enrich.asking import marks
from agent.enrich.asking.said import ANSWER_BYTES
from agent.enrich.asking.said import IMAGE_CHARACTERS
from agent.enrich.asking.said import NoAnswer
from agent.enrich.asking.said import Question
from agent.enrich.asking.said import Said
from agent.enrich.asking.said import TooLarge
from agent.enrich.asking.said import digest_of
from agent.enrich.asking.said import labels
from agent.enrich.asking.said import mounts
from agent.enrich.asking.said import text
from vedette.v1 import cri_pb2

SERVICE = "/runtime.v1.RuntimeService/"
RUNTIMES = frozenset({"containerd", "cri-o", None})
_OPTIONS = (
    ("grpc.default_authority", "localhost"),  # else gRPC says the socket's path, which Go's server refuses
    ("grpc.max_receive_message_length", ANSWER_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),  # it is a socket of this host: a dial costs nothing
    ("grpc.enable_http_proxy", 0),
)


class _SecurityContext(msgspec.Struct):
    privileged: bool = False


class _Linux(msgspec.Struct):
    security_context: _SecurityContext | None = None


class _Image(msgspec.Struct):
    image: str | None = None
    user_specified_image: str | None = None


class _Config(msgspec.Struct):
    image: _Image | None = None
    linux: _Linux | None = None


class _Info(msgspec.Struct):
    """What containerd (CRI's container_status.go) and cri-o (container_status.go) put into `info`."""

    sandbox_id: str | None = msgspec.field(default=None, name="sandboxID")
    pid: int | None = None
    config: _Config | None = None
    privileged: bool | None = None


class CriSocket:
    """Asks one runtime; a call has a deadline, and gRPC keeps it."""

    def __init__(self, path: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._runtime: str | None = None
        self._channel = grpc.insecure_channel(f"unix://{path}", options=_OPTIONS)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def version(self) -> str:
        """Return name and version of the runtime.  Raises NoAnswer."""
        answer = self._call("Version", cri_pb2.VersionRequest(), cri_pb2.VersionResponse, self._timeout_s)
        return f"{text(answer.runtime_name)} {text(answer.runtime_version)}"

    def ask(self, question: Question) -> Said | None:
        """Return what the runtime says, None when it knows no such container.  Raises NoAnswer."""
        if question.runtime not in RUNTIMES:
            return None
        until_s = time.monotonic() + self._timeout_s
        answer = self._status(question.id, until_s)
        if answer is None:
            found = self._sandbox(question.id, until_s, of_itself=True)
            return None if found is None else self._whose(until_s).then(found)
        if answer.status.id != question.id:
            raise NoAnswer("the runtime answered for another container")
        info = _parsed(answer.info)
        found = _said(answer.status, info)
        if found.pod_name is None and info.sandbox_id is not None:
            pod = self._sandbox(info.sandbox_id, until_s, of_itself=False)
            found = pod.then(found) if pod else found
        return self._whose(until_s).then(found)

    def _whose(self, until_s: float) -> Said:
        """Return which runtime it is, which is asked once."""
        if self._runtime is None:
            with contextlib.suppress(NoAnswer):
                request, answer = cri_pb2.VersionRequest(), cri_pb2.VersionResponse
                self._runtime = self._call(
                    "Version", request, answer, max(until_s - time.monotonic(), 0.001)
                ).runtime_name
        return Said(runtime=text(self._runtime))

    def _status(self, container_id: str, until_s: float) -> Any:
        answer = cri_pb2.ContainerStatusResponse
        request = cri_pb2.ContainerStatusRequest(container_id=container_id, verbose=True)
        try:
            return self._known("ContainerStatus", request, answer, until_s)
        except TooLarge:
            request.verbose = False
            return self._known("ContainerStatus", request, answer, until_s)

    def _sandbox(self, sandbox_id: str, until_s: float, *, of_itself: bool) -> Said | None:
        """Return what a sandbox says of its pod; `of_itself`: the sandbox is the container that was asked for."""
        request = cri_pb2.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id, verbose=of_itself)
        answer = self._known("PodSandboxStatus", request, cri_pb2.PodSandboxStatusResponse, until_s)
        if answer is None or answer.status.id != sandbox_id:
            return None
        metadata = answer.status.metadata
        pod = Said(pod_name=text(metadata.name), pod_namespace=text(metadata.namespace), pod_uid=text(metadata.uid))
        if not of_itself:
            return pod
        kept, trimmed = labels(answer.status.labels)
        own = Said(name="POD", labels=kept or None, trimmed=trimmed, pid=_parsed(answer.info).pid)
        return pod.then(own).then(Said(started_at_ns=answer.status.created_at or None))

    def _known(self, method: str, request: Message, answer: Any, until_s: float) -> Any:
        """Return the answer, None when the runtime has no such thing.  Raises NoAnswer."""
        try:
            return self._call(method, request, answer, max(until_s - time.monotonic(), 0.001))
        except _NotFound:
            return None

    def _call(self, method: str, request: Message, answer: Any, timeout_s: float) -> Any:
        call = self._channel.unary_unary(
            SERVICE + method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        try:
            return call(request, timeout=timeout_s)
        except ValueError as exc:  # the channel was closed while we were asking
            raise NoAnswer("hung up") from exc
        except grpc.RpcError as exc:
            code = exc.code()
            if code is grpc.StatusCode.NOT_FOUND:
                raise _NotFound from exc
            if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise TooLarge(f"an answer of more than {ANSWER_BYTES} bytes") from exc
            raise NoAnswer(f"{code.name.lower()}: {str(exc.details())[:100]}") from exc


class _NotFound(NoAnswer):
    """The runtime knows no such container."""


def _parsed(info: Mapping[str, str]) -> _Info:
    try:
        return msgspec.json.decode(info.get("info", "{}"), type=_Info)
    except (msgspec.DecodeError, RecursionError):
        return _Info()


def _said(status: Any, info: _Info) -> Said:
    kept, cut_labels = labels(status.labels)
    mounted, cut_mounts = mounts((one.container_path, one.host_path, one.readonly) for one in status.mounts)
    found = marks.pod_of(status.labels)
    return found.then(
        Said(
            name=text(status.metadata.name),
            image=_image(status, info.config.image if info.config else None),
            image_digest=digest_of(status.image_ref),
            labels=kept or None,
            mounts=mounted or None,
            privileged=_privileged(info),
            started_at_ns=status.started_at or status.created_at or None,
            pid=info.pid or None,
            trimmed=cut_labels or cut_mounts,
        )
    )


def _image(status: Any, asked: _Image | None) -> str | None:
    """Return the image as it was asked for: a kubelet gives the runtime its id, and what the pod says beside."""
    candidates = [status.image.user_specified_image, status.image.image]
    if asked is not None:
        candidates = [asked.user_specified_image, asked.image, *candidates]
    given = [name for name in candidates if name]
    named = [name for name in given if digest_of(name) != name and not name.startswith("sha256:")]
    return text(next(iter(named or given), None), IMAGE_CHARACTERS)


def _privileged(info: _Info) -> bool | None:
    if info.privileged is not None:
        return info.privileged
    context = info.config.linux.security_context if info.config and info.config.linux else None
    return None if context is None else context.privileged
