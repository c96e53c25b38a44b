"""The source without eBPF: sensitive files of containers, by inotify, and who has them open."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import NamedTuple

import psutil
import pytest

from tests.kernel.task import Task
from tests.kernel.task import task

MOST = (
    0.4  # of a processor: a twentieth for files, as much for libraries, a tenth for sockets; and what each look costs
)
_ENTER = "import os, sys, time; print(os.getpid(), flush=True); os.chroot(sys.argv[1]); path = sys.argv[2]; "


class Rooted(NamedTuple):
    """A task in which a process has a root directory of its own, as one in a container has."""

    task: Task
    root: Path
    observer: psutil.Process

    def run(self, code: str, path: str) -> int:
        """Run code in the container, as a process of its own; return its pid."""
        return int(self.task.run([sys.executable, "-c", _ENTER + code, str(self.root), path]).out)

    def opens(self, path: str) -> list[dict[str, Any]]:
        """Return what was told of a file."""
        return [told for told in self.task.seen() if told["kind"] == "file_open" and told["path"] == path]

    def told(self, path: str, pid: int) -> dict[str, Any]:
        """Wait until it is told what a process did with a file."""
        return self.task.until(
            lambda told: told["kind"] == "file_open" and told["path"] == path and told["tgid"] == pid
        )

    def gains_a_container(self, root: Path) -> None:
        """Start a process with a root of its own, and wait until that is watched."""
        code = "import os, sys, time; os.chroot(sys.argv[1]); time.sleep(600)"
        self.task.start([sys.executable, "-c", code, str(root)])
        canary = f"/etc/sudoers.d/{root.name}"
        (root / "etc/sudoers.d").mkdir(parents=True)

        def is_watched() -> bool:
            (root / canary[1:]).write_text("x")
            return bool(self.opens(canary))

        self.task.until(lambda _told: is_watched())


HOME = "home/ada"


@pytest.fixture(scope="module")
def rooted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooted]:
    """Watch a task; the container comes when it is watched already."""
    root = tmp_path_factory.mktemp("root")
    for directory in ("etc/cron.d", "root/.ssh", HOME):
        (root / directory).mkdir(parents=True)
    (root / "etc/shadow").write_text("x")
    (root / "root/.ssh/id_rsa").write_text("x")
    (root / "etc/ssh").symlink_to(tmp_path_factory.mktemp("elsewhere"))  # which leads nowhere in this root
    with task() as made:
        watcher = made.pid_outside(made.watch(tmp_path_factory.mktemp("watched") / "events"))
        [watchdog] = psutil.Process(watcher).children()
        observer = max(watchdog.children(), key=lambda child: child.pid)  # the tracer is started before it
        found = Rooted(made, root, observer)
        found.gains_a_container(root)
        yield found


@pytest.mark.parametrize(
    ("path", "mode", "created"),
    [
        ("/etc/cron.d/job", "w", True),
        ("/etc/passwd", "w", True),
        ("/etc/passwd", "a", False),
        (f"/{HOME}/.bashrc", "w", True),
        ("/root/.aws/credentials", "w", True),  # in a directory that comes with it
    ],
)
def test_who_writes_a_sensitive_file_is_told(rooted: Rooted, path: str, mode: str, created: bool) -> None:  # noqa: FBT001
    make = "os.makedirs(os.path.dirname(path), exist_ok=True); "
    pid = rooted.run(make + f"file = open(path, {mode!r}); file.write('x'); file.flush(); time.sleep(0.4)", path)
    event = rooted.told(path, pid)
    assert (created, True, ["sampled"]) == (event["created"], event["sensitive"], event["flags"])
    assert os.O_WRONLY == event["flags_raw"] & os.O_ACCMODE
    assert (mode == "a") == bool(event["flags_raw"] & os.O_APPEND)
    assert (rooted.root / path[1:]).stat().st_ino == event["inode"]
    assert 1 == len([one for one in rooted.opens(path) if one["tgid"] == pid])


@pytest.mark.parametrize("path", ["/etc/shadow", "/root/.ssh/id_rsa"])
def test_who_reads_a_secret_is_told_and_who_reads_what_all_read_is_not(rooted: Rooted, path: str) -> None:
    before = len(rooted.opens("/etc/passwd"))
    pid = rooted.run("open('/etc/passwd').read(); file = open(path); time.sleep(0.4)", path)
    assert os.O_RDONLY == rooted.told(path, pid)["flags_raw"] & os.O_ACCMODE
    assert before == len(rooted.opens("/etc/passwd"))


def test_a_file_that_is_closed_at_once_is_told_of_nobody_rather_than_of_anybody(rooted: Rooted) -> None:
    pid = rooted.run("os.close(os.open(path, os.O_WRONLY | os.O_CREAT))", "/etc/group")
    event = rooted.task.until(lambda told: told["kind"] == "file_open" and told["path"] == "/etc/group")
    assert event["tgid"] in {0, pid}
    assert event["mnt_ns"] == rooted.opens("/etc/passwd")[0]["mnt_ns"] != 0
    counts = rooted.task.until(lambda told: told.get("sensor.observer.files_unowned"))
    assert 0 == counts["sensor.observer.files_overflowed"] == counts["sensor.observer.files_unwatched"]


def test_links_of_a_container_do_not_lead_to_files_outside(rooted: Rooted) -> None:
    outside = (rooted.root / "etc/ssh").readlink()
    (outside / "sshd_config").write_text("x")
    rooted.told(
        "/etc/group", rooted.run("file = open(path, 'a'); file.write('x'); file.flush(); time.sleep(0.4)", "/etc/group")
    )
    assert [] == rooted.opens("/etc/ssh/sshd_config")


def test_a_second_container_is_followed_too(rooted: Rooted, tmp_path: Path) -> None:
    rooted.gains_a_container(tmp_path)


def test_a_secret_that_replaces_another_is_watched_too(rooted: Rooted) -> None:
    code = "open(path + '.new', 'w').close(); os.rename(path + '.new', path); time.sleep(0.3); file = open(path); "
    pid = rooted.run(code + "time.sleep(0.4)", "/etc/gshadow")
    assert os.O_RDONLY == rooted.told("/etc/gshadow", pid)["flags_raw"] & os.O_ACCMODE


def test_a_flood_of_writes_does_not_take_the_processor(rooted: Rooted) -> None:
    before, began_s = rooted.observer.cpu_times(), time.monotonic()
    flood = "file = open(path, 'a'); end = time.monotonic() + 2.0\n"
    flood += "while time.monotonic() < end: file.write('x'); file.flush(); os.utime(path)"
    rooted.run(flood, "/etc/profile")
    spent = sum(rooted.observer.cpu_times()[:2]) - sum(before[:2])
    assert spent < MOST * (time.monotonic() - began_s)
    pid = rooted.run("file = open(path, 'a'); file.write('x'); file.flush(); time.sleep(2)", "/etc/environment")
    rooted.told("/etc/environment", pid)
