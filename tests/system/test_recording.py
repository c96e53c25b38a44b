"""What is recorded beside a running agent replays to what that agent found, and anybody can do it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent import probes
from agent.recording import Recording
from tests.system.running import ROOT
from tests.system.running import WAIT_S
from tests.system.running import Run
from tests.system.running import command
from tests.system.running import programs_of
from tests.system.running import simulated
from tests.system.running import vedette

PROBES = len(probes.load())
UNMAPPED = ("unshare", "--user")  # a user namespace without a mapping: no privilege, and yet able to read the files
NO_PROC = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")
TRUE = "/bin/true"


class Recorder:
    """`vedette record` as a process of its own."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path = path
        self.process = subprocess.Popen(
            command("record", str(path), *options), cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        self.ready = self.process.stderr.readline().rstrip()

    def end(self, number: int | None = signal.SIGTERM) -> tuple[int, list[str]]:
        """Tell it to end, or wait until it does; return its exit status and what it said."""
        if number is not None:
            self.process.send_signal(number)
        _, said = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, said.splitlines()


@contextmanager
def recorder(path: Path, *options: str) -> Iterator[Recorder]:
    """Record; whatever happens, it does not outlive the block."""
    made = Recorder(path, *options)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


def who(document: dict[str, Any]) -> tuple[str, int, str, str | None]:
    """Return what a finding is about."""
    process = document["service"]["runtimeDetails"]["process"]
    container = document["resource"].get("containerDetails", {}).get("id")
    return document["type"], process["pid"], process["executablePath"], container


def replayed(path: Path, before: tuple[str, ...] = ()) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the findings of a recording, and what was said of it."""
    done = vedette("replay", str(path), "--json", before=before)
    assert 0 == done.returncode, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr.splitlines()


def arguments(path: Path) -> str:
    """Return all bytes of the records as text, to look for arguments in."""
    with path.open("rb") as file:
        return b"\n".join(Recording(file, str(path)).records()).decode(errors="replace")


def write_until_ended(process: subprocess.Popen[str], folder: Path) -> None:
    """Create files of long names until a recorder has had enough."""
    deadline_s = time.monotonic() + WAIT_S
    number = 0
    while process.poll() is None:
        assert time.monotonic() < deadline_s
        path = folder / f"{number}{'x' * 200}"
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        path.unlink()
        number += 1


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], list[dict[str, Any]]]:
    """A recording of all simulated deeds, what was said to be done, and what a live agent found meanwhile."""
    folder = tmp_path_factory.mktemp("both")
    run = Run(folder / "state")
    try:
        run.ready()
        with recorder(folder / "deeds.vdt") as recording:
            deeds = simulated()
            for deed in deeds:
                run.finding(deed["finding"], deed["pid"])
            assert 0 == recording.end()[0]
    finally:
        run.stop()
    return folder / "deeds.vdt", deeds, [found.document for found in run.findings]


def test_a_replay_finds_what_the_agent_found(both: Any) -> None:
    """The same types for the same processes, paths and containers, whether an agent watched or a file was replayed."""
    path, deeds, live = both

    documents, said = replayed(path)

    ours = {deed["pid"] for deed in deeds}
    assert len(deeds) == len(ours)
    assert sorted(who(one) for one in live if who(one)[1] in ours) == sorted(
        who(one) for one in documents if who(one)[1] in ours
    )
    assert {(deed["finding"], deed["pid"]) for deed in deeds} <= {who(one)[:2] for one in documents}
    assert "malformed: 0" in said


@pytest.mark.parametrize("before", [UNMAPPED, NO_PROC], ids=["without privilege", "without /proc"])
def test_a_replay_needs_nothing_of_this_host(both: Any, before: tuple[str, ...]) -> None:
    """No privilege and no process file system: byte for byte the same findings."""
    path, _, _ = both
    readable = path.with_name("readable.vdt")
    readable.write_bytes(path.read_bytes())
    readable.chmod(0o644)

    assert replayed(path)[0] == replayed(readable, before)[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_recording_ends_when_told(tmp_path: Path, number: signal.Signals) -> None:
    """What happened before the signal is in the file, the counts are said, and nothing stays attached."""
    with recorder(tmp_path / "a.vdt") as recording:
        assert f"ready: recording with {PROBES} of {PROBES} probes into {tmp_path / 'a.vdt'}" == recording.ready
        assert programs_of(recording.process.pid)
        word = f"told-{os.getpid()}-{number}"
        subprocess.run([TRUE, word], check=True)
        status, said = recording.end(number)

    assert (0, "ended: it was told to") == (status, said[0])
    assert said[1].startswith("records: ")
    assert said[2].startswith("lost: ")
    assert word in arguments(tmp_path / "a.vdt")


def test_a_recording_ends_after_its_time(tmp_path: Path) -> None:
    """--duration counts from when the probes are there."""
    with recorder(tmp_path / "a.vdt", "--duration", "1") as recording:
        began_s = time.monotonic()
        status, said = recording.end(None)
        took_s = time.monotonic() - began_s

    assert (0, "ended: 1 s are over") == (status, said[0])
    assert 0.9 < took_s < WAIT_S / 2


def test_a_recording_ends_before_it_is_too_large(tmp_path: Path) -> None:
    """A busy host cannot fill the disk: the file stays within --max-size, is whole, and says why it ended."""
    path = tmp_path / "a.vdt"
    with recorder(path, "--max-size", "1") as recording:
        write_until_ended(recording.process, tmp_path)
        status, said = recording.end(None)

    assert (0, f"ended: {path} has 1 MiB, the most that --max-size lets it") == (status, said[0])
    assert (1 << 20) * 0.9 < path.stat().st_size <= 1 << 20
    assert [] == [line for line in replayed(path)[1] if line.startswith("cut")]


def test_a_killed_recorder_leaves_a_file_that_can_be_replayed(tmp_path: Path) -> None:
    """What came until a tenth of a second before is there, the cut is said, and nothing stays attached."""
    with recorder(tmp_path / "a.vdt") as recording:
        word = f"killed-{os.getpid()}"
        subprocess.run([TRUE, word], check=True)
        time.sleep(1)
        recording.end(signal.SIGKILL)

    assert word in arguments(tmp_path / "a.vdt")
    assert replayed(tmp_path / "a.vdt")[1][-1].startswith("cut: ")


def test_a_full_disk_ends_a_recording_in_one_line(tmp_path: Path) -> None:
    """What was written until then can be replayed."""
    path = tmp_path / "a.vdt"
    # In KiB, beyond what the loader writes for itself; Python ignores SIGXFSZ.
    limited = f"ulimit -f 512; exec {' '.join(command('record', str(path)))}"
    process = subprocess.Popen(["bash", "-c", limited], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        write_until_ended(process, tmp_path)
        _, said = process.communicate(timeout=WAIT_S)
    finally:
        process.kill()
        process.wait()

    assert 2 == process.returncode
    assert f"vedette: {path} cannot be written: File too large" == said.splitlines()[-1]
    assert replayed(path)[1][-1].startswith("cut: ")


def test_a_recording_that_cannot_begin_leaves_no_file(tmp_path: Path) -> None:
    """Without root it is one line, and nothing was made."""
    done = vedette("record", str(tmp_path / "a.vdt"), before=UNMAPPED)

    assert (2, "vedette: eBPF probes need root: run it with sudo\n") == (done.returncode, done.stderr)
    assert not (tmp_path / "a.vdt").exists()
