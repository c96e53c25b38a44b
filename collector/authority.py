"""A private certificate authority in one directory, for mutual TLS between agents and collectors.

    ca.pem             who signs: the authority in use, then those before it; what both ends trust
    authority/ID.pem   each authority, and ID.key beside it, for its owner alone
    issued/SERIAL.pem  every certificate that was ever signed here
    crl.pem            what was revoked, one list for each authority (RFC 5280 5); collectors read it

Signing is one at a time, by a lock on the directory, and each file is replaced
whole.  Whoever can read `authority/` is the authority: keep it off the hosts
that are watched.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from collector import certificates
from collector.certificates import Entry
from collector.certificates import Issued
from collector.certificates import Signer
from collector.certificates import Wish
from collector.errors import ConfigError
from collector.errors import StateError
from collector.replacing import locked
from collector.replacing import replace

AUTHORITY_DAYS = 3650
AGENT_DAYS = 90  # short: it is renewed without a person
COLLECTOR_DAYS = 365


class Authority:
    """The authority in `directory`; times are in UTC."""

    def __init__(self, directory: Path, now: dt.datetime | None = None) -> None:
        """`now` stands in for the clock."""
        self._directory = directory
        self._now = now

    @property
    def bundle(self) -> Path:
        """Return the file with the authorities that are trusted."""
        return self._directory / "ca.pem"

    @property
    def crl(self) -> Path:
        """Return the file with what was revoked."""
        return self._directory / "crl.pem"

    def init(self, name: str, days: int = AUTHORITY_DAYS) -> None:
        """Make the first authority. Raises StateError when there is one, or the directory cannot be written."""
        try:
            for folder in (self._directory, self._directory / "authority", self._directory / "issued"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise StateError(f"{exc.filename}: {exc.strerror}") from exc
        with self._locked():
            if self.bundle.exists():
                raise StateError(f"{self.bundle}: an authority is there already; `vedette pki rotate` makes the next")
            self._begin(name, days, [])

    def rotate(self, days: int = AUTHORITY_DAYS) -> None:
        """Make the next authority, which signs from now on; those before stay trusted until `retire`.

        Raises StateError.
        """
        with self._locked():
            older = self._authorities()
            self._begin(certificates.common_name(older[0].subject), days, older)

    def retire(self) -> list[str]:
        """Trust the newest authority alone; return whose certificates do not count any more. Raises StateError."""
        with self._locked():
            newest, *older = self._authorities()
            gone = {each.subject for each in older}
            living = (one for one in self._issued() if one.not_valid_after_utc > self._time())
            names = sorted({certificates.common_name(one.subject) for one in living if one.issuer in gone})
            replace(self.bundle, certificates.pem(newest), 0o644)
            self._write_crl([newest], self._revoked())
            return names

    def issue(self, wish: Wish) -> Issued:
        """Make a key and sign for it. Raises ConfigError, StateError."""
        key = certificates.new_key()
        return Issued(self.sign(wish, key.public_key()), certificates.private_pem(key))

    def sign(self, wish: Wish, key: ec.EllipticCurvePublicKey) -> bytes:
        """Return a certificate in PEM for a key that its owner made. Raises ConfigError, StateError."""
        with self._locked():
            by = self._signer(self._authorities()[0])
            made = certificates.signed(wish, key, by=by, now=self._time())
            replace(self._directory / "issued" / f"{made.serial_number:x}.pem", certificates.pem(made), 0o644)
            return certificates.pem(made)

    def sweep(self, after: dt.timedelta) -> int:
        """Forget certificates that ended so long ago, revoked ones too; return how many. Raises StateError."""
        with self._locked():
            folder, before = self._directory / "issued", self._time() - after
            ended = [path for path in folder.glob("*.pem") if all(_ended(one, before) for one in _read(path))]
            for path in ended:
                path.unlink()
            return len(ended)

    def revoke(self, which: str) -> list[Entry]:
        """Revoke every certificate of that name, or the one with that serial in hexadecimal; return those.

        Raises ConfigError when there is none, StateError.
        """
        with self._locked():
            revoked = self._revoked()
            known = [one for one in self._issued() if which in _names(one)]
            fresh = [one for one in known if one.serial_number not in revoked]
            if not fresh:
                state = "is revoked already" if known else "names no certificate that was signed here"
                raise ConfigError(f"{which!r} {state}; `vedette pki list` shows names and serials")
            self._write_crl(self._authorities(), revoked | {one.serial_number: self._time() for one in fresh})
            return [certificates.entry(one, revoked=True) for one in fresh]

    def entries(self) -> list[Entry]:
        """Return what was signed here, the nearest end first. Raises StateError."""
        with self._locked():
            self._authorities()
            revoked = self._revoked()
            found = [certificates.entry(one, revoked=one.serial_number in revoked) for one in self._issued()]
            return sorted(found, key=lambda entry: entry.not_after)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the directory alone. Raises StateError."""
        if not self._directory.is_dir():
            raise StateError(f"{self._directory}: no authority is here; `vedette pki init` makes one")
        with locked(self._directory / "lock"):
            yield

    def _begin(self, name: str, days: int, older: list[x509.Certificate]) -> None:
        """Make an authority and put it before those that there are; its key first, so that no crash loses one."""
        key = certificates.new_key()
        # Two authorities of one name could not be told apart by the issuer of a certificate.
        unique = x509.NameAttribute(NameOID.SERIAL_NUMBER, os.urandom(8).hex())
        subject = x509.Name([unique, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = certificates.self_signed(subject, key, now=self._time(), days=days)
        replace(self._key_file(made), certificates.private_pem(key), 0o600)
        replace(self._key_file(made).with_suffix(".pem"), certificates.pem(made), 0o644)
        self._write_crl([made, *older], self._revoked())
        replace(self.bundle, b"".join(map(certificates.pem, [made, *older])), 0o644)

    def _write_crl(self, authorities: Sequence[x509.Certificate], revoked: dict[int, dt.datetime]) -> None:
        """Write what is revoked, each certificate in the list of the authority that signed it."""
        issued = self._issued()
        lists = []
        for authority in authorities:
            own = {one.serial_number for one in issued if one.issuer == authority.subject}
            theirs = {serial: at for serial, at in revoked.items() if serial in own}
            signer = self._signer(authority)
            lists.append(certificates.revocation_list(signer, revoked=theirs, now=self._time()))
        replace(self.crl, b"".join(lists), 0o644)

    def _revoked(self) -> dict[int, dt.datetime]:
        if not self.crl.exists():
            return {}
        try:
            return certificates.revoked_in(self.crl.read_bytes())
        except ValueError as exc:
            raise StateError(f"{self.crl}: {exc}") from exc

    def _authorities(self) -> list[x509.Certificate]:
        """Return the authorities, the one in use first. Raises StateError."""
        if not self.bundle.exists():
            raise StateError(f"{self._directory}: no authority is here; `vedette pki init` makes one")
        return _read(self.bundle)

    def _issued(self) -> list[x509.Certificate]:
        """Return every certificate that was signed here. Raises StateError."""
        return [one for path in sorted((self._directory / "issued").glob("*.pem")) for one in _read(path)]

    def _key_file(self, authority: x509.Certificate) -> Path:
        return self._directory / "authority" / f"{authority.fingerprint(hashes.SHA256()).hex()[:16]}.key"

    def _signer(self, authority: x509.Certificate) -> Signer:
        path = self._key_file(authority)
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), None)
        except (OSError, TypeError, ValueError) as exc:
            raise StateError(f"{path}: the authority's key cannot be read: {exc}") from exc
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise StateError(f"{path}: not an elliptic curve key")
        return Signer(authority, key)

    def _time(self) -> dt.datetime:
        return self._now or dt.datetime.now(dt.UTC)


def _ended(certificate: x509.Certificate, before: dt.datetime) -> bool:
    return certificate.not_valid_after_utc < before


def _names(certificate: x509.Certificate) -> tuple[str, str]:
    return certificates.common_name(certificate.subject), f"{certificate.serial_number:x}"


def _read(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError as exc:
        raise StateError(f"{path}: not certificates in PEM: {exc}") from exc
