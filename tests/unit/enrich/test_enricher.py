from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent.counters import Counters
from agent.enrich import Enricher
from agent.enrich import Limits
from agent.model import Content
from agent.model import FileId
from agent.model import MemProtect
from agent.model import NetAccept
from agent.model import Peers
from agent.model import Process
from agent.model import Stdio
from tests.unit.enrich.made import DOCKER
from tests.unit.enrich.made import HOST
from tests.unit.enrich.made import ID
from tests.unit.enrich.made import Tree
from tests.unit.enrich.made import connected
from tests.unit.enrich.made import duplicated
from tests.unit.enrich.made import executed
from tests.unit.enrich.made import exited
from tests.unit.enrich.made import forked
from tests.unit.enrich.made import header
from tests.unit.enrich.made import key
from tests.unit.enrich.made import mapped
from tests.unit.enrich.made import opened
from tests.unit.enrich.made import tcp


@pytest.fixture
def enricher(tree: Tree, counters: Counters) -> Iterator[Enricher]:
    made = Enricher(host=HOST, counters=counters, procfs=tree.procfs(), limits=Limits())
    yield made
    made.close()


def test_a_stranger_has_no_surroundings_but_the_host(enricher: Enricher, counters: Counters) -> None:
    """An event of nobody known is passed on with what is known, and counted."""
    found = enricher.enrich(opened(9, 50, inode=1))

    assert (HOST, None, (), None, None) == (found.host, found.actor, found.lineage, found.container, found.writer)
    assert counters.get("enrich.unknown_actor") == 1


def test_after_an_exec_the_actor_is_what_it_became(enricher: Enricher) -> None:
    """Program, arguments, lineage and container are those of the new image."""
    enricher.enrich(executed(5, 1, path="/bin/sh", cgroup_path=DOCKER))
    enricher.enrich(forked((5, 1), (6, 2)))
    found = enricher.enrich(executed(6, 2, parent=(5, 1), path="/tmp/x", args=("x", "1"), cgroup_path=DOCKER))

    assert found.actor is not None
    assert found.container is not None
    assert ("x", ("x", "1"), ID) == (found.actor.name, found.actor.args, found.container.id)
    assert [key(5, 1)] == [process.key for process in found.lineage]


def test_who_ends_is_still_known(enricher: Enricher) -> None:
    """An exit says of whom, with the time."""
    enricher.enrich(executed(5, 1))
    event = exited(5, 1)
    found = enricher.enrich(event)

    assert found.actor is not None
    assert ("tool", event.at_ns) == (found.actor.name, found.actor.exited_at_ns)


def test_a_written_program_comes_with_its_writer(enricher: Enricher) -> None:
    """What curl fetched and somebody else ran is laid at curl's door, also after curl ended."""
    enricher.enrich(executed(5, 1, path="/usr/bin/curl"))
    write = opened(5, 1, inode=77, path="/tmp/miner")
    enricher.enrich(write)
    enricher.enrich(exited(5, 1))
    ran = enricher.enrich(executed(6, 2, path="/tmp/miner", inode=77)).writer
    loaded = enricher.enrich(mapped(6, 2, inode=77)).writer

    assert ran is not None
    assert ran == loaded
    assert ("curl", "/tmp/miner", write.at_ns) == (ran.process.name, ran.path, ran.at_ns)


def test_who_reads_a_sensitive_file_is_not_its_writer(enricher: Enricher) -> None:
    """A file that is told because it was read was not written by its reader."""
    for tgid in (4, 5):
        enricher.enrich(executed(tgid, 1))
    enricher.enrich(opened(4, 1, inode=77))
    reading = opened(5, 1, inode=77)
    enricher.enrich(msgspec.structs.replace(reading, created=False, flags_raw=0, sensitive=True))
    ran = enricher.enrich(executed(6, 2, inode=77)).writer
    assert ran is not None
    assert 4 == ran.process.key.tgid

    enricher.enrich(msgspec.structs.replace(reading, created=False, flags_raw=2, sensitive=True))
    ran = enricher.enrich(executed(6, 3, inode=77)).writer
    assert ran is not None
    assert 5 == ran.process.key.tgid


def test_an_unwritten_program_has_no_writer(enricher: Enricher) -> None:
    """Writing one file does not taint another, nor the event of writing itself."""
    enricher.enrich(executed(5, 1))
    assert enricher.enrich(opened(5, 1, inode=77)).writer is None
    assert enricher.enrich(executed(6, 2, inode=78)).writer is None
    assert enricher.enrich(executed(6, 2, inode=77, device=2)).writer is None


def test_a_raced_open_accuses_nobody(enricher: Enricher) -> None:
    """When the descriptor may have been swapped for a decoy, the opener is not called the decoy's writer."""
    enricher.enrich(executed(5, 1))
    enricher.enrich(opened(5, 1, inode=77, flags=("fd_shared", "fd_raced")))
    enricher.enrich(opened(5, 1, inode=78, flags=("fd_shared",)))

    assert enricher.enrich(executed(6, 2, inode=77)).writer is None
    assert enricher.enrich(executed(6, 2, inode=78)).writer is not None


@pytest.mark.parametrize("existing", [False, True], ids=["while we watch", "before we watched"])
def test_sockets_that_connected_out_are_told_from_others(enricher: Enricher, *, existing: bool) -> None:
    """A shell on a socket that connected out differs from one that a server accepted."""
    enricher.enrich(executed(5, 1))
    enricher.enrich(msgspec.structs.replace(connected(5, 1, cookie=42), existing=existing))
    stdio = tuple(Stdio(fd=fd, kind="socket", socket=tcp(cookie)) for fd, cookie in enumerate((42, 43, None)))
    pipe = Stdio(fd=0, kind="pipe", inode=4)

    assert frozenset({42}) == enricher.enrich(executed(5, 1, stdio=stdio)).outbound_cookies
    assert frozenset() == enricher.enrich(executed(5, 1, stdio=(pipe,))).outbound_cookies
    assert frozenset({42}) == enricher.enrich(duplicated(5, 1, cookie=42)).outbound_cookies
    assert frozenset() == enricher.enrich(duplicated(5, 1, cookie=43)).outbound_cookies


def test_a_hash_is_asked_for_at_exec(tree: Tree, enricher: Enricher, tmp_path: Path, counters: Counters) -> None:
    """Nobody need ask while the process lives; the answer is there soon after."""
    program = tmp_path / "prog"
    program.write_bytes(b"content")
    seen = program.stat()
    tree.add(5, 1, exe=str(program))
    facts = {"inode": seen.st_ino, "size_bytes": seen.st_size, "changed_at_ns": seen.st_ctime_ns}
    actor = enricher.enrich(executed(5, 1, **facts)).actor
    assert actor is not None
    waited = threading.Event()
    for _ in range(300):
        if enricher.sha256(actor).state != "pending":
            break
        waited.wait(0.01)  # for the other thread

    assert hashlib.sha256(b"content").hexdigest() == enricher.sha256(actor).sha256
    assert counters.get("enrich.hashed") == 1


def test_sizes_name_every_table(enricher: Enricher, tree: Tree, counters: Counters) -> None:
    """Health can show what the agent's memory is spent on."""
    tree.add(1, 1)
    assert enricher.seed() == 1
    enricher.enrich(executed(5, 1, cgroup_path=DOCKER))
    enricher.enrich(opened(5, 1, inode=7))
    enricher.enrich(connected(5, 1, cookie=42))
    enricher.enrich(executed(6, 1))
    enricher.enrich(exited(6, 1))
    sizes = enricher.sizes()

    assert {"living": 2, "dead": 1, "containers": 1, "writers": 1, "cookies": 1}.items() <= sizes.items()
    assert {"ancestors", "users", "missing", "hashes", "hash_queue"} <= sizes.keys()
    assert counters.get("enrich.seeded") == 1


def test_hostile_text_passes_through(enricher: Enricher) -> None:
    """Paths of 4,096 bytes, control characters and empty strings change nothing."""
    long = "/" + "x" * 4_095
    event = executed(5, 1, path=long, comm="", cwd=None, cgroup_path="/" + "\n" * 9_999, args=("",) * 10_000)
    found = enricher.enrich(event)

    assert found.actor is not None
    assert found.actor.exe is not None
    assert (long, long[1:], FileId(1, 2)) == (found.actor.exe.path, found.actor.name, found.actor.exe.file)


@pytest.mark.parametrize(("region", "kind"), [(None, "anonymous"), ("heap", None)])
def test_memory_made_executable(tree: Tree, enricher: Enricher, region: str | None, kind: str | None) -> None:
    """Where the record does not say what the memory was, /proc does, of the process that is still there."""
    (tree.add(5, 1, parent=1, comm=b"jit") / "maps").write_bytes(b"1000-3000 rwxp 00000000 00:00 0 \n")
    enricher.enrich(executed(5, 1))
    event = MemProtect(**header(5, 1), start_address=0x2000, end_address=0x3000, protection_raw=7, region=region)
    mapping = enricher.enrich(event).mapping

    assert kind == (mapping and mapping.kind)


def contents_of(enricher: Enricher, actor: Process) -> tuple[Content, ...]:
    """Wait until all of it is read."""
    for _ in range(3_000):
        read = enricher.contents(actor)
        if read is not None:
            return read
        threading.Event().wait(0.01)
    raise AssertionError("never read")


def test_what_an_exec_ran_is_read_program_and_script(
    enricher: Enricher, tree: Tree, tmp_path: Path, counters: Counters
) -> None:
    """The interpreter is old; what is new is the script that it was given."""
    (tmp_path / "bin").mkdir()
    program, script = tmp_path / "bin/python3", tmp_path / "bin/a.py"
    program.write_bytes(b"program")
    script.write_bytes(b"script")
    seen = program.stat()
    home = tree.add(9, 50, exe=str(program))
    (home / "root").symlink_to(tmp_path)
    exec_ = executed(
        9,
        50,
        path="/bin/python3",
        args=("python3", "a.py"),
        cwd="/bin",
        inode=seen.st_ino,
        size_bytes=seen.st_size,
        changed_at_ns=seen.st_ctime_ns,
    )
    actor = enricher.enrich(exec_).actor
    assert actor is not None

    assert (
        Content(
            path="/bin/python3",
            role="program",
            sha256=hashlib.sha256(b"program").hexdigest(),
            changed_at_ns=seen.st_ctime_ns,
        ),
        Content(
            path="/bin/a.py",
            role="script",
            sha256=hashlib.sha256(b"script").hexdigest(),
            changed_at_ns=script.stat().st_ctime_ns,
        ),
    ) == contents_of(enricher, actor)
    assert 0 == counters.get("enrich.never_read")
    assert 1 == enricher.sizes()["hashes"], "a script is not kept by its exec"


def test_what_is_never_read_is_counted_with_its_reason(enricher: Enricher, counters: Counters) -> None:
    """The process was over, and nobody had its files: there is no hash, and it is known why."""
    actor = enricher.enrich(executed(9, 50)).actor
    assert actor is not None

    assert () == contents_of(enricher, actor)
    assert 1 == counters.get("enrich.never_read")
    assert 1 == counters.get("enrich.never_read.the_process_is_over_and_its_program_cannot_be_found_any_more")


def test_whom_a_process_spoke_to_before(enricher: Enricher) -> None:
    """A connect and an accepted connection come with whom the process met until then; nothing else does."""
    accepted = NetAccept(**header(5, 1), fd=5, listening_fd=3, socket=tcp(43))
    taken_away = msgspec.structs.replace(accepted, socket=None)

    assert Peers() == enricher.enrich(connected(5, 1, cookie=42)).peers
    assert Peers(connected_to=("192.0.2.1",)) == enricher.enrich(accepted).peers
    assert enricher.enrich(taken_away).peers is None
    assert enricher.enrich(executed(5, 1)).peers is None
    known = Peers(connected_to=("192.0.2.1",), accepted_from=("192.0.2.1",))
    assert known == enricher.enrich(accepted).peers
    assert 1 == enricher.sizes()["speakers"]


def test_what_the_parent_of_a_program_started_before(enricher: Enricher) -> None:
    """The start of a program comes with those before it under the same parent; nothing else does."""
    first, second = executed(5, 2, parent=(4, 1)), executed(6, 2, parent=(4, 1))

    assert () == enricher.enrich(first).siblings
    assert [5] == [sibling.key.tgid for sibling in enricher.enrich(second).siblings]
    assert () == enricher.enrich(connected(5, 2, cookie=42)).siblings
    assert 1 == enricher.sizes()["starters"]
