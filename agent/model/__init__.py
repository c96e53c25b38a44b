"""The nouns: what the kernel reported, who did it, where, and what we make of it.

Everything here is frozen data.  Unknown is `None`, never `""` or `0`.

Clocks: `*_ns` without more is the boot clock (CLOCK_BOOTTIME, what the probes
stamp); `*_at_ns` is Unix time; `*_ticks` are the 1/100 s clock ticks since boot
in which /proc/PID/stat states a start time.

Text that came from a process, a packet or a file name is attacker-controlled.
Bytes that are not UTF-8 arrive as `\\xNN` escapes; control characters are kept
here and escaped where text is shown.
"""

from __future__ import annotations

# All of a module: whoever adds an event edits no list.
from agent.model.events import *
from agent.model.judgement import *
from agent.model.places import *
from agent.model.ruled import *
from agent.model.subjects import *
