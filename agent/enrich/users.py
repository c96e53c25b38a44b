"""Names of users: from the host's user database, for processes of the host.

Blind to: users of a container, whose database is its own (their name is None);
everything, when the agent itself runs in another mount namespace than process 1,
as in a DaemonSet, because it would read its own image's database.  A name service
over the network is asked once per user and minute at most, and while it is slow
so is the pipeline.
"""

from __future__ import annotations

import pwd

CACHED_USERS = 1_024  # users of a host that start processes; asked anew when forgotten
RETRY_NS = 60_000_000_000  # a user that was not there may have been made since
UID_LIMIT = 2**32 - 1  # (uid_t) -1 means no user


class UserNames:
    """Caches the names of user ids; switched off where the database is not the host's."""

    def __init__(self, mnt_ns: int | None, own_mnt_ns: int | None) -> None:
        self._mnt_ns = mnt_ns if mnt_ns == own_mnt_ns else None
        self._names: dict[int, str] = {}
        self._missing_ns: dict[int, int] = {}

    def of(self, uid: int | None, mnt_ns: int | None, now_ns: int) -> str | None:
        """Return the name of `uid` for a process in `mnt_ns`; `now_ns` on the boot clock."""
        if uid is None or self._mnt_ns is None or mnt_ns != self._mnt_ns:
            return None
        name = self._names.get(uid)
        return name if name is not None else self._ask(uid, now_ns)

    def size(self) -> int:
        """Return how many users are remembered, present or missing."""
        return len(self._names) + len(self._missing_ns)

    def _ask(self, uid: int, now_ns: int) -> str | None:
        missing_ns = self._missing_ns.get(uid)
        if missing_ns is not None and now_ns < missing_ns + RETRY_NS:
            return None
        if self.size() >= CACHED_USERS:
            self._names.clear()
            self._missing_ns.clear()
        try:
            name = pwd.getpwuid(uid).pw_name if 0 <= uid < UID_LIMIT else None
        except KeyError:
            name = None
        if name is None:
            self._missing_ns[uid] = now_ns
            return None
        self._missing_ns.pop(uid, None)
        self._names[uid] = name
        return name
