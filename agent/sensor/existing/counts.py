"""What the child says of its work beside the records: numbers, in the words of the probes' loss counters."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Counts:
    """Each is `sensor.existing.NAME` among the counters of the agent."""

    repeated: int = 0
    """Left out, because they say nothing new."""
    failed: int = 0
    """Lost: over a limit, a namespace that we may not enter, or its process went while it was looked at."""
    unowned: int = 0
    """Sockets that no process holds: the kernel's own, and those whose last holder is going."""
