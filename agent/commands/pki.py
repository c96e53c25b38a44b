"""`vedette pki`: a private authority, and certificates for agents, collectors and readers."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from agent.commands import _joining
from agent.commands._joining import directory_option
from agent.commands._joining import refusing
from agent.errors import StateError
from agent.terminal import escape
from collector import authority as authorities
from collector.authority import Authority
from collector.certificates import Issued
from collector.certificates import Role
from collector.certificates import Wish
from collector.members import Members
from collector.members import by_hand

_SOON = dt.timedelta(days=14)  # when a certificate that nobody renews is worth a word

_Command = TypeVar("_Command", bound=Callable[..., object])

_out = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where NAME.pem, NAME.key and ca.pem are written; here, when not given.",
)


def _days(default: int) -> Callable[[_Command], _Command]:
    days = click.IntRange(1, 36_500)  # a hundred years: past that a date has no meaning to anybody
    return click.option("--days", type=days, default=default, show_default=True, help="How long it holds.")


@click.group("pki", commands=[_joining.token, _joining.allow])
def command() -> None:
    """Make certificates for mutual TLS: an authority of your own, for agents and collectors.

    Best on a host that is not watched.

    \b
    Example:
      vedette pki init
      vedette pki collector collector.example --out collector
      vedette pki agent $(cat /etc/machine-id) --out agent
      vedette pki token create --help
      vedette pki list
    """


@command.command("init")
@directory_option
@click.option("--name", default="Vedette", show_default=True, help="What the authority is called.")
@_days(authorities.AUTHORITY_DAYS)
def init(directory: Path, name: str, days: int) -> None:
    """Make the authority."""
    with refusing():
        made = Authority(directory)
        made.init(name, days)
    click.echo(f"made an authority in {directory}; agents and collectors get {made.bundle}, nobody gets its keys")


@command.command("agent")
@click.argument("name")
@directory_option
@_out
@_days(authorities.AGENT_DAYS)
def agent(name: str, directory: Path, out: Path, days: int) -> None:
    """Make a certificate for the agent whose host id is NAME."""
    _issue(Wish(Role.AGENT, (name,), days), directory, out)


@command.command("reader")
@click.argument("name")
@directory_option
@_out
@_days(authorities.AGENT_DAYS)
def reader(name: str, directory: Path, out: Path, days: int) -> None:
    """Make a certificate for who asks a collector; `readers` in its configuration says who sees all hosts."""
    _issue(Wish(Role.READER, (name,), days), directory, out)


@command.command("collector")
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@directory_option
@_out
@_days(authorities.COLLECTOR_DAYS)
def collector(addresses: tuple[str, ...], directory: Path, out: Path, days: int) -> None:
    """Make a certificate for a collector that agents reach by each ADDRESS, a host name or an IP address."""
    _issue(Wish(Role.COLLECTOR, addresses, days), directory, out)


@command.command("revoke")
@click.argument("which", metavar="NAME|SERIAL")
@directory_option
def revoke(which: str, directory: Path) -> None:
    """Take back every certificate of a name, or the one with a serial.

    A collector whose `tls.crl_file` is the authority's crl.pem ends its streams within seconds. A host that was
    revoked does not join again by itself, until `vedette pki allow` says so.
    """
    # One lock for both: else the host joins in between, with a certificate that nobody revokes.
    with refusing(), Members(directory).locked():
        revoked = Authority(directory).revoke(which)
        for name in {entry.name for entry in revoked if entry.role == Role.AGENT.value}:
            Members(directory).bar(name, dt.datetime.now(dt.UTC))
    for entry in revoked:
        click.echo(f"revoked {escape(entry.name)} ({entry.role}, serial {entry.serial})")
    click.echo(f"collectors read {Authority(directory).crl}: copy it to each that does not share this directory")


@command.command("rotate")
@directory_option
@_days(authorities.AUTHORITY_DAYS)
@click.option("--finish", is_flag=True, help="Trust the newest authority alone, once all certificates are new.")
def rotate(directory: Path, days: int, *, finish: bool) -> None:
    """Make the next authority; the old one stays trusted until `rotate --finish`.

    \b
    In this order, so that no agent is cut off:
      vedette pki rotate               then copy ca.pem to every agent and collector
      vedette pki agent ...            new certificates, from the new authority
      vedette pki rotate --finish      then copy ca.pem once more
    """
    with refusing():
        if not finish:
            Authority(directory).rotate(days)
            click.echo(f"the next authority signs from now on; copy {Authority(directory).bundle} to both ends")
            return
        names = Authority(directory).retire()
    click.echo("the newest authority alone is trusted")
    if names:
        click.echo(f"no longer trusted, and not yet expired: {escape(', '.join(names))}")


@command.command("list")
@directory_option
def show(directory: Path) -> None:
    """Show every certificate that was signed, the nearest end first."""
    now = dt.datetime.now(dt.UTC)
    with refusing():
        entries = Authority(directory).entries()
    for entry in entries:
        state = "revoked" if entry.revoked else _state(entry.not_after - now)
        click.echo(
            f"{entry.role:<10}{escape(entry.name):<40} until {entry.not_after:%Y-%m-%d}  {state:<12}{entry.serial}"
        )
    if not entries:
        click.echo("nothing was signed yet")


def _state(left: dt.timedelta) -> str:
    if left < dt.timedelta():
        return "expired"
    return f"{left.days} days" if left < _SOON else "good"


def _issue(wish: Wish, directory: Path, out: Path) -> None:
    authority = Authority(directory)
    with refusing():
        made = authority.issue(wish)
        if wish.role is Role.AGENT:
            ends_at = dt.datetime.now(dt.UTC) + dt.timedelta(days=wish.days)
            with Members(directory).locked():  # so that nobody joins under a name that is given already
                Members(directory).keep(by_hand(wish.names[0], ends_at))
        bundle = authority.bundle.read_bytes()
    stem = "collector" if wish.role is Role.COLLECTOR else wish.names[0]
    written = _keep(out, stem, made, bundle)
    click.echo(f"certificate for {', '.join(wish.names)}, {wish.days} days: {', '.join(map(str, written))}")


def _keep(out: Path, stem: str, made: Issued, bundle: bytes) -> list[Path]:
    """Write the three files; the key is for its owner alone. Raises StateError."""
    files = {out / f"{stem}.key": made.key, out / f"{stem}.pem": made.certificate, out / "ca.pem": bundle}
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, content in files.items():
            mode = 0o600 if path.suffix == ".key" else 0o644
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(content)
    except OSError as exc:
        raise StateError(f"{exc.filename}: {exc.strerror}") from exc
    return list(files)
