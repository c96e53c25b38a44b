"""What a sensor is: seven functions and nothing else.

The eBPF source and the user-space source both give records that the same
decoder understands; nobody downstream knows which one runs.
"""

from __future__ import annotations

from typing import NamedTuple
from typing import Protocol

from agent.model import ProbeStatus


class Harm(NamedTuple):
    """What somebody did to a sensor."""

    probe: str
    """The probe that does not see what it should."""
    what: str
    """`cgroup_sock_addr connect4 was detached`."""
    mended: bool
    """Whether it sees again."""


class Source(Protocol):
    """A stream of raw records of this host."""

    def open(self) -> tuple[ProbeStatus, ...]:
        """Start watching and say what became of each probe.  Raises HostUnsupported."""

    def poll(self, timeout_s: float) -> list[bytes]:
        """Return the records that are ready, oldest first; [] after `timeout_s` without any."""

    def let_go(self, token: int) -> bool:
        """Make a canary: its records come by every way that records take.  False when that is not possible here."""

    def counters(self) -> dict[str, int]:
        """Return totals since open: `reader.records`, and per probe what the kernel counted.

        `sensor.<name>.submitted`, `.repeated` (left out, nothing new), `.failed` (lost), `.truncated`, `.read_error`,
        `.throttled` (left out, over a budget).
        """

    def look_after(self) -> list[Harm]:
        """Look whether all that was attached still is, mend what can be, and return what was not as it should be."""

    def switch(self, kind: str, *, on: bool) -> None:
        """Make records of a kind again, or none from now on; for a kind of which open() said that it is attached."""

    def close(self) -> None:
        """Detach everything; nothing is left in the kernel.

        What was reported before can still be polled, and the counters are final: nothing is lost by an orderly end.
        """
