"""`vedette query`: SQL over what a collector keeps."""

from __future__ import annotations

import csv
import io
import itertools
import json
import shutil
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import click

from agent.commands._asking import PLACES
from agent.commands._asking import require_readable
from agent.config import Config
from agent.errors import PeerError
from agent.errors import StateError
from agent.terminal import cut
from agent.terminal import escape
from agent.terminal import json_line
from agent.terminal import width

MEASURED_ROWS = 200  # the widths of a table's columns are those of its first rows
CELL_COLUMNS = 60  # of a terminal, when a table is wider than that


@click.command("query")
@click.argument("statement", metavar="SQL")
@click.option(
    "--format",
    "shape",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="JSON: one document a row.",
)
@PLACES[0]
@click.option("--database", "url", metavar="URL", help="The collector's database_url, when it has one: for `finding`.")
@click.option("--events", "bucket", metavar="URL", help="The collector's events_url, when it has one: read there, too.")
def command(statement: str, shape: str, state_dir: Path | None, url: str | None, bucket: str | None) -> None:
    """Ask in SQL (DuckDB's) what happened; nothing can be changed by it.

    \b
    Ready views, each with time, host_id, kind, pid, name, path, container_id:
      process  args, cwd, exec_path, exit_code
      file     file_path, new_path, created
      network  remote_address, remote_port, local_address, local_port, protocol
      dns      domain, query_type, rcode, answers, server_address
      finding  type, severity, count, last_seen, process_path, document
      events   everything, as docs/store.md says

    \b
    Example:
      vedette query "SELECT time, pid, exec_path, args FROM process \\
        WHERE kind = 'process_exec' ORDER BY time DESC LIMIT 20"
      vedette query "SELECT domain, count(*) FROM dns GROUP BY ALL" --format csv
    """
    from collector import shipping  # noqa: PLC0415  engines that `--help` does not need
    from collector import sql  # noqa: PLC0415  as above
    from collector.errors import CollectorFault  # noqa: PLC0415  as above
    from collector.errors import StateError as CollectorStateError  # noqa: PLC0415  as above

    folder = state_dir or Config().state_dir
    require_readable(folder)
    try:
        answer = sql.ask(folder, statement, url, shipping.bucket_of(bucket) if bucket else None)
        for line in _LINES[shape](answer.columns, answer.rows):
            click.echo(line)
    except CollectorStateError as exc:
        raise StateError(str(exc)) from exc
    except CollectorFault as exc:
        raise PeerError(str(exc)) from exc


def _json(columns: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> Iterator[str]:
    for row in rows:
        yield json_line(dict(zip(columns, map(_plain, row), strict=True)))


def _csv(columns: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> Iterator[str]:
    for row in itertools.chain([columns], rows):
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow([_text(value) for value in row])
        yield line.getvalue()


def _table(columns: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> Iterator[str]:
    limit = CELL_COLUMNS if sys.stdout.isatty() else 10**6
    first = [[cut(_text(value), limit) for value in row] for row in itertools.islice(rows, MEASURED_ROWS)]
    heads = [escape(name) for name in columns]
    widths = [max(map(width, column)) for column in zip(heads, *first, strict=True)]
    rest = ([cut(_text(value), limit) for value in row] for row in rows)
    total = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10**6
    for cells in itertools.chain([heads, ["-" * size for size in widths]], first, rest):
        padded = (cell + " " * (size - width(cell)) for cell, size in zip(cells, widths, strict=True))
        yield cut("  ".join(padded).rstrip(), total)


_LINES = {"json": _json, "csv": _csv, "table": _table}


def _text(value: object) -> str:
    """Return a cell as text that is safe to show; what is null is empty."""
    if value is None:
        return ""
    plain = _plain(value)
    return escape(plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False))


def _plain(value: object) -> object:
    """Return a value as JSON has it."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
