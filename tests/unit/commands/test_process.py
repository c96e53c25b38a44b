"""A process of ours that is told to end, however often and at whatever moment."""

from __future__ import annotations

import subprocess
import sys

PATIENCE_S = 20.0  # it takes a tenth of a second

# A signal at each of the next hundred calls of a function: some come while the handler of the one before is at work.
INTERRUPTED = """
import os, signal, sys
from agent.commands import _process

left = 100

def interrupt(*_):
    global left
    if left:
        left -= 1
        os.kill(os.getpid(), signal.SIGTERM)

stop = _process.stop_on_signals()
sys.setprofile(interrupt)
while left:
    stop.is_set()
sys.setprofile(None)
print(stop.is_set())
"""


def test_it_ends_when_it_is_told_again_while_it_is_being_told() -> None:
    """A supervisor that is killed has the kernel send one SIGTERM for each of its threads: they come all at once."""
    command = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)

    assert (0, "True\n", "") == (done.returncode, done.stdout, done.stderr)
