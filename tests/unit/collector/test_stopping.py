"""A collector that is told to end, however often and at whatever moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PATIENCE_S = 20.0  # it takes a tenth of a second

INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from collector import server
from collector.config import Config

left = 100

def interrupt(*_):
    global left
    if left:
        left -= 1
        os.kill(os.getpid(), signal.SIGTERM)

folder = Path(sys.argv[1])
server.run(Config(listen=f"unix://{folder}/s", state_dir=folder), ready=lambda _: sys.setprofile(interrupt))
print(left)
"""


def test_it_ends_when_it_is_told_again_while_it_is_being_told(tmp_path: Path) -> None:
    """A supervisor that is killed has the kernel send one SIGTERM for each of its threads: they come all at once."""
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)

    assert (0, "0\n", "") == (done.returncode, done.stdout, done.stderr)


BLOCKED = """
import os, signal, sys
from pathlib import Path
from collector import server
from collector.config import Config

ENDING = 1 << signal.SIGTERM - 1 | 1 << signal.SIGINT - 1

def told(_):
    for task in Path("/proc/self/task").iterdir():
        blocked = (task / "status").read_text().partition("SigBlk:")[2].split()[0]
        print(int(blocked, 16) & ENDING == ENDING)
    os.kill(os.getpid(), signal.SIGTERM)

folder = Path(sys.argv[1])
server.run(Config(listen=f"unix://{folder}/s", state_dir=folder), ready=told)
"""


def test_what_ends_it_is_taken_where_it_is_waited_for_alone(tmp_path: Path) -> None:
    """Else one that comes while the main thread goes to sleep is noted, and sleeps with it: nothing ends it then."""
    command = [sys.executable, "-c", BLOCKED, str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)

    assert (0, {"True"}, "") == (done.returncode, set(done.stdout.split()), done.stderr)
