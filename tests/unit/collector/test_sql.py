"""SQL over what is kept: the ready views, and nothing but reading."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agent.commands.query import command
from collector import sql
from collector.errors import ProtocolError
from collector.events import EventFiles
from collector.events import Run
from collector.sequence import Toll
from tests.unit.collector.made import NOW_NS
from tests.unit.collector.made import ORIGIN
from tests.unit.collector.made import event
from tests.unit.collector.made import finding
from tests.unit.collector.test_events import TODAY
from tests.unit.collector.test_store import KEY
from tests.unit.collector.test_store import opened
from vedette.v1 import event_pb2

SOCKET = event_pb2.Socket(local_address="10.0.0.5", local_port=22, remote_address="192.0.2.1", remote_port=9)
EVENTS = [
    event(1, process_exec=event_pb2.ProcessExec(path="/bin/sh", args=["sh", "-c", "\x1b[2Jid"], cwd="/")),
    event(2, file_open=event_pb2.FileOpen(path="/etc/passwd", created=False)),
    event(3, file_rename=event_pb2.FileRename(old_path="/a", new_path="/b")),
    event(4, net_connect=event_pb2.NetConnect(protocol=6, remote_address="198.51.100.1", remote_port=443)),
    event(5, net_accept=event_pb2.NetAccept(fd=3, socket=SOCKET)),
    event(6, dns_query=event_pb2.DnsQuery(name="pool.example.org", type_raw=1)),
]


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("state")
    store, files = opened(folder), EventFiles(folder)
    files.open()
    files.write(KEY, Run(TODAY, EVENTS), NOW_NS)
    store.keep_findings(ORIGIN, KEY, [finding(1), finding(2)], Toll(2))
    yield folder
    store.close()


def asked(state_dir: Path, statement: str) -> list[tuple[Any, ...]]:
    return list(sql.ask(state_dir, statement).rows)


@pytest.mark.parametrize(
    ("expected", "statement"),
    [
        (
            [("/bin/sh", ["sh", "-c", "\x1b[2Jid"], 41, "/usr/bin/curl")],
            "SELECT exec_path, args, pid, path FROM process",
        ),
        ([("/a", "/b"), ("/etc/passwd", None)], "SELECT file_path, new_path FROM file ORDER BY 1"),
        (
            [("192.0.2.1", 9, 22), ("198.51.100.1", 443, None)],
            "SELECT remote_address, remote_port, local_port FROM network ORDER BY 1",
        ),
        ([("pool.example.org", 1, 400301)], "SELECT domain, query_type, type_uid FROM dns"),
        ([("2026-09-01 00:00:00",)], "SELECT CAST(time AS VARCHAR) FROM dns"),
        ([(2, "/usr/bin/curl", True)], "SELECT count, process_path, last_seen < now() FROM finding"),
        (
            [("curl",)],
            "SELECT f.document->>'$.service.runtimeDetails.process.name' FROM finding f JOIN dns USING (host_id)",
        ),
        ([(6,)], "SELECT count(*) FROM events"),
        ([(0,)], "SELECT count(*) FROM events WHERE module_load IS NOT NULL"),
        ([(7,)], "SELECT 3 + 4"),
    ],
)
def test_views_have_flat_columns(expected: list[Any], statement: str, state_dir: Path) -> None:
    """What people ask most needs no knowledge of structs, and the rest has all of them."""
    assert asked(state_dir, statement) == expected


def test_nothing_there_is_an_empty_answer(tmp_path: Path) -> None:
    """A host that never did something has the view all the same."""
    assert asked(tmp_path, "SELECT * FROM network") == []


@pytest.mark.parametrize(
    "statement",
    [
        "COPY (SELECT 1) TO '{dir}/events/x.csv'",
        "CREATE TABLE x AS SELECT 1",
        "SELECT 1; DROP VIEW events",
        "ATTACH '{dir}/collector.db'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "PRAGMA version",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_text('{dir}/collector.db')",
        "SELECT * FROM '{dir}/../x.parquet'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT getenv('HOME')",
        "SELECT",
        "",
        "SELECT nothing FROM dns",
    ],
)
def test_it_only_reads_and_only_events(statement: str, state_dir: Path) -> None:
    """What somebody pasted neither changes anything nor opens another file; a wrong one says what is wrong."""
    before = sorted(state_dir.rglob("*"))

    with pytest.raises(ProtocolError):
        asked(state_dir, statement.format(dir=state_dir))
    assert sorted(state_dir.rglob("*")) == before


@pytest.mark.parametrize(
    ("expected", "shape"),
    [
        ("args                         nothing\n---------------------------  -------\n", "table"),
        ('{"args":["sh","-c","\\u001b[2Jid"],"nothing":null}\n', "json"),
        ('args,nothing\n"[""sh"", ""-c"", ', "csv"),
    ],
)
def test_hostile_text_is_shown_escaped(expected: str, shape: str, state_dir: Path) -> None:
    """No control character of an argument reaches the terminal, in any shape."""
    statement = "SELECT args, NULL AS nothing FROM process"
    done = CliRunner().invoke(command, [statement, "--state-dir", str(state_dir), "--format", shape])

    assert (done.exit_code, "\x1b" in done.output) == (0, False), done.output
    assert done.output.startswith(expected)
    assert "[2Jid" in done.output
