"""Whose certificates the collector takes, read anew when a file changes.

TLS itself sees to authority, dates and possession of the key.  What it does not
see to is here: that a certificate was revoked, and that it ended while its
stream went on.  A file that cannot be used leaves what it said before, with one
line in the log.
"""

from __future__ import annotations

import datetime as dt
import logging
import ssl
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from typing import NamedTuple

import grpc
from cryptography import x509

from collector.certificates import revoked_in
from collector.config import Tls
from collector.errors import ConfigError

_log = logging.getLogger(__name__)


class Peer(NamedTuple):
    """The certificate that a connection was opened with."""

    serial: int
    not_after: dt.datetime


class Trust:
    """The files of one `[tls]`; `look` is called now and then, the rest by gRPC and by whoever has a peer."""

    def __init__(self, tls: Tls, now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)) -> None:
        """Raise ConfigError when a file cannot be used."""
        self._tls = tls
        self._now = now
        self._pair_stamp = _stamp(self._pair_files)
        self._pair = self._read_pair()
        self._open_stamp = self._pair_stamp
        self._revoked_stamp = _stamp(self._revoked_files)
        self._revoked = self._read_revoked()
        self._said: str | None = None

    @property
    def _pair_files(self) -> tuple[Path, ...]:
        return self._tls.ca_file, self._tls.cert_file, self._tls.key_file

    @property
    def _revoked_files(self) -> tuple[Path, ...]:
        return () if self._tls.crl_file is None else (self._tls.crl_file,)

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that demand a certificate of the client, and look at the files at each connection."""
        fetch: Any = self._changed_pair  # gRPC takes None for no change, which its stubs do not say
        return grpc.dynamic_ssl_server_credentials(self._pair, fetch, require_client_authentication=True)

    def open_credentials(self) -> grpc.ServerCredentials:
        """Return credentials that demand none of the client: for who comes to ask for a certificate."""
        fetch: Any = self._changed_open
        return grpc.dynamic_ssl_server_credentials(self._open(), fetch, require_client_authentication=False)

    def look(self) -> bool:
        """Read the list of what was revoked if it changed; tell whether it did."""
        stamp = _stamp(self._revoked_files)
        if stamp == self._revoked_stamp:
            return False
        self._revoked_stamp = stamp
        try:
            self._revoked = self._read_revoked()
        except ConfigError as exc:
            self._complain(f"{exc}; what it said before still holds")
            return False
        self._said = None
        _log.info("%d certificates are revoked", len(self._revoked))
        return True

    def refusal(self, peer: Peer) -> str | None:
        """Return why this certificate does not count, or not any more; None when it does."""
        if peer.serial in self._revoked:
            return f"the certificate with serial {peer.serial:x} is revoked: have a new one made"
        if peer.not_after <= self._now():
            return f"the certificate with serial {peer.serial:x} ended {peer.not_after:%Y-%m-%d %H:%M} UTC"
        return None

    def _changed_pair(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what a new connection is served with, None when that is as before; on a thread of gRPC's."""
        stamp = _stamp(self._pair_files)
        if stamp == self._pair_stamp:
            return None
        self._pair_stamp = stamp
        try:
            return self._read_pair()
        except ConfigError as exc:
            self._complain(f"{exc}; connections are served with what was there before")
            return None

    def _open(self) -> grpc.ServerCertificateConfiguration:
        _, certificate, key = (_read(path) for path in self._pair_files)
        _check(self._tls)
        return grpc.ssl_server_certificate_configuration([(key, certificate)])

    def _changed_open(self) -> grpc.ServerCertificateConfiguration | None:
        """As `_changed_pair`, which tells what is wrong with the files: this one need not."""
        stamp = _stamp(self._pair_files)
        if stamp == self._open_stamp:
            return None
        self._open_stamp = stamp
        try:
            return self._open()
        except ConfigError:
            return None

    def _read_pair(self) -> grpc.ServerCertificateConfiguration:
        """Read authority, certificate and key. Raises ConfigError."""
        ca, certificate, key = (_read(path) for path in self._pair_files)
        _check(self._tls)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=ca)

    def _read_revoked(self) -> frozenset[int]:
        """Read the list of what was revoked. Raises ConfigError."""
        if self._tls.crl_file is None:
            return frozenset()
        try:
            return frozenset(revoked_in(_read(self._tls.crl_file)))
        except ValueError as exc:
            raise ConfigError(f"`crl_file` {self._tls.crl_file}: {exc}") from exc

    def _complain(self, trouble: str) -> None:
        if trouble != self._said:
            _log.error("%s", trouble)
        self._said = trouble


def peer_of(properties: Mapping[str, Iterable[bytes]]) -> Peer | None:
    """Return the certificate of a connection by gRPC's properties of it; None for plain text."""
    for text in properties.get("x509_pem_cert", ()):
        certificate = x509.load_pem_x509_certificate(text)
        return Peer(certificate.serial_number, certificate.not_valid_after_utc)
    return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc


def _check(tls: Tls) -> None:
    """See that OpenSSL takes the files: gRPC would only say, to the agent, that the handshake failed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(cafile=tls.ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f"`ca_file` {tls.ca_file} holds no certificate in PEM") from exc
    try:
        context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")  # never ask the terminal
    except (OSError, ssl.SSLError, ValueError) as exc:
        raise ConfigError(f"{tls.cert_file} and {tls.key_file} are not a certificate and its unencrypted key") from exc


def _stamp(paths: Iterable[Path]) -> tuple[tuple[int, int, int] | None, ...]:
    """Return what changes when one of the files does, or is replaced."""
    return tuple(map(_stamp_of, paths))


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
