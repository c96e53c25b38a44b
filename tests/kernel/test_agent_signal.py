"""agent_signal: somebody sends a signal to a process of the agent's, here that of the tests."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Iterator

import pytest

from agent.model import AgentSignal
from agent.model import ProcessExec
from agent.sensor.ebpf import ring
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

PROLOGUE = """
import ctypes, os, signal, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
agent, thread = os.getppid(), int(sys.argv[1]) if sys.argv[1:] else 0
def queue(number, code): # rt_sigqueueinfo
    return libc.syscall(129, agent, number, struct.pack("iiiiQQ", number, 0, code, 0, 7, 9).ljust(128))
"""
MARK = signal.SIGURG
MARKER = f"\nos.kill(agent, {MARK})"
HERE = (os.getpid(), "delivered")
IN_CGROUP = """
mount -t cgroup2 none /mnt || exit 1
mkdir "/mnt/$1" && echo "$2" > "/mnt/$1/cgroup.procs" && echo 1 > "/mnt/$1/cgroup.kill" || exit 1
until rmdir "/mnt/$1"; do sleep 0.05; done
"""


@pytest.fixture(autouse=True)
def _received() -> Iterator[None]:
    """Signals for the user, and the first of real time, do no harm to this process."""
    numbers = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGRTMIN)
    before = [signal.signal(number, lambda *_: None) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def told(sensor: Sensed, pid: int) -> list[AgentSignal]:
    """Return what `pid` sent before its marker."""
    sensor.until(AgentSignal, lambda event: event.tgid == pid and event.signal == MARK)
    return sensor.all(AgentSignal, lambda event: event.tgid == pid)[:-1]


@contextlib.contextmanager
def ours(sensor: Sensed, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that counts as one of the agent's; it is killed at the end."""
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        ring.put_key(ring.load_library(), sensor.source._maps["own_tgids"], child.pid)
        try:
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize(
    ("deed", "number", "code"),
    [
        pytest.param("os.kill(agent, signal.SIGUSR1)", signal.SIGUSR1, 0, id="kill"),
        pytest.param("os.kill(agent, signal.SIGTERM)", signal.SIGTERM, 0, id="what ends most programs"),
        pytest.param("libc.syscall(234, agent, thread, 12)", signal.SIGUSR2, -6, id="tgkill"),
        pytest.param("libc.syscall(200, thread, 12)", signal.SIGUSR2, -6, id="tkill"),
        pytest.param("signal.pidfd_send_signal(os.pidfd_open(agent), 12)", signal.SIGUSR2, 0, id="by a pidfd"),
        pytest.param("queue(10, -1)", signal.SIGUSR1, -1, id="queued"),
        pytest.param("queue(10, -60)", signal.SIGUSR1, -60, id="queued, by a code of the sender's"),
        pytest.param(
            "os.setsid(), libc.syscall(234, agent, thread, 10)", signal.SIGUSR1, -6, id="from another session"
        ),
    ],
)
def test_signal(sensor: Sensed, *, deed: str, number: int, code: int) -> None:
    """Whatever the call, the signal is told with its sender and whom it was for."""
    pid = deeds.python(f"{PROLOGUE}{deed}{MARKER}", str(os.getpid()))

    [event] = told(sensor, pid)
    assert (number, code, HERE) == (event.signal, event.code_raw, (event.target_tgid, event.outcome))
    assert (pid, 0, 0, None, ()) == (event.tid, event.result, event.uid, event.via, event.flags)
    assert event.target_started_ns < event.started_ns


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param("os.kill(agent, 0)", id="whether it is there"),
        pytest.param(
            "os.setresuid(65534, 65534, 0)\ntry: os.kill(agent, 10)\nexcept PermissionError: os.setuid(0)", id="refused"
        ),
        pytest.param("signal.signal(10, print); os.kill(os.getpid(), 10)", id="to somebody else"),
        pytest.param("pid = os.fork()\nif not pid: os._exit(0)\nos.waitpid(pid, 0)", id="the end of a child"),
        pytest.param("assert queue(10, 0) == -1 and queue(10, 128) == -1 and queue(10, -6) == -1", id="forged"),
    ],
)
def test_not_told(sensor: Sensed, deed: str) -> None:
    """What reaches no process of the agent's is not told."""
    assert [] == told(sensor, deeds.python(f"{PROLOGUE}{deed}{MARKER}"))


def lacking_memory() -> Callable[[], object]:
    """Take away the memory for signals; return what gives it back."""
    limits = resource.getrlimit(resource.RLIMIT_SIGPENDING)
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, limits[1]))
    return lambda: resource.setrlimit(resource.RLIMIT_SIGPENDING, limits)


@pytest.mark.parametrize(
    ("deed", "outcomes"),
    [
        pytest.param("os.kill(agent, signal.SIGCHLD)", ["ignored"], id="ignored"),
        pytest.param("libc.syscall(234, agent, thread, 10)", ["delivered"], id="held back"),
        pytest.param(
            "libc.syscall(234, agent, thread, 10)\n" * 3, ["delivered", "already_pending"], id="held back already"
        ),
        pytest.param("queue(signal.SIGRTMIN, -1)", ["overflow_fail"], id="no memory"),
        pytest.param(
            "libc.syscall(234, agent, thread, int(signal.SIGRTMIN))", ["overflow_fail"], id="no memory, tgkill"
        ),
        pytest.param("os.kill(agent, signal.SIGRTMIN)", ["lose_info"], id="no memory, kill"),
    ],
)
def test_outcome(sensor: Sensed, *, deed: str, outcomes: list[str]) -> None:
    """What became of a signal is told in the kernel's words."""
    held = {signal.SIGUSR1, signal.SIGRTMIN}
    signal.pthread_sigmask(signal.SIG_BLOCK, held)
    restore = lacking_memory() if "RTMIN" in deed else lambda: None
    try:
        pid = deeds.python(f"{PROLOGUE}{deed}{MARKER}", str(os.getpid()))
    finally:
        restore()
        while signal.sigtimedwait(held, 0):
            pass
        signal.pthread_sigmask(signal.SIG_UNBLOCK, held)

    assert outcomes == [event.outcome for event in told(sensor, pid)]


def test_kill(sensor: Sensed) -> None:
    """Who kills one of the agent's children is told, and which it was."""
    with ours(sensor, "/bin/sleep", "60") as child:
        pid = deeds.python(f"{PROLOGUE}os.kill({child.pid}, 9){MARKER}")

        [event] = told(sensor, pid)
        assert (signal.SIGKILL, child.pid, "delivered") == (event.signal, event.target_tgid, event.outcome)
        assert event.target == sensor.of_pid(ProcessExec, child.pid).actor
        assert -signal.SIGKILL == child.wait(deeds.DEED_TIMEOUT_S)


def test_killed_with_its_cgroup(sensor: Sensed) -> None:
    """A write to cgroup.kill is told as the signal that it is, by who wrote."""
    with ours(sensor, "/bin/sleep", "60") as child:
        name = f"vedette-{os.getpid()}"
        pid = deeds.run("/usr/bin/unshare", "--mount", "/bin/sh", "-c", IN_CGROUP, "sh", name, str(child.pid))

        event = sensor.of_pid(AgentSignal, pid)
        assert (signal.SIGKILL, 0, child.pid) == (event.signal, event.code_raw, event.target_tgid)
        assert -signal.SIGKILL == child.wait(deeds.DEED_TIMEOUT_S)


def test_among_ourselves(sensor: Sensed) -> None:
    """What the agent's own processes send each other is not told."""
    with ours(sensor, sys.executable, "-I", "-c", f"input()\n{PROLOGUE}os.kill(agent, 10)") as child:
        child.communicate(b"\n")
        os.kill(os.getpid(), signal.SIGUSR1)

        assert 0 == child.returncode
        assert [] == told(sensor, deeds.python(PROLOGUE + MARKER))
        assert [] == sensor.all(AgentSignal, lambda event: event.tgid in {child.pid, os.getpid()})


@pytest.mark.race
def test_repeated(sensor: Sensed) -> None:
    """The same signal ten thousand times is told once a second; another among them is told."""
    code = (
        "for number in range(10_000): os.kill(agent, signal.SIGWINCH), queue(28, -1 - number % 5)\n"
        "os.kill(agent, 10)\nfor _ in range(10_000): os.kill(agent, signal.SIGWINCH)"
    )
    before = sensor.source.counters()["sensor.agent_signal.repeated"]
    events = told(sensor, deeds.python(f"{PROLOGUE}{code}{MARKER}"))

    assert [signal.SIGUSR1] == [event.signal for event in events if event.signal != signal.SIGWINCH]
    assert len(events) < 20
    assert 30_001 == len(events) + sensor.source.counters()["sensor.agent_signal.repeated"] - before
