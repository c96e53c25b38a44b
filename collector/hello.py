"""Who an agent says it is, and whether it may say so.

Over mutual TLS the certificate's name is the identity: the host id in the hello
must be one of the certificate's subject alternative names, or its common name.
Plain text is accepted where only this host can reach (`collector.address`), and
there the word of the agent is taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping

from collector.errors import IdentityError
from collector.errors import ProtocolError
from collector.errors import VersionError
from collector.names import HOST_ID_LIMIT
from collector.names import SPOOL_ID
from collector.names import AgentKey
from vedette.v1 import ingest_pb2

_CERTIFICATE_NAMES = ("x509_subject_alternative_name", "x509_common_name")  # gRPC's property names
PROTOCOL = 1  # of docs/protocol.md; a change that an older end cannot live with makes it 2
TEXT_LIMIT = 256  # characters of a version or a host's name, more than any has


def identify(message: ingest_pb2.AgentMessage, properties: Mapping[str, Iterable[bytes]]) -> AgentKey:
    """Return whose stream begins with `message`.

    `properties` are those of the connection's authentication, empty for plain text.
    Raises ProtocolError, VersionError, or IdentityError when the certificate has another name.
    """
    if message.WhichOneof("message") != "hello":
        raise ProtocolError("the first message of a stream must be a hello")
    hello = message.hello
    host_id = hello.host.id
    if not host_id or len(host_id.encode()) > HOST_ID_LIMIT or not host_id.isprintable():
        raise ProtocolError(f"hello.host.id must have 1 to {HOST_ID_LIMIT} printable bytes")
    if not SPOOL_ID.fullmatch(hello.spool_id):
        raise ProtocolError(f"hello.spool_id must match {SPOOL_ID.pattern}")
    if any(len(text) > TEXT_LIMIT for text in (hello.agent_version, hello.host.name, *hello.probes)):
        raise ProtocolError(f"hello has a text of more than {TEXT_LIMIT} characters")
    if hello.protocol > PROTOCOL:
        raise VersionError(
            f"the agent speaks version {hello.protocol} of the protocol, this collector {PROTOCOL}: "
            "update the collector"
        )
    certified = certified_names(properties)
    if certified is not None and host_id not in certified:
        raise IdentityError(f"the certificate is for {' and '.join(sorted(certified))}, the hello says {host_id}")
    return AgentKey(host_id, hello.spool_id)


def certified_names(properties: Mapping[str, Iterable[bytes]]) -> set[str] | None:
    """Return the names the client's certificate carries, None when there is no certificate."""
    if b"ssl" not in properties.get("transport_security_type", ()):
        return None
    return {name.decode(errors="replace") for kind in _CERTIFICATE_NAMES for name in properties.get(kind, ())}
