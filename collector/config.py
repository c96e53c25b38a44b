"""One frozen Config from one TOML file; what is not understood is an error with its line.

`docs/configuration.md` lists the keys, and a test holds the two together.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from collector import exports
from collector.address import Address
from collector.address import parse
from collector.errors import ConfigError
from collector.exports import Section

_EXPORT_KEY = re.compile(r"export\[(\d+)\]\.(.+)")
_ABOVE_0 = (
    "flush_interval_s",
    "flush_rows",
    "compact_interval_s",
    "keep_days",
    "keep_bytes",
    "ship_after_s",
    "buffer_bytes",
)
_NAMED_KEY = re.compile(r"`([^`]+)`")

_CERTIFICATE_DAYS_MAX = 397  # what browsers take of a certificate: longer, and it is not renewed by itself any more

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


class Enrolment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where hosts without a certificate ask for one, and by which authority they get it."""

    listen: str
    """`host:port`; TLS with the certificate of `[tls]`, and none asked of the client."""
    authority_dir: Path
    """Of `vedette pki`; it holds the authority's key."""
    collector_address: str = ""
    """What hosts are told to dial; empty: what their token or configuration says."""
    certificate_days: int = 30
    ec2_certificates: Path | None = None
    """A directory with AWS's certificates, `REGION.pem`; None: no instance identity documents are taken."""
    ec2_accounts: tuple[str, ...] = ()
    ec2_regions: tuple[str, ...] = ()
    """Empty for all of which there is a certificate."""
    ec2_max_age_s: int = 3600
    """How long ago an instance may have been started."""

    @property
    def address(self) -> Address:
        """Return where to listen. Raises ConfigError when it is no address."""
        return parse(self.listen)


class Api(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the HTTP API is served, with the certificate of `[tls]`."""

    address: str
    """`host:port`; port 0 takes a free one."""
    requests_per_s: float = 20.0
    """Of one token, five seconds' worth at once."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one collector runs."""

    listen: str
    """`unix:///path`, or `host:port`; port 0 takes a free one."""
    state_dir: Path
    socket_group: str | None = None
    """Who may use a unix socket beside its owner; None for nobody."""
    tls: Tls | None = None
    enrolment: Enrolment | None = None
    api: Api | None = None
    """None for none."""
    account_id: str = NO_ACCOUNT
    """What findings carry as accountId; twelve digits on AWS."""
    region: str = NO_REGION
    detector_id: str = "vedette"
    readers: tuple[str, ...] = ()
    """Names of certificates that may ask for what all hosts sent; over TLS any other sees its own host alone."""
    writers: tuple[str, ...] = ()
    """Names of certificates that may also change things: archive findings, suppress, lists, policies."""
    database_url: str | None = None
    """SQLAlchemy's; None for SQLite in the state directory."""
    flush_interval_s: float = 1.0
    """An event waits at most this long for its Parquet file."""
    flush_rows: int = 20_000
    """A Parquet file is written at the latest when it would hold so many events of one agent."""
    compact_interval_s: float = 60.0
    keep_days: int = 90
    """Events of so many days, today's among them; GuardDuty keeps findings as long."""
    keep_bytes: int | None = None
    """Of event files: the oldest go when there are more. None for as much as the disk holds."""
    events_url: str | None = None
    """`s3://BUCKET/PREFIX`: where event files go; None for nowhere."""
    ship_after_s: float = 900.0
    """So long a file stays here unchanged, to be merged with others, before it goes there."""
    buffer_bytes: int = 256 * 1024 * 1024
    """Events of all agents that may wait in memory, as they were on the wire."""

    export: tuple[dict[str, Any], ...] = ()
    """Where findings go: `collector.exports`."""

    @property
    def address(self) -> Address:
        """Return where to listen. Raises ConfigError when it is no address."""
        return parse(self.listen)

    @property
    def exports(self) -> tuple[Section, ...]:
        """Return what `export` says. Raises ConfigError."""
        return exports.sections(self.export)


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
    for name in _ABOVE_0:
        if (getattr(config, name) or 0) <= 0 and getattr(config, name) is not None:
            raise ConfigError(f"`{name}` must be above 0")
    if config.events_url is not None and not config.events_url.startswith("s3://"):
        raise ConfigError(f"`events_url` {config.events_url} must be s3://BUCKET/PREFIX")
    address = config.address
    if config.tls is None and not address.private:
        raise ConfigError(
            f"`listen` {config.listen} can be reached from other hosts and needs mutual TLS: set ca_file, cert_file "
            "and key_file under [tls], or listen on a unix socket or 127.0.0.1"
        )
    if config.api is not None:
        _check_api(config.api, config.tls)
    _ = config.exports
    for name in config.tls.__struct_fields__ if config.tls else ():
        _check_readable(name, getattr(config.tls, name))
    if config.enrolment is not None:
        _check_enrolment(config.enrolment, config.tls)


def _check_enrolment(enrolment: Enrolment, tls: Tls | None) -> None:
    if tls is None or tls.crl_file is None:
        raise ConfigError("`enrolment` needs [tls] with `crl_file`, so that a host that joined can be sent away")
    if enrolment.address.path is not None:
        raise ConfigError(f"`enrolment.listen` {enrolment.listen} must be HOST:PORT: hosts reach it by network")
    if not 0 < enrolment.certificate_days <= _CERTIFICATE_DAYS_MAX:
        raise ConfigError(f"`enrolment.certificate_days` must be from 1 to {_CERTIFICATE_DAYS_MAX}")
    if not (enrolment.authority_dir / "ca.pem").is_file():
        raise ConfigError(f"`enrolment.authority_dir` {enrolment.authority_dir}: `vedette pki init` makes one")
    if enrolment.ec2_certificates is not None and not enrolment.ec2_accounts:
        raise ConfigError("`enrolment.ec2_accounts` must name the accounts whose instances may join")


def _check_api(api: Api, tls: Tls | None) -> None:
    address = parse(api.address)
    if address.path is not None:
        raise ConfigError(f"`api.address` {api.address} must be host:port; on a unix socket, `listen` answers commands")
    if tls is None and not address.private:
        raise ConfigError(f"`api.address` {api.address} can be reached from other hosts and needs [tls], or 127.0.0.1")
    if api.requests_per_s <= 0:
        raise ConfigError("`api.requests_per_s` must be above 0")


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
        section = _EXPORT_KEY.fullmatch(named)
        if section:
            return _line_in_section(keys, int(section[1]), section[2])
        key = named.rpartition(".")[2]
        if key in keys:
            return keys.index(key) + 1
    return None


def _line_in_section(keys: list[str], number: int, key: str) -> int | None:
    """Return the line of `key` in the export section of that number, else the section's own."""
    starts = [line for line, name in enumerate(keys) if name == "export"]
    if number >= len(starts):
        return None
    end = starts[number + 1] if number + 1 < len(starts) else len(keys)
    own = keys[starts[number] : end]
    return starts[number] + 1 + (own.index(key) if key in own else 0)
