"""A process takes connections from relays of Tor and makes some to relays: it is most likely one itself.

Whoever runs a relay here gives away this host's bandwidth and good name; an exit, its address for what others do.

Noise: relays that are run on purpose; programs of a network, such as Bitcoin's, whose members often are relays. Two
different relays each way are asked for, at high one.
Blind to: relays while no consensus is named (docs/intel.md); a relay that spreads its connections over processes, or
meets over thirty others between two relays; bridges, whose visitors are on no list.
"""

from __future__ import annotations

from msgspec.structs import replace

from agent.findings._addresses import contacted
from agent.findings._addresses import other_end
from agent.findings._base import FindingType
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import silent
from agent.findings._network_examples import UNLISTED
from agent.findings._network_examples import net_accept
from agent.findings._network_examples import net_connect
from agent.model import Context
from agent.model import Evidence
from agent.model import Intelligence
from agent.model import NetAccept
from agent.model import NetConnect
from agent.model import Peers
from agent.model import Sensitivity
from agent.model import Severity

NAME = "UnauthorizedAccess:Runtime/TorRelay"
RELAY, GUARD = "tor-relay", "tor-guard"  # every guard is a relay
RELAYS = 2  # each way: who visits a web server by Tor comes from one, and peers of other networks may be one by chance


def match(event: NetConnect | NetAccept, context: Context) -> Evidence | None:
    """Return the connection that completes the pattern: so many relays each way, of which this one is new."""
    found = contacted(NAME, RELAY, event, context) or contacted(NAME, GUARD, event, context)
    if found is None or context.peers is None:
        return None
    this_way, other_way = context.peers.connected_to, context.peers.accepted_from
    if isinstance(event, NetAccept):
        this_way, other_way = other_way, this_way
    needed = 1 if context.sensitivity is Sensitivity.HIGH else RELAYS
    if other_end(event) in this_way or _relays(this_way, context.intel) != needed - 1:
        return None
    if _relays(other_way, context.intel) < needed:
        return None
    return replace(found, reason=f"relays of Tor are spoken to both ways, {needed} or more each; {found.reason}")


def _relays(addresses: tuple[str, ...], intel: Intelligence) -> int:
    """Return how many of the addresses are relays."""
    return sum(any(intel.address(one, category) for category in (RELAY, GUARD)) for one in addresses)


_ONE, _TWO, _THREE, _FOUR = "198.51.100.13", "198.51.100.14", "2001:db8:7e57::13", "2001:db8:7e57::14"
_BOTH = Peers(connected_to=(_ONE, UNLISTED, _TWO), accepted_from=(_THREE, UNLISTED))

FINDING = FindingType[NetConnect | NetAccept](
    name=NAME,
    severity=Severity.HIGH,
    attack="T1090.003",
    title="{process} {place} acts as a relay of Tor",
    on=(NetConnect, NetAccept),
    match=match,
    examples=(
        fires(
            "the second relay that connects to who connected to two",
            net_accept(_FOUR),
            on_host(peers=_BOTH),
            shows={"connection_direction": "INBOUND", "address_family": "AF_INET6", "iana_protocol_number": 6},
        ),
        fires(
            "the second relay that is connected to by whom two connected to, in a container",
            net_connect(_TWO),
            in_container(peers=Peers(connected_to=(_ONE,), accepted_from=(_THREE, _FOUR))),
            shows={"connection_direction": "OUTBOUND"},
        ),
        fires(
            "one each way, at high",
            net_connect(_ONE),
            on_host(peers=Peers(accepted_from=(_ONE,))),
            sensitivity=Sensitivity.HIGH,
        ),
        silent("one each way", net_connect(_ONE), on_host(peers=Peers(accepted_from=(_ONE,)))),
        silent("the same relay again", net_accept(_THREE), on_host(peers=_BOTH)),
        silent("a visitor that is no relay", net_accept("198.51.100.12"), on_host(peers=_BOTH)),
        silent(
            "relays that connect, to a server that connects to none",
            net_accept(_TWO),
            on_host(peers=Peers(connected_to=(UNLISTED, "198.51.100.12"), accepted_from=(_ONE,))),
        ),
        silent(
            "a client of Tor",
            net_connect(_TWO),
            on_host(peers=Peers(connected_to=(_ONE,), accepted_from=("127.0.0.1",))),
        ),
        silent(
            "a third relay: it was told before",
            net_accept("128.31.0.39"),
            on_host(peers=Peers(connected_to=(_ONE, _TWO), accepted_from=(_THREE, _FOUR))),
        ),
        silent("nothing known of whom it spoke to", net_accept(_FOUR), on_host()),
    ),
)
