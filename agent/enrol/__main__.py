"""The child: an errand on standard input, its outcome on standard output."""

from __future__ import annotations

import sys

import msgspec

from agent.enrol import asking
from agent.enrol import errand


def main() -> None:
    """Do one errand."""
    outcome = asking.run(errand.read(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
