"""What a million indicators cost the agent: resident memory, and the time of a lookup.

    .venv/bin/python -P bench/intel.py [--entries N]

(-P: `agent` is the package, not the neighbour of this file.)  The entries are made up:
domains, addresses, networks of many lengths and SHA-256, half of them on two lists.
Looked up are names and addresses that are on no list, which is what happens all day,
and such that are; every one is another, since the last answer is kept.  Memory is that
of this process before the file is mapped and after every page of its index was touched.

Budget: 24 MB and 2 us a lookup.
"""

from __future__ import annotations

import gc
import hashlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import click
import psutil

from agent.intel.building import Builder
from agent.intel.entries import Indicator
from agent.intel.entries import indicator
from agent.intel.snapshot import Snapshot
from agent.intel.snapshot import mapped
from agent.intel.table import ListHead

MIB = 1 << 20
SEED = 20261124
LOOKUPS = 200_000
ROUND = 1000
LENGTHS = (8, 12, 16, 18, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31)
SHARES = (("domain", 50), ("address", 25), ("network", 5), ("sha256", 20))


def made_up(chance: random.Random, kind: str) -> str:
    """Return an indicator as lists have them."""
    if kind == "domain":
        labels = [word(chance) for _ in range(chance.choice((1, 1, 2)))]
        return ".".join([*labels, chance.choice(("com", "net", "org", "ru", "top", "co.uk"))])
    if kind == "sha256":
        return chance.randbytes(32).hex()
    address = ".".join(str(chance.randrange(1, 255)) for _ in range(4))
    return address if kind == "address" else f"{address}/{chance.choice(LENGTHS[4:])}"


def word(chance: random.Random) -> str:
    """Return a label."""
    return "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789-", k=chance.randrange(5, 16))).strip("-") + "x"


def entries(chance: random.Random, count: int) -> Iterator[Indicator]:
    """Yield so many indicators."""
    for _ in range(count):
        [kind] = chance.choices([kind for kind, _ in SHARES], [share for _, share in SHARES])
        found = indicator(made_up(chance, kind))
        if found is not None:
            yield found


def build(path: Path, count: int) -> None:
    """Write a file of lists."""
    chance = random.Random(SEED)  # noqa: S311  # made-up data that is the same each time
    with path.open("w+b") as file:
        builder = Builder(file)
        for number, category in enumerate(("c2", "phishing")):
            head = ListHead(name=f"list {number}", category=category)
            builder.add(head, entries(chance, count // 2))
        builder.close()


def microseconds(ask: Callable[[str, str], object], questions: list[str]) -> float:
    """Return how long one question takes: the median of rounds, which a busy host disturbs little."""
    rounds = []
    for begin in range(0, len(questions), ROUND):
        part = questions[begin : begin + ROUND]
        began_ns = time.perf_counter_ns()
        for question in part:
            ask(question, "c2")
        rounds.append((time.perf_counter_ns() - began_ns) / len(part))
    return statistics.median(rounds) / 1000


@click.command()
@click.option("--entries", "count", default=1_000_000, show_default=True)
@click.option("--build-into", type=click.Path(path_type=Path), hidden=True)
def main(count: int, build_into: Path | None) -> None:
    """Print memory and time."""
    if build_into is not None:
        build(build_into, count)
        click.echo(psutil.Process().memory_info().rss // MIB)
        return
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as directory:
        path = Path(directory) / "lists"
        began_s = time.monotonic()
        subprocess.run([sys.executable, "-P", __file__, "--entries", str(count), "--build-into", str(path)], check=True)
        click.echo(
            f"built in {time.monotonic() - began_s:.1f} s by a child: {path.stat().st_size / MIB:.0f} MiB of file"
        )
        told(path)


def told(path: Path) -> None:
    """Look things up and print what it took."""
    chance = random.Random(SEED + 1)  # noqa: S311  # as above
    questions = {
        "domains of 2 labels, not listed": [f"{word(chance)}.org" for _ in range(LOOKUPS)],
        "domains of 4 labels, not listed": [f"www.{word(chance)}.{word(chance)}.com" for _ in range(LOOKUPS)],
        "IPv4 addresses, not listed": [made_up(chance, "address") for _ in range(LOOKUPS)],
        "IPv6 addresses, not listed": [f"2001:db8::{number:x}" for number in range(1, LOOKUPS)],
        "SHA-256, not listed": [hashlib.sha256(str(number).encode()).hexdigest() for number in range(LOOKUPS)],
    }
    listed = random.Random(SEED)  # noqa: S311  # as above
    known = list(entries(listed, LOOKUPS // 4))
    questions["domains, listed"] = [f"a.{found.text}" for found in known if found.kind == "domain"]
    questions["addresses, listed"] = [found.text[:-3] for found in known if found.text.endswith("/32")]
    process = psutil.Process()
    gc.collect()
    before = process.memory_info().rss
    snapshot = Snapshot(mapped(path))
    for what, asked in questions.items():
        ask = snapshot.sha256 if "SHA" in what else snapshot.address if "address" in what else snapshot.domain
        click.echo(f"{what}: {microseconds(ask, asked):.2f} us a lookup")
    grown = process.memory_info().rss - before
    click.echo(f"resident for {sum(found.entries for found in snapshot.lists):,} indicators: {grown / MIB:.1f} MiB")


if __name__ == "__main__":
    main()
