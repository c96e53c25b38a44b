"""The child: tells what exists, once it is asked, and exits.

    python -m agent.sensor.existing FD

On standard input comes the request, in JSON: the kinds that are wanted and the
processes to leave out.  Records go to the descriptor FD, one behind the other,
and numbers to standard output, in JSON.  It is started early, and asked when the
probes are attached: so that nothing is too late for the one and too early for the
other, and what it needs is imported meanwhile.
"""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
from collections.abc import Iterator
from typing import Any

from agent.sensor.existing import mounts
from agent.sensor.existing import sockets
from agent.sensor.existing.counts import Counts
from agent.sensor.existing.processes import Processes

LIMIT_S = 30  # three times what its parent waits: it ends even when that is gone


def main(fd: int) -> None:
    """Answer one request; without one, end."""
    asked = sys.stdin.buffer.read()
    if not asked:
        return
    signal.alarm(LIMIT_S)
    counts = Counts()
    with open(fd, "wb") as out:  # a descriptor
        out.writelines(_records(json.loads(asked), counts))
    sys.stdout.write(json.dumps(dataclasses.asdict(counts)))


def _records(request: dict[str, Any], counts: Counts) -> Iterator[bytes]:
    processes = Processes(frozenset(request["own_tgids"]))
    kinds = frozenset(request["kinds"])
    if mounts.KIND in kinds:
        yield from mounts.records(processes, counts)
    if kinds & sockets.KINDS:
        yield from sockets.records(processes, kinds, counts)


if __name__ == "__main__":
    main(int(sys.argv[1]))
