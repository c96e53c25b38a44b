"""`vedette collector`: take findings and events from agents and keep them."""

from __future__ import annotations

from pathlib import Path

import click

from agent.commands import _process
from agent.errors import AgentBug
from agent.errors import PeerError
from agent.notify import Service
from agent.terminal import log_to_stderr
from collector import config as configuration
from collector import server
from collector.errors import CollectorBug
from collector.errors import CollectorFault


@click.command("collector")
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="TOML; see the example below.")
@click.option("--supervisor", type=int, hidden=True, help="Pid of the process to end with.")
def command(path: Path, supervisor: int | None) -> None:
    """Take findings and events from agents, keep them, and answer queries.

    Plain text is served on a unix socket or on loopback alone; any other address
    needs certificates under [tls]. docs/configuration.md lists every setting.

    \b
    Example:
      cat > collector.toml <<END
      listen = "unix:///var/lib/vedette/collector.sock"
      state_dir = "/var/lib/vedette"
      END
      vedette collector --config collector.toml
    """
    if supervisor is not None:
        _process.die_with(supervisor)
    log_to_stderr("info")
    try:
        service = Service()
        server.run(configuration.load(path), lambda address: service.ready(f"listening on {address}"), service.alive)
    except CollectorBug as exc:
        raise AgentBug(str(exc)) from exc
    except CollectorFault as exc:
        raise PeerError(str(exc)) from exc
