"""Files that wait to be read: in the order they were asked for, but for those that somebody waits for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Job = TypeVar("Job")


class Jobs(Generic[Key, Job]):
    """A bounded queue whose entries can be called to its front; for any number of threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: OrderedDict[Key, Job] = OrderedDict()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, key: Key, job: Job) -> bool:
        """Add an entry at the end, or replace the one of this key; return False when there is no room."""
        with self._changed:
            if key not in self._waiting and len(self._waiting) >= self._limit:
                return False
            self._waiting[key] = job
            self._changed.notify()
            return True

    def hasten(self, key: Key) -> None:
        """Have an entry be the next one, if it still waits."""
        with self._changed:
            if key in self._waiting:
                self._waiting.move_to_end(key, last=False)

    def take(self) -> tuple[Key, Job] | None:
        """Wait for the next entry and return it; None when the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            return None if self._closed else self._waiting.popitem(last=False)

    def clear(self) -> list[Key]:
        """Give up what waits, and return it."""
        with self._changed:
            keys = list(self._waiting)
            self._waiting.clear()
            return keys

    def close(self) -> None:
        """Have `take` return None, now and ever after."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._waiting)
