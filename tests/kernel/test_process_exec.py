"""process_exec: the new image, from kernel objects."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agent.model import ProcessExec
from agent.model import ProcessExit
from tests.kernel import deeds
from tests.kernel.conftest import Sensed


def test_exec_tells_what_ran(sensor: Sensed, tmp_path: Path) -> None:
    """An exec names the program, its arguments, directory, parent, owner and identity on disk."""
    pid = deeds.run("/bin/echo", "one", "two three", "", stdout=subprocess.DEVNULL, cwd=tmp_path)

    event = sensor.of_pid(ProcessExec, pid)
    on_disk = Path("/bin/echo").resolve().stat()
    assert event.path == str(Path("/bin/echo").resolve())
    assert event.args == ("/bin/echo", "one", "two three", "")
    assert (event.cwd, event.filename, event.comm) == (str(tmp_path), "/bin/echo", "echo")
    assert (event.parent_tgid, event.uid, event.ns_tgid) == (os.getpid(), os.getuid(), pid)
    assert (event.inode, event.size_bytes, event.mode_raw) == (on_disk.st_ino, on_disk.st_size, on_disk.st_mode)
    assert event.changed_at_ns == on_disk.st_ctime_ns
    assert (event.memfd, event.unlinked, event.interpreted) == (False, False, False)
    assert event.flags == ()


def test_exec_by_symlink_and_dots(sensor: Sensed, tmp_path: Path) -> None:
    """The path is the file that runs, whatever names led to it."""
    (tmp_path / "innocent").symlink_to("/bin/true")
    pid = deeds.run(f"{tmp_path}/../{tmp_path.name}/./innocent")

    event = sensor.of_pid(ProcessExec, pid)
    assert event.path == str(Path("/bin/true").resolve())


def test_script_names_both(sensor: Sensed, tmp_path: Path) -> None:
    """A script is told from its interpreter."""
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    pid = deeds.run(script)

    event = sensor.of_pid(ProcessExec, pid)
    assert (event.interpreted, event.filename) == (True, str(script))
    assert event.path == str(Path("/bin/sh").resolve())


def test_ten_thousand_arguments(sensor: Sensed) -> None:
    """Of a very long command line head and tail are kept, and what is missing is a number."""
    words = [f"arg{number}" for number in range(10_000)]
    pid = deeds.run("/bin/true", *words)

    event = sensor.of_pid(ProcessExec, pid)
    total = sum(len(word) + 1 for word in ["/bin/true", *words])
    assert event.args[:3] == ("/bin/true", "arg0", "arg1")
    assert event.args_tail[-2:] == ("arg9998", "arg9999")
    assert event.args_omitted_bytes == total - 4096
    assert "truncated" in event.flags


@pytest.mark.parametrize("length", [4070, 4082, 4083, 4084, 4085, 4086, 4090])
def test_arguments_around_the_limit(sensor: Sensed, length: int) -> None:
    """Nothing is lost or invented where the argument list just fits."""
    word = "x" * length
    pid = deeds.run("/bin/true", word)

    event = sensor.of_pid(ProcessExec, pid)
    whole = len("/bin/true") + 1 + length + 1 <= 4096
    assert whole == (event.args == ("/bin/true", word))
    assert whole == (event.args_tail == ())
    assert whole == (event.flags == ())


def test_non_utf8_path_and_arguments(sensor: Sensed, tmp_path: Path) -> None:
    """Bytes that are no text arrive as escapes."""
    program = os.fsencode(tmp_path) + b"/\xff\xfe"
    deeds.copy_of_true(program)
    pid = deeds.run(program, b"\x80\n")

    event = sensor.of_pid(ProcessExec, pid)
    assert event.path == f"{tmp_path}/\\xff\\xfe"
    assert event.args[1] == "\\x80\n"


def test_longest_path(sensor: Sensed, tmp_path: Path) -> None:
    """A path of PATH_MAX arrives whole."""
    directory = tmp_path
    while len(str(directory)) < 4000 - 250:
        directory /= "d" * 250
    room = 4095 - len(str(directory)) - 1
    code = (
        "import os, sys\n"
        "for name in sys.argv[2].split('/'):\n"
        "    os.makedirs(name, exist_ok=True); os.chdir(name)\n"
        "open(sys.argv[3], 'wb').write(open('/bin/true', 'rb').read()); os.chmod(sys.argv[3], 0o755)\n"
        "os.execv(sys.argv[3], ['deep'])\n"
    )
    below = str(directory.relative_to(tmp_path))
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", code, str(tmp_path), below, "f" * min(room, 250)], cwd=tmp_path
    )
    assert child.wait(deeds.DEED_TIMEOUT_S) == 0

    event = sensor.until(ProcessExec, lambda event: event.tgid == child.pid and event.args == ("deep",))
    assert event.path == f"{directory}/{'f' * min(room, 250)}"
    assert len(event.path) > 3900
    subprocess.run(["/bin/rm", "-rf", tmp_path], check=True)


def test_deeper_than_can_be_walked(sensor: Sensed, tmp_path: Path) -> None:
    """Of a path with too many directories the leaf is kept, and an ellipsis says that it is a part."""
    directory = tmp_path.joinpath(*["d"] * 60)
    directory.mkdir(parents=True)
    deeds.copy_of_true(directory / "leaf")
    pid = deeds.run(directory / "leaf")

    event = sensor.of_pid(ProcessExec, pid)
    assert event.path.startswith("…/d/d/")
    assert event.path.endswith("/d/leaf")
    assert "truncated" in event.flags


def test_loader_variables(sensor: Sensed) -> None:
    """LD_PRELOAD and LD_LIBRARY_PATH are found among others, also behind long ones."""
    environment = {f"V{number}": "x" * (number * 97) for number in range(60)}
    environment |= {"LD_LIBRARY_PATH": "/nowhere/lib", "LD_DEBUG_OUTPUT": "no", "LD_PRELOAD": ""}
    pid = deeds.run("/bin/true", env=environment)

    event = sensor.of_pid(ProcessExec, pid)
    assert (event.ld_preload, event.ld_library_path) == ("", "/nowhere/lib")


def test_more_environment_than_is_looked_at(sensor: Sensed) -> None:
    """Behind more variables than are looked at, LD_PRELOAD is missed, and the record says that something was."""
    environment = {f"V{number}": "x" for number in range(600)} | {"LD_PRELOAD": "/late.so"}
    pid = deeds.run("/bin/true", env=environment)

    event = sensor.of_pid(ProcessExec, pid)
    assert (event.ld_preload, event.flags) == (None, ("truncated", "environment_cut"))


def test_no_loader_variables(sensor: Sensed) -> None:
    """What looks like LD_PRELOAD inside another variable is not taken for it."""
    pid = deeds.run("/bin/true", env={"A": "b" * 510 + "LD_PRELOAD=/evil", "XLD_PRELOAD": "/evil"})

    event = sensor.of_pid(ProcessExec, pid)
    assert (event.ld_preload, event.ld_library_path) == (None, None)


def test_memfd(sensor: Sensed) -> None:
    """A program in memory is told as such, by execveat with an empty path as by /proc."""
    code = (
        "import os\n"
        "fd = os.memfd_create('payload', 0)\n"
        "os.write(fd, open('/bin/true', 'rb').read())\n"
        "os.execve(fd, ['x'], {})\n"
    )
    pid = deeds.python(code)

    event = sensor.until(ProcessExec, lambda event: event.tgid == pid and event.memfd)
    assert event.path == "/memfd:payload"
    assert event.unlinked
    assert event.size_bytes == Path("/bin/true").stat().st_size


def test_unlinked(sensor: Sensed, tmp_path: Path) -> None:
    """A program that is removed before it starts is told as such, and is no memfd."""
    code = (
        "import os, sys\n"
        "os.chdir(sys.argv[1])\n"
        "open('gone', 'wb').write(open('/bin/true', 'rb').read()); os.chmod('gone', 0o755)\n"
        "fd = os.open('gone', os.O_RDONLY); os.unlink('gone')\n"
        "os.execve(fd, ['x'], {})\n"
    )
    pid = deeds.python(code, str(tmp_path))

    event = sensor.until(ProcessExec, lambda event: event.tgid == pid and event.unlinked)
    assert (event.memfd, event.path) == (False, f"{tmp_path}/gone")


def test_file_named_like_a_memfd(sensor: Sensed) -> None:
    """A file on a tmpfs that calls itself memfd: is not one."""
    program = Path("/dev/shm/memfd:fake")  # the point: a real tmpfs
    deeds.copy_of_true(program)
    try:
        pid = deeds.run(program)
    finally:
        program.unlink()

    assert not sensor.of_pid(ProcessExec, pid).memfd


def test_overlay_layers(sensor: Sensed, tmp_path: Path) -> None:
    """What an image brought is told from what was written on top of it."""
    with deeds.overlay(tmp_path) as merged:
        deeds.copy_of_true(merged / "upper")
        from_image, added = deeds.run(merged / "lower"), deeds.run(merged / "upper")
        plain = deeds.run("/bin/true")

        layers = [sensor.of_pid(ProcessExec, pid).upper for pid in (from_image, added, plain)]

    assert layers == [False, True, None]


def test_stdio_on_a_socket(sensor: Sensed) -> None:
    """Descriptors 0-2 are told for what they are, a socket with both ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
        with ours, theirs, open(os.devnull, "wb") as null:
            pid = deeds.run("/bin/true", stdin=ours, stdout=subprocess.PIPE, stderr=null)
            event = sensor.of_pid(ProcessExec, pid)
            local, remote = ours.getsockname(), ours.getpeername()

    assert [stdio.kind for stdio in event.stdio] == ["socket", "pipe", "device"]
    found = event.stdio[0].socket
    assert found is not None
    assert ((found.local_address, found.local_port), (found.remote_address, found.remote_port)) == (local, remote)
    assert found.protocol == socket.IPPROTO_TCP


def test_ids_of_a_dropped_process(sensor: Sensed) -> None:
    """User and group are those of the process that starts, not of its parent."""
    pid = deeds.run("/bin/true", user=65534, group=65534)

    event = sensor.of_pid(ProcessExec, pid)
    assert (event.uid, event.euid, event.gid, event.egid) == (65534, 65534, 65534, 65534)


def test_exec_by_a_second_thread(sensor: Sensed) -> None:
    """A thread that execs becomes the process; its identity stays."""
    code = "import os, threading; threading.Thread(target=os.execv, args=('/bin/true', ['late'])).start()"
    pid = deeds.python(code)

    first = sensor.of_pid(ProcessExec, pid)
    second = sensor.until(ProcessExec, lambda event: event.tgid == pid and event.args == ("late",))
    assert first.actor == second.actor


@pytest.mark.race
def test_short_lived_processes_are_not_missed(sensor: Sensed) -> None:
    """2,000 processes of a millisecond give 2,000 execs and 2,000 exits, each with its parent and words."""
    loop = "i=0; while [ $i -lt 2000 ]; do /bin/true $i; i=$((i+1)); done"
    shell = subprocess.Popen(["/bin/sh", "-c", loop])
    assert shell.wait(deeds.DEED_TIMEOUT_S) == 0
    sensor.of_pid(ProcessExit, shell.pid)

    execs = sensor.all(ProcessExec, lambda event: event.parent_tgid == shell.pid)
    exits = {event.actor for event in sensor.all(ProcessExit)}
    assert [event.args for event in execs] == [("/bin/true", str(number)) for number in range(2000)]
    assert {event.actor for event in execs} <= exits
    assert 0 == sensor.source.counters()["sensor.process_exec.failed"]


def test_in_a_chroot(sensor: Sensed, tmp_path: Path) -> None:
    """Both names are told: from the root of the mounts, and as the process has it."""
    loader = next(Path("/lib64").glob("ld-linux*.so*"))  # a program that needs no library
    (tmp_path / "ld").write_bytes(loader.read_bytes())
    (tmp_path / "ld").chmod(0o755)
    pid = deeds.python(
        "import os, sys; os.chroot(sys.argv[1]); os.chdir('/'); os.execv('/ld', ['/ld', '--help'])", str(tmp_path)
    )

    event = sensor.until(ProcessExec, lambda event: event.tgid == pid and event.path.endswith("/ld"))
    assert (f"{tmp_path}/ld", "/ld", str(tmp_path)) == (event.path, event.path_in_root, event.cwd)
