"""process_namespace: a program goes into other namespaces, makes new ones, or tries to."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from agent.model import Namespaces
from agent.model import ProcessNamespace
from tests import containers
from tests.kernel import deeds
from tests.kernel.conftest import Sensed

NEWTIME, NEWNS, NEWCGROUP, NEWUTS = 0x80, 0x20000, 0x2000000, 0x4000000  # include/uapi/linux/sched.h
NEWIPC, NEWUSER, NEWPID, NEWNET = 0x8000000, 0x10000000, 0x20000000, 0x40000000
FS, FILES = 0x200, 0x400
SETNS, PIDFD_OPEN = 308, 434  # arch/x86/entry/syscalls/syscall_64.tbl
NOTHING = 99  # no descriptor

PROLOGUE = f"""
import ctypes, os, signal, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def setns(fd, kind=0): return libc.syscall({SETNS}, fd, kind)
def unshare(flags): return libc.unshare(flags)
def ours(kind): return os.open(f"/proc/self/ns/{{kind}}", os.O_RDONLY)
def pidfd(pid): return libc.syscall({PIDFD_OPEN}, pid, 0)
def elsewhere(flags):
    ready, told = os.pipe()
    child = os.fork()
    if not child: unshare(flags), os.write(told, b"x"), signal.pause()
    os.read(ready, 1)
    return child
def end(child): os.kill(child, 9), os.waitpid(child, 0)
"""
MARKER = f"\nsetns({NOTHING}, {NEWPID})"


def told(sensor: Sensed, pid: int) -> list[ProcessNamespace]:
    """Return what `pid` did before its marker, into a pid namespace by no descriptor."""
    sensor.until(
        ProcessNamespace, lambda event: event.tgid == pid and (event.result, event.kinds) == (-errno.EBADF, ("pid",))
    )
    return sensor.all(ProcessNamespace, lambda event: event.tgid == pid)[:-1]


def ours() -> Namespaces:
    """Return the namespaces of this process, which a child of it begins in."""
    return Namespaces(**{name: os.stat(f"/proc/self/ns/{name}").st_ino for name in Namespaces.__struct_fields__})


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param(f"assert unshare({FS | FILES}) == 0", id="no namespace"),
        pytest.param("assert unshare(0) == 0", id="nothing"),
        pytest.param("assert unshare(1) == -1", id="no namespace, refused"),
    ],
)
def test_not_told(sensor: Sensed, deed: str) -> None:
    """What is unshared beside namespaces is not told."""
    assert [] == told(sensor, deeds.python(f"{PROLOGUE}{deed}{MARKER}"))


@pytest.mark.parametrize(
    ("flags", "kinds"),
    [
        pytest.param(NEWNS, {"mnt": "mnt"}, id="mnt"),
        pytest.param(NEWPID, {"pid": "pid_for_children"}, id="pid"),
        pytest.param(NEWTIME, {"time": "time_for_children"}, id="time"),
        pytest.param(NEWNET | FS, {"net": "net"}, id="net"),
        pytest.param(NEWUSER, {"user": "user"}, id="user"),
        pytest.param(
            NEWIPC | NEWUTS | NEWCGROUP, {"cgroup": "cgroup", "uts": "uts", "ipc": "ipc"}, id="three at one time"
        ),
    ],
)
def test_unshare(sensor: Sensed, tmp_path: Path, *, flags: int, kinds: dict[str, str]) -> None:
    """What is made new has a new number, and nothing else has."""
    code = (
        f"assert unshare({flags}) == 0\n"
        "with open(sys.argv[1], 'w') as file:\n"
        "    for name in sys.argv[2:]: print(os.stat(f'/proc/self/ns/{name}').st_ino, file=file)"
    )
    # A namespace for children has no file until the first child has begun in it.
    seen = [name for name in kinds.values() if not name.endswith("_for_children")]
    pid = deeds.python(f"{PROLOGUE}{code}{MARKER}", str(tmp_path / "ids"), *seen)

    [event] = told(sensor, pid)
    before, now = ours(), event.now
    changed = {name for name in now.__struct_fields__ if getattr(now, name) != getattr(before, name)}
    assert ("unshare", flags, tuple(kinds), 0) == (event.operation, event.flags_raw, event.kinds, event.result)
    assert set(kinds.values()) == changed
    assert list(map(int, (tmp_path / "ids").read_text().split())) == [getattr(now, name) for name in seen]
    assert (None, None, ()) == (event.inum, event.target, event.flags)


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        pytest.param(0, "net", id="whatever it is"),
        pytest.param(NEWNET, "net", id="as that kind"),
        pytest.param(0, "mnt", id="mnt"),
        pytest.param(0, "uts", id="uts"),
        pytest.param(0, "ipc", id="ipc"),
        pytest.param(0, "cgroup", id="cgroup"),
        pytest.param(0, "time", id="time"),
        pytest.param(0, "pid", id="pid"),
    ],
)
def test_setns(sensor: Sensed, *, flags: int, kind: str) -> None:
    """The namespace that a descriptor is, is told by kind and number, whatever the flags say."""
    flag = {"mnt": NEWNS, "uts": NEWUTS, "ipc": NEWIPC, "cgroup": NEWCGROUP, "time": NEWTIME, "pid": NEWPID}
    code = f"fd = ours('{kind}'); assert unshare({flag.get(kind, NEWNET)}) == 0; assert setns(fd, {flags}) == 0"
    pid = deeds.python(f"{PROLOGUE}{code}{MARKER}")

    made, event = told(sensor, pid)
    name = f"{kind}_for_children" if kind in {"time", "pid"} else kind
    assert ("setns", flags, (kind,), 0) == (event.operation, event.flags_raw, event.kinds, event.result)
    assert getattr(ours(), name) == event.inum == getattr(event.now, name) != getattr(made.now, name)
    assert ours() == event.now
    assert (None, ()) == (event.target, event.flags)


def test_setns_user(sensor: Sensed) -> None:
    """A user namespace that is gone into is told by the credentials that it gives."""
    code = f"child = elsewhere({NEWUSER}); assert setns(os.open(f'/proc/{{child}}/ns/user', 0)) == 0; end(child)"
    pid = deeds.python(f"{PROLOGUE}{code}{MARKER}")

    [event] = told(sensor, pid)
    assert (("user",), 0) == (event.kinds, event.result)
    assert event.inum == event.now.user != ours().user


def test_pidfd(sensor: Sensed) -> None:
    """By a pidfd, the process is told and the kinds that were asked for."""
    code = f"child = elsewhere({NEWNET | NEWUTS}); assert setns(pidfd(child), {NEWNET | NEWUTS}) == 0; end(child)"
    pid = deeds.python(f"{PROLOGUE}{code}{MARKER}")

    [event] = told(sensor, pid)
    child = sensor.until(ProcessNamespace, lambda other: other.actor == event.target)
    assert ("setns", NEWNET | NEWUTS, ("uts", "net"), 0) == (
        event.operation,
        event.flags_raw,
        event.kinds,
        event.result,
    )
    assert (child.now, None, ()) == (event.now, event.inum, event.flags)


@pytest.mark.parametrize(
    ("deed", "kinds", "result"),
    [
        pytest.param(f"setns({NOTHING})", (), -errno.EBADF, id="no descriptor"),
        pytest.param("setns(0)", (), -errno.EINVAL, id="no namespace"),
        pytest.param(f"setns(ours('net'), {NEWNS})", ("net",), -errno.EINVAL, id="another kind"),
        pytest.param(f"setns(pidfd(os.getpid()), {NEWUSER})", ("user",), -errno.EINVAL, id="where one is already"),
        pytest.param("os.setuid(65534); setns(ours('net'))", ("net",), -errno.EPERM, id="without the right"),
        pytest.param(f"os.setuid(65534); unshare({NEWNS})", ("mnt",), -errno.EPERM, id="a new one without the right"),
        pytest.param(f"unshare({NEWNET} | 1)", ("net",), -errno.EINVAL, id="a new one and nonsense"),
    ],
)
def test_refused(sensor: Sensed, *, deed: str, kinds: tuple[str, ...], result: int) -> None:
    """What is refused is told with the reason and what was asked for; nothing has changed."""
    [event] = told(sensor, deeds.python(f"{PROLOGUE}{deed}{MARKER}"))

    assert (kinds, result, ours(), ()) == (event.kinds, event.result, event.now, event.flags)


def test_dead_process(sensor: Sensed) -> None:
    """A process that was gone is nobody."""
    code = f"child = elsewhere(0); fd = pidfd(child); end(child); assert setns(fd, {NEWNET}) == -1"
    [event] = told(sensor, deeds.python(f"{PROLOGUE}{code}{MARKER}"))

    assert (("net",), -errno.ESRCH, None) == (event.kinds, event.result, event.target)


def test_threads(sensor: Sensed) -> None:
    """In a process with threads the descriptor may have been another; the thread alone has moved."""
    code = "t = threading.Thread(target=lambda: setns(ours('uts'))); t.start(); t.join()"
    [event] = told(sensor, deeds.python(f"{PROLOGUE}{code}{MARKER}"))

    assert (("uts",), ("fd_shared",), True) == (event.kinds, event.flags, event.tid != event.tgid)


def test_repeated(sensor: Sensed) -> None:
    """Going back and forth, failing and making new ones over and over is told once a second, each by itself."""
    code = (
        f"child = elsewhere({NEWNET}); there = os.open(f'/proc/{{child}}/ns/net', 0); here = ours('net')\n"
        "for _ in range(1000): setns(there), setns(here), setns(0), unshare(0x40000001)\n"
        f"for _ in range(1000): unshare({NEWUTS}), unshare({NEWUTS | NEWCGROUP})\nend(child)"
    )
    events = told(sensor, deeds.python(f"{PROLOGUE}{code}{MARKER}"))

    assert 6 == len({(event.operation, event.kinds, event.inum, event.result) for event in events})
    assert len(events) < 24  # six, again in each second that it takes


def test_no_kind_hides_behind_another(sensor: Sensed) -> None:
    """Who makes a namespace, and then one of another kind beside it, is told twice: for each of the kinds."""
    flags = (NEWUTS, *(NEWUTS | flag for flag in (NEWNS, NEWCGROUP, NEWTIME, NEWIPC, NEWNET)))
    events = told(sensor, deeds.python(f"{PROLOGUE}for flags in {flags}: assert unshare(flags) == 0{MARKER}"))

    assert list(flags) == [event.flags_raw for event in events]


def test_threads_make_their_own(sensor: Sensed) -> None:
    """Two threads that make a namespace of the same kind at one time are both told."""
    code = (
        f"threads = [threading.Thread(target=unshare, args=({NEWNET},)) for _ in 'ab']\n"
        "for thread in threads: thread.start()\nfor thread in threads: thread.join()"
    )
    events = told(sensor, deeds.python(f"{PROLOGUE}{code}{MARKER}"))

    assert 2 == len({event.tid for event in events}) == len(events)


@containers.needs_runc
def test_container(sensor: Sensed) -> None:
    """Who enters a container's namespaces from the host, and who is entered, is told."""
    with containers.running_container() as container:
        inside = os.stat(f"/proc/{container.pid}/ns/mnt").st_ino
        pid = deeds.run("/usr/bin/nsenter", f"--target={container.pid}", "--mount", "/bin/true")

        event = sensor.of_pid(ProcessNamespace, pid)
        assert ("setns", 0, inside, inside) == (event.operation, event.result, event.now.mnt, event.mnt_ns)
        assert inside == event.inum or event.target_tgid == container.pid
        made = sensor.until(ProcessNamespace, lambda event: "mnt" in event.kinds and event.now.mnt == inside)
        assert 0 == made.result
