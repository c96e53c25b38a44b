from __future__ import annotations

from agent.counters import Counters
from agent.enrich import Enricher
from agent.enrich import Limits
from agent.enrich.serving import Serving
from agent.model import NetAccept
from agent.model import NetListen
from tests.unit.enrich.made import HOST
from tests.unit.enrich.made import Tree
from tests.unit.enrich.made import executed
from tests.unit.enrich.made import forked
from tests.unit.enrich.made import header
from tests.unit.enrich.made import key
from tests.unit.enrich.made import tcp


def test_the_nearest_server_of_a_program(tree: Tree, counters: Counters) -> None:
    """A program is seen with the nearest ancestor that listens or accepted, and with none when nobody does."""
    enricher = Enricher(host=HOST, counters=counters, procfs=tree.procfs(), limits=Limits())
    try:
        enricher.enrich(executed(5, 1))
        enricher.enrich(NetListen(**header(5, 1), fd=3, socket=tcp(None)))
        enricher.enrich(forked((5, 1), (6, 2)))
        enricher.enrich(NetAccept(**header(6, 2), fd=4, listening_fd=3, socket=tcp(7)))
        enricher.enrich(forked((6, 2), (7, 3)))
        below = enricher.enrich(executed(7, 3, parent=(6, 2)))
        itself = enricher.enrich(executed(5, 1))
        nobody = enricher.enrich(executed(8, 4))
        refused = enricher.enrich(NetListen(**header(8, 4, result=-98), fd=3, socket=tcp(None)))
        still = enricher.enrich(executed(8, 4))
    finally:
        enricher.close()

    assert below.serving is not None
    assert itself.serving is not None
    assert (key(6, 2), key(5, 1)) == (below.serving.key, itself.serving.key)
    assert (None, None, None) == (nobody.serving, refused.serving, still.serving)
    assert 2 == enricher.sizes()["servers"]


def test_init_is_no_server(counters: Counters) -> None:
    """Everything descends from process 1, which listens for those it starts when they are called."""
    serving = Serving(counters=counters, limit=9)
    serving.serves(key(1, 0))

    assert 0 == serving.size()


def test_the_oldest_server_is_forgotten(counters: Counters) -> None:
    """The table is bounded, and says what it lost; one heard of again is kept."""
    serving = Serving(counters=counters, limit=2)
    for tgid in (5, 6, 5, 7):
        serving.serves(key(tgid, 1))

    assert (2, 1) == (serving.size(), counters.get("enrich.evicted_servers"))
