"""Who gets a certificate by himself, and who does not."""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from collector.admission import Admission
from collector.authority import Authority
from collector.certificates import common_name
from collector.certificates import entry
from collector.config import Enrolment
from collector.errors import Denied
from collector.members import Members
from collector.members import by_hand
from collector.tokens import Tokens
from collector.tokens import new_token
from vedette.v1 import enrol_pb2

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
HOST, OTHER = "a" * 32, "b" * 32
UUID, OTHER_UUID = "ec2f1d10-0000-4000-8000-000000000001", "ec2f1d10-0000-4000-8000-000000000002"


def csr(key: ec.EllipticCurvePrivateKey) -> bytes:
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


class Gate:
    """An authority, a clock, and tokens."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.directory = folder / "pki"
        self.now = NOW
        Authority(self.directory, NOW).init("test")
        enrolment = Enrolment(listen="127.0.0.1:0", authority_dir=self.directory, **settings)
        self.admission = Admission(enrolment, lambda: self.now)

    def token(self, uses: int = 1, *, rejoin: bool = False) -> enrol_pb2.TokenProof:
        made, secret = new_token(uses=uses, ends_at=NOW + HOUR, now=NOW)
        with Members(self.directory).locked():
            Tokens(self.directory).create(msgspec.structs.replace(made, rejoin=rejoin))
        return enrol_pb2.TokenProof(id=made.id, secret=secret)

    def join(self, key: ec.EllipticCurvePrivateKey | None = None, **said: Any) -> x509.Certificate:
        asked = {"host_id": HOST, "product_uuid": UUID, "agent_version": "1", **said}
        request = enrol_pb2.JoinRequest(csr=csr(key or fresh()), **asked)
        membership, _ = self.admission.join(request, "ipv4:10.0.0.1")
        return x509.load_pem_x509_certificate(membership.certificate)

    def renew(self, old: x509.Certificate) -> x509.Certificate:
        request = enrol_pb2.RenewRequest(csr=csr(fresh()), agent_version="1")
        pem = old.public_bytes(serialization.Encoding.PEM)
        return x509.load_pem_x509_certificate(self.admission.renew(request, pem, "ipv4:10.0.0.1")[0].certificate)


def fresh() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


def test_a_token_is_good_for_so_many_hosts_and_so_long(gate: Gate) -> None:
    """What is kept does not let anybody join; each join is a line for the auditor."""
    token = gate.token(2)
    made = gate.join(token=token)
    assert (HOST, "agent") == (common_name(made.subject), entry(made, revoked=False).role)
    gate.join(host_id=OTHER, product_uuid=OTHER_UUID, token=token)
    with pytest.raises(Denied, match="was used 2 times"):
        gate.join(host_id="c" * 32, token=token)
    late = gate.token()
    gate.now = NOW + HOUR
    with pytest.raises(Denied, match="ended 2026-11-24 13:00 UTC"):
        gate.join(host_id="c" * 32, token=late)
    assert all(token.secret not in path.read_bytes() for path in gate.directory.rglob("*.json"))
    lines = [json.loads(line) for line in (gate.directory / "joined.jsonl").read_text().splitlines()]
    assert [(HOST, f"token {token.id}", "ipv4:10.0.0.1"), (OTHER, f"token {token.id}", "ipv4:10.0.0.1")] == [
        (line["host"], line["by"], line["source"]) for line in lines
    ]
    assert f"{made.serial_number:x}" == lines[0]["serial"]


def test_an_answer_that_was_lost_costs_no_second_use(gate: Gate) -> None:
    """The same host with the same key is one join, also when the token is used up by it."""
    token, key = gate.token(1), fresh()
    gate.join(key, token=token)
    gate.join(key, token=token)
    with pytest.raises(Denied, match="was used 1 times"):
        gate.join(fresh(), token=token)


def test_a_wrong_or_revoked_token_is_refused(gate: Gate) -> None:
    """A wrong secret is told as a token that is not there; an id is no path."""
    token = gate.token(5)
    for wrong in (b"", b"x" * 32, token.secret[:-1]):
        with pytest.raises(Denied, match="not known here"):
            gate.join(token=enrol_pb2.TokenProof(id=token.id, secret=wrong))
    for name in ("", "../hosts/x", "0" * 12, "ffff"):
        with pytest.raises(Denied, match="not known here"):
            gate.join(token=enrol_pb2.TokenProof(id=name, secret=token.secret))
    with Members(gate.directory).locked():
        Tokens(gate.directory).revoke(token.id)
    with pytest.raises(Denied, match="is revoked"):
        gate.join(token=token)
    with pytest.raises(Denied, match="neither a join token"):
        gate.join()


def test_a_name_that_is_taken_is_given_to_the_same_machine_alone(gate: Gate) -> None:
    """A clone with the same machine-id has another firmware; an operator can let it in all the same."""
    token = gate.token(9)
    gate.join(token=token)
    gate.join(token=token)  # reinstalled
    with pytest.raises(Denied, match="taken by a machine with another product UUID"):
        gate.join(product_uuid=OTHER_UUID, token=token)
    with pytest.raises(Denied, match="cannot be told by whom"):
        gate.join(product_uuid="", token=token)
    with pytest.raises(Denied, match="cannot be told by whom"):
        gate.join(product_uuid=None, token=gate.token(rejoin=True))
    with Members(gate.directory).locked():
        Members(gate.directory).allow(HOST)
    gate.join(product_uuid=OTHER_UUID, token=token)
    with Members(gate.directory).locked():
        Members(gate.directory).keep(by_hand(OTHER, NOW + HOUR))
    for which in (token, gate.token(rejoin=True)):
        with pytest.raises(Denied, match="is taken"):
            gate.join(host_id=OTHER, product_uuid=None, token=which)


def test_a_task_without_firmware_joins_again_by_a_token_for_that(gate: Gate) -> None:
    """A later task of Fargate has the name of an earlier one; any other token does not give it."""
    gate.join(product_uuid=None, token=gate.token())
    with pytest.raises(Denied, match="cannot be told by whom"):
        gate.join(product_uuid=None, token=gate.token())
    gate.join(product_uuid=None, token=gate.token(rejoin=True))
    with pytest.raises(Denied, match="is taken"):
        gate.join(product_uuid=UUID, token=gate.token(rejoin=True))


@pytest.mark.parametrize("name", ["", "root", "../../etc", "A" * 32, "a" * 31, "a" * 32 + "\n", "i-0123456789abcdef0"])
def test_no_other_name_than_a_machine_id_can_be_had(gate: Gate, name: str) -> None:
    """Least of all that of a reader, who sees all hosts."""
    with pytest.raises(Denied, match="32 hexadecimal digits"):
        gate.join(host_id=name, token=gate.token())


def test_a_revoked_host_stays_away_until_it_is_allowed(gate: Gate) -> None:
    """Its token does not bring it back, and neither does renewal."""
    token = gate.token(9)
    old = gate.join(token=token)
    with Members(gate.directory).locked():
        Members(gate.directory).bar(HOST, NOW)
    with pytest.raises(Denied, match=f"`vedette pki allow {HOST}`"):
        gate.join(token=token)
    gate.now = NOW + dt.timedelta(days=20)
    with pytest.raises(Denied, match="was revoked"):
        gate.renew(old)


def test_a_renewal_keeps_the_name_and_is_not_for_everybody(gate: Gate) -> None:
    """In the last two thirds of its life, and of agents alone."""
    old = gate.join(token=gate.token())
    with pytest.raises(Denied, match="too early"):
        gate.renew(old)
    gate.now = NOW + dt.timedelta(days=20)
    new = gate.renew(old)
    assert old.subject == new.subject
    assert NOW + dt.timedelta(days=49) < new.not_valid_after_utc
    from collector.certificates import Role
    from collector.certificates import Wish

    made = Authority(gate.directory, NOW).issue(Wish(Role.READER, ("alice",), 30))
    with pytest.raises(Denied, match="is for a reader"):
        gate.renew(x509.load_pem_x509_certificate(made.certificate))


def test_a_crowd_shares_the_uses_of_a_token(gate: Gate) -> None:
    """Twelve at once with a token for five: five join, whichever they are."""
    token = gate.token(5)

    def attempt(number: int) -> bool:
        try:
            gate.join(host_id=f"{number:032x}", product_uuid=None, token=token)
        except Denied:
            return False
        return True

    with ThreadPoolExecutor(12) as threads:
        assert 5 == sum(threads.map(attempt, range(12)))
    assert 5 == len(list((gate.directory / "issued").iterdir()))


@pytest.mark.skipif(os.geteuid() != 0, reason="another owner's directory needs root")
def test_what_root_makes_belongs_to_the_collector(gate: Gate) -> None:
    """An operator's token is read and counted by the service's own user."""
    for path in (gate.directory, *gate.directory.rglob("*")):
        os.chown(path, 12345, 12345)
    gate.join(token=gate.token())
    assert {12345} == {path.stat().st_uid for path in gate.directory.rglob("*")}


def test_certificates_that_ended_long_ago_are_forgotten(gate: Gate) -> None:
    """A month after their end, so that hosts which renew for years leave no pile; the log of joins has them all."""
    gate.join(token=gate.token())
    for days, left in ((31, 1), (59, 1), (61, 0)):
        gate.now = NOW + dt.timedelta(days=days)
        gate.admission.sweep()
        assert left == len(list((gate.directory / "issued").iterdir()))
    assert (gate.directory / "joined.jsonl").read_text()


def test_the_key_must_be_there_and_of_our_kind(gate: Gate) -> None:
    """What is no request, is not signed, or is for another curve."""
    good = csr(fresh())
    flipped = good[:-1] + bytes((good[-1] ^ 1,))
    other = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    wide = other.sign(ec.generate_private_key(ec.SECP384R1()), hashes.SHA256())
    token = gate.token()
    for bad in (b"", b"\x30\x00", good[:50], flipped, wide.public_bytes(serialization.Encoding.DER)):
        request = enrol_pb2.JoinRequest(csr=bad, host_id=HOST, agent_version="1", token=token)
        with pytest.raises(Denied, match="certificate request"):
            gate.admission.join(request, "")


DOCUMENT = {
    "instanceId": "i-0123456789abcdef0",
    "accountId": "111122223333",
    "region": "eu-west-1",
    "pendingTime": "2026-11-24T11:30:00Z",
}
Sign = Callable[..., enrol_pb2.InstanceProof]


@pytest.fixture(scope="module")
def amazon(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sign]:
    """Return AWS's certificates, made here, and what signs a document as its metadata service does."""
    folder = tmp_path_factory.mktemp("aws")
    for name in ("eu-west-1", "us-east-1"):
        subprocess.run(
            f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.pem -days 30 -subj /CN={name}",
            shell=True, check=True, cwd=folder, capture_output=True,
        )  # fmt: skip

    def sign(signer: str = "eu-west-1", **said: str) -> enrol_pb2.InstanceProof:
        document = json.dumps(DOCUMENT | said).encode()
        command = (
            f"openssl cms -sign -binary -nodetach -signer {signer}.pem -inkey {signer}.key -outform DER -md sha256"
        )
        made = subprocess.run(command, shell=True, input=document, check=True, cwd=folder, capture_output=True)
        return enrol_pb2.InstanceProof(document=document, rsa2048=base64.encodebytes(made.stdout))

    return folder, sign


def test_an_instance_joins_once_by_what_aws_signed(tmp_path: Path, amazon: tuple[Path, Sign]) -> None:
    """Of this account, lately started; whoever else reads the same document comes too late."""
    folder, sign = amazon
    gate = Gate(tmp_path, ec2_certificates=folder, ec2_accounts=("111122223333",))
    key = fresh()
    gate.join(key, instance=sign())
    spaced = sign()
    spaced.document += b"\n"
    gate.join(key, instance=spaced)
    with pytest.raises(Denied, match="has joined already, as host a"):
        gate.join(host_id=OTHER, instance=sign())
    with Members(gate.directory).locked():
        Members(gate.directory).allow("i-0123456789abcdef0")
    gate.join(host_id=OTHER, instance=sign())
    line = json.loads((gate.directory / "joined.jsonl").read_text().splitlines()[0])
    assert ("instance i-0123456789abcdef0", "111122223333") == (line["by"], line["account_id"])


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"accountId": "999999999999"}, "not one of `enrolment.ec2_accounts`"),
        ({"accountId": "1\n\x1b[2J joined: host a"}, "or no account"),
        ({"region": "us-west-2"}, "no certificate of AWS for us-west-2"),
        ({"region": "us-east-1"}, "not signed by AWS's certificate"),
        ({"region": "../eu-west-1"}, "names no region"),
        ({"instanceId": "../x"}, "no instance"),
        ({"pendingTime": "2026-11-24T10:59:00Z"}, "not within"),
        ({"pendingTime": "2026-11-25T10:59:00Z"}, "not within"),
        ({"pendingTime": "2026-11-24T11:30:00"}, "without a zone"),
        ({"pendingTime": "soon"}, "not an instance identity document"),
    ],
)
def test_a_document_of_something_else_is_refused(
    tmp_path: Path, amazon: tuple[Path, Sign], said: dict[str, str], why: str
) -> None:
    """With what is wrong."""
    folder, sign = amazon
    gate = Gate(tmp_path, ec2_certificates=folder, ec2_accounts=("111122223333",))
    with pytest.raises(Denied, match=why):
        gate.join(instance=sign(**said))


def test_a_document_that_was_changed_is_refused(tmp_path: Path, amazon: tuple[Path, Sign]) -> None:
    """The signature is of what is read, and by the certificate in the file: not by one that comes along."""
    folder, sign = amazon
    gate = Gate(tmp_path, ec2_certificates=folder, ec2_accounts=("111122223333",))
    good = sign()
    changed = good.document.replace(b"abcdef0", b"abcdef1")
    foreign = sign("us-east-1")
    for proof, why in (
        (enrol_pb2.InstanceProof(document=changed, rsa2048=good.rsa2048), "is not what AWS signed"),
        (foreign, "not signed by AWS"),
        (enrol_pb2.InstanceProof(document=good.document, rsa2048=b"!"), "not base64"),
        (enrol_pb2.InstanceProof(document=good.document, rsa2048=b"AAAA"), "not signed by AWS"),
        (enrol_pb2.InstanceProof(document=b"{}", rsa2048=good.rsa2048), "not an instance identity document"),
        (enrol_pb2.InstanceProof(document=b"x" * 9000, rsa2048=good.rsa2048), "too long"),
    ):
        with pytest.raises(Denied, match=why):
            gate.join(instance=proof)
    with pytest.raises(Denied, match="takes no instance identity documents"):
        Gate(tmp_path / "other").join(instance=good)
