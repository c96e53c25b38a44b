from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy import insert

from collector import policy
from collector import schema
from collector.errors import StateError
from collector.policy import Change
from collector.policy import NewList
from collector.policy import PolicyError
from tests.unit.collector.test_store import opened

BY = Change("alice", 7)
POOLS = NewList(name="pools", category="cryptocurrency", content=b"pool.example\n")


@pytest.fixture
def sql(tmp_path: Path) -> Iterator[Connection]:
    store = opened(tmp_path)
    with store.database.transaction() as sql:
        yield sql
    store.close()


def test_what_is_said_of_one_host_goes_before_what_is_said_of_all(sql: Connection) -> None:
    """All, then labels by name, then the host: key by key, type by type; lists add up and say what they hold."""
    pools = policy.put_list(sql, POOLS, BY)
    policy.put_list(sql, NewList(name="ours", category="trusted", content=b"10.0.0.0/8\n"), BY)
    policy.put(sql, "all", {"sensitivity": "low", "types": {"A": "off", "B": "low"}, "lists": ["pools"]}, BY)
    policy.put(sql, "label:env=prod", {"sensitivity": "high", "types": {"A": "high"}, "lists": ["ours"]}, BY)
    policy.put(sql, "host:h1", {"disabled_kinds": ["mount"], "pace_bytes_per_s": 20_000}, BY)

    found = policy.of(sql, "h1", {"env": "prod", "zone": "a"})

    assert found is not None
    told = json.loads(found.document)
    assert ("high", {"A": "high", "B": "low"}, ["mount"]) == (
        told["sensitivity"],
        told["types"],
        told["disabled_kinds"],
    )
    assert ["ours", "pools"] == [one["name"] for one in told["lists"]]
    assert (pools, 20_000) == (found.lists[1], found.pace_bytes_per_s)
    assert b"pool.example\n" == policy.content(sql, pools.sha256)
    others = policy.of(sql, "h2", {"env": "test"})
    assert others is not None
    assert "low" == json.loads(others.document)["sensitivity"]


def test_a_version_is_what_the_policy_says(sql: Connection) -> None:
    """The same words are the same version; another list content is another, and the stamp moves with each change."""
    assert policy.of(sql, "h", {}) is None
    policy.put_list(sql, POOLS, BY)
    policy.put(sql, "all", {"lists": ["pools"]}, BY)
    first, stamp = policy.of(sql, "h", {}), policy.stamp(sql)
    policy.put(sql, "all", b'{"lists": ["pools"]}', Change("bob", 8))
    again = policy.of(sql, "h", {})
    policy.put_list(sql, NewList(name="pools", category="cryptocurrency", content=b"x.example\n"), Change("bob", 9))
    other = policy.of(sql, "h", {})

    assert first is not None
    assert again is not None
    assert other is not None
    assert first.version == again.version != other.version
    assert stamp != policy.stamp(sql)
    assert policy.remove(sql, "all")
    assert not policy.remove(sql, "all")
    assert policy.of(sql, "h", {}) is None


@pytest.mark.parametrize(
    ("selector", "document", "complaint"),
    [
        ("everybody", {}, "a policy is for `all`"),
        ("label:x", {}, "a policy is for `all`"),
        ("all", {"sensitivty": "low"}, "unknown field `sensitivty`"),
        ("all", {"sensitivity": "loud"}, "Invalid enum value 'loud'"),
        ("all", {"lists": ["nowhere"]}, "there is no list nowhere: bring it first"),
        ("all", {"pace_bytes_per_s": 1}, "pace_bytes_per_s"),
        ("all", b"{" * 10_000, "no policy: "),
        ("all", b" " * 30_000, "30,000 bytes"),
    ],
)
def test_a_bad_policy_is_refused_whole(
    sql: Connection, selector: str, document: dict[str, object] | bytes, complaint: str
) -> None:
    """The one before stays, and the error says what is wrong."""
    policy.put(sql, "all", {"sensitivity": "high"}, BY)

    with pytest.raises(PolicyError, match=complaint):
        policy.put(sql, selector, document, BY)

    assert [{"selector": "all", "document": {"sensitivity": "high"}, "changedAtNs": 7, "changedBy": "alice"}] == (
        policy.policies(sql)
    )


def test_lists_are_bounded(sql: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that no agent could hold is refused; of too many together the first go, and the policy still holds."""
    monkeypatch.setattr(policy, "LIST_BYTES", 10)
    monkeypatch.setattr(policy, "TOTAL_BYTES", 15)
    with pytest.raises(PolicyError, match="list big: 11 bytes; 10 are the most"):
        policy.put_list(sql, NewList(name="big", category="c2", content=b"x" * 11), BY)
    for name in ("a", "b"):
        policy.put_list(sql, NewList(name=name, category="c2", content=name.encode() * 10), BY)
    policy.put(sql, "all", {"lists": ["a", "b"]}, BY)

    found = policy.of(sql, "h", {})

    assert found is not None
    assert ["a"] == [one.name for one in found.lists]
    assert policy.remove_list(sql, "a")
    assert ["b"] == [one.name for one in policy.lists(sql)]


def test_a_policy_that_could_not_be_read_again_is_not_kept(sql: Connection) -> None:
    """However it came, as bytes or already parsed: else no agent that it is for could be told anything."""
    types = {f"{number:03}" + "ü" * 90: "balanced" for number in range(200)}

    with pytest.raises(PolicyError, match="are the most"):
        policy.put(sql, "all", {"types": types}, BY)

    assert policy.of(sql, "h", {}) is None


def test_a_policy_of_a_newer_collector_is_a_state_that_cannot_be_read(sql: Connection) -> None:
    """So that no stream ends over it, and an asker is told."""
    values = {"selector": "all", "document": '{"newer": 1}', "changed_at_ns": 1, "changed_by": "x"}
    sql.execute(insert(schema.policies).values(values))

    with pytest.raises(StateError, match="not understood"):
        policy.of(sql, "h", {})


def test_a_change_by_a_clock_that_is_behind_moves_the_stamp(sql: Connection) -> None:
    """Collectors on one database have clocks of their own."""
    policy.put(sql, "host:a", {"sensitivity": "low"}, Change("alice", 50))
    policy.put(sql, "host:b", {"sensitivity": "low"}, Change("alice", 100))
    before = policy.stamp(sql)

    policy.put(sql, "host:a", {"sensitivity": "high"}, Change("alice", 60))

    assert before != policy.stamp(sql)
