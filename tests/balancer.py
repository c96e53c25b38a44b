"""A balancer of TCP connections in front of collectors, for tests: it moves agents, and can leave one end hanging."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

CONNECT_S = 2.0


class Balancer:
    """Gives each connection to the next collector that answers."""

    def __init__(self, addresses: Callable[[], list[str]]) -> None:
        self._addresses = addresses
        self._turn = itertools.count()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._hanging: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Let go of everything."""
        self._listener.close()
        for one in (*itertools.chain(*self._pairs), *self._hanging):
            one.close()

    def move_all(self) -> None:
        """Cut all agents off; their collectors are not told, and believe in the old connections still."""
        pairs, self._pairs = self._pairs, []
        for agent, collector in pairs:
            self._hanging.append(collector)
            with suppress(OSError):
                agent.shutdown(socket.SHUT_RDWR)
            agent.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                agent, _ = self._listener.accept()
                collector = self._connect()
                if collector is None:
                    agent.close()
                    continue
                self._pairs.append((agent, collector))
                for source, sink in ((agent, collector), (collector, agent)):
                    threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _connect(self) -> socket.socket | None:
        addresses = self._addresses()
        for _ in addresses:
            host, _, port = addresses[next(self._turn) % len(addresses)].rpartition(":")
            with suppress(OSError):
                return socket.create_connection((host, int(port)), CONNECT_S)
        return None

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        # Left hanging: the other end hears nothing, not even an end.
        if source not in self._hanging and sink not in self._hanging:
            for one in (source, sink):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
