"""The source without eBPF: libraries that are younger than the container."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.kernel.task import task

_LOAD = "import ctypes, os, sys, time; ctypes.CDLL(sys.argv[1]); print(os.getpid(), flush=True); time.sleep(2)"


def test_a_library_that_was_brought_in_is_told_and_those_of_the_image_are_not(tmp_path: Path) -> None:
    with task() as made:
        made.watch(tmp_path / "events")
        library = tmp_path / "libnew.so"
        found = next(path for path in Path("/usr/lib").rglob("libz.so.1*") if path.is_file())
        shutil.copy(found, library)
        pid = int(made.run([sys.executable, "-c", _LOAD, str(library)]).out)
        event = made.until(lambda event: event["kind"] == "library_map")
        assert (pid, str(library), ["sampled"]) == (event["tgid"], event["path"], event["flags"])
        assert (library.stat().st_ino, library.stat().st_ctime_ns) == (event["inode"], event["changed_at_ns"])
        assert [str(library)] == [event["path"] for event in made.seen() if event["kind"] == "library_map"]
