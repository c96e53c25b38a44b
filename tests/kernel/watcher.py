"""The source without eBPF as a process of its own: writes its events to a file, one line of JSON each.

python -m tests.kernel.watcher FILE ptrace|polling
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import msgspec

from agent import probes
from agent.counters import Counters
from agent.decode import Decoder
from agent.sensor.userspace.source import Options
from agent.sensor.userspace.source import UserspaceSource

COUNTS_S = 0.5


def main(file: Path, mode: str) -> None:
    """Watch until the pid namespace ends."""
    counters = Counters()
    source = UserspaceSource(Options(tracing=mode == "ptrace"))
    source.open()
    decode = Decoder(probes.load(), counters, 0)
    with file.open("ab", buffering=0) as out:
        due_s, told = 0.0, False
        while True:
            for record in source.poll(0.05):
                event = decode(record)
                if event is not None:
                    out.write(msgspec.json.encode(event) + b"\n")
            totals = source.counters() | counters.snapshot()
            if not told and totals.get("sensor.tracer.submitted", -1) >= 0:
                out.write(json.dumps({"kind": "ready", "pid": os.getpid()}).encode() + b"\n")
                told = True
            if time.monotonic() > due_s:
                due_s = time.monotonic() + COUNTS_S
                out.write(json.dumps({"kind": "counts", **totals}).encode() + b"\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
