from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path

import msgspec
import pytest

from agent.enrich.executables import CHUNK_BYTES
from agent.enrich.executables import SETTLED_NS
from agent.enrich.executables import Executables
from agent.enrich.executables import Job
from agent.enrich.executables import Reading
from agent.enrich.executables import Unreadable
from agent.enrich.procfs import ProcFs
from agent.enrich.scripts import Given
from agent.model import Executable
from agent.model import FileId
from tests.unit.enrich.made import Tree
from tests.unit.enrich.made import link
from tests.unit.enrich.made import process

CONTENT = b"#!/bin/sh\n" * 60_000  # more than two chunks


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "root/bin/prog"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return path


def job(program: Path, neighbours: tuple[int | str, ...] = (), **changes: object) -> Job:
    seen = program.stat()
    exe = Executable(
        path="/bin/prog",
        file=FileId(99, seen.st_ino),
        size_bytes=seen.st_size,
        changed_at_ns=seen.st_ctime_ns,
    )
    exe = msgspec.structs.replace(exe, **changes)
    return Job(process=process(9, 50, exe=exe), exe=exe, neighbours=neighbours)


def read(tree: Tree, task: Job, limit: int = 10_000_000) -> str:
    steps: list[None] = []
    digest = Executables(procfs=tree.procfs(), limit_bytes=limit).read(task, lambda: steps.append(None)).sha256
    assert len(steps) >= 2
    return digest


def refused(tree: Tree, task: Job, limit: int = 10_000_000) -> str:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(Unreadable) as caught:
        Executables(procfs=tree.procfs(), limit_bytes=limit).read(task, lambda: None)
    assert before == len(list(Path("/proc/self/fd").iterdir())), "no descriptor is left open"
    return str(caught.value)


def neighbour(tree: Tree, root: Path, tgid: int = 7) -> None:
    link(tree.add(tgid, 1) / "root", str(root))


def test_a_running_program_is_read_through_its_process(tree: Tree, program: Path) -> None:
    """The hash is that of the very file that runs; its path is not even looked at."""
    tree.add(9, 50, exe=str(program))

    assert hashlib.sha256(CONTENT).hexdigest() == read(tree, job(program, path="/nowhere"))


def test_a_program_that_deletes_itself_is_read_nevertheless(tree: Tree, program: Path) -> None:
    """Unlinking or chmod moves the ctime; the process still holds the file."""
    task = job(program)
    tree.add(9, 50, exe=str(program))
    program.chmod(0o700)
    assert task.exe.changed_at_ns != program.stat().st_ctime_ns

    assert hashlib.sha256(CONTENT).hexdigest() == read(tree, task)


def test_a_gone_process_is_read_through_a_neighbour(tree: Tree, tmp_path: Path, program: Path) -> None:
    """A program that ran for a millisecond in a container is found by its path there; dead neighbours are skipped."""
    neighbour(tree, tmp_path / "root")

    assert hashlib.sha256(CONTENT).hexdigest() == read(tree, job(program, (1234, 7)))


def test_a_pid_used_again_is_not_believed(tree: Tree, program: Path) -> None:
    """The same file run by another process under the same pid is no proof for the first."""
    tree.add(9, 51, exe=str(program))

    assert refused(tree, job(program)) == "the process is over, and no other one sees its files"


def test_another_program_of_the_same_process_is_not_hashed(tree: Tree, program: Path, tmp_path: Path) -> None:
    """A process that went on to another exec does not lend its new program's hash to the old."""
    other = tmp_path / "other"
    other.write_bytes(CONTENT)
    tree.add(9, 50, exe=str(other))

    assert refused(tree, job(program)) == "the process is over, and no other one sees its files"


def test_a_replaced_file_is_not_hashed(tree: Tree, program: Path, tmp_path: Path) -> None:
    """Putting an innocent file in the place of what ran gives no innocent hash."""
    task = job(program, (7,))
    neighbour(tree, tmp_path / "root")
    new = tmp_path / "new"
    new.write_bytes(CONTENT)
    new.replace(program)

    assert refused(tree, task) == "the process is over, and another file has its path"


def test_a_rewritten_file_is_not_hashed(tree: Tree, program: Path, tmp_path: Path) -> None:
    """The same inode with other content is found out by its ctime, though size and mtime were put back."""
    task = job(program, (7,))
    neighbour(tree, tmp_path / "root")
    before = program.stat()
    program.write_bytes(CONTENT[::-1])
    os.utime(program, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert refused(tree, task) == "the process is over, and another file has its path"


def test_a_fifo_in_the_place_of_a_program_does_not_hang(tree: Tree, program: Path, tmp_path: Path) -> None:
    """Nothing but a regular file is opened, not even when all its numbers are those of the exec."""
    fifo = tmp_path / "root/bin/fifo"
    os.mkfifo(fifo)
    neighbour(tree, tmp_path / "root")

    assert refused(tree, job(fifo, (7,), path="/bin/fifo")) == "not a regular file"


def test_a_device_is_not_opened(tree: Tree) -> None:
    """Opening a device can have effects; it is recognised without."""
    tree.add(9, 50, exe="/dev/null")

    assert refused(tree, job(Path("/dev/null"))) == "not a regular file"


def test_a_missing_file_says_so(tree: Tree, program: Path, tmp_path: Path) -> None:
    """The reason is one that an analyst understands."""
    neighbour(tree, tmp_path / "root")

    assert refused(tree, job(program, (7,), path="/bin/gone")) == (
        "the process is over, and its program cannot be found any more"
    )


@pytest.mark.parametrize("change", [{"memfd": True}, {"unlinked": True}])
def test_a_program_without_a_name_is_not_looked_for_by_path(
    tree: Tree, program: Path, tmp_path: Path, change: dict[str, bool]
) -> None:
    """A memfd that is over is not mistaken for a file called `/memfd:x`."""
    neighbour(tree, tmp_path / "root")

    assert refused(tree, job(program, (7,), **change)).endswith("its program had no name in any directory")


def test_a_huge_program_is_left_alone(tree: Tree, program: Path) -> None:
    """Neither the size at exec nor the size found may be above the limit."""
    tree.add(9, 50, exe=str(program))

    assert refused(tree, job(program), limit=599_999) == "larger than 599999 bytes"
    assert read(tree, job(program), limit=600_000)


def test_a_program_on_fuse_is_left_alone(tree: Tree, program: Path) -> None:
    """A file server of an attacker gets no question that it need not answer."""
    fd = os.open(program, os.O_PATH)
    mount_id = int(Path(f"/proc/self/fdinfo/{fd}").read_text().split("mnt_id:")[1].split()[0])
    os.close(fd)
    home = tree.add(9, 50, exe=str(program))
    (home / "mountinfo").write_text(f"{mount_id} 1 0:50 / / rw - fuse.evil x rw\n")

    assert refused(tree, job(program)) == "on a FUSE file system, which need not answer"


def test_a_file_that_shrinks_is_not_half_hashed(tree: Tree, program: Path) -> None:
    """A file that changes while it is read has no hash."""
    tree.add(9, 50, exe=str(program))
    executables = Executables(procfs=tree.procfs(), limit_bytes=10_000_000)

    with pytest.raises(Unreadable, match="changed while it was read"):
        executables.read(job(program), lambda: os.truncate(program, 5))


def test_a_real_memfd_is_hashed_while_it_runs() -> None:
    """A fileless program is hashed through the process that runs it."""
    content = Path("/bin/sleep").read_bytes()
    fd = os.memfd_create("payload")
    os.write(fd, content)
    pid = os.posix_spawn(f"/proc/self/fd/{fd}", ["sleep", "60"], {})
    try:
        procfs = ProcFs()
        facts = procfs.look(pid)
        assert facts is not None
        assert facts.exe is not None
        task = Job(process=process(*facts.key, exe=facts.exe), exe=facts.exe, neighbours=())
        digest = Executables(procfs=procfs, limit_bytes=10_000_000).read(task, lambda: None).sha256
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(fd)

    assert hashlib.sha256(content).hexdigest() == digest


def read_script(tree: Tree, path: str, *marks: bytes, neighbours: tuple[int | str, ...] = ()) -> Reading:
    exe = Executable(path="/bin/sh")
    task = Job(process=process(9, 50, exe=exe), exe=exe, neighbours=neighbours, given=Given("script", path))
    patterns = tuple(map(re.compile, marks))
    return Executables(procfs=tree.procfs(), limit_bytes=0, marks=patterns).read(task, lambda: None)


@pytest.fixture
def script(tree: Tree, program: Path) -> Path:
    """A script at /bin/prog below the root of process 9."""
    link(tree.add(9, 50) / "root", str(program.parents[1]))
    return program


def link_of_old(path: Path, target: str) -> None:
    """Make a link that was followed since its last change: its access time need not be written any more."""
    path.symlink_to(target)
    time.sleep(SETTLED_NS / 1e9)
    path.is_file()


def test_a_script_is_read_below_the_root_of_who_runs_it(tree: Tree, script: Path) -> None:
    """Its symbolic links are those of the container, and lead nowhere else."""
    (script.parents[1] / "usr").mkdir()
    link_of_old(script.parents[1] / "usr/bin", "/bin")
    expected = hashlib.sha256(CONTENT).hexdigest()

    assert expected == read_script(tree, "/bin/prog").sha256
    assert expected == read_script(tree, "/usr/bin/../bin/prog").sha256
    assert expected == read_script(tree, "/../../bin/prog").sha256


def test_a_script_whose_process_is_over_is_read_through_a_neighbour(tree: Tree, script: Path) -> None:
    """A script that ran for a millisecond is found by its path."""
    neighbour(tree, script.parents[1])
    (tree.root / "9/root").unlink()

    assert hashlib.sha256(CONTENT).hexdigest() == read_script(tree, "/bin/prog", neighbours=(7,)).sha256


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        pytest.param("/bin/none", "the process is over, and no other one sees its files", id="no such file"),
        pytest.param("/bin", "not a regular file", id="a directory"),
        pytest.param("/bin/large", "larger than 4194304 bytes", id="too large"),
        pytest.param("/loop", "what it was given cannot be looked up: Too many levels of symbolic links", id="a loop"),
    ],
)
def test_a_script_that_is_not_read_says_why(tree: Tree, script: Path, path: str, reason: str) -> None:
    """A name that leads to no script of a bounded size."""
    (script.parent / "large").touch()
    os.truncate(script.parent / "large", 4 * 1024 * 1024 + 1)
    link_of_old(script.parents[1] / "loop", "loop")
    (script.parent / "none").exists()  # so that the kernel has it in memory that there is none

    with pytest.raises(Unreadable, match=reason):
        read_script(tree, path)


def test_a_script_is_read_once_while_it_stays_the_same(
    tree: Tree, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs a thousand times is read once; what was changed, or only just written, is read again."""
    link(tree.add(9, 50) / "root", str(script.parents[1]))
    exe = Executable(path="/bin/sh")
    task = Job(process=process(9, 50, exe=exe), exe=exe, neighbours=(), given=Given("script", "/bin/prog"))
    executables = Executables(procfs=tree.procfs(), limit_bytes=0)
    steps: list[None] = []

    def steps_of_reading() -> int:
        steps.clear()
        assert hashlib.sha256(script.read_bytes()).hexdigest() == executables.read(task, lambda: steps.append(None))[0]
        return len(steps)

    settled_ns = script.stat().st_ctime_ns + SETTLED_NS
    monkeypatch.setattr("time.time_ns", lambda: settled_ns - 1)
    assert [3, 3] == [steps_of_reading(), steps_of_reading()]
    monkeypatch.setattr("time.time_ns", lambda: settled_ns)
    assert [3, 0] == [steps_of_reading(), steps_of_reading()]
    monkeypatch.undo()
    script.write_bytes(CONTENT[1:])
    assert steps_of_reading() > 0


def test_what_gives_a_program_away_is_found_in_what_is_read(tree: Tree, script: Path) -> None:
    """Also where it lies across two chunks; what matches nothing has no marks."""
    for offset in (0, CHUNK_BYTES - 4, 2 * CHUNK_BYTES - 13):
        script.write_bytes(b"x" * offset + b"mark-of-a-tool" + b"x" * CHUNK_BYTES)
        assert ("mark-of-a-tool",) == read_script(tree, "/bin/prog", rb"mark-of-(?:a|the)-tool", b"none").marks
    assert () == read_script(tree, "/bin/prog", b"none").marks
