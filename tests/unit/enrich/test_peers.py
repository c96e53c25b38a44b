from __future__ import annotations

from agent.counters import Counters
from agent.enrich.peers import ADDRESSES
from agent.enrich.peers import PeerTable
from agent.model import Peers
from agent.model import ProcessKey

ONE, TWO, THREE = (ProcessKey(tgid, 1) for tgid in (1, 2, 3))


def test_whom_a_process_met_before(counters: Counters) -> None:
    """What is returned is what was known before, each way and each process by itself; a repeat changes nothing."""
    table = PeerTable(counters=counters, limit=9)

    assert Peers() == table.connected(ONE, "192.0.2.1")
    assert Peers(connected_to=("192.0.2.1",)) == table.connected(ONE, "192.0.2.1")
    assert Peers(connected_to=("192.0.2.1",)) == table.accepted(ONE, "192.0.2.2")
    known = Peers(connected_to=("192.0.2.1",), accepted_from=("192.0.2.2",))
    assert known == table.accepted(ONE, "192.0.2.2")
    assert known == table.connected(ONE, "192.0.2.3")
    assert Peers() == table.accepted(TWO, "192.0.2.1")
    assert Peers() == table.accepted(ProcessKey(1, 2), "192.0.2.1"), "a tgid that was given out again"


def test_only_the_newest_addresses_are_kept(counters: Counters) -> None:
    """Who speaks to everybody costs no more than who speaks to some."""
    table = PeerTable(counters=counters, limit=9)
    for number in range(ADDRESSES + 1):
        table.connected(ONE, f"192.0.2.{number}")
        table.accepted(ONE, f"198.51.100.{number}")
    known = table.connected(ONE, "192.0.2.1")

    assert [f"192.0.2.{number}" for number in range(1, ADDRESSES + 1)] == list(known.connected_to)
    assert [f"198.51.100.{number}" for number in range(1, ADDRESSES + 1)] == list(known.accepted_from)


def test_who_met_nobody_new_for_longest_is_forgotten(counters: Counters) -> None:
    """The table is bounded, and says what it lost."""
    table = PeerTable(counters=counters, limit=2)
    table.connected(ONE, "192.0.2.1")
    table.connected(TWO, "192.0.2.1")
    table.connected(ONE, "192.0.2.2")
    table.connected(THREE, "192.0.2.1")

    assert 2 == table.size()
    assert 1 == counters.get("enrich.evicted_speakers")
    assert Peers() == table.connected(TWO, "192.0.2.1")
    assert Peers(connected_to=("192.0.2.1",)) == table.connected(THREE, "192.0.2.1")
