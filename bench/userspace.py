"""What the source without eBPF costs a workload: starts of programs, and redis under load, off and on in turns.

    sudo .venv/bin/python bench/userspace.py [--rounds N]

Runs in pid, network and mount namespaces of its own, so that nobody else is traced.
Prints what a vfork and exec costs more, and how much slower redis answers, each with
its 95 % confidence interval over the rounds, beside the budget; and the memory after
a load, of the agent and of each of its children: what is shared is divided (PSS).
"""

from __future__ import annotations

import math
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import psutil
import running

INSIDE = "VEDETTE_BENCH_INSIDE"
EXECS = 500
REQUESTS = 60_000
PORT = 6399
EXEC_BUDGET_MS = 1.0
REDIS_BUDGET = 1.05
MEMORY_BUDGET_MIB = 48
SETTLE_S = 1.0
PATIENCE_S = 10.0
PROCESSES = ("agent", "watchdog", "tracer", "observer")  # as they are started, by agent.sensor.userspace


@click.command()
@click.option("--rounds", default=20, show_default=True, help="How often each is measured, off and on.")
def main(rounds: int) -> None:
    """Measure, in namespaces of our own."""
    if os.geteuid() != 0:
        raise click.ClickException("needs root, as the agent does")
    if shutil.which("redis-benchmark") is None:
        raise click.ClickException("redis is not installed: install redis-server, or redis")
    if INSIDE not in os.environ:
        unshare = ["unshare", "--pid", "--net", "--mount", "--fork", "--kill-child", "--mount-proc"]
        environment = {**os.environ, INSIDE: "1"}
        line = [*unshare, sys.executable, *sys.argv]
        raise SystemExit(subprocess.run(line, check=False, env=environment).returncode)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    execs: list[float] = []
    ratios: list[float] = []
    memory: list[float] = []
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as directory:
        state = Path(directory)
        program = _built(state)
        with running.collector(state), _redis(state):
            for _ in range(rounds):
                bare_us, bare_s = _measured(program, state)
                with running.agent(state, source="userspace") as agent:
                    time.sleep(SETTLE_S)
                    us, seconds = _measured(program, state)
                    memory = max(memory, _memory_mib(agent.pid), key=sum)
                execs.append((us - bare_us) / 1_000)
                ratios.append(seconds / bare_s)
    click.echo(f"exec    {_told(execs)} ms more  (budget {EXEC_BUDGET_MS:.0f})")
    click.echo(f"redis   {_told(ratios)} times bare  (budget {REDIS_BUDGET})")
    parts = ", ".join(f"{name} {mib:.1f}" for name, mib in zip(PROCESSES, memory, strict=True))
    click.echo(f"memory  {sum(memory):.1f} MiB at most: {parts}  (budget {MEMORY_BUDGET_MIB})")


def _told(values: list[float]) -> str:
    """Return the mean with its 95 % interval."""
    half = 1.96 * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return (
        f"{statistics.mean(values):,.3f} [{statistics.mean(values) - half:,.3f}, {statistics.mean(values) + half:,.3f}]"
    )


def _built(directory: Path) -> Path:
    program = directory / "storm"
    subprocess.run(["cc", "-O2", "-o", program, Path(__file__).with_name("storm.c")], check=True)
    return program


def _measured(program: Path, scratch: Path) -> tuple[float, float]:
    """Return the microseconds of an exec, and the seconds of a run against redis."""
    ran = subprocess.run([program, "exec", str(EXECS), scratch / "file"], check=True, capture_output=True, text=True)
    line = ["redis-benchmark", "-p", str(PORT), "-t", "get", "-n", str(REQUESTS), "-c", "20", "-q"]
    started_s = time.monotonic()
    subprocess.run(line, check=True, capture_output=True)
    return float(ran.stdout) / 1_000, time.monotonic() - started_s


@contextmanager
def _redis(directory: Path) -> Iterator[None]:
    line = ["redis-server", "--port", str(PORT), "--save", "", "--dir", str(directory), "--bind", "127.0.0.1"]
    server = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    try:
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", PORT)) == 0:
                    break
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait()


def _memory_mib(pid: int) -> list[float]:
    """Return what an agent and each of its children have, what they share divided among them."""
    agent = psutil.Process(pid)
    processes = [agent, *sorted(agent.children(recursive=True), key=lambda one: one.pid)]
    return [one.memory_full_info().pss / (1 << 20) for one in processes]


if __name__ == "__main__":
    main()
