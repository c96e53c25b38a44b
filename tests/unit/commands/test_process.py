"""A process of ours that is told to end, however often and at whatever moment."""

from __future__ import annotations

import subprocess
import sys

PATIENCE_S = 20.0  # it takes a tenth of a second

# So many that some come while the handler of the one before is at work.
INTERRUPTED = """
import os, signal
from agent.commands import _process

stop = _process.stop_on_signals()
supervisor = os.fork()
if not supervisor:
    for _ in range(50_000):
        os.kill(os.getppid(), signal.SIGTERM)
    os._exit(0)
while os.waitpid(supervisor, os.WNOHANG) == (0, 0):
    pass
print(stop.is_set())
"""


def test_it_ends_when_it_is_told_again_while_it_is_being_told() -> None:
    """A supervisor that is killed has the kernel send one SIGTERM for each of its threads: they come all at once."""
    command = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)

    assert (0, "True\n", "") == (done.returncode, done.stdout, done.stderr)
