"""EC2's instance identity document: what AWS signed about an instance, checked with the certificates it publishes.

The document and its signature are read from the metadata service, below
/latest/dynamic/instance-identity (EC2 user guide, "Instance identity
documents").  The signature is PKCS 7 with RSA-2048, and AWS has one certificate
for each region: `REGION.pem` in a directory of the operator's.  OpenSSL's own
program looks at it; the certificate is taken by its file, never from the message.

What this proves: an instance of that account and region was started.  Not which
program asked: whoever can read the instance's metadata service has the document,
and it does not change while the instance lives.  So an instance joins once.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
import subprocess
import tempfile
from pathlib import Path

import msgspec

from collector.config import Enrolment
from collector.errors import Denied
from collector.errors import StateError
from vedette.v1 import enrol_pb2

DOCUMENT_BYTES = 8192  # AWS's has 500
_OPENSSL_S = 10.0
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}")
_ID = re.compile(r"i-[0-9a-f]{8,17}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_FOLD = 64
_SKEW = dt.timedelta(minutes=5)


class Instance(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the document says, less what is not used."""

    instance_id: str
    account_id: str
    region: str
    pending_time: dt.datetime
    """When the instance was started last."""


def proven(proof: enrol_pb2.InstanceProof, wanted: Enrolment, now: dt.datetime) -> Instance:
    """Return the instance that a document is about. Raises Denied with what is wrong, StateError without openssl."""
    if wanted.ec2_certificates is None:
        raise Denied("this collector takes no instance identity documents: `enrolment.ec2_certificates` is not set")
    instance = _read(proof.document)
    if instance.account_id not in wanted.ec2_accounts:
        raise Denied(f"account {instance.account_id} is not one of `enrolment.ec2_accounts`")
    if wanted.ec2_regions and instance.region not in wanted.ec2_regions:
        raise Denied(f"region {instance.region} is not one of `enrolment.ec2_regions`")
    certificate = wanted.ec2_certificates / f"{instance.region}.pem"
    if not certificate.is_file():
        raise Denied(f"there is no certificate of AWS for {instance.region}: {certificate}")
    if _read(_signed_by(certificate, proof.rsa2048)) != instance:  # what it says, whatever blanks are around it
        raise Denied("the instance identity document is not what AWS signed")
    age = now - instance.pending_time
    if not -_SKEW <= age <= dt.timedelta(seconds=wanted.ec2_max_age_s):
        raise Denied(
            f"instance {instance.instance_id} was started {instance.pending_time:%Y-%m-%d %H:%M} UTC, "
            f"which is not within `enrolment.ec2_max_age_s` ({wanted.ec2_max_age_s})"
        )
    return instance


def _read(document: bytes) -> Instance:
    if len(document) > DOCUMENT_BYTES:
        raise Denied("the instance identity document is too long")
    try:
        instance = msgspec.json.decode(document, type=Instance)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Denied(f"not an instance identity document: {exc}") from exc
    if instance.pending_time.tzinfo is None:
        raise Denied("the instance identity document has a time without a zone")
    # All three go into the log before anybody's signature was looked at.
    names = ((_REGION, instance.region), (_ID, instance.instance_id), (_ACCOUNT, instance.account_id))
    if not all(form.fullmatch(name) for form, name in names):
        raise Denied("the instance identity document names no region, no instance or no account")
    return instance


def _signed_by(certificate: Path, rsa2048: bytes) -> bytes:
    """Return what is signed in a PKCS 7 message, by this certificate alone. Raises Denied, StateError."""
    try:
        der = base64.b64decode(b"".join(rsa2048[: 4 * DOCUMENT_BYTES].split()), validate=True)
    except binascii.Error as exc:
        raise Denied("the signature of the instance identity document is not base64") from exc
    with tempfile.NamedTemporaryFile(prefix="vedette-") as file:
        file.write(der)
        file.flush()
        # -noverify: AWS's certificates are of nobody's authority. -nointern: who signed is in -certfile, or nobody.
        asked = ("-noverify", "-nointern", "-certfile", str(certificate), "-binary", "-inform", "DER", "-in", file.name)
        try:
            done = subprocess.run(
                ("openssl", "cms", "-verify", *asked), capture_output=True, timeout=_OPENSSL_S, check=False
            )
        except FileNotFoundError as exc:
            raise StateError("instance identity documents need the program `openssl`: install it") from exc
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise StateError(f"openssl cannot be run: {exc}") from exc
    if done.returncode != 0:
        raise Denied("the instance identity document is not signed by AWS's certificate of its region")
    return done.stdout
