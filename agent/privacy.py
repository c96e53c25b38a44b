"""`[privacy]` of the agent's settings: what does not leave the host."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

_PATTERNS = 32  # each is looked for in every argument of every start
_PATTERN_CHARACTERS = 512


class PrivacyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[privacy]`: secrets in arguments."""

    redact: Annotated[
        bool,
        Meta(
            description="Whether secrets in arguments and in sentences of findings leave as `***`: "
            "[redaction.md](redaction.md). What is judged is judged as it was."
        ),
    ] = True
    patterns: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=_PATTERN_CHARACTERS)], ...],
        Meta(
            max_length=_PATTERNS,
            description="Secrets of your own, as expressions of RE2: the first group is replaced, or all where there "
            "is none.",
        ),
    ] = ()
