"""An authority, and certificates that it signed, made for one test and forgotten with it."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.oid import NameOID

HOUR = dt.timedelta(hours=1)


class Files(NamedTuple):
    """What one end of mutual TLS needs, as paths of PEM files."""

    ca_file: Path
    cert_file: Path
    key_file: Path


class Authority:
    """Signs certificates; all files go into `folder`."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._name = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        certificate = _builder(self._name, self._name, self._key).add_extension(constraints, critical=True)
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(_pem(certificate.sign(self._key, hashes.SHA256())))

    def server(self, stem: str = "server") -> Files:
        """Return the files of a server on 127.0.0.1."""
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        return self._issue(stem, "collector", names)

    def client(self, common_name: str, alternative: str | None = None) -> Files:
        """Return the files of a client called `common_name`, with `alternative` as DNS name if there is one."""
        names = [x509.DNSName(alternative)] if alternative else []
        return self._issue(f"client-{common_name}", common_name, names)

    def node(self, name: str) -> Files:
        """Return the files of a kubelet, which are for the name of its node and for no address."""
        return self._issue(f"node-{name}", name, [x509.DNSName(name)])

    def _issue(self, stem: str, common_name: str, alternatives: list[x509.GeneralName]) -> Files:
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = _builder(_name(common_name), self._name, key).add_extension(usage, critical=False)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        files = Files(self.ca_file, self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        files.cert_file.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        files.key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - HOUR)
        .not_valid_after(now + HOUR)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
