"""Servers on loopback that speak what EC2, ECS and Kubernetes speak, well or badly, for tests.

The documents have the shapes of AWS's user guides (instance metadata categories; task metadata endpoint version 4;
container introspection) and of Kubernetes' OpenAPI; the addresses and ids are those of documentation.
"""

from __future__ import annotations

import copy
import json
import queue
import ssl
import threading
import time
from collections.abc import Callable
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from typing import Any
from typing import NamedTuple
from typing import Self
from urllib.parse import parse_qs
from urllib.parse import urlsplit

TOKEN = "AQAEANWzNXN9Vm0P"
ACCOUNT, REGION = "111122223333", "us-east-1"
INSTANCE_ID = "i-0123456789abcdef0"
MAC = "0a:11:22:33:44:55"
CLUSTER = "prod-cluster"
KEYS = (
    "device-number interface-id ipv6s local-hostname local-ipv4s mac owner-id public-hostname public-ipv4s "
    "security-group-ids security-groups subnet-id vpc-id"
)
"""That an interface has."""
TASK_ID = "158d1c8083dd49d6b527399fd6414f5c"
TASK_ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/{CLUSTER}/{TASK_ID}"


class Asked(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]


Answer = tuple[int, bytes] | Callable[[BaseHTTPRequestHandler], None]
"""Status and body, or what to do instead."""


class Server:
    """HTTP on a free port of loopback; `answer` is called by a thread for each request."""

    def __init__(self, answer: Callable[[Asked], Answer], context: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.answer = answer
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def paths(self) -> list[str]:
        """Return the paths that were asked for."""
        return [asked.path for asked in list(self.asked)]


class _Handler(BaseHTTPRequestHandler):
    owner: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        asked = Asked(self.command, self.path, dict(self.headers.items()))
        self.owner.asked.append(asked)
        answer = self.owner.answer(asked)
        self.close_connection = True
        try:
            if callable(answer):
                answer(self)
                return
            status, body = answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            return  # the other end had enough


# How to be bad.


def silence(handler: BaseHTTPRequestHandler) -> None:
    """Take the question and never answer."""
    handler.rfile.read(1)


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Send a byte now and then, for ever: each in time, the whole never."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.02)


def flood(handler: BaseHTTPRequestHandler) -> None:
    """Send without an end."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"[" * 65536)


def die(handler: BaseHTTPRequestHandler) -> None:
    """Promise a thousand bytes and go after ten."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"x" * 10)


def babble(handler: BaseHTTPRequestHandler) -> None:
    """Speak no HTTP."""
    handler.wfile.write(b"\x00\xff SSH-2.0-OpenSSH_9.2\r\n\r\n")


def redirect(handler: BaseHTTPRequestHandler) -> None:
    """Send whoever asks, and its token, elsewhere."""
    handler.send_response(302)
    handler.send_header("Location", "http://127.0.0.1:9/")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


BAD: dict[str, Answer] = {
    "silent": silence,
    "dripping": drip,
    "flooding": flood,
    "dying": die,
    "babbling": babble,
    "redirecting": redirect,
    "failing": (500, b"{}"),
    "lying": (200, b'{"instanceId": ["' + b"x" * 100 + b'"], "TaskARN": 7, "items": {"a": 1}}'),
    "nesting": (200, b"[" * 60_000),
    "no text": (200, b"\xff\xfe\x00"),
    "empty": (200, b""),
}


# EC2.


def imds(**changed: str | None) -> dict[str, str]:
    """Return the documents of an instance by path below /latest; `changed` by path too, None takes one away."""
    documents = {
        "dynamic/instance-identity/document": json.dumps(
            {
                "accountId": ACCOUNT,
                "architecture": "x86_64",
                "availabilityZone": "us-east-1a",
                "billingProducts": None,
                "devpayProductCodes": None,
                "marketplaceProductCodes": None,
                "imageId": "ami-0abcdef1234567890",
                "instanceId": INSTANCE_ID,
                "instanceType": "m6i.large",
                "kernelId": None,
                "pendingTime": "2026-11-24T09:01:02Z",
                "privateIp": "10.0.1.5",
                "ramdiskId": None,
                "region": REGION,
                "version": "2017-09-30",
            }
        ),
        "meta-data/iam/info": json.dumps(
            {
                "Code": "Success",
                "LastUpdated": "2026-11-24T09:01:02Z",
                "InstanceProfileArn": f"arn:aws:iam::{ACCOUNT}:instance-profile/node",
                "InstanceProfileId": "AIPAABCDEFGHIJKLMNOPQ",
            }
        ),
        "meta-data/services/partition": "aws",
        "meta-data/network/interfaces/macs": f"{MAC}/",
        "meta-data/tags/instance": "Name\neks:cluster-name",
        "meta-data/tags/instance/Name": "web-1",
        "meta-data/tags/instance/eks%3Acluster-name": CLUSTER,
        "user-data": f"#!/bin/bash\n/etc/eks/bootstrap.sh {CLUSTER} --kubelet-extra-args '--node-labels=a=b'\n",
    }
    return {
        path: text
        for path, text in (documents | _interface(f"meta-data/network/interfaces/macs/{MAC}") | changed).items()
        if text is not None
    }


def _interface(mac: str) -> dict[str, str]:
    return {
        f"{mac}": KEYS.replace(" ", "\n"),
        f"{mac}/device-number": "0",
        f"{mac}/interface-id": "eni-0123456789abcdef0",
        f"{mac}/ipv6s": "2001:db8::5",
        f"{mac}/local-hostname": "ip-10-0-1-5.ec2.internal",
        f"{mac}/local-ipv4s": "10.0.1.5\n10.0.1.6",
        f"{mac}/public-hostname": "ec2-192-0-2-7.compute-1.amazonaws.com",
        f"{mac}/public-ipv4s": "192.0.2.7",
        f"{mac}/security-group-ids": "sg-0a\nsg-0b",
        f"{mac}/security-groups": "web\nssh from office",
        f"{mac}/subnet-id": "subnet-0123456789abcdef0",
        f"{mac}/vpc-id": "vpc-0123456789abcdef0",
    }


def serves_imds(documents: Mapping[str, str], bad: Mapping[str, Answer] | None = None) -> Callable[[Asked], Answer]:
    """Return an instance metadata service of version 2 with these documents; `bad` answers by path below /latest."""

    def answer(asked: Asked) -> Answer:
        path = asked.path.removeprefix("/latest/").rstrip("/")
        if path in (bad or {}):
            return (bad or {})[path]
        if asked.method == "PUT" and path == "api/token":
            ttl = asked.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            return (200, TOKEN.encode()) if ttl.isdecimal() and 1 <= int(ttl) <= 21_600 else (400, b"")
        if asked.headers.get("X-aws-ec2-metadata-token") != TOKEN:
            return 401, b""
        text = documents.get(path)
        return (404, b"") if text is None else (200, text.encode())

    return answer


# ECS.


def task(launch_type: str = "FARGATE", container_id: str = f"{TASK_ID}-1", **changed: Any) -> dict[str, Any]:
    """Return a document of the task metadata endpoint, version 4."""
    document = {
        "Cluster": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{CLUSTER}",
        "TaskARN": TASK_ARN,
        "Family": "web",
        "Revision": "26",
        "ServiceName": "web-service",
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING",
        "Limits": {"CPU": 0.25, "Memory": 512},
        "PullStartedAt": "2026-11-24T09:01:00.409640932Z",
        "PullStoppedAt": "2026-11-24T09:01:02.410489914Z",
        "AvailabilityZone": "us-east-1a",
        "LaunchType": launch_type,
        "VPCID": "vpc-0123456789abcdef0",
        "TaskTags": {"team": "shop"},
        "ClockDrift": {"ClockErrorBound": 0.5458234999999999},
        "EphemeralStorageMetrics": {"Utilized": 261, "Reserved": 20496},
        "Containers": [
            {
                "DockerId": container_id,
                "Name": "nginx",
                "DockerName": "ecs-web-26-nginx",
                "Image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/shop/nginx:1.25",
                "ImageID": "sha256:" + "a" * 64,
                "Labels": {"com.amazonaws.ecs.cluster": CLUSTER},
                "DesiredStatus": "RUNNING",
                "KnownStatus": "RUNNING",
                "Limits": {"CPU": 2},
                "CreatedAt": "2026-11-24T09:01:03.000000001Z",
                "StartedAt": "2026-11-24T09:01:04.500Z",
                "Type": "NORMAL",
                "Volumes": [{"Source": "/var/lib/ecs/data", "Destination": "/data"}],
                "ContainerARN": f"arn:aws:ecs:{REGION}:{ACCOUNT}:container/{CLUSTER}/{TASK_ID}/0206b271",
                "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.1.9"]}],
                "Snapshotter": "overlayfs",
            }
        ],
    }
    return document | changed


def serves_task(document: Mapping[str, Any], *, tags: bool = True) -> Callable[[Asked], Answer]:
    """Return the metadata endpoint of a task, which may or may not be allowed to read tags."""

    def answer(asked: Asked) -> Answer:
        if asked.path == "/v4/xyz/taskWithTags" and tags:
            return 200, json.dumps(document).encode()
        if asked.path == "/v4/xyz/task":
            return 200, json.dumps({name: value for name, value in document.items() if name != "TaskTags"}).encode()
        return 400, b""

    return answer


def serves_introspection(container_id: str) -> Callable[[Asked], Answer]:
    """Return an ECS agent that knows the task of one container."""
    instance = f"arn:aws:ecs:{REGION}:{ACCOUNT}:container-instance/{CLUSTER}/aa11"
    agent = {"Cluster": CLUSTER, "ContainerInstanceArn": instance, "Version": "Amazon ECS Agent - v1.89.0 (*abc)"}
    known = {
        "Arn": TASK_ARN,
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING",
        "Family": "web",
        "Version": "26",
        "Containers": [{"DockerId": container_id, "DockerName": "ecs-web-26-nginx", "Name": "nginx"}],
    }

    def answer(asked: Asked) -> Answer:
        parts = urlsplit(asked.path)
        if parts.path == "/v1/metadata":
            return 200, json.dumps(agent).encode()
        wanted = parse_qs(parts.query).get("dockerid")
        return (200, json.dumps(known).encode()) if wanted == [container_id] else (404, b"")

    return answer


# Kubernetes.

POD_UID = "4f1c6d1e-0000-4000-8000-000000000001"
_SPEC: dict[str, Any] = {
    "nodeName": "node-1",
    "serviceAccountName": "web-account",
    "hostNetwork": True,
    "hostPID": True,
    "containers": [
        {
            "name": "nginx",
            "image": "registry.example/shop/nginx:1.25",
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "securityContext": {"privileged": True, "allowPrivilegeEscalation": True},
        }
    ],
    "volumes": [{"name": "data", "hostPath": {"path": "/srv/data"}}, {"name": "tmp", "emptyDir": {}}],
}
_STATUS: dict[str, Any] = {
    "phase": "Running",
    "containerStatuses": [
        {
            "name": "nginx",
            "image": "registry.example/shop/nginx:1.25",
            "imageID": "registry.example/shop/nginx@sha256:" + "a" * 64,
            "containerID": "containerd://" + "c" * 64,
            "ready": True,
            "restartCount": 0,
        }
    ],
}


def pod(
    uid: str = POD_UID, name: str = "web-6d4b75cb6d-hxk8m", version: str = "101", **metadata: Any
) -> dict[str, Any]:
    """Return a pod of a Deployment's ReplicaSet on node-1, as the API server has it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": uid,
            "resourceVersion": version,
            "labels": {"app": "web", "pod-template-hash": "6d4b75cb6d"},
            "annotations": {"note": "x" * 200},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "web-6d4b75cb6d",
                    "uid": "rs-uid",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        }
        | metadata,
        "spec": copy.deepcopy(_SPEC),
        "status": copy.deepcopy(_STATUS),
    }


def owned(kind: str, name: str, uid: str) -> dict[str, Any]:
    """Return an object whose controller is this."""
    return {
        "metadata": {"name": "x", "ownerReferences": [{"kind": kind, "name": name, "uid": uid, "controller": True}]}
    }


class ApiServer:
    """A Kubernetes API server for one node: lists in pages, watches, and knows who owns a ReplicaSet."""

    def __init__(self, *pods: dict[str, Any], token: str = "token") -> None:
        self.pods = list(pods)
        self.token = token
        self.labels = {"alpha.eksctl.io/cluster-name": CLUSTER}
        self.denied: tuple[str, ...] = ()
        self.page = 1
        self._changes: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def change(self, kind: str, changed: dict[str, Any]) -> None:
        """Tell whoever watches."""
        self._changes.put({"type": kind, "object": changed})

    def end_watch(self) -> None:
        """End the watch as a server does in time."""
        self._changes.put(None)

    def __call__(self, asked: Asked) -> Answer:
        parts = urlsplit(asked.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if asked.headers.get("Authorization") != f"Bearer {self.token}":
            return 401, b"{}"
        if any(word in parts.path for word in self.denied):
            return 403, b"{}"
        if parts.path == "/api/v1/pods":
            if query.get("fieldSelector") != "spec.nodeName=node-1":
                return 400, b"{}"
            return self._watch if query.get("watch") else self._list(query)
        known = {
            "/apis/apps/v1/namespaces/shop/replicasets/web-6d4b75cb6d": owned("Deployment", "web", "deployment-uid"),
            "/apis/batch/v1/namespaces/shop/jobs/nightly-1": owned("CronJob", "nightly", "cron-uid"),
            "/api/v1/nodes/node-1": {"metadata": {"name": "node-1", "labels": self.labels}},
        }.get(parts.path)
        return (200, json.dumps(known).encode()) if known else (404, b"{}")

    def _list(self, query: Mapping[str, str]) -> Answer:
        first = int(query.get("continue", "0"))
        metadata: dict[str, Any] = {"resourceVersion": "100"}
        if first + self.page < len(self.pods):
            metadata["continue"] = str(first + self.page)
        body = {"kind": "PodList", "metadata": metadata, "items": self.pods[first : first + self.page]}
        return 200, json.dumps(body).encode()

    def _watch(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        while (change := self._changes.get()) is not None:
            line = json.dumps(change).encode() + b"\n"
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            handler.wfile.flush()
        handler.wfile.write(b"0\r\n\r\n")


def eventually(condition: Callable[[], Any], patience_s: float = 20.0) -> Any:
    """Return what the condition does once that is true; fail when it does not come."""
    deadline_s = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, "it did not come"
        time.sleep(0.01)
    return found
