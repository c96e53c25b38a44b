"""Who is known good, and who only looks it: the same deeds by the real thing and by impostors, under one agent."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import Executed
from tests.containers import RunningContainer
from tests.containers import running_container
from tests.system.running import Run
from tests.system.running import vedette

FILES = "Persistence:Runtime/SensitiveFileModified"
SOCKET = "PrivilegeEscalation:Runtime/DockerSocketAccessed"
DEBOOTSTRAP = Path("/usr/sbin/debootstrap")
WORD = f"vedette-{uuid.uuid4().hex[:8]}"
TOOL = Path(f"/usr/local/lib/{WORD}/tool")
KNOWN = f"""
[[known]]
finding = "{FILES}"
reason = "our tool keeps jobs"
at = ["balanced"]
actor = ["{TOOL}"]
unpackaged = "it is ours"
"""
# What debootstrap reads from DEBOOTSTRAP_DIR before it does anything: it does $DEED, and no more. The real one takes a
# minute: here it waits as long as a busy agent may take to look at the script.
FUNCTIONS = 'sleep 2; sh -c "$DEED"; exit 0\n'
IN_THE_TREE = "chroot $TREE /bin/sh -c 'echo $$ >/pid; echo x:x:9:9::/:/bin/sh >>/etc/passwd'"
OUTSIDE = f"$TREE/bin/sh -c 'echo $$ >$TREE/pid; echo >/etc/cron.d/{WORD}'"
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """`vedette run --json` with an entry of the operator's own; it ends cleanly."""
    directory = tmp_path_factory.mktemp("known")
    (directory / "known.toml").write_text(KNOWN)
    running = Run(directory / "state", "--known-good", str(directory / "known.toml"))
    running.ready()
    yield running
    assert 0 == running.stop(), running.said


@pytest.fixture
def tree() -> Iterator[Path]:
    """A root directory with a shell, where everybody may put one: what runs from it is odd."""
    with tempfile.TemporaryDirectory(dir="/tmp") as given:  # that is the point
        root = Path(given).resolve()
        root.chmod(0o755)
        libraries = subprocess.run(["ldd", "/bin/sh"], capture_output=True, text=True, check=True).stdout.split()
        for file in ("/bin/sh", *(word for word in libraries if word.startswith("/"))):
            (root / file.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, root / file.lstrip("/"))
        (root / "etc").mkdir()
        (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
        (root / "functions").write_text(FUNCTIONS)
        yield root


def builds(tree: Path, deed: str, *command: str | Path) -> int:
    """Run a debootstrap that does `deed`; return who did it."""
    environment = {"DEBOOTSTRAP_DIR": str(tree), "TREE": str(tree), "DEED": deed, "PATH": os.environ["PATH"]}
    subprocess.run([*command, "suite", "target"], env=environment, check=True, capture_output=True, timeout=60)
    return int((tree / "pid").read_text())


def silent(run: Run, type_: str, pid: int) -> bool:
    """Answer whether nothing of this type was said of a process; what came after it was told already."""
    return not [one for one in list(run.findings) if (one.type, one.process["pid"]) == (type_, pid)]


@pytest.fixture
def debootstrap() -> Path:
    if not DEBOOTSTRAP.exists():
        pytest.skip("needs debootstrap")
    return DEBOOTSTRAP


def test_a_builder_of_trees_is_good_for_its_tree_alone(run: Run, tree: Path, debootstrap: Path) -> None:
    """Whoever steers the real one by its variables is told as soon as he touches the host, and a copy always."""
    copy = tree / "debootstrap"
    shutil.copy(debootstrap, copy)

    genuine = builds(tree, IN_THE_TREE, debootstrap)
    try:
        outside = builds(tree, OUTSIDE, debootstrap)
    finally:
        Path(f"/etc/cron.d/{WORD}").unlink(missing_ok=True)
    by_a_copy = builds(tree, IN_THE_TREE, copy)

    run.finding(FILES, outside)
    run.finding(FILES, by_a_copy)
    assert silent(run, FILES, genuine)


def test_who_goes_into_a_chroot_of_his_own_is_told(run: Run, tree: Path, debootstrap: Path) -> None:
    """Though what he runs there lies where the good one does, as the chroot has it, and has its very content."""
    (tree / "usr/sbin").mkdir(parents=True)
    shutil.copy(debootstrap, tree / "usr/sbin/debootstrap")
    (tree / "functions").write_text("echo $$ >/pid; echo x:x:9:9::/:/bin/sh >>/etc/passwd; exit 0\n")
    environment = {"DEBOOTSTRAP_DIR": "/", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    subprocess.run(["chroot", tree, "/usr/sbin/debootstrap", "a", "b"], env=environment, check=True, timeout=60)

    run.finding(FILES, int((tree / "pid").read_text()))


def test_an_entry_of_the_operator_s_own(run: Run, tree: Path) -> None:
    """Excuses the file that it names, and no copy of it."""
    TOOL.parent.mkdir()
    job = Path(f"/etc/cron.d/{WORD}")
    try:
        shutil.copy("/bin/sh", TOOL)
        shutil.copy("/bin/sh", TOOL.with_name("other"))
        pids = []
        for program in (TOOL, TOOL.with_name("other")):
            deed = f"{program} -c 'echo $$ >{tree}/pid; echo >{job}; true'; true"
            subprocess.run([tree / "bin/sh", "-c", deed], check=True, timeout=60)
            pids.append(int((tree / "pid").read_text()))
        run.finding(FILES, pids[1])
    finally:
        job.unlink(missing_ok=True)
        shutil.rmtree(TOOL.parent)

    assert silent(run, FILES, pids[0])


def test_a_client_of_the_engine_s_socket(run: Run, tmp_path: Path) -> None:
    """A collector of logs in the image made for it may connect; what is put in its place later is told."""
    (tmp_path / "image").mkdir()
    (tmp_path / "run").mkdir()
    shutil.copy(os.path.realpath("/usr/bin/python3"), tmp_path / "image/filebeat")
    with (
        engine(tmp_path / "run/docker.sock"),
        running_container(
            binds={"/usr/share/filebeat": tmp_path / "image", "/run/engine": tmp_path / "run"}
        ) as container,
    ):
        genuine = connected(container)
        replaced = "cd /usr/share/filebeat; cp filebeat x; mv x filebeat"
        assert 0 == container.exec(["/bin/sh", "-c", replaced]).status
        impostor = connected(container)

        run.finding(SOCKET, impostor.pid)
    assert silent(run, SOCKET, genuine.pid)


def connected(container: RunningContainer) -> Executed:
    """Connect to the engine as the collector of logs that Elastic makes is called."""
    command = ["/usr/share/filebeat/filebeat", "-S", "-c", CONNECT, "/run/engine/docker.sock"]
    done = container.exec(command, {"PYTHONHOME": "/usr"})
    assert 0 == done.status, done.stderr
    return done


class engine:  # noqa: N801  # a context
    """A socket that takes connections and says nothing."""

    def __init__(self, path: Path) -> None:
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()

    def _serve(self) -> None:
        try:
            while True:
                self._server.accept()[0].close()
        except OSError:
            return


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        pytest.param(FILES, "Persistence:Runtime/SensitiveFile", "known[0].finding: no such finding type", id="type"),
        pytest.param("actor", "comm", "unknown field `comm`", id="key"),
        pytest.param(str(TOOL), "tool", "known[0].actor: 'tool' must be the absolute path", id="name"),
        pytest.param('"our tool keeps jobs"', "", "line 4", id="no TOML"),
    ],
)
def test_a_wrong_entry_stops_the_start(tmp_path: Path, before: str, after: str, said: str) -> None:
    """With file, line and what is wrong, and exit status 2."""
    file = tmp_path / "known.toml"
    file.write_text(KNOWN.replace(before, after))

    told = vedette("run", "--state-dir", str(tmp_path / "state"), "--known-good", str(file))

    assert 2 == told.returncode
    assert f"{file}" in told.stderr
    assert said in told.stderr
    assert 1 == len(told.stderr.splitlines())
