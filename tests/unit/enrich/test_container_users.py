"""Users of a container by its own passwd, which may be anything."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from agent.enrich import container_users
from agent.enrich.container_users import KEEP_S
from agent.enrich.container_users import ContainerUsers
from agent.enrich.container_users import names_of
from agent.enrich.procfs import ProcFs
from agent.model import Container
from agent.model import Finding
from agent.model import Process
from agent.model import ProcessKey
from tests.unit.deliver.test_wire import finding as any_finding
from tests.unit.deliver.test_wire import process

CONTAINER = Container(id="c" * 64, runtime="docker", started_at_ns=1)


def finding(uid: int = 0, container: Container | None = CONTAINER) -> Finding:
    """Return a finding of this very process, whose root is then the container's."""
    stat = ProcFs().stat(os.getpid())
    assert stat is not None
    me = process(key=ProcessKey(os.getpid(), stat.started_ticks), uid=uid, mnt_ns=ProcFs().namespace("self", "mnt"))
    return any_finding(process=me, lineage=(process(uid=uid, mnt_ns=8),), container=container)


def nobody(_: Process) -> tuple[int, ...]:
    return ()


def test_who_is_gone_is_named_by_a_neighbour() -> None:
    """A program of a few milliseconds has its user's name while its container lives."""
    about = finding()
    gone = msgspec.structs.replace(about.process, key=ProcessKey(2**22 + 1, 1))
    about = msgspec.structs.replace(about, process=gone)

    assert ContainerUsers(nobody).complete(about)[0].process.user is None
    assert "root" == ContainerUsers(lambda _: (os.getpid(),)).complete(about)[0].process.user


def test_a_containers_user_has_the_name_of_its_own_file() -> None:
    """Of the process, and of ancestors in the same container; never of those outside."""
    whole, done = ContainerUsers(nobody).complete(finding())

    assert ("root", None, True) == (whole.process.user, whole.lineage[0].user, done)


def test_the_host_is_left_to_its_own_database() -> None:
    """A process that is in no container is not touched."""
    about = finding(container=None)

    assert (about, True) == ContainerUsers(nobody).complete(about)


def test_the_file_is_read_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of findings does not become a flood of reads."""
    now_s, reads = [0.0], []
    users = ContainerUsers(nobody, clock=lambda: now_s[0])
    monkeypatch.setattr(users, "_passwd", lambda tgid, _: reads.append(tgid) or b"web:x:33:33::/:/bin/sh\n")
    for _ in range(3):
        assert "web" == users.complete(finding(33))[0].process.user
    now_s[0] = KEEP_S
    users.complete(finding(33))

    assert 2 == len(reads)


def test_a_container_that_is_gone_keeps_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read again is not forgotten, and what never could be has numbers only."""
    now_s = [0.0]
    users = ContainerUsers(nobody, clock=lambda: now_s[0])
    monkeypatch.setattr(users, "_passwd", lambda *_: b"web:x:33:33::/:/bin/sh\n")
    users.complete(finding(33))
    monkeypatch.setattr(users, "_passwd", lambda *_: None)
    now_s[0] = 10 * KEEP_S

    assert "web" == users.complete(finding(33))[0].process.user
    assert ContainerUsers(nobody).complete(finding(4_000_000))[0].process.user is None


def test_what_is_no_passwd_names_nobody() -> None:
    """Numbers that are none, names without an end, bytes that are no text, and the first of two lines counts."""
    raw = b"a:x:1:\nb:x:1:\nc:x:-1:\n:x:2:\nd:x:99999999999:\ne\n\xff\xfe:x:3:\n" + b"n" * 10_000 + b":x:4:\n"

    assert {1: "a", 3: "\\xff\\xfe", 4: "n" * 64} == names_of(raw)


def test_a_huge_file_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither users of a container nor containers grow without end."""
    assert container_users.USERS == len(names_of(b"".join(b"u%d:x:%d:\n" % (n, n) for n in range(5_000))))

    monkeypatch.setattr(container_users, "KEPT", 2)
    users = ContainerUsers(nobody)
    for number in range(5):
        users.complete(finding(container=Container(id=f"{number}", runtime=None, started_at_ns=None)))
    assert users.size() <= 2
