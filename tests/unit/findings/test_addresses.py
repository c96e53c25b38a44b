"""Whether the other end of a connection is on a list: the part that all types about addresses share."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import findings
from agent.findings import _addresses
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import socket
from agent.findings._network_examples import net_accept
from agent.findings._network_examples import net_connect
from agent.intel import Snapshot
from agent.intel import ThreatList
from agent.model import Context
from agent.model import Socket
from tests.unit.findings import _mutants

TYPE = "Backdoor:Runtime/C&CActivity.B"
LISTS = (
    ThreatList(name="ours", category="c2", networks=("192.0.2.0/24", "2001:db8::/32")),
    ThreatList(name="other", category="sinkhole", networks=("203.0.113.1/32",)),
)


class Strict(Snapshot):
    """Takes addresses only, as it is declared."""

    def address(self, address, category):
        return super().address(address.strip(), category)


class Excuses:
    """Excuses whoever speaks to what is in `quiet`."""

    def excuse(self, finding, event, context):
        return "a reason" if _addresses.other_end(event) == "192.0.2.99" and finding == TYPE else None


def contacted(event, module=_addresses):
    context = Context(
        host=on_host().host, actor=process(), intel=Strict(LISTS), benign=Excuses(), changes=findings.recent_changes()
    )
    return module.contacted(TYPE, "c2", event, context)


def what(event, module=_addresses):
    found = contacted(event, module)
    return found and (found.address_family, found.iana_protocol_number, found.connection_direction, found.socket)


MADE = Socket(protocol=17, local_address=None, local_port=None, remote_address="192.0.2.1", remote_port=443, cookie=77)
TOLD = {
    "a datagram": (net_connect("192.0.2.1", protocol=17), ("AF_INET", 17, "OUTBOUND", MADE)),
    "a connection that was accepted": (
        net_accept("2001:db8::1"),
        ("AF_INET6", 6, "INBOUND", socket(remote_address="2001:db8::1")),
    ),
}
NOT_TOLD = {
    "an address of no list": net_connect("192.0.3.1"),
    "an address of another category": net_connect("203.0.113.1"),
    "who is excused": net_connect("192.0.2.99"),
    "a connection that was taken away": net_accept("192.0.2.1", socket=None),
    "a socket without a peer": net_accept("192.0.2.1", socket=socket(remote_address=None)),
}


@pytest.mark.parametrize("event", NOT_TOLD.values(), ids=NOT_TOLD)
def test_of_which_nothing_is_said(event):
    """Only who is on a list of the category is told, and only where nothing excuses it."""
    assert contacted(event) is None


@pytest.mark.parametrize(("event", "expected"), TOLD.values(), ids=TOLD)
def test_what_is_told(event, expected):
    """The evidence is the connection as far as it is known, its direction, and the entry of the list."""
    found = contacted(event)

    assert found is not None
    assert expected == what(event)
    assert ["ours"] == [threat.list_name for threat in found.threats]
    assert found.threats[0].entry in found.reason


def test_each_condition_is_held():
    """Nobody can loosen or reverse a condition without a case here that notices."""

    def unnoticed(module) -> bool:
        try:
            told = all(what(event, module) == expected for event, expected in TOLD.values())
            return told and not any(contacted(event, module) for event in NOT_TOLD.values())
        except (AttributeError, TypeError):
            return False

    mutants = _mutants.mutants(Path(_addresses.__file__).read_text(), {"contacted", "connection"})
    assert [] == [what for what, text in mutants if unnoticed(_mutants.run(text, "agent.findings._addresses"))]
