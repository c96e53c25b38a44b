"""Several collectors that share a PostgreSQL, agents that move between them, and the account of what arrived."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from collector import query
from collector.query import Filters
from tests import fleet
from tests.balancer import Balancer
from tests.postgres import Postgres
from tests.system.collecting import Collector

ROOT = Path(__file__).parents[1]
STARTED_EVENTS = 50  # of each agent, before anything is broken


class Site:
    """Three collectors, one database, one balancer, and agents."""

    def __init__(self, folder: Path, database: Postgres, settings: str = "") -> None:
        self._folder = folder
        self.database = database
        self.settings = f'database_url = "{database.url}"\nflush_interval_s = 0.8\ncompact_interval_s = 1.0\n{settings}'
        self.collectors = [self._collector(f"collector-{number}") for number in range(3)]
        self.balancer = Balancer(lambda: [one.address for one in self.collectors if one.running()])
        self.agents: dict[str, subprocess.Popen[str]] = {}
        self._wanted = (0, 0)

    def start(self) -> None:
        """Start the collectors."""
        for one in self.collectors:
            one.start()

    def send(self, hosts: int, events: int, findings: int) -> None:
        """Start agents, each to send so much."""
        self._wanted = (events, findings)
        for number in range(hosts):
            self.start_agent(f"i-{number:08x}")

    def start_agent(self, host_id: str) -> None:
        """Start an agent, or start it again."""
        command = [sys.executable, "-m", "tests.fleet", self.balancer.address, str(self._folder / host_id), host_id]
        self.agents[host_id] = subprocess.Popen(
            [*command, *map(str, self._wanted)],
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / '_proto'}", "PATH": "/usr/bin:/bin"},
            stderr=subprocess.PIPE,
            text=True,
        )

    def kill_agent(self, host_id: str) -> None:
        """End an agent with SIGKILL, and start it again."""
        self.agents[host_id].kill()
        self.agents[host_id].communicate()
        self.start_agent(host_id)

    def wait_begun(self, timeout_s: float) -> None:
        """Wait until something of every agent is kept."""
        deadline_s = time.monotonic() + timeout_s
        while len({row["host_id"] for row in self.rows() if row["events_through"] > STARTED_EVENTS}) < len(self.agents):
            assert time.monotonic() < deadline_s, [one.lines[-3:] for one in self.collectors]
            ended = {host: agent.communicate()[1] for host, agent in self.agents.items() if agent.poll()}
            assert ended == {}
            time.sleep(0.1)

    def rows(self) -> list[dict[str, Any]]:
        """Return the agents as the database has them."""
        return list(query.agents(self._folder, self.database.url))

    def finish(self, timeout_s: float) -> None:
        """Wait until the agents have everything acknowledged."""
        for agent in self.agents.values():
            _, said = agent.communicate(timeout=timeout_s)
            assert agent.returncode == 0, (said, [one.lines[-5:] for one in self.collectors])

    def check(self) -> None:
        """Every event of every agent is in the files once, as it was; every finding is counted, once each time."""
        self._restart_all()
        events, (wanted, findings) = fleet.recorded(), self._wanted
        kept = Counter[tuple[str, int]]()
        wrong = []
        for host_id, sequence, kind in self._stored():
            kept[host_id, sequence] += 1
            if kind != fleet.kind_of(sequence, events):
                wrong.append((host_id, sequence, kind))
        expected = {(host_id, number) for host_id in self.agents for number in range(1, wanted + 1)}
        missing, extra = expected - kept.keys(), kept.keys() - expected
        twice = [key for key, count in kept.items() if count != 1]
        report = (len(missing), sorted(missing)[:5], len(extra), len(twice), sorted(twice)[:5], wrong[:5])
        assert report == (0, [], 0, 0, [], []), report

        counted = Counter[str]()
        for document in query.findings(self._folder, Filters(), self.database.url):
            host = document["service"]["additionalInfo"]["value"]
            counted[host.partition('"agentId": "')[2].partition('"')[0]] += document["service"]["count"]
        assert dict(counted) == dict.fromkeys(self.agents, findings)
        losses = [(row["events_missing"], row["findings_missing"], row["events_evicted"]) for row in self.rows()]
        assert losses == [(0, 0, 0)] * len(self.agents)

    def _restart_all(self) -> None:
        """Stop every collector and start it once more: what a killed one had committed shows then."""
        for one in self.collectors:
            if not one.running():
                one.start()
            assert one.terminate() == 0, one.lines

    def _stored(self) -> list[tuple[str, int, str]]:
        files = [str(path) for one in self.collectors for path in query.EventFiles(one.state_dir).readable()]
        statement = (
            "SELECT host_id, sequence, kind FROM read_parquet($files, union_by_name = true, hive_partitioning = false)"
        )
        return duckdb.execute(statement, {"files": files}).fetchall()

    def close(self) -> None:
        """End what still runs."""
        for agent in self.agents.values():
            if agent.poll() is None:
                agent.kill()
                agent.communicate()
        self.balancer.close()
        for one in self.collectors:
            if one.running():
                one.kill()

    def _collector(self, name: str) -> Collector:
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        return Collector(folder, self.settings)


@contextmanager
def site(folder: Path, database: Postgres, settings: str = "") -> Iterator[Site]:
    """Run three collectors on `database`."""
    made = Site(folder, database, settings)
    try:
        made.start()
        yield made
    finally:
        made.close()
