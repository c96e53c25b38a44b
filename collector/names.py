"""Names of event files, and what they say.

    events/class=process_activity/day=2026-09-01/host=i-0abc/part-<spool id>-<first>-<last>.parquet

`first` and `last` are the sequences that a file covers: those in between that
are of its class are in it.  Files of one spool are
written in order of sequence and one after the other, so that the greatest
`last` of a spool is its durable sequence, whatever became of anything else.
A file whose range lies within that of a neighbour in its folder was merged
into it and is not read any more.

Host ids and spool ids are an agent's word: a host id is percent-encoded and
bounded, a spool id has a narrow alphabet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC
from datetime import date
from datetime import datetime
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

SPOOL_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
HOST_ID_LIMIT = 255  # bytes; more than any instance id, machine id or DNS name
_ENCODED_LIMIT = 200  # bytes; a file name has 255, less `host=`
_NS_PER_S = 1_000_000_000
KEEP_DAYS = 90  # GuardDuty's retention; an event that claims to be older goes to the oldest such day
_PART = re.compile(r"part-([0-9A-Za-z_-]{1,64})-(\d{1,20})-(\d{1,20})\.parquet")


class AgentKey(NamedTuple):
    """Which sequences: those of one spool of one host."""

    host_id: str
    spool_id: str


class Part(NamedTuple):
    """An event file by its name."""

    spool_id: str
    first: int
    last: int

    @property
    def name(self) -> str:
        """Return its file name."""
        return f"part-{self.spool_id}-{self.first}-{self.last}.parquet"

    def within(self, other: Part) -> bool:
        """Whether `other` holds all of this one and is not this one."""
        same = self.spool_id == other.spool_id and self != other
        return same and other.first <= self.first and self.last <= other.last


def parse_part(name: str) -> Part | None:
    """Return what a file name says, or None when it is not an event file's."""
    match = _PART.fullmatch(name)
    return Part(match[1], int(match[2]), int(match[3])) if match else None


def superseded(parts: Iterable[Part]) -> set[Part]:
    """Return those parts of one folder that lie within another."""
    found = set()
    widest: Part | None = None
    for part in sorted(set(parts), key=lambda p: (p.spool_id, p.first, -p.last)):
        if widest is not None and part.within(widest):
            found.add(part)
        else:
            widest = part
    return found


def host_folder(host_id: str) -> str:
    """Return the folder of a host: its id percent-encoded, or a hash when that is too long for a name."""
    encoded = quote(host_id, safe="")
    if len(encoded) > _ENCODED_LIMIT:
        encoded = "%sha256-" + sha256(host_id.encode()).hexdigest()  # `%s` comes out of no encoding
    return f"host={encoded}"


def folder(root: Path, class_name: str, day: date, host_id: str) -> Path:
    """Return where events of one class, day and host are."""
    return root / f"class={class_name}" / day_folder(day) / host_folder(host_id)


def day_folder(day: date) -> str:
    """Return the folder of a day, in UTC."""
    return f"day={day.isoformat()}"


def parse_day(folder: str) -> date | None:
    """Return the day of a folder, or None when it is not one."""
    try:
        return date.fromisoformat(folder.removeprefix("day=")) if folder.startswith("day=") else None
    except ValueError:
        return None


def day_of(at_ns: int, now_ns: int) -> date:
    """Return the UTC day of `at_ns`, held between KEEP_DAYS ago and tomorrow: an agent's clock is its own."""
    today = datetime.fromtimestamp(now_ns // _NS_PER_S, UTC).date()
    oldest, newest = today - timedelta(days=KEEP_DAYS), today + timedelta(days=1)
    try:
        claimed = datetime.fromtimestamp(at_ns // _NS_PER_S, UTC).date()
    except (ValueError, OverflowError, OSError):
        claimed = newest if at_ns > 0 else oldest
    return min(max(claimed, oldest), newest)
