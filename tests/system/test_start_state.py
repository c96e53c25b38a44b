"""What was there before the agent is known to it, and is the background of what happens then."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import NamedTuple

import pytest

from collector.query import Filters
from collector.query import events
from tests.containers import RunningContainer
from tests.containers import running_container
from tests.system.running import Run
from tests.system.running import wait_for

REVERSE_SHELL = "Execution:Runtime/ReverseShell"
SH = os.path.realpath("/bin/sh")

# Connects, and becomes a shell on the connection once it is told to.
CALLING = """
import os, socket, sys
wire = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print(flush=True)
sys.stdin.readline()
for fd in (0, 1, 2):
    os.dup2(wire.fileno(), fd)
os.execv("/bin/sh", ["sh", "-c", "echo $$"])
"""
# Leaves a process behind that listens.
SERVING = """
import os, socket
server = socket.create_server(("127.0.0.1", 4250))
if os.fork():
    os._exit(0)
os.setsid()
for fd in (0, 1, 2):
    os.dup2(os.open(os.devnull, os.O_RDWR), fd)
server.accept()
"""


class Started(NamedTuple):
    """What there was before, and the run that began then."""

    run: Run
    calling: int
    server: socket.socket
    container: RunningContainer
    begun: list[Any]
    """Findings before anything was done."""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """A connection, and a container in which somebody listens, and then `vedette run`."""
    with contextlib.ExitStack() as closing:
        server = closing.enter_context(socket.create_server(("127.0.0.1", 0)))
        command = [sys.executable, "-I", "-c", CALLING, str(server.getsockname()[1])]
        calling = closing.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        closing.callback(calling.kill)
        assert calling.stdin is not None
        assert calling.stdout is not None
        assert calling.stdout.readline() == "\n"
        connection = closing.enter_context(server.accept()[0])
        container = closing.enter_context(running_container())
        assert 0 == container.exec(["/usr/bin/python3", "-c", SERVING]).status
        run = Run(tmp_path_factory.mktemp("start-state") / "state")
        closing.callback(run.stop)
        run.ready()
        wait_for(lambda: rows(run, "net_listen", container=container.id), run.said)
        begun = list(run.findings)
        calling.stdin.write("\n")
        calling.stdin.flush()
        assert f"{calling.pid}\n" == connection.makefile().readline()
        run.finding(REVERSE_SHELL, calling.pid)
        yield Started(run, calling.pid, connection, container, begun)
        assert 0 == run.stop(), run.said


def rows(run: Run, kind: str, **filters: str) -> list[dict[str, Any]]:
    """Return the events of a kind that the collector has, told as existing."""
    found = events(run.state_dir, Filters(type=kind, **filters))
    return [row for row in found if row["existing"]]


def test_a_shell_on_an_old_connection_is_found(started: Started) -> None:
    """That the connection went out is known though nobody saw it: what is done with it is judged by that."""
    process = started.run.finding(REVERSE_SHELL, started.calling).process

    assert SH == process["executablePath"]
    assert os.getpid() == process["lineage"][0]["pid"]


def test_what_was_there_is_no_finding(started: Started) -> None:
    """The start of the agent alerts nobody."""
    assert [] == [one for one in started.begun if one.process["pid"] == started.calling]


def test_the_connection_is_told_with_who_has_it(started: Started) -> None:
    """The owner is who he was then, from his first event on: program, parent and all."""
    [row] = rows(started.run, "net_connect", process=str(started.calling))

    assert started.server.getsockname()[1] == row["net_connect"]["remote_port"]
    assert os.path.realpath(sys.executable) == row["actor"]["path"]
    assert (os.getpid(), started.calling) == (row["actor"]["parent_tgid"], row["actor"]["tgid"])


def test_a_listener_in_a_container_is_told_with_its_container(started: Started) -> None:
    """Sockets of every network namespace are told, and whose container that is."""
    [row] = rows(started.run, "net_listen", container=started.container.id)

    assert 4250 == row["net_listen"]["socket"]["local_port"]
    assert started.container.id == row["actor"]["container_id"]
    assert Path(row["actor"]["path"]).name.startswith("python3")


def test_mounts_of_a_container_are_told_with_it(started: Started) -> None:
    """A container's own mounts are there, its root among them."""
    mounted = {row["mount"]["target"] for row in rows(started.run, "mount", container=started.container.id)}

    assert {"/", "/proc", "/dev"} <= mounted
