"""`vedette record`: write what the sensor sees into a file, as it comes."""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import click

from agent import probes
from agent.commands import _process
from agent.commands._amounts import amounts
from agent.commands._amounts import lost
from agent.enrich import this_host
from agent.enrich.procfs import boot_at_ns
from agent.errors import HostUnsupported
from agent.model import ProbeStatus
from agent.probes.declaration import Probe
from agent.probes.header import HEADER
from agent.probes.header import kind_number
from agent.recording import About
from agent.recording import End
from agent.recording import Kind
from agent.recording import Recorder
from agent.sensor.ebpf import requirements
from agent.sensor.ebpf.source import EbpfSource
from agent.sensor.ebpf.source import Options
from agent.terminal import escape
from agent.version import VERSION

POLL_S = 0.1
_MIB = 1 << 20
_MOST_MIB = 1 << 20  # a tebibyte: nobody meant more
_KIND = slice(HEADER.offset("kind"), HEADER.offset("kind") + 4)


@click.command("record")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--duration", type=click.IntRange(min=1), metavar="S", help="End after S seconds.")
@click.option(
    "--max-size",
    "max_mib",
    type=click.IntRange(1, _MOST_MIB),
    default=256,
    show_default=True,
    metavar="MIB",
    help="End when the file has so many MiB.",
)
def command(file: Path, duration: int | None, max_mib: int) -> None:
    """Record what the sensor sees into FILE, until interrupted.

    The records are as the kernel wrote them, command lines included: FILE is new,
    and readable by its owner alone. An agent may watch this host meanwhile. What
    `vedette replay` makes of FILE needs no privilege and can happen anywhere.

    \b
    Example:
      sudo vedette record incident.vdt --duration 60
      sudo chown $USER incident.vdt
      vedette replay incident.vdt
    """
    requirements.require_all()
    _process.take_precedence()
    stop = _process.stop_on_signals()
    wanted = probes.load()
    recorder = Recorder(file, _about(wanted), limit_bytes=max_mib * _MIB)
    with closing(recorder), closing(EbpfSource(Options(probes=wanted, compat="auto"))) as source:
        try:
            attached = _attached(source.open())
        except HostUnsupported:
            recorder.discard()
            raise
        click.echo(f"ready: recording with {attached} of {len(wanted)} probes into {escape(str(file))}", err=True)
        session = _Session(source, recorder, wanted)
        reason = session.until(stop, duration) or f"{file} has {max_mib} MiB, the most that --max-size lets it"
        counters = source.counters()
        recorder.end(End(reason=reason, counters=counters))
    click.echo(escape(f"ended: {reason}"), err=True)
    click.echo(f"records: {session.seen.total():,} ({amounts(session.seen)})", err=True)
    click.echo(f"lost: {amounts(lost(counters))}", err=True)


def _about(wanted: tuple[Probe, ...]) -> About:
    kinds = (
        Kind(name=probe.name, number=kind_number(probe.name), fixed_bytes=probe.record.fixed_size) for probe in wanted
    )
    return About(
        vedette=VERSION,
        host=this_host(),
        boot_at_ns=boot_at_ns(),
        began_at_ns=time.time_ns(),
        kinds=tuple(kinds),
    )


def _attached(statuses: tuple[ProbeStatus, ...]) -> int:
    """Say which probes are missing; return how many are not.  Raises HostUnsupported when all are."""
    for status in statuses:
        if not status.attached:
            click.echo(escape(f"probe {status.name} is unavailable: {status.reason}"), err=True)
    attached = sum(status.attached for status in statuses)
    if not attached:
        raise HostUnsupported("no probe could be attached; `vedette doctor` says why and what to do")
    return attached


class _Session:
    """Takes records from a source to a file, and counts them."""

    def __init__(self, source: EbpfSource, recorder: Recorder, wanted: tuple[Probe, ...]) -> None:
        self._source = source
        self._recorder = recorder
        self._names = {kind_number(probe.name): probe.name for probe in wanted}
        self.seen: Counter[str] = Counter()

    def until(self, stop: _process.Stop, duration_s: int | None) -> str | None:
        """Record until told to stop or for a while, all that was reported by then; return why, None when it is full."""
        ends_s = None if duration_s is None else time.monotonic() + duration_s
        while not stop.is_set() and (ends_s is None or time.monotonic() < ends_s):
            if not self._keep(self._source.poll(POLL_S)):
                return None
        self._source.close()
        while records := self._source.poll(0.0):
            if not self._keep(records):
                return None
        return "it was told to" if stop.is_set() else f"{duration_s} s are over"

    def _keep(self, records: list[bytes]) -> bool:
        """Write records; False when they do not all fit."""
        for record in records:
            if not self._recorder.write(record):
                return False
            self.seen[self._names.get(int.from_bytes(record[_KIND], sys.byteorder), "unknown")] += 1
        self._recorder.flush()
        return True
