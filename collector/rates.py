"""How often something may be done, over all and by each who does it."""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv4Address
from ipaddress import ip_address
from ipaddress import ip_network
from urllib.parse import unquote

SOURCES_MAX = 10_000  # who asked longest ago is forgotten first, and starts afresh


def network_of(source: str) -> str:
    """Return what of an address, as gRPC writes it, is limited: of IPv6 the /64, as anybody has all of it."""
    try:
        address = ip_address(unquote(source).removeprefix("ipv4:").removeprefix("ipv6:").strip("[]"))
    except ValueError:  # a unix socket
        return source
    if isinstance(address, IPv4Address) or address.ipv4_mapped is not None:
        return source
    return str(ip_network((address, 64), strict=False))


class Rate:
    """A bucket for each source: `burst` at once, then `per_s`.  Seconds of one monotonic clock are handed in."""

    def __init__(self, *, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """How many more, and since when."""

    def allows(self, source: str, now_s: float) -> bool:
        """Count one and return whether it is within the rate; what is not costs nothing."""
        left, since_s = self._left.pop(source, (float(self._burst), now_s))
        left = min(self._burst, left + (now_s - since_s) * self._per_s)
        allowed = left >= 1
        self._left[source] = (left - 1 if allowed else left, now_s)
        if len(self._left) > SOURCES_MAX:
            self._left.popitem(last=False)
        return allowed
