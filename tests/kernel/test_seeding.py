"""Processes that start while the agent does are known exactly once: from /proc, or from their records."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from agent.counters import Counters
from agent.decode import Decoder
from agent.enrich import Enricher
from agent.enrich import this_host
from agent.model import Process
from agent.model import ProcessExec
from agent.model import ProcessExit
from agent.model import ProcessKey
from agent.model import Surroundings
from agent.probes import process_exec
from agent.probes import process_exit
from agent.probes import process_fork
from agent.sensor.ebpf.source import EbpfSource
from agent.sensor.ebpf.source import Options

WAIT_S = 30.0
BEFORE_S, AFTER_S = 0.3, 0.5
PROBES = (process_exec.PROBE, process_exit.PROBE, process_fork.PROBE)

# Starts a process every few milliseconds until its standard input ends, each with a name of its own, and says how
# many: half of them are gone at once, half of them live for a while, and the first until the end.
STARTING = """
import select, subprocess, sys
children = []
while not select.select([sys.stdin], [], [], 0.002)[0]:
    number = len(children)
    seconds = "1000" if number == 0 else "0" if number % 2 else "1"
    children.append(subprocess.Popen(["/bin/sleep", seconds, f"0.000{number:06}1"]))
children[0].kill()
for child in children:
    child.wait()
print(len(children))
"""


class Known(NamedTuple):
    """What came to be known of the processes that were started."""

    opened_ns: int
    """When all probes were attached."""
    seeded_ns: int
    """When /proc had been read."""
    count: int
    starter: int
    execs: dict[str, list[Process]]
    """What became of each exec, by the name of the process."""
    exits: list[tuple[ProcessExit, Surroundings]]
    """Of all children of the starter that were seen ending."""


def name_of(process: Process | None) -> str | None:
    """Return the name that the starter gave a process, None for any other."""
    return process.args[-1] if process is not None and process.args[:1] == ("/bin/sleep",) else None


@pytest.fixture(scope="module")
def known() -> Iterator[Known]:
    """Start processes without a pause while a sensor opens and the table is seeded, as the agent does."""
    counters = Counters()
    decode = Decoder(PROBES, counters, 0)
    enricher = Enricher(host=this_host(), counters=counters)
    source = EbpfSource(Options(probes=PROBES, existing=True))
    starter = subprocess.Popen(
        [sys.executable, "-I", "-c", STARTING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        time.sleep(BEFORE_S)
        source.open()
        opened_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        enricher.seed()
        seeded_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        stopping = threading.Timer(AFTER_S, starter.stdin.close)  # type: ignore[union-attr]  # a pipe
        stopping.start()
        execs, exits = applied(source, decode, enricher, starter.pid)
        stopping.join()
        count = int(starter.stdout.read())  # type: ignore[union-attr]  # as above
        yield Known(opened_ns, seeded_ns, count, starter.pid, execs, exits)
    finally:
        source.close()
        enricher.close()
        with starter:  # closes its standard input, and it ends its children
            pass


def applied(
    source: EbpfSource, decode: Decoder, enricher: Enricher, starter: int
) -> tuple[dict[str, list[Process]], list[tuple[ProcessExit, Surroundings]]]:
    """Apply every event up to the starter's end; return what came of the execs and exits of its children."""
    execs: dict[str, list[Process]] = {}
    exits: list[tuple[ProcessExit, Surroundings]] = []
    until = time.monotonic() + WAIT_S
    ended = False
    while not ended:
        assert time.monotonic() < until
        for event in filter(None, map(decode, source.poll(0.2))):
            surroundings = enricher.enrich(event)
            name = name_of(surroundings.actor)
            if isinstance(event, ProcessExec) and name is not None:
                execs.setdefault(name, []).append(surroundings.actor)  # type: ignore[arg-type]  # it has a name
            if isinstance(event, ProcessExit) and starter in {event.tgid, *parents(surroundings)}:
                exits.append((event, surroundings))
            ended = ended or (isinstance(event, ProcessExit) and event.tgid == starter)
    return execs, [(event, around) for event, around in exits if event.tgid != starter]


def parents(surroundings: Surroundings) -> list[int]:
    return [ancestor.key.tgid for ancestor in surroundings.lineage[:1]]


def test_no_process_is_told_twice(known: Known) -> None:
    """An exec that falls together with the start of the agent is one event, of one process."""
    assert known.execs
    assert [1] * len(known.execs) == [len(processes) for processes in known.execs.values()]
    uuids = [process.uuid for processes in known.execs.values() for process in processes]
    assert len(uuids) == len(set(uuids))


def test_no_process_ends_twice(known: Known) -> None:
    """Whoever is taken from /proc and told by records is one process, which ends once."""
    keys: list[ProcessKey] = [event.actor for event, _ in known.exits]

    assert len(keys) == len(set(keys))


def test_every_process_is_known(known: Known) -> None:
    """Who ends after the seeding is known by name and lineage: from an exec or from /proc, and nobody is missed."""
    after = [(event, around) for event, around in known.exits if event.time_ns > known.seeded_ns]
    names = [name_of(around.actor) for _, around in after]
    seeded = {name for name in names if name is not None and name not in known.execs}

    assert None not in names
    assert len(names) == len(set(names))
    assert seeded, "some had started before"
    assert all(known.starter == around.lineage[0].key.tgid for _, around in after)
    started = [around for event, around in known.exits if event.started_ns > known.opened_ns]
    assert {name_of(around.actor) for around in started} <= set(known.execs)


def test_all_that_started_afterwards_are_told(known: Known) -> None:
    """No number of the starter is missing between the first that was told and the last."""
    numbers = sorted(int(name.rpartition(".")[2][3:9]) for name in known.execs)

    assert list(range(numbers[0], known.count)) == numbers


def test_nothing_is_lost_on_the_way(known: Known) -> None:
    """The race is a race: processes started before, while and after the probes were attached."""
    first = min(event.started_ns for event, _ in known.exits)

    assert first < known.opened_ns < known.seeded_ns < max(event.started_ns for event, _ in known.exits)
