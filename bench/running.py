"""A collector and an agent of a benchmark's own, in a directory that goes away with it."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

START_TIMEOUT_S = 60.0
PATIENCE_S = 20.0


@contextlib.contextmanager
def agent(
    state: Path, *, compat: str = "auto", source: str = "auto", more: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """Run an agent, with `more` settings; it is given out once it says that its probes are attached."""
    config = state / "agent.toml"
    config.write_text(
        f'state_dir = "{state}/agent"\nlock_file = "{state}/lock"\n'
        f'[sensor]\ncompat = "{compat}"\nsource = "{source}"\n[collector]\naddress = "unix://{state}/socket"\n{more}',
        encoding="utf-8",
    )
    with _child("agent", config) as child:
        _await_line(child, b"probes attached")
        yield child


@contextlib.contextmanager
def collector(state: Path) -> Iterator[None]:
    """Run a collector; it is given out once its socket is there."""
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
