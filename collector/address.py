"""Where a collector listens: parsing, whether plain text is allowed there, and whether it is free.

gRPC itself takes over a unix socket that another process listens on, and says
little about why a port cannot be had; so both are looked at first.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from collector.errors import AddressError
from collector.errors import ConfigError

SOCKET_PATH_LIMIT = 107  # bytes; sizeof(sun_path) - 1, include/uapi/linux/un.h
PORT_LIMIT = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed `listen`; either `path`, or `host` with `port`."""

    path: Path | None = None
    host: str = ""
    port: int = 0

    @property
    def private(self) -> bool:
        """Whether only this host can reach it, so that plain text is fit."""
        if self.path is not None:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        """Return it as gRPC takes it, and as `listen` does."""
        if self.path is not None:
            return f"unix://{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(listen: str) -> Address:
    """Return the address that `listen` states. Raises ConfigError."""
    if listen.startswith("unix:"):
        return Address(path=_socket_path(listen))
    host, colon, port = listen.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > PORT_LIMIT or not host:
        raise ConfigError(f"`listen` {listen!r} is neither unix:///path nor host:port")
    host = host.removeprefix("[").removesuffix("]")
    # /etc/hosts may say otherwise; then the literal is what was meant.
    return Address(host="127.0.0.1" if host == "localhost" else host, port=int(port))


def _socket_path(listen: str) -> Path:
    path = Path(listen.removeprefix("unix:").replace("///", "/", 1))
    if not path.is_absolute():
        raise ConfigError(f"`listen` {listen!r} must name an absolute path: unix:///path")
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
        raise ConfigError(f"`listen` {listen!r}: the kernel takes {SOCKET_PATH_LIMIT} bytes of socket path at most")
    return path


def require_free(address: Address) -> None:
    """Raise AddressError with the reason if it cannot be listened on; remove a socket nobody answers."""
    if address.path is not None:
        _require_free_socket(address.path)
        return
    try:
        family, _, _, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(where)
            trial.listen(1)
    except OSError as exc:
        raise AddressError(f"cannot listen on {address}: {exc.strerror}") from exc


def _require_free_socket(path: Path) -> None:
    if not path.parent.is_dir():
        raise AddressError(f"cannot listen on unix://{path}: {path.parent} is not a directory")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise AddressError(f"cannot listen on unix://{path}: something that is not a socket is there")
    with socket.socket(socket.AF_UNIX) as trial:
        trial.settimeout(1)
        try:
            trial.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)  # left by a collector that was killed
            return
        except OSError as exc:
            raise AddressError(f"cannot listen on unix://{path}: {exc}") from exc
    raise AddressError(f"cannot listen on unix://{path}: another process listens there")
