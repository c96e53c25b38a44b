"""A name resolved to the address of the instance's metadata service.

Who can make a server fetch pages chooses the address by a name of his own (DNS rebinding), past filters that look at
names, and gets the credentials of the instance.

Noise: a name that the owner of the network gave the service; at high, resolvers of this host, which hear each answer.
Blind to: the address reached without a name, or by a redirect; HTTPS records; DNS over TLS, HTTPS or other ports than
53.
"""

from __future__ import annotations

import ipaddress

from agent.findings._base import FindingType
from agent.findings._domains import is_repeated
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import silent
from agent.findings._network_examples import address
from agent.findings._network_examples import alias
from agent.findings._network_examples import dns_answer
from agent.model import Context
from agent.model import DnsAnswer
from agent.model import Evidence
from agent.model import Severity

NAME = "UnauthorizedAccess:Runtime/MetadataDNSRebind"
# Amazon EC2 User Guide, "Access instance metadata"; Google, Azure and OpenStack share the first.
METADATA = frozenset(
    str(ipaddress.ip_address(address)) for address in ("169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254")
)
"""Written as answers are: by the same module."""
CNAME = 5  # RFC 1035 3.2.2
OWN_LABELS = frozenset({"instance-data", "metadata"})
# Google's short name for it, as lists of names for filters against forged requests have it (Datadog's, among others).
# Nobody but Google is given a name below .goog (IANA root zone: Charleston Road Registry, its own registry).
OWN_NAMES = frozenset({"metadata.goog"})


def match(event: DnsAnswer, context: Context) -> Evidence | None:
    """Return the name, if it has an address of the metadata service and is none of its own names."""
    addresses = (record.value for record in event.answers if record.type_raw != CNAME)
    found = next((address for address in addresses if address in METADATA), None)
    if found is None or _is_its_own(event.name) or is_repeated(context):
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    return Evidence(
        reason=f"{event.name} resolves to {found}, where the credentials of the instance are",
        domain=event.name,
        iana_protocol_number=event.protocol,
    )


def _is_its_own(name: str) -> bool:
    """Answer whether a cloud gave the service this name: Amazon's `instance-data`, Google's `metadata`.

    They have one label, or end in `.internal`: neither is ever delegated to anybody (ICANN resolution 2024.07.29.06),
    so that no stranger can answer for them; nor for those of OWN_NAMES.
    """
    labels = name.lower().removesuffix(".").split(".")
    if ".".join(labels) in OWN_NAMES:
        return True
    return labels[0] in OWN_LABELS and (len(labels) == 1 or labels[-1] == "internal")


def _at(value: str, name: str = "a.example.org") -> DnsAnswer:
    return dns_answer(name, address(name, value))


FINDING = FindingType(
    name=NAME,
    severity=Severity.HIGH,
    attack="T1552.005",
    title="{process} {place} asked for a name that leads to the instance's metadata",
    on=DnsAnswer,
    match=match,
    uses=("net_bind",),
    examples=(
        fires(
            "a stranger's name",
            _at("169.254.169.254"),
            on_host(),
            shows={"domain": "a.example.org", "iana_protocol_number": 17},
        ),
        fires(
            "over TCP, in a container",
            dns_answer("a.example.org", address("a.example.org", "169.254.169.254"), protocol=6),
            in_container(),
        ),
        fires("by IPv6", _at("fd00:ec2::254"), on_host()),
        fires("by IPv6, the address of IPv4 in it", _at("::ffff:169.254.169.254"), on_host()),
        fires(
            "behind another name, beside another address",
            dns_answer(
                "a.example.org",
                alias("a.example.org", "b.example.org"),
                address("b.example.org", "198.51.100.7"),
                address("b.example.org", "169.254.169.254"),
            ),
            on_host(),
        ),
        fires(
            "a stranger's name that begins as the service's", _at("169.254.169.254", "metadata.example.org"), on_host()
        ),
        fires("a name inside, that is not the service's", _at("169.254.169.254", "web.corp.internal"), on_host()),
        fires("a single label that is not the service's", _at("169.254.169.254", "web"), on_host()),
        silent(
            "heard by a resolver of this host for another process",
            _at("169.254.169.254"),
            on_host(asker=process().key),
        ),
        silent("the address next to it", _at("169.254.169.253"), on_host()),
        silent(
            "a name that is written as the address",
            dns_answer("a.example.org", alias("a.example.org", "169.254.169.254")),
            on_host(),
        ),
        silent("Amazon's name for it", _at("169.254.169.254", "instance-data"), on_host()),
        silent("Amazon's, with a search domain", _at("169.254.169.254", "instance-data.ec2.internal"), on_host()),
        silent("Google's name for it", _at("169.254.169.254", "metadata.google.internal"), on_host()),
        silent("Google's other name for it", _at("169.254.169.254", "metadata.goog"), on_host()),
        silent("no address at all", dns_answer("a.example.org"), on_host()),
    ),
)
