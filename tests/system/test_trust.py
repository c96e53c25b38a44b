"""Who is let in, and for how long: real certificates of a private authority, over real mutual TLS."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from agent.deliver.client import Line
from agent.deliver.target import Target
from agent.errors import CollectorError
from collector.authority import Authority as PrivateAuthority
from collector.certificates import Role
from collector.certificates import Wish
from collector.ingest import STREAMS_MAX
from tests.certificates import Authority
from tests.certificates import Files
from tests.system.collecting import WAIT_S
from tests.system.collecting import Stream
from tests.system.collecting import channel
from tests.system.collecting import collector
from tests.system.collecting import query
from tests.unit.collector.made import finding
from vedette.v1 import ingest_pb2
from vedette.v1 import query_pb2

pytestmark = pytest.mark.beside

FINDINGS = ingest_pb2.LANE_FINDINGS


def tls(files: Files) -> str:
    return f'[tls]\nca_file = "{files.ca_file}"\ncert_file = "{files.cert_file}"\nkey_file = "{files.key_file}"\n'


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def seen_by(files: Files, address: str) -> list[Any]:
    with channel(address, files) as connection:
        return [json.loads(row.json) for row in query(connection, "Events", query_pb2.EventQuery())]


def revocable(authority: PrivateAuthority, folder: Path) -> tuple[Callable[[str], Files], str]:
    """Return what issues files of an agent, and the settings of a collector that heeds what is revoked."""

    def issue(role: Role, name: str) -> Files:
        made = authority.issue(Wish(role, (name,), 1))
        files = Files(authority.bundle, folder / f"{name}.pem", folder / f"{name}.key")
        files.cert_file.write_bytes(made.certificate)
        files.key_file.write_bytes(made.key)
        return files

    settings = tls(issue(Role.COLLECTOR, "127.0.0.1")) + f'crl_file = "{authority.crl}"\n'
    return partial(issue, Role.AGENT), settings


def test_a_revoked_certificate_ends_its_stream_and_opens_no_other(tmp_path: Path) -> None:
    """Within seconds, with the reason at both ends; other agents do not notice, and the log names it."""
    authority = PrivateAuthority(tmp_path / "pki")
    authority.init("test")
    issue, settings = revocable(authority, tmp_path)
    with collector(tmp_path, settings) as made:
        lost, kept = issue("i-lost"), issue("i-kept")
        with Stream(made.address, lost) as stream, Stream(made.address, kept) as other:
            welcome = stream.hello("i-lost")
            assert abs(welcome.certificate_not_after_s - time.time() - 86_400) < 600
            other.hello("i-kept")
            authority.revoke("i-lost")
            code, text = stream.error()
            assert (grpc.StatusCode.PERMISSION_DENIED, True) == (code, "is revoked" in text)
            other.findings(finding(1))
            other.acknowledged(FINDINGS, 1)
        with Stream(made.address, lost) as stream:
            stream.send(hello=ingest_pb2.Hello(host={"id": "i-lost"}, spool_id="s"))
            assert grpc.StatusCode.PERMISSION_DENIED == stream.error()[0]
        with pytest.raises(grpc.RpcError, match="is revoked"):
            seen_by(lost, made.address)
        authority.crl.write_text("half")
        wait_for(lambda: any("what it said before still holds" in line for line in made.lines))
        with Stream(made.address, lost) as stream:
            stream.send(hello=ingest_pb2.Hello(host={"id": "i-lost"}, spool_id="s"))
            assert grpc.StatusCode.PERMISSION_DENIED == stream.error()[0]


def test_certificates_are_read_anew_without_a_restart(tmp_path: Path) -> None:
    """The next authority is trusted, and the next certificate shown, while a stream of before goes on."""
    authority = PrivateAuthority(tmp_path / "pki")
    authority.init("test")
    issue, settings = revocable(authority, tmp_path)
    with collector(tmp_path, settings) as made, Stream(made.address, issue("i-1")) as old:
        old.hello("i-1")
        authority.rotate()
        with Stream(made.address, issue("i-2")) as stream:
            stream.hello("i-2")
        authority.retire()
        revocable(authority, tmp_path)
        with Stream(made.address, issue("i-3")) as stream:
            stream.hello("i-3")
        old.findings(finding(1))
        old.acknowledged(FINDINGS, 1)


def test_an_agents_certificate_cannot_pose_as_a_collector(tmp_path: Path) -> None:
    """Whoever took over a host cannot take in what others report."""
    authority = PrivateAuthority(tmp_path / "pki")
    authority.init("test")
    issue, _ = revocable(authority, tmp_path)
    with ExitStack() as stack:
        made = stack.enter_context(collector(tmp_path, tls(issue("localhost"))))
        address = made.address.replace("127.0.0.1", "localhost")
        stream = stack.enter_context(Stream(address, issue("i-1")))
        stream.send(hello=ingest_pb2.Hello(host={"id": "i-1"}, spool_id="s"))
        assert grpc.StatusCode.UNAVAILABLE == stream.error()[0]


def test_a_protocol_of_the_future_is_refused(tmp_path: Path) -> None:
    """With what each end speaks, and what to do."""
    with collector(tmp_path) as made, Stream(made.address) as stream:
        stream.send(hello=ingest_pb2.Hello(host={"id": "i-1"}, spool_id="s", protocol=2))
        code, text = stream.error()

    assert grpc.StatusCode.FAILED_PRECONDITION == code
    assert text == "the agent speaks version 2 of the protocol, this collector 1: update the collector"


def test_one_identity_has_few_streams(tmp_path: Path) -> None:
    """A copied key opens no more than a handful, each with a spool of its own; another host does not notice."""
    with collector(tmp_path) as made, ExitStack() as stack:
        for number in range(STREAMS_MAX):
            stream = stack.enter_context(Stream(made.address))
            stream.hello("i-1", f"spool-{number}")
        with Stream(made.address) as stream:
            stream.send(hello=ingest_pb2.Hello(host={"id": "i-1"}, spool_id="spool-x"))
            code, text = stream.error()
        with Stream(made.address) as stream:
            stream.hello("i-2")
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == code
    assert text == "host i-1 has 4 streams already: does another machine use its certificate?"


DIAL = """
import sys
from agent.deliver.client import Line
from agent.deliver.target import Target
address, ca, cert, key = sys.argv[1:]
list(Line(Target.parse(address, ca=ca, cert=cert, key=key)).talk(iter(())))
"""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
def test_tls_1_3_and_nothing_older_is_spoken(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """Neither a client nor a server that can do no more gets through; the same files do with 1.3."""
    old = version is ssl.TLSVersion.TLSv1_2
    authority = Authority(tmp_path)
    client, server = authority.client("i-1"), authority.server()
    context = ssl.create_default_context(cafile=client.ca_file)
    context.load_cert_chain(client.cert_file, client.key_file)
    context.set_alpn_protocols(["h2"])
    context.maximum_version = version
    with collector(tmp_path, tls(server)) as made:
        host, _, port = made.address.rpartition(":")
        refused = pytest.raises(ssl.SSLError, match=r"(?i)handshake|EOF") if old else nullcontext()
        with socket.create_connection((host, int(port))) as sock, refused:
            context.wrap_socket(sock, server_hostname=host).close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server.cert_file, server.key_file)
    context.set_alpn_protocols(["h2"])
    context.maximum_version = version
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        agent = subprocess.Popen((sys.executable, "-c", DIAL, address, *map(str, client)), stderr=subprocess.PIPE)
        listening.settimeout(WAIT_S)
        sock, _ = listening.accept()
        with pytest.raises(ssl.SSLError, match=r"(?i)no.shared.cipher") if old else nullcontext():
            context.wrap_socket(sock, server_side=True).close()
        sock.close()
        agent.communicate(timeout=WAIT_S)
    assert agent.returncode == 1


def test_a_certificate_of_another_authority_is_told_at_both_ends(tmp_path: Path) -> None:
    """TLS 1.3 lets the agent find out late, by a closed connection: it says what that may be."""
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others", "another")
    client = others.client("i-1")
    with collector(tmp_path, tls(ours.server())) as made:
        target = Target.parse(made.address, ca=ours.ca_file, cert=client.cert_file, key=client.key_file)

        def refused() -> bool:
            """Dial: whether the collector logs an end is a matter of which end is first to close."""
            with pytest.raises(CollectorError, match="the collector may not know who signed our certificate"):
                list(Line(target).talk(iter(())))
            return any("Handshake failed" in line for line in made.lines)

        wait_for(refused)
