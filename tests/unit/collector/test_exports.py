"""Destinations, each against a real receiver on loopback."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from http.server import HTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from collector import exports
from collector import guardduty
from collector.aggregate import Aggregate
from collector.errors import ConfigError
from collector.exports import syslog
from collector.exports._aws import call
from collector.exports._base import Export
from collector.exports._base import Unsent
from tests.certificates import Authority
from tests.unit.collector.made import NOW_NS
from tests.unit.collector.made import ORIGIN
from tests.unit.collector.made import finding

WAIT_S = 10.0
TWO = [
    guardduty.document(ORIGIN, Aggregate(letter * 32, 2, NOW_NS, NOW_NS, NOW_NS, NOW_NS), finding(title=f"é{letter}"))
    for letter in "ab"
]


def opened(**section: Any) -> Export:
    """Return an export as its section in the configuration makes it."""
    (made,) = exports.sections(({"name": "x", **section},))
    return exports.open_export(made)


def test_lines_are_appended_whole(tmp_path: Path) -> None:
    """One finding a line, in ASCII, on top of what was there; a disk that is full is tried again."""
    path = tmp_path / "findings.jsonl"
    export = opened(type="json_lines", path=str(path))

    assert export.send(TWO[:1]) == export.send(TWO[1:]) == {}

    assert [json.loads(line) for line in path.read_bytes().decode("ascii").splitlines()] == TWO
    with pytest.raises(Unsent, match="No space left"):
        opened(type="json_lines", path="/dev/full").send(TWO)


class Receiver(BaseHTTPRequestHandler):
    """Answers what the server says, and keeps what came."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.came.append((dict(self.headers), body))  # type: ignore[attr-defined]  # set by the fixture
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Any]:
    server: Any = HTTPServer(("127.0.0.1", 0), Receiver)
    server.came, server.status = [], 204
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_is_signed_and_says_what_is_the_same(tmp_path: Path, receiver: Any) -> None:
    """Who knows the secret can tell that it came from here, and what came before; what is refused is said."""
    (tmp_path / "secret").write_text("s3cret\n")
    url = f"http://127.0.0.1:{receiver.server_port}/in"
    export = opened(type="webhook", url=url, secret_file=str(tmp_path / "secret"), format="ocsf")

    assert export.send(TWO) == {}

    headers, body = receiver.came[1]
    at_s, _, signature = headers["Vedette-Signature"].removeprefix("t=").partition(",v1=")
    assert signature == hmac.new(b"s3cret", f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    assert (headers["Vedette-Delivery"][:35], json.loads(body)["class_uid"]) == ("b" * 32 + ":2:", 2004)
    for status in (400, 302):
        receiver.status = status
        assert export.send(TWO) == dict.fromkeys(range(2), f"HTTP status {status}")
    for status in (500, 429):
        receiver.status = status
        with pytest.raises(Unsent, match=str(status)):
            export.send(TWO)


def test_a_webhook_that_nobody_answers(tmp_path: Path) -> None:
    """It is tried again."""
    (tmp_path / "secret").write_text("x")
    with pytest.raises(Unsent, match="refused"):
        opened(type="webhook", url="http://127.0.0.1:1/", secret_file=str(tmp_path / "secret")).send(TWO)


@contextmanager
def talking(answer: bytes) -> Iterator[int]:
    """Yield the port of a server that says this to whoever comes, and reads nothing more."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def answer_once() -> None:
            stream, _ = server.accept()
            with closing(stream):
                stream.sendall(answer)
                ended.wait(WAIT_S)

        ended, thread = threading.Event(), threading.Thread(target=answer_once)
        thread.start()
        yield server.getsockname()[1]
        ended.set()
        thread.join(WAIT_S)


def test_a_webhook_that_is_no_web_server(tmp_path: Path) -> None:
    """It is tried again, and what it says is in no log as it is."""
    (tmp_path / "secret").write_text("x")
    with talking(b"220 \x1b[31mmail\r\n") as port, pytest.raises(Unsent, match=r"x1b\[31m") as caught:
        opened(type="webhook", url=f"http://127.0.0.1:{port}/", secret_file=str(tmp_path / "secret")).send(TWO)
    assert str(caught.value).isprintable()


def test_syslog_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that takes nothing, as a firewall that drops, is tried again: nothing was told."""
    monkeypatch.setattr(syslog, "TIMEOUT_S", 0.2)
    much = [TWO[0] | {"title": "x" * 1_000_000}] * 20
    with talking(b"") as port, pytest.raises(Unsent, match="timed out"):
        opened(type="syslog", host="127.0.0.1", port=port, protocol="tcp").send(much)


def said(message: bytes) -> tuple[str, dict[str, Any]]:
    head, _, text = message.decode("ascii").partition(" finding - ")
    return head, json.loads(text)


HEADS = [("<130>1 2026-09-01T00:00:00.000Z web-1 vedette -", one) for one in TWO]
"""local0 and critical, version 1, time, host, program."""


def test_syslog_by_datagram() -> None:
    """RFC 5424, a message a finding."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(WAIT_S)
        export = opened(type="syslog", host="127.0.0.1", port=server.getsockname()[1], protocol="udp")

        (refused,) = export.send([*TWO, TWO[0] | {"title": "x" * 70_000}]).items()
        assert (refused[0], "do not fit" in refused[1]) == (2, True)
        assert [said(server.recv(65536)) for _ in TWO] == HEADS


@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_syslog_by_stream(tmp_path: Path, protocol: str) -> None:
    """Octets are counted, so that no line in a finding makes a message of its own."""
    files = Authority(tmp_path).server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert_file, files.key_file)
    came = bytearray()
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def receive() -> None:
            plain, _ = server.accept()
            with closing(context.wrap_socket(plain, server_side=True) if protocol == "tls" else plain) as stream:
                while data := stream.recv(65536):
                    came.extend(data)

        thread = threading.Thread(target=receive)
        thread.start()
        settings = {"host": "127.0.0.1", "port": server.getsockname()[1], "protocol": protocol}
        assert opened(type="syslog", **settings, ca_file=str(files.ca_file)).send(TWO) == {}
        thread.join(WAIT_S)

    messages = []
    while came:
        count, _, rest = bytes(came).partition(b" ")
        messages.append(rest[: int(count)])
        del came[: len(count) + 1 + int(count)]
    assert [said(message) for message in messages] == HEADS


@pytest.fixture(scope="module")
def aws() -> Iterator[dict[str, str]]:
    """Run AWS's services as moto has them, over HTTP, with credentials that open nothing."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        yield {"region": "us-east-1", "endpoint_url": f"http://127.0.0.1:{server.get_host_and_port()[1]}"}
    server.stop()


def client(service: str, aws: dict[str, str]) -> Any:
    return boto3.client(service, region_name=aws["region"], endpoint_url=aws["endpoint_url"])


def test_security_hub_has_them(aws: dict[str, str]) -> None:
    """What is imported again is updated, not doubled."""
    export = opened(type="security_hub", **aws)
    hub = client("securityhub", aws)
    hub.enable_security_hub()

    assert export.send(TWO) == export.send(TWO) == {}

    kept = hub.get_findings()["Findings"]
    assert sorted(one["Id"] for one in kept) == sorted(one["arn"] for one in TWO)


def test_eventbridge_has_them(aws: dict[str, str]) -> None:
    """A rule on GuardDuty's detail-type sees them; a bus that is not there is tried again or refused, never taken."""
    events, queues = client("events", aws), client("sqs", aws)
    queue = queues.create_queue(QueueName="q")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="r", EventPattern=json.dumps({"detail-type": ["GuardDuty Finding"]}))
    events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": arn}])

    assert opened(type="eventbridge", **aws).send(TWO) == {}

    came = queues.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    details = [json.loads(message["Body"])["detail"] for message in came]
    assert sorted(one["id"] for one in details) == [one["id"] for one in TWO]


def test_credentials_that_ended_make_no_dead_letters() -> None:
    """EventBridge and Security Hub say with status 400 what a person puts right; a finding that is wrong is, too."""

    def says(code: str) -> Any:
        error: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
        raise ClientError(error, "PutEvents")

    with pytest.raises(Unsent, match="ExpiredTokenException: m"):
        call(says, code="ExpiredTokenException")
    assert ({}, "ValidationException: m") == call(says, code="ValidationException")


def test_s3_has_them(aws: dict[str, str]) -> None:
    """As GuardDuty lays out its export; a bucket that somebody has yet to make is tried again."""
    export, s3 = opened(type="s3", bucket="findings", prefix="/vedette/", **aws), client("s3", aws)
    with pytest.raises(Unsent, match="NoSuchBucket"):
        export.send(TWO)
    s3.create_bucket(Bucket="findings")

    assert export.send(TWO) == export.send(TWO) == {}

    (one,) = s3.list_objects_v2(Bucket="findings")["Contents"]
    assert one["Key"].startswith("vedette/AWSLogs/111122223333/GuardDuty/us-east-1/2026/09/01/")
    lines = gzip.decompress(s3.get_object(Bucket="findings", Key=one["Key"])["Body"].read()).splitlines()
    assert [json.loads(line) for line in lines] == TWO


@pytest.mark.parametrize(
    ("match", "section"),
    [
        (r"`export\[0\].type` must be one of eventbridge, json_lines, s3", {"type": "pigeon"}),
        (r"`export\[0\].name`", {"type": "json_lines", "path": "-", "name": ""}),
        (r"`export\[0\].path` x must be absolute", {"type": "json_lines", "path": "x"}),
        (r"`export\[0\].path`: .*missing", {"type": "json_lines"}),
        (r"`export\[0\].pth`", {"type": "json_lines", "path": "-", "pth": 1}),
        (r"`export\[0\].port`", {"type": "syslog", "host": "x", "port": "514", "protocol": "udp"}),
        (r"`export\[0\].protocol`", {"type": "syslog", "host": "x", "port": 514, "protocol": "smoke"}),
        (r"`export\[0\].ca_file`", {"type": "syslog", "host": "x", "port": 1, "protocol": "tls", "ca_file": "/none"}),
        (r"`export\[0\].facility`", {"type": "syslog", "host": "x", "port": 1, "protocol": "udp", "facility": "x"}),
        (r"`export\[0\].repeat` must be one of 15m, 1h, 6h", {"type": "json_lines", "path": "-", "repeat": "2h"}),
        (r"`export\[0\].format` must be one of asff$", {"type": "security_hub", "region": "x", "format": "ocsf"}),
        (r"`export\[0\].source`", {"type": "eventbridge", "region": "us-east-1", "source": "aws.guardduty"}),
        (r"`export\[0\].region`", {"type": "security_hub", "region": "eu west"}),
        (r"`export\[0\].endpoint_url`", {"type": "s3", "bucket": "x", "region": "us-east-1", "endpoint_url": "x"}),
        (r"`export\[0\].url`", {"type": "webhook", "url": "http://example.org/", "secret_file": "/dev/null"}),
        (r"`export\[0\].secret_file`", {"type": "webhook", "url": "https://example.org/", "secret_file": "/dev/null"}),
    ],
)
def test_a_mistake_is_named(match: str, section: dict[str, Any]) -> None:
    """Section and key, before anything is sent."""
    with pytest.raises(ConfigError, match=match):
        exports.sections(({"name": "x"} | section,))


def test_two_of_one_name() -> None:
    """Their cursors would be one."""
    with pytest.raises(ConfigError, match=r"`export\[1\].name`"):
        exports.sections(({"name": "x", "type": "json_lines", "path": "-"},) * 2)
