"""A key, a request and what comes of it: the child's work, with `cryptography`, which the agent does without."""

from __future__ import annotations

import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.deliver.target import Target
from agent.enrol import dialling
from agent.enrol import ec2
from agent.enrol import token as tokens
from agent.enrol.errand import Errand
from agent.enrol.errand import Outcome
from agent.enrol.identity import Folder
from agent.enrol.identity import Granted
from agent.enrol.identity import Identity
from agent.enrol.identity import Machine
from agent.enrol.identity import write
from agent.errors import CollectorError
from agent.errors import ConfigError
from agent.errors import PeerError
from agent.errors import StateError
from agent.version import VERSION
from vedette.v1 import enrol_pb2

_SKEW_S = 600.0


def run(errand: Errand) -> Outcome:
    """Do it, and say how it went."""
    folder = Folder(Path(errand.directory))
    try:
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = _key(folder.pending(Machine(errand.host_id, errand.product_uuid)))
        address, membership = _renewed(errand, folder, key) if errand.renew else _joined(errand, key)
        identity = _identity(errand, membership, address)
        folder.keep(identity, _granted(key, membership, errand.host_id))
    except dialling.Denied as exc:
        return Outcome(done=False, refused=True, text=str(exc))
    except PeerError as exc:
        return Outcome(done=False, text=str(exc))
    except OSError as exc:
        return Outcome(done=False, text=f"{exc.filename or folder.path}: {exc.strerror}")
    days = (identity.not_after_s - _now_s()) / 86_400
    what = "renewed" if errand.renew else "joined"
    return Outcome(done=True, text=f"{what}: {identity.collector} signed for host {errand.host_id}, {days:.1f} days")


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key that waits for a certificate, or a new one: asked for twice, it is one host still."""
    try:
        found = serialization.load_pem_private_key(path.read_bytes(), None)
        if isinstance(found, ec.EllipticCurvePrivateKey):
            return found
    except FileNotFoundError:
        pass
    except (OSError, TypeError, ValueError) as exc:
        raise StateError(f"{path}: no key; remove it to have a new one made: {exc}") from exc
    made = ec.generate_private_key(ec.SECP256R1())
    write(path, _private_pem(made))
    return made


def _joined(errand: Errand, key: ec.EllipticCurvePrivateKey) -> tuple[str, enrol_pb2.Membership]:
    """Ask to be taken in; return where to report, and the certificate. Raises PeerError."""
    request = enrol_pb2.JoinRequest(
        csr=_request(key), host_id=errand.host_id, product_uuid=errand.product_uuid, agent_version=VERSION
    )
    if errand.token is not None:
        token = tokens.parse(errand.token)
        request.token.id, request.token.secret = token.id, token.secret
        address, authorities = token.enrolment, dialling.pem(list(token.authorities))
        report = errand.collector or token.collector
    elif errand.enrolment and errand.ca_file:
        request.instance.CopyFrom(ec2.proof(errand.ec2_endpoint))
        address, authorities = errand.enrolment, _read(Path(errand.ca_file))
        report = errand.collector or ""
    else:
        raise ConfigError("there is neither a join token nor a place to join by an instance identity document")
    membership = dialling.join(address, authorities, request)
    return membership.collector or report, membership


def _renewed(errand: Errand, folder: Folder, key: ec.EllipticCurvePrivateKey) -> tuple[str, enrol_pb2.Membership]:
    """Ask for the next certificate. Raises PeerError."""
    address = errand.collector or ""
    target = Target.enrolled(address, folder.current, lambda: None)
    membership = dialling.renew(target, enrol_pb2.RenewRequest(csr=_request(key), agent_version=VERSION))
    return membership.collector or address, membership


def _request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return PKCS 10: its subject is empty, for the collector decides on the name."""
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


def _granted(key: ec.EllipticCurvePrivateKey, membership: enrol_pb2.Membership, host_id: str) -> Granted:
    """Return what is to be kept, if it is for our key and name. Raises CollectorError."""
    certificate = _certificate(membership)
    if certificate.public_key() != key.public_key():
        raise CollectorError("the collector signed for another key than ours")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if names.get_values_for_type(x509.DNSName) != [host_id]:
        raise CollectorError(f"the collector signed for another name than {host_id}")
    return Granted(_private_pem(key), membership.certificate, membership.authorities)


def _identity(errand: Errand, membership: enrol_pb2.Membership, address: str) -> Identity:
    certificate = _certificate(membership)
    start_s = int(certificate.not_valid_before_utc.timestamp())
    end_s = int(certificate.not_valid_after_utc.timestamp())
    if not start_s - _SKEW_S <= _now_s() < end_s:
        raise CollectorError("the certificate is not of today: the clock of this host, or the collector's, is wrong")
    Target.uri_of(address)
    return Identity(
        host_id=errand.host_id,
        product_uuid=errand.product_uuid,
        collector=address,
        not_before_s=start_s,
        not_after_s=end_s,
    )


def _certificate(membership: enrol_pb2.Membership) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(membership.certificate)
    except ValueError as exc:
        raise CollectorError("the collector sent something that is no certificate") from exc


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    none = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc


def _now_s() -> float:
    return time.time_ns() / 1e9
