"""Looks after what is ours in the kernel: hooks, the list of our own processes, and what the programs go by.

What can be put right is put right at once; everything found is told, mended or not.

Blind to: what is undone and done again between two looks, and what only a kernel
module can do.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from typing import Any

from agent.errors import HostUnsupported
from agent.sensor.ebpf import canary
from agent.sensor.ebpf import links
from agent.sensor.ebpf import ring
from agent.sensor.ebpf.links import Held
from agent.sensor.source import Harm

_ONE = b"\1"  # a value of own_tgids


class Told:
    """What we wrote into the maps that programs go by."""

    def __init__(self, library: ctypes.PyDLL, maps: dict[str, int]) -> None:
        """Write into `maps`: descriptors by name."""
        self._library = library
        self._maps = maps
        self._entries: dict[tuple[str, bytes], tuple[bytes, Harm]] = {}

    def write(self, place: tuple[str, bytes], value: bytes, harm: Harm) -> None:
        """Write an entry, by the name of its map and its key; `harm` is told when it is found changed.

        Raises HostUnsupported when the kernel refuses.
        """
        name, key = place
        ring.put(self._library, self._maps[name], key, value)
        self._entries[place] = value, harm

    def changed(self) -> list[Harm]:
        """Return what was done to the entries, each kind of harm once, after writing them anew."""
        harms = []
        for (name, key), (value, harm) in self._entries.items():
            if links.lookup(self._maps[name], key, len(value)) != value:
                harms.append(harm._replace(mended=self._written(name, key, value)))
        return list(dict.fromkeys(harms))

    def _written(self, name: str, key: bytes, value: bytes) -> bool:
        try:
            ring.put(self._library, self._maps[name], key, value)
        except HostUnsupported:
            return False
        return True


class Guard:
    """Our hooks, our map of processes that are left out, and what the programs go by."""

    def __init__(self, hooks: tuple[Held, ...], maps: dict[str, int], own_tgids: Iterable[int], told: Told) -> None:
        """Look after `hooks`; `maps`: descriptors by name; `own_tgids`: what we put into the map of that name."""
        self._told = told
        self._hooks = hooks
        self._maps = maps
        self._own_tgids = set(own_tgids)

    def look(self) -> list[Harm]:
        """Return what is not as we made it, after mending what can be."""
        return [*self._hooks_harmed(), *self._processes_hidden(), *self._told.changed()]

    def _hooks_harmed(self) -> list[Harm]:
        gone = [hook for hook in self._hooks if not links.is_attached(hook, self._maps)]
        return [
            Harm(hook.probe, f"{hook.kind} {hook.target} was detached", links.attach_again(hook, self._maps))
            for hook in gone
        ]

    def _processes_hidden(self) -> list[Harm]:
        """Take out of the map who is not ours, and put ourselves back."""
        own = self._maps["own_tgids"]
        found = set(links.keys(own))
        strangers = found - self._own_tgids
        harms = [
            Harm(canary.PROBE, f"process {tgid} was hidden from every probe", _taken(own, tgid)) for tgid in strangers
        ]
        if os.getpid() not in found:
            links.put(own, os.getpid(), _ONE)
            harms.append(Harm(canary.PROBE, "the agent was no longer known as our own", mended=True))
        self._own_tgids &= found | {os.getpid()}  # who has ended does not come back: its number is somebody else's
        return harms


def held_by(answer: dict[str, Any], fds: list[int]) -> tuple[Held, ...]:
    """Return the hooks that the loader handed over; what calls programs in arrays counts for each probe behind it."""
    hooks = [(entry["name"], hook) for entry in answer["probes"] for hook in entry.get("hooks", [])]
    called = dict.fromkeys(name for name, hook in hooks if hook["kind"] == "program_array")
    hooks += [(name, hook) for name in called for hook in answer["dispatchers"]]
    return tuple(links.held(name, hook, [fds[place] for place in hook["fds"]]) for name, hook in hooks)


def _taken(own: int, tgid: int) -> bool:
    try:
        links.take_out(own, tgid)
    except OSError:
        return False
    return True
