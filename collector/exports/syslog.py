"""Syslog, RFC 5424, over UDP (RFC 5426), TCP with counted octets (RFC 6587, 3.4.1) or TLS (RFC 5425).

The message is one line of JSON.  Nobody acknowledges syslog: what a receiver that goes away had not read is lost with
it, and UDP loses as it pleases.  Where that matters, use another destination.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from contextlib import closing
from contextlib import suppress
from typing import Any
from typing import Literal

import msgspec

from collector.errors import ConfigError
from collector.exports._base import TIMEOUT_S
from collector.exports._base import TOGETHER
from collector.exports._base import Section
from collector.exports._base import Unsent
from collector.exports._base import line

FORMAT = "guardduty"
_FACILITIES = {"auth": 4, "authpriv": 10, "audit": 13} | {f"local{number}": 16 + number for number in range(8)}
_CRITICAL, _WARNING, _NOTICE = 2, 4, 5
_HIGH, _MEDIUM = 7.0, 4.0  # GuardDuty's bands
_DATAGRAM_BYTES = 65_507  # of UDP over IPv4, the most there is
_HOST_CHARACTERS = 255
_END_S = 1.0  # for a receiver to close as well
_PORT_MAX = 65_535


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to."""

    host: str
    port: int
    """514 is UDP's, 6514 that of TLS."""
    protocol: Literal["udp", "tcp", "tls"]
    facility: str = "local0"
    ca_file: str | None = None
    """PEM: who signed the receiver's certificate; None for those that this host trusts."""


def check(settings: Settings) -> None:
    """Raise ConfigError for what cannot be."""
    if settings.facility not in _FACILITIES:
        raise ConfigError(f"facility` must be one of {', '.join(_FACILITIES)}")
    if not 0 < settings.port <= _PORT_MAX:
        raise ConfigError(f"port` must be 1 to {_PORT_MAX}")
    if settings.protocol == "tls":
        _context(settings)


class Destination:
    """A receiver of syslog."""

    at_once = TOGETHER

    def __init__(self, section: Section) -> None:
        self._section = section
        self._settings: Settings = section.settings

    def send(self, documents: Sequence[dict[str, Any]]) -> dict[int, str]:
        """Send each finding as a message; return those that do not fit. Raises Unsent."""
        rendered = self._section.rendered(documents)
        messages = [self._message(*pair) for pair in zip(documents, rendered, strict=True)]
        try:
            if self._settings.protocol == "udp":
                return self._datagrams(messages)
            with closing(self._connection()) as stream:
                stream.sendall(b"".join(b"%d %s" % (len(message), message) for message in messages))
                stream.settimeout(_END_S)
                stream.shutdown(socket.SHUT_WR)
                with suppress(TimeoutError):  # it was taken; the receiver keeps the connection
                    stream.recv(1)  # its end says that all of it was read, where the receiver closes as we do
        except OSError as exc:
            raise Unsent(f"{self._settings.host}:{self._settings.port}: {exc}") from exc
        return {}

    def _datagrams(self, messages: list[bytes]) -> dict[int, str]:
        refused = {}
        with closing(socket.socket(self._family(), socket.SOCK_DGRAM)) as out:
            out.connect((self._settings.host, self._settings.port))
            for number, message in enumerate(messages):
                if len(message) > _DATAGRAM_BYTES:
                    refused[number] = f"{len(message)} bytes do not fit into a datagram"
                else:
                    out.send(message)
        return refused

    def _family(self) -> int:
        found = socket.getaddrinfo(self._settings.host, self._settings.port, type=socket.SOCK_DGRAM)
        return found[0][0]

    def _connection(self) -> socket.socket:
        plain = socket.create_connection((self._settings.host, self._settings.port), TIMEOUT_S)
        plain.settimeout(TIMEOUT_S)
        if self._settings.protocol == "tcp":
            return plain
        try:
            return _context(self._settings).wrap_socket(plain, server_hostname=self._settings.host)
        except (OSError, ConfigError) as exc:
            plain.close()
            raise OSError(str(exc)) from exc

    def _message(self, document: dict[str, Any], rendered: dict[str, Any]) -> bytes:
        severity = document["severity"]
        level = _CRITICAL if severity >= _HIGH else _WARNING if severity >= _MEDIUM else _NOTICE
        priority = _FACILITIES[self._settings.facility] * 8 + level
        host = _name(msgspec.json.decode(document["service"]["additionalInfo"]["value"]).get("hostName"))
        # HEADER: version, time, host, APP-NAME, PROCID, MSGID; then no STRUCTURED-DATA. All of it is ASCII.
        head = f"<{priority}>1 {document['updatedAt']} {host} vedette - finding - "
        return head.encode("ascii") + line(rendered)


def _name(host: object) -> str:
    """Return a HOSTNAME: printable ASCII without spaces, or the NILVALUE."""
    text = "".join(character for character in str(host or "") if "!" <= character <= "~")
    return text[:_HOST_CHARACTERS] or "-"


def _context(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f"ca_file` {settings.ca_file}: {exc}") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
