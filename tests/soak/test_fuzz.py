"""A minute of coverage-guided fuzzing against the decoder: hostile records never end the agent."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = int(os.environ.get("VEDETTE_FUZZ_SECONDS", "60"))


def test_no_record_ends_the_decoder(tmp_path: Path) -> None:
    """Records bred from golden ones for the code they reach: each becomes an event that can be sent, or is counted."""
    pytest.importorskip("atheris", reason="atheris is not installed: make fuzz installs it")
    command = [
        sys.executable,
        "-m",
        "tests.soak.fuzz_decode",
        tmp_path,
        f"-max_total_time={SECONDS}",
        "-print_final_stats=1",
    ]
    done = subprocess.run(
        [*command, f"-artifact_prefix={tmp_path}/"], capture_output=True, text=True, check=False, timeout=SECONDS + 120
    )

    assert 0 == done.returncode, done.stderr[-3000:]
    runs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert runs is not None
    print(f"{int(runs[1]):,} records in {SECONDS} s")  # noqa: T201  what was measured, shown by -s
    assert int(runs[1]) > 0
