"""Gives back what only the start of a long-running process needed.

Importing gRPC, libpython and libcrypto touches nearly all of their 20 MB of program text, of which the work that
follows needs a third.  The pages are the files' own, unchanged: what is needed again comes from the page cache,
without reading.  They count as resident memory of every process that has them mapped.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import re
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path

_MADV_DONTNEED = 4  # include/uapi/asm-generic/mman-common.h
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r-[x-]p [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ [1-9][0-9]* +/")


def give_back() -> None:
    """Let go of garbage, of heap that is free, and of unchanged pages of programs and libraries."""
    gc.collect()
    gc.freeze()  # what is there now stays: nobody needs to look through it again
    libc = ctypes.CDLL(None)
    libc.malloc_trim(0)
    with Path("/proc/self/smaps").open(encoding="utf-8", errors="surrogateescape") as lines:
        unchanged = list(unchanged_text(lines))
    for start, end in unchanged:
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def resident_bytes() -> int:
    """Return how much memory this process has (proc(5), /proc/PID/statm): psutil would make it 1.4 MB more."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE


def unchanged_text(smaps: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield begin and end of every mapping of a file that nobody may write, and of which no page was changed.

    A page that was, such as one that the loader relocated before it was protected, is in no file: it must stay.
    """
    mapping: re.Match[str] | None = None
    for line in smaps:
        if not line[0].isupper():
            mapping = _MAPPING.match(line)
        elif mapping is not None and line.split() == ["Anonymous:", "0", "kB"]:
            yield int(mapping[1], 16), int(mapping[2], 16)
