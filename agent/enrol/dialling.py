"""One question to a collector's enrolment; with gRPC, in the child."""

from __future__ import annotations

import os
import ssl

import grpc

from agent.deliver.client import channel_to
from agent.deliver.target import Target
from agent.errors import CollectorError
from vedette.v1 import enrol_pb2

ANSWER_S = 30.0
_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", 256 * 1024),  # a certificate and the authorities take 2 KiB
)
_JOIN = "/vedette.v1.Enrol/Join"
_RENEW = "/vedette.v1.Renewal/Renew"
_REFUSALS = frozenset(
    {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED}
)
_TEXT_MAX = 400


class Denied(CollectorError):
    """The collector said no."""


def join(address: str, authorities: bytes, request: enrol_pb2.JoinRequest) -> enrol_pb2.Membership:
    """Return what the collector grants to a stranger. Raises Denied, CollectorError, ConfigError."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    secret = grpc.ssl_channel_credentials(root_certificates=authorities)
    with grpc.secure_channel(Target.uri_of(address), secret, options=_OPTIONS) as channel:
        return _asked(channel, _JOIN, request)


def renew(target: Target, request: enrol_pb2.RenewRequest) -> enrol_pb2.Membership:
    """Return the next certificate of a member. Raises Denied, CollectorError, ConfigError."""
    with channel_to(target, _OPTIONS) as channel:
        return _asked(channel, _RENEW, request)


def pem(authorities: list[bytes]) -> bytes:
    """Return certificates in PEM."""
    return "".join(map(ssl.DER_cert_to_PEM_cert, authorities)).encode()


def _asked(
    channel: grpc.Channel, method: str, request: enrol_pb2.JoinRequest | enrol_pb2.RenewRequest
) -> enrol_pb2.Membership:
    call = channel.unary_unary(
        method,
        request_serializer=type(request).SerializeToString,
        response_deserializer=enrol_pb2.Membership.FromString,
    )
    try:
        answer: enrol_pb2.Membership = call(request, timeout=ANSWER_S)
    except grpc.RpcError as exc:
        code, details = exc.code(), ascii(exc.details() or "")[1:-1][:_TEXT_MAX]
        if code in _REFUSALS:
            raise Denied(f"{code.name}: {details}") from exc
        raise CollectorError(f"{code.name}: {details}") from exc
    return answer
