"""`[management]` of the agent's settings: whether a collector has a say in what is watched."""

from __future__ import annotations

from typing import Annotated
from typing import Literal

import msgspec
from msgspec import Meta

_WORD = Annotated[str, Meta(max_length=200)]
_KEY = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_./-]{1,64}$")]


class ManagementConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[management]`: who decides."""

    mode: Annotated[
        Literal["manual", "managed"],
        Meta(
            description="`manual`: this file alone. `managed`: what the collector's policy says goes before it, while "
            "the agent runs and after a restart: [policy.md](policy.md)."
        ),
    ] = "manual"
    labels: Annotated[
        dict[_KEY, _WORD],
        Meta(
            max_length=32,
            description='Your words about this host, by which policies are selected: `{ env = "prod" }`.',
        ),
    ] = {}
