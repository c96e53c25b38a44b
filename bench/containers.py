"""What containers cost the agent: processor time for each that comes and goes, beside an agent that asks nobody.

    sudo .venv/bin/python bench/containers.py [--containers N]

Real runc containers over a small root of their own; the difference of the two numbers is what asking for a name costs.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import click
import psutil
import running

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the containers of the tests

from tests import runtimes  # as above

SETTLE_S = 3.0  # what is under way when the last container is gone


@click.command()
@click.option("--containers", default=100, show_default=True, help="How many are started, one after the other.")
def main(containers: int) -> None:
    """Print the agent's processor time per container, asking and not."""
    if os.geteuid() != 0:
        raise click.ClickException("needs root, as the agent does")
    for ask in ("none", "all"):
        with tempfile.TemporaryDirectory(prefix="vedette-bench-") as directory:
            state = Path(directory)
            runc = runtimes.Runc(state)
            runc.start()
            with running.collector(state), running.agent(state, compat="off", more=_settings(ask, runc.root)) as agent:
                cpu_s, took_s = _measured(psutil.Process(agent.pid), runc, containers)
        each_ms = 1_000 * cpu_s / containers
        click.echo(f"ask = {ask}: {containers} containers in {took_s:.1f} s; agent {each_ms:.1f} ms of CPU each")


def _settings(ask: str, root: Path) -> str:
    return f'[containers]\nask = "{ask}"\nrunc_roots = ["{root}"]\n'


def _measured(agent: psutil.Process, runc: runtimes.Runc, containers: int) -> tuple[float, float]:
    bundle = runc.bundle("exec /bin/true")
    time.sleep(SETTLE_S)
    before, began_s = agent.cpu_times(), time.monotonic()
    for number in range(containers):
        runc.run_bundle(f"vedette-bench-{number}", bundle)
    took_s = time.monotonic() - began_s
    time.sleep(SETTLE_S)
    after = agent.cpu_times()
    return after.user + after.system - before.user - before.system, took_s


if __name__ == "__main__":
    main()
