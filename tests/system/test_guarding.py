"""A whole agent under the hands of somebody with root: what was done to it is in its health, at the collector and here.

Numbers are shortened by `self_check_interval_s`; nothing else is other than on a host.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import findings
from agent import health
from tests import tampering
from tests.kernel import deeds
from tests.system.running import wait_for
from tests.system.test_outages import Post
from tests.system.test_outages import posted

CONNECT4 = 10  # BPF_CGROUP_INET4_CONNECT, include/uapi/linux/bpf.h
CONNECT = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 9))"
NO_CGROUP2 = ("unshare", "--mount", "sh", "-c", 'umount --lazy --all --types cgroup2 && exec "$@"', "sh")
CHECKING = "self_check_interval_s = 1\n"


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a name so short that a unix socket fits in."""
    return tmp_path_factory.mktemp("guard")


@pytest.fixture
def post(folder: Path) -> Iterator[Post]:
    """A collector and an agent that looks after itself every second."""
    with posted(folder, sensor=CHECKING) as both:
        yield both


def probe_at_collector(post: Post, name: str) -> dict[str, Any]:
    """Return what the collector knows of one probe."""
    found: dict[str, Any] = next(probe for probe in post.standing()["probes"] if probe["name"] == name)
    return found


def probe_here(post: Post, name: str) -> dict[str, Any]:
    """Return what the agent says of one probe in its file."""
    said = health.read(post.folder / "health.json")
    assert said is not None
    [status] = [one for one in said.probes if one.name == name]
    return {
        "name": name,
        "attached": status.attached,
        "lane": status.lane,
        "reason": status.reason,
        "blind_findings": list(status.blind_findings),
    }


def detach_connects(post: Post) -> None:
    """Detach the hook of IPv4 connects by its number."""
    [number] = [number for number, kind in tampering.links_to_cgroups(post.agent.pid).items() if kind == CONNECT4]
    tampering.detach(number)


def test_a_detached_hook_is_attached_again_and_told(post: Post) -> None:
    """Somebody who detaches a hook gains a second; that it was done stays to be read, and connects are seen again."""
    detach_connects(post)

    wait_for(lambda: probe_at_collector(post, "net_connect").get("reason"), post.agent.lines)
    probe = probe_at_collector(post, "net_connect")
    pid = deeds.python(CONNECT)
    wait_for(lambda: pid in [event["actor"]["tgid"] for event in post.events("net_connect")], post.agent.lines)
    wait_for(lambda: probe_here(post, "net_connect") == probe)

    assert probe["attached"]
    assert "cgroup_sock_addr connect4 was detached by somebody; mended, blind for up to 1 s" == probe["reason"]
    counters = post.standing()["counters"]
    assert (1, 1) == (counters["guard.harmed"], counters["guard.mended"])
    assert 1 == post.agent.said.count("probe net_connect: cgroup_sock_addr connect4 was detached by somebody")


def test_a_hook_that_cannot_be_attached_again_makes_findings_blind(folder: Path) -> None:
    """Where cgroup2 is mounted nowhere the hook stays away: health names the probe, and each finding that is blind."""
    with posted(folder, sensor=CHECKING, before=NO_CGROUP2) as post:
        detach_connects(post)

        wait_for(lambda: not probe_at_collector(post, "net_connect")["attached"], post.agent.lines)
        probe = probe_at_collector(post, "net_connect")
        wait_for(lambda: probe_here(post, "net_connect") == probe)

    assert "cgroup_sock_addr connect4 was detached: start the agent anew" == probe["reason"]
    assert list(findings.blind(findings.load(), ["net_connect"])) == probe["blind_findings"] != []


def test_canaries_that_stay_away_are_told(post: Post) -> None:
    """When a ring brings nothing any more, two canaries without an answer mark the agent as blind, whoever did it."""
    wait_for(lambda: post.standing()["counters"].get("canary.seen", 0) > 1, post.agent.lines)
    ring = tampering.map_of(post.agent.pid, "lifecycle")
    tampering.stop_reading(ring)
    os.close(ring)

    wait_for(lambda: not probe_at_collector(post, "canary")["attached"], post.agent.lines)
    probe = probe_at_collector(post, "canary")
    wait_for(lambda: not probe_here(post, "canary")["attached"])

    assert "no canary came back by the lifecycle ring for " in probe["reason"]
    assert "no canary came back by the lifecycle ring for 2 s" in post.agent.said
    assert post.standing()["counters"]["sensor.canary.failed"] > 0
