"""process_fork: who made whom."""

from __future__ import annotations

import os
import subprocess
import sys

from agent.model import ProcessExec
from agent.model import ProcessFork
from tests.kernel.conftest import Sensed


def test_fork_names_parent_and_child(sensor: Sensed) -> None:
    """A fork says which process made which, with the start time that makes both unmistakable."""
    child = subprocess.Popen(["/bin/true"])
    child.wait()

    fork = sensor.until(ProcessFork, lambda event: event.child_tgid == child.pid)
    started = sensor.of_pid(ProcessExec, child.pid)
    assert (os.getpid(), os.getpid()) == (fork.tgid, fork.parent_tgid)
    assert started.actor == fork.child
    assert child.pid == fork.child_ns_tgid


def test_threads_are_not_processes(sensor: Sensed) -> None:
    """A program with eight threads is one process."""
    code = "import threading; [threading.Thread(target=print).start() for _ in range(8)]"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    child.wait()

    sensor.until(ProcessFork, lambda event: event.child_tgid == child.pid)
    assert [] == sensor.all(ProcessFork, lambda event: event.tgid == child.pid)


def test_child_in_its_own_pid_namespace(sensor: Sensed) -> None:
    """The first process of a pid namespace is 1 there, and itself here."""
    parent = subprocess.Popen(["/usr/bin/unshare", "--pid", "--fork", "/bin/true"])
    parent.wait()

    fork = sensor.until(ProcessFork, lambda event: event.tgid == parent.pid)
    assert fork.child_ns_tgid == 1
    assert fork.child_tgid > 1
