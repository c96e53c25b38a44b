from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.counters import Counters
from agent.deliver import inbox as module
from agent.deliver.inbox import Inbox
from agent.deliver.inbox import Wanted
from agent.deliver.pace import LEAST_BYTES_PER_S
from agent.deliver.pace import Pace
from vedette.v1 import policy_pb2

LIST = b"a.example\nb.example\n"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def parts(content: bytes, step: int = 7, name: str | None = None) -> Iterator[policy_pb2.ListPart]:
    for offset in range(0, len(content) or 1, step):
        data = content[offset : offset + step]
        yield policy_pb2.ListPart(sha256=name or digest(content), offset=offset, size=len(content), data=data)


def policy(document: bytes) -> policy_pb2.Policy:
    return policy_pb2.Policy(version=digest(document), document=document)


def bring(inbox: Inbox, content: bytes, name: str | None = None) -> None:
    for part in parts(content, name=name):
        inbox.part(part)


def test_a_policy_and_its_lists_are_there_after_a_restart(tmp_path: Path) -> None:
    """What was in force is in force again while the collector is away; only root reads it."""
    inbox = Inbox(tmp_path, managed=True, counters=Counters())
    bring(inbox, LIST)
    bring(inbox, b"")
    inbox.policy(policy(b"{}"))
    wanted = inbox.take()
    assert wanted is not None
    assert inbox.take() is None
    inbox.accept(wanted, {digest(LIST)})
    assert {"mode": "managed", "version": digest(b"{}")} == inbox.standing()

    again = Inbox(tmp_path, managed=True, counters=Counters())

    assert wanted == again.kept()
    assert [digest(LIST)] == again.held()
    path = again.path_of(digest(LIST))
    assert path is not None
    assert LIST == path.read_bytes()
    assert 0 == path.stat().st_mode & 0o077
    assert again.path_of("../policy.json") is None


def test_a_manual_agent_takes_nothing_and_says_so(tmp_path: Path) -> None:
    """Whatever a collector sends, an operator's file is what counts, and nothing is written."""
    counters = Counters()
    inbox = Inbox(tmp_path, managed=False, counters=counters)
    bring(inbox, LIST)
    inbox.policy(policy(b"{}"))

    assert (None, None, []) == (inbox.take(), inbox.kept(), inbox.held())
    assert {"mode": "manual", "version": None} == inbox.standing()
    assert 4 == counters.get("policy.ignored")
    assert [] == list(tmp_path.iterdir())


WHOLE = list(parts(LIST))
NAME = digest(LIST)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(WHOLE[:1] + WHOLE[2:], id="a piece is missing"),
        pytest.param(WHOLE[::-1], id="out of order"),
        pytest.param(WHOLE[1:], id="no beginning"),
        pytest.param([*WHOLE[:-1], policy_pb2.ListPart(sha256=NAME, offset=14, size=20, data=b"xxxxxx")], id="another"),
        pytest.param([*WHOLE[:-1], policy_pb2.ListPart(sha256=NAME, offset=14, size=20, data=b"x" * 99)], id="more"),
        pytest.param([policy_pb2.ListPart(sha256="../../etc/passwd", size=1, data=b"x")], id="a path"),
        pytest.param([policy_pb2.ListPart(sha256=NAME, size=2**40, data=b"x")], id="too large"),
    ],
)
def test_a_list_that_did_not_come_whole_is_none(tmp_path: Path, bad: list[policy_pb2.ListPart]) -> None:
    """Nothing that has another SHA-256 than its name is ever read, and the next attempt starts anew."""
    counters = Counters()
    inbox = Inbox(tmp_path, managed=True, counters=counters)
    for part in bad:
        inbox.part(part)

    assert [] == inbox.held()
    bring(inbox, LIST)
    assert [digest(LIST)] == inbox.held()
    assert counters.get("policy.bad_parts") > 0


def test_lists_cannot_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that went mad gets so much room and no more; the next policy makes room again."""
    monkeypatch.setattr(module, "TOTAL_BYTES", 30)
    inbox = Inbox(tmp_path, managed=True, counters=Counters())
    contents = [bytes([65 + number]) * 20 for number in range(5)]
    for content in contents:
        bring(inbox, content)
    assert sorted(map(digest, contents[:3])) == inbox.held()

    inbox.accept(Wanted("v", b"{}"), {digest(contents[0])})

    bring(inbox, contents[4])
    assert sorted([digest(contents[0]), digest(contents[4])]) == inbox.held()


def test_what_was_refused_is_said(tmp_path: Path) -> None:
    """A bad policy leaves the one before; why is told, bounded; the next good one ends that."""
    counters = Counters()
    inbox = Inbox(tmp_path, managed=True, counters=counters)
    inbox.policy(policy_pb2.Policy(version="0" * 64, document=b"{}"))
    inbox.policy(policy(b"x" * 60_000))
    inbox.refuse("7", "w" * 1000)

    said = inbox.standing()
    assert ("7", "w" * 300, None) == (said["refused_version"], said["refused"], said["version"])
    assert (inbox.take(), 3) == (None, counters.get("policy.refused"))
    inbox.accept(Wanted("8", b"{}"), set())
    assert {"mode": "managed", "version": "8"} == inbox.standing()


def test_a_disk_that_refuses_costs_no_policy(tmp_path: Path) -> None:
    """In force and not kept: it is counted, and said in the log."""
    (tmp_path / "policy").write_text("a file where a directory should be")
    counters = Counters()
    inbox = Inbox(tmp_path, managed=True, counters=counters)
    bring(inbox, LIST)
    inbox.accept(Wanted("8", b"{}"), set())

    assert "8" == inbox.standing()["version"]
    assert counters.get("policy.write_failed") > 1


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 300_000)), min_size=1, max_size=30), st.integers(1, 10**6))
def test_a_backlog_keeps_its_pace(steps: list[tuple[float, int]], bytes_per_s: int) -> None:
    """Over any time no more leaves than the pace allows and the message that was under way."""
    pace, now_s, total, last = Pace(), 0.0, 0, 0
    pace.set(bytes_per_s)
    for idle_s, size in steps:
        now_s += idle_s
        now_s += pace.wait_s(now_s)
        assert total <= max(bytes_per_s, LEAST_BYTES_PER_S) * now_s * 1.001 + last
        pace.sent(size, now_s)
        total, last = total + size, max(last, size)
    pace.set(0)

    assert 0 == pace.wait_s(now_s)
