from __future__ import annotations

from agent.counters import Counters
from agent.enrich.limits import Limits
from agent.enrich.memory import Memory
from agent.model import Process
from tests.unit.enrich.made import key
from tests.unit.enrich.made import process


def memory(counters: Counters, **limits: int) -> Memory:
    return Memory(counters=counters, limits=Limits(dead_ns=60, **limits))


def child(tgid: int, parent: int) -> Process:
    return process(tgid, parent=key(parent, 1))


def known(store: Memory, *tgids: int) -> list[int]:
    return [tgid for tgid in tgids if store.get(key(tgid, 1)) is not None]


def test_the_dead_are_remembered_for_a_while(counters: Counters) -> None:
    """Late events of a process find it; after its time it costs nothing."""
    store = memory(counters)
    store.put(process(5))
    store.bury(process(5), 100)
    store.expire(160)
    assert known(store, 5) == [5]
    assert not store.is_living(key(5, 1))

    store.expire(161)
    assert known(store, 5) == []
    assert store.sizes() == {"living": 0, "dead": 0, "ancestors": 0}


def test_the_dead_are_bounded_in_number(counters: Counters) -> None:
    """A fork bomb of short-lived processes fills no memory."""
    store = memory(counters, dead=2)
    for tgid in (5, 6, 7):
        store.put(process(tgid))
        store.bury(process(tgid), 100)

    assert known(store, 5, 6, 7) == [6, 7]


def test_an_ancestor_is_kept_while_a_descendant_lives(counters: Counters) -> None:
    """A daemon still shows who started it, hours after the starter's end; then all go together."""
    store = memory(counters)
    for one in (process(1), child(2, 1), child(3, 2)):
        store.put(one)
    for one in (process(1), child(2, 1)):
        store.bury(one, 100)
    store.expire(10_000)
    assert known(store, 1, 2, 3) == [1, 2, 3]

    store.bury(child(3, 2), 20_000)
    store.expire(30_000)
    assert known(store, 1, 2, 3) == []
    assert store.sizes() == {"living": 0, "dead": 0, "ancestors": 0}


def test_ancestors_are_bounded_and_counted(counters: Counters) -> None:
    """Too many dead ancestors are not kept, and that is said."""
    store = memory(counters, ancestors=1)
    for parent in (10, 20):
        store.put(process(parent))
        store.put(child(parent + 1, parent))
        store.bury(process(parent), 100)
    store.expire(1_000)

    assert known(store, 10, 20) == [20]
    assert counters.get("enrich.forgotten_ancestors") == 1


def test_burying_twice_is_burying_once(counters: Counters) -> None:
    """A duplicate exit leaves no trace for ever."""
    store = memory(counters)
    store.put(process(5))
    store.bury(process(5), 100)
    store.bury(process(5), 150)
    store.expire(161)

    assert known(store, 5) == []
    store.expire(1_000)


def test_a_process_of_which_only_the_end_was_seen_is_dead(counters: Counters) -> None:
    """A change that comes after the exit does not raise the dead."""
    store = memory(counters)
    store.bury(process(5), 100)
    store.put(process(5, name="late"))

    assert not store.is_living(key(5, 1))
    assert store.living_tgid(5) is None
    found = store.get(key(5, 1))
    assert found is not None
    assert found.name == "late"


def test_a_changed_parent_lets_the_former_one_go(counters: Counters) -> None:
    """An ancestor that is not needed any more is not kept by mistake."""
    store = memory(counters)
    for one in (process(1), process(2), child(3, 1)):
        store.put(one)
    store.bury(process(1), 100)
    store.expire(1_000)
    assert known(store, 1) == [1]

    store.put(child(3, 2))
    assert known(store, 1) == []


def test_room_is_made_among_the_childless(counters: Counters) -> None:
    """A full table gives up leaves before the trunk of the tree."""
    store = memory(counters, living=3)
    for one in (process(1), child(2, 1), child(3, 2)):
        store.put(one)
    assert store.crowded()

    spare = store.spare()
    assert [3] == [one.key.tgid for one in spare]
    store.evict(spare[0])
    assert known(store, 1, 2, 3) == [1, 2]
    assert counters.get("enrich.evicted_processes") == 1


def test_neighbours_are_the_living_of_the_same_mount_namespace(counters: Counters) -> None:
    """The dead and those that moved to another namespace are no way to a file."""
    store = memory(counters)
    for tgid in (1, 2, 3, 4):
        store.put(process(tgid, mnt_ns=7))
    store.bury(process(1, mnt_ns=7), 100)
    store.put(process(2, mnt_ns=8))

    assert store.neighbours(7, 1) == (3,)
    assert store.neighbours(7, 9) == (3, 4)
    assert store.neighbours(8, 9) == (2,)
    assert store.neighbours(None, 9) == ()


def test_a_long_life_leaves_nothing_behind(counters: Counters) -> None:
    """After thousands of trees came and went every index is empty."""
    store = memory(counters, dead=50, ancestors=20)
    for start in range(0, 3_000, 3):
        family = [process(start, mnt_ns=1), child(start + 1, start), child(start + 2, start + 1)]
        for one in family:
            store.put(one)
        for one in family:
            store.bury(one, start)
    store.expire(100_000)

    assert store.sizes() == {"living": 0, "dead": 0, "ancestors": 0}
    assert (store._children, store._by_tgid, store._by_mnt_ns, list(store._died)) == ({}, {}, {}, [])
