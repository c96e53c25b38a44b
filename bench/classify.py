"""What classification costs: every finding type, over one recorded event of every kind and its surroundings.

    .venv/bin/python -P bench/classify.py [ROUNDS]

(-P: `agent` is the package, not the neighbour of this file.)  Each event of tests/golden is decoded, given its
surroundings, and judged ROUNDS (2,000) times; execs a second time, too, as when they are read.  Printed are the
median over all kinds beside its budget, and the slowest kinds; then the same with 200 rules of the operator's own,
those of docs/rules.example.toml over and over.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from itertools import cycle
from itertools import islice
from pathlib import Path

from msgspec.structs import replace

from agent import findings
from agent import intel
from agent import probes
from agent.classify import Classifier
from agent.counters import Counters
from agent.decode import Decoder
from agent.enrich import Enricher
from agent.enrich.procfs import ProcFs
from agent.findings import _examples
from agent.model import Event
from agent.model import ProcessExec
from agent.model import Sensitivity
from agent.model import Surroundings
from agent.rules.current import RuleSet
from agent.rules.parsing import parse

BUDGET_US = 10.0
GOLDEN = Path(__file__).parents[1] / "tests/golden"
SHOWN = 8
EXAMPLE = Path(__file__).parents[1] / "docs/rules.example.toml"
RULES = 200


def looks(counters: Counters) -> list[tuple[str, Event, Surroundings]]:
    """Return every recorded event with what is known about it, by a name."""
    decode = Decoder(probes.load(), counters, 0)
    around = _examples.on_host()
    enricher = Enricher(host=around.host, counters=counters, procfs=ProcFs(Path("/nowhere"), pids=list))
    found: list[tuple[str, Event, Surroundings]] = []
    for file in sorted(GOLDEN.glob("*.bin")):
        event = decode(file.read_bytes())
        if event is None:
            continue
        seen = enricher.enrich(event)
        seen = seen if seen.actor is not None else replace(seen, actor=around.actor)
        found.append((file.stem, event, seen))
        if isinstance(event, ProcessExec):
            read = (_examples.content(event.path, marks=("github.com/example",)),)
            found.append((f"{file.stem}, read", event, replace(seen, contents=read)))
    enricher.close()
    return found


def cost_us(classifier: Classifier, event: Event, surroundings: Surroundings, rounds: int) -> float:
    """Return the median cost of judging one event; a command line is each time another, as nothing is known of it."""
    taken = []
    for number in range(rounds):
        one = replace(event, args=(*event.args, str(number))) if isinstance(event, ProcessExec) else event
        began = time.perf_counter_ns()
        classifier.classify(one, surroundings)
        taken.append(time.perf_counter_ns() - began)
    return statistics.median(taken) / 1000


def rules(counters: Counters) -> RuleSet:
    """Return RULES rules, none of them a dry run, that never tell more than one finding a minute."""
    parsed = parse(EXAMPLE.read_text(encoding="utf-8"), EXAMPLE.name).rules
    many = (
        dataclasses.replace(rule, name=f"{rule.name}{number}", dry_run=False)
        for number, rule in enumerate(islice(cycle(parsed), RULES))
    )
    return RuleSet(many, counters, 1)


def main(rounds: int = 2_000) -> None:
    """Measure and print."""
    counters = Counters()
    types = findings.load()
    for own in (None, rules(counters)):
        classifier = Classifier(
            types,
            intel=intel.bundled(),
            benign=findings.known_good(counters),
            sensitivity=Sensitivity.BALANCED,
            counters=counters,
            rules=own,
        )
        costs = {name: cost_us(classifier, event, around, rounds) for name, event, around in looks(counters)}
        tell(f"{len(types)} finding types" + (f" and {RULES} rules" if own else ""), costs)


def tell(what: str, costs: dict[str, float]) -> None:
    """Print what was measured."""
    print(f"classification, {what}, {len(costs)} recorded events: ", end="")
    print(f"median {statistics.median(costs.values()):.1f} us, worst {max(costs.values()):.1f} us")
    print(f"  budget {BUDGET_US:.0f} us at the median")
    for name in sorted(costs, key=lambda name: -costs[name])[:SHOWN]:
        print(f"  {name:40} {costs[name]:6.1f} us")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
