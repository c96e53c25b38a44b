"""What the pipeline asks of the stages that it runs: a protocol for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from typing import Protocol

from agent.model import Container
from agent.model import Content
from agent.model import Event
from agent.model import Finding
from agent.model import Process
from agent.model import Surroundings


class Source(Protocol):
    """Where records come from."""

    def poll(self, timeout_s: float) -> list[bytes]:
        """Return the records that are ready."""


class Digest(Protocol):
    """What is known of an executable's SHA-256 now: `state` is `known`, `pending` or `unknown`."""

    @property
    def state(self) -> str:
        """Return which of the three."""

    @property
    def sha256(self) -> str | None:
        """Return it, when known."""

    @property
    def reason(self) -> str | None:
        """Return why it never will be, when unknown."""


class Enrich(Protocol):
    """Who, where and in what company."""

    def enrich(self, event: Event) -> Surroundings:
        """Return the surroundings of an event, and learn from it."""

    def sha256(self, process: Process) -> Digest:
        """Return what is known of the hash now."""

    def hasten(self, process: Process) -> None:
        """Have its program hashed before others."""

    def module_sha256(self, process: Process, path: str) -> Digest:
        """Return what is known now of the hash of a file that a process loaded as a kernel module."""

    def container(self, container_id: str) -> Container | None:
        """Return what is known of a container now; `pending` while its runtime is asked."""

    def heard(self) -> list[Container]:
        """Return the containers of which all that will has become known since the last time."""

    def contents(self, process: Process) -> tuple[Content, ...] | None:
        """Return what was read of its program and script, None while that goes on; of what cannot be read, nothing."""


class Classify(Protocol):
    """What it means."""

    def classify(self, event: Event, surroundings: Surroundings) -> list[Finding]:
        """Return the findings of an event."""


class Deliver(Protocol):
    """Where it goes."""

    def event(self, event: Event, surroundings: Surroundings, sha256: str | None) -> None:
        """Take an event."""

    def finding(self, finding: Finding) -> None:
        """Take a finding; it is durable when this returns."""

    def container(self, container: Container) -> None:
        """Take what became known of a container."""

    def flush(self) -> None:
        """Write out what is due."""


class Stages(NamedTuple):
    """The five of them, in the order of the flow."""

    source: Source
    decode: Callable[[bytes], Event | None]
    enrich: Enrich
    classify: Classify
    deliver: Deliver
