"""The services Enrol and Renewal of gRPC: who asks, how often, and one line in the log for each answer.

Enrol has a server and a port of its own, where no certificate is asked of the
client: what a stranger can reach is this file and `admission`, with messages of
64 KiB, a few at a time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING
from typing import Any
from typing import NoReturn
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.message import Message

from collector.admission import Admission
from collector.config import Enrolment
from collector.errors import ConfigError
from collector.errors import Denied
from collector.errors import StateError
from collector.members import Line
from collector.rates import Rate
from collector.rates import network_of
from collector.trust import Trust
from collector.trust import peer_of
from vedette.v1 import enrol_pb2

if TYPE_CHECKING:
    Handler = grpc.GenericRpcHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, enrol_pb2.Membership]

JOIN = "vedette.v1.Enrol"
RENEW = "vedette.v1.Renewal"
_SOURCE_PER_S, _SOURCE_BURST = 20.0, 200  # behind a balancer all hosts are one source
_NAME_PER_S, _NAME_BURST = 1 / 600, 6  # renewals of one host: a certificate holds weeks
_SWEEP_S = 86_400.0
_SAID_PER_S, _SAID_BURST = 1.0, 60  # lines about refusals in the log

_log = logging.getLogger(__name__)

T = TypeVar("T", bound=Message)
Answer = tuple[enrol_pb2.Membership, Line]


class Enrolling:
    """Answers hosts that want a certificate; belongs to one event loop."""

    def __init__(self, settings: Enrolment, trust: Trust, answered: dict[str, int]) -> None:
        """`answered` is where answers are counted: `joined`, `renewed`, `refused`."""
        self._admission = Admission(settings)
        self._trust = trust
        self._threads = ThreadPoolExecutor(2, "enrol")  # of its own: strangers do not hold up events
        self._joins = Rate(per_s=_SOURCE_PER_S, burst=_SOURCE_BURST)
        self._renewals = Rate(per_s=_NAME_PER_S, burst=_NAME_BURST)
        self._said = Rate(per_s=_SAID_PER_S, burst=_SAID_BURST)
        self._unsaid = 0
        self._swept_s = -_SWEEP_S
        self._answered = answered

    def join_handler(self) -> Handler:
        """Return the service for strangers as gRPC takes it."""
        return _handler(JOIN, "Join", (self._join, enrol_pb2.JoinRequest))

    def renew_handler(self) -> Handler:
        """Return the service for members as gRPC takes it."""
        return _handler(RENEW, "Renew", (self._renew, enrol_pb2.RenewRequest))

    def sweep(self) -> None:
        """Forget, on a thread, certificates that ended long ago, once a day; what goes wrong is in the log."""
        if time.monotonic() - self._swept_s < _SWEEP_S:
            return
        self._swept_s = time.monotonic()
        self._threads.submit(self._forget)

    def _forget(self) -> None:
        try:
            count = self._admission.sweep()
        except StateError as exc:
            _log.error("old certificates are kept: %s", exc)
        else:
            _log.info("forgot %d certificates that ended long ago", count)

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown()

    async def _join(self, request: enrol_pb2.JoinRequest, context: Context) -> enrol_pb2.Membership:
        source = _source(context)
        work = partial(self._admission.join, request, source)
        return await self._answer(work, self._joins, network_of(source), context)

    async def _renew(self, request: enrol_pb2.RenewRequest, context: Context) -> enrol_pb2.Membership:
        properties = context.auth_context()
        pem, peer = next(iter(properties.get("x509_pem_cert", ())), None), peer_of(properties)
        if pem is None or peer is None:
            return await self._refuse(
                context, grpc.StatusCode.UNAUTHENTICATED, "a renewal needs the certificate in use"
            )
        refusal = self._trust.refusal(peer)
        if refusal is not None:
            return await self._refuse(context, grpc.StatusCode.PERMISSION_DENIED, refusal)
        name = b" ".join(properties.get("x509_common_name", ())).decode(errors="replace")
        work = partial(self._admission.renew, request, pem, _source(context))
        return await self._answer(work, self._renewals, name, context)

    async def _answer(
        self, work: Callable[[], Answer], rate: Rate, source: str, context: Context
    ) -> enrol_pb2.Membership:
        if not rate.allows(source, time.monotonic()):
            return await self._refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "too many ask; ask again later")
        try:
            membership, line = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (Denied, ConfigError) as exc:
            return await self._refuse(context, grpc.StatusCode.PERMISSION_DENIED, str(exc))
        except (StateError, OSError) as exc:
            _log.error("no certificate for %s: %s", context.peer(), exc)
            return await self._refuse(context, grpc.StatusCode.UNAVAILABLE, "the collector cannot sign now")
        self._answered[line.what] += 1
        self.sweep()
        until = f"{line.ends_at:%Y-%m-%d}"
        said = (line.what, line.host, line.by, line.source, line.serial, until)
        _log.info("%s: host %s by %s from %s, serial %s until %s", *said)
        return membership

    async def _refuse(self, context: Context, code: grpc.StatusCode, text: str) -> NoReturn:
        self._answered["refused"] += 1
        if self._said.allows("", time.monotonic()):
            more = f" ({self._unsaid} more were not told)" if self._unsaid else ""
            _log.warning("no certificate for %s: %s%s", context.peer(), text, more)
            self._unsaid = 0
        else:
            self._unsaid += 1
        await context.abort(code, text)


def _handler(service: str, method: str, how: tuple[Any, Any]) -> Handler:
    serializer = enrol_pb2.Membership.SerializeToString
    rpc = grpc.unary_unary_rpc_method_handler(
        how[0], request_deserializer=_parsed(how[1]), response_serializer=serializer
    )
    return grpc.method_handlers_generic_handler(service, {method: rpc})


def _parsed(message: type[T]) -> Callable[[bytes], T]:
    """Return what parses a message; of bytes that are none it makes an empty one, which is refused with a sentence."""

    def parse(data: bytes) -> T:
        try:
            return message.FromString(data)
        except DecodeError:
            return message()

    return parse


def _source(context: Context) -> str:
    """Return the address of who asks, without its port."""
    return context.peer().rpartition(":")[0][:64]
