"""A collector's policy put into force while the agent runs, and said of in health.

What the policy does not say is as the configuration has it.  A policy is taken whole or not at all: whatever of it
cannot be here is told back as one reason, and the one before stays.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal
from typing import NamedTuple

import msgspec

from agent import probes
from agent.classify import Classifier
from agent.commands import _judging as judging
from agent.commands import _names
from agent.commands._standing import blinded
from agent.config import Config
from agent.config import FindingsConfig
from agent.deliver.inbox import Inbox
from agent.deliver.inbox import Wanted
from agent.errors import ConfigError
from agent.intel import CurrentLists
from agent.intel import ListSource
from agent.listing import ListCategory
from agent.listing import ListFormat
from agent.model import ProbeStatus
from agent.model import Sensitivity
from agent.rules import is_custom
from agent.sensor.ebpf.source import SWITCHED_OFF
from agent.sensor.source import Source

OFF_BY_POLICY = "switched off by the collector's policy"

_log = logging.getLogger("vedette.agent")


class PolicyList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A list that came before the policy."""

    name: str
    category: ListCategory
    sha256: str
    size_bytes: int
    format: ListFormat = "txt"


class PolicyDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A policy as a collector sends it: docs/policy.md."""

    disabled_kinds: tuple[str, ...] | None = None
    sensitivity: Sensitivity | None = None
    types: dict[str, Literal["off", "low", "balanced", "high"]] = {}
    lists: tuple[PolicyList, ...] = ()
    pace_bytes_per_s: int | None = None  # the collector says it by itself, too


class Steered(NamedTuple):
    """What a policy changes in an agent that runs."""

    source: Source
    classifier: Classifier
    lists: CurrentLists
    statuses: tuple[ProbeStatus, ...]
    """As the probes were opened."""


class _Change(NamedTuple):
    """A policy that can be put into force."""

    off: frozenset[str]
    findings: FindingsConfig
    lists: tuple[ListSource, ...]


class Steering:
    """Puts policies into force, one after the other."""

    def __init__(self, settings: Config, inbox: Inbox, steered: Steered) -> None:
        """Begin with the policy that was in force when the agent ran last, or else with what the configuration has."""
        self._settings = settings
        self._inbox = inbox
        self._steered = steered
        self._known = {probe.name for probe in probes.load()}
        self._switchable = {
            status.name for status in steered.statuses if status.attached or status.reason == SWITCHED_OFF
        }
        self._off = frozenset(status.name for status in steered.statuses if status.reason == SWITCHED_OFF)
        kept = inbox.kept()
        if kept is not None:
            self._put(kept)

    def maybe_apply(self) -> bool:
        """Put into force what came, if something did; tell whether, so that the collector hears of it at once."""
        wanted = self._inbox.take()
        if wanted is not None:
            self._put(wanted)
        return wanted is not None

    def statuses(self) -> tuple[ProbeStatus, ...]:
        """Return how the probes are, those switched by the policy among them."""
        return tuple(map(self._status, self._steered.statuses))

    def _status(self, status: ProbeStatus) -> ProbeStatus:
        if status.name not in self._switchable or (status.reason == SWITCHED_OFF) is (status.name in self._off):
            return status
        if status.name in self._off:
            return blinded(msgspec.structs.replace(status, attached=False, reason=OFF_BY_POLICY))
        return msgspec.structs.replace(status, attached=True, reason=None, blind_findings=())

    def _put(self, wanted: Wanted) -> None:
        try:
            document = msgspec.json.decode(wanted.document, type=PolicyDocument)
            change = self._change(document)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ConfigError) as exc:
            self._inbox.refuse(wanted.version, str(exc))
            return
        steered = self._steered
        for kind in sorted((change.off ^ self._off) & self._switchable):
            steered.source.switch(kind, on=kind not in change.off)
        self._off = change.off
        steered.classifier.ask(*judging.asked_types(change.findings))
        steered.lists.watch(change.lists)
        self._inbox.accept(wanted, {one.sha256 for one in document.lists})
        _log.info("the collector's policy %s is in force", wanted.version[:12])

    def _change(self, document: PolicyDocument) -> _Change:
        """Return what a policy comes to here.  Raises ConfigError for what cannot be."""
        settings = self._settings
        off = settings.sensor.disabled_kinds if document.disabled_kinds is None else document.disabled_kinds
        own = [name for name in document.types if is_custom(name)]
        if own:
            raise ConfigError(f"types: {own[0]} is a rule of this host's own")
        types = judging.levels(settings.findings) | document.types
        sensitivity = document.sensitivity or settings.findings.sensitivity
        wanted = msgspec.structs.replace(settings.findings, sensitivity=sensitivity, types=types)
        judging.levels(wanted)
        return _Change(
            frozenset(_names.resolve(name, self._known, "kind") for name in off),
            wanted,
            (*judging.own_lists(settings), *map(self._list, document.lists)),
        )

    def _list(self, one: PolicyList) -> ListSource:
        path: Path | None = self._inbox.path_of(one.sha256)
        if path is None:
            raise ConfigError(f"lists: {one.name} did not come")
        return ListSource(
            path=str(path), category=one.category, format=one.format, name=one.name, trusted=one.category == "trusted"
        )
