from __future__ import annotations

import pytest

from collector.errors import IdentityError
from collector.errors import ProtocolError
from collector.hello import identify
from collector.names import AgentKey
from vedette.v1 import ingest_pb2

PLAIN: dict[str, tuple[bytes, ...]] = {"security_level": (b"TSI_SECURITY_NONE",)}


def hello(host_id: str = "i-1", spool_id: str = "spool", **fields: object) -> ingest_pb2.AgentMessage:
    made = ingest_pb2.Hello(host=ingest_pb2.Host(id=host_id), spool_id=spool_id, **fields)  # type: ignore[arg-type]  # many types
    return ingest_pb2.AgentMessage(hello=made)


def tls(common_name: bytes, *alternatives: bytes) -> dict[str, tuple[bytes, ...]]:
    return {
        "transport_security_type": (b"ssl",),
        "x509_common_name": (common_name,),
        "x509_subject_alternative_name": alternatives,
    }


@pytest.mark.parametrize(
    ("complaint", "message"),
    [
        ("must be a hello", ingest_pb2.AgentMessage()),
        ("must be a hello", ingest_pb2.AgentMessage(health=ingest_pb2.Health())),
        ("hello.host.id", hello("")),
        ("hello.host.id", hello("x" * 256)),
        ("hello.host.id", hello("i-1\n")),
        ("hello.spool_id", hello(spool_id="")),
        ("hello.spool_id", hello(spool_id="../x")),
        ("hello.spool_id", hello(spool_id="a.b")),
        ("hello.spool_id", hello(spool_id="x" * 65)),
        ("more than 256", hello(agent_version="x" * 257)),
        ("more than 256", hello(probes=["x" * 257])),
    ],
)
def test_a_stream_that_does_not_begin_as_it_must(complaint: str, message: ingest_pb2.AgentMessage) -> None:
    """The agent is told which field is wrong."""
    with pytest.raises(ProtocolError, match=complaint):
        identify(message, PLAIN)


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param(tls(b"i-2"), id="another name"),
        pytest.param(tls(b"i-1x"), id="a longer name"),
        pytest.param(tls(b"i-2", b"i-3"), id="other alternatives"),
        pytest.param({"transport_security_type": (b"ssl",)}, id="no name at all"),
    ],
)
def test_a_certificate_speaks_for_its_own_host(properties: dict[str, tuple[bytes, ...]]) -> None:
    """An agent cannot send in another host's name."""
    with pytest.raises(IdentityError, match="the hello says i-1"):
        identify(hello("i-1"), properties)


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param(PLAIN, id="plain text"),
        pytest.param(tls(b"i-1"), id="common name"),
        pytest.param(tls(b"x", b"i-0", b"i-1"), id="alternative name"),
    ],
)
def test_who_is_let_in(properties: dict[str, tuple[bytes, ...]]) -> None:
    """Host and spool name the sequences that follow."""
    assert identify(hello(), properties) == AgentKey("i-1", "spool")
