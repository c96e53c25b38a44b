"""Floods that the kernel keeps in a map: told once a second, and taken out when they are over."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Collection
from collections.abc import Iterator

from agent.probes import header
from agent.probes import throttled

_PERIOD_NS = 1_000_000_000
_FLOODS_MAX = 256  # as in ebpf/prelude_opens.c: while they come and go, a walk of the map may begin anew
_TIME = header.HEADER.offset("time_ns")
_KIND = header.HEADER.offset("kind")
_SINCE = throttled.RECORD.offset("since_ns")


class Floods:
    """Makes records of what the map holds; used by one thread."""

    def __init__(self, library: ctypes.PyDLL, map_fd: int, kinds: Collection[str]) -> None:
        """Look into the map behind `map_fd`, cgroup id -> struct throttled_record, if that is among the `kinds`."""
        self._wanted = throttled.PROBE.name in kinds
        self._submitted = 0
        self._library = library
        self._map_fd = map_fd
        self._due_ns = 0
        self._told: dict[int, tuple[int, int]] = {}
        """Of each flood when it began, and how much of it was told."""

    def records(self, now_ns: int, *, at_once: bool = False) -> list[bytes]:
        """Return one record for each cgroup of which something was withheld since the last time, a second ago."""
        if not self._wanted or (now_ns < self._due_ns and not at_once):
            return []
        self._due_ns = now_ns + _PERIOD_NS
        found = {cgroup: value for cgroup in list(self._cgroups()) if (value := self._value(cgroup)) is not None}
        self._told = {cgroup: told for cgroup, told in self._told.items() if cgroup in found}
        made = [self._record(cgroup, value, now_ns) for cgroup, value in found.items()]
        records = [record for record in made if record is not None]
        self._submitted += len(records)
        return records

    def counters(self) -> dict[str, int]:
        """Return how many records were made; nothing when they are not wanted."""
        return {f"sensor.{throttled.PROBE.name}.submitted": self._submitted} if self._wanted else {}

    def _record(self, cgroup: int, value: bytes, now_ns: int) -> bytes | None:
        """Return what is to be told of a flood; None, and forget it, when it was quiet."""
        flood = throttled.RECORD.unpack(value)
        began_ns = header.HEADER.unpack(value).time_ns
        since_ns, told = self._told.get(cgroup, (began_ns, 0))
        withheld = flood.withheld - (told if since_ns == began_ns else 0)
        if withheld <= 0:
            self._library.bpf_delete_elem(self._map_fd, ctypes.byref(ctypes.c_uint64(cgroup)))
            return None
        self._told[cgroup] = (began_ns, flood.withheld)
        record = bytearray(value)
        struct.pack_into("=QQ", record, _SINCE, began_ns, withheld)
        struct.pack_into("=Q", record, _TIME, now_ns)
        struct.pack_into("=I", record, _KIND, header.kind_number(throttled.PROBE.name))
        return bytes(record)

    def _cgroups(self) -> Iterator[int]:
        key, following = None, ctypes.c_uint64()
        for _ in range(_FLOODS_MAX):
            if self._library.bpf_get_next_key(self._map_fd, key, ctypes.byref(following)) != 0:
                return
            yield following.value
            key = ctypes.byref(ctypes.c_uint64(following.value))

    def _value(self, cgroup: int) -> bytes | None:
        value = ctypes.create_string_buffer(throttled.RECORD.size)
        found = self._library.bpf_lookup_elem(self._map_fd, ctypes.byref(ctypes.c_uint64(cgroup)), value)
        return value.raw if found == 0 else None
