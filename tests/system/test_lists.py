"""Threat lists of the operator's, at an agent that runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import query
from collector.query import Filters
from tests.kernel.networks import ASKING
from tests.kernel.networks import alone
from tests.system import deeds
from tests.system.running import wait_for
from tests.system.test_outages import Post
from tests.system.test_outages import posted

C2_DNS = "Backdoor:Runtime/C&CActivity.B!DNS"
DGA = "Trojan:Runtime/DGADomainRequest.C!DNS"
READ, NOT_READ = "threat lists: ", "threat list not read: "
SETTINGS = """
[findings]
sensitivity = "high"
[[intel.lists]]
path = "{folder}/c2.txt"
category = "c2"
name = "our own"
[[intel.lists]]
path = "{folder}/feed.json"
category = "c2"
format = "stix2"
[[intel.lists]]
path = "{folder}/trusted.txt"
category = "trusted"
"""
DRAWN, TRUSTED = "www.xkvqjzwpxqhvbgft.com", "www.qzxkvjwpqhgtbvfx.com"


def indicator(name: str, **more: str) -> dict[str, str]:
    return {"type": "indicator", "id": name, "pattern": f"[domain-name:value = '{name}']", **more}


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the lists are; its name is short, as that of a socket has to be."""
    folder = tmp_path_factory.mktemp("post")
    (folder / "c2.txt").write_text("one.example\n")
    (folder / "trusted.txt").write_text(f"{TRUSTED.removeprefix('www.')}\n")
    over = indicator("over.example", valid_until="2026-01-01T00:00:00Z")
    feed = {"type": "bundle", "objects": [over, indicator("valid.example", valid_until="2999-01-01T00:00:00Z")]}
    (folder / "feed.json").write_text(json.dumps(feed))
    return folder


@pytest.fixture
def post(folder: Path) -> Iterator[Post]:
    """An agent with lists, and its collector."""
    with posted(folder, sensor=SETTINGS.format(folder=folder)) as both:
        yield both


def asked(name: str) -> int:
    """Ask for a name; return the pid that did."""
    return alone(ASKING + deeds.OVER_UDP, name).pid


def lists_of(post: Post, type_: str, pid: int) -> list[str]:
    """Return the names of the lists that are the evidence of a finding, once it is there."""

    def look() -> list[dict[str, object]]:
        documents = [one for one in query.findings(post.kept, Filters()) if one["type"] == type_]
        return [one for one in documents if one["service"]["runtimeDetails"]["process"]["pid"] == pid]

    wait_for(look, post.agent.lines)
    details = look()[0]["service"].get("evidence", {}).get("threatIntelligenceDetails", [])
    return [one["threatListName"] for one in details]


def said_of(post: Post, pid: int) -> list[str]:
    """Return the types of what was said of a process."""
    documents = query.findings(post.kept, Filters())
    return [one["type"] for one in documents if one["service"]["runtimeDetails"]["process"]["pid"] == pid]


def test_lists_are_changed_while_the_agent_runs(post: Post, folder: Path) -> None:
    """What is added is found; a bad edit keeps what was said and is told; what is over or trusted is quiet."""
    wait_for(lambda: READ in post.agent.said, post.agent.lines)
    quiet = [asked("over.example"), asked(TRUSTED), asked("two.example")]
    assert ["our own"] == lists_of(post, C2_DNS, asked("www.one.example"))
    assert [str(folder / "feed.json")] == lists_of(post, C2_DNS, asked("valid.example"))
    assert [] == lists_of(post, DGA, asked(DRAWN))

    with (folder / "c2.txt").open("a") as file:
        file.write("two.example\n")
    wait_for(lambda: 2 == post.agent.said.count(READ), post.agent.lines)
    assert ["our own"] == lists_of(post, C2_DNS, asked("two.example"))

    with (folder / "c2.txt").open("a") as file:
        file.write("three.example\nno entry\n")
    wait_for(lambda: NOT_READ in post.agent.said, post.agent.lines)
    quiet.append(asked("three.example"))
    assert ["our own"] == lists_of(post, C2_DNS, asked("two.example"))
    assert f"{folder}/c2.txt:4: 'no entry' is no domain" in post.agent.said
    assert [[]] * len(quiet) == [said_of(post, pid) for pid in quiet]
