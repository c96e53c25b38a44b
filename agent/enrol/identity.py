"""The certificate that this agent has, in its state directory, and whether it is this machine's.

A disk image that was made of a running host holds that host's key.  Beside it
stands whose it is: the host's id and the UUID of the machine's firmware.  Where
one of them is another, the copy is not used, and goes.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from agent.errors import StateError

PRODUCT_UUID = Path("/sys/class/dmi/id/product_uuid")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FILE_BYTES = 65_536


class Machine(NamedTuple):
    """What tells this machine from a copy of its disk."""

    host_id: str
    product_uuid: str | None
    """None where the firmware has none, or does not say it to us."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """identity.json."""

    host_id: str
    product_uuid: str | None
    collector: str
    """HOST:PORT."""
    not_before_s: int
    not_after_s: int

    def foreign_to(self, machine: Machine) -> str | None:
        """Return what says that it is another machine's; None when nothing does."""
        if self.host_id != machine.host_id:
            return f"it is of host {self.host_id}, and this is {machine.host_id}"
        if self.product_uuid and machine.product_uuid and self.product_uuid != machine.product_uuid:
            return f"it is of the machine {self.product_uuid}, and this is {machine.product_uuid}"
        return None


class Granted(NamedTuple):
    """What a collector signed, and the key it is for; all PEM."""

    key: bytes
    certificate: bytes
    authorities: bytes


class Folder:
    """The directory of an identity."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.current = path / "current"

    def read(self) -> Identity | None:
        """Return whose certificate is here; None when none is. Raises StateError."""
        path = self.current / "identity.json"
        try:
            with path.open("rb") as file:
                return msgspec.json.decode(file.read(_FILE_BYTES), type=Identity)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as exc:
            raise StateError(f"{path}: not an identity; remove {self.path} to have a new one made: {exc}") from exc

    def forget(self) -> None:
        """Let go of the certificate and its key, the copies of before among them. Raises OSError."""
        with suppress(FileNotFoundError):
            self.current.unlink()
        self._forget_pending()
        self._prune(None)

    def pending(self, machine: Machine) -> Path:
        """Return where a key waits for its certificate: an image made meanwhile gives no two machines one key."""
        return self.path / f"pending-{machine.host_id}-{machine.product_uuid}.key"

    def keep(self, identity: Identity, granted: Granted) -> None:
        """Put a new certificate into use, whole or not at all. Raises OSError."""
        name = f"{identity.not_before_s}-{os.urandom(4).hex()}"
        made = self.path / name
        made.mkdir(mode=0o700)
        write(made / "agent.key", granted.key)
        write(made / "agent.pem", granted.certificate)
        write(made / "ca.pem", granted.authorities)
        write(made / "identity.json", msgspec.json.encode(identity))
        _sync(made)
        link = self.path / "current.new"
        link.unlink(missing_ok=True)  # of one that was killed
        link.symlink_to(name)
        link.replace(self.current)
        _sync(self.path)
        self._forget_pending()
        self._prune(name)

    def _forget_pending(self) -> None:
        for pending in self.path.glob("pending-*.key*"):  # `.new` is of one that was killed while it wrote
            pending.unlink()

    def _prune(self, but: str | None) -> None:
        for old in self.path.glob("*-*"):
            if old.name != but and old.is_dir():
                shutil.rmtree(old, ignore_errors=True)


def this_machine(host_id: str, path: Path = PRODUCT_UUID) -> Machine:
    """Return what tells this machine from a copy; the file is for root alone."""
    try:
        said = path.read_text("ascii", "replace")[:64].strip().lower()
    except OSError:
        said = ""
    real = _UUID.fullmatch(said) is not None and len(set(said) - {"-"}) > 1  # all zeros or fs: a board without one
    return Machine(host_id, said if real else None)


def write(path: Path, content: bytes) -> None:
    """Write a file for its owner alone, whole or not at all, and have it on disk. Raises OSError."""
    new = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
