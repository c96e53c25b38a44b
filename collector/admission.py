"""Whether who asks gets a certificate, and the certificate; no gRPC, and each call blocks.

In this order: the request is whole, its proof holds, the name is free, the use
is counted, the certificate is signed, the join is written down.  A collector
that dies in between has counted a use too many, never one too few; and a host
that asks again with the same key, since the answer was lost, is counted once.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from collector import certificates
from collector import instances
from collector.authority import Authority
from collector.certificates import Role
from collector.certificates import Wish
from collector.config import Enrolment
from collector.errors import Denied
from collector.instances import Instance
from collector.members import Line
from collector.members import Member
from collector.members import Members
from collector.members import product_uuid
from collector.tokens import Token
from collector.tokens import Tokens
from collector.tokens import Use
from vedette.v1 import enrol_pb2

_MACHINE_ID = re.compile(r"[0-9a-f]{32}")  # what every agent calls its host: no other name can be had, least a reader's
FORGET_AFTER = dt.timedelta(days=30)  # an auditor has joined.jsonl for what was before
VERSION_LIMIT = 64  # characters of a version: it goes into the log


class _Proof(NamedTuple):
    """By what somebody may join."""

    by: str
    token: Token | None = None
    instance: Instance | None = None


class Admission:
    """Joins and renewals by one authority."""

    def __init__(self, settings: Enrolment, now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)) -> None:
        self._settings = settings
        self._now = now
        self._members = Members(settings.authority_dir)
        self._tokens = Tokens(settings.authority_dir)

    def join(self, request: enrol_pb2.JoinRequest, source: str) -> tuple[enrol_pb2.Membership, Line]:
        """Return a certificate for a host that has a proof. `source`: its address. Raises Denied, StateError."""
        key = _public_key(request.csr)
        if not _MACHINE_ID.fullmatch(request.host_id):
            raise Denied("a host's name is its id, 32 hexadecimal digits, as `vedette doctor` shows it")
        _check_version(request.agent_version)
        now = self._now()
        wanted = Member(
            host=request.host_id,
            by="",
            key=_digest(key),
            product_uuid=product_uuid(request.product_uuid),
            ends_at=now + dt.timedelta(days=self._settings.certificate_days),
        )
        with self._members.locked():
            proof = self._proof(request, wanted)
            self._members.check(wanted, now, rejoin=proof.token is not None and proof.token.rejoin)
            self._count(proof, wanted)
            certificate = self._sign(request.host_id, key)
            instance_id = proof.instance.instance_id if proof.instance else None
            self._members.keep(msgspec.structs.replace(wanted, by=proof.by), instance_id)
            line = self._line("joined", certificate, request.agent_version)
            account = proof.instance.account_id if proof.instance else None
            line = msgspec.structs.replace(
                line, by=proof.by, source=source, product_uuid=wanted.product_uuid, account_id=account
            )
            self._members.log(line)
        return self._membership(certificate), line

    def renew(self, request: enrol_pb2.RenewRequest, pem: bytes, source: str) -> tuple[enrol_pb2.Membership, Line]:
        """Return the next certificate of whoever came with `pem`, under the same name. Raises Denied, StateError."""
        key = _public_key(request.csr)
        old = x509.load_pem_x509_certificate(pem)
        entry = certificates.entry(old, revoked=False)
        _check_version(request.agent_version)
        if entry.role != Role.AGENT.value:
            raise Denied(
                f"the certificate of {entry.name} is for a {entry.role or 'stranger'}: agents alone renew theirs"
            )
        now = self._now()
        if now < old.not_valid_before_utc + (old.not_valid_after_utc - old.not_valid_before_utc) / 3:
            raise Denied("the certificate has lived less than a third of its time: it is too early for the next")
        with self._members.locked():
            ends_at = now + dt.timedelta(days=self._settings.certificate_days)
            self._members.renewed(entry.name, _digest(key), ends_at)
            certificate = self._sign(entry.name, key)
            line = self._line("renewed", certificate, request.agent_version)
            line = msgspec.structs.replace(line, by=f"certificate {entry.serial}", source=source)
            self._members.log(line)
        return self._membership(certificate), line

    def sweep(self) -> int:
        """Forget certificates that ended a month ago; return how many. Raises StateError."""
        return Authority(self._settings.authority_dir, self._now()).sweep(FORGET_AFTER)

    def _proof(self, request: enrol_pb2.JoinRequest, wanted: Member) -> _Proof:
        """Return by what a host may join. Raises Denied, StateError."""
        kind = request.WhichOneof("proof")
        if kind == "token":
            token = self._good_token(request.token, wanted)
            return _Proof(f"token {token.id}", token=token)
        if kind == "instance":
            instance = instances.proven(request.instance, self._settings, self._now())
            self._members.check_instance(instance.instance_id, wanted)
            return _Proof(f"instance {instance.instance_id}", instance=instance)
        raise Denied("neither a join token nor an instance identity document came along")

    def _good_token(self, proof: enrol_pb2.TokenProof, wanted: Member) -> Token:
        """Return a token with which this host may join, for the first time or once more. Raises Denied, StateError."""
        token = self._tokens.proven(proof)
        trouble = token.trouble(self._now())
        again = any((use.host, use.key) == (wanted.host, wanted.key) for use in token.used)
        if trouble and (token.revoked or not again):
            raise Denied(f"the join token {token.id} {trouble}; `vedette pki token create` makes another")
        return token

    def _count(self, proof: _Proof, wanted: Member) -> None:
        token = proof.token
        if token is not None and all((use.host, use.key) != (wanted.host, wanted.key) for use in token.used):
            self._tokens.use(token, Use(host=wanted.host, key=wanted.key, at=self._now()))

    def _sign(self, name: str, key: ec.EllipticCurvePublicKey) -> bytes:
        authority = Authority(self._settings.authority_dir, self._now())
        return authority.sign(Wish(Role.AGENT, (name,), self._settings.certificate_days), key)

    def _line(self, what: str, certificate: bytes, agent_version: str) -> Line:
        entry = certificates.entry(x509.load_pem_x509_certificate(certificate), revoked=False)
        return Line(
            at=self._now(),
            what=what,
            host=entry.name,
            by="",
            serial=entry.serial,
            ends_at=entry.not_after,
            source="",
            agent_version=agent_version,
        )

    def _membership(self, certificate: bytes) -> enrol_pb2.Membership:
        end = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
        return enrol_pb2.Membership(
            certificate=certificate,
            authorities=Authority(self._settings.authority_dir).bundle.read_bytes(),
            collector=self._settings.collector_address,
            not_after_s=int(end.timestamp()),
        )


def _public_key(csr: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key of a request whose private half signed it: P-256, as all of ours. Raises Denied."""
    try:
        request = x509.load_der_x509_csr(csr)
        key = request.public_key()
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            if not request.is_signature_valid:
                raise Denied("the certificate request is not signed by the key that it is for")
            return key
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise Denied("the certificate request is not PKCS 10") from exc
    raise Denied("the certificate request is for a key that is not P-256")


def _digest(key: ec.EllipticCurvePublicKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()


def _check_version(agent_version: str) -> None:
    if len(agent_version) > VERSION_LIMIT or not agent_version.isprintable():
        raise Denied(f"the agent's version has at most {VERSION_LIMIT} printable characters")
