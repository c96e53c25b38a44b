"""Agents for tests, each a process: the real delivery with its spool, and events that a kernel recorded once.

    python -m tests.fleet ADDRESS STATE_DIR HOST_ID EVENTS FINDINGS

An agent that was killed goes on where its spool ends when it is started again, so that event number N of a host is
always the same, and ends when all is acknowledged.  Findings are a third each of three resources.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec

from agent import probes
from agent.counters import Counters
from agent.decode import Decoder
from agent.deliver.delivery import Delivery
from agent.deliver.lanes import Lane
from agent.deliver.spool import Spool
from agent.deliver.target import Target
from agent.model import Event
from agent.model import Evidence
from agent.model import Finding
from agent.model import Host
from agent.model import Process
from agent.model import ProcessKey
from agent.model import Surroundings

GOLDEN = Path(__file__).resolve().parent / "golden"
FILES = ("/etc/passwd", "/etc/shadow", "/etc/sudoers")
"""What the findings are about, in turn."""
PAUSE_EVENTS = 100  # as a busy host's reader gives them out
PAUSE_S = 0.01
PATIENCE_S = 300.0


def recorded() -> list[Event]:
    """Return the golden events."""
    decoder = Decoder(probes.load(), Counters(), wall_offset_ns=0)
    made = (decoder(path.read_bytes()) for path in sorted(GOLDEN.glob("*.bin")))
    return [event for event in made if event is not None]


def kind_of(number: int, events: list[Event]) -> str:
    """Return which kind event `number` of a host is."""
    return str(events[number % len(events)].__struct_config__.tag)


def finding(number: int) -> Finding:
    """Return finding `number` of a host."""
    return Finding(
        type="DefenseEvasion:Runtime/SensitiveFileModified",
        severity=5.0,
        title="A file",
        at_ns=time.time_ns(),
        event_kind="file_open",
        event_time_ns=number,
        process=Process(key=ProcessKey(7, 8), uuid="u-7", parent=None, started_at_ns=9),
        sha256=None,
        sha256_missing="gone",
        lineage=(),
        container=None,
        evidence=Evidence(reason="r", file_path=FILES[number % len(FILES)]),
        attack="T1059",
    )


def run(address: str, state_dir: Path, host_id: str, wanted: tuple[int, int]) -> None:
    """Send so many events and findings, and return when all are acknowledged."""
    events, counters = recorded(), Counters()
    host = Host(id=host_id, name=host_id, boot_id="b", kernel="6.18", architecture="x86_64", mnt_ns=1, pid_ns=1)
    spool = Spool(state_dir, counters=counters)
    target = Target.parse(address)
    delivery = Delivery(spool=spool, host=host, target=target, counters=counters, probes=())
    nobody = Surroundings(host=host, actor=None)
    delivery.start()
    number, found = spool._mark(Lane.EVENTS).next - 1, spool._mark(Lane.FINDINGS).next - 1
    each = max(1, wanted[0] // max(1, wanted[1]))
    while number < wanted[0] or found < wanted[1]:
        if number < wanted[0]:
            number += 1
            one = msgspec.structs.replace(events[number % len(events)], at_ns=time.time_ns())
            delivery.event(one, nobody, None)
        if found < wanted[1] and (number >= wanted[0] or number // each > found):
            found += 1
            delivery.finding(finding(found))
        if number % PAUSE_EVENTS == 0:
            delivery.flush()
            time.sleep(PAUSE_S)
    delivery._spool_batch()
    deadline_s = time.monotonic() + PATIENCE_S
    while any(spool.unacked(lane) for lane in Lane) and time.monotonic() < deadline_s:
        delivery.flush()
        time.sleep(PAUSE_S)
    delivery.close(1.0)
    left = {lane.label: spool.unacked(lane) for lane in Lane}
    spool.close()
    sys.exit(f"not acknowledged: {left}" if any(left.values()) else 0)


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), sys.argv[3], (int(sys.argv[4]), int(sys.argv[5])))
