from __future__ import annotations

import ctypes
import mmap
import os
import sys
from pathlib import Path

import pytest

from agent.enrich.filestat import file_stat
from agent.enrich.procfs import DESCRIPTORS
from agent.enrich.procfs import ProcFs
from agent.errors import HostUnsupported
from agent.model import Executable
from agent.model import FileId
from agent.model import ProcessKey
from tests.unit.enrich.made import Tree
from tests.unit.enrich.made import link
from tests.unit.enrich.made import stat_text


def test_a_process_that_is_gone_is_nothing(tree: Tree) -> None:
    """No reader raises for a pid that does not exist."""
    procfs = tree.procfs()
    answers = [procfs.stat(9), procfs.look(9), procfs.namespace(9, "mnt"), procfs.filesystem(9, 1)]

    assert [None] * 4 == answers
    assert not procfs.is_same(ProcessKey(9, 1))


def test_a_directory_without_anything_in_it_is_nothing(tree: Tree) -> None:
    """A process caught while it is taken down is not half a process."""
    (tree.root / "9").mkdir()

    assert tree.procfs().look(9) is None


def test_a_process_without_readable_links_is_still_known(tree: Tree) -> None:
    """A kernel thread, or a process we may not trace, has key, parent and name, and unknown for the rest."""
    home = tree.add(9, 50, parent=2, comm=b"kworker/0:1")
    for name in ("exe", "cwd", "ns/mnt", "ns/pid", "cgroup", "cmdline", "environ", "status"):
        (home / name).unlink()
    facts = tree.procfs().look(9)

    assert facts is not None
    assert (ProcessKey(9, 50), 2, "kworker/0:1") == (facts.key, facts.parent_tgid, facts.comm)
    assert [None] * 5 == [facts.exe, facts.cwd, facts.mnt_ns, facts.pid_ns, facts.cgroup_path]
    assert facts.ids.uid is None
    assert facts.args == ()


class Reused(Tree):
    """A tree in which pid 9 becomes another process while it is being read."""

    def procfs(self) -> ProcFs:
        tree = self

        class Racing(ProcFs):
            def namespace(self, process: int | str, name: str) -> int | None:
                (tree.root / "9/stat").write_bytes(stat_text(9, 51))
                return super().namespace(process, name)

        return Racing(self.root, pids=self.pids)


def test_a_pid_used_again_in_the_middle_gives_nothing(tmp_path: Path) -> None:
    """Facts of two processes are never mixed into one."""
    tree = Reused(tmp_path / "p")
    tree.add(9, 50)

    assert tree.procfs().look(9) is None


def test_everything_of_a_process_is_read(tree: Tree, tmp_path: Path) -> None:
    """A process that was there before the agent is as well known as /proc allows."""
    program = tmp_path / "prog"
    program.write_bytes(b"x" * 10)
    tree.add(
        9,
        50,
        exe=str(program),
        cwd="/tmp",
        args=b"prog\0-v\0",
        environ=b"A=1\0LD_PRELOAD=/x.so\0LD_LIBRARY_PATH=/lib\0",
        mnt=7,
        pid=8,
        cgroup=b"0::/web\n",
    )
    facts = tree.procfs().look(9)
    seen = program.stat()

    assert facts is not None
    assert facts.exe == Executable(
        path=str(program),
        file=FileId(os.major(seen.st_dev) << 20 | os.minor(seen.st_dev), seen.st_ino),
        size_bytes=10,
        changed_at_ns=seen.st_ctime_ns,
    )
    assert ("/tmp", ("prog", "-v"), 7, 8, "/web") == (
        facts.cwd,
        facts.args,
        facts.mnt_ns,
        facts.pid_ns,
        facts.cgroup_path,
    )
    assert ("/x.so", "/lib") == (facts.ld_preload, facts.ld_library_path)


def test_reads_are_bounded(tree: Tree) -> None:
    """A process with gigabytes of arguments costs a page or four."""
    tree.add(9, 50, args=b"a" * 100_000)
    facts = tree.procfs().look(9)

    assert facts is not None
    assert sum(map(len, facts.args)) == 16_384


def test_ourselves_in_the_real_proc() -> None:
    """The real thing is read as psutil and the interpreter tell it."""
    facts = ProcFs().look(os.getpid())

    assert facts is not None
    assert (os.getppid(), os.getuid(), os.geteuid()) == (facts.parent_tgid, facts.ids.uid, facts.ids.euid)
    assert facts.exe is not None
    assert facts.exe.path == str(Path("/proc/self/exe").readlink())
    assert not facts.exe.unlinked


def test_a_memfd_is_told_from_an_unlinked_file() -> None:
    """A program without a name in any directory is recognised while it runs, whatever its name says."""
    fd = os.memfd_create("payload")
    os.write(fd, Path("/bin/sleep").read_bytes())
    pid = os.posix_spawn(f"/proc/self/fd/{fd}", ["sleep", "60"], {})
    try:
        exe = wait_for_program(pid, "/memfd:payload")
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(fd)

    assert exe is not None
    assert (True, True) == (exe.memfd, exe.unlinked)


def test_a_file_whose_name_says_deleted_is_not(tree: Tree, tmp_path: Path) -> None:
    """Naming a file `x (deleted)` does not make it look unlinked."""
    program = tmp_path / "x (deleted)"
    program.write_bytes(b"x")
    tree.add(9, 50, exe=str(program))
    facts = tree.procfs().look(9)

    assert facts is not None
    assert facts.exe is not None
    assert (str(program), False, False) == (facts.exe.path, facts.exe.unlinked, facts.exe.memfd)


def wait_for_program(pid: int, path: str) -> Executable | None:
    """Return the program of a child; posix_spawn returns when its exec is done."""
    facts = ProcFs().look(pid)
    assert facts is not None
    assert facts.exe is not None
    assert path == facts.exe.path
    return facts.exe


def test_a_host_whose_first_process_may_not_be_looked_at(tree: Tree) -> None:
    """The namespaces at boot are then kthreadd's, and only the real kthreadd's."""
    home = tree.add(1, 1)
    (home / "ns/mnt").unlink()
    tree.add(2, 1, comm=b"bash", mnt=77)
    assert tree.procfs().host_namespace("mnt") is None

    tree.add(2, 1, comm=b"kthreadd", mnt=77)
    assert tree.procfs().host_namespace("mnt") == 77


def test_without_proc_the_message_says_what_to_do(tmp_path: Path) -> None:
    """A host without /proc is told so in a sentence."""
    with pytest.raises(HostUnsupported, match="mount the proc file system"):
        ProcFs(tmp_path).boot_id()


@pytest.fixture
def rooted(tree: Tree, tmp_path: Path) -> ProcFs:
    """Process 9 sees /a/prog, a link /link to the directory outside its root, and a link /a/link to the program."""
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a/prog").write_bytes(b"x")
    link(root / "link", str(root / "a"))
    link(root / "a/link", "prog")
    link(tree.add(9, 50) / "root", str(root))
    return tree.procfs()


@pytest.mark.parametrize("path", ["/a/../a/prog", "/link/prog", "/a/missing", "/" + "/".join("x" * 300), "/a/prog/x"])
def test_a_path_below_a_process_leads_nowhere_else(rooted: ProcFs, path: str) -> None:
    """A container that swaps a directory for a symbolic link does not make the agent open files of the host."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError):
        rooted.open_below(9, path)

    assert before == len(list(Path("/proc/self/fd").iterdir())), "no descriptor is left open"


@pytest.mark.parametrize(("path", "regular"), [("/a/link", False), ("/a/prog", True)])
def test_a_path_below_a_process_is_opened_itself(rooted: ProcFs, path: str, *, regular: bool) -> None:
    """What is found is the file of that name; a link in its place is a link."""
    fd = rooted.open_below(9, path)
    try:
        assert file_stat(fd).regular == regular
    finally:
        os.close(fd)


def test_what_lies_at_an_address() -> None:
    """Of this process itself: a file that is mapped, anonymous memory, the kernel's own, and nothing."""
    procfs = ProcFs()
    own = procfs.look(os.getpid())
    assert own is not None
    with Path(sys.executable).open("rb") as file, mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ) as mapped:
        address = ctypes.addressof(ctypes.c_char.from_buffer_copy(b"x"))
        areas = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        at_file = next(int(line.split("-")[0], 16) for line in areas if line.endswith(str(Path(file.name).resolve())))
        of_file = procfs.mapping_at(own.key, at_file)
        assert mapped[0:1]
    vdso = next(int(line.split("-")[0], 16) for line in areas if line.endswith("[vdso]"))
    of_kernel, nothing = procfs.mapping_at(own.key, vdso), procfs.mapping_at(own.key, 0)

    assert of_file is not None
    assert of_kernel is not None
    assert ("file", str(Path(sys.executable).resolve()), at_file) == (of_file.kind, of_file.path, of_file.start_address)
    assert ("kernel", "[vdso]") == (of_kernel.kind, of_kernel.path)
    assert procfs.mapping_at(own.key, address) is not None
    assert nothing is None


def test_mapping_of_another_process(tree: Tree) -> None:
    """A pid that was reused meanwhile has no mapping of ours."""
    home = tree.add(9, 50, parent=1, comm=b"x")
    (home / "maps").write_bytes(b"1000-2000 rwxp 00000000 00:00 0 \n")
    found = tree.procfs().mapping_at(ProcessKey(9, 50), 0x1000)

    assert found is not None
    assert ("anonymous", None, 0x1000, 0x2000) == (found.kind, found.path, found.start_address, found.end_address)
    assert tree.procfs().mapping_at(ProcessKey(9, 51), 0x1000) is None
    assert tree.procfs().mapping_at(ProcessKey(10, 50), 0x1000) is None


def test_what_a_process_has_open(tree: Tree, tmp_path: Path) -> None:
    """By the inodes of its files; of who is gone, or another by now, nothing."""
    file = tmp_path / "file"
    file.touch()
    home = tree.add(9, 50)
    (home / "fd").mkdir()
    link(home / "fd/0", str(file))
    link(home / "fd/1", str(tmp_path))
    procfs = tree.procfs()

    assert {file.stat().st_ino, tmp_path.stat().st_ino} == procfs.descriptors(ProcessKey(9, 50))
    assert procfs.descriptors(ProcessKey(9, 51)) is None
    assert procfs.descriptors(ProcessKey(8, 50)) is None


def test_only_so_many_descriptors_are_looked_at(tree: Tree) -> None:
    """Who has more than that may have a socket among those that were not."""
    home = tree.add(9, 50)
    (home / "fd").mkdir()
    for number in range(DESCRIPTORS):
        link(home / f"fd/{number}", "/")
    procfs = tree.procfs()

    assert not procfs.has_socket(ProcessKey(9, 50))
    link(home / f"fd/{DESCRIPTORS}", "/")
    assert procfs.has_socket(ProcessKey(9, 50))


@pytest.mark.parametrize(("target", "has"), [("socket:[1]", True), ("/dev/null", False), ("pipe:[1]", False)])
def test_whether_a_process_has_a_socket(tree: Tree, target: str, has: bool) -> None:  # noqa: FBT001  # a case
    """By where its descriptors lead; one that cannot be looked at may have one."""
    home = tree.add(9, 50)
    (home / "fd").mkdir()
    link(home / "fd/0", "/dev/null")
    link(home / "fd/1", target)

    assert has is tree.procfs().has_socket(ProcessKey(9, 50))
    assert tree.procfs().has_socket(ProcessKey(8, 50))
