"""How many records a host sends: in a quiet while, and while it builds a program with make.

    sudo .venv/bin/python -P bench/records.py [--seconds N]

(-P: `agent` is the package, not the neighbour of this file.)  Printed are records a
second by kind, and beside them what the kernel side left out.  Whatever else runs on
the host is in the numbers.  What came out is told in docs/filtering.md.
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from agent.sensor.ebpf.source import EbpfSource

UNITS = 300  # a hundred a core and minute is a small project; this is half a minute of two cores
UNIT = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint f{number}(void) {{ return {number}; }}\n"
MAKEFILE = """\
objects := $(patsubst %.c,%.o,$(wildcard *.c))
program: $(objects)
\tcc -o $@ $^
%.o: %.c
\tcc -O2 -MMD -c -o $@ $<
"""
LEFT_OUT = ("repeated", "throttled", "failed")


@click.command()
@click.option("--seconds", default=60, show_default=True, help="How long to watch the quiet host.")
def main(seconds: int) -> None:
    """Print the rates."""
    if os.geteuid() != 0:
        raise click.ClickException("needs root, as the agent does")
    source = EbpfSource()
    try:
        source.open()
        _told(source, "quiet", lambda: _wait(source, seconds))
        with tempfile.TemporaryDirectory(prefix="vedette-bench-") as directory:
            _told(source, f"make -j2 of {UNITS} files", lambda: _build(source, Path(directory)))
    finally:
        source.close()


def _told(source: EbpfSource, what: str, deed: Callable[[], None]) -> None:
    """Do something and print what became of it."""
    before, began_s = source.counters(), time.monotonic()
    deed()
    after, took_s = source.counters(), time.monotonic() - began_s
    rates = {name: (count - before.get(name, 0)) / took_s for name, count in after.items()}
    sent = {name.split(".")[1]: rate for name, rate in rates.items() if name.endswith(".submitted") and rate}
    click.echo(f"{what}: {sum(sent.values()):,.1f} records/s for {took_s:.0f} s")
    for kind in sorted(sent, key=lambda kind: -sent[kind]):
        left_out = [f"{rate:,.1f} {word}" for word in LEFT_OUT if (rate := rates.get(f"sensor.{kind}.{word}", 0))]
        click.echo(f"  {kind:18} {sent[kind]:10,.1f}  {', '.join(left_out)}")


def _wait(source: EbpfSource, seconds: int) -> None:
    """Watch; say also what the quietest second was, since a host is seldom quiet for long."""
    totals = [_submitted(source)]
    for _ in range(seconds):
        until_s = time.monotonic() + 1
        while time.monotonic() < until_s:
            source.poll(0.1)
        totals.append(_submitted(source))
    each = [later - sooner for sooner, later in itertools.pairwise(totals)]
    click.echo(f"of {seconds} seconds the quietest had {min(each):,} records, half had {statistics.median(each):,.0f}")


def _submitted(source: EbpfSource) -> int:
    return sum(count for name, count in source.counters().items() if name.endswith(".submitted"))


def _build(source: EbpfSource, directory: Path) -> None:
    for number in range(UNITS):
        (directory / f"{number}.c").write_text(UNIT.format(number=number), encoding="ascii")
    (directory / "main.c").write_text("int main(void) { return 0; }\n", encoding="ascii")
    (directory / "Makefile").write_text(MAKEFILE, encoding="ascii")
    with subprocess.Popen(["make", "-s", "-j2"], cwd=directory) as make:
        while make.poll() is None:
            source.poll(0.1)


if __name__ == "__main__":
    main()
