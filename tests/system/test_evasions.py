"""What is found although somebody goes out of his way not to be: one deed for each way, with one agent.

Ways that are tested with the finding that they are to hide from are not here again: renamed, linked and padded
programs, base64, the dynamic loader, names and addresses in other spellings (test_findings*.py), races of threads
(tests/kernel).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import NamedTuple

import pytest

from tests.containers import RunningContainer
from tests.containers import running_container
from tests.system import deeds
from tests.system.deeds import PYTHON
from tests.system.deeds import X
from tests.system.running import Run
from tests.system.running import wait_for

FILELESS = "DefenseEvasion:Runtime/FilelessExecution"
NEW_BINARY = "Execution:Runtime/NewBinaryExecuted"
NEW_LIBRARY = "Execution:Runtime/NewLibraryLoaded"
MINER = "Impact:Runtime/CryptoMinerExecuted"
PERSISTENCE = "Persistence:Runtime/SensitiveFileModified"

CRON = "/etc/cron.d/vedette-test"
MARK = "donate.v2.xmrig.com"  # which only a miner holds
SLEEP = os.path.realpath("/bin/sleep")
MINED = f"{X}.miner"
"""In the container: sleep, with a miner's mark behind its end."""
CAPABILITIES = ("CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_DAC_OVERRIDE")

PROLOGUE = f"""
import ctypes, mmap, os, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
LINGER = ["x", "-c", "{deeds.LINGER}"]
MINE = ["sleep", "2"]

def done(result):
    assert result >= 0, os.strerror(ctypes.get_errno())
    return result

def mount(what, where, kind="", flags=4096):  # MS_BIND
    done(libc.mount(what.encode(), where.encode(), kind.encode(), flags, None))

def openat2(directory, name, flags, resolve):
    how = (ctypes.c_uint64 * 3)(flags, 0, resolve)
    return done(libc.syscall(437, os.open(directory, os.O_PATH), name.encode(), how, 24))

def exchange(one, other):
    done(libc.renameat2(-100, one.encode(), -100, other.encode(), 2))

def shell_in(fd):
    with open("/bin/sh", "rb") as original, open(fd, "wb", closefd=False) as copy:
        copy.write(original.read())
    readable = os.open(f"/proc/self/fd/{{fd}}", os.O_RDONLY)
    os.close(fd)
    return readable

def in_memory():
    return f"/proc/self/fd/{{shell_in(os.memfd_create('x', 0))}}"

def without_a_name(directory):
    return shell_in(os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o755))

def with_padding(kib, **variables):
    return dict.fromkeys([f"P{{number}}" for number in range(kib)], "x" * 1016) | variables
"""
"""What each deed begins with. MINE takes long: nobody who mines is gone before he is read."""
LATER = f"\ntime.sleep({deeds.HASHED_S})"


class Evasion(NamedTuple):
    """One way around."""

    type: str
    """What is found all the same."""
    deed: Callable[[RunningContainer, Path], int]
    """Does it, with a container and a directory of this host at hand; returns the pid."""
    path: str | None = None
    """Of the program that it is about, where the deed runs several."""
    context: dict[str, object] = {}  # noqa: RUF012  # of a NamedTuple: a default, never changed
    """What the finding says, among other things."""


def on_host(type_: str, code: str) -> Evasion:
    """Return the way of a python of this host, which prints the pid if that is not its own."""

    def deed(_: RunningContainer, directory: Path) -> int:
        argv = [deeds.OUR_PYTHON, "-I", "-c", PROLOGUE + code, str(directory)]
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        said, _none = child.communicate(timeout=deeds.WAIT_S)
        assert 0 == child.returncode, code
        return int(said or child.pid)

    return Evasion(type_, deed)


def in_container(type_: str, code: str, path: str | None = None, **context: object) -> Evasion:
    """Return the way of a python that was brought into a container."""

    def deed(container: RunningContainer, _: Path) -> int:
        argv = [X, "-I", "-S", "-c", f"{PROLOGUE}path = sys.argv[1]\n{code}", CRON]
        return deeds.succeeded(container.exec(["/bin/sh", "-c", AGAIN, *argv])).pid

    return Evasion(type_, deed, path, context)


def on_cron(code: str, operation: str = "Write", file: str = CRON) -> Evasion:
    """Return a way to change a job of cron in the container."""
    return in_container(PERSISTENCE, code, filePath=file, fileOperation=operation)


PROGRAMS = {
    "a file that never had a name": on_host(
        FILELESS, "os.execv(f'/proc/self/fd/{without_a_name(sys.argv[1])}', LINGER)"
    ),
    "a file that never had a name, by an empty path": on_host(
        FILELESS, "os.execve(without_a_name(sys.argv[1]), LINGER, os.environ)"
    ),
    "a file that got its name late": in_container(
        NEW_BINARY,
        "late = f'/proc/self/fd/{without_a_name(\"/tmp\")}'\n"
        "done(libc.linkat(-100, late.encode(), -100, b'/tmp/late', 0x400))\n"
        "os.execv('/tmp/late', LINGER)",
        path="/tmp/late",
    ),
    "a script from memory": on_host(
        FILELESS,
        "fd = os.memfd_create('x', 0); os.write(fd, f'#!/bin/sh\\n{LINGER[2]}'.encode())\n"
        "os.execve(fd, ['x'], os.environ)",
    ),
    "a script from memory, given to a shell": on_host(
        FILELESS,
        "fd = os.memfd_create('x', 0); os.write(fd, LINGER[2].encode()); os.set_inheritable(fd, True)\n"
        "os.execv('/bin/sh', ['sh', f'/proc/self/fd/{fd}'])",
    ),
    "by a thread": on_host(
        FILELESS, "threading.Thread(target=os.execv, args=(in_memory(), LINGER)).start(); time.sleep(60)"
    ),
    "by clone3": on_host(
        FILELESS,
        "path, asked = in_memory(), (ctypes.c_uint64 * 11)(0, 0, 0, 0, 17)\n"
        "pid = done(libc.syscall(435, asked, 88))\n"
        "if pid == 0: os.execv(path, LINGER)\n"
        "os.waitpid(pid, 0); print(pid)",
    ),
    "by a grandchild whose parents are gone": on_host(
        FILELESS,
        "path, (r, w) = in_memory(), os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork(): os._exit(0)\n"
        "    time.sleep(0.2); os.write(w, b'%d' % os.getpid()); os.execv(path, LINGER)\n"
        "os.wait(); print(os.read(r, 20).decode()); time.sleep(0.5)",
    ),
    "mounted over a program of the image": in_container(
        NEW_BINARY, f"mount('{X}.odd', '/usr/bin/yes'); os.execv('/usr/bin/yes', ['yes'])", path="/usr/bin/yes"
    ),
    "a miner mounted over a program of the image": in_container(
        MINER, f"mount('{MINED}', '/usr/bin/yes'); os.execv('/usr/bin/yes', MINE)", path="/usr/bin/yes"
    ),
    "a miner behind a symbolic link": in_container(
        MINER, f"os.symlink('{MINED}', '/tmp/link'); os.execv('/tmp/link', MINE)"
    ),
    "a miner by the root of another": in_container(MINER, f"os.execv('/proc/1/root{MINED}', MINE)"),
    "a miner from memory": in_container(
        MINER,
        f"fd = os.memfd_create('x', 0); os.write(fd, open('{MINED}', 'rb').read())\n"
        "os.execv(f'/proc/self/fd/{fd}', MINE)",
        path="/memfd:x",
    ),
    "preloaded behind a large environment": in_container(
        NEW_LIBRARY,
        f"os.execve('/bin/sh', LINGER, with_padding(200, LD_PRELOAD='{X}.so', PATH='/bin'))",
        libraryPath=f"{X}.so",
        ldPreloadValue=f"{X}.so",
    ),
}
FILES = {
    "behind a link that is swapped": on_cron(
        "os.mkdir('/tmp/a'); open('/tmp/a/vedette-test', 'w')\n"
        "os.symlink('/tmp/a', '/tmp/one'); os.symlink('/etc/cron.d', '/tmp/two')\n"
        "def swap():\n"
        "    for _ in range(200): time.sleep(0.001); exchange('/tmp/one', '/tmp/two')\n"
        "threading.Thread(target=swap).start()\n"
        "while os.fstat(os.open('/tmp/one/vedette-test', os.O_WRONLY)).st_ino != os.stat(path).st_ino: pass"
    ),
    "openat2 within a root": on_cron("openat2('/etc', '/../cron.d/vedette-test', os.O_WRONLY, 0x10)"),
    "openat2 without links, beneath": on_cron("openat2('/etc/cron.d', 'vedette-test', os.O_RDWR, 0x0c)"),
    "by a handle": on_cron(  # which an overlay has not
        "mount('x', '/etc/cron.d', 'tmpfs', 0); os.close(os.open('/etc/cron.d/other', os.O_CREAT))\n"
        "handle, mount_id = (ctypes.c_ubyte * 136)(128), ctypes.c_int()\n"
        "done(libc.name_to_handle_at(-100, b'/etc/cron.d/other', handle, ctypes.byref(mount_id), 0))\n"
        "os.rename('/etc/cron.d/other', path); time.sleep(1.1)\n"  # what is repeated within a second is not told
        "done(libc.open_by_handle_at(os.open('/etc/cron.d', os.O_RDONLY), handle, os.O_WRONLY))"
    ),
    "through a mapping": on_cron(
        "fd = os.open(path, os.O_RDWR); os.ftruncate(fd, 10)\nmmap.mmap(fd, 10)[:4] = b'0 0 '"
    ),
    "copied within the kernel": on_cron(
        "os.copy_file_range(os.open('/tmp/prepared', os.O_RDONLY), os.open(path, os.O_WRONLY), 4)"
    ),
    "by the root of another": on_cron("os.open('/proc/1/root' + path, os.O_WRONLY)"),
    "exchanged": on_cron("exchange('/tmp/prepared', path)", "Rename"),
    "written in slashes": on_cron("os.rename('/tmp/prepared', '//etc//./cron.d//vedette-test')", "Rename"),
    "relative to where one is": on_cron(
        "os.chdir('/etc/cron.d'); os.rename('/tmp/prepared', 'vedette-test')", "Rename"
    ),
    "by the link to where one is": on_cron(
        f"os.chdir('/etc'); os.rename('/tmp/prepared', '/proc/self/cwd/cron.d/vedette-test'){LATER}", "Rename"
    ),
    "by the link to a descriptor": on_cron(
        "fd = os.open('/etc', os.O_RDONLY)\n"
        f"os.rename('/tmp/prepared', f'/proc/self/fd/{{fd}}/cron.d/vedette-test'){LATER}",
        "Rename",
    ),
    "behind a link to its directory": on_cron(
        "os.symlink('/etc/cron.d', '/tmp/link'); os.rename('/tmp/prepared', '/tmp/link/vedette-test')", "Rename"
    ),
    "given another name first": on_cron("os.link(path, '/tmp/other'); os.open('/tmp/other', os.O_WRONLY)", "Link"),
    "mounted by itself elsewhere": on_cron(
        "open('/tmp/other', 'w'); mount(path, '/tmp/other'); os.open('/tmp/other', os.O_WRONLY)", "Link"
    ),
    "another mounted over it": on_cron("mount('/tmp/prepared', path)", "Link"),
    "its directory mounted over": on_cron("mount('/tmp', '/etc/cron.d')", "Link", "/etc/cron.d"),
    "by who calls himself otherwise": on_cron("libc.prctl(15, b'dpkg', 0, 0, 0); os.open(path, os.O_WRONLY)"),
    "mounted over a program of known good": in_container(
        PERSISTENCE,
        f"mount('{X}', '/usr/sbin/usermod')\n"
        "write = 'import os; os.open(\"/etc/shadow\", os.O_WRONLY)'\n"
        "os.execv('/usr/sbin/usermod', ['usermod', '-I', '-S', '-c', write])",
        filePath="/etc/shadow",
    ),
    "preloaded into a program of known good, behind a larger environment": in_container(
        PERSISTENCE,
        "what = ['usermod', '-s', '/bin/sh', 'daemon']\n"
        f"os.execve('/usr/sbin/usermod', what, with_padding(800, LD_PRELOAD='{X}.so'))",
        path=os.path.realpath("/usr/sbin/usermod"),
    ),
}
EVASIONS = PROGRAMS | FILES
PREPARE = f"""
cp {PYTHON} {X}; cp {deeds.TRUE} {X}.odd; cp {deeds.LIBM} {X}.so; mkdir -p /etc/cron.d
cp {SLEEP} {MINED}; printf %s {MARK} >> {MINED}
"""
AGAIN = f"""
exec 3>&2 2>/dev/null
for place in {CRON} /etc/cron.d /usr/bin/yes /usr/sbin/usermod /tmp/other; do umount $place; done
rm -rf /tmp/link /tmp/other /tmp/one /tmp/two /tmp/a {CRON}; echo old > {CRON}; echo new > /tmp/prepared
exec 2>&3 3>&-; exec "$0" "$@"
"""
"""Makes all as it was, and becomes the program of its arguments."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """`vedette run --json`, ready; it ends cleanly."""
    running = Run(tmp_path_factory.mktemp("evasions") / "state")
    running.ready()
    yield running
    assert 0 == running.stop(), running.said


@pytest.fixture(scope="module")
def done(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """The pid of each deed: all are done before the first is looked for, in one container."""
    directory = tmp_path_factory.mktemp("deeds")
    with running_container(capabilities=CAPABILITIES) as container:
        deeds.succeeded(container.exec(["/bin/sh", "-ec", PREPARE]))
        return {name: evasion.deed(container, directory) for name, evasion in EVASIONS.items()}


@pytest.mark.parametrize("name", EVASIONS)
def test_it_is_found_all_the_same(run: Run, done: dict[str, int], name: str) -> None:
    """With the program and the file that it is about."""
    evasion, pid = EVASIONS[name], done[name]
    wait_for(lambda: found(run, evasion, pid), [one.document for one in run.findings if one.process["pid"] == pid])


def found(run: Run, evasion: Evasion, pid: int) -> list[dict[str, Any]]:
    """Return what was said of it, as it must be."""
    ours = [one for one in list(run.findings) if (one.type, one.process["pid"]) == (evasion.type, pid)]
    right = [one for one in ours if evasion.path in {None, one.process["executablePath"]}]
    contexts = [one.document["service"]["runtimeDetails"]["context"] for one in right]
    return [context for context in contexts if evasion.context.items() <= context.items()]
