"""Messages of the children are text that any process may have had a part in: they become records, or are refused."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from pathlib import Path
from typing import Any

import pytest

from agent import probes
from agent.counters import Counters
from agent.decode import Decoder
from agent.model import ProcessExec
from agent.sensor.existing.cgroups import Cgroups
from agent.sensor.userspace import debuggers
from agent.sensor.userspace import facts
from agent.sensor.userspace import libraries
from agent.sensor.userspace import outlet
from agent.sensor.userspace import packets
from agent.sensor.userspace.file_records import names_of
from agent.sensor.userspace.outlet import Outlet
from agent.sensor.userspace.records import ENDED
from agent.sensor.userspace.records import Records
from agent.sensor.userspace.source import UNREADABLE

SEED = 4711


def message() -> dict[str, Any]:
    """Return what the tracer would say of this process."""
    directory = f"/proc/{os.getpid()}"
    told = {"kind": "exec", "time_ns": 1, "tgid": os.getpid(), "former": os.getpid()}
    return told | facts.identity(directory) | facts.image(directory)


def made(told: dict[str, Any]) -> bytes | None:
    """Return the record of a message."""
    return Records(Cgroups(Path("/proc"))).of(told)


def test_an_exec_becomes_the_event_that_the_decoder_knows() -> None:
    counters = Counters()
    record = made(message())
    assert record is not None
    event = Decoder(probes.load(), counters, 0)(record)
    assert isinstance(event, ProcessExec), counters.snapshot()
    assert (os.getpid(), os.path.realpath("/proc/self/exe"), str(Path.cwd())) == (event.tgid, event.path, event.cwd)
    assert Path("/proc/self/cmdline").read_bytes().split(b"\0")[0].decode() == event.args[0]


def test_long_arguments_keep_head_and_tail() -> None:
    words = b"".join(b"%06d\0" % number for number in range(10_000))
    kept = words[: facts.ARGS_HEAD] + words[facts.ARGS_HEAD - facts.ARGS_BYTES :]
    told = message() | {"args": kept, "args_bytes": len(words)}
    record = made(told)
    assert record is not None
    event = Decoder(probes.load(), Counters(), 0)(record)
    assert isinstance(event, ProcessExec)
    assert ("000000", "009999", len(words) - facts.ARGS_BYTES) == (
        event.args[0],
        event.args_tail[-1],
        event.args_omitted_bytes,
    )


def test_no_message_breaks_more_than_itself() -> None:
    """What the source catches, and nothing else, comes out of any message."""
    chance = random.Random(SEED)
    decode = Decoder(probes.load(), Counters(), 0)
    whole = message()
    for _ in range(2_000):
        told = {name: _spoilt(chance, value) if chance.random() < 0.2 else value for name, value in whole.items()}
        try:
            record = made(told | {"kind": "exec", "tgid": os.getpid()})
        except UNREADABLE:
            continue
        assert record is not None
        decode(record)


def _spoilt(chance: random.Random, value: Any) -> Any:
    if isinstance(value, bytes):
        return chance.choice((chance.randbytes(chance.randrange(64)), value[: chance.randrange(64)], value * 3))
    return chance.choice((0, 1 << 31, 1 << 70, -1)) if isinstance(value, int) else value


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (b"/usr/bin/x", b"x\0bin\0usr\0"),
        (b"/", b""),
        (b"/usr/bin/x (deleted)", b"x\0bin\0usr\0"),
        (b"/memfd:a/b (deleted)", b"memfd:a/b\0"),
        (b"", b"\0"),
    ],
)
def test_paths_are_written_from_the_leaf_up(path: bytes, names: bytes) -> None:
    assert names == names_of(path)


def test_programs_that_can_trace_are_told_by_what_they_import(tmp_path: Path) -> None:
    known = debuggers.Debuggers()
    (tmp_path / "exe").symlink_to("/usr/bin/strace")
    assert known.is_one(str(tmp_path), b"renamed", (1, 1, 1))
    (tmp_path / "exe").unlink()
    (tmp_path / "exe").symlink_to("/bin/sh")
    assert not known.is_one(str(tmp_path), b"sh", (1, 2, 1))
    assert known.is_one(str(tmp_path), b"gdb", (1, 3, 1))
    chance = random.Random(SEED)
    whole = Path("/usr/bin/strace").read_bytes()[:4096]
    (tmp_path / "exe").unlink()
    for number in range(200):
        at = chance.randrange(64)
        (tmp_path / "exe").write_bytes(whole[:at] + chance.randbytes(8) + whole[at + 8 :])
        known.is_one(str(tmp_path), b"x", (2, number, 1))  # says something, and raises nothing


def test_what_the_agent_does_not_take_is_bounded_and_counted() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        out = Outlet(theirs.fileno())
        for number in range(3_000):
            out.tell({"number": number, "text": bytes(2_000)})
            out.flush(now=True)
        assert 0 < out.dropped < 3_000
        seen = []
        ours.setblocking(False)
        for _ in range(2_000):
            out.flush(now=True)
            try:
                seen += [told["number"] for told in outlet.messages(ours.recv(outlet.MESSAGE_BYTES))]
            except BlockingIOError:
                break
        assert seen == sorted(set(seen))
        assert 3_000 == len(seen) + out.dropped


def test_a_packet_that_lies_about_its_lengths_is_no_packet() -> None:
    whole = bytes.fromhex("45000028000000004006000001020304050607080050ff000000000000000000500200000000000000")
    assert packets.parsed(whole, outgoing=True) is not None
    for length in range(len(whole)):
        with contextlib.suppress(*packets.UNREADABLE):
            packets.parsed(whole[:length], outgoing=True)


def test_mapped_files_are_those_that_are_executable() -> None:
    maps = (
        b"7f00-7f01 r-xp 00000000 fe:00 42                         /usr/lib/a b.so\n"
        b"7f01-7f02 rw-p 00001000 fe:00 42                         /usr/lib/a b.so\n"
        b"7f02-7f03 r-xp 00000000 00:00 0                          [vdso]\nnonsense\n7f"
    )
    assert [(os.makedev(0xFE, 0), 42, b"/usr/lib/a b.so")] == list(libraries.mapped(maps))


def test_who_ended_is_remembered_for_a_while_and_not_for_ever() -> None:
    records = Records(Cgroups(Path("/proc")))
    told = message() | {"kind": "seen"}
    for tgid in range(1, ENDED + 3):
        records.of(told | {"tgid": tgid})
        if tgid > 1:
            records.of({"kind": "exit", "time_ns": 1, "tgid": tgid, "status": 0})
    assert [True, False, True] == [bool(records.actor(tgid)) for tgid in (1, 2, 3)]
    records.of(told | {"tgid": 3})  # a number that is used again
    records.of(told | {"tgid": 2})
    records.of({"kind": "exit", "time_ns": 1, "tgid": 2, "status": 0})
    assert records.actor(3)
