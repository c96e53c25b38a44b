"""Which hosts have joined, so that no two have one name, and none comes back that was sent away.

    hosts/NAME.json     who has that name now, and by what it joined
    instances/ID.json   the same for an EC2 instance, which joins once
    joined.jsonl        every join and renewal, a line each, for an auditor

A host's name is only what it says.  What keeps one host from taking the name of
another is that a name which is taken is given again to the same machine alone:
by the UUID of its firmware, which root alone can read there, or to nobody.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from collector import certificates
from collector.errors import ConfigError
from collector.errors import Denied
from collector.errors import StateError
from collector.replacing import append
from collector.replacing import folder
from collector.replacing import locked
from collector.replacing import replace

_INSTANCE = re.compile(r"i-[0-9a-f]{8,17}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FILE_BYTES = 65_536


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A host that has a name."""

    host: str
    by: str
    """`token ID`, `instance ID`, or `an operator`."""
    key: str
    """SHA-256 of the public key that it has a certificate for."""
    product_uuid: str | None
    ends_at: dt.datetime
    """When its last certificate does."""
    barred: bool = False
    """Revoked: it does not join again until an operator allows it."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of joined.jsonl."""

    at: dt.datetime
    what: str
    """`joined`, `renewed`."""
    host: str
    by: str
    serial: str
    ends_at: dt.datetime
    source: str
    """Where the request came from, as gRPC says it."""
    agent_version: str
    product_uuid: str | None = None
    account_id: str | None = None


class Members:
    """The members of an authority; all but `locked` want the lock held."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold what is kept here alone. Raises StateError."""
        if not self._directory.is_dir():
            raise StateError(f"{self._directory}: no authority is here; `vedette pki init` makes one")
        with locked(self._directory / "members.lock"):
            for name in ("hosts", "instances"):
                folder(self._directory / name)
            yield

    def check(self, wanted: Member, now: dt.datetime, *, rejoin: bool) -> None:
        """Raise Denied when the name is not for who asks.

        `rejoin`: a name may be taken again that a token gave to a host without a UUID.
        """
        held = self._read(self._host(wanted.host))
        if held is None:
            return
        if held.barred:
            raise Denied(f"host {wanted.host} was revoked{_allow(wanted.host)}")
        same = held.product_uuid is not None and held.product_uuid == wanted.product_uuid
        anonymous = held.product_uuid is None and wanted.product_uuid is None and held.by.startswith("token ")
        if (rejoin and anonymous) or same or held.key == wanted.key or held.ends_at <= now:
            return
        if held.product_uuid is None or wanted.product_uuid is None:
            raise Denied(f"the name {wanted.host} is taken, and it cannot be told by whom{_allow(wanted.host)}")
        raise Denied(
            f"the name {wanted.host} is taken by a machine with another product UUID: a copied disk image needs a "
            f"machine-id of its own (systemd-machine-id-setup). If this is the same host{_allow(wanted.host)}"
        )

    def check_instance(self, instance_id: str, wanted: Member) -> None:
        """Raise Denied when this EC2 instance has joined; its document can be read by whoever runs on it."""
        held = self._read(self._instance(instance_id))
        if held is not None and held.key != wanted.key:
            raise Denied(f"instance {instance_id} has joined already, as host {held.host}{_allow(instance_id)}")

    def keep(self, member: Member, instance_id: str | None = None) -> None:
        """Note who has a name. Raises OSError."""
        content = msgspec.json.encode(member)
        replace(self._host(member.host), content, 0o600)
        if instance_id is not None:
            replace(self._instance(instance_id), content, 0o600)

    def renewed(self, host: str, key: str, ends_at: dt.datetime) -> None:
        """Note a host's next certificate; of one that never joined, nothing is known. Raises Denied, OSError."""
        held = self._read(self._host(host))
        if held is None:
            return
        if held.barred:
            raise Denied(f"host {host} was revoked")
        self.keep(msgspec.structs.replace(held, key=key, ends_at=ends_at))

    def bar(self, host: str, now: dt.datetime) -> None:
        """Keep a host away that was revoked, whether it joined or not. Raises OSError."""
        held = self._read(self._host(host))
        self.keep(msgspec.structs.replace(held or by_hand(host, now), barred=True))

    def allow(self, which: str) -> None:
        """Let a host, or an EC2 instance, join once more. Raises ConfigError when nothing keeps it from that."""
        path = self._instance(which) if _INSTANCE.fullmatch(which) else self._host(which)
        if not path.exists():
            raise ConfigError(f"{which!r} has not joined here, and was not revoked: nothing keeps it away")
        path.unlink()

    def log(self, line: Line) -> None:
        """Write down that somebody joined. Raises OSError."""
        append(self._directory / "joined.jsonl", msgspec.json.encode(line), 0o600)

    def _host(self, name: str) -> Path:
        certificates.check_name(name)  # it is a file's name, too
        return self._directory / "hosts" / f"{name}.json"

    def _instance(self, instance_id: str) -> Path:
        return self._directory / "instances" / f"{instance_id}.json"

    def _read(self, path: Path) -> Member | None:
        try:
            with path.open("rb") as file:
                return msgspec.json.decode(file.read(_FILE_BYTES), type=Member)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as exc:
            raise StateError(f"{path}: not a member as it is kept: {exc}") from exc


def by_hand(host: str, ends_at: dt.datetime) -> Member:
    """Return the member that a host is whose certificate an operator made."""
    return Member(host=host, by="an operator", key="", product_uuid=None, ends_at=ends_at)


def product_uuid(said: str | None) -> str | None:
    """Return a UUID as it is kept; None for what is none, or what firmware says that has none."""
    lower = (said or "").strip().lower()
    return lower if _UUID.fullmatch(lower) and len(set(lower) - {"-"}) > 1 else None


def _allow(which: str) -> str:
    return f"; `vedette pki allow {which}` lets it join once more"
