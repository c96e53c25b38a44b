"""One agent per host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import StateError
from agent.lock import HostLock

HOLDER = """
import sys
from pathlib import Path
from agent.lock import HostLock

lock = HostLock(Path(sys.argv[1]))
assert lock.take(print, lambda: False)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock; it gives it up when its standard input ends."""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "agent.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    ) as process:
        assert process.stdout is not None
        assert "held\n" == process.stdout.readline()
        yield process
        process.kill()


def test_a_second_agent_is_told_who_watches(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    """While one agent runs, the second does not get the lock, and says whom it waits for, once."""
    said: list[str] = []
    turns = iter((False, False, True))

    held = HostLock(tmp_path / "agent.lock").take(said.append, lambda: next(turns))

    assert held is False
    assert 1 == len(said)
    assert f"pid {holder.pid}" in said[0]


def test_a_second_agent_goes_on_when_the_first_ends(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    """The second agent waits and then watches."""
    lock = HostLock(tmp_path / "agent.lock")

    def said(_: str) -> None:
        assert holder.stdin is not None
        holder.stdin.close()

    assert lock.take(said, lambda: False)
    assert os.getpid() == lock.holder()


def test_a_killed_agent_leaves_no_lock_behind(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    """After kill -9 the next agent starts at once."""
    holder.send_signal(signal.SIGKILL)
    holder.wait()

    assert HostLock(tmp_path / "agent.lock").maybe_take()


def test_a_child_that_inherits_the_lock_keeps_it(tmp_path: Path) -> None:
    """A supervisor that is gone does not free the host while its agent still watches."""
    lock = HostLock(tmp_path / "agent.lock")
    assert lock.maybe_take()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()]) as child:
        lock.close()
        second = HostLock(tmp_path / "agent.lock")

        while_it_runs = second.maybe_take()
        child.kill()

    assert (False, True) == (while_it_runs, second.maybe_take())


@pytest.mark.parametrize("content", [b"", b"\n", b"no pid", b"-4", b"0", b"\xff" * 64])
def test_a_lock_file_that_says_nothing_names_nobody(tmp_path: Path, content: bytes) -> None:
    """A file that another program wrote is not taken for a pid."""
    path = tmp_path / "agent.lock"
    path.write_bytes(content)

    assert HostLock(path).holder() is None


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """Nobody makes the agent truncate a file of their choice."""
    (tmp_path / "victim").write_text("kept")
    (tmp_path / "agent.lock").symlink_to(tmp_path / "victim")

    with pytest.raises(StateError, match=r"agent\.lock cannot be opened"):
        HostLock(tmp_path / "agent.lock")

    assert "kept" == (tmp_path / "victim").read_text()
