"""Every tier, the unit tests beside those of the kernel: `make test`, where two cores have something to do.

    python tests/side_by_side.py

Tests of the kernel mostly wait for events; unit tests compute, and give way to them. They share nothing: each has a
pytest of its own, and what VEDETTE_REQUIRE_TIERS asks is asked of the one that can answer. Races, whose two sides must
meet, and the system tier come after both, and have the machine for themselves. The last line counts all.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile

BESIDE, FIRST, THEN = ("unit",), ("kernel",), ("system", "packaging")
SELECTED = {BESIDE: "unit", FIRST: "kernel and not race", THEN: "system or packaging or race"}
REQUIRED = "VEDETTE_REQUIRE_TIERS"
NICE = 10  # a tenth of the weight: tests that wait for events are not what waits
FINE = {0, 5}  # pytest: all passed; nothing was selected
TALLY = re.compile(r"^(?:unit|kernel|system|packaging): (\d+) passed, (\d+) failed, (\d+) skipped$", re.MULTILINE)


def main() -> int:
    """Run all; return 0 when all passed."""
    with tempfile.TemporaryFile("w+") as file:
        beside = subprocess.Popen(_command(BESIDE), env=_environment(BESIDE), stdout=file, stderr=file)
        os.setpriority(os.PRIO_PROCESS, beside.pid, NICE)
        first = _shown(FIRST)
        statuses = [beside.wait(), first[0]]
        file.seek(0)
        said = file.read()
    sys.stdout.write(said)
    then = _shown(THEN)
    tallies = [tally for text in (said, first[1], then[1]) for tally in TALLY.findall(text)]
    passed, failed, skipped = (sum(int(tally[which]) for tally in tallies) for which in range(3))
    sys.stdout.write(f"{passed} passed, {failed} failed, {skipped} skipped\n")
    return 0 if {*statuses, then[0]} <= FINE and passed and not failed else 1


def _shown(tiers: tuple[str, ...]) -> tuple[int, str]:
    """Run tiers, and show what they say; return the exit status and all of that."""
    said = []
    with subprocess.Popen(_command(tiers), env=_environment(tiers), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            said.append(line)
    return run.returncode, "".join(said)


def _command(tiers: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "pytest", "-m", SELECTED[tiers]]


def _environment(tiers: tuple[str, ...]) -> dict[str, str]:
    wanted = [name.strip() for name in os.environ.get(REQUIRED, "").split(",")]
    mine = [
        name for name in wanted if name in tiers or name not in {one for half in (BESIDE, FIRST, THEN) for one in half}
    ]
    return {**os.environ, REQUIRED: ",".join(filter(None, mine))}


if __name__ == "__main__":
    sys.exit(main())
