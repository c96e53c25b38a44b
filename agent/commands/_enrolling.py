"""By what an agent's settings let it report: certificates of the operator's, or one that it asks for."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from agent.config import Config
from agent.deliver.target import Target
from agent.enrol import token as tokens
from agent.enrol.errand import Errand
from agent.enrol.identity import Folder
from agent.enrol.identity import Machine
from agent.enrol.identity import this_machine
from agent.enrol.keeper import Keeper
from agent.enrol.keeper import Way
from agent.errors import ConfigError

NOTHING = (
    "no certificate, and nothing to ask for one with: set enrolment.token_file, VEDETTE_JOIN_TOKEN or enrolment.ec2"
)


_log = logging.getLogger(__name__)


class Reporting(NamedTuple):
    """Where to report, and who keeps the certificate for it; None: the operator does, or there is none."""

    target: Target
    keeper: Keeper | None = None

    def begin(self, closing: ExitStack) -> Target:
        """Return the target, whose certificate is seen to from now on until `closing`. Raises StateError."""
        if self.keeper is not None:
            self.keeper.start()
            closing.callback(self.keeper.close)
        return self.target


def reporting(settings: Config, host_id: str) -> Reporting:
    """Return how this agent reports.  Raises ConfigError, StateError."""
    ours = settings.collector
    folder = Folder(settings.state_dir / "identity")
    if ours.cert_file or ours.key_file or (ours.address or "").startswith("unix:"):
        _note_unused(settings)
        return Reporting(_given(settings))
    spelled = _spelled(settings)
    if spelled is None and not settings.enrolment.ec2 and folder.read() is None:
        return Reporting(_given(settings))
    machine = this_machine(host_id)
    keeper = Keeper(folder, Way(machine, _asker(settings, folder, machine, spelled)))
    return Reporting(Target.enrolled(_address(settings, folder, spelled), folder.current, keeper.missing), keeper)


def _note_unused(settings: Config) -> None:
    """Say that a join token is not used. Raises ConfigError when the settings themselves name one."""
    why = "collector.address is on this host" if not settings.collector.cert_file else "collector.cert_file is set"
    if settings.enrolment.token_file is not None or settings.enrolment.ec2:
        raise ConfigError(f"[enrolment] is not for an agent that has its way already: {why}; remove one of them")
    if os.environ.pop(tokens.VARIABLE, ""):
        _log.warning("%s is not used: %s", tokens.VARIABLE, why)


def _given(settings: Config) -> Target:
    files = settings.collector
    return Target.parse(settings.address, ca=files.ca_file, cert=files.cert_file, key=files.key_file)


def _spelled(settings: Config) -> Callable[[], str] | None:
    """Return what reads the join token; None when there is none."""
    path = settings.enrolment.token_file
    if path is not None:
        return lambda: tokens.read(path)
    found = os.environ.pop(tokens.VARIABLE, "").strip()  # no child of ours inherits it
    return (lambda: found) if found else None


def _address(settings: Config, folder: Folder, spelled: Callable[[], str] | None) -> str:
    """Return the collector's address: as configured, as the collector that signed said, or as the token does."""
    if settings.collector.address:
        return settings.collector.address
    found = folder.read()
    if found is not None:
        return found.collector
    if spelled is None:
        raise ConfigError("collector.address must say where to report: an instance identity document does not")
    return tokens.parse(spelled()).collector


def _asker(
    settings: Config, folder: Folder, machine: Machine, spelled: Callable[[], str] | None
) -> Callable[[], Errand]:
    """Return what makes the errand of a host that has no certificate."""
    ca_file, enrolment = settings.collector.ca_file, settings.enrolment
    if spelled is None and enrolment.ec2 and not (enrolment.address and ca_file):
        raise ConfigError("enrolment.ec2 needs enrolment.address and collector.ca_file: whom to ask, and whom to trust")

    def errand() -> Errand:
        if spelled is None and not enrolment.ec2:
            raise ConfigError(NOTHING)
        return Errand(
            directory=str(folder.path),
            host_id=machine.host_id,
            product_uuid=machine.product_uuid,
            token=None if spelled is None else spelled(),
            enrolment=enrolment.address,
            collector=settings.collector.address,
            ca_file=None if ca_file is None else str(ca_file),
            ec2_endpoint=settings.host.ec2_endpoint,
        )

    return errand
