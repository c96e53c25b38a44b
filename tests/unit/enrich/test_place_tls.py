"""Kubernetes over TLS: an API server and a kubelet on loopback with certificates as clusters have them."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.counters import Counters
from agent.enrich.place.asking import Endpoint
from agent.enrich.place.asking import Unanswered
from agent.enrich.place.kubernetes import ApiServer
from agent.enrich.place.kubernetes import Credentials
from agent.enrich.place.kubernetes import Kubelet
from agent.enrich.place.where import Questions
from agent.enrich.place.where import Where
from tests import metadata
from tests.certificates import Authority
from tests.certificates import Files
from tests.metadata import POD_UID
from tests.metadata import Server
from tests.metadata import eventually


@pytest.fixture
def cluster(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "cluster", "the cluster's")


@pytest.fixture
def token(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("token\n")
    return tmp_path / "token"


@contextmanager
def serving(
    files: Files, clients: Authority | None = None, answer: Callable[[metadata.Asked], metadata.Answer] | None = None
) -> Iterator[Server]:
    """Serve pods with a certificate; with `clients`, to those alone whose certificate that authority signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert_file, files.key_file)
    if clients is not None:
        context.load_verify_locations(clients.ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    with Server(answer or metadata.ApiServer(metadata.pod()), context) as server:
        yield server


def names(url: str, credentials: Credentials) -> list[str]:
    """Return the pods that an API server tells of."""
    return [pod.metadata.name for pod in ApiServer(Endpoint.parse(url), credentials, "node-1").pods()[0]]


def unanswered(url: str, credentials: Credentials) -> Unanswered:
    with pytest.raises(Unanswered) as caught:
        names(url, credentials)
    return caught.value


def test_the_clusters_authority_is_trusted_and_no_other(cluster: Authority, token: Path, tmp_path: Path) -> None:
    """Whoever stands between with a certificate of his own gets neither an answer believed nor the token."""
    with serving(cluster.server()) as server:
        assert ["web-6d4b75cb6d-hxk8m"] == names(server.url, Credentials(token, cluster.ca_file))
        told = len(server.asked)
        for other in (Authority(tmp_path / "other").ca_file, None):
            refused = unanswered(server.url, Credentials(token, other))
            assert ("untrusted", True) == (refused.kind, "is not trusted: " in str(refused))
        localhost = server.url.replace("127.0.0.1", "localhost")
        assert names(localhost, Credentials(token, cluster.ca_file))
        mismatch = unanswered(server.url, Credentials(token, cluster.ca_file, server_name="elsewhere"))

    assert "elsewhere" in str(mismatch)
    assert len(server.asked) == told + 1


def test_a_client_certificate_stands_for_a_token(cluster: Authority, tmp_path: Path) -> None:
    """As kubeadm and kubeconfig files have it; one of another authority, or none, opens nothing, and it is said why."""
    answers = metadata.ApiServer(metadata.pod())
    answers.token = ""  # who has a certificate sends no token at all

    def certified(asked: metadata.Asked) -> metadata.Answer:
        return (
            (400, b"")
            if "Authorization" in asked.headers
            else answers(asked._replace(headers={**asked.headers, "Authorization": "Bearer "}))
        )

    mine, stranger = cluster.client("node-agent"), Authority(tmp_path / "other").client("node-agent")
    with serving(cluster.server(), cluster, certified) as server:
        missing = tmp_path / "no token"
        assert names(server.url, Credentials(missing, cluster.ca_file, mine.cert_file, mine.key_file))
        foreign = unanswered(server.url, Credentials(missing, cluster.ca_file, stranger.cert_file, stranger.key_file))
        mixed = unanswered(server.url, Credentials(missing, cluster.ca_file, mine.cert_file, stranger.key_file))
        absent = unanswered(server.url, Credentials(missing, cluster.ca_file, tmp_path / "gone.pem", mine.key_file))

    assert ("broken", False) == (foreign.kind, "_ssl.c" in str(foreign))
    assert f"cert_file {mine.cert_file} with key_file {stranger.key_file} cannot be used" in str(mixed)
    assert str(absent).endswith("No such file or directory")


def test_a_token_and_an_authority_that_rotate_are_read_anew(cluster: Authority, token: Path, tmp_path: Path) -> None:
    """A service account's token is renewed every hour: the one in the file counts, not the one that was there."""
    answers = metadata.ApiServer(metadata.pod())
    ca = tmp_path / "ca.crt"
    ca.write_bytes(cluster.ca_file.read_bytes())
    with serving(cluster.server(), answer=answers) as server:
        api = ApiServer(Endpoint.parse(server.url), Credentials(token, ca), "node-1")
        assert api.pods()[0]
        answers.token = "another"
        with pytest.raises(Unanswered, match="answers 401"):
            api.pods()
        token.write_text("another")
        assert api.pods()[0]
        ca.write_bytes(b"nonsense")
        with pytest.raises(Unanswered, match=f"ca_file {ca} cannot be used: no PEM"):
            api.pods()


def test_a_kubelet_that_signed_for_itself_is_refused_unless_trusted(token: Path, tmp_path: Path) -> None:
    """By default a kubelet makes its own certificate, which anybody can: trusted by that file, for the node's name."""
    own = Authority(tmp_path / "kubelet").node("node-1")
    pods = json.dumps({"kind": "PodList", "items": [metadata.pod()]}).encode()
    with serving(own, answer=lambda _: (200, pods)) as server:
        where = Endpoint.parse(server.url)
        for credentials in (Credentials(token, None), Credentials(token, own.cert_file)):
            with pytest.raises(Unanswered, match="is not trusted") as caught:
                Kubelet(where, credentials).pods()
            assert caught.value.kind == "untrusted"
        trusted = Credentials(token, own.cert_file, server_name="node-1")

        assert [POD_UID] == [pod.metadata.uid for pod in Kubelet(where, trusted).pods()]


def test_what_is_not_trusted_is_told_with_what_to_do(cluster: Authority, token: Path, tmp_path: Path) -> None:
    """doctor and health say that the server is not trusted and which setting decides it; by that setting it is."""
    counters = Counters()
    with serving(cluster.server()) as server:
        questions = {"ec2": "off", "node": "node-1", "api_server": server.url, "token_file": token}
        for ca, expected in ((Authority(tmp_path / "other").ca_file, False), (cluster.ca_file, True)):
            where = Where(Questions(**questions, ca_file=ca), counters)  # type: ignore[arg-type]  # of several types
            where.start()
            try:
                told = eventually(
                    lambda where=where: next((one for one in where.place().standing if one.known is not None), None)
                )
            finally:
                where.close()
            assert (told.name, told.known) == ("kubernetes", expected)
            assert ("name who signed it in [kubernetes] ca_file" in told.detail) is not expected

    assert counters.get("place.kubernetes_untrusted") == 1
