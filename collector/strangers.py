"""The port for hosts that have no certificate yet: TLS, none asked of the client, and the service Enrol alone."""

from __future__ import annotations

import logging

import grpc

from collector.address import require_free
from collector.config import Enrolment
from collector.enrol import Enrolling
from collector.errors import AddressError
from collector.keeping import Keeping
from collector.trust import Trust

_OPTIONS = [
    ("grpc.max_receive_message_length", 64 * 1024),  # a request takes 4 KiB
    ("grpc.so_reuseport", 0),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 10_000),  # one question, and goodbye
    ("grpc.max_connection_age_ms", 30_000),  # an answer takes a second at the worst
    ("grpc.max_connection_age_grace_ms", 5_000),  # nor can a request that never ends hold one
    ("grpc.max_concurrent_streams", 4),
]
_AT_ONCE = 2_000  # questions under way, among them those whose sender dawdles; more are told to come again

_log = logging.getLogger(__name__)


class Strangers:
    """Serves them, from `open` to `close`; belongs to one event loop."""

    def __init__(self, settings: Enrolment, trust: Trust, answered: dict[str, int]) -> None:
        """`answered` is where answers are counted."""
        self._settings = settings
        self._trust = trust
        self._server: grpc.aio.Server | None = None
        self.enrolling = Enrolling(settings, trust, answered)

    async def open(self) -> None:
        """Listen. Raises AddressError."""
        require_free(self._settings.address)
        self._server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=_AT_ONCE)
        self._server.add_generic_rpc_handlers((self.enrolling.join_handler(),))
        address = self._settings.address
        try:
            port = self._server.add_secure_port(str(address), self._trust.open_credentials())
        except RuntimeError as exc:
            raise AddressError(f"cannot listen on {address}: taken, or the certificates cannot be used") from exc
        await self._server.start()
        _log.info("hosts join on %s:%d", address.host, port)

    async def close(self, grace_s: float) -> None:
        """Answer who is being answered, and stop."""
        if self._server is not None:
            await self._server.stop(grace_s)
        self.enrolling.close()


async def opened(settings: Enrolment | None, keeping: Keeping, server: grpc.aio.Server) -> Strangers | None:
    """Open the port if there is to be one, and serve renewals on `server`, among members. Raises AddressError."""
    if settings is None or keeping.trust is None:
        return None
    made = Strangers(settings, keeping.trust, keeping.hub.enrolments)
    server.add_generic_rpc_handlers((made.enrolling.renew_handler(),))
    await made.open()
    return made
