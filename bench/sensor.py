"""What watching costs a workload: each operation with the agent off and on, in turns.

    sudo .venv/bin/python bench/sensor.py [--rounds N] [--compat always]

Prints the median of the ratios on/off, beside the budget, the nanoseconds of the
runs without an agent, and the processor time that the agent took for each operation,
to the end of what it had to do for it, in the median.  Rounds alternate, so that a machine that grows slower
hits both alike; the ratio is what to compare, the nanoseconds are this machine's.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import click
import psutil
import running


class Storm(NamedTuple):
    """One operation, how often a run repeats it, and how much slower it may become."""

    operation: str
    count: int
    budget: float
    agent_budget_us: float | None = None
    """Of processor time; None: the kernel tells the agent nothing of it."""


LOAD_S = 5.0  # after which the programs for 32-bit calls are loaded, too
SETTLE_S = 1.0  # the agent is a tenth of a second behind, and is idle again well before this

STORMS = (
    Storm("getppid", 2_000_000, 1.05),
    Storm("read", 2_000_000, 1.05),
    Storm("open-read", 200_000, 1.15),
    Storm("open-write", 200_000, 1.15, 0.2),
    Storm("exec", 1_000, 1.10, 100),
    Storm("connect", 20_000, 1.03, 8),
)


@click.command()
@click.option("--rounds", default=5, show_default=True, help="How often each operation is measured, off and on.")
@click.option(
    "--compat",
    type=click.Choice(["auto", "always", "off"]),
    default="auto",
    show_default=True,
    help="How the agent watches 32-bit programs: always is what auto costs while one runs.",
)
def main(rounds: int, compat: str) -> None:
    """Print the ratio of each operation."""
    if os.geteuid() != 0:
        raise click.ClickException("needs root, as the agent does")
    off: dict[str, list[float]] = {storm.operation: [] for storm in STORMS}
    on: dict[str, list[float]] = {storm.operation: [] for storm in STORMS}
    agent_us: dict[str, list[float]] = {storm.operation: [] for storm in STORMS}
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as directory:
        state = Path(directory)
        program = _built(state)
        with running.collector(state):
            for _ in range(rounds):
                for storm in STORMS:
                    off[storm.operation].append(_measured(program, state, storm))
                with running.agent(state, compat=compat) as agent:
                    time.sleep(LOAD_S)
                    for storm in STORMS:
                        before_s = _cpu_s(agent.pid)
                        on[storm.operation].append(_measured(program, state, storm))
                        time.sleep(SETTLE_S)
                        agent_us[storm.operation].append((_cpu_s(agent.pid) - before_s) / storm.count * 1e6)
    for storm in STORMS:
        ratios = [watched / bare for watched, bare in zip(on[storm.operation], off[storm.operation], strict=True)]
        bare_ns = statistics.median(off[storm.operation])
        line = (
            f"{storm.operation:11} {statistics.median(ratios):5.2f} times bare"
            f"  (budget {storm.budget:.2f}; bare {bare_ns:,.0f} ns)"
        )
        if storm.agent_budget_us is not None:
            took_us = statistics.median(agent_us[storm.operation])
            line += f", agent {took_us:,.1f} us  (budget {storm.agent_budget_us:g})"
        click.echo(line)


def _built(directory: Path) -> Path:
    program = directory / "storm"
    source = Path(__file__).with_name("storm.c")
    subprocess.run(["cc", "-O2", "-o", program, source], check=True)
    return program


def _measured(program: Path, scratch: Path, storm: Storm) -> float:
    """Return the nanoseconds of one operation."""
    if storm.operation == "open-read":
        (scratch / "file").touch()
    command = [program, storm.operation, str(storm.count), scratch / "file"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _cpu_s(pid: int) -> float:
    """Return the processor time that a process took until now, in user mode and in the kernel."""
    took = psutil.Process(pid).cpu_times()
    return took.user + took.system


if __name__ == "__main__":
    main()
