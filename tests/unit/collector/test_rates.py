"""How often something may be done."""

from __future__ import annotations

import pytest

from collector import rates
from collector.rates import Rate
from collector.rates import network_of


def test_a_burst_then_a_rate_for_each_source() -> None:
    """What is refused costs nothing, and nobody pays for another."""
    rate = Rate(per_s=2, burst=3)
    assert [True, True, True, False, False] == [rate.allows("a", 100.0) for _ in range(5)]
    assert rate.allows("b", 100.0)
    assert [True, False] == [rate.allows("a", 100.5) for _ in range(2)]
    assert [True, True, True, False] == [rate.allows("a", 1000.0) for _ in range(4)]


def test_sources_are_bounded() -> None:
    """A flood from everywhere takes no more memory than so many."""
    rate = Rate(per_s=0, burst=1)
    for number in range(rates.SOURCES_MAX + 5):
        rate.allows(str(number), 0.0)
    assert rates.SOURCES_MAX == len(rate._left)


@pytest.mark.parametrize(
    ("source", "network"),
    [
        ("ipv4:198.51.100.7", "ipv4:198.51.100.7"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D", "2001:db8:1:2::/64"),
        ("ipv6:%5B2001:db8:1:2::1%5D", "2001:db8:1:2::/64"),
        ("ipv6:%5B::ffff:198.51.100.7%5D", "ipv6:%5B::ffff:198.51.100.7%5D"),
        ("unix", "unix"),
    ],
)
def test_all_addresses_of_one_sender_are_one_source(source: str, network: str) -> None:
    """Whoever has an IPv6 address has 2^64 of them."""
    assert network == network_of(source)
