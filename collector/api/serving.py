"""The API's server: uvicorn on a thread and an event loop of its own, so that no question holds up an agent."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from collector.address import Address
from collector.address import parse
from collector.api.application import Application
from collector.api.application import Parts
from collector.api.desk import Desk
from collector.api.limits import Rate
from collector.api.metrics import Metrics
from collector.config import Api
from collector.config import Config
from collector.config import Tls
from collector.errors import AddressError
from collector.watch import Hub

READERS = 4  # threads that look things up; DuckDB takes its own beside
CONNECTIONS = 256  # at once; beyond, 503
HEAD_TIMEOUT_S = 10.0  # from a connection's start to its first request
IDLE_TIMEOUT_S = 15
ADDRESS_PER_S, ADDRESS_BURST = 2.0, 20.0  # of those whose token does not count
RELOAD_S = 5.0
START_S = 10.0
STOP_S = 5.0

_log = logging.getLogger(__name__)


class Serving:
    """The API while it is served."""

    def __init__(self, api: Api, tls: Tls | None, parts: Parts) -> None:
        """Listen. Raises AddressError."""
        self._parts = parts
        self._socket = _bound(parse(api.address))
        self._config = uvicorn.Config(
            Application(parts),
            http=Patience,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=IDLE_TIMEOUT_S,
            timeout_graceful_shutdown=int(STOP_S),
            h11_max_incomplete_event_size=32 * 1024,
            ssl_certfile=None if tls is None else str(tls.cert_file),
            ssl_keyfile=None if tls is None else str(tls.key_file),
        )
        self._server = uvicorn.Server(self._config)
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)

    @property
    def address(self) -> str:
        """Return where it listens, with the port that was taken."""
        host, port = self._socket.getsockname()[:2]
        scheme = "https" if self._config.is_ssl else "http"
        return f"{scheme}://{Address(host=host, port=port)}"

    def start(self) -> None:
        """Serve. Raises AddressError when it does not begin to."""
        self._thread.start()
        ends_s = time.monotonic() + START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > ends_s:
                raise AddressError(f"the API does not start on {self.address}")
            time.sleep(0.01)
        _log.info("API on %s", self.address)

    def stop(self) -> None:
        """Serve no more."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(STOP_S + 1)
        self._parts.readers.shutdown(wait=False, cancel_futures=True)
        self._parts.desk.close()
        self._socket.close()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        reloading = asyncio.create_task(self._reload_for_ever())
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            reloading.cancel()

    async def _reload_for_ever(self) -> None:
        """Have new connections served with the certificate as it is now; a file that cannot be used changes nothing."""
        said = None
        while True:
            await asyncio.sleep(RELOAD_S)
            if not self._config.loaded or self._config.ssl is None:
                continue
            try:
                self._config.ssl.load_cert_chain(str(self._config.ssl_certfile), str(self._config.ssl_keyfile))
                said = None
            except OSError as exc:
                if str(exc) != said:
                    _log.error("the API's certificate cannot be read anew: %s", exc)
                said = str(exc)


class Patience(H11Protocol):
    """HTTP/1.1 that hangs up on who connects and asks nothing."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self._head = self.loop.call_later(HEAD_TIMEOUT_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        if self._head is not None:
            self._head.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        if self.cycle is None:
            self.transport.close()


def serving(config: Config, api: Api, hub: Hub, ready: Callable[[], bool]) -> Serving:
    """Return the API of a collector, listening. Raises AddressError, StateError."""
    desk = Desk(config.state_dir, config.database_url, time.time_ns)
    parts = Parts(
        desk=desk,
        metrics=Metrics(desk, hub),
        readers=ThreadPoolExecutor(READERS, "api-reader"),
        ready=ready,
        by_token=Rate(api.requests_per_s, max(5 * api.requests_per_s, 1), time.monotonic),
        by_address=Rate(ADDRESS_PER_S, ADDRESS_BURST, time.monotonic),
    )
    return Serving(api, config.tls, parts)


def _bound(address: Address) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(where)
    except OSError as exc:
        raise AddressError(f"the API cannot listen on {address}: {exc.strerror}") from exc
    return made
