"""One frozen Config from one TOML file; what is not understood is an error with its line.

`docs/configuration.md` lists the keys, and a test holds the two together.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec

from collector.address import Address
from collector.address import parse
from collector.errors import ConfigError

_NAMED_KEY = re.compile(r"`([^`]+)`")

NO_ACCOUNT = "000000000000"
NO_REGION = "local"
"""What findings say where neither the configuration nor the instance does."""


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Certificates, all in PEM: ours, its key, and the authority that signed the agents'."""

    ca_file: Path
    cert_file: Path
    key_file: Path
    crl_file: Path | None = None
    """What was revoked; read again when it changes."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one collector runs."""

    listen: str
    """`unix:///path`, or `host:port`; port 0 takes a free one."""
    state_dir: Path
    socket_group: str | None = None
    """Who may use a unix socket beside its owner; None for nobody."""
    tls: Tls | None = None
    account_id: str = NO_ACCOUNT
    """What findings carry as accountId; twelve digits on AWS."""
    region: str = NO_REGION
    detector_id: str = "vedette"
    readers: tuple[str, ...] = ()
    """Names of certificates that may ask for what all hosts sent; over TLS any other sees its own host alone."""
    database_url: str | None = None
    """SQLAlchemy's; None for SQLite in the state directory."""
    flush_interval_s: float = 1.0
    """An event waits at most this long for its Parquet file."""
    flush_rows: int = 20_000
    """A Parquet file is written at the latest when it would hold so many events of one agent."""
    compact_interval_s: float = 60.0
    buffer_bytes: int = 256 * 1024 * 1024
    """Events of all agents that may wait in memory, as they were on the wire."""

    @property
    def address(self) -> Address:
        """Return where to listen. Raises ConfigError when it is no address."""
        return parse(self.listen)


def load(path: Path) -> Config:
    """Read the file at `path`. Raises ConfigError naming file, line and key."""
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read as TOML: {exc}") from exc
    try:
        config = msgspec.convert(raw, Config, dec_hook=_path)
        check(config)
    except (msgspec.ValidationError, ConfigError) as exc:
        line = _line_of(text, str(exc))
        raise ConfigError(f"{path}{f':{line}' if line else ''}: {exc}") from exc
    return config


def check(config: Config) -> None:
    """Raise ConfigError unless the collector may run so: numbers in range, no plain text in the open."""
    for name in ("flush_interval_s", "flush_rows", "compact_interval_s", "buffer_bytes"):
        if getattr(config, name) <= 0:
            raise ConfigError(f"`{name}` must be above 0")
    address = config.address
    if config.tls is None and not address.private:
        raise ConfigError(
            f"`listen` {config.listen} can be reached from other hosts and needs mutual TLS: set ca_file, cert_file "
            "and key_file under [tls], or listen on a unix socket or 127.0.0.1"
        )
    for name in config.tls.__struct_fields__ if config.tls else ():
        _check_readable(name, getattr(config.tls, name))


def _check_readable(name: str, path: Path | None) -> None:
    if path is None:
        return
    try:
        path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"`{name}` {path}: {exc.strerror}") from exc


def _path(wanted: type, value: object) -> Path:
    """Return a path where the table holds text, for msgspec."""
    if wanted is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError


def _line_of(text: str, message: str) -> int | None:
    """Return the line with the first key that `message` names in backquotes; tomllib does not keep lines."""
    keys = [line.split("=", 1)[0].strip(" \t[]\"'") for line in text.splitlines()]
    for named in _NAMED_KEY.findall(message):
        key = named.rpartition(".")[2]
        if key in keys:
            return keys.index(key) + 1
    return None
