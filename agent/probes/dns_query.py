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
    ("socket", f"{header.SOCKET.size}s"),
    ("data", f"{MESSAGE_BYTES}s"),
)
_DATA = RECORD.offset("data")


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> DnsQuery:
    """Return the event.  Raises MalformedRecord when the message holds no question, or lies about its lengths."""
    asked = _dns_name.question(record[_DATA:])
    socket = header.SOCKET.unpack(fields.socket)
    return DnsQuery(
        **common,
        name=asked.name,
        type_raw=asked.type_raw,
        transaction=asked.transaction,
        protocol=socket.protocol,
        remote_address=header.address(socket.family, socket.remote_address),
        remote_port=socket.remote_port,
        local_address=header.address(socket.family, socket.local_address),
        local_port=socket.local_port,
        cookie=socket.cookie or None,
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
