"""`vedette policy`: operators show and set what a collector has its agents do."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import click
import msgspec

from agent.commands import _query
from agent.config import Config
from agent.config import local_address
from agent.deliver.target import Target
from agent.errors import ConfigError
from agent.listing import ListCategory
from agent.listing import ListFormat
from agent.terminal import escape
from agent.terminal import json_line
from vedette.v1 import policy_pb2

_FILE_BYTES = 1 << 20
_LIST_BYTES = 16 * 2**20  # what a collector keeps
_MESSAGE_BYTES = 4 * 2**20 - 4096  # what a collector takes at once
_VERSION_CHARACTERS = 12


class _List(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[list]]` in a file: a list that is brought along."""

    name: str
    path: str
    category: ListCategory
    format: ListFormat = "txt"


@click.group("policy")
@click.option("--collector", "address", metavar="ADDRESS", help="Of the running collector. Without it: its own socket.")
@click.option("--ca-file", "ca", type=click.Path(path_type=Path), help="PEM: who signs the collector's certificate.")
@click.option("--cert-file", "cert", type=click.Path(path_type=Path), help="PEM: one that it names under `writers`.")
@click.option("--key-file", "key", type=click.Path(path_type=Path), help="PEM: the private key of --cert-file.")
@click.pass_context
def command(context: click.Context, address: str | None, ca: Path | None, cert: Path | None, key: Path | None) -> None:
    """Show and set what agents in managed mode are to do (docs/policy.md).

    \b
    Example:
      vedette policy set prod.toml --for label:env=prod
      vedette policy show
    """
    context.obj = Target.parse(address or local_address(Config().state_dir), ca=ca, cert=cert, key=key)


@command.command("show")
@click.option("--json", "as_json", is_flag=True, help="One document per line.")
@click.pass_obj
def show(target: Target, as_json: bool) -> None:  # noqa: FBT001  click's way
    """Show policies, lists, and what each agent has of them.

    \b
    Example:
      vedette policy show --json | jq .agent
    """
    with _query.Query(target) as collector:
        for raw in collector.policies():
            row = json.loads(raw)
            click.echo(json_line(row) if as_json else _line(row))


@command.command("set")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--for", "selector", default="all", show_default=True, help="`all`, `label:KEY=VALUE` or `host:ID`.")
@click.pass_obj
def put(target: Target, file: Path, selector: str) -> None:
    """Set the policy for some agents to what FILE says, and bring the lists that it names.

    \b
    Example:
      cat > prod.toml <<END
      sensitivity = "high"
      lists = ["pools"]
      [[list]]
      name = "pools"
      path = "/srv/lists/pools.txt"
      category = "cryptocurrency"
      END
      vedette policy set prod.toml --for label:env=prod
    """
    document, lists = _read(file)
    change = policy_pb2.PolicyChange(selector=selector, document=msgspec.json.encode(document))
    for one in lists:
        content = _content(file.parent / one.path)
        change.lists.append(
            policy_pb2.ListFile(name=one.name, category=one.category, format=one.format, content=content)
        )
        if change.ByteSize() > _MESSAGE_BYTES:
            raise ConfigError(f"{file}: lists of more than {_MESSAGE_BYTES:,} bytes: set them in several files")
    with _query.Query(target) as collector:
        click.echo(f"set for {selector}: {collector.set_policy(change)} agents known")


@command.command("remove")
@click.option("--for", "selector", required=True, help="`all`, `label:KEY=VALUE` or `host:ID`.")
@click.pass_obj
def remove(target: Target, selector: str) -> None:
    """Take a policy away.

    \b
    Example:
      vedette policy remove --for host:i-0123456789abcdef0
    """
    with _query.Query(target) as collector:
        count = collector.set_policy(policy_pb2.PolicyChange(selector=selector))
    click.echo(f"removed for {selector}: {count} agents known")


def _read(file: Path) -> tuple[dict[str, Any], list[_List]]:
    """Return what a file says, and the lists that it brings.  Raises ConfigError."""
    try:
        with file.open("rb") as opened:
            document = tomllib.loads(opened.read(_FILE_BYTES).decode())
        return document, msgspec.convert(document.pop("list", []), list[_List])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as exc:
        raise ConfigError(f"{file}: {exc}") from exc


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as opened:
            content = opened.read(_LIST_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc
    if len(content) > _LIST_BYTES:
        raise ConfigError(f"{path}: more than {_LIST_BYTES:,} bytes")
    return content


def _line(row: dict[str, Any]) -> str:
    """Return a row for people; its text is of agents and operators."""
    match row:
        case {"policy": policy}:
            said = json.dumps(policy["document"], ensure_ascii=True)
            return f"policy  {escape(policy['selector'])}  {escape(said)}  (by {escape(policy['changedBy'])})"
        case {"list": one}:
            about = f"{one['category']}, {one['format']}, {one['size_bytes']:,} bytes"
            return escape(f"list    {one['name']}  {about}  sha256 {one['sha256'][:_VERSION_CHARACTERS]}")
        case {"agent": agent}:
            return f"agent   {escape(agent['hostId'])}  {escape(_standing(agent))}"
        case _:
            return escape(json.dumps(row))


def _standing(agent: dict[str, Any]) -> str:
    said, wanted = agent["policy"], agent["wanted"]
    if not said:
        return "has not said how it is"
    if said.get("mode") == "manual":
        return "manual: heeds no policy"
    if said.get("refused"):
        return f"refused {said.get('refused_version', '')[:_VERSION_CHARACTERS]}: {said['refused']}"
    if wanted is None:
        return "managed, and no policy is for it"
    has = said.get("version")
    return f"has {wanted[:_VERSION_CHARACTERS]}" if has == wanted else f"waits for {wanted[:_VERSION_CHARACTERS]}"
