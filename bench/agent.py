"""Start and memory of the agent: time to all probes attached, resident memory idle and after a load.

    sudo .venv/bin/python bench/agent.py [--starts N] [--seconds S]

A collector and an agent of their own, in a temporary directory; an agent that
already watches this host is left alone.  The load is what a busy build does:
short processes, files, connections to a listener on loopback.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import click
import psutil
import running

BUDGET_START_S = 3.0
BUDGET_RESIDENT_MIB = 64
MIB = 1 << 20


@click.command()
@click.option("--starts", default=5, show_default=True, help="How often the start is measured.")
@click.option("--seconds", default=20, show_default=True, help="How long the load lasts.")
def main(starts: int, seconds: int) -> None:
    """Print both measurements beside their budgets."""
    if os.geteuid() != 0:
        raise click.ClickException("needs root, as the agent does")
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as directory:
        state = Path(directory)
        took = [_start_once(state) for _ in range(starts)]
        click.echo(f"start to all probes attached: median {statistics.median(took):.2f} s, worst {max(took):.2f} s")
        click.echo(f"  budget {BUDGET_START_S:.0f} s")
        with running.collector(state), running.agent(state) as agent:
            _measure_memory(psutil.Process(agent.pid), seconds)


def _measure_memory(agent: psutil.Process, seconds: int) -> None:
    time.sleep(2)
    idle = agent.memory_info().rss
    before = agent.cpu_times()
    done = _load(seconds)
    after = agent.cpu_times()
    time.sleep(2)
    loaded = agent.memory_info().rss
    cpu = (after.user + after.system - before.user - before.system) / seconds
    click.echo(f"resident memory of the agent: idle {idle / MIB:.1f} MiB, after load {loaded / MIB:.1f} MiB")
    click.echo(f"  budget {BUDGET_RESIDENT_MIB} MiB")
    click.echo(
        f"load: {done} processes, each with a file and a connection, in {seconds} s; agent {cpu:.0%} of one core"
    )


def _load(seconds: int) -> int:
    """Start short processes, write files and connect, for `seconds`; return how many processes."""
    done = 0
    until = time.monotonic() + seconds
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.TemporaryDirectory() as scratch:
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        while time.monotonic() < until:
            subprocess.run(["/bin/true", str(done)], check=True)
            Path(scratch, str(done % 100)).write_text("x", encoding="ascii")
            socket.create_connection(server.getsockname()).close()
            done += 1
        server.shutdown(socket.SHUT_RDWR)
    return done


def _accept(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            server.accept()[0].close()


def _start_once(state: Path) -> float:
    began = time.monotonic()
    with running.agent(state):
        return time.monotonic() - began


if __name__ == "__main__":
    main()
