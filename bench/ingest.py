"""How many events a second a collector takes, acknowledged after they are durable.

    python bench/ingest.py [EVENTS] [STREAMS]

Starts a collector on loopback in a temporary directory, sends EVENTS (200,000) over STREAMS (2) streams of as many
hosts, and prints events a second of wall time, the collector's CPU time an event, its peak memory, and bytes an event
on the wire and on the disk. The messages are made before the clock starts, so that the sender costs next to nothing.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc  # noqa: TID251  measures the collector by its own protocol

from vedette.v1 import event_pb2
from vedette.v1 import ingest_pb2

BUDGET_EVENTS_PER_S = 50_000
BATCH = 500  # as the agent's sender
ROOT = Path(__file__).parents[1]


def kind(number: int) -> event_pb2.Event:
    """Return what tells event `number` from others: a fifth each of five kinds."""
    path = f"/usr/bin/program{number % 50}"
    match number % 5:
        case 0:
            args = ["program", "-l", f"/tmp/{number}"]  # noqa: S108  a word in an event
            made = event_pb2.ProcessExec(path=path, filename=path, args=args, cwd="/", comm="program", inode=number)
            return event_pb2.Event(process_exec=made)
        case 1:
            return event_pb2.Event(process_fork=event_pb2.ProcessFork(child_tgid=number, child_started_ns=number))
        case 2:
            return event_pb2.Event(process_exit=event_pb2.ProcessExit(exit_code=0))
        case 3:
            return event_pb2.Event(file_open=event_pb2.FileOpen(path=f"/var/log/{number}", inode=number, created=True))
        case _:
            made_connect = event_pb2.NetConnect(protocol=6, remote_address=f"10.0.0.{number % 250}", remote_port=443)
            return event_pb2.Event(net_connect=made_connect)


def event(number: int, now_ns: int) -> event_pb2.Event:
    """Return event `number` with a full header."""
    made = kind(number)
    made.sequence, made.time_ns, made.at_ns = number, number * 1000, now_ns + number * 1000
    process = number % 500
    made.actor.MergeFrom(
        event_pb2.Actor(
            tgid=process + 1000,
            tid=process + 1000,
            started_ns=10**11 + process,
            ns_tgid=process + 1,
            cgroup_id=77,
            mnt_ns=4026531840,
            pid_ns=4026531836,
            uuid=f"{process:032x}",
            path=f"/usr/bin/program{process % 50}",
            name="program",
            container_id="ab" * 32,
            parent_tgid=1,
            parent_uuid=f"{1:032x}",
        )
    )
    return made


def messages(events: int) -> list[bytes]:
    """Return the batches of one stream as they go over the wire."""
    now_ns = time.time_ns()
    starts = range(1, events + 1, BATCH)
    batches = ([event(n, now_ns) for n in range(start, min(start + BATCH, events + 1))] for start in starts)
    return [ingest_pb2.AgentMessage(events={"events": batch}).SerializeToString() for batch in batches]


def send(address: str, host_id: str, batches: list[bytes], events: int) -> None:
    """Send all of it, and return when all of it is acknowledged."""
    hello = ingest_pb2.AgentMessage(hello={"host": {"id": host_id}, "spool_id": "bench"}).SerializeToString()
    done = threading.Event()

    def outgoing() -> Iterator[bytes]:
        yield hello
        yield from batches
        done.wait()

    with grpc.insecure_channel(address) as channel:
        stream = channel.stream_stream("/vedette.v1.Ingest/Stream", None, ingest_pb2.CollectorMessage.FromString)
        for answer in stream(outgoing()):
            if answer.ack.through >= events:
                done.set()


def start(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start a collector; return it with its address."""
    config = folder / "collector.toml"
    config.write_text(f'listen = "unix://{folder}/socket"\nstate_dir = "{folder}/state"\n')
    command = (sys.executable, "-m", "collector", "--config", str(config))
    child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    if child.stderr is None or "listening" not in child.stderr.readline():
        raise SystemExit("the collector did not start")
    return child, f"unix://{folder}/socket"


def main(events: int = 200_000, streams: int = 2) -> None:
    """Measure once, and print."""
    each = events // streams
    batches = messages(each)
    with tempfile.TemporaryDirectory() as folder:
        child, address = start(Path(folder))
        threads = [
            threading.Thread(target=send, args=(address, f"i-{number:08x}", batches, each)) for number in range(streams)
        ]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took_s = time.monotonic() - began
        stored = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
        child.terminate()
        child.wait()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = each * streams
    print(f"collector: {total / took_s:,.0f} events/s acknowledged, {total:,} in {took_s:.1f} s over {streams} streams")
    print(f"  budget {BUDGET_EVENTS_PER_S:,} events/s on 2 cores")
    print(f"{(used.ru_utime + used.ru_stime) / total * 1e6:.1f} us CPU an event, start included")
    wire = sum(map(len, batches)) / each
    print(
        f"{used.ru_maxrss / 1024:.0f} MiB peak, {wire:.0f} B an event on the wire, {stored / total:.0f} B on the disk"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
