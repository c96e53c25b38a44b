"""Notices runtimes that appear after us: inotify on the directories in which their sockets will be.

A directory that does not exist is waited for in the nearest one above it that does.
"""

from __future__ import annotations

import contextlib
import os

from inotify_simple import INotify
from inotify_simple import flags

_APPEARS = flags.CREATE | flags.MOVED_TO | flags.ONLYDIR


class Arrivals:
    """Looks without waiting; without inotify (fs.inotify.max_user_instances) nothing is noticed."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        self._paths = frozenset(paths)
        self._directories: dict[int, str] = {}
        try:
            self._inotify: INotify | None = INotify(nonblocking=True)
        except OSError:
            self._inotify = None
        self._watch()

    def look(self) -> tuple[str, ...]:
        """Return the sockets that were made since the last look, or may have been, in directories that were."""
        if self._inotify is None:
            return ()
        happened = self._inotify.read(timeout=0)
        if not happened:
            return ()
        made = {f"{self._directories.get(one.wd, '')}/{one.name}".replace("//", "/") for one in happened}
        found = self._paths & made
        fresh = self._watch()
        found |= {path for path in self._paths if os.path.dirname(path) in fresh and os.path.exists(path)}  # noqa: PTH110,PTH120
        return tuple(sorted(found))

    def close(self) -> None:
        """Watch no more."""
        if self._inotify is not None:
            self._inotify.close()

    def _watch(self) -> set[str]:
        """Watch what is there of the way to each; return the directories that were not watched before."""
        fresh: set[str] = set()
        inotify = self._inotify
        if inotify is None:
            return fresh
        for path in self._paths:
            directory = _nearest(os.path.dirname(path))  # noqa: PTH120  # a dozen, when something is made
            if directory in self._directories.values():
                continue
            with contextlib.suppress(OSError):
                self._directories[inotify.add_watch(directory, _APPEARS)] = directory
                fresh.add(directory)
        return fresh


def _nearest(directory: str) -> str:
    while directory != "/" and not os.path.isdir(directory):  # noqa: PTH112
        directory = os.path.dirname(directory)  # noqa: PTH120
    return directory or "/"
