"""Coverage-guided fuzzing of what reads hostile records: `python -m tests.soak.fuzz_decode FOLDER -max_total_time=60`.

FOLDER collects what reached new code; libFuzzer's options follow it. It begins with the golden records. The property:
whatever the bytes are, a record becomes an event that can be sent and shown, or it is counted; nothing is raised.

Needs atheris, which `make fuzz` installs: https://github.com/google/atheris
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["agent"]):
    from agent import probes
    from agent.counters import Counters
    from agent.decode import Decoder
    from agent.deliver import wire
    from agent.model import Host
    from agent.model import Surroundings
    from agent.probes.header import HEADER
    from agent.terminal import json_line

import msgspec

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
PROBES = probes.load()
HOST = Host(id="i-1", name="web", boot_id="b", kernel="k", architecture="x86_64", mnt_ns=1, pid_ns=1)
NOBODY = Surroundings(host=HOST, actor=None)
LENGTH_AT = HEADER.offset("len")


def one(data: bytes) -> None:
    """Take `data` for a record.  Raises AssertionError when what becomes of it breaks the property."""
    if len(data) >= HEADER.size:  # that the length must agree is soon learnt; what lies behind is what is wanted
        data = data[:LENGTH_AT] + struct.pack("=I", len(data)) + data[LENGTH_AT + 4 :]
    counters = Counters()
    event = Decoder(PROBES, counters, wall_offset_ns=0)(data)
    assert 1 == counters.get("decode.events") + counters.get("decode.malformed")
    if event is not None:
        assert wire.Encoder(counters).event(event, NOBODY, None)
        assert json_line(msgspec.to_builtins(event)).isascii()


def main() -> None:
    """Fuzz until told to stop, or to the first failure, whose bytes libFuzzer keeps in a file."""
    folder = Path(sys.argv[1])
    for record in GOLDEN.glob("*.bin"):
        (folder / record.stem).write_bytes(record.read_bytes())
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
