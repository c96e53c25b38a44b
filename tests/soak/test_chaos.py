"""Ten agents, three collectors and a PostgreSQL, of which something is always broken."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.chaos import Site
from tests.chaos import site
from tests.postgres import postgres

HOSTS, EVENTS, FINDINGS = 10, 20_000, 50
"""200,000 events and 500 findings in all."""
WAIT_S = 600.0
PAUSE_S = 1.5
SMALL = 2  # the collector that has a disk of its own
SMALL_DISK = "200m"


def collector_killed(chaos: Site, dice: random.Random) -> None:
    one = dice.choice(chaos.collectors)
    if one.running():
        one.kill()
        time.sleep(dice.random())
        one.start()


def agent_killed(chaos: Site, dice: random.Random) -> None:
    chaos.kill_agent(dice.choice(sorted(chaos.agents)))


def connections_left_hanging(chaos: Site, _: random.Random) -> None:
    chaos.balancer.move_all()


def database_crashed(chaos: Site, dice: random.Random) -> None:
    chaos.database.stop()
    time.sleep(dice.random())
    chaos.database.start()


def disk_full(chaos: Site, dice: random.Random) -> None:
    """Fill the disk of the collector that has a small one, and empty it again."""
    filler = chaos.collectors[SMALL].state_dir / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))
    time.sleep(1 + dice.random())
    filler.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give one collector a disk of its own: in memory, so that it can be filled."""
    folder = tmp_path / f"collector-{SMALL}" / "state"
    folder.mkdir(parents=True, mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=0700", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


TROUBLES = (collector_killed, collector_killed, agent_killed, connections_left_hanging, database_crashed, disk_full)


@pytest.mark.timeout(1200)
def test_everything_is_kept_once_whatever_breaks(tmp_path: Path, small_disk: Path) -> None:
    """Every event is in the files once, and every finding counted right, when the dust has settled."""
    dice = random.Random(6)
    with postgres() as database, site(tmp_path, database) as chaos:
        chaos.send(HOSTS, EVENTS, FINDINGS)
        chaos.wait_begun(WAIT_S)
        while any(agent.poll() is None for agent in chaos.agents.values()) and dice.random() > 0.02:
            dice.choice(TROUBLES)(chaos, dice)
            time.sleep(PAUSE_S)
        chaos.finish(WAIT_S)
        chaos.check()
