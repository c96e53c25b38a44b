"""What the same lineage changed a little earlier: one finding shows what others are about.

Bounded: the newest `LIMIT` changes of sensitive files of the whole host.  Whoever changes more pushes out what is
older; a finding then names fewer, and says nothing that is wrong.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from agent.model import Context
from agent.model import Event
from agent.model import ProcessKey

LIMIT = 256  # ten times what one finding shows
SHOWN = 25  # GuardDuty's own bound of relatedFilePaths
WINDOW_NS = 300_000_000_000  # an installation by hand or by script; as long as somebody needs for the next command
_ANCESTORS = 2  # parent and grandparent: a shell and what it was started by
_INIT = 1  # everybody descends from it


class _Change(NamedTuple):
    at_ns: int
    path: str
    container_id: str | None
    lineage: frozenset[ProcessKey]


class RecentChanges:
    """The changes of sensitive files, newest last.  Implements `agent.model.Changes`."""

    def __init__(self) -> None:
        self._changes: deque[_Change] = deque(maxlen=LIMIT)

    def related(self, event: Event, context: Context, path: str) -> tuple[str, ...]:
        """Return other files that relatives changed in the same place, newest first; and remember this one."""
        now = _Change(event.at_ns, path, _place(context), _lineage(context))
        found: dict[str, None] = {}
        for change in reversed(self._changes):
            if change.path != path and _are_related(change, now):
                found[change.path] = None
        self._changes.append(now)
        return tuple(found)[:SHOWN]


def _are_related(earlier: _Change, now: _Change) -> bool:
    near = abs(now.at_ns - earlier.at_ns) <= WINDOW_NS
    return near and earlier.container_id == now.container_id and not earlier.lineage.isdisjoint(now.lineage)


def _place(context: Context) -> str | None:
    return None if context.container is None else context.container.id


def _lineage(context: Context) -> frozenset[ProcessKey]:
    keys = (process.key for process in (context.actor, *context.lineage[:_ANCESTORS]))
    return frozenset(key for key in keys if key.tgid > _INIT)
