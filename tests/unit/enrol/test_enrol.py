"""A host without a certificate gets one, by the real services over real TLS on loopback, and keeps it."""

from __future__ import annotations

import base64
import datetime as dt
import json
import logging
import os
import socket
import ssl
import stat
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import ExitStack
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Event
from threading import Thread
from typing import Any

import grpc
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.cli import main
from agent.commands import _identity
from agent.commands._enrolling import reporting
from agent.config import parse
from agent.deliver.client import Line
from agent.deliver.client import Refused
from agent.enrol import errand as errands
from agent.enrol import keeper as keepers
from agent.enrol import token as tokens
from agent.enrol.errand import Errand
from agent.enrol.errand import Outcome
from agent.enrol.identity import Folder
from agent.enrol.identity import Granted
from agent.enrol.identity import Identity
from agent.enrol.identity import Machine
from agent.enrol.identity import this_machine
from agent.enrol.keeper import Keeper
from agent.enrol.keeper import Way
from agent.errors import ConfigError
from collector.api import tokens as api_tokens
from collector.api.desk import Desk
from collector.authority import Authority
from collector.certificates import Role
from collector.certificates import Wish
from tests.system.collecting import Collector
from vedette.v1 import enrol_pb2
from vedette.v1 import ingest_pb2

HOST, CLONE = "a" * 32, "b" * 32
UUIDS = "ec2f1d10-0000-4000-8000-000000000001", "ec2f1d10-0000-4000-8000-000000000002"
MINUTE = 60.0
SOON = 20.0  # before the dawdlers are let go, which is after 30


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class Site:
    """A collector that takes hosts in, as a process, and its operator's command line."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str] | None = None) -> None:
        self.pki = folder / "pki"
        self.enrolment = f"127.0.0.1:{free_port()}"
        self.api = f"127.0.0.1:{free_port()}"
        authority = Authority(self.pki)
        authority.init("test")
        made = authority.issue(Wish(Role.COLLECTOR, ("127.0.0.1",), 30))
        (folder / "collector.pem").write_bytes(made.certificate)
        (folder / "collector.key").write_bytes(made.key)
        self.collector = Collector(
            folder,
            f'[tls]\nca_file = "{authority.bundle}"\ncert_file = "{folder}/collector.pem"\n'
            f'key_file = "{folder}/collector.key"\ncrl_file = "{authority.crl}"\n'
            f'[enrolment]\nlisten = "{self.enrolment}"\nauthority_dir = "{self.pki}"\n'
            f'[api]\naddress = "{self.api}"\n',
        )
        self.bundle = authority.bundle

    def answered(self) -> dict[str, float]:
        """Return how many hosts were answered, and how, as Prometheus reads it."""
        desk = Desk(self.collector.state_dir, None, time.time_ns)
        with desk.writing() as sql:
            token = api_tokens.create(sql, api_tokens.Wish(os.urandom(8).hex(), "read", 1), time.time_ns())
        desk.close()
        request = urllib.request.Request(f"https://{self.api}/metrics", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=self.bundle)) as reply:
            families = list(text_string_to_metric_families(reply.read().decode()))
        samples = next(family.samples for family in families if family.name == "vedette_collector_enrolments")
        return {sample.labels["answer"]: sample.value for sample in samples}

    def token(self, capsys: pytest.CaptureFixture[str], *options: str) -> str:
        capsys.readouterr()
        where = ["--directory", str(self.pki), "--collector", self.collector.address, "--enrolment", self.enrolment]
        assert 0 == main(["pki", "token", "create", *where, *options])
        said = capsys.readouterr()
        assert "for 1 host until" in said.err or "hosts until" in said.err
        return said.out.strip()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    made.collector.start()
    try:
        yield made
    finally:
        made.collector.kill()


def errand(folder: Path, token: str | None = None, host: str = HOST, uuid: str = UUIDS[0]) -> Errand:
    return Errand(directory=str(folder), host_id=host, product_uuid=uuid, token=token)


def welcomed(folder: Path, host: str) -> bool:
    """Say hello with the certificate that is kept there, as the agent does."""
    settings = parse("", "test")
    identity = Folder(folder).read()
    assert identity is not None
    settings = msgspec.structs.replace(settings, state_dir=folder.parent)
    line = Line(reporting(settings, host).target)
    hello = ingest_pb2.AgentMessage(hello=ingest_pb2.Hello(host={"id": host}, spool_id="s" * 8, protocol=1))

    def once() -> Iterator[ingest_pb2.AgentMessage]:
        yield hello
        time.sleep(0.2)

    return next(line.talk(once())).WhichOneof("message") == "welcome"


def test_a_host_joins_reports_and_renews(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a token to a stream; its key is for root alone; what the log says names it; a revoked one is sent away."""
    folder = tmp_path / "identity"
    before = site.answered()
    outcome = errands.send(errand(folder, site.token(capsys)))
    assert (True, False) == (outcome.done, outcome.refused), outcome.text
    assert f"signed for host {HOST}, 30.0 days" in outcome.text
    key = folder / "current" / "agent.key"
    assert (0o600, 0o700) == (stat.S_IMODE(key.stat().st_mode), stat.S_IMODE(key.parent.stat().st_mode))
    assert not list(folder.glob("pending*"))
    assert welcomed(folder, HOST)
    assert any(f"joined: host {HOST} by token" in line for line in site.collector.lines)

    old = key.read_bytes()
    renewal = msgspec.structs.replace(errand(folder), renew=True, collector=site.collector.address)
    early = errands.send(renewal)
    assert (False, True) == (early.done, early.refused)
    assert "too early" in early.text
    assert old == key.read_bytes()

    assert 0 == main(["pki", "revoke", HOST, "--directory", str(site.pki)])
    with pytest.raises(Refused, match="is revoked"):
        until_refused(folder)
    late = errands.send(renewal)
    assert (False, True) == (late.done, late.refused)
    assert "is revoked" in late.text
    assert any("no certificate for" in line and "is revoked" in line for line in site.collector.lines)
    after = site.answered()
    assert {"joined": 1, "renewed": 0, "refused": 2} == {what: after[what] - before[what] for what in after}
    again = errands.send(errand(tmp_path / "again", site.token(capsys)))
    assert (False, True) == (again.done, again.refused)
    assert "vedette pki allow" in again.text
    assert 0 == main(["pki", "allow", HOST, "--directory", str(site.pki)])
    assert errands.send(errand(tmp_path / "again", site.token(capsys))).done


def test_a_certificate_is_renewed_over_the_wire(site: Site, tmp_path: Path) -> None:
    """With a new key, in one step; the agent's next dial uses it."""
    host, days = "e" * 32, dt.timedelta(days=20)
    past = dt.datetime.now(dt.UTC) - days
    made = Authority(site.pki, past).issue(Wish(Role.AGENT, (host,), 30))
    folder = Folder(tmp_path / "identity")
    folder.path.mkdir()
    start_s, life_s = past.timestamp(), 30 * 86_400
    kept = msgspec.structs.replace(identity(start_s, start_s + life_s), host_id=host, collector=site.collector.address)
    folder.keep(kept, Granted(made.key, made.certificate, Authority(site.pki).bundle.read_bytes()))
    before = (folder.current / "agent.key").resolve()

    keeper = Keeper(folder, Way(Machine(host, UUIDS[0]), lambda: pytest.fail("it has a certificate")))
    assert keepers.FIRST_DELAY_S == keeper.step(), keeper.missing()
    assert keeper.step() > 600, "nothing is due"
    assert not before.exists()
    assert folder.read().not_after_s > time.time() + 29 * 86_400
    assert welcomed(folder.path, host)
    assert any(f"renewed: host {host} by certificate" in line for line in site.collector.lines)


def test_the_port_of_strangers_does_one_thing(site: Site) -> None:
    """No stream, no query and no renewal without a certificate, and no message of a megabyte."""
    ca = grpc.ssl_channel_credentials((site.pki / "ca.pem").read_bytes())
    with grpc.secure_channel(site.enrolment, ca) as strangers, grpc.secure_channel(site.collector.address, ca) as other:
        for channel, method, request, code in (
            (strangers, "vedette.v1.Ingest/Stream", b"", grpc.StatusCode.UNIMPLEMENTED),
            (strangers, "vedette.v1.Query/Findings", b"", grpc.StatusCode.UNIMPLEMENTED),
            (strangers, "vedette.v1.Renewal/Renew", b"", grpc.StatusCode.UNIMPLEMENTED),
            (strangers, "vedette.v1.Enrol/Join", b"", grpc.StatusCode.PERMISSION_DENIED),
            (strangers, "vedette.v1.Enrol/Join", b"\xff" * 99, grpc.StatusCode.PERMISSION_DENIED),
            (strangers, "vedette.v1.Enrol/Join", b"x" * 1_000_000, grpc.StatusCode.RESOURCE_EXHAUSTED),
            (other, "vedette.v1.Renewal/Renew", b"", grpc.StatusCode.UNAVAILABLE),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(f"/{method}")(request, timeout=MINUTE)
            assert code == refused.value.code(), (method, refused.value.details())


def test_a_flood_of_strangers_leaves_the_honest_alone(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Silent connections, requests without an end, and three hundred wrong tokens, told in few lines; one joins."""
    host, _, port = site.enrolment.rpartition(":")
    lines, done = len(site.collector.lines), Event()
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection((host, int(port))))
        ca = grpc.ssl_channel_credentials((site.pki / "ca.pem").read_bytes())
        for _ in range(30):
            own = (("grpc.use_local_subchannel_pool", 1),)
            dawdling = stack.enter_context(grpc.secure_channel(site.enrolment, ca, options=own))
            for _ in range(4):
                stack.callback(dawdling.stream_unary("/vedette.v1.Enrol/Join").future(stalled(done)).cancel)
        stack.callback(done.set)
        channel = stack.enter_context(grpc.secure_channel(site.enrolment, ca))
        ask = channel.unary_unary("/vedette.v1.Enrol/Join")
        wrong = enrol_pb2.JoinRequest(csr=b"x", host_id="a" * 32).SerializeToString()
        calls = [ask.future(wrong, timeout=MINUTE) for _ in range(300)]
        codes = Counter(call.code() for call in calls)
        refused = {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert set(codes) <= {*refused, grpc.StatusCode.UNAVAILABLE}, "that: a stream too many"
        deadline = time.monotonic() + SOON
        while not errands.send(errand(tmp_path / "identity", site.token(capsys), "f" * 32)).done:
            assert time.monotonic() < deadline
    assert len(site.collector.lines) - lines < 150


def test_refusals_and_absences_are_sentences(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is left half done, nothing hangs, and a stranger's collector gets no secret."""
    other = Authority(tmp_path / "pki")
    other.init("other")
    good = tokens.parse(site.token(capsys))
    for spoiled, said in (
        ({"secret": b"x" * 32}, "PERMISSION_DENIED: the join token is not known here"),
        ({"enrolment": f"127.0.0.1:{free_port()}"}, "UNAVAILABLE"),
        ({"authorities": [pem_to_der(other.bundle)]}, "UNAVAILABLE"),
    ):
        token = type(good)(**{**fields(good), **spoiled})
        text = tokens.PREFIX + base64.urlsafe_b64encode(token.SerializeToString()).decode().rstrip("=")
        outcome = errands.send(errand(tmp_path / "identity", text))
        assert not outcome.done
        assert said in outcome.text
        assert Folder(tmp_path / "identity").read() is None
    assert 1 == len(list((tmp_path / "identity").glob("pending-*.key"))), "the same key is asked with again"


def until_refused(folder: Path) -> None:
    deadline = time.monotonic() + MINUTE
    while time.monotonic() < deadline:
        welcomed(folder, HOST)
        time.sleep(0.3)


def fields(message: object) -> dict[str, object]:
    return {field.name: value for field, value in message.ListFields()}


def pem_to_der(path: Path) -> bytes:
    import ssl

    return ssl.PEM_cert_to_DER_cert(path.read_text())


def test_a_copied_disk_does_not_keep_the_identity(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """By machine-id or by firmware; the copy of the key goes, and the clone asks for its own."""
    folder = Folder(tmp_path / "identity")
    token = site.token(capsys, "--uses", "3")
    host = "d" * 32
    assert errands.send(errand(folder.path, token, host)).done
    same = Keeper(folder, Way(Machine(host, UUIDS[0]), lambda: errand(folder.path, token)))
    same.disown()
    assert folder.read() is not None
    clone = Machine(CLONE, UUIDS[1])
    keeper = Keeper(folder, Way(clone, lambda: errand(folder.path, token, CLONE, UUIDS[1])))
    with caplog.at_level(logging.INFO):
        keeper.start()
        deadline = time.monotonic() + MINUTE
        while keeper.missing() is not None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    keeper.close()
    assert "a disk was copied" in caplog.text
    assert CLONE == folder.read().host_id
    assert 1 == len([one for one in folder.path.iterdir() if one.is_dir() and not one.is_symlink()])
    assert welcomed(folder.path, CLONE)

    twin = errands.send(errand(tmp_path / "twin", token, CLONE, UUIDS[0]))
    assert (False, True) == (twin.done, twin.refused)
    assert "another product UUID" in twin.text


def identity(start_s: float, end_s: float) -> Identity:
    whole = {"not_before_s": int(start_s), "not_after_s": int(end_s)}
    return Identity(host_id=HOST, product_uuid=UUIDS[0], collector="127.0.0.1:1", **whole)


def stalled(done: Event) -> Iterator[bytes]:
    """Send nothing, for long."""
    done.wait(MINUTE)
    yield from ()


@pytest.mark.parametrize(
    ("start_s", "end_s", "asks"),
    [(-100, 1000, None), (-700, 300, "renew"), (-1000, -1, "join")],
    ids=["young", "old", "ended"],
)
def test_a_certificate_is_renewed_in_time(tmp_path: Path, start_s: int, end_s: int, asks: str | None) -> None:
    """Before two thirds of its life; one that ended is asked for anew."""
    now_s = time.time()
    folder = Folder(tmp_path)
    folder.path.mkdir(exist_ok=True)
    folder.keep(identity(now_s + start_s, now_s + end_s), Granted(b"k", b"c", b"a"))
    sent: list[Errand] = []

    def send(one: Errand) -> Outcome:
        sent.append(one)
        return Outcome(done=False, text="UNAVAILABLE: away")

    keeper = Keeper(folder, Way(Machine(HOST, UUIDS[0]), lambda: errand(tmp_path, "t")), send)
    delays = [keeper.step() for _ in range(12)]
    assert ([asks] * 12 if asks else []) == ["renew" if one.renew else "join" for one in sent]
    assert all(0 < delay <= 1.5 * keepers.LONGEST_DELAY_S for delay in delays) or asks is None
    if asks:
        assert delays[0] < 2 < delays[-1], "it grows"
        assert "away" in json.loads((tmp_path / "status.json").read_text())["text"]
    life = identity(0, 1000)
    assert 400 <= keepers.due_s(life) < 600


@pytest.mark.parametrize(
    ("start_s", "end_s", "host", "said", "ok"),
    [
        (-100, 864_000, HOST, "10.0 days, for 127.0.0.1:1", True),
        (-700_000, 300, HOST, "not renewed: UNAVAILABLE", False),
        (-700_000, -86_400, HOST, "ended 1.0 days ago: UNAVAILABLE", False),
        (-100, 864_000, CLONE, f"not this machine's: it is of host {HOST}", False),
    ],
)
def test_the_doctor_says_how_the_certificate_is(
    tmp_path: Path, start_s: int, end_s: int, host: str, said: str, *, ok: bool
) -> None:
    """And what an attempt came to."""
    assert (None, "none was asked for") == tuple(msgspec.structs.astuple(_identity.check(tmp_path, host))[:2])
    away = Keeper(
        Folder(tmp_path),
        Way(Machine(HOST, None), lambda: errand(tmp_path)),
        lambda _: Outcome(done=False, text="UNAVAILABLE"),
    )
    away.step()
    assert (False, "none: UNAVAILABLE") == tuple(msgspec.structs.astuple(_identity.check(tmp_path, host))[:2])
    kept = msgspec.structs.replace(identity(time.time() + start_s, time.time() + end_s), product_uuid=None)
    Folder(tmp_path).keep(kept, Granted(b"k", b"c", b"a"))
    check = _identity.check(tmp_path, host)
    assert (ok, True) == (check.ok, said in check.detail), check


def test_the_settings_say_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A certificate of the operator's goes first; a token says the address; what lacks is named."""
    state = f'state_dir = "{tmp_path}"\n'
    assert reporting(parse(state, "t"), HOST).keeper is None
    with pytest.raises(ConfigError, match=r"enrolment\.ec2 needs enrolment\.address"):
        reporting(parse(state + '[collector]\naddress = "c:1"\n[enrolment]\nec2 = true\n', "t"), HOST)
    with pytest.raises(ConfigError, match=r"token_file /nonexistent cannot be read"):
        reporting(parse(state + '[enrolment]\ntoken_file = "/nonexistent"\n', "t"), HOST)
    local = state + '[collector]\naddress = "unix:///x"\n'
    with pytest.raises(ConfigError, match=r"not for an agent that has its way already: collector\.address is on this"):
        reporting(parse(local + '[enrolment]\ntoken_file = "/x"\n', "t"), HOST)
    monkeypatch.setenv(tokens.VARIABLE, "vedette-join-AAAA")
    assert reporting(parse(local, "t"), HOST).keeper is None
    assert "VEDETTE_JOIN_TOKEN is not used" in caplog.text
    assert tokens.VARIABLE not in os.environ
    monkeypatch.setenv(tokens.VARIABLE, "vedette-join-AAAA")
    with pytest.raises(ConfigError, match="not a whole join token"):
        reporting(parse(state, "t"), HOST)
    monkeypatch.setenv(tokens.VARIABLE, "hunter2")
    with pytest.raises(ConfigError, match="begins with vedette-join-"):
        reporting(parse(state, "t"), HOST)


class _Killed(BaseException):
    """As a process that is no more."""


@pytest.mark.parametrize("step", range(40))
def test_killed_between_any_two_writes_it_is_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Never half of each; and the next attempt succeeds over what is left."""
    folder, now_s = Folder(tmp_path), time.time()
    folder.keep(identity(now_s, now_s + 100), Granted(b"old", b"old", b"old"))
    left = iter(range(step, -1, -1))

    def dying(do: Callable[..., Any]) -> Callable[..., Any]:
        def done(*arguments: Any, **options: Any) -> Any:
            if next(left, 0) == 0:
                raise _Killed
            return do(*arguments, **options)

        return done

    with monkeypatch.context() as patched, suppress(_Killed):
        for owner, name in (
            (Path, "replace"),
            (Path, "symlink_to"),
            (Path, "mkdir"),
            (Path, "unlink"),
            (os, "fsync"),
            (os, "open"),
        ):
            patched.setattr(owner, name, dying(getattr(owner, name)))
        folder.keep(identity(now_s, now_s + 200), Granted(b"new", b"new", b"new"))
    found = folder.read()
    assert found is not None
    whole = {(folder.current / name).read_bytes() for name in ("agent.key", "agent.pem", "ca.pem")}
    assert whole == {b"old" if found.not_after_s == int(now_s + 100) else b"new"}
    folder.keep(identity(now_s, now_s + 300), Granted(b"next", b"next", b"next"))
    assert int(now_s + 300) == folder.read().not_after_s
    assert 1 == len([one for one in tmp_path.iterdir() if one.is_dir() and not one.is_symlink()])


def test_a_machine_without_a_uuid_is_told_by_its_id_alone(tmp_path: Path) -> None:
    """Boards without one say zeros or nothing."""
    path = tmp_path / "uuid"
    assert Machine(HOST, None) == this_machine(HOST, path)
    for said, known in (("00000000-0000-0000-0000-000000000000", None), (UUIDS[0].upper(), UUIDS[0]), ("x", None)):
        path.write_text(said + "\n")
        assert Machine(HOST, known) == this_machine(HOST, path)


class _Metadata(BaseHTTPRequestHandler):
    """EC2's metadata service, as far as it is asked."""

    def do_PUT(self) -> None:
        self._say(b"TOKEN")

    def do_GET(self) -> None:
        assert "TOKEN" == self.headers["X-aws-ec2-metadata-token"]
        self._say({"document": b'{"a": 1}', "rsa2048": b"MIAG"}[self.path.rpartition("/")[2]])

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def test_the_instance_document_is_read_with_a_session() -> None:
    """Version 2 alone, byte for byte as it was signed."""
    from agent.enrol import ec2

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Metadata)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        proof = ec2.proof(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert (b'{"a": 1}', b"MIAG") == (proof.document, proof.rsa2048)
