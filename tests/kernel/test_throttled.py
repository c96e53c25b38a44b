"""throttled: a cgroup that floods is held to its budget and named; what tells something is told all the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.model import FileOpen
from agent.model import Throttled
from tests import containers
from tests.containers import RunningContainer
from tests.kernel import deeds
from tests.kernel.conftest import Sensed
from tests.kernel.rings import RING

pytestmark = containers.needs_runc  # a cgroup of its own, on whatever hierarchy this host has

FILES = 5_000
# In bursts that no ring is too small for, and all within two seconds on a busy machine.
FLOOD = f"""
import os, threading, time
os.makedirs('/srv/etc', exist_ok=True)
os.chdir('/srv')
for number in range({FILES}):
    os.mknod(str(number)) if not os.path.exists(str(number)) else None
for name in ('etc/passwd', 'program'):
    os.mknod(name) if not os.path.exists(name) else None
os.chmod('program', 0o755)
{{before}}
for number in range({FILES}):
    os.close(os.open(str(number), os.O_WRONLY))
    if number % 100 == 0: time.sleep(0.002)
{{after}}
"""
TELLING = """
for path, flags in (('new', os.O_CREAT | os.O_WRONLY), ('program', os.O_WRONLY), ('etc/passwd', os.O_RDWR)):
    os.open(path, flags)
"""
CREATE = """
import os, time
for number in range(3000):
    os.close(os.open(f'/srv/{number}', os.O_CREAT | os.O_WRONLY))
    if number % 50 == 0: time.sleep(0.002)
"""
THREADED = "stop = threading.Event(); thread = threading.Thread(target=stop.wait); thread.start()"


@pytest.fixture
def container() -> Iterator[RunningContainer]:
    """A container, which is a cgroup that nothing has been written in yet."""
    with containers.running_container() as running:
        yield running


def flood(container: RunningContainer, before: str = "", after: str = "") -> int:
    """Have a process in the container flood; return its pid as the host counts."""
    done = container.exec(["/usr/bin/python3", "-I", "-c", FLOOD.format(before=before, after=after)])
    assert 0 == done.status, done.stderr
    return done.pid


BY_URING = """
import os
os.chdir('/srv')
for number in range(3000): os.mknod(str(number))
setup()
for number in range(3000):
    submit(entry(18, -100, text(str(number)), 0, 0, os.O_WRONLY))
    os.close(results()[0])
"""


def plain(sensor: Sensed, pid: int) -> set[str]:
    """Return the names of the flood that were told."""
    return {event.path for event in sensor.all(FileOpen, lambda event: event.tgid == pid) if event.path[5:].isdecimal()}


@pytest.mark.race
@pytest.mark.parametrize(
    ("before", "after"), [pytest.param("", "", id="plain"), pytest.param(THREADED, "stop.set()", id="with threads")]
)
def test_every_open_is_told_or_counted(sensor: Sensed, container: RunningContainer, before: str, after: str) -> None:
    """What is told and what was withheld come to all there was; who began is named, and in which cgroup."""
    counters = sensor.source.counters()
    pid = flood(container, before, after)
    first = sensor.of_pid(Throttled, pid)
    sensor.collect(3.0)

    told, events = plain(sensor, pid), sensor.all(Throttled, lambda event: event.cgroup_id == first.cgroup_id)
    withheld = sum(event.withheld for event in events)
    now = sensor.source.counters()
    failed = now["sensor.file_open.failed"] - counters["sensor.file_open.failed"]
    assert failed == 0
    assert FILES == len(told) + withheld
    assert 900 <= len(told) <= FILES / 2  # of the first second's thousand, less what runc wrote in it
    assert withheld == now["sensor.file_open.throttled"] - counters["sensor.file_open.throttled"]
    assert len(events) == now["sensor.throttled.submitted"] - counters["sensor.throttled.submitted"]
    assert {first.since_ns} == {event.since_ns for event in events}
    assert {pid} == {event.tgid for event in events}
    opened = sensor.all(FileOpen, lambda event: event.tgid == pid)
    assert {first.cgroup_id} == {event.cgroup_id for event in opened}
    assert min(event.time_ns for event in opened) < first.since_ns <= first.time_ns
    gaps = [later.time_ns - sooner.time_ns for sooner, later in itertools.pairwise(events)]
    assert all(gap >= 1_000_000_000 for gap in gaps)


@pytest.mark.race
def test_io_uring_is_no_way_around(sensor: Sensed, container: RunningContainer) -> None:
    """Requests spend the same budget as calls do, and those that found no room in the ring are counted."""
    before = sensor.source.counters()
    done = container.exec(["/usr/bin/python3", "-I", "-c", RING + BY_URING])
    assert 0 == done.status, done.stderr
    sensor.of_pid(Throttled, done.pid)
    sensor.collect(2.5)

    events = sensor.all(Throttled, lambda event: event.tgid == done.pid)
    failed = sensor.source.counters()["sensor.file_open.failed"] - before["sensor.file_open.failed"]
    missing = 3000 - len(plain(sensor, done.pid)) - sum(event.withheld for event in events)
    assert 0 <= missing <= failed
    assert {"io_uring"} == {event.via for event in sensor.all(FileOpen, lambda event: event.tgid == done.pid)}


def test_what_tells_something_is_told_meanwhile(sensor: Sensed, container: RunningContainer, tmp_path: Path) -> None:
    """New files, programs and sensitive files are told out of the flood, and what other cgroups do."""
    (tmp_path / "elsewhere").touch()
    pid = flood(container, after=TELLING)
    host = deeds.python("import os, sys; os.open(sys.argv[1], os.O_WRONLY)", str(tmp_path / "elsewhere"))
    sensor.of_pid(Throttled, pid)

    for path in ("/srv/new", "/srv/program", "/srv/etc/passwd"):
        sensor.until(FileOpen, lambda event, path=path: event.tgid == pid and event.path == path)
    sensor.until(FileOpen, lambda event: event.tgid == host and event.path == f"{tmp_path}/elsewhere")
    assert len(plain(sensor, pid)) < FILES


def test_each_flood_has_its_own_beginning(sensor: Sensed, container: RunningContainer) -> None:
    """After a quiet while it is another flood, by whoever begins it."""
    first = sensor.of_pid(Throttled, flood(container))
    sensor.collect(3.0)
    second = sensor.of_pid(Throttled, flood(container))

    assert first.cgroup_id == second.cgroup_id
    assert first.since_ns < first.time_ns < second.since_ns


def test_a_budget_is_not_spent_by_what_is_told_anyway(sensor: Sensed, container: RunningContainer) -> None:
    """New files, however many, hold nothing back."""
    done = container.exec(["/usr/bin/python3", "-I", "-c", CREATE])
    sensor.collect(1.5)

    assert 0 == done.status, done.stderr
    assert [] == sensor.all(Throttled, lambda event: event.tgid == done.pid)
    assert 3000 == len(plain(sensor, done.pid))
