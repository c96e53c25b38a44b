"""dns_answer: a DNS answer reached a socket of this host, over UDP or TCP from port 53.

The actor is who owns the socket; `owner_unsure` says that somebody else asked on it.
Blind to: see ebpf/dns_answer.c; records other than A, AAAA and CNAME.
"""

from __future__ import annotations

from typing import Any

from agent.model import DnsAnswer
from agent.probes import _dns_name
from agent.probes import _dns_records
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

ANSWER_BYTES = 1024

RECORD = Layout(
    "dns_answer_record",
    ("header", f"{header.HEADER.size}s"),
    ("socket", f"{header.SOCKET.size}s"),
    ("data", f"{ANSWER_BYTES}s"),
)
_DATA = RECORD.offset("data")
_CUT = "truncated"


def to_event(fields: Any, record: bytes, common: dict[str, Any]) -> DnsAnswer:
    """Return the event.  Raises MalformedRecord when the message holds no question, or lies about its lengths."""
    message = record[_DATA:]
    asked = _dns_name.question(message)
    answered = _dns_records.answer(message, cut=_CUT in common["flags"])
    if not answered.whole and _CUT not in common["flags"]:
        common["flags"] = (_CUT, *common["flags"])
    socket = header.SOCKET.unpack(fields.socket)
    return DnsAnswer(
        **common,
        name=asked.name,
        type_raw=asked.type_raw,
        transaction=asked.transaction,
        rcode=answered.rcode,
        answers=answered.records,
        protocol=socket.protocol,
        remote_address=header.address(socket.family, socket.remote_address),
        remote_port=socket.remote_port,
        local_address=header.address(socket.family, socket.local_address),
        local_port=socket.local_port,
        cookie=socket.cookie or None,
    )


PROBE = Probe(
    event=DnsAnswer,
    record=RECORD,
    lanes=(
        Lane(
            "cgroup",
            (Hook("dns_answer_ingress", "cgroup_skb", "ingress"),),
            unseen="DNS over other ports than 53 (TLS, HTTPS)",
        ),
    ),
    to_event=to_event,
)
