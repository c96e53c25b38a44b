"""dns_query: a DNS question left this host, over UDP or TCP to port 53.

The actor is who asked; `owner_unsure` says that it was inferred.
Blind to: DNS over other ports (853, 443, 5353), messages that do not begin a
TCP segment, questions after the first of a message.
"""

from __future__ import annotations

from typing import Any

from agent.model import DnsQuery
from agent.probes import _dns_name
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

MESSAGE_BYTES = 512

RECORD = Layout(
    "dns_query_record",
    ("header", f"{header.HEADER.size}s"),
    ("cookie", "Q"),
    ("local_address", "16s"),
    ("remote_address", "16s"),
    ("family", "H"),
    ("protocol", "H"),
    ("local_port", "H"),
    ("remote_port", "H"),
    ("data", f"{MESSAGE_BYTES}s"),
)
_DATA = RECORD.offset("data")


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> DnsQuery:
    """Return the event.  Raises MalformedRecord when the message holds no question, or lies about its lengths."""
    asked = _dns_name.question(record[_DATA:])
    return DnsQuery(
        **common,
        name=asked.name,
        type_raw=asked.type_raw,
        transaction=asked.transaction,
        protocol=fields.protocol,
        remote_address=header.address(fields.family, fields.remote_address),
        remote_port=fields.remote_port,
        local_address=header.address(fields.family, fields.local_address),
        local_port=fields.local_port,
        cookie=fields.cookie or None,
    )


PROBE = Probe(
    event=DnsQuery,
    record=RECORD,
    lanes=(
        Lane(
            "cgroup",
            (Hook("dns_query_egress", "cgroup_skb", "egress"),),
            unseen="DNS over other ports than 53 (TLS, HTTPS)",
        ),
    ),
    to_event=to_event,
)
