"""What containers cost the agent: processor time for each that comes and goes, beside an agent that asks nobody.

    sudo .venv/bin/python bench/containers.py [--containers N]

Real runc containers over a small root of their own. The agent that asks and the one that does not take turns, and of
each the cheapest turn counts, since whatever else this machine does only adds; their ratio is what asking costs.
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

WARM = 10  # containers before it counts: hashes of runc and of the root, and pages of the agent
ROUNDS = 3
SETTLE_S = 3.0  # what is under way when the last container is gone


@click.command()
@click.option("--containers", default=100, show_default=True, help="How many are started, one after the other.")
def main(containers: int) -> None:
    """Print the agent's processor time per container, asking and not."""
    if os.geteuid() != 0:
        raise click.ClickException("needs root, as the agent does")
    each_ms: dict[str, list[float]] = {"none": [], "all": []}
    for ask in ("none", "all") * ROUNDS:
        with tempfile.TemporaryDirectory(prefix="vedette-bench-") as directory:
            state = Path(directory)
            runc = runtimes.Runc(state)
            runc.start()
            with running.collector(state), running.agent(state, compat="off", more=_settings(ask, runc.root)) as agent:
                cpu_s, took_s = _measured(psutil.Process(agent.pid), runc, containers)
        each_ms[ask].append(1_000 * cpu_s / containers)
        click.echo(
            f"ask = {ask}: {containers} containers in {took_s:.1f} s; agent {each_ms[ask][-1]:.1f} ms of CPU each"
        )
    best = {ask: min(measured) for ask, measured in each_ms.items()}
    ratio = best["all"] / best["none"]
    click.echo(f"at best {best['none']:.1f} ms without asking, {best['all']:.1f} ms asking: {ratio:.2f} times")


def _settings(ask: str, root: Path) -> str:
    return f'[containers]\nask = "{ask}"\nrunc_roots = ["{root}"]\n'


def _measured(agent: psutil.Process, runc: runtimes.Runc, containers: int) -> tuple[float, float]:
    bundle = runc.bundle("exec /bin/true")
    for number in range(WARM):
        runc.run_bundle(f"vedette-bench-warm-{number}", bundle)
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
