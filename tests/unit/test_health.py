"""The file in which an agent says how it is: whole, bounded, and believed only when root alone could write it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest

from agent import health
from agent.errors import StateError
from agent.health import Health
from agent.model import ProbeStatus

SAID = Health(
    pid=4711,
    agent_version="0.1.0",
    boot_id="b",
    time_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    resident_bytes=40 << 20,
    probes=(ProbeStatus(name="mount", attached=False, reason="EPERM", blind_findings=("a", "b")),),
    counters={"sensor.mount.failed": 3, "decode.events": 2**63},
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the file would be."""
    return health.beside(tmp_path / "agent.lock")


def test_what_was_written_is_read(file: Path) -> None:
    """Every number and every word comes back; others on the host cannot read them."""
    health.write(file, SAID)
    health.write(file, SAID)

    assert SAID == health.read(file)
    assert 0o600 == file.stat().st_mode & 0o777
    assert [file.name] == [one.name for one in file.parent.iterdir()]


def test_an_end_takes_it_away(file: Path) -> None:
    """An agent that ended in order is told from one that was killed."""
    health.write(file, SAID)
    health.remove(file)
    health.remove(file)

    assert health.read(file) is None


def test_what_a_killed_writer_left_is_written_over(file: Path) -> None:
    """Half a file, or a link that somebody put in the way, is taken away and followed nowhere."""
    target = file.with_name("target")
    file.with_name("health.json.new").symlink_to(target)

    health.write(file, SAID)

    assert SAID == health.read(file)
    assert not target.exists()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        pytest.param(b"", "is not what an agent says", id="empty"),
        pytest.param(b"[" * 100_000, "is not what an agent says", id="deep"),
        pytest.param(b'{"pid":1}', "is not what an agent says", id="other members"),
        pytest.param(msgspec.json.encode(SAID)[:-9], "is not what an agent says", id="half"),
        pytest.param(msgspec.json.encode(SAID).replace(b":3", b":-3"), "is not what an agent says", id="below zero"),
        pytest.param(msgspec.json.encode(SAID).replace(b"EPERM", b"\xff"), "is not what an agent says", id="no text"),
        pytest.param(b" " * (1 << 20) + msgspec.json.encode(SAID), "is larger than", id="large"),
    ],
)
def test_what_no_agent_says_is_one_sentence(file: Path, raw: bytes, said: str) -> None:
    """A file of anybody else ends nothing."""
    file.write_bytes(raw)
    file.chmod(0o600)

    with pytest.raises(StateError, match=said):
        health.read(file)


def test_a_file_that_others_can_write_is_not_believed(file: Path, tmp_path: Path) -> None:
    """Nobody but root says how the agent is; nor does a pipe keep the reader waiting, nor a link lead elsewhere."""
    health.write(file, SAID)
    file.chmod(0o666)
    with pytest.raises(StateError, match="not believed"):
        health.read(file)

    file.unlink()
    os.mkfifo(file, 0o600)
    with pytest.raises(StateError, match="not believed"):
        health.read(file)

    file.unlink()
    health.write(tmp_path / "elsewhere", SAID)
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="cannot be read"):
        health.read(file)


def test_its_age_is_known() -> None:
    """Of this boot in seconds; of another there is no telling."""
    age_s = SAID.age_s("b")

    assert age_s is not None
    assert 0 <= age_s < 3600
    assert SAID.age_s("another boot") is None
    assert msgspec.structs.replace(SAID, time_ns=2**62).age_s("b") is None
