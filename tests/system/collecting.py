"""A collector as a process of its own, and a bare agent's stream to it, for tests."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from typing import Self

import grpc
import pytest

from tests.certificates import Files
from vedette.v1 import event_pb2
from vedette.v1 import finding_pb2
from vedette.v1 import ingest_pb2
from vedette.v1 import place_pb2
from vedette.v1 import query_pb2

ROOT = Path(__file__).parents[2]
WAIT_S = 20.0  # two cores, shared
_READY = re.compile(r"listening on (\S+),")


class Collector:
    """A child process; start it again to see what it kept."""

    def __init__(self, folder: Path, settings: str = "", listen: str = "127.0.0.1:0") -> None:
        self.state_dir = folder / "state"
        self._config = folder / "collector.toml"
        self._config.write_text(f'listen = "{listen}"\nstate_dir = "{self.state_dir}"\n{settings}')
        self.address = ""
        self.lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = (sys.executable, "-m", "collector", "--config", str(self._config))
        # The agent's client, if this process has had one, keeps gRPC from writing a log; a collector's does not.
        environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
        self._process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment)
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._process, ready), daemon=True)
        self._reader.start()
        assert ready.wait(WAIT_S), self.lines
        assert self.address, self.lines

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._gone()

    def terminate(self) -> int:
        """Ask it to end; return its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._gone()

    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def _gone(self) -> int:
        assert self._process is not None
        try:
            status = self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it did not end; it said: {self.lines}")
        self._reader.join(WAIT_S)
        assert self._process.stderr is not None
        self._process.stderr.close()
        return status

    def _read(self, process: subprocess.Popen[str], ready: threading.Event) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.lines.append(line.rstrip())
            match = _READY.search(line)
            if match:
                self.address = match[1]
                ready.set()
        ready.set()


@contextmanager
def collector(folder: Path, settings: str = "", listen: str = "127.0.0.1:0") -> Iterator[Collector]:
    """Run a collector that keeps its state below `folder`."""
    made = Collector(folder, settings, listen)
    made.start()
    try:
        yield made
    finally:
        if made.running():
            made.kill()


class Stream:
    """One stream of an agent that does what the test says."""

    def __init__(self, address: str, files: Files | None = None) -> None:
        self._channel = channel(address, files)
        self._outgoing: queue.SimpleQueue[ingest_pb2.AgentMessage | None] = queue.SimpleQueue()
        method = self._channel.stream_stream(
            "/vedette.v1.Ingest/Stream",
            request_serializer=ingest_pb2.AgentMessage.SerializeToString,
            response_deserializer=ingest_pb2.CollectorMessage.FromString,
        )
        self._incoming = method(iter(self._outgoing.get, None), timeout=WAIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._outgoing.put(None)
        self._incoming.cancel()
        self._channel.close()

    def send(self, **message: Any) -> None:
        """Send one message of the kind that is named."""
        self._outgoing.put(ingest_pb2.AgentMessage(**message))

    def hello(
        self, host_id: str = "i-0123456789abcdef0", spool_id: str = "spool", place: place_pb2.Place | None = None
    ) -> ingest_pb2.Welcome:
        """Say hello; return what is durable."""
        host = ingest_pb2.Host(id=host_id, name="web-1")
        self.send(hello=ingest_pb2.Hello(host=host, spool_id=spool_id, agent_version="0.1.0", place=place))
        return self.receive().welcome

    def findings(self, *findings: finding_pb2.Finding) -> None:
        """Send findings in one batch."""
        self.send(findings=ingest_pb2.FindingBatch(findings=findings))

    def events(self, events: list[event_pb2.Event]) -> None:
        """Send events in one batch."""
        self.send(events=ingest_pb2.EventBatch(events=events))

    def receive(self) -> ingest_pb2.CollectorMessage:
        """Return the next message. Raises grpc.RpcError when the stream ends."""
        message: ingest_pb2.CollectorMessage = next(self._incoming)
        return message

    def acknowledged(self, lane: int, through: int) -> None:
        """Wait until `through` is acknowledged in `lane`."""
        while True:
            ack = self.receive().ack
            if ack.lane == lane and ack.through >= through:
                assert ack.through == through
                return

    def finish(self) -> None:
        """Send no more, and wait until the collector has ended the stream."""
        self._outgoing.put(None)
        for _ in self._incoming:
            pass

    def error(self) -> tuple[grpc.StatusCode, str]:
        """Wait until the collector ends the stream; return how."""
        try:
            while True:
                self.receive()
        except grpc.RpcError as exc:
            return exc.code(), exc.details()


def channel(address: str, files: Files | None = None) -> grpc.Channel:
    """Return a channel, with mutual TLS if there are files."""
    if files is None:
        return grpc.insecure_channel(address)
    credentials = grpc.ssl_channel_credentials(
        files.ca_file.read_bytes(), files.key_file.read_bytes(), files.cert_file.read_bytes()
    )
    return grpc.secure_channel(address, credentials)


def query(connection: grpc.Channel, method: str, request: Any) -> Any:
    """Call a method of the Query service; return the stream of its answers."""
    answer = query_pb2.Update if method == "Watch" else query_pb2.Row
    call = connection.unary_stream(
        f"/vedette.v1.Query/{method}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=answer.FromString,
    )
    return call(request, timeout=WAIT_S)
