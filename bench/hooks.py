"""What each kind of hook costs whoever runs into it, before the probe behind it has looked at anything.

    sudo .venv/bin/python -P bench/hooks.py [--rounds N]

(-P: `agent` is the package, not the neighbour of this file.)  Run it where nothing
else traces: another agent's hooks would be in both measurements.  An empty program
is attached by the agent's own loader, and an operation is repeated with it and
without, in turns; printed is the median of the differences.  What came out is kept
in agent/probes/prices.py, for `vedette doctor`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import click

from agent.probes.declaration import Hook
from agent.sensor.ebpf import child

PAGES = 16
COUNT = 500_000
TEXT = """
int price_empty(void *ctx) { return 0; }
int price_let_pass(void *ctx) { return 1; }
int price_caller(struct bpf_raw_tracepoint_args *ctx) { uring_calls.call(ctx, 0); return 0; }
int price_compat(void *ctx) { return is_compat_call((struct task_struct *)bpf_get_current_task()); }
"""
CALLER = Hook("price_caller", "raw_tracepoint", "task_rename")
CALLED = Hook("price_empty", "tracepoint", "syscalls:sys_exit_sched_get_priority_min")


class Case(NamedTuple):
    """One price: an operation, the hook that it runs into, and what is attached in both measurements."""

    name: str
    operation: str
    hook: Hook
    beneath: tuple[Hook, ...] = ()


CASES = (
    Case("raw_tracepoint", "name", Hook("price_empty", "raw_tracepoint", "task_rename")),
    Case("tracepoint", "getppid", Hook("price_empty", "tracepoint", "syscalls:sys_exit_getppid")),
    Case(
        "tracepoint, another call",
        "getppid",
        CALLED,
    ),
    Case("compat, any call", "getppid", Hook("price_compat", "raw_tracepoint", "sys_exit"), (CALLED,)),
    Case("cgroup_sock_addr", "udp-connect", Hook("price_let_pass", "cgroup_sock_addr", "connect4")),
    Case("cgroup_skb", "udp-send", Hook("price_let_pass", "cgroup_skb", "egress")),
    Case("program_array", "name", Hook("price_empty", "program_array", "uring_calls:0"), (CALLER,)),
)


@click.command()
@click.option("--rounds", default=9, show_default=True, help="How often each is measured, without and with.")
def main(rounds: int) -> None:
    """Print what each kind of hook adds to an operation."""
    if os.geteuid() != 0:
        raise click.ClickException("needs root, as the agent does")
    python = child.interpreter_with_bcc(None)
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as directory:
        program = Path(directory, "storm")
        subprocess.run(["cc", "-O2", "-o", program, Path(__file__).with_name("storm.c")], check=True)
        for case in CASES:
            bare, differences = _measured(case, rounds, program, python)
            spread = statistics.quantiles(differences, n=4)
            click.echo(
                f"{case.name:<26} {statistics.median(differences):+6.0f} ns  "
                f"(quartiles {spread[0]:+.0f}, {spread[2]:+.0f}; {case.operation} takes {bare:,.0f} ns)"
            )


def _measured(case: Case, rounds: int, program: Path, python: str) -> tuple[float, list[float]]:
    """Return the nanoseconds of the operation without the hook, and by how much each round was longer with it."""
    bare, hooked = [], []
    for _ in range(rounds):
        with _attached(python, case.beneath):
            bare.append(_storm(program, case.operation))
        with _attached(python, (*case.beneath, case.hook)):
            hooked.append(_storm(program, case.operation))
    return statistics.median(bare), [after - before for before, after in zip(bare, hooked, strict=True)]


@contextmanager
def _attached(python: str, hooks: tuple[Hook, ...]) -> Iterator[None]:
    """Attach hooks; they are gone when the block ends."""
    request = child.request((), PAGES, PAGES)
    lanes = [{"name": "price", "hooks": [asdict(hook) for hook in hooks]}]
    request["probes"] = [{"name": "price", "kind": 0, "text": TEXT, "lanes": lanes}]
    answer, fds = child.load(python, request)
    try:
        [status] = answer["probes"]
        if not status["attached"]:
            raise click.ClickException(status["reason"])
        yield
    finally:
        for fd in fds:
            os.close(fd)


def _storm(program: Path, operation: str) -> float:
    command = [program, operation, str(COUNT)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
