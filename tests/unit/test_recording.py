"""A recording gives back what was put in, and one from a stranger cannot do more than be refused."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import AgentBug
from agent.errors import StateError
from agent.model import Host
from agent.recording import FORMAT_VERSION
from agent.recording import MAGIC
from agent.recording import RECORD_BYTES
from agent.recording import TEXT_BYTES
from agent.recording import About
from agent.recording import BadRecording
from agent.recording import End
from agent.recording import Kind
from agent.recording import Recorder
from agent.recording import Recording

HOST = Host(id="h", name="web-1", boot_id="b", kernel="6.1", architecture="x86_64", mnt_ns=1, pid_ns=2)
ABOUT = About(
    vedette="1.2.3",
    host=HOST,
    boot_at_ns=1_700_000_000_000_000_000,
    began_at_ns=1_700_000_001_000_000_000,
    kinds=(Kind(name="process_exec", number=7, fixed_bytes=400),),
)
END = End(reason="it was told to", counters={"sensor.process_exec.failed": 3})
RECORDS = [b"one", b"two" * 1000]
MIB = 1 << 20


class Counted(io.BytesIO):
    """A file that knows the most that was asked of it at once."""

    most = 0

    def read(self, size: int | None = -1) -> bytes:
        self.most = max(self.most, size or 0)
        return super().read(size)


def written(path: Path, records: list[bytes] = RECORDS, end: End | None = END) -> bytes:
    """Return the bytes of a recording of these records."""
    recorder = Recorder(path, ABOUT, limit_bytes=MIB)
    assert all(recorder.write(record) for record in records)
    if end is None:
        recorder.close()
    else:
        recorder.end(end)
    return path.read_bytes()


def read(content: bytes) -> tuple[list[bytes], Recording]:
    """Return what is in a recording, and the recording, read through."""
    recording = Recording(io.BytesIO(content), "it.vdt")
    return list(recording.records()), recording


def sized(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


def headed(about: object, version: int = FORMAT_VERSION) -> bytes:
    """Return the beginning of a recording, whatever `about` is."""
    return MAGIC + version.to_bytes(4, "little") + sized(msgspec.json.encode(about))


def changed(**members: Any) -> dict[str, Any]:
    """Return `about` as JSON has it, with other members."""
    return json.loads(msgspec.json.encode(ABOUT)) | members


HEAD = headed(ABOUT)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Records, the host and the losses come back as they were."""
    records, recording = read(written(tmp_path / "a"))

    assert RECORDS == records
    assert (ABOUT, END, None) == (recording.about, recording.end, recording.cut_at)


def test_a_recording_is_for_its_owner(tmp_path: Path) -> None:
    """It holds command lines: nobody else on the host reads them."""
    written(tmp_path / "a")

    assert 0o600 == (tmp_path / "a").stat().st_mode & 0o777


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("elsewhere")])
def test_what_is_there_is_left_alone(tmp_path: Path, make: Any) -> None:
    """No file is overwritten, and no link followed: root may record into a directory of others."""
    make(tmp_path / "a")

    with pytest.raises(StateError, match="a exists already: name another file or remove it"):
        Recorder(tmp_path / "a", ABOUT, limit_bytes=MIB)
    assert not (tmp_path / "elsewhere").exists()


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    """The error names the file and why."""
    with pytest.raises(StateError, match="no/a cannot be written: No such file or directory"):
        Recorder(tmp_path / "no" / "a", ABOUT, limit_bytes=MIB)


def test_a_full_disk_is_one_sentence() -> None:
    """What the disk refuses is told as such, and not as a bug."""
    recorder = Recorder.__new__(Recorder)
    with open("/dev/full", "wb", buffering=0) as full:
        recorder._path, recorder._file, recorder._left_bytes = Path("a"), full, MIB

        with pytest.raises(StateError, match="a cannot be written: No space left on device"):
            recorder.write(b"record")


@pytest.mark.parametrize("record", [b"", b"x" * (RECORD_BYTES + 1)], ids=["empty", "long"])
def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, record: bytes) -> None:
    """A record that would look like the end, or like a broken file, is a bug of whoever made it."""
    recorder = Recorder(tmp_path / "a", ABOUT, limit_bytes=MIB)

    with pytest.raises(AgentBug, match=f"a record of {len(record)} bytes"):
        recorder.write(record)
    recorder.close()


@pytest.mark.parametrize("size", [1, 100, RECORD_BYTES])
def test_a_recording_is_never_larger_than_it_may_be(tmp_path: Path, size: int) -> None:
    """The disk is safe: the end, however long it is, fits into the limit, and what is refused leaves no trace."""
    recorder = Recorder(tmp_path / "a", ABOUT, limit_bytes=MIB)
    count = 0
    while recorder.write(bytes([count % 256]) * size):
        count += 1
    longest = {f"sensor.{number:0>100}.failed": 0 for number in range(500)}
    recorder.end(End(reason="full", counters=longest))
    content = (tmp_path / "a").read_bytes()

    assert MIB - TEXT_BYTES - RECORD_BYTES - 16 < len(content) <= MIB
    assert [bytes([number % 256]) * size for number in range(count)] == read(content)[0]


def test_a_recording_that_was_cut_is_read_up_to_the_cut(tmp_path: Path) -> None:
    """Wherever a file ends, the whole records before are there, and that it was cut is known."""
    content = written(tmp_path / "a")
    behind = [len(HEAD), len(HEAD) + 4 + len(RECORDS[0]), len(HEAD) + 8 + sum(map(len, RECORDS))]
    for length in range(len(HEAD), len(content)):
        records, recording = read(content[:length])
        whole = sum(length >= offset for offset in behind) - 1

        assert (RECORDS[:whole], None, behind[whole]) == (records, recording.end, recording.cut_at), length


def test_a_recording_whose_recorder_was_killed_is_cut(tmp_path: Path) -> None:
    """What was flushed is there, and nobody takes it for all."""
    records, recording = read(written(tmp_path / "a", end=None))

    assert (RECORDS, None) == (records, recording.end)
    assert recording.cut_at is not None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "it.vdt is not a recording of vedette", id="empty"),
        pytest.param(b"\x7fELF" * 9, "it.vdt is not a recording of vedette", id="another file"),
        pytest.param(HEAD.replace(b"\n", b"\r\n", 1), "it.vdt is not a recording of vedette", id="sent as text"),
        pytest.param(MAGIC, "offset 8: format version None", id="nothing but the magic"),
        pytest.param(headed(ABOUT, 2), "offset 8: format version 2; this vedette reads 1", id="of the future"),
        pytest.param(HEAD[:-1], "the file ends before its first record", id="cut in what it is about"),
        pytest.param(MAGIC + b"\1\0\0\0\xff\xff\xff\xff", "offset 12: 4294967295 bytes of about", id="endless about"),
        pytest.param(headed([]), "offset 16: Expected `object`", id="about nothing"),
        pytest.param(headed(changed(boot_at_ns=-1)), r"offset 16: .*\$.boot_at_ns", id="before 1970"),
        pytest.param(headed(changed(boot_at_ns=2**63)), r"offset 16: .*\$.boot_at_ns", id="after all time"),
        pytest.param(headed(changed(host={"id": 1})), r"offset 16: .*\$.host", id="no host"),
        pytest.param(headed(changed(kinds=[{}] * 2000)), r"offset 16: .*\$.kinds", id="too many kinds"),
        pytest.param(headed(changed(byte_order="big")), "records are big-endian, this host is", id="other byte order"),
        pytest.param(HEAD + b"\1\0\1\0", f"offset {len(HEAD)}: a record of 65537 bytes; the most", id="long record"),
        pytest.param(HEAD + sized(b"") + sized(b"[]"), f"offset {len(HEAD) + 8}: Expected", id="end of another shape"),
        pytest.param(HEAD + sized(b"") + sized(b"\xff"), f"offset {len(HEAD) + 8}: ", id="end that is no text"),
        pytest.param(
            HEAD + sized(b"") + sized(msgspec.json.encode(END)) + b"x", "something follows the end", id="more"
        ),
    ],
)
def test_what_breaks_the_format_is_refused(content: bytes, said: str) -> None:
    """A file from anybody costs one sentence that says where it is wrong."""
    with pytest.raises(BadRecording, match=said):
        read(content)


@given(st.binary(max_size=300), st.integers(0, len(HEAD) + 40), st.booleans())
def test_any_bytes(noise: bytes, at: int, replacing: bool) -> None:  # noqa: FBT001  drawn
    """Whatever is in a file, it gives records, a cut or a refusal, and no more is read at once than a limit allows."""
    good = HEAD + sized(b"record") + sized(b"") + sized(msgspec.json.encode(END))
    file = Counted(good[:at] + noise + good[at + len(noise) * replacing :])
    with contextlib.suppress(BadRecording):
        recording = Recording(file, "it.vdt")
        records = list(recording.records())

        assert (recording.end is None) == (recording.cut_at is not None)
        assert sum(map(len, records)) <= len(file.getvalue())
    assert file.most <= max(TEXT_BYTES, RECORD_BYTES)
