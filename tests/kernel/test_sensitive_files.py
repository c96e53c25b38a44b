"""Sensitive files: told when they are opened at all, whatever leads to them, and nothing else that is only read."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import probes
from agent.model import FileOpen
from agent.model import ProcessExit
from agent.model import ProcessFork
from agent.sensor.ebpf.source import EbpfSource
from agent.sensor.ebpf.source import Options
from tests import containers
from tests.kernel import deeds
from tests.kernel import races
from tests.kernel.conftest import Sensed
from tests.kernel.rings import RING
from tests.kernel.test_file_open import OPENAT2
from tests.kernel.test_file_open import SYSCALL
from tests.kernel.test_file_open import on_x86

DO = "import os, sys; os.chdir(sys.argv[1])\n{deed}\nos.open('marker', os.O_WRONLY | os.O_CREAT)"


def told(sensor: Sensed, directory: Path, deed: str) -> list[tuple[str, int, bool]]:
    """Do `deed` in `directory`; return (path below it, access mode, sensitive) of what was told, the marker aside."""
    pid = deeds.python(DO.format(deed=deed), str(directory))
    sensor.until(FileOpen, lambda event: event.tgid == pid and event.path == f"{directory}/marker")
    events = sensor.all(FileOpen, lambda event: event.tgid == pid and not event.path.endswith("/marker"))
    return [
        (event.path.removeprefix(f"{directory}/"), event.flags_raw & os.O_ACCMODE, event.sensitive) for event in events
    ]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with files of telling names."""
    for name in ("etc/shadow", "etc/shadows", "etc/shadox", "tea/shadow", "etc/passwd", ".ssh/id_rsa", "run/token"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for name in ("pam.d/sshd", "tmp/mem", "tmp/.bashrc", "run/tokens", f"{'d' * 200}/{'n' * 200}"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param("os.open('etc/shadows', 0)", id="one character more"),
        pytest.param("os.open('etc/shadox', 0)", id="another character"),
        pytest.param("os.open('tea/shadow', 0)", id="in another directory"),
        pytest.param("os.open('run/tokens', 0)", id="any directory, another name"),
        pytest.param("os.open('etc/passwd', 0)", id="what everybody reads"),
        pytest.param("os.open('pam.d/sshd', 0)", id="of a directory whose files are told when written"),
        pytest.param("os.open('tmp/.bashrc', 0)", id="told when written, in any directory"),
        pytest.param("os.open('tmp/mem', 0)", id="on another file system than proc"),
        pytest.param("os.open('d' * 200 + '/' + 'n' * 200, 0)", id="names longer than any that is listed"),
        pytest.param("os.open('etc/shadow', os.O_PATH)", id="a handle, by which nothing can be read"),
        pytest.param("os.mkdir('token'); os.open('token', os.O_DIRECTORY); os.open('token', 0)", id="a directory"),
        pytest.param("os.stat('etc/shadow')", id="looked at, not opened"),
    ],
)
def test_not_told(sensor: Sensed, files: Path, deed: str) -> None:
    """A name that differs in one place is another file, and reading it is nobody's concern."""
    assert [] == told(sensor, files, deed)


@pytest.mark.parametrize(
    ("deed", "expected"),
    [
        pytest.param("os.open('etc/shadow', 0)", ("etc/shadow", os.O_RDONLY, True), id="read"),
        pytest.param("os.open('.ssh/id_rsa', 0)", (".ssh/id_rsa", os.O_RDONLY, True), id="a private key"),
        pytest.param("os.open('run/token', 0)", ("run/token", os.O_RDONLY, True), id="in any directory"),
        pytest.param("os.open('etc/shadow', os.O_CREAT)", ("etc/shadow", os.O_RDONLY, True), id="it was there"),
        pytest.param("os.open('etc/shadow', os.O_RDWR)", ("etc/shadow", os.O_RDWR, True), id="written"),
        pytest.param("os.open('etc/passwd', os.O_WRONLY)", ("etc/passwd", os.O_WRONLY, True), id="marked when written"),
        pytest.param("os.open('pam.d/sshd', os.O_RDWR)", ("pam.d/sshd", os.O_RDWR, True), id="any file of a directory"),
        pytest.param("os.open('pam.d/new', os.O_CREAT)", ("pam.d/new", os.O_RDONLY, True), id="a new one there"),
        pytest.param("os.open('etc/shadows', os.O_RDWR)", ("etc/shadows", os.O_RDWR, False), id="another, written"),
    ],
)
def test_told(sensor: Sensed, files: Path, deed: str, expected: tuple[str, int, bool]) -> None:
    """What is opened is told with how, and as sensitive when its name is on the list."""
    assert [expected] == told(sensor, files, deed)


CGROUP = 0x27E0EB  # CGROUP_SUPER_MAGIC, include/uapi/linux/magic.h


@pytest.mark.parametrize(("mode", "flags"), [("rb", os.O_RDONLY), ("wb", os.O_WRONLY)])
def test_memory_of_a_process(sensor: Sensed, tmp_path: Path, mode: str, flags: int) -> None:
    """/proc/PID/mem is another process's memory: reading it is told as writing is."""
    [(path, access, sensitive)] = told(sensor, tmp_path, f"open('/proc/self/mem', {mode!r})")

    assert (flags, True) == (access, sensitive)
    assert path.startswith("/proc/")
    assert path.endswith("/mem")


@pytest.mark.parametrize(
    "opened",
    [
        pytest.param("/proc/{pid}/mem", id="by its process"),
        pytest.param("/proc/{pid}/task/{pid}/mem", id="by a thread of it"),
    ],
)
def test_whose_memory_it_is(sensor: Sensed, opened: str) -> None:
    """The process whose memory was opened is named as the kernel knows it."""
    code = (
        "import os, signal\nchild = os.fork()\nif child == 0: signal.pause()\n"
        f"os.open({opened!r}.format(pid=child), os.O_RDWR); os.kill(child, 9); os.wait()"
    )
    pid = deeds.python(code)

    event = sensor.of_pid(FileOpen, pid)
    fork = sensor.until(ProcessFork, lambda event: event.tgid == pid)
    assert (fork.child, True) == (event.target, event.changes)


def test_memory_of_a_process_in_a_container(sensor: Sensed) -> None:
    """There the number in the path is another's on the host; who is meant is told all the same."""
    with containers.running_container() as container:
        done = container.exec(["/bin/sh", "-c", "sleep 60 & exec 3<>/proc/$!/mem; kill $!; echo $!"])

        event = sensor.until(FileOpen, lambda event: event.tgid == done.pid and event.path.endswith("/mem"))
    fork = sensor.until(ProcessFork, lambda event: event.tgid == done.pid)
    assert (fork.child, f"/{done.stdout.strip()}/mem") == (event.target, event.path.removeprefix("/proc"))
    assert int(done.stdout) != fork.child_tgid


def test_a_file_of_nobody(sensor: Sensed, files: Path) -> None:
    """A file that is not below /proc/PID is no process's."""
    pid = deeds.python("import sys; open(sys.argv[1], 'ab')", str(files / "etc/shadow"))

    assert sensor.of_pid(FileOpen, pid).target is None


@pytest.mark.parametrize(
    "number",
    [pytest.param(OPENAT2, id="openat2"), pytest.param(2, id="open", marks=on_x86)],
)
def test_every_call_that_reads(sensor: Sensed, files: Path, number: int) -> None:
    """Whichever call opens it."""
    pid = deeds.python(SYSCALL, str(number), str(files / "etc/shadow"), str(os.O_RDONLY))

    event = sensor.of_pid(FileOpen, pid)
    assert (True, (files / "etc/shadow").stat().st_ino) == (event.sensitive, event.inode)


def test_by_io_uring(sensor: Sensed, files: Path) -> None:
    """A request opens it."""
    code = "setup(); submit(entry(18, -100, text(sys.argv[1]), 0, 0, os.O_RDONLY)); assert results()[0] > 2"
    pid = deeds.python(RING + code, str(files / "etc/shadow"))

    event = sensor.of_pid(FileOpen, pid)
    assert ("io_uring", str(files / "etc/shadow"), True) == (event.via, event.path, event.sensitive)


def test_behind_a_link(sensor: Sensed, files: Path) -> None:
    """A symbolic link is not what is opened."""
    assert [("etc/shadow", 0, True)] == told(sensor, files, "os.symlink('etc/shadow', 'harmless'); open('harmless')")


MOUNTED = """
    mkdir "$1/etc" "$1/.ssh" "$1/there" && cd "$1" && {mount} && exec cat {path}
"""


@pytest.mark.parametrize(
    ("mount", "path"),
    [
        pytest.param("mount -t tmpfs none etc && : > etc/shadow", "etc/shadow", id="at the root of a file system"),
        pytest.param(": > there/id_rsa && mount --bind there .ssh", ".ssh/id_rsa", id="mounted under that name"),
        pytest.param(": > etc/shadow && mount --bind etc there", "there/shadow", id="mounted under another"),
    ],
)
def test_mounted(sensor: Sensed, tmp_path: Path, mount: str, path: str) -> None:
    """The directory counts by its own name, and by that of the place where it is mounted."""
    script = MOUNTED.format(mount=mount, path=path)
    pid = deeds.run("/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, "sh", str(tmp_path))

    event = sensor.until(FileOpen, lambda event: event.tgid == pid and event.flags_raw & os.O_ACCMODE == os.O_RDONLY)
    assert (f"{tmp_path}/{path}", True) == (event.path, event.sensitive)


CGROUPS = """
    mkdir "$1/cgroups" && mount -t cgroup -o "none,name=$2" none "$1/cgroups" && cd "$1" && {deed}
"""


@pytest.mark.skipif("\tcgroup\n" not in Path("/proc/filesystems").read_text(), reason="needs cgroup v1")
@pytest.mark.parametrize(
    ("deed", "path", "expected"),
    [
        pytest.param("exec sh -c ': >> cgroups/release_agent'", "cgroups/release_agent", (True, CGROUP), id="written"),
        pytest.param(
            "touch x && mount --bind cgroups/release_agent x && exec sh -c ': >> x'",
            "x",
            (True, CGROUP),
            id="mounted under another name",
        ),
        pytest.param("exec sh -c ': > release_agent'", "release_agent", (False, None), id="on another file system"),
    ],
)
def test_release_agent(sensor: Sensed, tmp_path: Path, deed: str, path: str, expected: tuple[bool, int | None]) -> None:
    """A release agent is one on cgroup v1 alone, and there whatever it is mounted at."""
    name = f"vedette-{uuid.uuid4().hex}"
    script = CGROUPS.format(deed=deed)
    pid = deeds.run("/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, "sh", str(tmp_path), name)

    event = sensor.until(FileOpen, lambda event: event.tgid == pid and event.path == f"{tmp_path}/{path}")
    assert expected == (event.sensitive, event.magic_raw)


@containers.needs_runc
def test_in_a_container(sensor: Sensed) -> None:
    """A container that was never heard of is no exception; the path is its own."""
    with containers.running_container() as container:
        done = container.exec(["/usr/bin/cat", "/etc/shadow"])
        namespace = containers.mount_namespace(container.pid)

    assert done.status == 0
    event = sensor.until(FileOpen, lambda event: event.mnt_ns == namespace and event.path == "/etc/shadow")
    assert (True, os.O_RDONLY, False) == (event.sensitive, event.flags_raw & os.O_ACCMODE, event.created)


AGAIN = """
import os, sys
def read(): os.close(os.open(sys.argv[1], os.O_RDONLY))
for _ in range(100): read()
os.waitpid(os.posix_spawn('/usr/bin/cat', ['cat', sys.argv[1]], os.environ), 0)
read()
os.open(sys.argv[1], os.O_WRONLY)
os.execv('/usr/bin/cat', ['cat', sys.argv[1]])
"""


@pytest.mark.race
def test_repeats_are_counted(sensor: Sensed, files: Path) -> None:
    """A hundred reads of one program are one event; another reader, a write and a new program are more."""
    path = files / "etc/shadow"
    before = sensor.source.counters()["sensor.file_open.repeated"]
    pid = deeds.python(AGAIN, str(path))
    sensor.until(ProcessExit, lambda event: event.tgid == pid)
    sensor.catch_up()

    events = sensor.all(FileOpen, lambda event: event.path == str(path))
    assert [(event.tgid == pid, event.changes) for event in events] == [
        (True, False),
        (False, False),
        (True, True),
        (True, False),
    ]
    assert sensor.source.counters()["sensor.file_open.repeated"] - before >= 100


EMPTIED = """
import os, sys
for flags in (os.O_APPEND, os.O_APPEND, os.O_TRUNC):
    os.close(os.open(sys.argv[1], os.O_WRONLY | flags))
"""


def test_a_log_that_is_emptied_is_told(sensor: Sensed, files: Path) -> None:
    """Who adds to a sensitive file hides nothing of what he then does to it: each time that it is emptied is told."""
    path = files / "etc/passwd"
    pid = deeds.python(EMPTIED, str(path))
    sensor.until(ProcessExit, lambda event: event.tgid == pid)
    sensor.catch_up()

    events = sensor.all(FileOpen, lambda event: event.tgid == pid)
    assert [0, os.O_TRUNC] == [event.flags_raw & os.O_TRUNC for event in events if event.path == str(path)]


RACE = """
path = os.fsencode(sys.argv[1])
fd = next_fd()
pid = racer(lambda: libc.close(fd))
for number in spread(2000):
    libc.close(libc.open(path, os.O_RDONLY))
stop(pid)
"""


@races.needs_two_cpus
def test_hidden_reads(sensor: Sensed, files: Path) -> None:
    """A neighbour that closes the descriptor at once does not hide the read: the name that was asked for is told."""
    path = str(files / "etc/shadow")
    pid = races.python(RACE, path)
    sensor.until(ProcessExit, lambda event: event.tgid == pid, timeout_s=30)
    sensor.catch_up()

    events = sensor.all(FileOpen, lambda event: event.tgid == pid)
    raced = [event for event in events if "fd_raced" in event.flags]
    assert {path} == {event.user_path for event in events}
    assert 2000 == len(events)
    assert {"…"} == {event.path for event in raced}  # some were won


@pytest.fixture(scope="module")
def configured() -> Iterator[Sensed]:
    """A sensor of opens alone that was told of more files."""
    wanted = tuple(probe for probe in probes.load() if probe.name == "file_open")
    source = EbpfSource(Options(probes=wanted, sensitive_files=("app/secrets.yml", "vault/*", "etc/passwd")))
    try:
        yield Sensed(source, source.open())
    finally:
        source.close()


@pytest.mark.parametrize(
    ("deed", "expected"),
    [
        pytest.param("os.open('app/secrets.yml', 0)", [("app/secrets.yml", 0, True)], id="one of ours"),
        pytest.param("os.open('vault/key', 0)", [], id="one of a directory, read"),
        pytest.param("os.open('vault/key', 1)", [("vault/key", 1, True)], id="one of a directory, written"),
        pytest.param("os.open('etc/passwd', 0)", [("etc/passwd", 0, True)], id="listed to be told when read, too"),
        pytest.param("os.open('etc/shadow', 0)", [("etc/shadow", 0, True)], id="those that were there are kept"),
    ],
)
def test_configured(configured: Sensed, files: Path, deed: str, expected: list[tuple[str, int, bool]]) -> None:
    """What an operator lists is told beside what is known."""
    for name in ("app/secrets.yml", "vault/key"):
        (files / name).parent.mkdir()
        (files / name).touch()

    assert expected == told(configured, files, deed)
