"""A join token, as it comes in a file or the environment."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from google.protobuf.message import DecodeError

from agent.errors import ConfigError
from vedette.v1 import enrol_pb2

VARIABLE = "VEDETTE_JOIN_TOKEN"
PREFIX = "vedette-join-"
_LIMIT = 16_384  # characters; one authority takes 800


def read(path: Path) -> str:
    """Return what is in a file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            return file.read(_LIMIT + 1).decode("ascii", "replace").strip()
    except OSError as exc:
        raise ConfigError(f"enrolment.token_file {path} cannot be read: {exc.strerror}") from exc


def parse(text: str) -> enrol_pb2.JoinToken:
    """Return what a token says. Raises ConfigError, which never shows it."""
    if len(text) > _LIMIT or not text.startswith(PREFIX):
        raise ConfigError(f"not a join token: one begins with {PREFIX} and is a line of `vedette pki token create`")
    spelled = text.removeprefix(PREFIX)
    try:
        said = base64.b64decode(spelled + "=" * (-len(spelled) % 4), altchars=b"-_", validate=True)
        token = enrol_pb2.JoinToken.FromString(said)
    except (binascii.Error, DecodeError, ValueError) as exc:
        raise ConfigError("not a whole join token: it was cut or changed") from exc
    if not (token.id and token.secret and token.enrolment and token.collector and token.authorities):
        raise ConfigError("not a whole join token: something that it must say is not there")
    return token
