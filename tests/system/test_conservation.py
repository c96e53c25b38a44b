"""Nothing is lost in silence: what the kernel counted is what the store has, kind by kind, to the last one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from agent import probes
from tests.system.running import wait_for
from tests.system.test_outages import Post
from tests.system.test_outages import posted

NAMES = [*(probe.name for probe in probes.load()), "existing"]
ROUNDS = 1_000
CLOSED_PORT = 9  # discard; nobody listens, and the attempt is what counts
QUESTION = struct.pack("!6H", 1, 0x100, 1, 0, 0, 0) + b"\4ours\4test\0" + struct.pack("!HH", 1, 1)
LOST = ("failed", "oversized", "evicted", "malformed", "errors", "refused")


def test_the_store_has_what_the_kernel_counted(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An agent that is stopped in the middle of things has told the collector all that its hooks reported."""
    folder = tmp_path_factory.mktemp("kept")
    with posted(folder) as post:
        with going_on(folder):
            wait_for(lambda: post.standing()["events_through"] > 5 * ROUNDS, post.agent.said)
            assert 0 == post.agent.stop(), post.agent.said
        counters: dict[str, int] = post.standing()["counters"]
        stored = stored_in(post)

    assert {} == {name: count for name, count in counters.items() if count and name.rpartition(".")[2] in LOST}
    assert {name: counters[f"sensor.{name}.submitted"] for name in NAMES} == {
        name: stored.get(name, 0) for name in NAMES
    }
    assert counters["decode.events"] == sum(stored.values())
    assert {"process_exec", "process_fork", "process_exit", "file_open", "library_map", "net_connect"} <= stored.keys()


def test_a_flood_is_lost_by_the_number(tmp_path_factory: pytest.TempPathFactory) -> None:
    """When the agent does not come to read, what the rings could not hold is counted, and the rest arrives."""
    folder = tmp_path_factory.mktemp("kept")
    with posted(folder) as post:
        with stopped(post.agent.pid), going_on(folder):
            wait_for(lambda: len(list(folder.iterdir())) > 2 * ROUNDS)
            os.kill(post.agent.pid, signal.SIGTERM)  # so that all that waits is worked through at the end
        assert 0 == post.agent.stop(), post.agent.said
        counters: dict[str, int] = post.standing()["counters"]
        stored = stored_in(post)

    assert {name: counters[f"sensor.{name}.submitted"] for name in NAMES} == {
        name: stored.get(name, 0) for name in NAMES
    }
    assert 0 < sum(counters[f"sensor.{name}.failed"] for name in NAMES)
    assert 0 == post.standing()["events_missing"]


def stored_in(post: Post) -> dict[str, int]:
    """Return how many events of each kind are kept, each sequence once; `existing` are those of no hook."""
    files = str(post.kept / "events" / "*" / "*" / "*" / "*.parquet")
    counted = (
        "SELECT if(existing, 'existing', kind), count(DISTINCT (spool_id, sequence)) "
        "FROM read_parquet(?, union_by_name = true) WHERE kind IS DISTINCT FROM 'container' GROUP BY ALL"
    )
    return dict(duckdb.execute(counted, [files]).fetchall())


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Let a process not run while the block lasts."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def going_on(folder: Path) -> Iterator[None]:
    """Start programs, write files, connect and ask while the block lasts."""
    over = threading.Event()

    def work(number: int) -> None:
        made = 0
        while not over.is_set():
            path = folder / f"{number}-{made}"
            path.write_bytes(b"")
            subprocess.run(["/bin/true", str(path)], check=True)
            with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
                tcp.connect_ex(("127.0.0.1", CLOSED_PORT))
                udp.sendto(QUESTION, ("127.0.0.1", 53))
            made += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        over.set()
        for worker in workers:
            worker.join()
