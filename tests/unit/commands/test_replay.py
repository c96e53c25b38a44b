"""What a recording comes to: what is told of it, and that the same file tells the same.

tests/golden/recordings holds what a real kernel wrote while `vedette simulate` did its deeds, and while a container
compiled a program and ran it.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from agent import probes
from agent.cli import main
from agent.model import Host
from agent.probes.header import HEADER
from agent.probes.header import kind_number
from agent.recording import About
from agent.recording import End
from agent.recording import Kind
from agent.recording import Recorder
from agent.recording import Recording
from tests.unit.probes.records import record

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "recordings"
RECORDINGS = sorted(path.stem for path in GOLDEN.glob("*.vdt"))
PROBES = {probe.name: probe for probe in probes.load()}
KINDS = tuple(
    Kind(name=name, number=kind_number(name), fixed_bytes=probe.record.fixed_size) for name, probe in PROBES.items()
)
HOST = Host(id="h", name="web-1", boot_id="b", kernel="6.1.0", architecture="x86_64", mnt_ns=1, pid_ns=2)
ABOUT = About(vedette="1.2.3", host=HOST, boot_at_ns=1, began_at_ns=0, kinds=KINDS)
FORK = record(PROBES["process_fork"], child_tgid=2, parent_tgid=1)
EXIT = record(PROBES["process_exit"])


class Told(NamedTuple):
    """What a replay came to."""

    status: int
    out: str
    said: list[str]


@pytest.fixture
def replay(capsys: pytest.CaptureFixture[str]):
    """Return a function that replays a file in this process."""

    def run(path: Path, *options: str) -> Told:
        status = main(["replay", str(path), *options])
        out, err = capsys.readouterr()
        return Told(status, out, err.splitlines())

    return run


def made(path: Path, *records: bytes, about: About = ABOUT) -> Path:
    """Write a recording of these records."""
    recorder = Recorder(path, about, limit_bytes=1 << 20)
    for one in records:
        recorder.write(one)
    recorder.end(
        End(reason="it was told to", counters={"sensor.file_open.failed": 1200, "sensor.file_open.repeated": 9})
    )
    return path


def renumbered(raw: bytes, kind: int) -> bytes:
    """Return a record that says it is of another kind."""
    at = HEADER.offset("kind")
    return raw[:at] + struct.pack("=I", kind) + raw[at + 4 :]


def test_nothing_happened(tmp_path: Path, replay) -> None:
    """An empty recording is no error, and says so in numbers."""
    told = replay(made(tmp_path / "a"))

    assert (0, "") == (told.status, told.out)
    assert [
        "recorded: on web-1, Linux 6.1.0, from 1970-01-01 00:00:00 UTC",
        "records: 0",
        "events: 0 (none)",
        "malformed: 0",
        "findings: 0 (none)",
        "lost while recording: file_open 1,200",
    ] == told.said


def test_every_record_is_accounted_for(tmp_path: Path, replay) -> None:
    """Events, malformed records and kinds of another version add up to the records, and none of them ends it."""
    other_layout = tuple(
        msgspec.structs.replace(kind, fixed_bytes=kind.fixed_bytes - 8) if kind.name == "file_open" else kind
        for kind in KINDS
    )
    about = msgspec.structs.replace(ABOUT, kinds=(*other_layout, Kind(name="dream", number=5, fixed_bytes=9)))
    broken = FORK[:-1]
    strange = [renumbered(EXIT, 5), renumbered(EXIT, 6), renumbered(EXIT, 6), record(PROBES["file_open"])]

    told = replay(made(tmp_path / "a", FORK, broken, *strange, b"short", EXIT, FORK, about=about))

    assert 0 == told.status
    assert [
        "records: 9",
        "events: 3 (process_fork 2, process_exit 1)",
        "malformed: 2",
        "of kinds that this vedette does not know: unlisted 2, dream 1, file_open 1",
    ] == told.said[1:5]


def test_a_cut_recording_is_told_up_to_the_cut(tmp_path: Path, replay) -> None:
    """A recorder that was killed has left something, and nobody takes it for all."""
    path = made(tmp_path / "a", FORK, EXIT)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(EXIT) + 10])

    told = replay(path)

    assert 0 == told.status
    assert "records: 1" in told.said
    at = whole.index(EXIT) - 4
    assert f"cut: nothing whole follows offset {at}; what was lost while recording is not known" == told.said[-1]


def test_a_broken_recording_is_told_up_to_where_it_breaks(tmp_path: Path, replay) -> None:
    """A size that cannot be ends the replay with file and offset, after all that came before it."""
    path = made(tmp_path / "a", FORK, EXIT)
    whole = path.read_bytes()
    at = whole.index(EXIT) - 4
    path.write_bytes(whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :])

    told = replay(path)

    assert (2, "records: 1") == (told.status, told.said[1])
    assert f"vedette: {path}: offset {at}: a record of 4294967295 bytes; the most is 65536" == told.said[-1]


def test_text_of_a_stranger_cannot_move_the_cursor(tmp_path: Path, replay) -> None:
    """A recording may come from anybody, and so may the names in it."""
    host = msgspec.structs.replace(HOST, name="\x1b[2J\nlost while recording: none")
    kinds = (Kind(name="\x1b]0;x\x07", number=5, fixed_bytes=9),)
    path = made(tmp_path / "a", renumbered(EXIT, 5), about=msgspec.structs.replace(ABOUT, host=host, kinds=kinds))

    told = replay(path)

    assert told.said[0].startswith(r"recorded: on \x1b[2J\nlost")
    assert r"of kinds that this vedette does not know: \x1b]0;x\x07 1" in told.said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("no", "does not exist", id="not there"),
        pytest.param(".", "is a directory", id="a directory"),
    ],
)
def test_what_is_no_file_is_a_wrong_use(tmp_path: Path, replay, name: str, said: str) -> None:
    """One line says what is wrong with the argument."""
    told = replay(tmp_path / name)

    assert (2, "", 1) == (told.status, told.out, len(told.said))
    assert said in told.said[0]


def test_there_are_golden_recordings() -> None:
    """What follows is not a loop over nothing."""
    assert RECORDINGS


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_means_what_it_meant(replay, name: str) -> None:
    """What a kernel wrote once gives the findings that were committed beside it, member by member."""
    told = replay(GOLDEN / f"{name}.vdt", "--json")

    assert json.loads((GOLDEN / f"{name}.json").read_bytes()) == [json.loads(line) for line in told.out.splitlines()]
    assert (0, "malformed: 0") == (told.status, told.said[3])
    assert [] == [line for line in told.said if line.startswith(("not worked out", "cut"))]


def test_sensitivity_decides(replay) -> None:
    """What an image's own compiler made is a finding for those who want to know it all."""
    path = GOLDEN / "compiled.vdt"

    assert "" == replay(path, "--json", "--sensitivity", "balanced").out
    assert ["Execution:Runtime/NewBinaryExecuted"] == [
        json.loads(line)["type"] for line in replay(path, "--json", "--sensitivity", "high").out.splitlines()
    ]


def test_a_finding_that_is_seen_again_is_the_same(tmp_path: Path, replay) -> None:
    """As in a collector: one id, and a count that rises."""
    with (GOLDEN / "simulated.vdt").open("rb") as file:
        recording = Recording(file, file.name)
        records = list(recording.records())
    told = replay(made(tmp_path / "twice", *records, *records, about=recording.about), "--json")

    once = [json.loads(line) for line in replay(GOLDEN / "simulated.vdt", "--json").out.splitlines()]
    twice = [json.loads(line) for line in told.out.splitlines()]
    counts = [{one["id"]: one["service"]["count"] for one in documents} for documents in (once, twice)]
    assert counts[0]
    assert {id_: 2 * count for id_, count in counts[0].items()} == counts[1]


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("options", [(), ("--json",), ("--sensitivity", "high")])
def test_the_same_file_tells_the_same(replay, name: str, options: tuple[str, ...]) -> None:
    """Two replays can be compared byte by byte."""
    path = GOLDEN / f"{name}.vdt"

    assert replay(path, *options) == replay(path, *options)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_may_end_anywhere(tmp_path: Path, replay, name: str) -> None:
    """However little of a recording is left, what is there is told: never more findings, and never a bug."""
    whole = (GOLDEN / f"{name}.vdt").read_bytes()
    everything = replay(GOLDEN / f"{name}.vdt", "--json").out
    for length in range(4096, len(whole), len(whole) // 16):
        path = tmp_path / "cut.vdt"
        path.write_bytes(whole[:length])
        told = replay(path, "--json")

        assert 0 == told.status
        assert everything.startswith(told.out)
