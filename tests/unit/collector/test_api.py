"""The HTTP API of a real collector, to which a real agent's delivery reports what real finding types found."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import NamedTuple
from urllib.parse import quote
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck
from hypothesis import Phase
from hypothesis import given
from hypothesis import settings
from prometheus_client.parser import text_string_to_metric_families

from agent import findings
from agent import intel
from agent.classify import Classifier
from agent.counters import Counters
from agent.deliver.delivery import Delivery
from agent.deliver.spool import Spool
from agent.deliver.target import Target
from agent.findings import AnyFinding
from collector.api import serving
from collector.api import tokens
from collector.api.desk import Desk
from collector.config import Api
from collector.config import Config
from collector.server import Server

HOSTILE = "\x1b[2J\u202e<script>alert(1)</script>\x00"
WAIT_S = 20.0


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    text: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Fleet:
    """A collector with its API, and one agent's delivery."""

    def __init__(self, folder: Path) -> None:
        state_dir, self.socket = folder / "state", folder / "s"
        api = Api(address="127.0.0.1:0", requests_per_s=1000)
        self.server = Server(Config(listen=f"unix://{self.socket}", state_dir=state_dir, api=api))
        self.server.start()
        self.desk = Desk(state_dir, None, time.time_ns)
        self.read, self.write = self.token("reader", "read"), self.token("writer", "write")
        example = TYPES[0].examples[0]
        self.spool = Spool(folder / "agent", counters=Counters())
        self.delivery = Delivery(
            spool=self.spool,
            host=example.around.host,
            target=Target.parse(f"unix://{self.socket}"),
            counters=Counters(),
            probes=(),
        )
        self.delivery.start()

    def token(self, name: str, role: str, days: int = 1, now_ns: int | None = None) -> str:
        with self.desk.writing() as sql:
            return tokens.create(sql, tokens.Wish(name, role, days), now_ns or time.time_ns())

    def report(self, finding: AnyFinding) -> str:
        """Have the agent tell of the first example of a type; return the id of what became of it."""
        example = next(example for example in finding.examples if example.fires)
        classifier = Classifier(
            [finding.accompanied()],
            intel=intel.bundled(),
            benign=findings.known_good(Counters()),
            sensitivity=example.sensitivity,
            counters=Counters(),
        )
        (found,) = classifier.classify(example.event, example.around)
        self.delivery.event(example.event, example.around, None)
        self.delivery.finding(found)
        deadline_s = time.monotonic() + WAIT_S
        while time.monotonic() < deadline_s:
            self.delivery.flush()
            listed = self.ask("GET", "/v1/findings?" + urlencode({"type": finding.name, "archived": "any"})).json
            if listed["findings"]:
                return str(listed["findings"][0]["id"])
            time.sleep(0.02)
        pytest.fail(f"{finding.name} did not arrive: {self.delivery.state}")

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = "") -> Reply:
        """Ask as the reader or, to change something, the writer; `token` says otherwise."""
        if token == "":
            token = self.read if method == "GET" else self.write
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        text = json.dumps(body) if body is not None and not isinstance(body, bytes) else body
        connection = http.client.HTTPConnection(self.address, timeout=WAIT_S)
        try:
            connection.request(method, path, text, headers)
            got = connection.getresponse()
            return Reply(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        finally:
            connection.close()

    @property
    def address(self) -> str:
        return str(self.server.web.address).removeprefix("http://")

    def close(self) -> None:
        self.delivery.close(0)
        self.spool.close()
        self.desk.close()
        self.server.stop()


TYPES = findings.load()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(serving, "ADDRESS_PER_S", 1000.0)
        patched.setattr(serving, "ADDRESS_BURST", 1000.0)
        made = Fleet(tmp_path_factory.mktemp("api"))
    yield made
    made.close()


def test_a_finding_is_asked_for_with_its_events_and_processes(fleet: Fleet) -> None:
    """From the list to the finding, from it to the event it is about, and to the processes around."""
    reported = TYPES[0]
    id_ = fleet.report(reported)

    deadline_s = time.monotonic() + WAIT_S
    while not (told := fleet.ask("GET", f"/v1/findings/{id_}/events").json)["events"]:
        assert time.monotonic() < deadline_s
        fleet.delivery.flush()
        time.sleep(0.1)
    around = fleet.ask("GET", f"/v1/findings/{id_}/processes").json

    assert told["events"][0]["kind"] in reported.kinds
    assert told["occurrences"][0]["eventKind"] == told["events"][0]["kind"]
    one = fleet.ask("GET", f"/v1/findings/{id_}").json
    process = one["finding"]["service"]["runtimeDetails"]["process"]
    assert (around["process"], around["descendants"][0]["pid"]) == (process["uuid"], process["pid"])
    assert [ancestor["pid"] for ancestor in around["ancestors"]] == [one["pid"] for one in process["lineage"]]
    assert 404 == fleet.ask("GET", "/v1/findings/nothing/events").status


def test_what_is_said_of_a_finding_is_kept(fleet: Fleet) -> None:
    """Archived with a note by a token's name; a hostile note comes back as JSON, and as nothing else."""
    id_ = fleet.report(TYPES[1])

    assert 200 == fleet.ask("POST", f"/v1/findings/{id_}/history", {"what": "note", "text": HOSTILE}).status
    fleet.ask("POST", f"/v1/findings/{id_}/history", {"what": "archive"})
    reply = fleet.ask("GET", f"/v1/findings/{id_}")

    assert [("writer", "note"), ("writer", "archive")] == [(one["who"], one["what"]) for one in reply.json["history"]]
    assert reply.json["finding"]["service"]["archived"]
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")
    assert b"\x1b" not in reply.text
    query = urlencode({"type": TYPES[1].name})
    assert [] == fleet.ask("GET", f"/v1/findings?{query}").json["findings"]
    assert [id_] == [one["id"] for one in fleet.ask("GET", f"/v1/findings?{query}&archived=true").json["findings"]]


def test_a_rule_is_made_holds_and_goes(fleet: Fleet) -> None:
    """What a rule holds for is archived as it comes, and counted."""
    criteria = {"criterion": {"type": {"equals": [TYPES[2].name]}}}
    assert 201 == fleet.ask("POST", "/v1/suppressions", {"name": "quiet", "findingCriteria": criteria}).status
    assert 409 == fleet.ask("POST", "/v1/suppressions", {"name": "quiet", "findingCriteria": criteria}).status

    id_ = fleet.report(TYPES[2])

    one = fleet.ask("GET", f"/v1/findings/{id_}").json
    (rule,) = fleet.ask("GET", "/v1/suppressions").json["suppressions"]
    assert (True, rule["id"]) == (one["finding"]["service"]["archived"], one["suppressedBy"])
    assert 1 == rule["count"]
    assert 200 == fleet.ask("DELETE", "/v1/suppressions/quiet").status
    assert 404 == fleet.ask("DELETE", "/v1/suppressions/quiet").status


def test_pages_are_stable_while_findings_arrive(fleet: Fleet) -> None:
    """Whoever turns pages sees each finding that was there at the first once, whatever comes between them."""
    there = {fleet.report(finding) for finding in TYPES[3:10]}
    seen, cursor = [], ""
    for number in range(100):
        sort = {"sort": "createdAt", "limit": 2, "archived": "any"}
        page = fleet.ask("GET", "/v1/findings?" + urlencode(sort | ({"cursor": cursor} if cursor else {}))).json
        seen += [one["id"] for one in page["findings"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
        if number < 3:
            fleet.report(TYPES[10 + number])

    assert there <= set(seen)
    assert len(seen) == len(set(seen))


def test_criteria_filter_as_a_rule_does(fleet: Fleet) -> None:
    """A saved filter can be tried before it suppresses."""
    fleet.report(TYPES[4])
    criteria = json.dumps({"criterion": {"type": {"matches": [TYPES[4].name[:-1] + "?"]}}})

    found = fleet.ask("GET", "/v1/findings?" + urlencode({"criteria": criteria, "archived": "any"})).json["findings"]

    assert {TYPES[4].name} == {one["type"] for one in found}


def test_lists_are_checked_and_named_by_policies(fleet: Fleet) -> None:
    """A list with a bad line is refused with its number; a good one goes to the hosts that are meant."""
    new = {"name": "ours", "category": "c2", "content": "# ours\nevil.example\n192.0.2.0/24\n"}
    bad = fleet.ask("POST", "/v1/lists", new | {"content": "evil.example\n<b>\x1b</b>\n"})
    assert (400, True) == (bad.status, "line 2" in bad.json["error"])

    assert 2 == fleet.ask("POST", "/v1/lists", new).json["entries"]

    (host, *_) = fleet.ask("GET", "/v1/hosts").json["hosts"]
    effective = fleet.ask("GET", f"/v1/hosts/{quote(host['hostId'], safe='')}/policy").json["document"]
    assert ["ours"] == [one["name"] for one in effective["lists"]]
    assert 200 == fleet.ask("PUT", "/v1/policies/host:x", {"sensitivity": "high"}).status
    assert 200 == fleet.ask("DELETE", "/v1/policies/host:x").status
    assert 200 == fleet.ask("DELETE", "/v1/lists/ours").status


def test_hosts_are_covered(fleet: Fleet) -> None:
    """An agent that reports is healthy, and counted so."""
    fleet.report(TYPES[5])

    (host,) = fleet.ask("GET", "/v1/hosts?status=HEALTHY").json["hosts"]

    assert (None, {"events_evicted": 0, "events_missing": 0, "findings_evicted": 0, "findings_missing": 0}) == (
        host["issue"],
        host["lost"],
    )
    assert [] == fleet.ask("GET", "/v1/hosts?status=UNHEALTHY").json["hosts"]


def test_metrics_are_what_prometheus_reads(fleet: Fleet) -> None:
    """Each family is parsed by Prometheus's own parser, and counts what is there."""
    fleet.report(TYPES[6])
    reply = fleet.ask("GET", "/metrics")

    families = {family.name: family for family in text_string_to_metric_families(reply.text.decode())}

    value = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert value[("vedette_collector_findings_total",)] >= 1
    assert 1 == value[("vedette_collector_agents", "healthy")]
    assert 0 == value[("vedette_collector_lost_total", "missing", "events")]
    assert value[("vedette_collector_findings_kept", "current")] >= 1
    assert all(family.documentation for family in families.values())


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/v1/findings?limit=0", None, 400),
        ("GET", "/v1/findings?limit=2&limit=3", None, 400),
        ("GET", "/v1/findings?cursor=%ff", None, 400),
        ("GET", "/v1/findings?cursor=bm90IG91cnM", None, 400),
        ("GET", "/v1/findings?type=" + "x" * 20_000, None, 400),
        ("GET", "/v1/findings?process=" + quote(HOSTILE), None, 400),
        ("GET", "/v1/findings?process=" + quote(HOSTILE[:-1]), None, 200),
        ("GET", "/v1/findings/" + quote(HOSTILE, safe=""), None, 400),
        ("GET", "/v1/findings/" + quote(HOSTILE[:-1], safe=""), None, 404),
        ("GET", "/v1/" + quote("<script>"), None, 404),
        ("GET", "/v1/findings/..%2f..%2fetc%2fpasswd", None, 404),
        ("POST", "/v1/suppressions", b"x" * 1024 * 1024, 413),
        ("POST", "/v1/suppressions", b"[" * 60_000, 400),
        ("POST", "/v1/suppressions", b"\xff", 400),
        ("PATCH", "/v1/suppressions", None, 405),
        ("DELETE", "/v1/lists/" + quote(HOSTILE[:-1], safe=""), None, 404),
    ],
)
def test_hostile_requests_are_refused_in_json(fleet: Fleet, method: str, path: str, body: Any, expected: int) -> None:
    """Nothing that is asked comes back as a page, fails as a bug, or takes more than it may."""
    reply = fleet.ask(method, path, body)

    assert expected == reply.status, reply.text
    assert "application/json" == reply.headers["content-type"]
    assert b"<script>" not in reply.text


def test_who_may_ask(fleet: Fleet) -> None:
    """A reader changes nothing; no token, a wrong one, an expired or a revoked one gets nothing."""
    old = fleet.token("old", "write", now_ns=time.time_ns() - 2 * 86_400 * 10**9)
    gone = fleet.token("gone", "read")
    assert 200 == fleet.ask("GET", "/v1/hosts", token=gone).status
    with fleet.desk.writing() as sql:
        assert tokens.revoke(sql, "gone")

    assert 403 == fleet.ask("DELETE", "/v1/lists/x", token=fleet.read).status
    wrong = (None, "", "x" * 5000, old, gone, fleet.read[:-1] + ("A" if fleet.read[-1] != "A" else "B"))
    assert [401] * len(wrong) == [fleet.ask("GET", "/v1/findings", token=token or None).status for token in wrong]
    assert 401 == fleet.ask("GET", "/metrics", token=None).status
    assert 200 == fleet.ask("GET", "/healthz", token=None).status
    with fleet.desk.reading() as sql:
        assert not any(fleet.read.rpartition("_")[2] in str(row) for row in tokens.listed(sql))


def test_who_says_nothing_is_hung_up_on(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that asks nothing is not kept."""
    monkeypatch.setattr(serving, "HEAD_TIMEOUT_S", 0.2)
    host, _, port = fleet.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=WAIT_S) as silent:
        silent.sendall(b"GET /v1/findings HTTP/1.1\r\nX-Slow: ")

        assert b"" == silent.recv(1)


def test_who_asks_too_often_waits(tmp_path: Path) -> None:
    """One token's flood, and one address's guesses at tokens, end in 429 with when to come back."""
    made = Server(
        Config(
            listen=f"unix://{tmp_path}/s", state_dir=tmp_path / "d", api=Api(address="127.0.0.1:0", requests_per_s=1)
        )
    )
    made.start()
    fleet = Fleet.__new__(Fleet)
    fleet.server, fleet.desk = made, Desk(tmp_path / "d", None, time.time_ns)
    fleet.read = fleet.token("reader", "read")
    try:
        replies = [fleet.ask("GET", "/v1/lists") for _ in range(30)]
        guesses = [fleet.ask("GET", "/v1/lists", token="guess").status for _ in range(60)]
    finally:
        fleet.desk.close()
        made.stop()

    assert [200] * 5 == [reply.status for reply in replies][:5]
    assert 429 == replies[-1].status
    assert int(replies[-1].headers["retry-after"]) >= 1
    assert {401, 429} == set(guesses)


def test_the_api_is_as_it_describes_itself(fleet: Fleet) -> None:
    """Schemathesis makes requests from the description; no answer is a bug, or other than described."""
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    description = schemathesis.openapi.from_dict(fleet.ask("GET", "/v1/openapi.json").json)
    asked = []
    for operation in (result.ok() for result in description.get_all_operations()):

        @settings(
            max_examples=8,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        )
        @given(operation.as_strategy())
        def ask(case: Any) -> None:
            # What a shape cannot say is refused, too: an empty list, a name that is taken.
            case.call_and_validate(
                base_url=f"http://{fleet.address}",
                headers={"Authorization": f"Bearer {fleet.write}"},
                excluded_checks=[positive_data_acceptance],
            )

        ask()
        asked.append(operation.label)

    assert {"GET /v1/findings", "POST /v1/suppressions", "PUT /v1/policies/{selector}"} <= set(asked)
