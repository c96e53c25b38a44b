"""A POST of JSON for each finding, signed with HMAC-SHA256.

    Vedette-Delivery: <finding id>:<count>:<hash>   the same when it is sent again: drop what was seen
    Vedette-Signature: t=<Unix seconds>,v1=<hex of HMAC-SHA256(secret, "<t>." + body)>

A 2xx is taken for delivered. 408, 425, 429 and 5xx are tried again; anything else is refused for good, a redirect
too: what is signed for one address is for no other.
"""

from __future__ import annotations

import hashlib
import hmac
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import msgspec

from collector.errors import ConfigError
from collector.exports._base import TIMEOUT_S
from collector.exports._base import Section
from collector.exports._base import Unsent
from collector.exports._base import line
from collector.exports._base import read_secret
from collector.formats import delivery

FORMAT = "guardduty"
_LATER = frozenset({408, 425, 429})  # RFC 9110, 8470, 6585
_SERVER_ERROR = 500


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to, and how it is signed."""

    url: str
    """`https://…`; `http://` to this host alone."""
    secret_file: str
    """Holds what both ends know."""


def check(settings: Settings) -> None:
    """Raise ConfigError unless that can be posted to."""
    try:
        parts = urlsplit(settings.url)
        safe = parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname or ""))
        valid = safe and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError("url` must be https://…, or http:// to 127.0.0.1, without a user in it")
    read_secret("secret_file", settings.secret_file)


class Destination:
    """A web server."""

    at_once = 1  # each is a request

    def __init__(self, section: Section) -> None:
        self._section = section
        self._opener = urllib.request.build_opener(_NoRedirect)

    def send(self, documents: Sequence[dict[str, Any]]) -> dict[int, str]:
        """Post each finding; return those that were refused. Raises Unsent."""
        refused = {}
        try:
            secret = read_secret("secret_file", self._section.settings.secret_file)  # again: it may be renewed
        except ConfigError as exc:
            raise Unsent(f"`{exc}") from exc
        for number, (document, rendered) in enumerate(zip(documents, self._section.rendered(documents), strict=True)):
            why = self._post(line(rendered), delivery(document), secret)
            if why is not None:
                refused[number] = why
        return refused

    def _post(self, body: bytes, named: str, secret: bytes) -> str | None:
        at_s = time.time_ns() // 1_000_000_000
        signed = hmac.new(secret, f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "vedette",
            "Vedette-Delivery": named,
            "Vedette-Signature": f"t={at_s},v1={signed}",
        }
        request = urllib.request.Request(self._section.settings.url, body, headers)  # noqa: S310  `check` saw the scheme
        try:
            with self._opener.open(request, timeout=TIMEOUT_S):
                return None
        except urllib.error.HTTPError as exc:
            exc.close()
            if exc.code in _LATER or exc.code >= _SERVER_ERROR:
                raise Unsent(f"{self._section.settings.url}: {exc.code}") from exc
            return f"HTTP status {exc.code}"
        except HTTPException as exc:  # an answer that is not HTTP, of which it says some
            raise Unsent(f"{self._section.settings.url}: {exc!r}") from exc
        except (OSError, ValueError) as exc:
            raise Unsent(f"{self._section.settings.url}: {exc}") from exc


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
