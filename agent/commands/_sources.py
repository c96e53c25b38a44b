"""Which source watches: eBPF, or where that is refused the one in user space; and what that gives of each finding."""

from __future__ import annotations

import logging
from typing import NamedTuple

from agent.errors import HostUnsupported
from agent.findings import AnyFinding
from agent.model import ProbeStatus
from agent.probes.declaration import Probe
from agent.sensor.ebpf import requirements
from agent.sensor.ebpf.source import EbpfSource
from agent.sensor.ebpf.source import Options
from agent.sensor.source import Source
from agent.sensor.userspace import capabilities
from agent.sensor.userspace.source import Options as UserspaceOptions
from agent.sensor.userspace.source import UserspaceSource

CHOICES = ("ebpf", "userspace", "auto")
MEANING = (
    "By what the host is watched: eBPF, or without (docs/userspace.md); `auto` goes without where that is refused, and "
    "then traces no whole host."
)
FULLY, PARTLY, NOT = "fully", "partly", "not"
_FILES_ELSEWHERE = frozenset(
    {
        "DefenseEvasion:Runtime/ProcessInjection.Proc",
        "PrivilegeEscalation:Runtime/CGroupsReleaseAgentModified",
        "PrivilegeEscalation:Runtime/RuncContainerEscape",
    }
)
"""Types about files that are not watched without eBPF: in /proc and /sys, and the host's runtime."""

_log = logging.getLogger("vedette.agent")


class Opened(NamedTuple):
    """A source that watches, and what became of each of its probes."""

    source: Source
    statuses: tuple[ProbeStatus, ...]


def opened(wish: str, options: Options) -> Opened:
    """Open the source that is wished for.  Raises HostUnsupported when that cannot be."""
    if wish == "userspace":
        return _userspace(options, "asked for by `sensor`", tracing=None)
    source = EbpfSource(options)
    try:
        statuses = source.open()
    except HostUnsupported as exc:
        source.close()
        if wish == "ebpf" or not is_refused():
            raise
        return _userspace(options, str(exc), tracing=_unless_a_host())
    if wish == "ebpf" or any(status.attached for status in statuses):
        return Opened(source, statuses)
    source.close()
    reasons = [status.reason for status in statuses if status.reason]
    reason = f"no probe could be attached: {reasons[0]}" if reasons else "there is no probe"
    return _userspace(options, reason, tracing=_unless_a_host())


def is_refused() -> bool:
    """Tell whether the kernel refuses eBPF; what is merely missing can be had, and nobody is traced for it."""
    try:
        requirements.require_bpf()
    except HostUnsupported:
        return True
    return False


def _unless_a_host() -> bool | None:
    """Return whether to trace where nobody asked for it: not the processes of a whole host, else if that is allowed."""
    return False if capabilities.sees_a_whole_host() else None


def _userspace(options: Options, reason: str, *, tracing: bool | None) -> Opened:
    source = UserspaceSource(
        UserspaceOptions(
            probes=options.probes,
            own_tgids=options.own_tgids,
            disabled=options.disabled,
            sensitive_files=options.sensitive_files,
            tracing=tracing,
        )
    )
    statuses = source.open()
    given = [status for status in statuses if status.attached]
    lanes = sorted({status.lane for status in given if status.lane})
    _log.warning(
        "watching without eBPF, by %s, %d of %d kinds: %s; docs/userspace.md says what is not seen",
        ", ".join(lanes),
        len(given),
        len(statuses),
        reason,
    )
    return Opened(source, statuses)


def would_be(probes: tuple[Probe, ...]) -> tuple[ProbeStatus, ...]:
    """Return what would become of each probe without eBPF here; nothing is started."""
    tracing = capabilities.can_trace() and not capabilities.sees_a_whole_host()
    raw = capabilities.holds(capabilities.NET_RAW)
    return tuple(capabilities.status(probe.name, tracing=tracing, raw_packets=raw) for probe in probes)


class Coverage(NamedTuple):
    """What the source without eBPF gives of a finding."""

    given: str
    """`fully`, `partly` or `not`."""
    why: tuple[str, ...] = ()
    """What is missing, a sentence each."""


def without_ebpf(finding: AnyFinding) -> Coverage:
    """Return how far a finding can fire without eBPF, with all that the source may ask for."""
    kinds = dict.fromkeys((*finding.kinds, *finding.needs))
    given = capabilities.KINDS.keys() - ({"file_open"} if finding.name in _FILES_ELSEWHERE else set())
    missing = [kind for kind in kinds if kind not in given]
    why = tuple(f"`{kind}` is not seen" for kind in missing) + tuple(
        f"of `{kind}` it does not see {unseen}" for kind in kinds if kind not in missing and (unseen := _unseen(kind))
    )
    if set(finding.kinds) <= set(missing) or not set(finding.needs).isdisjoint(missing):
        return Coverage(NOT, why)
    return Coverage(PARTLY if why else FULLY, why)


def _unseen(kind: str) -> str:
    return capabilities.KINDS[kind].unseen if kind in capabilities.KINDS else ""
