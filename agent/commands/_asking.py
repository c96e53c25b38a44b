"""What `hosts`, `suppress`, `lists` and others have in common: where they ask, and how an answer is shown.

They ask what the HTTP API answers (docs/api.md): a running collector over gRPC, or a state directory on which one may
or may not run, without a token.
"""

from __future__ import annotations

import getpass
import json
import os
import time
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from typing import NamedTuple
from typing import TypeVar

import click

from agent.config import Config
from agent.deliver.target import Target
from agent.errors import PeerError
from agent.errors import StateError

_F = TypeVar("_F", bound=Callable[..., Any])
_GOOD = range(200, 300)


class Question(NamedTuple):
    """A route of the API, and what is asked of it."""

    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: object = None

    @property
    def encoded(self) -> bytes:
        """Return the body as it is sent."""
        return b"" if self.body is None else json.dumps(self.body).encode()


class Place(NamedTuple):
    """Where to ask."""

    state_dir: Path
    target: Target | None
    """A running collector; None for the state directory."""

    def ask(self, question: Question) -> dict[str, Any]:
        """Return the answer.  Raises CollectorError, PeerError with the collector's sentence, or StateError."""
        status, text = self._looked_up(question) if self.target is None else _asked(self.target, question)
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise PeerError("the collector's answer is no JSON object")
        if status not in _GOOD:
            raise PeerError(str(answer.get("error", status)))
        return answer

    def _looked_up(self, question: Question) -> tuple[int, bytes]:
        from collector.api import routes  # noqa: PLC0415  engines that asking over the network does not need
        from collector.api.desk import Desk  # noqa: PLC0415  as above
        from collector.errors import CollectorFault  # noqa: PLC0415  as above

        require_readable(self.state_dir)
        method, path, query, _ = question
        try:
            desk = Desk(self.state_dir, None, time.time_ns)
            asker = routes.Asker(f"{who()} (local)", routes.WRITE)
            answer = routes.answered(desk, asker, routes.Question(method, path, dict(query or {}), question.encoded))
            desk.close()
        except CollectorFault as exc:
            raise StateError(str(exc)) from exc
        return answer.status, answer.json


def _asked(target: Target, question: Question) -> tuple[int, bytes]:
    from agent.commands._query import Query  # noqa: PLC0415  20 MB of gRPC that a directory does not need
    from vedette.v1 import query_pb2  # noqa: PLC0415  as above

    method, path, query, _ = question
    asked = query_pb2.Question(method=method, path=path, query=query or {}, body=question.encoded, who=who())
    with Query(target) as connection:
        reply = connection.ask(asked)
    return reply.status, reply.json


def who() -> str:
    """Return the name of the user who typed this, also through sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def require_readable(state_dir: Path) -> None:
    """Raise StateError with what to do, unless we may look into the directory."""
    try:
        with os.scandir(state_dir):
            return
    except PermissionError as exc:
        raise StateError(f"{state_dir}: its owner alone may read it; run this with sudo") from exc
    except OSError as exc:
        raise StateError(f"{state_dir}: {exc.strerror}; --state-dir says where a collector keeps its state") from exc


def taken(given: dict[str, Any]) -> Place:
    """Take the options of PLACES out of what click gives, and return what they say.  Raises click.UsageError."""
    ca, cert, key = (given.pop(name) for name in ("ca_file", "cert_file", "key_file"))
    address, state_dir = given.pop("collector"), given.pop("state_dir")
    context = click.get_current_context()
    if address and state_dir:
        raise click.UsageError("--state-dir and --collector are two places to look: give one", context)
    if (ca or cert or key) and not address:
        raise click.UsageError("certificate files are for --collector ADDRESS", context)
    target = Target.parse(address, ca=ca, cert=cert, key=key) if address else None
    return Place(state_dir or Config().state_dir, target)


def options(command: _F) -> _F:
    """Add the options that say where to ask, and hand them over as one `place`."""

    def gathered(**given: Any) -> Any:
        place = taken(given)
        return command(place=place, **given)

    gathered.__doc__, gathered.__name__ = command.__doc__, command.__name__
    for option in reversed(PLACES):
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]  # click adds to it and calls it with what it gathered


_FILE = click.Path(path_type=Path, dir_okay=False)
PLACES = (
    click.option(
        "--state-dir",
        type=click.Path(path_type=Path, readable=False),
        help="Where a collector keeps them; /var/lib/vedette if not said.",
    ),
    click.option("--collector", metavar="ADDRESS", help="Ask a running one: unix:///PATH or HOST:PORT."),
    click.option("--ca-file", type=_FILE, help="With --collector: who signs its certificate."),
    click.option("--cert-file", type=_FILE, help="With --collector: our certificate."),
    click.option("--key-file", type=_FILE, help="With --collector: our key."),
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document per line.")
