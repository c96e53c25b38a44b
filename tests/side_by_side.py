"""Every tier, some beside others: `make test`, where two cores have something to do.

    python tests/side_by_side.py

Tests of the kernel mostly wait for events; unit tests, packages, and what of the system tier watches no host compute,
and give way to them. They share nothing: each has a pytest of its own, and what VEDETTE_REQUIRE_TIERS asks is asked of
the one that can answer. Races, whose two sides must meet, and the rest of the system tier come after them, and have the
machine for themselves. The last line counts all.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from typing import IO
from typing import NamedTuple

BESIDE, FIRST, THEN = (("unit",), ("packaging",)), ("kernel",), ("system",)
SELECTED = {
    "packaging": "packaging or (system and beside)",
    "kernel": "kernel and not race",
    "system": "(system and not beside) or race",
}
REQUIRED = "VEDETTE_REQUIRE_TIERS"
NICE = 10  # a tenth of the weight: tests that wait for events are not what waits
FINE = {0, 5}  # pytest: all passed; nothing was selected
TALLY = re.compile(r"^(?:unit|kernel|system|packaging): (\d+) passed, (\d+) failed, (\d+) skipped$", re.MULTILINE)


class Beside(NamedTuple):
    """A run that goes on behind another, and what it says meanwhile."""

    run: subprocess.Popen[str]
    file: IO[str]

    def ended(self) -> tuple[int, str]:
        """Wait for its end; show what it said, and return the exit status and that."""
        status = self.run.wait()
        self.file.seek(0)
        said = self.file.read()
        self.file.close()
        sys.stdout.write(said)
        return status, said


def main() -> int:
    """Run all; return 0 when all passed."""
    beside = [_begun(tiers) for tiers in BESIDE]
    results = [_shown(FIRST), *(one.ended() for one in beside), _shown(THEN)]
    tallies = [tally for _, said in results for tally in TALLY.findall(said)]
    passed, failed, skipped = (sum(int(tally[which]) for tally in tallies) for which in range(3))
    sys.stdout.write(f"{passed} passed, {failed} failed, {skipped} skipped\n")
    return 0 if {status for status, _ in results} <= FINE and passed and not failed else 1


def _begun(tiers: tuple[str, ...]) -> Beside:
    """Start to run tiers with less weight."""
    file = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the run
    run = subprocess.Popen(_command(tiers), env=_environment(tiers), stdout=file, stderr=file, text=True)
    os.setpriority(os.PRIO_PROCESS, run.pid, NICE)
    return Beside(run, file)


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
    selected = " or ".join(SELECTED.get(tier, tier) for tier in tiers)
    return [sys.executable, "-m", "pytest", "-m", selected]


def _environment(tiers: tuple[str, ...]) -> dict[str, str]:
    """Return the environment, with those required tiers that are run here, and those that are none, to be refused."""
    known = {tier for group in (*BESIDE, FIRST, THEN) for tier in group}
    wanted = [name.strip() for name in os.environ.get(REQUIRED, "").split(",")]
    mine = [name for name in wanted if name in tiers or name not in known]
    return {**os.environ, REQUIRED: ",".join(filter(None, mine))}


if __name__ == "__main__":
    sys.exit(main())
