"""Numbered operations against what the sensor reports: what is missing is known by its number.

A second sensor with rings that never fill, the witness, hangs on the same hooks at the same time, so that the account
of the sensor under test is exact on a host that is not idle.  Of each kind, and by the kernel's counters where there is
no number:

    generated = delivered + missing                     of the generator, by number; the witness has every number
    happened  = submitted + repeated + failed + throttled  of all processes; happened is what the witness counted
    records read = submitted                            of all processes
    missing <= failed + throttled                       the rest of those was of others
"""

from __future__ import annotations

import contextlib
import ipaddress
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agent import probes
from agent.counters import Counters
from agent.decode import Decoder
from agent.model import FileOpen
from agent.model import NetConnect
from agent.model import ProcessExec
from agent.model import ProcessExit
from agent.model import ProcessFork
from agent.probes.header import HEADER
from agent.probes.header import kind_number
from agent.sensor.ebpf.source import EbpfSource
from agent.sensor.ebpf.source import Options

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "bench" / "load.c"
KINDS = {kind_number(probe.name): probe.name for probe in probes.load()}
WITNESS_BYTES = 64 << 20  # 40,000 of the longest record of an ordinary operation: the witness is read all the while
QUEUE_BYTES = 64 << 10  # a reader that is not polled stops here, and its rings fill
SETTLED_S = 0.5  # five times what activity may wait for its reader
# A socket of another process whose datagram was lost is told with the next one again, where the witness knew it the
# first time: a flood of datagrams beside us spoils an attempt, and what is counted wrong spoils them all.
ATTEMPTS = 3
QUIET_S = 0.002  # both programs at a hook are long done within it
SLOW_S = 0.3  # between two looks of a reader that shall be too slow
PORTS = 60_000  # as in load.c
FIRST_ADDRESS = (127 << 24) + (64 << 16)
OPERATION_OF = {
    "process_exec": "exec",
    "process_fork": "exec",
    "process_exit": "exec",
    "file_open": "open",
    "net_connect": "connect",
}
WAIT_S = 600.0


class Load(NamedTuple):
    """What is asked of the generator."""

    operation: str
    count: int


class Account(NamedTuple):
    """One kind of event during one load, of the sensor under test."""

    generated: int
    witnessed: int
    """Of the generated, by number: all of them, or the witness is none."""
    delivered: int
    """Of the generated, by number."""
    came_twice: int
    """Numbers that came again."""
    happened: int
    """Of all processes, as are the next three: what the witness told, or left out as repeated."""
    submitted: int
    repeated: int
    failed: int
    throttled: int
    submitted_in_all: int
    """Since the sensor was opened, as is the last."""
    read_in_all: int

    @property
    def missing(self) -> int:
        """Return how many numbers never came."""
        return self.generated - self.delivered


def check(account: Account) -> None:
    """Fail unless every operation is delivered or counted as lost, and nothing is said twice."""
    assert account.generated == account.witnessed, account
    assert account.happened == account.submitted + account.repeated + account.failed + account.throttled, account
    assert account.submitted_in_all == account.read_in_all, account
    assert account.missing <= account.failed + account.throttled, account
    assert account.came_twice == 0, account


class Counts(NamedTuple):
    """What the kernel counted of a kind."""

    submitted: int
    repeated: int
    failed: int
    throttled: int

    def since(self, before: Counts) -> Counts:
        """Return how much was added."""
        return Counts(*(now - then for now, then in zip(self, before, strict=True)))


class Course(NamedTuple):
    """What was counted of a kind during one load."""

    tested: Counts
    witness: Counts

    def adds_up(self) -> bool:
        """Tell whether both sensors account for the same number of things."""
        return self.witness.failed == 0 and sum(self.tested) == sum(self.witness)


class Sensor:
    """A source, and everything that it gave."""

    def __init__(self, options: Options) -> None:
        self.source = EbpfSource(options)
        self.records: list[bytes] = []

    def open(self) -> None:
        """Attach all probes."""
        statuses = self.source.open()
        assert [] == [status for status in statuses if not status.attached]

    def take(self, timeout_s: float = 0.0) -> int:
        """Take what is there; return how many records it was."""
        records = self.source.poll(timeout_s)
        self.records += records
        return len(records)

    def settle(self) -> None:
        """Take what is there until nothing comes for a while."""
        until_s = time.monotonic() + SETTLED_S
        while time.monotonic() < until_s:
            self.take(0.05)

    def close(self) -> None:
        """Detach, and take what had been reported by then."""
        self.source.close()
        while self.take():
            pass

    def of_kind(self, kind: str) -> list[bytes]:
        """Return the records of a kind."""
        return [record for record in self.records if KINDS[HEADER.unpack(record).kind] == kind]

    def counts(self, kind: str) -> Counts:
        """Return the kernel's counters of a kind, now or, once closed, in the end."""
        totals = self.source.counters()
        return Counts(*(totals[f"sensor.{kind}.{what}"] for what in Counts._fields))


class Generated:
    """What the generator did, and how its events are told from those of others."""

    def __init__(self, load: Load, pids: frozenset[int], witness: Sensor) -> None:
        self.load = load
        self._pids = pids
        self._decode = Decoder(probes.load(), Counters(), wall_offset_ns=0)
        forks = map(self._decode, witness.of_kind("process_fork"))
        self._children = {fork.child for fork in forks if isinstance(fork, ProcessFork) and fork.tgid in pids}

    def number(self, record: bytes) -> object | None:
        """Return what tells this operation from the others, None for a record of another process."""
        match self._decode(record):
            case ProcessExec(args=(_, word)) as event if event.parent_tgid in self._pids:
                return int(word)
            case ProcessFork() as event if event.tgid in self._pids:
                return event.child
            case ProcessExit() as event if event.actor in self._children:
                return event.actor
            case FileOpen() as event if event.tgid in self._pids and event.path.rpartition("/")[2].isdecimal():
                return int(event.path.rpartition("/")[2])
            case NetConnect() as event if event.tgid in self._pids:
                address = int(ipaddress.IPv4Address(event.remote_address))
                return (address - FIRST_ADDRESS) * PORTS + event.remote_port - 1
        return None

    def numbers(self, sensor: Sensor, kind: str) -> Counter[object]:
        """Return how often a sensor gave each number."""
        numbers = map(self.number, sensor.of_kind(kind))
        return Counter(number for number in numbers if number is not None)


def built(directory: Path) -> Path:
    """Compile the generator; return where it is."""
    program = directory / "load"
    subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-o", program, SOURCE], check=True)
    return program


@contextlib.contextmanager
def generating(program: Path, load: Load, *more: str) -> Iterator[tuple[subprocess.Popen[str], frozenset[int]]]:
    """Run the generator in the block; give it, and the pids that do the operations."""
    command = [str(program), load.operation, str(load.count), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, frozenset(map(int, process.stdout.readline().split()))
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()


class Experiment:
    """A sensor under test and its witness, attached to the same kernel at the same time."""

    def __init__(self, options: Options) -> None:
        self.witness = Sensor(Options(lifecycle_bytes=WITNESS_BYTES, activity_bytes=WITNESS_BYTES))
        self.tested = Sensor(options)
        self._generated: dict[str, Generated] = {}
        self._courses: dict[str, Course] = {}

    def run(self, program: Path, loads: Iterable[Load], directory: Path) -> None:
        """Run the loads, one after the other, and keep both sensors' records."""
        try:
            self.witness.open()
            self.tested.open()
            for load in loads:
                places = (directory / f"{load.operation}-{attempt}" for attempt in range(ATTEMPTS))
                any(self._ran(program, load, place) for place in places)
        finally:
            self.tested.close()
            self.witness.close()

    def account(self, kind: str) -> Account:
        """Return what became of the operations that have events of this kind."""
        generated, course = self._generated[OPERATION_OF[kind]], self._courses[kind]
        seen = generated.numbers(self.tested, kind)
        return Account(
            generated=generated.load.count,
            witnessed=len(generated.numbers(self.witness, kind)),
            delivered=len(seen),
            came_twice=seen.total() - len(seen),
            happened=course.witness.submitted + course.witness.repeated + course.witness.throttled,
            **course.tested._asdict(),
            submitted_in_all=self.tested.counts(kind).submitted,
            read_in_all=len(self.tested.of_kind(kind)),
        )

    def _ran(self, program: Path, load: Load, directory: Path) -> bool:
        """Run a load once and keep what was counted; tell whether it adds up."""
        kinds = [kind for kind, operation in OPERATION_OF.items() if operation == load.operation]
        before = {kind: self._counts(kind) for kind in kinds}
        directory.mkdir()
        pids = self._under(program, load, directory)
        self.witness.settle()
        self.tested.settle()
        self._generated[load.operation] = Generated(load, pids, self.witness)
        for kind in kinds:
            now = self._counts(kind)
            self._courses[kind] = Course(*(new.since(old) for new, old in zip(now, before[kind], strict=True)))
        return all(self._courses[kind].adds_up() for kind in kinds)

    def _counts(self, kind: str) -> Course:
        """Return the counters of both sensors, at a moment when nothing moves them."""
        while True:
            found = Course(self.tested.counts(kind), self.witness.counts(kind))
            time.sleep(QUIET_S)
            if found == Course(self.tested.counts(kind), self.witness.counts(kind)):
                return found

    def _under(self, program: Path, load: Load, directory: Path) -> frozenset[int]:
        """Run one load; the witness is read at once, the sensor under test as slowly as a busy agent."""
        with generating(program, load, str(directory)) as (process, pids):
            due_s = 0.0
            while process.poll() is None:
                self.witness.take(0.01)
                if time.monotonic() >= due_s:
                    self.tested.take()
                    due_s = time.monotonic() + SLOW_S
        return pids
