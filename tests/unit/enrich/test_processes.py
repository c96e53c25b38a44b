from __future__ import annotations

from typing import Any

import pytest

from agent.counters import Counters
from agent.enrich.processes import ProcessTable
from agent.model import NS_PER_TICK
from agent.model import Event
from agent.model import Process
from agent.model import ProcessExec
from agent.model import ProcessExit
from agent.model import ProcessFork
from tests.unit.enrich.made import BOOT_AT_NS
from tests.unit.enrich.made import DOCKER
from tests.unit.enrich.made import ID
from tests.unit.enrich.made import OWN_MNT
from tests.unit.enrich.made import OWN_PID
from tests.unit.enrich.made import Tree
from tests.unit.enrich.made import executed
from tests.unit.enrich.made import exited
from tests.unit.enrich.made import forked
from tests.unit.enrich.made import key
from tests.unit.enrich.made import opened
from tests.unit.enrich.made import table

S = 100  # ticks in a second


def play(processes: ProcessTable, *events: Event) -> None:
    """Apply events as the enricher does."""
    for event in events:
        processes.expire(event.time_ns)
        match event:
            case ProcessFork():
                processes.forked(event)
            case ProcessExec():
                processes.executed(event)
            case ProcessExit():
                processes.exited(event)
            case _:
                processes.actor(event)


def found(processes: ProcessTable, tgid: int, started: int) -> Process:
    process = processes.find(key(tgid, started))
    assert process is not None
    return process


def names(processes: ProcessTable, tgid: int, started: int) -> list[str | None]:
    return [process.name for process in processes.lineage(found(processes, tgid, started))]


def test_a_stranger_who_is_gone_is_nobody(tree: Tree, counters: Counters) -> None:
    """An event of a process that was never seen is not blamed on whoever has its pid now."""
    tree.add(9, 77)
    processes = table(tree, counters)

    assert processes.actor(opened(9, 50, inode=1)) is None
    assert counters.get("enrich.unknown_actor") == 1
    assert counters.get("enrich.late") == 0


def test_a_stranger_is_looked_for_once(tree: Tree, counters: Counters) -> None:
    """A flood of events of a process that is gone does not become a flood of reads."""
    processes = table(tree, counters, missing=2)
    assert processes.actor(opened(9, 50, inode=1)) is None
    tree.add(9, 50)
    assert processes.actor(opened(9, 50, inode=1)) is None

    play(processes, opened(10, 50, inode=1), opened(11, 50, inode=1))
    assert processes.sizes()["missing"] == 2
    assert processes.actor(opened(9, 50, inode=1)) is not None, "forgotten, so looked for again"


def test_a_stranger_who_still_lives_is_read_late(tree: Tree, counters: Counters) -> None:
    """A process whose fork and exec records were lost is known nevertheless, with its parent."""
    tree.add(1, 1, comm=b"init")
    processes = table(tree, counters)
    processes.seed()
    tree.add(9, 50, parent=1, exe="/usr/bin/late")
    process = processes.actor(opened(9, 50, inode=1, euid=33))

    assert process is not None
    assert (key(1, 1), "late", 33) == (process.parent, process.name, process.euid)
    assert counters.get("enrich.late") == 1


def test_seeding_knows_what_exists_with_its_lineage(tree: Tree, counters: Counters) -> None:
    """Processes older than the agent have parents and start times."""
    tree.add(300, 2 * S, parent=20, exe="/bin/leaf")
    tree.add(20, 1 * S, parent=1, exe="/bin/shell")
    tree.add(1, 0, exe="/sbin/init")
    processes = table(tree, counters)

    assert processes.seed() == 3
    assert names(processes, 300, 2 * S) == ["shell", "init"]
    assert BOOT_AT_NS + 2_000_000_000 == found(processes, 300, 2 * S).started_at_ns
    assert found(processes, 300, 2 * S).parent_uuid == found(processes, 20, S).uuid


def test_seeding_twice_or_while_processes_start_gives_each_once(tree: Tree, counters: Counters) -> None:
    """A process that starts during the scan is one process, and what its records said is kept."""
    tree.add(1, 1)
    tree.add(9, 50, parent=1, exe="/usr/bin/old-news")
    processes = table(tree, counters)
    play(processes, executed(9, 50, parent=(1, 1), path="/usr/bin/fresh"))

    assert processes.seed() == 0, "the parent came late with the exec"
    assert processes.sizes()["living"] == 2
    assert found(processes, 9, 50).name == "fresh"


@pytest.mark.parametrize("seen", [None, "/usr/bin/shell", "/usr/bin/tool"], ids=["nothing", "the fork", "the exec"])
def test_a_process_that_starts_during_the_scan_ends_as_its_records_say(
    tree: Tree, counters: Counters, seen: str | None
) -> None:
    """Whatever the scan still saw of it, its records come behind: it is there once, with program, parent and end."""
    tree.add(20, 10, exe="/usr/bin/shell")
    if seen is not None:
        tree.add(9, 50, parent=20, exe=seen, args=b"as /proc has it\0")
    processes = table(tree, counters)
    processes.seed()
    lived = (forked((20, 10), (9, 50)), executed(9, 50, parent=(20, 10), args=("tool", "1")))
    play(processes, *lived)
    process = found(processes, 9, 50)

    assert processes.sizes()["living"] == 2
    assert (key(20, 10), ("tool", "1")) == (process.parent, process.args)
    assert process.exe is not None
    assert process.exe.path == "/usr/bin/tool"

    play(processes, exited(9, 50))
    assert (1, 1) == (processes.sizes()["living"], processes.sizes()["dead"])
    assert found(processes, 9, 50).exited_at_ns is not None
    processes.seed()
    assert (1, 1) == (processes.sizes()["living"], processes.sizes()["dead"]), "a zombie is not taken in again"


def test_seeding_does_not_raise_the_dead(tree: Tree, counters: Counters) -> None:
    """A zombie in /proc whose exit was already seen stays dead."""
    processes = table(tree, counters)
    play(processes, executed(9, 50), exited(9, 50))
    tree.add(9, 50)
    processes.seed()

    assert processes.sizes()["living"] == 0


def test_a_parent_younger_than_its_child_is_another_process(tree: Tree, counters: Counters) -> None:
    """A parent's pid that was used again during the scan makes no false lineage."""
    tree.add(20, 99 * S)
    tree.add(300, 2 * S, parent=20)
    processes = table(tree, counters)
    processes.seed()

    assert found(processes, 300, 2 * S).parent is None


def test_the_tree_of_a_short_lived_process_is_whole(tree: Tree, counters: Counters) -> None:
    """Shell, script and tool are all over when the finding is made, and all are in its lineage."""
    processes = table(tree, counters)
    play(
        processes,
        executed(5, 1, path="/usr/sbin/sshd"),
        forked((5, 1), (6, 10)),
        executed(6, 10, parent=(5, 1), path="/bin/bash"),
        forked((6, 10), (7, 20)),
        executed(7, 20, parent=(6, 10), path="/tmp/miner"),
        exited(7, 20),
        exited(6, 10),
    )

    assert names(processes, 7, 20) == ["bash", "sshd"]


def test_a_daemon_keeps_the_one_who_forked_it(tree: Tree, counters: Counters) -> None:
    """Letting itself be adopted by init before its exec does not hide where a process came from."""
    tree.add(1, 0, exe="/sbin/init")
    processes = table(tree, counters)
    processes.seed()
    play(
        processes,
        executed(6, 10, parent=(1, 0), path="/bin/bash"),
        forked((6, 10), (7, 20)),
        exited(6, 10),
        executed(7, 20, parent=(1, 0), path="/tmp/daemon"),
    )

    assert names(processes, 7, 20) == ["bash", "init"]


def test_an_exec_without_its_fork_takes_the_parent_from_the_record(tree: Tree, counters: Counters) -> None:
    """A lost fork does not cut the lineage."""
    processes = table(tree, counters)
    play(processes, executed(6, 10, path="/bin/bash"), executed(7, 20, parent=(6, 10)))

    assert names(processes, 7, 20) == ["bash"]


def test_a_parent_who_is_gone_is_still_named(tree: Tree, counters: Counters) -> None:
    """Its key and uuid are facts of the record, though nothing else is known."""
    processes = table(tree, counters)
    play(processes, executed(7, 20, parent=(6, 10)))
    process = found(processes, 7, 20)

    assert key(6, 10) == process.parent
    assert process.parent_uuid is not None
    assert processes.lineage(process) == ()


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (1, 2, 0), (0, 2, 1), (2, 0, 1), (2, 1, 0)])
def test_fork_exec_and_exit_in_any_order_end_the_same(tree: Tree, counters: Counters, order: tuple[int, ...]) -> None:
    """Whatever the order of arrival, the process is dead, has its parent and its program, and no ghost lives on."""
    processes = table(tree, counters)
    parent = executed(6, 10, path="/bin/bash")
    records = (forked((6, 10), (7, 20)), executed(7, 20, parent=(6, 10), path="/bin/true"), exited(7, 20))
    play(processes, parent, *[records[index] for index in order])
    process = found(processes, 7, 20)

    assert ("true", key(6, 10)) == (process.name, process.parent)
    assert process.exited_at_ns is not None
    assert (1, 1) == (processes.sizes()["living"], processes.sizes()["dead"])


def test_a_second_exit_changes_nothing(tree: Tree, counters: Counters) -> None:
    """Duplicate records are harmless, and the first time of death stands."""
    processes = table(tree, counters)
    play(processes, executed(7, 20), exited(7, 20))
    first = found(processes, 7, 20)
    again = processes.exited(exited(7, 20, time_ns=9_000_000_000))

    assert first == again == found(processes, 7, 20)
    assert processes.sizes()["dead"] == 1


def test_clone_parent_copies_the_caller_and_names_the_parent(tree: Tree, counters: Counters) -> None:
    """A sibling made with CLONE_PARENT is a copy of its maker, but the child of its maker's parent."""
    processes = table(tree, counters)
    play(
        processes,
        executed(5, 1, path="/bin/parent"),
        executed(6, 10, parent=(5, 1), path="/bin/maker"),
        forked((6, 10), (7, 20), parent=(5, 1)),
    )

    assert found(processes, 7, 20).name == "maker"
    assert names(processes, 7, 20) == ["parent"]


def test_a_reused_pid_ends_its_former_owner(tree: Tree, counters: Counters) -> None:
    """A process whose exit record was lost does not live for ever."""
    processes = table(tree, counters)
    play(processes, executed(7, 20), executed(7, 900))

    assert processes.sizes()["living"] == 1
    assert counters.get("enrich.missed_exits") == 1
    assert found(processes, 7, 20).key == key(7, 20), "remembered among the dead"


def test_a_full_table_first_lets_go_of_what_is_not_there_any_more(tree: Tree, counters: Counters) -> None:
    """Ghosts go before living processes do."""
    processes = table(tree, counters, living=3)
    for tgid in (5, 6):
        tree.add(tgid, 1)
    play(processes, executed(5, 1), executed(6, 1), executed(99, 1), executed(7, 20))

    assert counters.get("enrich.missed_exits") == 1
    assert counters.get("enrich.evicted_processes") == 0
    assert processes.sizes()["living"] == 3


def test_a_fork_bomb_stays_within_the_limit(tree: Tree, counters: Counters) -> None:
    """More living processes than the table may hold are forgotten and counted."""
    processes = table(tree, counters, living=16)
    for tgid in range(100, 200):
        tree.add(tgid, tgid)
        play(processes, executed(tgid, tgid, cgroup_path=DOCKER))

    sizes = processes.sizes()
    assert sizes["living"] == 16
    assert counters.get("enrich.evicted_processes") == 84


def test_lineage_is_bounded(tree: Tree, counters: Counters) -> None:
    """A tree of a thousand shells costs sixteen steps."""
    processes = table(tree, counters)
    play(processes, *[executed(tgid, tgid, parent=(tgid - 1, tgid - 1)) for tgid in range(100, 150)])

    lineage = processes.lineage(found(processes, 149, 149))
    assert [key(tgid, tgid) for tgid in range(148, 132, -1)] == [process.key for process in lineage]


def test_lineage_has_no_loops(tree: Tree, counters: Counters) -> None:
    """Two processes that name each other as parent, which cannot be, do not hang or repeat."""
    processes = table(tree, counters)
    play(processes, executed(5, 10, parent=(6, 10)), executed(6, 10, parent=(5, 10)))

    assert [key(6, 10)] == [process.key for process in processes.lineage(found(processes, 5, 10))]


CONTAINED: dict[str, Any] = {"mnt_ns": OWN_MNT, "pid_ns": OWN_PID}


def test_host_processes_are_in_no_container(tree: Tree, counters: Counters) -> None:
    """Neither a service nor a process in a cgroup of some supervisor's own making."""
    processes = table(tree, counters)
    paths = ("/system.slice/cron.service", "/process_api/a0bc7002cea7bd3e1737e89643d890a7", "/web", "/", None)
    for tgid, path in enumerate(paths, 10):
        play(processes, executed(tgid, 1, cgroup_path=path))
        assert found(processes, tgid, 1).container_id is None
        assert processes.container(found(processes, tgid, 1)) is None


def test_a_sandbox_that_stays_in_its_starters_cgroup_is_no_container(tree: Tree, counters: Counters) -> None:
    """A browser's renderer has both namespaces, and the cgroup of the browser."""
    processes = table(tree, counters)
    play(
        processes,
        executed(5, 1, cgroup_path="/desktop"),
        forked((5, 1), (6, 2)),
        executed(6, 2, parent=(5, 1), cgroup_path="/desktop", **CONTAINED),
        forked((6, 2), (7, 3), **CONTAINED),
        executed(7, 3, parent=(6, 2), cgroup_path="/desktop", **CONTAINED),
    )

    assert [None, None] == [found(processes, 6, 2).container_id, found(processes, 7, 3).container_id]


def test_bare_runc_makes_a_container_for_its_init_and_all_below(tree: Tree, counters: Counters) -> None:
    """From the exec of the container's first program on, children included."""
    processes = table(tree, counters)
    play(
        processes,
        executed(5, 1, path="/usr/sbin/runc", cgroup_path="/"),
        forked((5, 1), (6, 200)),
        executed(6, 200, parent=(5, 1), path="/bin/sh", cgroup_path="/web", **CONTAINED),
        forked((6, 200), (7, 300), **CONTAINED),
    )
    container = processes.container(found(processes, 7, 300))

    assert (None, "web", "web") == tuple(found(processes, *at).container_id for at in ((5, 1), (6, 200), (7, 300)))
    assert container is not None
    assert BOOT_AT_NS + 200 * NS_PER_TICK + 5 == container.started_at_ns
    assert processes.sizes()["containers"] == 1


@pytest.mark.parametrize("path", ["/", "/docker/" + "e" * 64, "/system.slice/cron.service", "/other"])
def test_a_process_cannot_leave_its_container_by_cgroup_alone(tree: Tree, counters: Counters, path: str) -> None:
    """Moving to another cgroup, of whatever name, does not change who it is while its namespaces are the same."""
    processes = table(tree, counters)
    play(
        processes,
        executed(6, 200, cgroup_path="/web", **CONTAINED),
        forked((6, 200), (7, 300), **CONTAINED),
        executed(7, 300, parent=(6, 200), cgroup_path=path, **CONTAINED),
    )

    assert found(processes, 7, 300).container_id == "web"


def test_seeded_containers_are_known_with_their_start(tree: Tree, counters: Counters) -> None:
    """A container older than the agent starts with its earliest process."""
    cgroup = f"0::{DOCKER}\n".encode()
    tree.add(60, 400, cgroup=cgroup, mnt=OWN_MNT, pid=OWN_PID)
    tree.add(50, 300, cgroup=cgroup, mnt=OWN_MNT, pid=OWN_PID)
    processes = table(tree, counters)
    processes.seed()
    container = processes.container(found(processes, 60, 400))

    assert container is not None
    assert (ID, "docker", BOOT_AT_NS + 3_000_000_000) == (container.id, container.runtime, container.started_at_ns)


def test_a_container_is_known_a_while_after_its_last_process(tree: Tree, counters: Counters) -> None:
    """Its last process's last event still finds it; a minute later both are forgotten."""
    processes = table(tree, counters)
    play(processes, executed(6, 200, cgroup_path=DOCKER), exited(6, 200, time_ns=10**10))
    process = found(processes, 6, 200)
    assert processes.container(process) is not None

    processes.expire(10**10 + 60 * 10**9 + 1)
    assert processes.container(process) is None
    assert processes.find(process.key) is None
    assert {0} == {processes.sizes()[name] for name in ("living", "dead", "ancestors", "containers")}
