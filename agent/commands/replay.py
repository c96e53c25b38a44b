"""`vedette replay`: what a recording comes to, without privilege and without looking at this host.

Blind to: processes that had started before the recording, unless they execute
another program in it: what they did has no known actor and is no finding.
Programs are not hashed and users have no names, since both are on the other host.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC
from datetime import datetime
from pathlib import Path

import click

from agent import findings
from agent import intel
from agent.classify import Classifier
from agent.commands import _rules
from agent.commands._amounts import amounts
from agent.commands._amounts import lost
from agent.commands._replaying import NOWHERE
from agent.commands._replaying import Replaying
from agent.commands._views import Lines
from agent.counters import Counters
from agent.deliver.wire import Encoder
from agent.model import Container
from agent.model import Event
from agent.model import Finding
from agent.model import Sensitivity
from agent.model import Surroundings
from agent.recording import About
from agent.recording import Recording
from agent.rules.current import RuleSet
from agent.rules.rule import Rule
from collector import aggregate
from collector import guardduty
from collector.aggregate import Aggregate
from collector.config import Config as CollectorConfig
from vedette.v1 import ingest_pb2

FINDINGS = 16_384  # different ones whose count is kept; 8 MB. A recording with more is made to have more
_NS_PER_S = 1_000_000_000


@click.command("replay")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="One finding in GuardDuty's shape per line.")
@click.option(
    "--sensitivity",
    type=click.Choice([one.value for one in Sensitivity]),
    default=Sensitivity.BALANCED.value,
    show_default=True,
    help="How little is enough for a finding.",
)
@click.option(
    "--rules",
    type=click.Path(path_type=Path, exists=True),
    help="With the rules of your own in this directory or file (docs/rules.md).",
)
def command(file: Path, as_json: bool, sensitivity: str, rules: Path | None) -> None:  # noqa: FBT001  click's way
    """Decode, enrich and classify what `vedette record` wrote into FILE.

    Needs no privilege and looks at nothing of this host. Each finding is a line on
    standard output, every time that it is seen; what the recording came to stands
    on standard error at the end. The same file gives the same lines.

    \b
    Example:
      vedette replay incident.vdt
      vedette replay incident.vdt --json --sensitivity high | jq .type
    """
    own = _rules.in_force([rules] if rules else [])
    with file.open("rb") as opened:
        recording = Recording(opened, str(file))
        replay = _Replay(recording, Lines(as_json=as_json), (Sensitivity(sensitivity), own))
        try:
            replay.run()
        finally:  # a recording that breaks in the middle has told something by then
            replay.tell()


class _Replay:
    """The stages of the agent over a recording."""

    def __init__(self, recording: Recording, view: Lines, judging: tuple[Sensitivity, tuple[Rule, ...]]) -> None:
        """`judging`: how little is enough, and by which rules of the operator's own."""
        self._recording = recording
        self._view = view
        self._sensitivity, self._rules = judging
        self._counters = Counters()
        self._replaying = Replaying(recording, self._counters)
        self._told = _Told(recording.about, view, self._counters)

    def run(self) -> None:
        """Run the stages until the recording is over.  Raises BadRecording."""
        classifier = Classifier(
            findings.load(),
            intel=intel.bundled(),
            benign=findings.known_unchecked(self._counters),
            sensitivity=self._sensitivity,
            counters=self._counters,
            rules=RuleSet(self._rules, self._counters),
        )
        self._replaying.run(classifier, self._told)

    def tell(self) -> None:
        """Say what it came to."""
        about, counters = self._recording.about, self._counters
        began = datetime.fromtimestamp(about.began_at_ns // _NS_PER_S, UTC)
        say = self._view.said
        say(f"recorded: on {about.host.name}, Linux {about.host.kernel}, from {began:%Y-%m-%d %H:%M:%S} UTC")
        say(f"records: {self._replaying.source.count:,}")
        say(f"events: {self._told.events.total():,} ({amounts(self._told.events)})")
        say(f"malformed: {counters.get('decode.malformed'):,}")
        if self._replaying.decode.foreign:
            say(f"of kinds that this vedette does not know: {amounts(self._replaying.decode.foreign)}")
        if counters.get("pipeline.errors"):
            say(f"not worked out: {counters.get('pipeline.errors'):,}")
        say(f"findings: {self._told.findings.total():,} ({amounts(self._told.findings)})")
        self._tell_end()

    def _tell_end(self) -> None:
        end, cut_at = self._recording.end, self._recording.cut_at
        if end is not None:
            self._view.said(f"lost while recording: {amounts(lost(end.counters))}")
        if cut_at is not None:
            self._view.said(f"cut: nothing whole follows offset {cut_at}; what was lost while recording is not known")


class _Told:
    """Where findings go: to standard output, as a collector would show them at that moment."""

    def __init__(self, about: About, view: Lines, counters: Counters) -> None:
        standing = CollectorConfig(listen="", state_dir=NOWHERE)  # for what findings carry when nobody says otherwise
        self._origin = aggregate.Origin(
            account_id=standing.account_id,
            region=standing.region,
            detector_id=standing.detector_id,
            host_id=about.host.id,
            host_name=about.host.name,
            agent_version=about.vedette,
        )
        self._view = view
        self._encoder = Encoder(counters)
        self._seen: dict[str, Aggregate] = {}
        self.events: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()

    def event(self, event: Event, surroundings: Surroundings, sha256: str | None) -> None:
        """Count it."""
        self.events[str(event.__struct_config__.tag)] += 1

    def container(self, container: Container) -> None:
        """Never comes: no runtime is asked."""

    def finding(self, finding: Finding) -> None:
        """Show it, with how often it was seen until now."""
        self.findings[finding.type] += 1
        sent = ingest_pb2.FindingBatch.FromString(self._encoder.finding(finding)).findings[0]
        id_ = aggregate.finding_id(self._origin, sent)
        before = self._seen.pop(id_, None)
        if before is None:
            now = aggregate.begin(id_, sent.at_ns, sent.at_ns)
        else:
            now = aggregate.add(before, sent.at_ns, sent.at_ns)
        if len(self._seen) >= FINDINGS:
            del self._seen[next(iter(self._seen))]
        self._seen[id_] = now
        self._view.found(guardduty.document(self._origin, now, sent))

    def flush(self) -> None:
        """Do nothing: each line was written when it came."""
