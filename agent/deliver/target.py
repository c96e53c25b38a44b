"""Where the collector is, and what the way there demands.

Plain text stays on this host: a unix socket, `localhost`, 127.0.0.0/8 and ::1,
by literal name; nothing is resolved to find out. Any other address needs mutual
TLS, with files of the operator's. They are read again for each connection, so
that a renewed certificate is used without a restart. `srv:NAME` is looked up for
each connection, too.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from agent.deliver.locating import Places
from agent.errors import ConfigError

_UNIX = "unix:"
_SRV = "srv:"
_UNIX_PATH_MAX_BYTES = 107  # sun_path of include/uapi/linux/un.h is 108 bytes with its final NUL
_PORT_MAX = 65535
_HOST_NAME = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})"
)  # 253 is the longest name DNS can carry (RFC 1035 2.3.4)
_V4_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
_V6_LOOPBACK = ipaddress.ip_address("::1")


class Files(NamedTuple):
    """The operator's certificate files, PEM."""

    ca: Path
    """Who may have signed the collector's certificate."""
    cert: Path
    """The agent's own, with the chain up to what the collector trusts."""
    key: Path


class Credentials(NamedTuple):
    """What those files held when they were read."""

    ca: bytes
    cert: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Target:
    """A collector's address and, unless it is on this host, the files that open it."""

    address: str
    """As configured, for people."""
    uri: str
    """As gRPC takes it: the scheme is ours, so that no other can be smuggled in."""
    files: Files | None
    """None: plain text."""
    missing: Callable[[], str | None] = lambda: None
    """Says why the files are not there yet, None once they are."""
    renews: bool = False
    """Whether the certificate is renewed by the agent itself, which says when it cannot."""
    places: Places | None = None
    """What DNS is asked for at each dial; None where the address says it."""

    @classmethod
    def parse(
        cls,
        address: str,
        *,
        ca: str | Path | None = None,
        cert: str | Path | None = None,
        key: str | Path | None = None,
    ) -> Target:
        """Return the target; raises ConfigError that says what is wrong with the address or which file is."""
        uri, on_this_host = _uri(address)
        given = {"ca": ca, "cert": cert, "key": key}
        missing = [name for name, path in given.items() if not path]
        if len(missing) == len(given) and on_this_host:
            return cls(address, uri, None)
        if missing:
            raise ConfigError(
                f"collector address {address}: mutual TLS needs a ca, a cert and a key file, and {_listed(missing)}"
                " missing; plain text is for unix:PATH, localhost, 127.0.0.0/8 and [::1] only"
            )
        files = Files(Path(str(ca)), Path(str(cert)), Path(str(key)))
        target = cls(address, uri, files, places=_places(address))
        target.credentials()
        return target

    @classmethod
    def enrolled(cls, address: str, folder: Path, missing: Callable[[], str | None]) -> Target:
        """Return the target whose files are, or will be, in `folder`; TLS wherever it is. Raises ConfigError."""
        files = Files(folder / "ca.pem", folder / "agent.pem", folder / "agent.key")
        return cls(address, _uri(address)[0], files, missing, renews=True, places=_places(address))

    @staticmethod
    def uri_of(address: str) -> str:
        """Return an address as gRPC takes it. Raises ConfigError."""
        return _uri(address)[0]

    def dialled(self) -> str:
        """Return whom to dial now, as gRPC takes it. Raises CollectorError when DNS does not say."""
        return self.uri if self.places is None else f"dns:///{self.places.next()}"

    def credentials(self) -> Credentials | None:
        """Read the files; None for plain text. Raises ConfigError naming a file that cannot be read or used."""
        if self.files is None:
            return None
        if reason := self.missing():
            raise ConfigError(reason)
        read = Credentials(*(_read(path) for path in self.files))
        _check(self.files)
        return read


def _uri(address: str) -> tuple[str, bool]:
    """Return the address as gRPC takes it, and whether it stays on this host."""
    if address.startswith(_UNIX):
        return _unix_uri(address), True
    if address.startswith(_SRV):
        return _service(address), False
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or not 0 < int(port) <= _PORT_MAX:
        raise ConfigError(f"collector address {address!r}: expected HOST:PORT, [IPV6]:PORT, srv:NAME or unix:PATH")
    if host == "localhost":
        return f"ipv4:127.0.0.1:{port}", True
    literal = _literal(host)
    if literal is not None:
        shown = f"[{literal}]" if literal.version == 6 else f"{literal}"  # noqa: PLR2004  # the number is the name
        return f"ipv{literal.version}:{shown}:{port}", literal in _V4_LOOPBACK or literal == _V6_LOOPBACK
    if not _HOST_NAME.fullmatch(host) or host.replace(".", "").isdecimal():
        raise ConfigError(f"collector address {address!r}: {host!r} is neither a host name nor an IP address")
    return f"dns:///{host}:{port}", False


def _service(address: str) -> str:
    name = address.removeprefix(_SRV)
    if not _HOST_NAME.fullmatch(name) or not name.startswith("_"):
        raise ConfigError(f"collector address {address!r}: expected srv:_vedette._tcp.DOMAIN")
    return address


def _places(address: str) -> Places | None:
    return Places(address.removeprefix(_SRV)) if address.startswith(_SRV) else None


def _unix_uri(address: str) -> str:
    path = address.removeprefix(_UNIX)
    path = path[2:] if path.startswith("///") else path
    if not path.startswith("/") or path.startswith("//") or "\0" in path:
        raise ConfigError(f"collector address {address!r}: the path of a unix socket is absolute")
    if len(path.encode("utf-8", "surrogateescape")) > _UNIX_PATH_MAX_BYTES:
        raise ConfigError(f"collector address {address!r}: a socket path has at most {_UNIX_PATH_MAX_BYTES} bytes")
    return f"{_UNIX}{path}"


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that `host` spells out; IPv6 needs its brackets."""
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        return ipaddress.IPv6Address(host[1:-1]) if bracketed else ipaddress.IPv4Address(host)
    except ValueError:
        return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc


def _check(files: Files) -> None:
    """See that OpenSSL takes the files: gRPC would only say that no connection could be made."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=files.ca)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f"{files.ca} holds no certificate in PEM") from exc
    try:
        context.load_cert_chain(files.cert, files.key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as exc:
        raise ConfigError(f"{files.cert} and {files.key} are not a certificate and its unencrypted key in PEM") from exc


def _no_password() -> str:
    """Answer instead of the terminal."""
    return ""


def _listed(names: list[str]) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"
