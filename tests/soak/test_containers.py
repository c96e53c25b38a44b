"""Five hundred containers that come and go as fast as this machine makes them: none is anonymous, nothing grows."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests import runtimes
from tests.containers import needs_runc
from tests.system.running import wait_for
from tests.system.test_outages import Post
from tests.system.test_outages import posted

CONTAINERS = 500
AT_ONCE = 4
GROWN_BYTES = 16 << 20  # 500 containers of 2 KB with their processes are 2 MB; the rest is the allocator's
IMAGE = "soak.example/one:1"

pytestmark = [pytest.mark.timeout(900), needs_runc]


class Crowd(NamedTuple):
    """What became of them."""

    names: list[str]
    took_s: float
    cpu_s: float
    """Of the agent, children aside."""
    grown_bytes: int
    post: Post


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    """All of them, with an agent that watches."""
    with contextlib.ExitStack() as closing:
        runc = runtimes.Runc(tmp_path_factory.mktemp("runc"))
        closing.enter_context(runtimes.started(runc))
        post = closing.enter_context(posted(tmp_path_factory.mktemp("post"), sensor=_settings(runc.root)))
        bundle = runc.bundle("exec /bin/true", {"org.opencontainers.image.ref.name": IMAGE})
        names = [f"soak-{secrets.token_hex(6)}" for _ in range(CONTAINERS)]
        agent = psutil.Process(post.agent.pid)
        before, resident = agent.cpu_times(), agent.memory_info().rss
        began_s = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda name: runc.run_bundle(name, bundle), names))
        took_s = time.monotonic() - began_s
        wait_for(lambda: len(told(post)) >= CONTAINERS, post.agent.lines[-3:])
        after = agent.cpu_times()
        cpu_s = after.user + after.system - before.user - before.system
        yield Crowd(names, took_s, cpu_s, agent.memory_info().rss - resident, post)


def _settings(root: Path) -> str:
    return f'\n[containers]\nrunc_roots = ["{root}"]\ncri_sockets = []\ndocker_sockets = []\npodman_sockets = []\n'


def told(post: Post) -> dict[str, tuple[str | None, str | None]]:
    """Return name and image of every container that was told of, by id."""
    said = (event["container"] for event in post.events("container"))
    return {one["id"]: (one.get("name"), one.get("image")) for one in said}


def test_every_program_is_attributed(crowd: Crowd) -> None:
    """Each of the 1,000 starts of a program names its container, and each container has its name and image."""
    events = crowd.post.events("process_exec")
    where = [event["actor"].get("container_id") for event in events if event["process_exec"]["path"] == "/bin/busybox"]
    known = told(crowd.post)

    assert dict.fromkeys(crowd.names, 2) == {name: where.count(name) for name in crowd.names}
    assert {} == {name: known.get(name) for name in crowd.names if known.get(name) != (name, IMAGE)}


def test_what_is_remembered_is_bounded(crowd: Crowd) -> None:
    """The memory does not grow by more than a container takes, and the tables say how much they hold."""
    counters = crowd.post.standing()["counters"]
    print(  # noqa: T201  what was measured, shown by -s
        f"{CONTAINERS} containers in {crowd.took_s:.0f} s; agent {crowd.cpu_s:.1f} s of CPU, "
        f"{1_000 * crowd.cpu_s / CONTAINERS:.1f} ms each; grown {crowd.grown_bytes >> 10} KiB",
        {name: count for name, count in counters.items() if name.startswith("containers.")},
    )

    assert crowd.grown_bytes < GROWN_BYTES
    assert counters.get("enrich.evicted_containers", 0) == 0
    assert counters["enrich.held_containers"] <= CONTAINERS + 50
