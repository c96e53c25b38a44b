"""What systemd hears, on a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.notify import Service


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield line


def test_ready_and_stopping_are_said(heard: socket.socket) -> None:
    """In the words of sd_notify(3)."""
    Service().ready("39 of 39 probes attached")
    assert b"READY=1\nSTATUS=39 of 39 probes attached" == heard.recv(100)
    Service().stopping()
    assert b"STOPPING=1" == heard.recv(100)


def test_a_sign_of_life_is_given_when_it_is_due(heard: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before half of what systemd waits, and not where it waits for somebody else."""
    monkeypatch.setenv("WATCHDOG_USEC", "0")
    Service().alive()
    assert b"WATCHDOG=1" == heard.recv(100)
    monkeypatch.setenv("WATCHDOG_USEC", "3600000000")
    Service().alive()
    monkeypatch.setenv("WATCHDOG_USEC", "0")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    Service().alive()
    with pytest.raises(BlockingIOError):
        heard.recv(100)


def test_nobody_who_listens_hinders_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without systemd, and with one that is gone."""
    for where in ("", "/nonexistent/notify", "@nobody-is-here"):
        monkeypatch.setenv("NOTIFY_SOCKET", where)
        Service().ready("as ever")
