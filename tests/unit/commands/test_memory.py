"""What the start alone needed is given back, and nothing else."""

from __future__ import annotations

import subprocess
import sys

from agent.commands._memory import unchanged_text

SMAPS = """\
55d0-55e0 r--p 00000000 fe:00 11 /usr/bin/python3
Rss:                  64 kB
Anonymous:             0 kB
55e0-55f0 r-xp 00010000 fe:00 11 /usr/bin/python3
Anonymous:             0 kB
VmFlags: rd ex mr mw me
55f0-5600 r--p 00020000 fe:00 11 /usr/bin/python3
Anonymous:             8 kB
5600-5610 rw-p 00030000 fe:00 11 /usr/bin/python3
Anonymous:             0 kB
5610-5620 rw-p 00000000 00:00 0 [heap]
Anonymous:            12 kB
5620-5630 r--s 00000000 fe:00 12 /var/lib/list
Anonymous:             0 kB
5630-5640 r--p 00000000 00:00 0
Anonymous:             0 kB
5640-5650 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
"""
PROGRAM = """
import ssl, sqlite3, hashlib
from agent.commands import _memory
resident = lambda: int(open("/proc/self/statm").read().split()[1])
before = resident()
_memory.give_back()
after = resident()
print(after < before, hashlib.sha256(b"").hexdigest()[:8], sqlite3.connect(":memory:").execute("select 1").fetchone())
"""


def test_what_was_changed_or_can_be_stays() -> None:
    """Only private mappings of files count that nobody may write and of which no page was changed."""
    assert [(0x55D0, 0x55E0), (0x55E0, 0x55F0)] == list(unchanged_text(SMAPS.splitlines(keepends=True)))


def test_a_process_is_smaller_and_goes_on() -> None:
    """A process that gave back is smaller, and what it calls then is read again from its files."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, timeout=60)

    assert ran.stdout.split(maxsplit=2) == ["True", "e3b0c442", "(1,)\n"]
