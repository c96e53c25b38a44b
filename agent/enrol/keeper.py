"""Keeps this agent's certificate: has one made when there is none, and the next one in time.

One thread, which sleeps.  A collector that is away, or says no, is asked again
after a delay that grows, with chance in it; what is wrong is logged once for each
change, and stands in status.json.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import msgspec

from agent.enrol import errand as errands
from agent.enrol import identity as identities
from agent.enrol.errand import Errand
from agent.enrol.errand import Outcome
from agent.enrol.identity import Folder
from agent.enrol.identity import Identity
from agent.enrol.identity import Machine
from agent.errors import ConfigError
from agent.errors import HostUnsupported
from agent.errors import StateError

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 300.0
REFUSED_DELAY_S = 60.0  # a person has to do something first
RENEW_FROM, RENEW_TO = 0.4, 0.6  # of a certificate's life: before two thirds, and not all hosts at once
_STATUS_BYTES = 65_536
_NAP_S = 3600.0  # a host that slept, or whose clock was set, looks again

_log = logging.getLogger(__name__)


class Way(NamedTuple):
    """By what this agent may ask, as the settings say."""

    machine: Machine
    errand: Callable[[], Errand]
    """What to send a child for who has no certificate; raises ConfigError when there is nothing to ask with."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """status.json."""

    at_s: int
    done: bool
    text: str


class Keeper:
    """The thread, from `start` to `close`."""

    def __init__(self, folder: Folder, way: Way, send: Callable[[Errand], Outcome] = errands.send) -> None:
        self._folder = folder
        self._way = way
        self._send = send
        self._stop = threading.Event()
        self._trouble: str | None = "no certificate yet: asking for one"
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="enrol", daemon=True)

    def start(self) -> None:
        """Begin; a certificate of another machine is gone when this returns. Raises StateError."""
        self.disown()
        self._thread.start()

    def close(self) -> None:
        """End. A child that is under way ends by itself."""
        self._stop.set()

    def missing(self) -> str | None:
        """Return why there is no certificate; None when there is one."""
        return self._trouble if not (self._folder.current / "identity.json").exists() else None

    def disown(self) -> None:
        """Let go of a certificate that came with a copied disk. Raises StateError."""
        found = self._folder.read()
        copied = found.foreign_to(self._way.machine) if found else None
        if copied is None:
            return
        _log.warning(
            "the certificate in %s is not this machine's (%s): a disk was copied; it goes", self._folder.path, copied
        )
        try:
            self._folder.forget()
        except OSError as exc:
            raise StateError(f"{exc.filename}: {exc.strerror}") from exc

    def _run(self) -> None:
        while not self._stop.wait(self.step()):
            continue

    def step(self) -> float:
        """Do what is due; return in how many seconds to look again."""
        try:
            found = self._folder.read()
            now_s = time.time_ns() / 1e9
            if found is not None and now_s < due_s(found):
                self._trouble = None
                return min(_NAP_S, due_s(found) - now_s + 1)
            outcome = self._send(self._errand(found, now_s))
        except (ConfigError, StateError, HostUnsupported) as exc:
            outcome = Outcome(done=False, text=str(exc))
        return self._noted(outcome)

    def _errand(self, found: Identity | None, now_s: float) -> Errand:
        """Return what to ask: to renew while the certificate is good, else to be taken in again."""
        if found is None or found.not_after_s <= now_s:
            return self._way.errand()
        machine = self._way.machine
        return Errand(
            directory=str(self._folder.path),
            host_id=machine.host_id,
            product_uuid=machine.product_uuid,
            collector=found.collector,
            renew=True,
        )

    def _noted(self, outcome: Outcome) -> float:
        """Log and keep how it went; return the delay."""
        if self._trouble != outcome.text:
            (_log.info if outcome.done else _log.warning)("certificate: %s", outcome.text)
        self._trouble = outcome.text
        status = Status(at_s=time.time_ns() // 1_000_000_000, done=outcome.done, text=outcome.text)
        with suppress(OSError):  # the log has it
            self._folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            identities.write(self._folder.path / "status.json", msgspec.json.encode(status))
        if outcome.done:
            self._trouble, self._failures = None, 0
            return FIRST_DELAY_S
        self._failures += 1
        delay_s: float = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(self._failures - 1, 16))
        delay_s = max(delay_s, REFUSED_DELAY_S) if outcome.refused else delay_s
        chance: float = random.random()  # noqa: S311  # spreads hosts, keeps no secret
        return delay_s * (0.5 + chance)


def status(folder: Folder) -> Status | None:
    """Return how the last attempt went; None when there was none, or it cannot be read."""
    try:
        with (folder.path / "status.json").open("rb") as file:
            return msgspec.json.decode(file.read(_STATUS_BYTES), type=Status)
    except (OSError, msgspec.DecodeError):
        return None


def due_s(identity: Identity) -> float:
    """Return when to renew, Unix seconds: for each host another part of the life, and always the same."""
    share = random.Random(identity.host_id).random()  # noqa: S311  # as above
    part = RENEW_FROM + (RENEW_TO - RENEW_FROM) * share
    return identity.not_before_s + part * (identity.not_after_s - identity.not_before_s)
