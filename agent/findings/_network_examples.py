"""Builders for examples about names and addresses, and what every type that looks one up in a list must keep to."""

from __future__ import annotations

import ipaddress
from typing import Any

from msgspec.structs import replace

from agent.findings._base import Example
from agent.findings._examples import COOKIE
from agent.findings._examples import fd_dup
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import silent
from agent.findings._examples import socket
from agent.model import DnsAnswer
from agent.model import DnsQuery
from agent.model import DnsRecord
from agent.model import Event
from agent.model import NetAccept
from agent.model import NetConnect
from agent.model import Sensitivity

UNLISTED = "198.51.100.10"
"""An address in no list, beside those that are in the list for tests."""

_HEADER = {field: getattr(fd_dup(), field) for field in Event.__struct_fields__}
_ASKED: dict[str, Any] = {
    **_HEADER,
    "type_raw": 1,
    "transaction": 1,
    "protocol": 17,
    "remote_address": "10.0.0.2",
    "remote_port": 53,
    "local_address": "10.0.0.9",
    "local_port": 40_000,
    "cookie": COOKIE,
}
_NET_CONNECT = NetConnect(
    **_HEADER, protocol=6, remote_address="198.51.100.7", remote_port=443, cookie=COOKIE, connected=True
)
_NET_ACCEPT = NetAccept(**_HEADER, fd=5, listening_fd=3, socket=socket())


def dns_query(name: str, **changes: Any) -> DnsQuery:
    """Return a question for the address of `name`."""
    return DnsQuery(**{**_ASKED, "name": name, **changes})


def dns_answer(name: str, *answers: DnsRecord, **changes: Any) -> DnsAnswer:
    """Return the answer to a question for the address of `name`."""
    return DnsAnswer(**{**_ASKED, "name": name, "rcode": 0, "answers": answers, **changes})


def alias(name: str, value: str) -> DnsRecord:
    """Return the record that says `name` is another name for `value`."""
    return DnsRecord(name=name, type_raw=5, ttl_s=60, value=value)


def address(name: str, value: str) -> DnsRecord:
    """Return the record that says where `name` is, written as the probe does."""
    return DnsRecord(name=name, type_raw=28 if ":" in value else 1, ttl_s=60, value=str(ipaddress.ip_address(value)))


def net_accept(remote_address: str, **changes: Any) -> NetAccept:
    """Return a TCP connection that `remote_address` made to this host."""
    return replace(_NET_ACCEPT, **{"socket": socket(remote_address=remote_address), **changes})


def net_connect(remote_address: str, **changes: Any) -> NetConnect:
    """Return a TCP connection to `remote_address`, port 443, while it is made."""
    return replace(_NET_CONNECT, remote_address=remote_address, **changes)


def around_a_name(entry: str) -> tuple[Example[DnsQuery | DnsAnswer], ...]:
    """Return what holds for every type that looks a name up in a list with the domain `entry`."""
    named, other = f"x_1.{entry}", "www.example.org"
    return (
        fires("the domain itself", dns_query(entry), on_host(), shows={"domain": entry, "iana_protocol_number": 17}),
        fires("a name under it, in a container", dns_query(named), in_container()),
        fires("asked over TCP", dns_query(named, protocol=6), on_host(), shows={"iana_protocol_number": 6}),
        fires("in mixed case, with the root's dot", dns_query(f"{named.title()}."), on_host()),
        fires(
            "another name, whose answer leads to it",
            dns_answer(other, alias(other, "cdn.example.org"), alias("cdn.example.org", named)),
            on_host(),
            shows={"domain": other},
        ),
        fires(
            "repeated by a resolver of this host, at high",
            dns_query(named),
            on_host(asker=process().key),
            sensitivity=Sensitivity.HIGH,
        ),
        silent("repeated by a resolver of this host", dns_query(named), on_host(asker=process().key)),
        silent("the same letters, another domain", dns_query(f"not{entry}"), on_host()),
        silent("the domain as a label of another's", dns_query(f"{entry}.example.org"), on_host()),
        silent("the answer to a question that was the finding", dns_answer(named, alias(named, entry)), on_host()),
        silent("an answer that leads elsewhere", dns_answer(other, alias(other, "cdn.example.org")), on_host()),
    )


def around_an_address(entry: str, entry6: str) -> tuple[Example[NetConnect], ...]:
    """Return what holds for every type that looks an address up in a list with `entry` and `entry6`."""
    return (
        fires(
            "a connection to it",
            net_connect(entry),
            on_host(),
            shows={"address_family": "AF_INET", "iana_protocol_number": 6, "connection_direction": "OUTBOUND"},
        ),
        fires("a datagram, in a container", net_connect(entry, protocol=17, connected=False), in_container()),
        fires("by IPv6", net_connect(entry6), on_host(), shows={"address_family": "AF_INET6"}),
        fires("mapped into IPv6", net_connect(f"::ffff:{entry}"), on_host()),
        silent("the address next to it", net_connect(UNLISTED), on_host()),
        silent("its digits in an IPv6 address that is not it", net_connect(f"64:ff9b::{entry}"), on_host()),
    )
