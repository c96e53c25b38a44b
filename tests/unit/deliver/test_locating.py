"""A service in DNS: asked of a real server on loopback, and dialled in its order."""

from __future__ import annotations

import socketserver
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import dns.exception
import dns.flags
import dns.message
import dns.resolver
import dns.rrset
import pytest

from agent.deliver import locating
from agent.deliver import srv
from agent.deliver.locating import Places
from agent.deliver.locating import Unlocated
from agent.deliver.target import Target
from agent.errors import ConfigError

NAME = "_vedette._tcp.example."
ZONE = {
    NAME: ["10 5 4250 b.example.", "0 1 4250 a.example."],
    "_none._tcp.example.": ["0 0 0 ."],
    "_many._tcp.example.": [f"0 1 {port} h.example." for port in range(1, 60)],
}


class _Server(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text()
        answer = dns.message.make_response(query)
        if name not in ZONE:
            answer.set_rcode(3)
        else:
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "SRV", *ZONE[name]))
        sock.sendto(answer.to_wire(max_size=65_000), self.client_address)


@pytest.fixture(scope="module")
def resolver() -> Iterator[dns.resolver.Resolver]:
    with socketserver.UDPServer(("127.0.0.1", 0), _Server) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        made = dns.resolver.Resolver(configure=False)
        made.nameservers, made.port = ["127.0.0.1"], server.server_address[1]
        yield made
        server.shutdown()
        thread.join()


def test_what_the_child_tells(resolver: dns.resolver.Resolver) -> None:
    """Hosts with their ports, as many as anybody has; none where the zone says that there is none."""
    assert {(10, 5, "b.example", 4250), (0, 1, "a.example", 4250)} == set(srv.services(NAME, resolver))
    assert [] == srv.services("_none._tcp.example.", resolver)
    assert srv.HOSTS_MAX == len(srv.services("_many._tcp.example.", resolver))
    with pytest.raises(dns.exception.DNSException, match="does not exist"):
        srv.services("_other._tcp.example.", resolver)


def test_the_order_is_by_priority_then_chance_by_weight() -> None:
    """Nine of ten go to the heavier first; one without weight is last, and a later priority after all."""
    services = [(1, 9, "later", 1), (0, 1, "light", 1), (0, 9, "heavy", 1), (0, 0, "none", 1)]
    chance = Random(7).random
    orders = Counter(tuple(one[2] for one in locating.ordered(services, chance)) for _ in range(2000))
    assert {("heavy", "light", "none", "later"), ("light", "heavy", "none", "later")} == set(orders)
    assert 0.85 < orders["heavy", "light", "none", "later"] / 2000 < 0.95


def answering(text: str, status: int = 0) -> Places:
    """Return places whose child says so."""
    return Places("_x._tcp.example", (sys.executable, "-c", f"import sys; print({text!r}); sys.exit({status!r})"))


def test_each_dial_takes_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """And after the last DNS is asked again."""
    places = answering('[[0, 1, "a", 1], [1, 1, "b", 2]]')
    assert ["a:1", "b:2", "a:1"] == [places.next() for _ in range(3)]
    with pytest.raises(Unlocated, match="names no host"):
        answering("[]").next()
    with pytest.raises(Unlocated, match="cannot be looked up"):
        answering("", 1).next()
    with pytest.raises(Unlocated, match="cannot be looked up"):
        Places("_x._tcp.invalid", ("/nonexistent",)).next()


def test_a_service_is_never_plain_text() -> None:
    """It needs the files, and is a name of a service."""
    with pytest.raises(ConfigError, match="mutual TLS"):
        Target.parse("srv:_vedette._tcp.example")
    for wrong in ("srv:", "srv:example", "srv:_a b", "srv:_" + "x" * 260):
        with pytest.raises(ConfigError, match="expected srv:"):
            Target.uri_of(wrong)


def test_nothing_is_imported_from_where_it_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that root starts in somebody's directory runs none of what lies there."""
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent/__init__.py").write_text("open('ran', 'w')")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(Unlocated, match="cannot be looked up"):
        Places("no..name").next()
    assert not (tmp_path / "ran").exists()
