"""Shells that hang on another process's connection: what is between the two, in either order, and what is no wire."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.counters import Counters
from agent.enrich.wires import COPIES
from agent.enrich.wires import Wires
from agent.model import Executable
from agent.model import Process
from agent.model import ProcessKey
from agent.model import Stdio
from agent.model import Wire
from tests.unit.enrich.made import Tree
from tests.unit.enrich.made import connected
from tests.unit.enrich.made import executed
from tests.unit.enrich.made import link
from tests.unit.enrich.made import tcp

IN, OUT, TERMINAL = 71, 72, (Stdio(fd=0, kind="tty", inode=5), Stdio(fd=1, kind="tty", inode=5))
HOLDER, SHELL, OTHER = 10, 20, 30


def on(stdin: int, stdout: int, kind: str = "pipe") -> tuple[Stdio, ...]:
    return Stdio(fd=0, kind=kind, inode=stdin), Stdio(fd=1, kind=kind, inode=stdout)


class World:
    """Some processes, which /proc shows with the descriptors that they are said to have."""

    def __init__(self, tree: Tree, limit: int = 9) -> None:
        self.tree = tree
        self.counters = Counters()
        self.known: dict[ProcessKey | None, Process] = {}
        self.wires = Wires(procfs=tree.procfs(), counters=self.counters, limit=limit, find=self.known.get)

    def add(
        self,
        tgid: int,
        stdio: tuple[Stdio, ...] = TERMINAL,
        *,
        parent: int = 1,
        shell: str | None = None,
        copy: bool = False,
        holds: tuple[str | Path, ...] = ("socket:[9]",),
    ) -> Process:
        """Begin a process; `copy`: it runs what its parent does; `holds`: where its descriptors lead."""
        process = Process(
            key=ProcessKey(tgid, 1),
            uuid="",
            parent=ProcessKey(parent, 1),
            exe=Executable(path="/x", shell=shell),
            started_at_ns=0,
            exec_at_ns=None if copy else 1,
            stdio=stdio,
        )
        home = self.tree.add(tgid, 1)
        (home / "fd").mkdir(exist_ok=True)
        for number, target in enumerate(holds):
            link(home / "fd" / str(number), str(target))
        self.known[process.key] = process
        return process

    def runs(self, process: Process, time_ns: int = 0) -> Wire | None:
        """Have a process start its program."""
        lineage = []
        above = self.known.get(process.parent)
        while above is not None:
            lineage.append(above)
            above = self.known.get(above.parent)
        return self.wires.executed(executed(process.key.tgid, 1, time_ns=time_ns), process, tuple(lineage))

    def connects(self, process: Process, time_ns: int = 0, **changes: object) -> Wire | None:
        """Have it connect."""
        event = replace(connected(process.key.tgid, 1, cookie=1), time_ns=time_ns, **changes)
        return self.wires.connected(event, process)


@pytest.fixture
def world(tree: Tree) -> World:
    return World(tree)


@pytest.mark.parametrize("kind", ["pipe", "tty", "socket"])
def test_a_shell_that_was_started_by_who_has_a_connection(world: World, kind: str) -> None:
    """Told when both are there, with the last connection and how far apart they were."""
    holder = world.add(HOLDER)
    shell = world.add(SHELL, on(IN, OUT, kind), parent=HOLDER, shell="/bin/sh")
    assert world.connects(holder, 50) is None
    assert world.connects(holder, 100, remote_port=444) is None

    wire = world.runs(shell, 130)
    assert wire is not None
    assert (shell, holder, kind, 444, 30) == (
        wire.shell, wire.holder, wire.kind, wire.connect.remote_port, wire.apart_ns,
    )  # fmt: skip
    assert world.runs(shell, 140) is None, "once"


def test_the_connection_may_come_later(world: World) -> None:
    """The shell waits for it; another's is none of its."""
    shell = world.add(SHELL, on(IN, OUT), parent=HOLDER, shell="/bin/sh")
    holder, other = world.add(HOLDER), world.add(OTHER)
    assert world.runs(shell, 100) is None
    assert world.connects(other, 110) is None

    wire = world.connects(holder, 120)
    assert wire is not None
    assert (shell, holder, 20) == (wire.shell, wire.holder, wire.apart_ns)
    assert world.connects(holder, 130) is None, "once"


@pytest.mark.parametrize("copies", range(COPIES + 1))
def test_copies_of_the_holder_may_be_in_between(world: World, copies: int) -> None:
    """A program forks, and its child becomes the shell; not without end."""
    holder = world.add(HOLDER)
    for number in range(copies):
        world.add(HOLDER + number + 1, parent=HOLDER + number, copy=True)
    shell = world.add(SHELL, on(IN, OUT), parent=HOLDER + copies, shell="/bin/sh")
    world.connects(holder)

    assert (copies < COPIES) is (world.runs(shell) is not None)


def test_another_program_in_between_is_no_copy(world: World) -> None:
    """What a client of the holder's starts is its own affair."""
    world.connects(world.add(HOLDER))
    world.add(OTHER, parent=HOLDER)

    assert world.runs(world.add(SHELL, on(IN, OUT), parent=OTHER, shell="/bin/sh")) is None


def test_who_made_the_input_is_above_those_that_share_it(world: World) -> None:
    """A shell that a shell starts hangs where that one does."""
    world.connects(world.add(HOLDER))
    world.add(OTHER, on(IN, OUT), parent=HOLDER)
    wire = world.runs(world.add(SHELL, on(IN, OUT), parent=OTHER, shell="/bin/sh"))

    assert wire is not None
    assert HOLDER == wire.holder.key.tgid


def test_input_and_output_may_differ(world: World) -> None:
    """The input is what commands come by, and who made it is above, whoever made the output."""
    holder = world.add(HOLDER, on(3, OUT))
    world.connects(holder)
    world.connects(world.add(OTHER))
    stdio = (Stdio(fd=1, kind="pipe", inode=OUT), Stdio(fd=0, kind="tty", inode=IN))
    wire = world.runs(world.add(SHELL, stdio, parent=HOLDER, shell="/bin/sh"))

    assert wire is not None
    assert ("tty", holder) == (wire.kind, wire.holder)


def test_a_program_of_which_nothing_is_known_is_no_shell(world: World) -> None:
    """It was gone before anybody could look."""
    world.connects(world.add(HOLDER))

    assert world.runs(replace(world.add(SHELL, on(IN, OUT), parent=HOLDER), exe=None)) is None


def ring(world: World, back: int = IN, **holder: object) -> tuple[Process, Process]:
    """sh -i <f | client >f: the client reads what the shell says, and what it says is the shell's input."""
    shell = world.add(SHELL, on(IN, OUT), shell="/bin/sh")
    return shell, world.add(HOLDER, on(OUT, back), **holder)


@pytest.mark.parametrize(
    "order", ["shell, client, connection", "client, connection, shell", "client, shell, connection"]
)
def test_a_ring_of_two(world: World, order: str) -> None:
    """In whatever order it closes."""
    shell, holder = ring(world)
    steps = {
        "shell": lambda: world.runs(shell),
        "client": lambda: world.runs(holder),
        "connection": lambda: world.connects(holder),
    }
    found = [steps[step]() for step in order.split(", ")]

    assert [None, None] == found[:2]
    assert found[2] is not None
    assert (shell, holder, "pipe") == (found[2].shell, found[2].holder, found[2].kind)


def test_a_pipeline_that_does_not_come_back_is_none(world: World) -> None:
    """`sh script | nc`: what the client hears goes elsewhere."""
    shell, holder = ring(world, back=99)
    world.runs(holder)
    world.runs(shell)

    assert world.connects(holder) is None
    assert world.runs(shell) is None


@pytest.mark.parametrize("fd", [0, 1])
def test_a_file_of_the_same_number_is_no_pipe(world: World, fd: int) -> None:
    """Inode numbers are of one file system."""
    shell, holder = ring(world)
    stdio = tuple(replace(one, kind="file") if one.fd == fd else one for one in holder.stdio)
    world.runs(shell)

    assert world.connects(replace(holder, stdio=stdio)) is None
    world.known[holder.key] = replace(holder, stdio=stdio)
    world.runs(world.known[holder.key])
    assert world.runs(shell) is None


@pytest.mark.parametrize("reads", [True, False])
def test_a_ring_of_three(world: World, tmp_path: Path, reads: bool) -> None:  # noqa: FBT001  # a case
    """cat f | sh | client >f: the program in between has the FIFO open, or the ring is not closed."""
    fifo = tmp_path / "f"
    fifo.touch()
    shell, holder = ring(world, back=fifo.stat().st_ino)
    between = world.add(OTHER, on(3, IN), holds=(fifo,) if reads else (tmp_path,))
    world.runs(between)
    world.runs(shell)
    world.runs(holder)

    assert reads is (world.connects(holder) is not None)


def test_who_is_in_between_may_be_gone(world: World) -> None:
    """Nothing is said of what cannot be seen."""
    shell, holder = ring(world, back=99)
    world.runs(replace(world.add(OTHER, on(3, IN)), key=ProcessKey(OTHER, 2)))
    world.known[ProcessKey(OTHER, 2)] = shell
    world.runs(shell)

    assert world.connects(holder) is None


@pytest.mark.parametrize(
    ("stdio", "shell"),
    [
        pytest.param(on(IN, OUT), None, id="no shell"),
        pytest.param(on(IN, OUT)[:1], "/bin/sh", id="input alone"),
        pytest.param(on(IN, OUT)[1:], "/bin/sh", id="output alone"),
        pytest.param(on(IN, OUT, "file"), "/bin/sh", id="files"),
        pytest.param(tuple(replace(one, inode=None) for one in on(IN, OUT)), "/bin/sh", id="pipes that nobody knows"),
        pytest.param(
            tuple(replace(one, kind="socket", socket=tcp(1)) for one in on(IN, OUT)), "/bin/sh", id="its own connection"
        ),
        pytest.param(TERMINAL, "/bin/sh", id="what the holder has"),
    ],
)
def test_what_hangs_on_nothing(world: World, stdio: tuple[Stdio, ...], shell: str | None) -> None:
    """Other programs, and shells that have something else."""
    world.connects(world.add(HOLDER))

    assert world.runs(world.add(SHELL, stdio, parent=HOLDER, shell=shell)) is None


def test_a_question_to_a_resolver_commands_nobody(world: World) -> None:
    """A datagram to port 53; a connection there, or a datagram elsewhere, does."""
    shell = world.add(SHELL, on(IN, OUT), parent=HOLDER, shell="/bin/sh")
    holder = world.add(HOLDER)
    world.connects(holder, protocol=17, remote_port=53)
    assert world.runs(shell) is None
    assert world.connects(holder, protocol=17, remote_port=53) is None
    assert world.connects(holder, protocol=17, remote_port=54) is not None

    other = world.add(OTHER)
    world.connects(other, remote_port=53)
    assert world.runs(world.add(SHELL + 1, on(IN, OUT), parent=OTHER, shell="/bin/sh")) is not None


def test_both_must_last(world: World) -> None:
    """A shell that has ended, or a holder who has closed all sockets, is no way in."""
    holder = world.add(HOLDER, holds=("pipe:[1]", "/etc/passwd"))
    world.connects(holder)
    assert world.runs(world.add(SHELL, on(IN, OUT), parent=HOLDER, shell="/bin/sh")) is None

    link(world.tree.root / str(HOLDER) / "fd" / "7", "socket:[9]")
    ended = world.add(SHELL + 1, on(IN, OUT), parent=HOLDER, shell="/bin/sh")
    world.known[ended.key] = replace(ended, exited_at_ns=5)
    assert world.runs(ended) is None
    assert world.connects(holder) is None


def test_a_holder_who_cannot_be_seen_may_have_it_still(world: World) -> None:
    """One who is gone already is believed to have had his socket."""
    holder = world.add(HOLDER)
    world.connects(holder)
    for descriptor in (world.tree.root / str(HOLDER) / "fd").iterdir():
        descriptor.unlink()
    (world.tree.root / str(HOLDER) / "fd").rmdir()

    assert world.runs(world.add(SHELL, on(IN, OUT), parent=HOLDER, shell="/bin/sh")) is not None


def test_the_tables_are_bounded(tree: Tree) -> None:
    """What is forgotten is counted; what came last is known."""
    world = World(tree, limit=2)
    holders = [world.add(tgid) for tgid in (1_000, 1_001, 1_002)]
    for holder in holders:
        world.connects(holder)

    assert (2, 1) == (world.wires.size(), world.counters.get("enrich.evicted_wires"))
    assert world.runs(world.add(SHELL, on(IN, OUT), parent=1_000, shell="/bin/sh")) is None
    assert world.runs(world.add(SHELL + 1, on(IN + 2, OUT + 2), parent=1_002, shell="/bin/sh")) is not None
