"""`[intel]` and `[rules]` of the agent's settings: the operator's threat lists and rules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from typing import Literal

import msgspec
from msgspec import Meta

ListCategory = Literal[
    "cryptocurrency",
    "c2",
    "tor-guard",
    "tor-relay",
    "sinkhole",
    "drop-point",
    "dga",
    "drive-by",
    "phishing",
    "abused-reputation",
    "crypto-reputation",
    "malicious-reputation",
    "suspicious-reputation",
    "malware",
    "malware-custom",
    "trusted",
]
"""What being on a list means: the words that findings ask by, and `trusted`."""
ListFormat = Literal[
    "txt",
    "hosts",
    "otx_csv",
    "alien_vault",
    "proof_point",
    "fire_eye",
    "stix1",
    "stix2",
    "tor_consensus",
    "tor_exits",
]
"""What a list is written in: a module of agent/intel/formats each."""


class ListConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[intel.lists]]`: one list, or a directory of lists."""

    path: Path
    category: ListCategory
    format: ListFormat = "txt"
    name: str | None = None


class IntelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[intel]`: what findings by name, address and hash ask."""

    lists: Annotated[
        tuple[ListConfig, ...],
        Meta(
            description="Lists of your own, each under `[[intel.lists]]`, beside those that ship: [intel.md](intel.md)."
        ),
    ] = ()


class RulesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[rules]`: rules of the operator's own."""

    directory: Annotated[
        Path | None,
        Meta(
            description="Where files of rules of your own are, `*.toml`: [rules.md](rules.md). Without it: `rules.d` "
            "beside this file. A change is seen while the agent runs."
        ),
    ] = None
