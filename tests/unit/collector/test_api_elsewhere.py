"""The HTTP API over TLS, on a PostgreSQL: the same answers, and a renewed certificate without a restart."""

from __future__ import annotations

import json
import os
import ssl
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from collector.api import serving
from collector.api import tokens
from collector.api.desk import Desk
from collector.config import Api
from collector.config import Config
from collector.config import Tls
from collector.names import AgentKey
from collector.sequence import Toll
from collector.server import Server
from collector.store import Store
from tests.certificates import Authority
from tests.postgres import postgres
from tests.unit.collector.made import NOW_NS
from tests.unit.collector.made import ORIGIN
from tests.unit.collector.made import finding
from tests.unit.collector.made import process
from vedette.v1 import ingest_pb2

WAIT_S = 30.0


def test_it_answers_over_tls_from_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question that reads SQL is asked of PostgreSQL; a certificate that is replaced is served at once."""
    monkeypatch.setattr(serving, "RELOAD_S", 0.1)
    authority = Authority(tmp_path / "pki")
    files = authority.server()
    with postgres() as database:
        keep(database.url)
        config = Config(
            listen="127.0.0.1:0",
            state_dir=tmp_path / "state",
            tls=Tls(**files._asdict()),
            api=Api(address="127.0.0.1:0"),
            database_url=database.url,
        )
        server = Server(config)
        server.start()
        try:
            ask = asker(config, str(server.web.address), authority.ca_file)
            assert_answers(ask)
            assert_renewed(str(server.web.address), authority)
        finally:
            server.stop()


def keep(url: str) -> None:
    """Keep two findings of one agent."""
    key = AgentKey(ORIGIN.host_id, "spool")
    store = Store(url, lambda: NOW_NS)
    store.open()
    store.welcome(key, ingest_pb2.Hello(host=ingest_pb2.Host(id=key.host_id, name="web-1"), spool_id="spool"))
    store.keep_findings(ORIGIN, key, [finding(1), finding(2, process=process(path="/x\x00\x1b"))], Toll(2))
    store.close()


def asker(config: Config, address: str, ca_file: Path) -> Any:
    """Return what asks, with a token that may write."""
    desk = Desk(config.state_dir, config.database_url, time.time_ns)
    with desk.writing() as sql:
        token = tokens.create(sql, tokens.Wish("all", "write", 1), time.time_ns())
    desk.close()
    context = ssl.create_default_context(cafile=ca_file)

    def ask(method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(address + path, data, {"Authorization": f"Bearer {token}"}, method=method)
        with urllib.request.urlopen(request, context=context, timeout=WAIT_S) as reply:
            text = reply.read()
        return text.decode() if path == "/metrics" else json.loads(text)

    return ask


def assert_answers(ask: Any) -> None:
    """Ask for everything, and say something."""
    first = ask("GET", "/v1/findings?limit=1&sort=severity")
    second = ask("GET", f"/v1/findings?limit=1&sort=severity&cursor={first['nextCursor']}")
    ids = [page["findings"][0]["id"] for page in (first, second)]
    assert 2 == len(set(ids))
    assert (
        "note" == ask("POST", f"/v1/findings/{ids[0]}/history", {"what": "note", "text": "x\x00"})["history"][0]["what"]
    )
    assert ask("POST", f"/v1/findings/{ids[0]}/history", {"what": "archive"})["finding"]["service"]["archived"]
    assert 1 == len(ask("GET", f"/v1/findings/{ids[1]}/events")["occurrences"])
    statistics = ask("GET", "/v1/statistics")
    assert (1, 1, "HIGH") == (statistics["archived"], len(statistics["byDay"]), statistics["bySeverity"][0]["name"])
    criteria = {"criterion": {"severity": {"lessThan": 1}}}
    assert ["x"] == [ask("POST", "/v1/suppressions", {"name": "x", "findingCriteria": criteria})["name"]]
    assert 1 == ask("POST", "/v1/lists", {"name": "l", "category": "c2", "content": "evil.example"})["entries"]
    assert "web-1" == ask("GET", "/v1/hosts")["hosts"][0]["hostName"]
    assert ["l"] == [one["name"] for one in ask("GET", f"/v1/hosts/{ORIGIN.host_id}/policy")["document"]["lists"]]
    assert 'vedette_collector_findings_kept{state="archived"} 1.0' in ask("GET", "/metrics")
    assert {"status": "ready"} == ask("GET", "/healthz")


def assert_renewed(address: str, authority: Authority) -> None:
    """Replace the certificate, and see the new one served."""
    host, _, port = address.removeprefix("https://").rpartition(":")
    before = ssl.get_server_certificate((host, int(port)))
    new = authority.server("renewed")
    for name, path in zip(("key_file", "cert_file"), (new.key_file, new.cert_file), strict=True):
        os.replace(path, getattr(new, name).parent / path.name.replace("renewed", "server"))
    deadline_s = time.monotonic() + WAIT_S
    while ssl.get_server_certificate((host, int(port))) == before:
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
