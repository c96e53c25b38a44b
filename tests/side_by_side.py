"""Every tier, in rounds, two side by side where that harms neither: `make test`, where two cores have something to do.

    python tests/side_by_side.py

Tests of the kernel mostly wait for events, unit tests compute, and give way to them. Packages are made beside what of
the system tier watches no host: nowhere else, as the files that a build opens by the thousand would fill the rings of
who watches. Races, and what of the system tier watches, have the machine for themselves. They share nothing: each has a
pytest of its own, and what VEDETTE_REQUIRE_TIERS asks is asked of the one that can answer. The last line counts all.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from typing import IO
from typing import NamedTuple


class Part(NamedTuple):
    """Some of the tests."""

    selected: str
    """By pytest's `-m`."""
    tier: str | None = None
    """The tier that is asked for here, if one has to run."""


ROUNDS = (
    (Part("kernel and not race", "kernel"), Part("unit", "unit")),
    (Part("system and beside"), Part("packaging", "packaging")),
    (Part("(system and not beside) or race", "system"),),
)
"""One after the other: the first of each is shown as it goes on, the second gives way to it."""
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
    results = []
    for first, *others in ROUNDS:
        beside = [_begun(part) for part in others]
        results += [_shown(first), *(one.ended() for one in beside)]
    tallies = [tally for _, said in results for tally in TALLY.findall(said)]
    passed, failed, skipped = (sum(int(tally[which]) for tally in tallies) for which in range(3))
    sys.stdout.write(f"{passed} passed, {failed} failed, {skipped} skipped\n")
    return 0 if {status for status, _ in results} <= FINE and passed and not failed else 1


def _begun(part: Part) -> Beside:
    """Start to run a part with less weight."""
    file = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the run
    run = subprocess.Popen(_command(part), env=_environment(part), stdout=file, stderr=file, text=True)
    os.setpriority(os.PRIO_PROCESS, run.pid, NICE)
    return Beside(run, file)


def _shown(part: Part) -> tuple[int, str]:
    """Run a part, and show what it says; return the exit status and all of that."""
    said = []
    with subprocess.Popen(_command(part), env=_environment(part), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            said.append(line)
    return run.returncode, "".join(said)


def _command(part: Part) -> list[str]:
    return [sys.executable, "-m", "pytest", "-m", part.selected]


def _environment(part: Part) -> dict[str, str]:
    """Return the environment, with the tier of this part if it is required, and those that are none, to be refused."""
    known = {one.tier for group in ROUNDS for one in group}
    wanted = [name.strip() for name in os.environ.get(REQUIRED, "").split(",")]
    mine = [name for name in wanted if name == part.tier or name not in known]
    return {**os.environ, REQUIRED: ",".join(filter(None, mine))}


if __name__ == "__main__":
    sys.exit(main())
