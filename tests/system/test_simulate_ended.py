"""`vedette simulate` ended from outside, at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.running import ROOT
from tests.system.running import WAIT_S
from tests.system.running import command


def mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.split()[4] for line in lines if line.split()[4].startswith(f"{folder}/")]


def containers_below(folder: Path) -> list[str]:
    listed = subprocess.run(["runc", "list", "--format=json"], capture_output=True, text=True, check=True).stdout
    return [one["id"] for one in json.loads(listed) or [] if one["bundle"].startswith(f"{folder}/")]


MOMENTS: dict[str, Callable[[Path], object]] = {
    "its memory is mounted": mounts_below,
    "its root is mounted": lambda folder: len(mounts_below(folder)) > 1,
    "its container runs": lambda folder: list(folder.glob("*/pid")),
}


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGTERM, id="told to end"), pytest.param(signal.SIGHUP, id="terminal closed")]
)
@pytest.mark.parametrize("moment", MOMENTS)
def test_what_ends_a_simulation_leaves_nothing_behind(moment: str, number: signal.Signals, tmp_path: Path) -> None:
    """Neither a mount nor a container nor a directory, wherever the deed was; the status says what ended it."""
    simulation = subprocess.Popen(
        command("simulate", "NewLibraryLoaded"),
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
    )
    while simulation.poll() is None and not MOMENTS[moment](tmp_path):
        pass  # a deed takes a quarter of a second: there is no time to sleep
    simulation.send_signal(number)

    assert 128 + number == simulation.wait(WAIT_S)
    assert ([], [], []) == (mounts_below(tmp_path), containers_below(tmp_path), list(tmp_path.iterdir()))
