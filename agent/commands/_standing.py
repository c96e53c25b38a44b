"""How the probes of an agent stand: as they were opened, and as canaries and guard find them later."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from agent import findings
from agent import probes
from agent.errors import HostUnsupported
from agent.model import ProbeStatus
from agent.sensor.ebpf.source import SWITCHED_OFF
from agent.sensor.userspace import capabilities

_log = logging.getLogger("vedette.agent")

LEFT_OUT = "left out in [sensor] probes"
UNWANTED = (LEFT_OUT, SWITCHED_OFF)
"""The reasons of probes that the operator does not want."""


def standing(opened: tuple[ProbeStatus, ...]) -> tuple[ProbeStatus, ...]:
    """Return what became of every probe there is, those that the settings leave out too, and what goes blind."""
    became = {status.name: status for status in opened}
    for name in sorted({probe.name for probe in probes.load()} - became.keys()):
        became[name] = ProbeStatus(name=name, attached=False, reason=LEFT_OUT)
    return tuple(became[name] if became[name].attached else blinded(became[name]) for name in sorted(became))


def heeding(
    statuses: tuple[ProbeStatus, ...], broken: Mapping[str, str], mended: Mapping[str, str]
) -> tuple[ProbeStatus, ...]:
    """Return what is to be said of the probes now; both mappings: what was done to a probe, by its name.

    One that is broken does not count as attached; of one that was mended it is said that it was blind.
    """
    return tuple(_heeding(status, broken.get(status.name), mended.get(status.name)) for status in statuses)


def told(statuses: tuple[ProbeStatus, ...]) -> str:
    """Log what is attached, what is not, and what goes blind; return how many are.

    Raises HostUnsupported when nothing is attached.
    """
    attached = sum(status.attached for status in statuses)
    for status in statuses:
        if not status.attached and status.reason != capabilities.NOT_GIVEN:
            blind = ", ".join(status.blind_findings) or "none"
            _log.warning("probe %s is unavailable: %s; findings that go blind: %s", status.name, status.reason, blind)
    if not attached:
        raise HostUnsupported("no probe could be attached; `vedette doctor` says why and what to do")
    summary = f"{attached} of {len(statuses)} probes attached"
    _log.info("%s", summary)
    return summary


def _heeding(status: ProbeStatus, broken: str | None, mended: str | None) -> ProbeStatus:
    if not status.attached:
        return status
    if broken:
        return blinded(msgspec.structs.replace(status, attached=False, reason=broken))
    said = "; ".join(filter(None, (status.reason, mended)))
    return msgspec.structs.replace(status, reason=said or None)


def blinded(status: ProbeStatus) -> ProbeStatus:
    """Return what is to be said of a probe that does not see: with the findings that go blind."""
    return msgspec.structs.replace(status, blind_findings=findings.blind(findings.load(), [status.name]))
