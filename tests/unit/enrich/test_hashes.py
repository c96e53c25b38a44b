from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Iterator

import pytest

from agent.counters import Counters
from agent.enrich.executables import SETTLED_NS
from agent.enrich.executables import Executables
from agent.enrich.executables import Job
from agent.enrich.executables import Reading
from agent.enrich.executables import Unreadable
from agent.enrich.hashes import OFF
from agent.enrich.hashes import PENDING
from agent.enrich.hashes import Digest
from agent.enrich.hashes import Hashes
from agent.enrich.hashes import unknown
from agent.enrich.limits import Limits
from agent.enrich.procfs import ProcFs
from agent.model import Executable
from agent.model import FileId
from agent.model import Process
from tests.unit.enrich.made import process

LONG = 30.0  # seconds; only a failing test waits so long


class Gate(Executables):
    """Reads nothing: answers with the path, as often as it is let."""

    def __init__(self) -> None:
        super().__init__(procfs=ProcFs(), limit_bytes=1)
        self.entered = threading.Semaphore(0)
        self.let = threading.Semaphore(0)
        self.asked: list[str] = []

    def read(self, job: Job, progress: Callable[[], None]) -> Reading:
        self.asked.append(job.exe.path)
        self.entered.release()
        assert self.let.acquire(timeout=LONG)
        if job.exe.path == "/bad":
            raise Unreadable("bad")
        return Reading(job.exe.path)


class Bench:
    """Hashes on a gate and a clock that the test moves."""

    def __init__(self, **limits: int) -> None:
        self.counters = Counters()
        self.gate = Gate()
        self.now = 0.0
        self.hashes = Hashes(
            self.gate, counters=self.counters, limits=Limits(**limits), monotonic=lambda: self.now
        )  # fmt: skip

    def request(self, one: Process) -> Digest:
        return self.hashes.request(one, lambda _: ())

    def thread(self) -> threading.Thread:
        worker = self.hashes._worker
        assert worker is not None
        return worker.thread

    def settle(self, count: int = 1) -> None:
        """Let `count` programs be read and wait for the worker to have stored the last."""
        for _ in range(count):
            self.gate.let.release()
        marker = running("/marker")
        self.request(marker)
        for _ in range(count + 1):
            assert self.gate.entered.acquire(timeout=LONG)
        self.gate.let.release()

    def close(self) -> None:
        for _ in range(1_000):
            self.gate.let.release()
        self.hashes.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def running(path: str, inode: int | None = None, **changes: int) -> Process:
    exe = Executable(
        path=path,
        file=FileId(1, hash(path) if inode is None else inode),
        size_bytes=1,
        changed_at_ns=changes.pop("changed_at_ns", 1),
    )
    return process(9, exe=exe, **changes)


@pytest.mark.parametrize("exe", [None, Executable(path="/x"), Executable(path="/x", file=FileId(1, 2))])
def test_a_program_never_looked_at_has_no_hash(bench: Bench, exe: Executable | None) -> None:
    """A kernel thread, or a process that was gone, is not asked about for ever."""
    answer = bench.request(process(9, exe=exe))

    assert answer == unknown("the executable was gone before it could be looked at")
    assert bench.gate.asked == []


def test_an_answer_comes_at_once_and_a_hash_later(bench: Bench) -> None:
    """Asking never waits for a file."""
    one = running("/a")
    assert bench.hashes.known(one) is None
    assert PENDING == bench.request(one)
    assert PENDING == bench.hashes.known(one)
    bench.settle()

    assert Digest(state="known", sha256="/a") == bench.hashes.known(one)
    assert bench.counters.get("enrich.hashed") == 1


def test_one_program_is_read_once_for_all_its_processes(bench: Bench) -> None:
    """Two thousand processes of one program cost one read."""
    for _ in range(10):
        bench.request(running("/a"))
    bench.settle()
    bench.request(running("/a"))

    assert ["/a", "/marker"] == bench.gate.asked


def test_a_changed_file_is_another_program(bench: Bench) -> None:
    """A new ctime under the same path and inode is read anew."""
    bench.request(running("/a", changed_at_ns=1))
    bench.request(running("/a", changed_at_ns=2))
    bench.settle(2)

    assert ["/a", "/a", "/marker"] == bench.gate.asked


def test_a_program_run_right_after_its_last_change_shares_its_hash_with_no_one(bench: Bench) -> None:
    """A file written twice within a tick of the clock cannot pass the first content's hash on to the second."""
    at = 10 * SETTLED_NS
    bench.request(running("/a", changed_at_ns=at, exec_at_ns=at + SETTLED_NS - 1))
    other = running("/a", changed_at_ns=at, exec_at_ns=at + SETTLED_NS)
    assert bench.hashes.known(other) is None


def test_a_failure_has_a_reason_and_is_tried_again_at_the_next_exec(bench: Bench) -> None:
    """One process that was too quick does not leave its program unhashed for all later ones."""
    one = running("/bad")
    bench.request(one)
    bench.settle()
    assert unknown("bad") == bench.hashes.known(one)
    assert bench.counters.get("enrich.hash_failed") == 1

    assert PENDING == bench.request(one)


def test_a_full_queue_is_said_and_counted() -> None:
    """When too many programs start at once the answer says so, and nothing waits."""
    bench = Bench(hash_queue=2)
    bench.request(running("/first"))
    assert bench.gate.entered.acquire(timeout=LONG)
    answers = [bench.request(running(path)).state for path in ("/a", "/b", "/c", "/d")]
    bench.close()

    assert answers == ["pending", "pending", "unknown", "unknown"]
    assert bench.counters.get("enrich.hash_queue_full") == 2


def test_what_a_finding_waits_for_is_read_first(bench: Bench) -> None:
    """It overtakes what was asked for earlier; what is no longer in the queue is hastened in vain."""
    for path in ("/first", "/a", "/b", "/c"):
        bench.request(running(path))
    assert bench.gate.entered.acquire(timeout=LONG)
    bench.hashes.hasten(running("/b"))
    bench.hashes.hasten(running("/first"))
    bench.hashes.hasten(process(9, exe=None))
    for _ in range(4):
        bench.gate.let.release()
    for _ in range(3):
        assert bench.gate.entered.acquire(timeout=LONG)

    assert ["/first", "/b", "/a", "/c"] == bench.gate.asked


def test_the_cache_is_bounded() -> None:
    """The program used least recently is forgotten, and counted."""
    bench = Bench(hashes=2)
    for path in ("/a", "/b", "/a", "/c"):
        bench.request(running(path))
    known = [bench.hashes.known(running(path)) is not None for path in ("/a", "/b", "/c")]
    bench.close()

    assert known == [True, False, True]
    assert bench.counters.get("enrich.evicted_hashes") >= 1


def test_a_thread_that_hangs_is_replaced_and_at_last_hashing_is_off() -> None:
    """A file system that never answers costs a few threads, not the hashes of all other programs."""
    bench = Bench(hash_threads_lost=2)
    hanging = bench.thread()
    for path in ("/hang1", "/hang2", "/waits"):
        bench.request(running(path))
    assert bench.gate.entered.acquire(timeout=LONG)
    bench.now = 10.0
    assert PENDING == bench.hashes.known(running("/hang1")), "slow is not hanging"
    bench.now = 10.1
    assert unknown("reading it hangs") == bench.hashes.known(running("/hang1"))

    assert bench.gate.entered.acquire(timeout=LONG), "another thread goes on"
    bench.now = 30.0
    assert OFF == bench.request(running("/late"))
    assert OFF == bench.hashes.known(running("/waits"))
    assert bench.counters.get("enrich.hash_stalled") == 2

    bench.close()
    hanging.join(LONG)
    assert unknown("reading it hangs") == bench.hashes.known(running("/hang1")), "an answer too late is not taken"


def test_closing_ends_the_thread() -> None:
    """The agent's end leaves no thread behind, idle or busy."""
    bench = Bench()
    thread = bench.thread()
    bench.close()
    bench.close()

    assert not thread.is_alive()
