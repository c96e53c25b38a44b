"""agent_signal: somebody sent a signal to one of the agent's own processes.

Blind to: see ebpf/agent_signal.c.
"""

from __future__ import annotations

from typing import Any

from agent.model import AgentSignal
from agent.probes import _target
from agent.probes import header
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.probes.layout import Layout

RECORD = Layout(
    "agent_signal_record",
    ("header", f"{header.HEADER.size}s"),
    ("target", f"{_target.TARGET.size}s"),
    ("signal", "I"),
    ("code", "i"),
    ("outcome", "I"),
    ("reserved", "I"),
)
# TRACE_SIGNAL_*, include/trace/events/signal.h at v6.18.
_OUTCOMES = ("delivered", "ignored", "already_pending", "overflow_fail", "lose_info")


def to_event(fields: Any, _record: bytes, common: dict[str, Any]) -> AgentSignal:
    """Return the event."""
    target = _target.TARGET.unpack(fields.target)
    return AgentSignal(
        **common,
        signal=fields.signal,
        code_raw=fields.code,
        outcome=_OUTCOMES[fields.outcome] if fields.outcome < len(_OUTCOMES) else None,
        target_tgid=target.tgid,
        target_started_ns=target.started_ns,
    )


PROBE = Probe(
    event=AgentSignal,
    record=RECORD,
    lanes=(
        Lane(
            "raw tracepoint",
            (Hook("agent_signal_generate", "raw_tracepoint", "signal_generate"),),
            unseen="SIGKILL to the agent itself",
        ),
    ),
    to_event=to_event,
)
