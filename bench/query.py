"""How long a question over many events takes.

    python -P bench/query.py [MILLIONS]

Writes 100,000 events as a collector does, copies their files until there are MILLIONS (10) of them, asks four questions
as `vedette query` does, and prints how long each took. The files are in the page cache: this measures the engine.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "_proto"), str(ROOT / "bench")]

import ingest  # noqa: E402  beside this file

from collector import sql  # noqa: E402
from collector.events import EventFiles  # noqa: E402
from collector.events import Run  # noqa: E402
from collector.names import AgentKey  # noqa: E402

BUDGET_S = 2.0
ONCE = 100_000
FILES_A_HOST = 20
QUESTIONS = (
    "SELECT count(*) FROM process WHERE exec_path = '/usr/bin/program40' AND args[3] = '/tmp/40'",
    "SELECT count(*) FROM process WHERE pid = 1234 AND host_id = 'i-3'",
    "SELECT remote_address, count(*) FROM network GROUP BY ALL ORDER BY 2 DESC LIMIT 5",
    "SELECT count(*) FROM events WHERE actor.name = 'nobody'",
)


def fill(state_dir: Path, millions: int) -> None:
    """Make so many events."""
    files = EventFiles(state_dir)
    files.open()
    made = [ingest.event(number, time.time_ns()) for number in range(1, ONCE + 1)]
    paths = files.write(AgentKey("i-0", "spool"), Run(date(2026, 9, 1), made), time.time_ns())
    for number in range(1, millions * 1_000_000 // ONCE):
        for path in paths:
            folder = path.parent.parent / f"host=i-{number // FILES_A_HOST}"
            folder.mkdir(exist_ok=True)
            shutil.copy(path, folder / f"part-spool{number}-1-{ONCE}.parquet")


def main(millions: int = 10) -> None:
    """Measure once, and print."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), millions)
        for question in QUESTIONS:
            began = time.monotonic()
            rows = len(list(sql.ask(Path(folder), question).rows))
            print(f"query: {time.monotonic() - began:.2f} s, {rows} rows of {millions} million events: {question}")
    print(f"  budget {BUDGET_S} s over 50 million")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
