"""`[collector]` and `[spool]` of the agent's settings: where what was seen goes, and waits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

_MIB = 1024 * 1024


class CollectorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[collector]`: where findings and events go."""

    address: Annotated[
        str | None,
        Meta(
            description="`unix:///PATH`, `HOST:PORT` or `srv:NAME`. Plain text goes to unix sockets and loopback only; "
            "any other address needs the three files below, or `[enrolment]`. Without it: a join token's, or "
            "`collector.sock` in `state_dir`."
        ),
    ] = None
    ca_file: Annotated[Path | None, Meta(description="PEM: who signs the collector's certificate.")] = None
    cert_file: Annotated[Path | None, Meta(description="PEM: this agent's certificate, for its host id.")] = None
    key_file: Annotated[Path | None, Meta(description="PEM: the private key of `cert_file`.")] = None


class SpoolConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[spool]`: what is kept on disk while the collector is away."""

    limit_bytes: Annotated[
        int, Meta(ge=_MIB, description="Size above which the oldest events, then the oldest findings, are given up.")
    ] = 256 * _MIB
