"""What each kind of hook costs whoever runs into it, before the probe behind it has looked at anything.

Measured by bench/hooks.py on a virtual machine with two cores and Linux 6.18; a
slower processor pays more, in proportion.  What the probes then do is measured by
bench/sensor.py, operation by operation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_NS_PER_US = 1_000


@dataclass(frozen=True)
class Price:
    """What one run of a hook takes."""

    ns: int
    unit: str
    """What is paid for."""
    elsewhere_ns: int = 0
    """What every other system call on the host pays as soon as there is one such hook, however many there are."""

    def __str__(self) -> str:
        """Return it in words."""
        elsewhere = f", {_us(self.elsewhere_ns)} any other call" if self.elsewhere_ns else ""
        return f"{_us(self.ns)} {self.unit}{elsewhere}"


PRICES = {
    "raw_tracepoint": Price(56, "an event"),
    # The kernel takes its slow way out of every call while one of them is traced (SYSCALL_WORK_SYSCALL_TRACEPOINT).
    "tracepoint": Price(137, "a hooked call", elsewhere_ns=53),
    "cgroup_sock_addr": Price(190, "an address given to the kernel"),
    "cgroup_skb": Price(90, "a packet"),
    "program_array": Price(10, "a request"),
}
"""By kind of hook, in the order in which they are told."""

COMPAT = Price(148, "every system call of the host")
"""While calls of i386 are looked at (agent/sensor/ebpf/compat.py)."""


def told(kinds: Iterable[str]) -> str:
    """Return in words what hooks of these kinds cost together."""
    among = set(kinds)
    return "; ".join(str(price) for kind, price in PRICES.items() if kind in among)


def _us(ns: int) -> str:
    return f"{ns / _NS_PER_US:.2f} us"
