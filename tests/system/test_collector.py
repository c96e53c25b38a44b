"""A collector process on loopback: what it acknowledged is there, whatever happens to it."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from contextlib import closing
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from collector.query import Filters
from collector.query import agents
from collector.query import events
from collector.query import findings
from tests.certificates import Authority
from tests.certificates import Files
from tests.system.collecting import ROOT
from tests.system.collecting import Collector
from tests.system.collecting import Stream
from tests.system.collecting import channel
from tests.system.collecting import collector
from tests.system.collecting import query
from tests.unit.collector.made import events as made_events
from tests.unit.collector.made import finding
from vedette.v1 import ingest_pb2
from vedette.v1 import query_pb2

pytestmark = pytest.mark.beside

FINDINGS, EVENTS = ingest_pb2.LANE_FINDINGS, ingest_pb2.LANE_EVENTS


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Collector]:
    with collector(tmp_path) as made:
        yield made


def total(state_dir: Path) -> int:
    """Return how many occurrences all findings add up to."""
    return sum(document["service"]["count"] for document in findings(state_dir, Filters()))


def sequences(state_dir: Path) -> list[int]:
    return [event["sequence"] for event in events(state_dir, Filters())]


def agent(state_dir: Path) -> dict[str, Any]:
    (row,) = agents(state_dir)
    return row


def welcomed(stream: Stream) -> tuple[int, int, int]:
    """Say hello; return up to where findings and events are durable, and the protocol."""
    welcome = stream.hello()
    return welcome.findings_through, welcome.events_through, welcome.protocol


def run_to_its_end(folder: Path, settings: str, listen: str = "127.0.0.1:0") -> tuple[int, str]:
    """Return exit status and standard error of a collector that cannot start."""
    made = Collector(folder, settings, listen)
    command = (sys.executable, "-m", "collector", "--config", str(folder / "collector.toml"))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert made.state_dir
    return done.returncode, done.stderr


def test_acknowledged_findings_and_events_survive_kill_9(running: Collector) -> None:
    """What was acknowledged is in the store after the hardest end, once, and the next welcome says so."""
    with Stream(running.address) as stream:
        assert welcomed(stream) == (0, 0, 1)
        stream.findings(finding(1), finding(2))
        stream.events(made_events(1, 100))
        stream.acknowledged(FINDINGS, 2)
        stream.acknowledged(EVENTS, 100)
        running.kill()

    assert total(running.state_dir) == 2
    assert sequences(running.state_dir) == list(range(1, 101))
    running.start()
    with Stream(running.address) as stream:
        assert welcomed(stream) == (2, 100, 1)


def test_a_resend_after_kill_9_arrives_once(running: Collector) -> None:
    """An agent that did not get its acknowledgements sends all again; nothing is doubled."""
    with Stream(running.address) as stream:
        stream.hello()
        stream.findings(finding(1), finding(2))
        stream.events(made_events(1, 100))
        stream.acknowledged(EVENTS, 100)
        running.kill()
    running.start()

    with Stream(running.address) as stream:
        stream.hello()
        stream.findings(finding(1), finding(2), finding(3))
        stream.events(made_events(51, 120))
        stream.acknowledged(FINDINGS, 3)
        stream.acknowledged(EVENTS, 120)

    assert total(running.state_dir) == 3
    assert sequences(running.state_dir) == list(range(1, 121))
    row = agent(running.state_dir)
    assert (row["findings_duplicates"], row["events_duplicates"]) == (2, 50)


def test_kill_9_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Ten times: send without pause, kill at another moment, compare what was acknowledged with what is there."""
    settings = "flush_interval_s = 0.02\nflush_rows = 50\ncompact_interval_s = 0.05\n"
    made = Collector(tmp_path, settings)
    sent = 0
    for round_ in range(10):
        made.start()
        with Stream(made.address) as stream:
            welcome = stream.hello()
            assert len(sequences(made.state_dir)) == welcome.events_through
            sent = welcome.events_through
            deadline = time.monotonic() + 0.1 + 0.05 * round_
            acknowledged = 0
            while time.monotonic() < deadline:
                stream.events(made_events(sent + 1, sent + 20))
                sent += 20
                acknowledged = stream.receive().ack.through if round_ % 2 else acknowledged
            made.kill()
        found = Counter(sequences(made.state_dir))
        assert set(found.values()) <= {1}
        assert set(found) >= set(range(1, acknowledged + 1))
    assert sequences(made.state_dir) == list(range(1, len(sequences(made.state_dir)) + 1))


def test_events_whose_row_was_lost_are_not_doubled(running: Collector) -> None:
    """Killed between the file and the database, the collector finds its place in the names of the files."""
    with Stream(running.address) as stream:
        stream.hello()
        stream.events(made_events(1, 10))
        stream.acknowledged(EVENTS, 10)
        running.kill()
    for path in running.state_dir.glob("collector.db*"):
        path.unlink()
    running.start()

    with Stream(running.address) as stream:
        assert stream.hello().events_through == 10


def test_terminated_it_writes_what_it_has(running: Collector) -> None:
    """SIGTERM ends it in order: events that waited for their file are written, and the status is 0."""
    with Stream(running.address) as stream:
        stream.hello()
        stream.events(made_events(1, 10))
        stream.findings(finding(1))
        stream.acknowledged(FINDINGS, 1)
        assert running.terminate() == 0
        code, text = stream.error()

    assert (code, "stopping" in text) == (grpc.StatusCode.ABORTED, True)
    assert sequences(running.state_dir) == list(range(1, 11))


def test_a_gap_is_counted_and_an_eviction_is_not_one(running: Collector) -> None:
    """Loss on the way is on record with its numbers; what the spool gave up is told apart."""
    with Stream(running.address) as stream:
        stream.hello()
        stream.send(evicted=ingest_pb2.Evicted(lane=EVENTS, first=1, last=4))
        stream.events(made_events(5, 6) + made_events(9, 9))
        stream.acknowledged(EVENTS, 9)
        stream.send(evicted=ingest_pb2.Evicted(lane=FINDINGS, first=1, last=7))
        stream.acknowledged(FINDINGS, 7)

    row = agent(running.state_dir)
    assert (row["events_missing"], row["events_gaps"], row["events_evicted"]) == (2, [[7, 8]], 4)
    assert (row["findings_missing"], row["findings_evicted"]) == (0, 7)


def test_a_finding_does_not_wait_for_a_file(tmp_path: Path) -> None:
    """With a minute to go until the events are written, a finding behind them is acknowledged at once."""
    with collector(tmp_path, "flush_interval_s = 60\n") as made, Stream(made.address) as stream:
        stream.hello()
        stream.events(made_events(1, 10))
        stream.findings(finding(1))

        stream.acknowledged(FINDINGS, 1)

        assert sequences(made.state_dir) == []


def test_nothing_is_acknowledged_before_its_commit(running: Collector) -> None:
    """While somebody else holds the database, a finding waits, and so does its acknowledgement."""
    with Stream(running.address) as stream, closing(sqlite3.connect(running.state_dir / "collector.db")) as other:
        stream.hello()
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        stream.findings(finding(1))
        waiting = threading.Thread(target=stream.acknowledged, args=(FINDINGS, 1))
        waiting.start()
        waiting.join(1)
        assert waiting.is_alive()

        other.execute("ROLLBACK")
        waiting.join(20)

        assert not waiting.is_alive()
    assert total(running.state_dir) == 1


def test_the_newest_stream_of_an_agent_wins(running: Collector) -> None:
    """An agent that reconnects is served at once; the stream it left behind is ended and doubles nothing."""
    with Stream(running.address) as old, Stream(running.address) as new:
        old.hello()
        old.events(made_events(1, 10))
        old.findings(finding(1))
        old.acknowledged(FINDINGS, 1)

        welcome = welcomed(new)

        assert welcome == (1, 10, 1)
        assert old.error()[0] == grpc.StatusCode.ABORTED
        new.events(made_events(1, 11))
        new.acknowledged(EVENTS, 11)
    assert sequences(running.state_dir) == list(range(1, 12))


def test_an_agent_that_vanishes_leaves_its_events(tmp_path: Path) -> None:
    """What was received is written though nobody waits for the acknowledgement."""
    with collector(tmp_path, "flush_interval_s = 60\n") as made:
        with Stream(made.address) as stream:
            stream.hello()
            stream.events(made_events(1, 10))
            stream.findings(finding(1))
            stream.acknowledged(FINDINGS, 1)

        with Stream(made.address) as again:
            assert again.hello().events_through == 10


HELLO: dict[str, Any] = {"hello": {"host": {"id": "h"}, "spool_id": "s"}}


@pytest.mark.parametrize(
    ("complaint", "messages"),
    [
        pytest.param("must be a hello", [{"health": {}}], id="no hello"),
        pytest.param("second hello", [{"hello": {"host": {"id": "h"}, "spool_id": "s"}}] * 2, id="two hellos"),
        pytest.param(
            "count from 1",
            [{"hello": {"host": {"id": "h"}, "spool_id": "s"}}, {"events": {"events": [{}]}}],
            id="no number",
        ),
        pytest.param(
            "a finding's type",
            [{"hello": {"host": {"id": "h"}, "spool_id": "s"}}, {"findings": {"findings": [{"sequence": 1}]}}],
            id="no type",
        ),
        pytest.param(
            "the most",
            [HELLO, {"events": {"events": [{"sequence": number} for number in range(1, 400_000)]}}],
            id="events that are nothing but many",
        ),
        pytest.param(
            "a finding's severity",
            [HELLO, {"findings": {"findings": [{"sequence": 1, "type": "T", "severity": float("nan")}]}}],
            id="a severity that is no number",
        ),
        pytest.param(
            "bytes of health",
            [HELLO, {"health": {"counters": {f"{number:0100}": 1 for number in range(1000)}}}],
            id="long names of counters",
        ),
        pytest.param(
            "without a lane",
            [{"hello": {"host": {"id": "h"}, "spool_id": "s"}}, {"evicted": {"last": 1}}],
            id="no lane",
        ),
    ],
)
def test_nonsense_ends_the_stream_with_a_reason(
    running: Collector, complaint: str, messages: list[dict[str, Any]]
) -> None:
    """An agent with a bug is told which; the collector goes on."""
    with Stream(running.address) as stream:
        for message in messages:
            stream.send(**message)
        code, text = stream.error()

    assert (code, complaint in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    with Stream(running.address) as stream:
        stream.hello()


def test_a_message_too_large_is_refused(running: Collector) -> None:
    """Nobody makes the collector hold more than 4 MiB at a time."""
    with Stream(running.address) as stream:
        stream.hello()
        stream.findings(finding(1, title="x" * 5_000_000))

        assert stream.error()[0] == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_full_disk_is_waited_out(tmp_path: Path) -> None:
    """No room: nothing is acknowledged, the log says why, and when there is room again all arrives once."""
    state = tmp_path / "state"
    state.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(state)), check=True)
    try:
        with collector(tmp_path) as made, Stream(made.address) as stream:
            stream.hello()
            filler = fill(state)
            stream.findings(*(finding(number, title=f"{number}" * 20_000) for number in range(1, 10)))
            stream.events(made_events(1, 10))
            wait_for(lambda: sum("not acknowledged" in line for line in made.lines) >= 2)
            filler.unlink()

            stream.acknowledged(FINDINGS, 9)
            stream.acknowledged(EVENTS, 10)

            assert made.running()
            assert total(state) == 9
            assert sequences(state) == list(range(1, 11))
            assert made.terminate() == 0
    finally:
        subprocess.run(("umount", str(state)), check=True)


def fill(folder: Path) -> Path:
    """Return a file that takes all the room there is."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    return filler


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


def tls(files: Files) -> str:
    return f'[tls]\nca_file = "{files.ca_file}"\ncert_file = "{files.cert_file}"\nkey_file = "{files.key_file}"\n'


def test_mutual_tls_takes_the_name_of_the_certificate(tmp_path: Path, authority: Authority) -> None:
    """A host speaks for itself, and for nobody else."""
    with collector(tmp_path, tls(authority.server())) as made:
        with Stream(made.address, authority.client("i-1")) as stream:
            stream.hello("i-1")
            stream.findings(finding(1))
            stream.acknowledged(FINDINGS, 1)
        with Stream(made.address, authority.client("x", alternative="i-2")) as stream:
            stream.hello("i-2")
        with Stream(made.address, authority.client("i-1")) as stream:
            stream.send(hello=ingest_pb2.Hello(host={"id": "i-2"}, spool_id="s"))
            code, text = stream.error()

    assert (code, text) == (grpc.StatusCode.PERMISSION_DENIED, "the certificate is for i-1, the hello says i-2")


def test_a_certificate_reads_what_its_own_host_sent(tmp_path: Path, authority: Authority) -> None:
    """A host that is taken over does not give away the command lines of all the others."""
    settings = 'readers = ["operator"]\nflush_interval_s = 0.05\n' + tls(authority.server())
    with collector(tmp_path, settings) as made:
        for host in ("i-1", "i-2"):
            with Stream(made.address, authority.client(host)) as stream:
                stream.hello(host)
                stream.events(made_events(1, 3))
                stream.acknowledged(EVENTS, 3)
                stream.findings(finding(1, process={"path": f"/of/{host}"}))
                stream.acknowledged(FINDINGS, 1)

        assert 3 == len(seen_by(authority.client("i-1"), made, "Events", query_pb2.EventQuery()))
        assert ["/of/i-1"] == paths(seen_by(authority.client("i-1"), made, "Findings", query_pb2.FindingQuery()))
        assert 6 == len(seen_by(authority.client("operator"), made, "Events", query_pb2.EventQuery()))
        assert 2 == len(seen_by(authority.client("operator"), made, "Findings", query_pb2.FindingQuery()))
        for files, method in ((authority.client("i-1"), "Watch"), (authority.client("nobody"), "Events")):
            request = query_pb2.WatchRequest() if method == "Watch" else query_pb2.EventQuery()
            with pytest.raises(grpc.RpcError, match="`readers`") as refused:
                seen_by(files, made, method, request)
            assert grpc.StatusCode.PERMISSION_DENIED == refused.value.code()


def seen_by(files: Files, made: Collector, method: str, request: Any) -> list[dict[str, Any]]:
    with channel(made.address, files) as connection:
        return [json.loads(row.json) for row in query(connection, method, request)]


def paths(found: list[dict[str, Any]]) -> list[str]:
    return [one["service"]["runtimeDetails"]["process"]["executablePath"] for one in found]


def test_a_stranger_is_not_let_in(tmp_path: Path, authority: Authority) -> None:
    """No certificate, one of another authority, or plain text: no stream."""
    stranger = Authority(tmp_path / "elsewhere", "another authority").client("i-1")
    server = authority.server()
    with collector(tmp_path, tls(server)) as made:
        for files in (None, Files(server.ca_file, stranger.cert_file, stranger.key_file)):
            with Stream(made.address, files) as stream:
                stream.send(hello=ingest_pb2.Hello(host={"id": "i-1"}, spool_id="s"))
                assert stream.error()[0] == grpc.StatusCode.UNAVAILABLE
        assert list(agents(made.state_dir)) == []


def test_who_connects_and_says_nothing_keeps_no_agent_out(tmp_path: Path) -> None:
    """More silent connections than a process may have descriptors by default cost an agent nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = 200 + len(os.listdir("/proc/self/fd"))  # 1,024 where a shell starts it; the collector inherits it
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        with collector(tmp_path) as made, ExitStack() as silent:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            host, _, port = made.address.rpartition(":")
            for _ in range(few + 100):
                silent.enter_context(socket.create_connection((host, int(port))))
            began = time.monotonic()
            with Stream(made.address) as stream:
                stream.hello()
                stream.findings(finding(1))
                stream.acknowledged(FINDINGS, 1)
            assert time.monotonic() - began < 5  # before the silent ones are sent away
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert 1 == total(made.state_dir)


def test_plain_text_in_the_open_is_refused(tmp_path: Path) -> None:
    """Without certificates no address that other hosts reach is listened on."""
    status, text = run_to_its_end(tmp_path, "", "0.0.0.0:0")

    assert (status, text.count("\n")) == (2, 1)
    assert "needs mutual TLS: set ca_file, cert_file and key_file" in text


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    """One line, with the address."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        status, text = run_to_its_end(tmp_path, "", listen)

    assert (status, text) == (2, f"error: cannot listen on {listen}: Address already in use\n")


def test_a_second_collector_on_the_state_is_refused(tmp_path: Path, running: Collector) -> None:
    """Two would write the same files; the second says so."""
    status, text = run_to_its_end(tmp_path, "")

    assert (status, text) == (2, f"error: {running.state_dir}: another collector works on this state directory\n")


def test_a_state_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """The directory is named, in one line."""
    (tmp_path / "state").write_text("a file")

    status, text = run_to_its_end(tmp_path, "")

    assert (status, text.count("\n")) == (2, 1)
    assert f"{tmp_path / 'state'}: the state directory cannot be written" in text


def test_a_unix_socket_is_for_its_owner(tmp_path: Path) -> None:
    """Mode 0600; taken over after a kill, refused while another listens, gone after the end."""
    path = tmp_path / "collector.sock"
    with collector(tmp_path, listen=f"unix://{path}") as made:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with Stream(made.address) as stream:
            stream.hello()
        other = tmp_path / "other"
        other.mkdir()
        assert "another process listens there" in run_to_its_end(other, "", f"unix://{path}")[1]
        made.kill()
        assert path.exists()
        made.start()
        with Stream(made.address) as stream:
            stream.hello()
        assert made.terminate() == 0
    assert not path.exists()


def test_state_is_for_its_owner(running: Collector) -> None:
    """Events hold command lines: nobody else on the host reads them."""
    with Stream(running.address) as stream:
        stream.hello()
        stream.events(made_events(1, 1))
        stream.acknowledged(EVENTS, 1)

    assert stat.S_IMODE(running.state_dir.stat().st_mode) == 0o700
    files = [path for path in running.state_dir.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in files} == {0}
    assert os.access(running.state_dir, os.W_OK)


def test_watchers_see_findings_at_once(running: Collector) -> None:
    """Each watcher gets each finding with its count so far, and a status a second with who is there."""
    with Stream(running.address) as stream, channel(running.address) as first, channel(running.address) as second:
        watches = [query(connection, "Watch", query_pb2.WatchRequest()) for connection in (first, second)]
        for watch in watches:
            assert next(watch).HasField("status")
        stream.hello()
        stream.send(health=ingest_pb2.Health(counters={"ring.lost": 3}, resident_bytes=40))
        began = time.monotonic()
        stream.findings(finding(1), finding(2))

        for watch in watches:
            updates = [update for update in (next(watch) for _ in range(3)) if update.HasField("finding")]
            counts = [json.loads(update.finding.json)["service"]["count"] for update in updates]
            assert counts[:2] == [1, 2]
            assert time.monotonic() - began < 5
        status = next(update.status for update in watches[0] if update.HasField("status"))
    assert (status.findings, [(one.host_name, one.connected) for one in status.agents]) == (2, [("web-1", True)])
    assert status.agents[0].counters["ring.lost"] == 3


def test_a_running_collector_answers_queries(running: Collector) -> None:
    """The same rows over the wire as from the state directory, filters included."""
    with Stream(running.address) as stream:
        stream.hello()
        stream.findings(finding(1))
        stream.events(made_events(1, 1500))
        stream.acknowledged(EVENTS, 1500)

    with channel(running.address) as connection:
        found = [json.loads(row.json) for row in query(connection, "Findings", query_pb2.FindingQuery(process="curl"))]
        none = list(query(connection, "Findings", query_pb2.FindingQuery(process="wget")))
        rows = [json.loads(row.json) for row in query(connection, "Events", query_pb2.EventQuery(type="process_exit"))]
        two = list(query(connection, "Events", query_pb2.EventQuery(limit=2)))

    assert found == list(findings(running.state_dir, Filters()))
    assert (none, len(two)) == ([], 2)
    assert [row["sequence"] for row in rows] == list(range(1, 1501))


def test_findings_are_exported_at_least_once(tmp_path: Path) -> None:
    """What was found while a destination was away is told when it is back, also after a kill."""
    out = tmp_path / "out"
    settings = f'[[export]]\nname = "file"\ntype = "json_lines"\npath = "{out}/findings.jsonl"\n'
    with collector(tmp_path, settings) as running:
        with Stream(running.address) as stream:
            stream.hello()
            stream.findings(finding(1, title="one"))
            stream.acknowledged(ingest_pb2.LANE_FINDINGS, 1)
        running.kill()
        out.mkdir()
        running.start()
        deadline_s = time.monotonic() + 20
        while not (out / "findings.jsonl").exists():
            assert time.monotonic() < deadline_s, running.lines
            time.sleep(0.05)

        (line,) = (out / "findings.jsonl").read_text().splitlines()
        assert json.loads(line)["title"] == "one"


KILLED_BEFORE_THE_NAME = """
import os, signal, sys
from pathlib import Path
from collector import server
from collector.config import Config
from collector.events import EventFiles

EventFiles.publish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
folder = Path(sys.argv[1])
server.run(Config(listen=f"unix://{folder}/s", state_dir=folder / "state"), ready=lambda _: print("ready", flush=True))
"""


def test_a_collector_killed_before_a_file_has_its_name(tmp_path: Path) -> None:
    """Committed and hidden: nobody sees half of anything, and the next start shows it, once."""
    command = [sys.executable, "-c", KILLED_BEFORE_THE_NAME, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "ready\n"
        with Stream(f"unix://{tmp_path}/s") as stream:
            stream.hello()
            stream.events(made_events(1, 10))
            assert killed.wait(20) == -signal.SIGKILL
    assert list((tmp_path / "state" / "events").rglob("part-*")) == []

    with collector(tmp_path) as running, Stream(running.address) as stream:
        assert stream.hello().events_through == 10
        stream.events(made_events(1, 12))
        stream.acknowledged(ingest_pb2.LANE_EVENTS, 12)
    assert [row["sequence"] for row in events(tmp_path / "state", Filters())] == list(range(1, 13))


def test_a_destination_that_hangs_does_not_hold_a_collector_that_ends(tmp_path: Path) -> None:
    """Nor the agent: its findings are acknowledged, and told when the destination answers again."""
    (tmp_path / "secret").write_text("x")
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/"
        settings = f'[[export]]\nname = "hook"\ntype = "webhook"\nurl = "{url}"\nsecret_file = "{tmp_path}/secret"\n'
        with collector(tmp_path, settings) as running, Stream(running.address) as stream:
            stream.hello()
            stream.findings(*(finding(number, type=f"A:Runtime/B{number}") for number in range(1, 21)))
            stream.acknowledged(ingest_pb2.LANE_FINDINGS, 20)
            mute.settimeout(20)
            connection, _ = mute.accept()
            began_s = time.monotonic()
            assert running.terminate() == 0
            assert time.monotonic() - began_s < 60, "it waited for more than the one that it was telling"
            connection.close()
