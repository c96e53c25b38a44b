from __future__ import annotations

from typing import Any

import pytest

from agent.counters import Counters
from agent.enrich.questions import ASKED_NS
from agent.enrich.questions import QUESTIONS
from agent.enrich.questions import Questions
from agent.model import DnsAnswer
from agent.model import DnsQuery
from agent.model import NetBind
from tests.unit.enrich.made import forked
from tests.unit.enrich.made import header
from tests.unit.enrich.made import key

CLIENT, RESOLVER, OTHER = (5, 1), (6, 1), (7, 1)
NOW_NS = 20 * ASKED_NS
WIRE: dict[str, Any] = {
    "type_raw": 1,
    "transaction": 1,
    "protocol": 17,
    "remote_port": 53,
    "local_address": "127.0.0.1",
    "local_port": 40_000,
    "cookie": 1,
}


def asks(who: tuple[int, int], name: str, time_ns: int = NOW_NS, whom: str | None = None) -> DnsQuery:
    """Return a question: of the client to the resolver, of others to whom that asks."""
    whom = whom or ("127.0.0.1" if who == CLIENT else "192.0.2.53")
    return DnsQuery(**header(*who, time_ns=time_ns), **WIRE, name=name, remote_address=whom)


def hears(who: tuple[int, int], name: str) -> DnsAnswer:
    return DnsAnswer(**header(*who, time_ns=NOW_NS), **WIRE, name=name, rcode=0, remote_address="192.0.2.53")


def binds(who: tuple[int, int], port: int = 53) -> NetBind:
    return NetBind(**header(*who), protocol=17, local_address="127.0.0.1", local_port=port, cookie=2)


@pytest.fixture
def questions(counters: Counters) -> Questions:
    """Return what is known once one process took port 53."""
    known = Questions(counters=counters, limit=2)
    known.bound(binds(RESOLVER))
    return known


def test_a_resolver_repeats_what_it_was_asked(questions: Questions) -> None:
    """It is the second to ask, also for a parent of the name; and hears the answer."""
    assert questions.asker(asks(CLIENT, "a.example.org")) is None
    assert key(*CLIENT) == questions.asker(asks(RESOLVER, "a.example.org"))
    assert key(*CLIENT) == questions.asker(asks(RESOLVER, "example.org"))
    assert key(*CLIENT) == questions.asker(hears(RESOLVER, "a.example.org"))
    assert questions.asker(hears(CLIENT, "a.example.org")) is None


def test_who_is_no_resolver_repeats_nothing(questions: Questions) -> None:
    """Two processes that ask for the same name are two that are told; so is who binds another port."""
    questions.bound(binds(OTHER, 5353))
    questions.asker(asks(CLIENT, "a.example.org"))

    assert questions.asker(asks(OTHER, "a.example.org")) is None


@pytest.mark.parametrize(
    ("first", "name"),
    [
        pytest.param(asks(CLIENT, "b.example.org"), "a.example.org", id="another name"),
        pytest.param(asks(CLIENT, "nota.example.org"), "a.example.org", id="a name that ends the same"),
        pytest.param(asks(CLIENT, "example.org"), "a.example.org", id="a parent"),
        pytest.param(asks(CLIENT, "a.example.org", whom="192.0.2.53"), "a.example.org", id="asked the same one"),
        pytest.param(asks(RESOLVER, "a.example.org"), "a.example.org", id="its own question"),
        pytest.param(asks(CLIENT, "a.example.org", NOW_NS - ASKED_NS - 1), "a.example.org", id="long ago"),
        pytest.param(hears(CLIENT, "a.example.org"), "a.example.org", id="an answer that nobody asked for"),
    ],
)
def test_what_a_resolver_asks_of_itself(questions: Questions, first: DnsQuery | DnsAnswer, name: str) -> None:
    """Where nobody asked for the name lately, the resolver is the one to be told."""
    questions.asker(first)

    assert questions.asker(asks(RESOLVER, name)) is None


def test_just_in_time(questions: Questions) -> None:
    """The tenth second is within."""
    questions.asker(asks(CLIENT, "a.example.org", NOW_NS - ASKED_NS))

    assert key(*CLIENT) == questions.asker(asks(RESOLVER, "a.example.org"))


def test_only_the_newest_questions_are_kept(questions: Questions) -> None:
    """Whoever asks for much makes others forgotten, and nothing grow."""
    questions.asker(asks(CLIENT, "a.example.org"))
    for number in range(QUESTIONS):
        questions.asker(asks(CLIENT, f"{number}.example.com"))

    assert questions.asker(asks(RESOLVER, "a.example.org")) is None


def test_a_resolver_that_goes_on_in_a_child(questions: Questions) -> None:
    """A daemon forks once it has its port; who executes another program is none any more."""
    questions.asker(asks(CLIENT, "a.example.org"))
    questions.forked(forked(RESOLVER, OTHER))
    questions.forked(forked(CLIENT, (8, 1)))

    assert key(*CLIENT) == questions.asker(asks(OTHER, "a.example.org"))
    assert questions.asker(asks((8, 1), "a.example.org")) is None
    questions.executed(key(*OTHER))
    assert questions.asker(asks(OTHER, "a.example.org")) is None


def test_the_oldest_resolver_is_forgotten(questions: Questions, counters: Counters) -> None:
    """The table is bounded, and says what it lost; taking the port again keeps a resolver."""
    questions.bound(binds(CLIENT))
    questions.bound(binds(RESOLVER))
    questions.bound(binds(OTHER))
    questions.asker(asks((9, 1), "a.example.org"))

    assert 2 == questions.size()
    assert 1 == counters.get("enrich.evicted_resolvers")
    assert questions.asker(asks(CLIENT, "a.example.org")) is None
    assert questions.asker(asks(RESOLVER, "a.example.org")) is not None
