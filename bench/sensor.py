"""What watching costs a workload: each operation with the agent off and on, in turns.

    sudo .venv/bin/python bench/sensor.py [--rounds N] [--compat always]

Prints the median of the ratios on/off, beside the budget, and the nanoseconds of
the runs without an agent.  Rounds alternate, so that a machine that grows slower
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
import running


class Storm(NamedTuple):
    """One operation, how often a run repeats it, and how much slower it may become."""

    operation: str
    count: int
    budget: float


LOAD_S = 5.0  # after which the programs for 32-bit calls are loaded, too

STORMS = (
    Storm("getppid", 2_000_000, 1.05),
    Storm("read", 2_000_000, 1.05),
    Storm("open-read", 200_000, 1.15),
    Storm("open-write", 200_000, 1.15),
    Storm("exec", 1_000, 1.10),
    Storm("connect", 20_000, 1.03),
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
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as directory:
        state = Path(directory)
        program = _built(state)
        with running.collector(state):
            for _ in range(rounds):
                _measure(program, state, off)
                with running.agent(state, compat=compat):
                    time.sleep(LOAD_S)
                    _measure(program, state, on)
    for storm in STORMS:
        ratios = [watched / bare for watched, bare in zip(on[storm.operation], off[storm.operation], strict=True)]
        bare_ns = statistics.median(off[storm.operation])
        click.echo(
            f"{storm.operation:11} {statistics.median(ratios):5.2f} times bare"
            f"  (budget {storm.budget:.2f}; bare {bare_ns:,.0f} ns)"
        )


def _built(directory: Path) -> Path:
    program = directory / "storm"
    source = Path(__file__).with_name("storm.c")
    subprocess.run(["cc", "-O2", "-o", program, source], check=True)
    return program


def _measure(program: Path, scratch: Path, into: dict[str, list[float]]) -> None:
    for storm in STORMS:
        command = [program, storm.operation, str(storm.count), scratch / "file"]
        if storm.operation == "open-read":
            (scratch / "file").touch()
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        into[storm.operation].append(float(ran.stdout))


if __name__ == "__main__":
    main()
