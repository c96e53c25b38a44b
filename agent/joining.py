"""`[enrolment]` of the agent's settings: how it comes by a certificate of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta


class EnrolmentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[enrolment]`: who signs this agent's certificate, and by what it may ask."""

    token_file: Annotated[
        Path | None,
        Meta(
            description="A join token of `vedette pki token create`; instead of `VEDETTE_JOIN_TOKEN` in the "
            "environment: [enrolment.md](enrolment.md). Not used with `collector.cert_file`, nor once there is a "
            "certificate."
        ),
    ] = None
    ec2: Annotated[
        bool, Meta(description="Join by EC2's signed instance identity document; needs `address` and `ca_file`.")
    ] = False
    address: Annotated[
        str | None, Meta(description="`HOST:PORT` of the collector's `enrolment.listen`; a token says it itself.")
    ] = None
