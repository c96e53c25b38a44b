"""The collector as a whole: opened, served, and closed so that nothing received is left unwritten.

The server runs on an event loop in a thread of its own; what blocks (SQL, files)
runs on other threads.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TextIO
from typing import TypeVar

import grpc

from collector import config as configuration
from collector import holding
from collector import strangers
from collector.address import Address
from collector.address import require_free
from collector.config import Config
from collector.errors import AddressError
from collector.errors import CollectorFault
from collector.errors import ConfigError
from collector.events import EventFiles
from collector.exporting import Exporting
from collector.governing import Governance
from collector.ingest import Ingest
from collector.keeping import Budget
from collector.keeping import Claims
from collector.keeping import Keeping
from collector.service import Query
from collector.steering import hear_news_for_ever
from collector.store import Store
from collector.store import default_url
from collector.tidying import tidy_for_ever
from collector.trust import Trust
from collector.watch import Hub
from collector.web import Web

MESSAGE_LIMIT_BYTES = 4 * 1024 * 1024
DISK_THREADS = 4  # writing is mostly waiting for fsync; a query takes one while it reads a chunk
STOP_GRACE_S = 5.0
READY_S = 2.0  # of the event loop, when the API is asked whether it is
ALIVE_S = 1.0  # systemd wants a sign of life every 30 s
REVIEW_INTERVAL_S = 2.0  # so long a revoked certificate goes on at most
_ENDING = (signal.SIGTERM, signal.SIGINT)
_OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
    ("grpc.so_reuseport", 0),  # else a second server on the port takes half the agents, and nobody notices
    ("grpc.keepalive_time_ms", 30_000),  # finds hosts that are gone without a word
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # what ends it in 1.85; the line above alone takes 60 s (grpc/grpc#39239)
    ("grpc.server_handshake_timeout_ms", 10_000),  # who connects and says nothing takes a descriptor; gRPC's is 120 s
    ("grpc.max_connection_idle_ms", 30_000),  # nor is one kept that has no stream: an agent's always has
    ("grpc.max_concurrent_streams", 100),  # of one connection; an agent has one
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),  # agents ping, too
]

_NS_PER_S = 1_000_000_000

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Server:
    """One collector on one state directory."""

    def __init__(self, config: Config, now_ns: Callable[[], int] = time.time_ns) -> None:
        configuration.check(config)
        self._config = config
        self._now_ns = now_ns
        self._store = Store(config.database_url or default_url(config.state_dir), now_ns)
        self._files = EventFiles(config.state_dir)
        self._lock: TextIO | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="collector", daemon=True)
        self._sql = ThreadPoolExecutor(1, "sql")
        self._disk = ThreadPoolExecutor(DISK_THREADS, "disk")
        self._stopped = threading.Event()
        self._server: grpc.aio.Server | None = None
        self._strangers: strangers.Strangers | None = None
        self._hub = Hub()
        self.web = Web()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> str:
        """Open the state, listen, and return the address, with the port that was taken.

        Raises AddressError, AlreadyRunning, ConfigError, StateError.
        """
        try:
            require_free(self._config.address)
            self._lock = holding.lock(self._config.state_dir)
            self._store.open(holding.own_id(self._config.state_dir))
            self._store.exports = {one.name: one.repeat_s * _NS_PER_S for one in self._config.exports}
            self._files.open(self._store.committed())
            self._thread.start()
            address = self._call(self._listen())
            self.web.start(self._config, self._hub, partial(self.answers, READY_S))
            return address  # noqa: TRY300  the API belongs to starting
        except CollectorFault:
            self.stop(grace_s=0)
            raise

    def answers(self, timeout_s: float) -> bool:
        """Tell whether the event loop gets round to anything within `timeout_s`."""
        turned = threading.Event()
        self._loop.call_soon_threadsafe(turned.set)
        return turned.wait(timeout_s)

    def wait(self) -> None:
        """Return when the collector has stopped."""
        self._stopped.wait()

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Write and acknowledge what was received, and end."""
        self.web.stop()
        if self._thread.is_alive():
            self._call(self._close(grace_s))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._sql.shutdown()
        self._disk.shutdown()
        self._store.close()
        if self._lock is not None:
            self._lock.close()
        self._stopped.set()

    def _call(self, work: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> str:
        """Start to serve, and return where."""
        keeping = self._keeping()
        self._ingest = Ingest(keeping)
        self._query = Query(keeping)
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers(
            (self._ingest.handler(), self._query.handler(), Governance(keeping).handler())
        )
        bound = _bind(self._server, self._config.address, keeping.trust)
        _share(bound, self._config.socket_group)
        self._strangers = await strangers.opened(self._config.enrolment, keeping, self._server)
        await self._server.start()
        works: dict[str, Coroutine[object, object, None]] = {
            "tidying event files": tidy_for_ever(keeping),
            "looking at certificates": self._review_for_ever(keeping),
            "hearing of policies": hear_news_for_ever(keeping),
        } | {f"export {one.name}": Exporting(keeping, one).run() for one in self._config.exports}
        self._tasks = [asyncio.create_task(work, name=name) for name, work in works.items()]
        for task in self._tasks:
            task.add_done_callback(_confess)
        return str(bound)

    async def _close(self, grace_s: float) -> None:
        """Take no more streams, end those there are, and wait until what they received is written."""
        if self._server is None:
            return
        stopping = asyncio.create_task(self._server.stop(grace_s))
        self._query.close()
        if self._strangers is not None:
            await self._strangers.close(grace_s)
        await self._ingest.drain()
        await stopping
        await self._ingest.drain()
        for task in self._tasks:
            task.cancel()
        path = self._config.address.path
        if path is not None:
            path.unlink(missing_ok=True)

    async def _review_for_ever(self, keeping: Keeping) -> None:
        while keeping.trust is not None:
            await asyncio.sleep(REVIEW_INTERVAL_S)
            keeping.trust.look()
            self._ingest.review()

    def _keeping(self) -> Keeping:
        return Keeping(
            config=self._config,
            store=self._store,
            files=self._files,
            hub=self._hub,
            budget=Budget(self._config.buffer_bytes),
            claims=Claims(),
            sql=self._sql,
            disk=self._disk,
            now_ns=self._now_ns,
            trust=None if self._config.tls is None else Trust(self._config.tls),
        )


def run(config: Config, ready: Callable[[str], None] | None = None, alive: Callable[[], None] | None = None) -> None:
    """Run a collector until SIGTERM or SIGINT.

    `ready` is called with the address once it listens, `alive` about once a second while its loop answers.
    For the main thread. Raises what `Server.start` raises.
    """
    os.umask(0o077)  # events hold command lines
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a thousand connections are a fleet, or anybody's loop
    # Blocked in every thread, and waited for: a handler that runs just before a thread goes to sleep does not wake it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    server = Server(config)
    address = server.start()
    _log.info("listening on %s, keeping in %s", address, config.state_dir)
    if ready is not None:
        ready(address)
    while signal.sigtimedwait(_ENDING, ALIVE_S) is None:
        if alive is not None and server.answers(ALIVE_S):
            alive()
    server.stop()
    _log.info("stopped")


def _confess(task: asyncio.Task[None]) -> None:
    """Log what ended a task that goes on for ever: a bug of ours, and what it did is not done any more."""
    if not task.cancelled() and (why := task.exception()) is not None:
        _log.error("%s ended, by a bug, until the collector is started again", task.get_name(), exc_info=why)


def _share(address: Address, group: str | None) -> None:
    """Let a group use the unix socket, too. Raises ConfigError when it cannot be given to that."""
    if address.path is None or group is None:
        return
    try:
        shutil.chown(address.path, group=group)
        address.path.chmod(0o660)
    except (LookupError, OSError) as exc:
        raise ConfigError(f"`socket_group` {group!r}: {exc}") from exc


def _bind(server: grpc.aio.Server, address: Address, trust: Trust | None) -> Address:
    """Bind and return the address with the port that was taken; a unix socket is for our own user alone."""
    before = os.umask(0o177)
    try:
        if trust is None:
            port = server.add_insecure_port(str(address))
        else:
            port = server.add_secure_port(str(address), trust.credentials())
    except RuntimeError as exc:
        raise AddressError(f"cannot listen on {address}: taken, or the certificates cannot be used") from exc
    finally:
        os.umask(before)
    return address if address.path is not None else Address(host=address.host, port=port)
