"""Join tokens: what lets a host without a certificate ask for one, a few times and for a while.

    tokens/ID.json   one token: until when, how often still, who used it, and the SHA-256 of its secret

The secret is 256 random bits and is not kept: whoever reads the directory
cannot join with what is there.  Whoever calls holds the lock of `members`.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import re
import secrets
from pathlib import Path

import msgspec

from collector.errors import ConfigError
from collector.errors import Denied
from collector.errors import StateError
from collector.replacing import folder
from collector.replacing import replace
from vedette.v1 import enrol_pb2

PREFIX = "vedette-join-"
"""What a token begins with, so that scanners of repositories and people know one."""
SECRET_BYTES = 32
_ID = re.compile(r"[0-9a-f]{12}")
_FILE_BYTES = 4 << 20  # a use takes 130 bytes: 30,000


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """A host that joined."""

    host: str
    key: str
    """SHA-256 of its public key."""
    at: dt.datetime


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a token."""

    id: str
    digest: str
    """SHA-256 of the secret, in hexadecimal."""
    made_at: dt.datetime
    ends_at: dt.datetime
    uses: int
    note: str = ""
    rejoin: bool = False
    """Whether a host may take its name again that has it already."""
    revoked: bool = False
    used: tuple[Use, ...] = ()

    def trouble(self, now: dt.datetime) -> str | None:
        """Return why nobody can join with it; None when somebody can."""
        if self.revoked:
            return "is revoked"
        if now >= self.ends_at:
            return f"ended {self.ends_at:%Y-%m-%d %H:%M} UTC"
        return f"was used {self.uses} times, which is all it is for" if len(self.used) >= self.uses else None


class Tokens:
    """The tokens in an authority's directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "tokens"

    def create(self, token: Token) -> None:
        """Keep a new token. Raises OSError."""
        folder(self._directory)
        self._keep(token)

    def all(self) -> list[Token]:
        """Return every token, the newest first. Raises StateError."""
        found = [_read(path) for path in self._directory.glob("*.json")]
        return sorted(found, key=lambda token: token.made_at, reverse=True)

    def revoke(self, token_id: str) -> Token:
        """Let nobody else join with a token. Raises ConfigError when there is none, StateError."""
        token = self._find(token_id)
        if token is None:
            raise ConfigError(f"{token_id!r} is no token here; `vedette pki token list` shows them")
        revoked = msgspec.structs.replace(token, revoked=True)
        self._keep(revoked)
        return revoked

    def proven(self, proof: enrol_pb2.TokenProof) -> Token:
        """Return the token whose secret this is, good or not any more. Raises Denied, StateError.

        A wrong secret and a token that is not there are told alike, and take the same time but for a file.
        """
        token = self._find(proof.id)
        digest = hashlib.sha256(proof.secret).hexdigest()
        known = hmac.compare_digest(digest, "-" * len(digest) if token is None else token.digest)
        if token is None or not known:
            raise Denied("the join token is not known here")
        return token

    def use(self, token: Token, use: Use) -> None:
        """Count a use. Raises OSError."""
        self._keep(msgspec.structs.replace(token, used=(*token.used, use)))

    def _find(self, token_id: str) -> Token | None:
        path = self._directory / f"{token_id}.json"
        return _read(path) if _ID.fullmatch(token_id) and path.exists() else None

    def _keep(self, token: Token) -> None:
        replace(self._directory / f"{token.id}.json", msgspec.json.encode(token), 0o600)


def new_token(*, uses: int, ends_at: dt.datetime, now: dt.datetime) -> tuple[Token, bytes]:
    """Return a token and its secret, which is nowhere else."""
    secret = secrets.token_bytes(SECRET_BYTES)
    digest = hashlib.sha256(secret).hexdigest()
    return Token(id=secrets.token_hex(6), digest=digest, made_at=now, ends_at=ends_at, uses=uses), secret


def spelled(token: enrol_pb2.JoinToken) -> str:
    """Return a token as hosts are given it."""
    return PREFIX + base64.urlsafe_b64encode(token.SerializeToString()).decode().rstrip("=")


def _read(path: Path) -> Token:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_FILE_BYTES), type=Token)
    except (OSError, msgspec.DecodeError) as exc:
        raise StateError(f"{path}: not a token as it is kept: {exc}") from exc
