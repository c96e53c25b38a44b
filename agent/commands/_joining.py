"""`vedette pki token` and `vedette pki allow`: which hosts may come and ask for a certificate by themselves."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from agent.deliver.target import Target
from agent.errors import ConfigError
from agent.errors import PeerError
from agent.terminal import escape
from collector.authority import Authority
from collector.errors import CollectorFault
from collector.members import Members
from collector.tokens import Token
from collector.tokens import Tokens
from collector.tokens import new_token
from collector.tokens import spelled
from vedette.v1 import enrol_pb2

USES_MAX = 20_000  # a use takes 130 bytes of the token's file, which is read and written at each
_TIME = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def _time(_context: click.Context, _parameter: click.Parameter, value: str) -> dt.timedelta:
    """Return what `30m`, `24h` or `7d` says."""
    found = _TIME.fullmatch(value)
    if found is None:
        raise click.BadParameter("expected a number of minutes, hours or days: 30m, 24h, 7d")
    return dt.timedelta(**{_UNITS[found[2]]: int(found[1])})


directory_option = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/etc/vedette/pki"),
    show_default=True,
    help="Where the authority is kept; its keys are there.",
)


@click.group("token")
def token() -> None:
    """Make, list and revoke join tokens: a host that has one gets its certificate by itself.

    \b
    Example:
      vedette pki token create --uses 100 \\
        --collector c.example:4250 --enrolment c.example:4251
      vedette pki token list
      vedette pki token revoke 0123456789ab
    """


@token.command("create")
@directory_option
@click.option("--collector", "address", required=True, metavar="HOST:PORT", help="Where agents report.")
@click.option("--enrolment", required=True, metavar="HOST:PORT", help="`enrolment.listen`, as hosts reach it.")
@click.option("--uses", type=click.IntRange(1, USES_MAX), default=1, show_default=True, help="How many hosts may join.")
@click.option("--for", "time", callback=_time, default="24h", show_default=True, help="How long: 30m, 24h, 7d.")
@click.option(
    "--rejoin", is_flag=True, help="Hosts without a product UUID (Fargate) may join again: docs/enrolment.md."
)
@click.option("--note", default="", help="What it is for, shown in the list.")
def create(  # noqa: PLR0917  one for each option
    directory: Path,
    address: str,
    enrolment: str,
    uses: int,
    time: dt.timedelta,
    rejoin: bool,  # noqa: FBT001  click's way
    note: str,
) -> None:
    """Make a token and print it: on standard output, nothing else is there.

    Whoever has it can join until it is used up or has ended: hand it out as a secret.
    """
    for given in (address, enrolment):
        _check_address(given)
    now = dt.datetime.now(dt.UTC)
    with refusing():
        bundle = Authority(directory).bundle
        with Members(directory).locked():
            authorities = [_der(one) for one in x509.load_pem_x509_certificates(bundle.read_bytes())]
            made, secret = new_token(uses=uses, ends_at=now + time, now=now)
            Tokens(directory).create(msgspec.structs.replace(made, rejoin=rejoin, note=note[:200]))
    said = enrol_pb2.JoinToken(
        id=made.id, secret=secret, enrolment=enrolment, collector=address, authorities=authorities
    )
    until = f"{made.ends_at:%Y-%m-%d %H:%M} UTC"
    click.echo(f"token {made.id}, for {uses} host{'' if uses == 1 else 's'} until {until}:", err=True)
    click.echo(spelled(said))


@token.command("list")
@directory_option
def show(directory: Path) -> None:
    """Show every token, the newest first, and who joined with it."""
    now = dt.datetime.now(dt.UTC)
    with refusing(), Members(directory).locked():
        found = Tokens(directory).all()
    for one in found:
        click.echo(escape(_line(one, now)))
        for use in one.used:
            click.echo(escape(f"    {use.at:%Y-%m-%d %H:%M} UTC  {use.host}"))
    if not found:
        click.echo("no token was made yet")


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@directory_option
def revoke(token_id: str, directory: Path) -> None:
    """Let nobody else join with a token; who joined stays, `vedette pki revoke HOST` sends a host away."""
    with refusing(), Members(directory).locked():
        revoked = Tokens(directory).revoke(token_id)
    click.echo(f"revoked token {revoked.id}; {len(revoked.used)} hosts joined with it")


@click.command("allow")
@click.argument("which", metavar="HOST|INSTANCE")
@directory_option
def allow(which: str, directory: Path) -> None:
    """Let a host join once more: one that was revoked, lost its key, or moved to another machine."""
    with refusing(), Members(directory).locked():
        Members(directory).allow(which)
    click.echo(f"{escape(which)} may join once more")


def _line(one: Token, now: dt.datetime) -> str:
    trouble = one.trouble(now)
    state = trouble or f"good until {one.ends_at:%Y-%m-%d %H:%M} UTC"
    rejoin = ", rejoin" if one.rejoin else ""
    return f"{one.id}  {len(one.used)} of {one.uses} used{rejoin}  {state}  {one.note}".rstrip()


def _check_address(given: str) -> None:
    """Raise ConfigError unless agents could dial it."""
    if given.startswith("unix:"):
        raise ConfigError(f"{given!r}: a host that joins comes by network: HOST:PORT")
    Target.uri_of(given)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


@contextmanager
def refusing() -> Iterator[None]:
    """Say the authority's refusals as ours."""
    try:
        yield
    except CollectorFault as exc:
        raise PeerError(str(exc)) from exc
    except OSError as exc:
        raise PeerError(f"{exc.filename}: {exc.strerror}") from exc
