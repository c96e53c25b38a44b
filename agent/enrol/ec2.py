"""What AWS signed about this EC2 instance, from its metadata service (version 2)."""

from __future__ import annotations

import os

from agent.enrich.place.asking import Client
from agent.enrich.place.asking import Endpoint
from agent.enrich.place.asking import Request
from vedette.v1 import enrol_pb2

ENDPOINT = "http://169.254.169.254"
_LIMIT_BYTES = 16_384
_WITHIN_S = 5.0
_DOCUMENTS = "/latest/dynamic/instance-identity/"


def proof(configured: str | None) -> enrol_pb2.InstanceProof:
    """Return the signed document. Raises Unanswered, a PeerError."""
    where = configured or os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or ENDPOINT
    client = Client(Endpoint.parse(where))
    ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = client.ask(Request("/latest/api/token", ttl, "PUT", 1024), _WITHIN_S).decode("ascii", "replace")

    def get(name: str) -> bytes:
        headers = {"X-aws-ec2-metadata-token": token}
        return client.ask(Request(_DOCUMENTS + name, headers, limit_bytes=_LIMIT_BYTES), _WITHIN_S)

    return enrol_pb2.InstanceProof(document=get("document"), rsa2048=get("rsa2048"))
