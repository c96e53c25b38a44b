"""X.509 as Vedette uses it: roles, names, PEM, and lists of what was revoked.  Pure functions.

Keys are P-256.  A certificate says in its extended key usage (RFC 5280 4.2.1.12)
whether it opens a connection or answers one: an agent's cannot pose as a
collector, nor a collector's as an agent.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from enum import Enum
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.oid import NameOID

from collector.errors import ConfigError

SKEW = dt.timedelta(minutes=5)  # a host whose clock is a little behind takes a new certificate at once
_COMMON_NAME_MAX = 64  # RFC 5280 A.1, ub-common-name
_HASH = hashes.SHA256()
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")  # fits a common name
_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")  # 253 characters (RFC 1035 2.3.4)
_EVERY_USAGE = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


class Role(Enum):
    """What a certificate is for: its organisational unit says it, and its extended key usage holds to it."""

    AGENT = "agent"
    READER = "reader"
    """A person or program that asks; the collector's `readers` names those who see all hosts."""
    COLLECTOR = "collector"


class Wish(NamedTuple):
    """What somebody wants a certificate for."""

    role: Role
    names: tuple[str, ...]
    """The first is the identity; of a collector, all addresses that agents dial."""
    days: int


class Issued(NamedTuple):
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes


class Signer(NamedTuple):
    """An authority's certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Entry(NamedTuple):
    """A certificate in a line."""

    name: str
    role: str
    serial: str
    """In hexadecimal."""
    not_after: dt.datetime
    revoked: bool


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new private key."""
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key in PEM, unencrypted: what protects it is the mode of its file."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate in PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def common_name(name: x509.Name) -> str:
    """Return the common name, empty when there is none."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def entry(certificate: x509.Certificate, *, revoked: bool) -> Entry:
    """Return a certificate in a line."""
    units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    return Entry(
        name=common_name(certificate.subject),
        role=str(units[0].value) if units else "",
        serial=f"{certificate.serial_number:x}",
        not_after=certificate.not_valid_after_utc,
        revoked=revoked,
    )


def revoked_in(crl: bytes) -> dict[int, dt.datetime]:
    """Return serial and date of all that the lists in `crl`, PEM, revoke. Raises ValueError for anything else.

    Serials are random numbers of 159 bits, so that they alone tell certificates of different authorities apart.
    """
    if b"-----BEGIN X509 CRL-----" not in crl:
        raise ValueError("no list of revoked certificates in PEM")
    found = {}
    for part in crl.split(b"-----END X509 CRL-----")[:-1]:
        for one in x509.load_pem_x509_crl(part + b"-----END X509 CRL-----\n"):
            found[one.serial_number] = one.revocation_date_utc
    return found


def revocation_list(by: Signer, *, revoked: dict[int, dt.datetime], now: dt.datetime) -> bytes:
    """Return an authority's list in PEM; it holds until its authority ends, as none is published on a schedule."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(by.certificate.subject)
    builder = builder.last_update(now).next_update(by.certificate.not_valid_after_utc)
    for serial, at in sorted(revoked.items()):
        one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()
        builder = builder.add_revoked_certificate(one)
    return builder.sign(by.key, _HASH).public_bytes(serialization.Encoding.PEM)


def self_signed(name: x509.Name, key: ec.EllipticCurvePrivateKey, *, now: dt.datetime, days: int) -> x509.Certificate:
    """Return an authority that may sign certificates of ends, and no other authorities."""
    builder = _builder(name, name, now=now, end=now + dt.timedelta(days=days)).public_key(key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = _EVERY_USAGE | {"key_cert_sign": True, "crl_sign": True}
    builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False).sign(
        key, _HASH
    )


def signed(wish: Wish, key: ec.EllipticCurvePublicKey, *, by: Signer, now: dt.datetime) -> x509.Certificate:
    """Return a certificate for a key that its owner made; it never outlives its authority. Raises ConfigError."""
    alternatives = x509.SubjectAlternativeName(_alternatives(wish))
    usage = ExtendedKeyUsageOID.SERVER_AUTH if wish.role is Role.COLLECTOR else ExtendedKeyUsageOID.CLIENT_AUTH
    unit = x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, wish.role.value)
    subject = x509.Name([unit, x509.NameAttribute(NameOID.COMMON_NAME, wish.names[0][:_COMMON_NAME_MAX])])
    end = min(now + dt.timedelta(days=wish.days), by.certificate.not_valid_after_utc)
    builder = _builder(subject, by.certificate.subject, now=now, end=end).public_key(key)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.KeyUsage(**(_EVERY_USAGE | {"digital_signature": True})), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
    builder = builder.add_extension(alternatives, critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
    return builder.add_extension(issuer, critical=False).sign(by.key, _HASH)


def check_name(name: str) -> None:
    """Raise ConfigError unless `name` can be an agent's or reader's."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be a certificate's name: up to {_COMMON_NAME_MAX} letters, digits, `.`, `_` and `-`, "
            "with a letter or digit at both ends; an agent's is its host id, as `vedette doctor` shows it"
        )


def _alternatives(wish: Wish) -> list[x509.GeneralName]:
    """Return the subject alternative names: an identity, or the addresses a collector is reached by."""
    if wish.role is Role.COLLECTOR:
        return [_address(name) for name in wish.names]
    for name in wish.names:
        check_name(name)
    return [x509.DNSName(name) for name in wish.names]


def _address(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    if not _HOST.fullmatch(name) or name.replace(".", "").isdecimal():
        raise ConfigError(f"{name!r} is neither a host name nor an IP address that agents could dial")
    return x509.DNSName(name)


def _builder(subject: x509.Name, issuer: x509.Name, *, now: dt.datetime, end: dt.datetime) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(now - SKEW).not_valid_after(end)
