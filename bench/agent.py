"""Start and memory of the agent: time to all probes attached, resident memory idle and after a load.

    sudo .venv/bin/python bench/agent.py [--starts N] [--seconds S]

A collector and an agent of their own, in a temporary directory; an agent that
already watches this host is left alone.  The load is what a busy build does:
short processes, files, connections to a listener on loopback.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import click
import psutil

START_TIMEOUT_S = 60.0
PATIENCE_S = 20.0
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
        with _collector(state), _agent(state) as agent:
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
    with _agent(state):
        return time.monotonic() - began


@contextlib.contextmanager
def _agent(state: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run an agent; it is given out once it says that its probes are attached."""
    config = state / "agent.toml"
    config.write_text(
        f'state_dir = "{state}/agent"\nlock_file = "{state}/lock"\n[collector]\naddress = "unix://{state}/socket"\n',
        encoding="utf-8",
    )
    with _child("agent", config) as child:
        _await_line(child, b"probes attached")
        yield child


@contextlib.contextmanager
def _collector(state: Path) -> Iterator[None]:
    config = state / "collector.toml"
    config.write_text(f'state_dir = "{state}/collector"\nlisten = "unix://{state}/socket"\n', encoding="utf-8")
    with _child("collector", config):
        until = time.monotonic() + START_TIMEOUT_S
        while not (state / "socket").exists():
            if time.monotonic() > until:
                raise click.ClickException("the collector did not start")
            time.sleep(0.05)
        yield


@contextlib.contextmanager
def _child(what: str, config: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "agent", what, "--config", str(config)]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=Path(__file__).resolve().parents[1])
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()


def _await_line(child: subprocess.Popen[bytes], words: bytes) -> None:
    """Read the child's standard error until a line has `words`.  Raises ClickException."""
    stderr = child.stderr
    if stderr is None:
        raise click.ClickException("the agent was started without a pipe")
    until = time.monotonic() + START_TIMEOUT_S
    said = b""
    while words not in said:
        left = until - time.monotonic()
        if left <= 0 or not select.select([stderr], [], [], left)[0]:
            raise click.ClickException(f"the agent did not get ready: {said.decode(errors='replace')}")
        more = os.read(stderr.fileno(), 65536)
        if not more:
            raise click.ClickException(f"the agent ended: {said.decode(errors='replace')}")
        said += more


if __name__ == "__main__":
    main()
