"""HTTP to those who can tell where we are: one request at a time, with a deadline and a limit.

The deadline holds for the whole of a request, to the last byte of its answer, so
that a server that sends a byte a second holds nobody up.  Redirects are not
followed and no proxy is used: a token must not be carried elsewhere.

Blind to: a resolver that hangs. Endpoints are addresses by default; a host name
in the configuration is looked up as resolv.conf(5) says, which may take longer.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING
from typing import NamedTuple
from typing import cast
from urllib.parse import urlsplit

from agent.errors import PeerError

if TYPE_CHECKING:
    import ssl
    from http.client import HTTPResponse

HEADER_BYTES = 65_536  # of all headers and the chunked encoding; real servers send less than one KiB
LINE_BYTES = 3 << 20  # of one line of a watch: the API server takes objects of up to 3 MiB (MaxRequestBodyBytes)
OK = 200
NOT_FOUND = 404
_TLS_PORT = 443
_PLAIN_PORT = 80


class Unanswered(PeerError):
    """Nobody told; `kind` says how that went, the text says it to people."""

    def __init__(self, kind: str, text: str, status: int | None = None) -> None:
        """`kind`: `unreachable`, `untrusted`, `silent`, `refused` (`status`), `oversized`, `broken` or `malformed`."""
        super().__init__(text)
        self.kind = kind
        self.status = status


class Endpoint(NamedTuple):
    """Where a server is."""

    host: str
    port: int
    path: str
    """What its paths begin with; `""` for nothing."""
    tls: bool

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Return what `http://HOST[:PORT][/PATH]` or the same with https says.  Raises Unanswered for anything else."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as exc:
            raise Unanswered("malformed", f"{url[:100]!r} is not an address") from exc
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            raise Unanswered("malformed", f"{url[:100]!r} is not http://HOST:PORT or https://HOST:PORT")
        tls = parts.scheme == "https"
        return cls(parts.hostname, port or (_TLS_PORT if tls else _PLAIN_PORT), parts.path.rstrip("/"), tls)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Request(NamedTuple):
    """What is asked for."""

    path: str
    headers: Mapping[str, str] = {}
    method: str = "GET"
    limit_bytes: int = 65_536


class Budget:
    """What is left of the time and the bytes of one request."""

    def __init__(self, within_s: float, limit_bytes: int) -> None:
        self.deadline_s = time.monotonic() + within_s
        self.left_bytes = limit_bytes

    def left_s(self) -> float:
        """Return the seconds left.  Raises TimeoutError when none are."""
        left_s = self.deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s


class _Stream(io.RawIOBase):
    """What comes from a socket, within its budget."""

    def __init__(self, sock: socket.socket, budget: Budget) -> None:
        self._sock = sock
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader gives
        self._sock.settimeout(self._budget.left_s())
        count = self._sock.recv_into(buffer)
        self._budget.left_bytes -= count
        if self._budget.left_bytes < 0:
            raise _TooMuch
        return count


class _TooMuch(Exception):
    """The server sends more than was asked for."""


class _Timed:
    """A socket as http.client uses one: to send all, and to make a file of what comes."""

    def __init__(self, sock: socket.socket, budget: Budget) -> None:
        self._sock = sock
        self._budget = budget

    def sendall(self, data: bytes) -> None:
        """Send within the budget."""
        self._sock.settimeout(self._budget.left_s())
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what comes."""
        return io.BufferedReader(_Stream(self._sock, self._budget))

    def close(self) -> None:
        """Leave it to whoever opened the socket: http.client would close it before the answer is read."""


class Client:
    """Asks one server; used by one thread, save `close`."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        context: Callable[[], ssl.SSLContext] | None = None,
        server_name: str | None = None,
    ) -> None:
        """`context` makes what TLS takes; it is made anew for each connection, for certificates change.

        `server_name`: whom the certificate must name, where that is not the host of the endpoint.
        """
        self.endpoint = endpoint
        self._context = context
        self._server_name = server_name or endpoint.host
        self._sock: socket.socket | None = None
        self._closed = False

    def ask(self, request: Request, within_s: float) -> bytes:
        """Return the body of a 200.  Raises Unanswered."""
        budget = Budget(within_s, request.limit_bytes + HEADER_BYTES)
        return self._talk(request, budget, lambda response: _body(response, request.limit_bytes))

    def follow(self, request: Request, within_s: float, take: Callable[[bytes], bool]) -> None:
        """Give each line of an answer that does not end to `take`, until that says False.  Raises Unanswered.

        `request.limit_bytes` is of all lines together: with it, and `within_s`, the answer is over.
        """
        budget = Budget(within_s, request.limit_bytes + HEADER_BYTES)

        def lines(response: HTTPResponse) -> bytes:
            while line := response.readline(LINE_BYTES):
                if not line.endswith(b"\n"):
                    raise Unanswered("broken", f"{self.endpoint} breaks off in a line, or sends one without end")
                if not take(line):
                    break
            return b""

        self._talk(request, budget, lines)

    def close(self) -> None:
        """End what is under way, from any thread."""
        self._closed = True
        sock = self._sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def _talk(self, request: Request, budget: Budget, read: Callable[[HTTPResponse], bytes]) -> bytes:
        from http.client import HTTPException  # noqa: PLC0415  # half a MiB, which a host without servers does without

        name = str(self.endpoint)
        try:
            return self._exchange(request, budget, read)
        except TimeoutError as exc:
            kind, said = ("silent", "did not answer in time") if self._sock else ("unreachable", "cannot be reached")
            raise Unanswered(kind, f"{name} {said}") from exc
        except _TooMuch as exc:
            raise Unanswered("oversized", f"{name} answers more than {request.limit_bytes:,} bytes") from exc
        except HTTPException as exc:
            raise Unanswered("broken", f"{name} does not speak HTTP as it must: {type(exc).__name__}") from exc
        except (OSError, ValueError) as exc:
            distrust = getattr(exc, "verify_message", None)  # of ssl.SSLCertVerificationError
            if distrust:
                raise Unanswered("untrusted", f"the certificate of {name} is not trusted: {distrust}") from exc
            kind = "broken" if self._sock else "unreachable"
            raise Unanswered(kind, f"{name}: {_why(exc)}") from exc
        finally:
            if self._sock is not None:
                self._sock.close()
                self._sock = None

    def _exchange(self, request: Request, budget: Budget, read: Callable[[HTTPResponse], bytes]) -> bytes:
        from http.client import HTTPConnection  # noqa: PLC0415  # as above

        if self._closed:
            raise ConnectionAbortedError
        sock = socket.create_connection((self.endpoint.host, self.endpoint.port), budget.left_s())
        self._sock = self._wrapped(sock, budget)
        connection = HTTPConnection(self.endpoint.host, self.endpoint.port)
        connection.sock = cast("socket.socket", _Timed(self._sock, budget))
        connection.request(request.method, self.endpoint.path + request.path, headers=dict(request.headers))
        response = connection.getresponse()
        if response.status != OK:
            raise Unanswered("refused", f"{self.endpoint} answers {response.status}", response.status)
        return read(response)

    def _wrapped(self, sock: socket.socket, budget: Budget) -> socket.socket:
        if self._context is None:
            return sock
        with ExitStack() as undo:
            undo.callback(sock.close)
            sock.settimeout(budget.left_s())
            wrapped = self._context().wrap_socket(sock, server_hostname=self._server_name)
            undo.pop_all()
        return wrapped


def _why(exc: Exception) -> str:
    """Return an error's own words: of OpenSSL's without the file and line of its source."""
    alert = getattr(exc, "reason", None)
    if isinstance(alert, str):
        return alert.lower().replace("_", " ")
    said = getattr(exc, "strerror", None)
    return said.partition(" (_ssl.c")[0] if said else type(exc).__name__


def _body(response: HTTPResponse, limit_bytes: int) -> bytes:
    body = response.read(limit_bytes + 1)
    if len(body) > limit_bytes:
        raise _TooMuch
    if response.length:  # what Content-Length promised and did not come
        raise Unanswered("broken", "the answer breaks off")
    return body
