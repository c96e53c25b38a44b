"""Asking a collector on the command line, over the wire that it would be asked on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from agent import cli
from tests.certificates import Authority
from tests.certificates import Files
from vedette.v1 import query_pb2
from vedette.v1 import query_pb2_grpc


class Collector(query_pb2_grpc.QueryServicer):
    """Answers with the rows it was given, then maybe fails; remembers what it was asked."""

    def __init__(self, *rows: bytes, failure: str | None = None) -> None:
        self.rows = rows
        self.failure = failure
        self.asked: list[query_pb2.FindingQuery | query_pb2.EventQuery] = []

    def Findings(self, request: query_pb2.FindingQuery, context: Any) -> Iterator[query_pb2.Row]:  # noqa: N802
        """Answer."""
        self.asked.append(request)
        yield from (query_pb2.Row(json=row) for row in self.rows)
        if self.failure:
            context.abort(grpc.StatusCode.UNAVAILABLE, self.failure)

    Events = Findings


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Who signs for this test."""
    return Authority(tmp_path / "pki")


def served(collector: Collector, server_files: Files | None = None) -> tuple[grpc.Server, str]:
    """Start a server on loopback; return it and its address."""
    server = grpc.server(ThreadPoolExecutor(2))
    query_pb2_grpc.add_QueryServicer_to_server(collector, server)
    if server_files is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        ca, cert, key = (path.read_bytes() for path in server_files)
        credentials = grpc.ssl_server_credentials([(key, cert)], ca, require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, f"127.0.0.1:{port}"


def options(files: Files) -> list[str]:
    """Return the options that name certificate files."""
    return ["--ca-file", str(files.ca_file), "--cert-file", str(files.cert_file), "--key-file", str(files.key_file)]


def test_a_question_reaches_the_collector_as_it_was_put(capsys: pytest.CaptureFixture[str]) -> None:
    """Every filter goes along, and what was not said does not."""
    collector = Collector()
    server, address = served(collector)

    cli.main(["events", "--collector", address, "--type", "dns_query", "--process", "4711", "--limit", "5"])
    cli.main(
        ["findings", "--collector", address, "--type", "ReverseShell", "--container", "4f", "--since", "2026-01-01"]
    )
    server.stop(None)

    assert query_pb2.EventQuery(type="dns_query", process="4711", limit=5) == collector.asked[0]
    assert ("Execution:Runtime/ReverseShell", "4f", False) == (
        collector.asked[1].type,
        collector.asked[1].container,
        collector.asked[1].HasField("process"),
    )
    assert "no events\nno findings\n" == capsys.readouterr().err


def test_rows_come_out_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON lines are the collector's documents, safe to show."""
    documents = [{"type": "a\x1b\u202e"}, {"type": "b"}]
    server, address = served(Collector(*(json.dumps(one, indent=2).encode() for one in documents)))

    status = cli.main(["findings", "--collector", address, "--json"])
    server.stop(None)

    out = capsys.readouterr().out
    assert 0 == status
    assert documents == [json.loads(line) for line in out.splitlines()]
    assert out.isascii()


@pytest.mark.parametrize(
    ("collector", "complaint"),
    [
        (Collector(b"{"), "the collector sent a row that is not JSON"),
        (Collector(b"[1]"), "the collector sent a row that is not a JSON object"),
        (Collector(failure="event files: disk\non fire\x1b"), "disk on fire\\x1b"),
    ],
    ids=["not JSON", "no object", "the store failed"],
)
def test_an_answer_that_breaks_off_is_one_line(
    capsys: pytest.CaptureFixture[str], collector: Collector, complaint: str
) -> None:
    """What came before stands, and the reason is not lost."""
    server, address = served(collector)

    status = cli.main(["findings", "--collector", address])
    server.stop(None)

    err = capsys.readouterr().err
    assert (2, 1) == (status, err.count("\n"))
    assert complaint in err


def test_mutual_tls_lets_the_right_one_ask(capsys: pytest.CaptureFixture[str], authority: Authority) -> None:
    """With certificates of one authority, an analyst asks a collector."""
    server, address = served(Collector(b'{"type": "a"}'), authority.server())

    status = cli.main(["findings", "--json", "--collector", address, *options(authority.client("analyst"))])
    server.stop(None)

    assert (0, '{"type":"a"}\n') == (status, capsys.readouterr().out)


def test_a_stranger_may_not_ask(capsys: pytest.CaptureFixture[str], authority: Authority, tmp_path: Path) -> None:
    """A certificate of another authority, or none, gets nothing, and the collector is not asked."""
    collector = Collector(b'{"type": "a"}')
    server, address = served(collector, authority.server())
    stranger = Authority(tmp_path / "strange", "another").client("analyst")._replace(ca_file=authority.ca_file)

    statuses = [
        cli.main(["findings", "--collector", address, *options(stranger)]),
        cli.main(["findings", "--collector", address]),
    ]
    server.stop(None)

    out, err = capsys.readouterr()
    assert ([2, 2], "", 2) == (statuses, out, err.count("\n"))
    assert [] == collector.asked


def test_a_collector_that_is_somebody_else_is_not_believed(
    capsys: pytest.CaptureFixture[str], authority: Authority, tmp_path: Path
) -> None:
    """A server whose certificate we cannot trust is told from one that is not there."""
    server, address = served(Collector(b'{"type": "a"}'), Authority(tmp_path / "strange", "another").server())

    status = cli.main(["findings", "--collector", address, *options(authority.client("analyst"))])
    server.stop(None)

    err = capsys.readouterr().err
    assert (2, 1) == (status, err.count("\n"))
    assert "certificate" in err.lower() or "handshake" in err.lower()
