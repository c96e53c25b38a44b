"""What containers cost the agent: processor time for each that comes and goes, beside an agent that asks nobody.

    sudo .venv/bin/python bench/containers.py [--containers N]

Real runc containers over this machine's own root; the difference of the two numbers is what asking for a name costs.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import click
import psutil
import running

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
            with running.collector(state), running.agent(state, more=_settings(ask, state)) as agent:
                cpu_s, took_s = _measured(psutil.Process(agent.pid), state, containers)
        each_ms = 1_000 * cpu_s / containers
        click.echo(f"ask = {ask}: {containers} containers in {took_s:.1f} s; agent {each_ms:.1f} ms of CPU each")


def _settings(ask: str, state: Path) -> str:
    return f'[containers]\nask = "{ask}"\nrunc_roots = ["{state}/runc"]\n'


def _measured(agent: psutil.Process, state: Path, containers: int) -> tuple[float, float]:
    bundle = _bundle(state)
    time.sleep(SETTLE_S)
    before, began_s = agent.cpu_times(), time.monotonic()
    for number in range(containers):
        line = ["runc", "--root", f"{state}/runc", "run", "--bundle", str(bundle), f"vedette-bench-{number}"]
        subprocess.run(line, check=True, stdin=subprocess.DEVNULL)
    took_s = time.monotonic() - began_s
    time.sleep(SETTLE_S)
    after = agent.cpu_times()
    return after.user + after.system - before.user - before.system, took_s


def _bundle(state: Path) -> Path:
    """Write a container that does nothing, over this machine's root, which it may not write."""
    bundle = state / "bundle"
    bundle.mkdir()
    subprocess.run(["runc", "spec", "--bundle", str(bundle)], check=True)
    path = bundle / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["root"] = {"path": "/", "readonly": True}
    config["process"] |= {"terminal": False, "args": ["/bin/true"], "rlimits": []}
    path.write_text(json.dumps(config), encoding="utf-8")
    return bundle


if __name__ == "__main__":
    main()
