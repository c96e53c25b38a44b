"""One dialled stream to the collector; the only module that talks to gRPC.

gRPC takes the next message from the iterator only when it has handed over the
one before, so nothing queues up here. A connection whose other end is gone
without a word is noticed by pings.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from collections.abc import Iterator

import grpc

from agent.deliver.target import Target
from agent.errors import CollectorError
from vedette.v1 import ingest_pb2

Options = tuple[tuple[str, int], ...]
"""Channel arguments by gRPC's names."""

_METHOD = f"/{ingest_pb2.DESCRIPTOR.services_by_name['Ingest'].full_name}/Stream"

_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),  # a half-open connection is found out within 40 s
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # what ends it in 1.85; the line above alone takes 60 s (grpc/grpc#39239)
    ("grpc.http2.max_pings_without_data", 0),  # 0 is no limit: a quiet host pings, too
    ("grpc.enable_retries", 0),  # we resend ourselves, from the spool
    ("grpc.use_local_subchannel_pool", 1),  # else a new dial inherits the back-off of the last channel
    ("grpc.max_receive_message_length", 64 * 1024),  # a welcome or an acknowledgement is under 100 bytes
)
_PLAIN = (("grpc.enable_http_proxy", 0),)  # $http_proxy would take plain text off this host

_REFUSALS = frozenset(
    {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.RESOURCE_EXHAUSTED,  # too many streams of one identity, or a message over the limit
    }
)
"""What does not pass by itself; anything else may be a collector that restarts."""

_TLS_WORDS = ("handshake", "verification")  # gRPC reports a certificate not accepted as UNAVAILABLE, with one of these
_HUNG_UP = ("failed to connect", "Socket closed")
_REASON_MAX = 300  # characters: enough for OpenSSL's longest, and no room for a flood in the log


class Unreachable(CollectorError):
    """No stream, or no longer; the next dial may do better."""


class Refused(CollectorError):
    """The collector does not want this agent, or this agent not the collector."""


class Line:
    """One stream, dialled once."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._cancel: Callable[[], object] | None = None
        self._hung_up = False

    def talk(self, messages: Iterator[ingest_pb2.AgentMessage]) -> Iterator[ingest_pb2.CollectorMessage]:
        """Send `messages` and yield what comes back until either side ends it.

        Raises Unreachable or Refused with the reason; ConfigError when a certificate file became unusable.
        """
        with channel_to(self._target, _OPTIONS) as channel:
            stream = channel.stream_stream(
                _METHOD,
                request_serializer=ingest_pb2.AgentMessage.SerializeToString,
                response_deserializer=ingest_pb2.CollectorMessage.FromString,
            )
            call = stream(messages)
            self._keep(call.cancel)
            try:
                yield from call
            except grpc.RpcError as exc:
                raise _translated(exc, sealed=self._target.files is not None) from exc
            finally:
                self.hang_up()

    def hang_up(self) -> None:
        """End the stream, from any thread, also before it began."""
        with self._lock:
            self._hung_up = True
            if self._cancel is not None:
                self._cancel()

    def _keep(self, cancel: Callable[[], object]) -> None:
        with self._lock:
            self._cancel = cancel
            if self._hung_up:
                cancel()


def channel_to(target: Target, options: Options) -> grpc.Channel:
    """Return a channel, in plain text or over mutual TLS as the target demands.

    Raises ConfigError when a certificate file became unusable.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own lines on standard error would repeat what we report
    credentials = target.credentials()
    if credentials is None:
        return grpc.insecure_channel(target.uri, options=(*options, *_PLAIN))
    ca, cert, key = credentials
    secret = grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)
    return grpc.secure_channel(target.dialled(), secret, options=options)


def _translated(error: grpc.RpcError, *, sealed: bool) -> CollectorError:
    """Return what gRPC says as one of ours; the text is the collector's and is shown escaped.

    In TLS 1.3 our certificate is looked at when the handshake is over for us: who does not like it just hangs up.
    """
    if not isinstance(error, grpc.Call):
        return Unreachable(repr(error)[:_REASON_MAX])
    code, details = error.code(), error.details() or ""
    reason = f"{code.name}: {ascii(details)[1:-1]}"[:_REASON_MAX]
    if sealed and all(word in details for word in _HUNG_UP):
        reason += "; as the connection was made: the collector may not know who signed our certificate"
    about_tls = code is grpc.StatusCode.UNAVAILABLE and any(word in details.lower() for word in _TLS_WORDS)
    return Refused(reason) if about_tls or code in _REFUSALS else Unreachable(reason)
