"""The Kubernetes API and the kubelet's: the pods of this node, by list and watch, and who owns them.

The API server is asked for `fieldSelector=spec.nodeName=NODE` and then watched, so
that a pod is known before its first process runs; needed is `list` and `watch` on
pods, and for owners `get` on replicasets and jobs. The kubelet has all pods of the
node at `/pods`, and no watch: it is asked when a pod turns up that nobody knows; needed is
`get` on nodes/proxy.

Tokens and certificates are read anew for each request: the kubelet renews a
token every hour (BoundServiceAccountTokenVolume).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from agent.enrich.place import decoding
from agent.enrich.place import pods
from agent.enrich.place.asking import Client
from agent.enrich.place.asking import Endpoint
from agent.enrich.place.asking import Request
from agent.enrich.place.asking import Unanswered
from agent.enrich.place.pods import Named
from agent.enrich.place.pods import Owner
from agent.enrich.place.pods import Pod
from agent.enrich.place.pods import PodList

REQUEST_S = 10.0  # the API server may be busy; nobody waits for us
PAGE = 20  # pods a page: some 200 KiB, of which twenty are read one after the other on a full node
PAGE_BYTES = 4 << 20
PAGES = 52  # a node takes 110 pods by default and some 1,000 at most
KUBELET_BYTES = 16 << 20  # all at once: there are no pages
OBJECT_BYTES = 3 << 20
WATCH_S = 240  # that we ask the server to keep a watch; it is then begun anew where it was
WATCH_BYTES = 256 << 20
GONE = 410
_TOKEN_BYTES = 16_384  # a service account's is 1 KiB
_APIS = {"ReplicaSet": "/apis/apps/v1/namespaces/{}/replicasets/{}", "Job": "/apis/batch/v1/namespaces/{}/jobs/{}"}
"""Owners that may have an owner themselves."""


class Credentials(NamedTuple):
    """Files that open a server; None for what is not used."""

    token: Path | None
    ca: Path | None
    cert: Path | None = None
    key: Path | None = None
    server_name: str | None = None
    """Whom the server's certificate must name, where that is not its address."""

    def headers(self) -> dict[str, str]:
        """Return the headers of a request.  Raises Unanswered when the token cannot be read."""
        accept = {"Accept": "application/json"}
        if self.token is None or self.cert is not None:
            return accept
        try:
            with self.token.open("rb") as stream:
                token = stream.read(_TOKEN_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise Unanswered("unreachable", f"{self.token} cannot be read") from exc
        if not token.isprintable() or not token:
            raise Unanswered("malformed", f"{self.token} holds no token")
        return accept | {"Authorization": f"Bearer {token}"}

    def context(self) -> ssl.SSLContext:
        """Return what TLS takes; `ca` may also be the server's own certificate.  Raises Unanswered for a bad file."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as exc:
            raise _unusable(f"ca_file {self.ca}", exc) from exc
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if self.cert is not None:
            try:
                context.load_cert_chain(self.cert, self.key, password=str)
            except OSError as exc:
                raise _unusable(f"cert_file {self.cert} with key_file {self.key}", exc) from exc
        return context

    def client(self, where: Endpoint) -> Client:
        """Return who asks a server."""
        return Client(where, context=self.context if where.tls else None, server_name=self.server_name)


def _unusable(files: str, exc: OSError) -> Unanswered:
    """Return why files cannot be used; OpenSSL says of what is no PEM nothing that helps."""
    said = "no PEM of the right kind, or not of one another" if isinstance(exc, ssl.SSLError) else exc.strerror
    return Unanswered("unreachable", f"{files} cannot be used: {said}")


class _Object(msgspec.Struct):
    """Of a watch: a pod, a bookmark, or a Status."""

    metadata: pods.Metadata | None = None
    code: int | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class Change(NamedTuple):
    """What a watch says."""

    kind: str
    """`ADDED`, `MODIFIED`, `DELETED`, or `BOOKMARK`."""
    version: str
    pod: Pod | None


class ApiServer:
    """The pods of one node, as the API server has them; used by one thread."""

    def __init__(self, where: Endpoint, credentials: Credentials, node: str) -> None:
        self._credentials = credentials
        self._client = credentials.client(where)
        self._selector = f"fieldSelector=spec.nodeName%3D{quote(node, safe='')}"
        self._node = node

    def pods(self) -> tuple[list[Pod], str]:
        """Return the pods of the node, and the version from which to watch.  Raises Unanswered."""
        found: list[Pod] = []
        after = ""
        for _ in range(PAGES):
            query = f"{self._selector}&limit={PAGE}" + (f"&continue={quote(after, safe='')}" if after else "")
            page = decoding.decoded(self._get(f"/api/v1/pods?{query}", PAGE_BYTES), PodList)
            found += page.items or []
            after = (page.metadata.next if page.metadata else None) or ""
            if not after:
                return found, (page.metadata.resource_version if page.metadata else None) or ""
        raise Unanswered("oversized", f"{self._client.endpoint} lists more than {PAGES * PAGE:,} pods for one node")

    def watch(self, version: str, take: Callable[[Change], bool]) -> None:
        """Give every change after `version` to `take` until that says False, or the server ends it.

        Raises Unanswered; `refused` with status 410 when the version is too old: list again.
        """
        query = f"watch=1&{self._selector}&allowWatchBookmarks=true&timeoutSeconds={WATCH_S}"
        path = f"/api/v1/pods?{query}&resourceVersion={quote(version, safe='')}"
        request = Request(path, self._credentials.headers(), limit_bytes=WATCH_BYTES)
        self._client.follow(request, WATCH_S + REQUEST_S, lambda line: take(change_of(line)))

    def owner(self, namespace: str, owner: Owner) -> Owner | None:
        """Return who controls the owner of a pod, None for nobody.  Raises Unanswered."""
        path = _APIS.get(owner.kind)
        if path is None:
            return None
        body = self._get(path.format(quote(namespace, safe=""), quote(owner.name, safe="")), OBJECT_BYTES)
        return pods.controller(decoding.decoded(body, Named).metadata)

    def node_labels(self) -> dict[str, str]:
        """Return the labels of the node.  Raises Unanswered."""
        body = self._get(f"/api/v1/nodes/{quote(self._node, safe='')}", OBJECT_BYTES)
        return decoding.decoded(body, Named).metadata.labels or {}

    def close(self) -> None:
        """End what is under way, from any thread."""
        self._client.close()

    def _get(self, path: str, limit_bytes: int) -> bytes:
        return self._client.ask(Request(path, self._credentials.headers(), limit_bytes=limit_bytes), REQUEST_S)


class Kubelet:
    """The pods of this node, as its kubelet has them; used by one thread."""

    def __init__(self, where: Endpoint, credentials: Credentials) -> None:
        self._credentials = credentials
        self._client = credentials.client(where)

    def pods(self) -> list[Pod]:
        """Return the pods of the node.  Raises Unanswered."""
        request = Request("/pods", self._credentials.headers(), limit_bytes=KUBELET_BYTES)
        return decoding.decoded(self._client.ask(request, REQUEST_S), PodList).items or []

    def close(self) -> None:
        """End what is under way, from any thread."""
        self._client.close()


def change_of(line: bytes) -> Change:
    """Return what a line of a watch says.  Raises Unanswered for an error, and for what is none of it."""
    event = decoding.decoded(line, _Event)
    if event.type in {"ADDED", "MODIFIED", "DELETED"}:
        pod = decoding.decoded(bytes(event.object), Pod)
        return Change(event.type, pod.metadata.resource_version, pod)
    said = decoding.decoded(bytes(event.object), _Object)
    if event.type == "BOOKMARK":
        return Change(event.type, said.metadata.resource_version if said.metadata else "", None)
    raise Unanswered("refused", f"the watch ends with status {said.code or 'unknown'}", said.code)


def outermost(pod: Pod, ask: Callable[[str, Owner], Owner | None]) -> Owner | None:
    """Return the outermost owner of a pod; `ask` tells who controls an owner, and raises Unanswered where it cannot."""
    owner = pods.controller(pod.metadata)
    if owner is None or owner.kind not in _APIS:
        return owner
    try:
        return ask(pod.metadata.namespace, owner) or owner
    except Unanswered:
        return pods.by_label(pod, owner) or owner


def cluster_names(labels: dict[str, str]) -> Iterator[str]:
    """Yield the names that labels of a node give its cluster: of eksctl, and of EKS's own node groups."""
    for key in ("alpha.eksctl.io/cluster-name", "eks.amazonaws.com/cluster-name"):
        if name := labels.get(key):
            yield name[:100]  # that EKS allows (CreateCluster, name)
