"""The second signal: a finding that is weak alone fires in odd company, whichever comes first, and not for long."""

from __future__ import annotations

from dataclasses import replace as declare

import pytest
from msgspec.structs import replace

from agent.classify import Classifier
from agent.classify import Sensitivities
from agent.classify import company
from agent.counters import Counters
from agent.findings import known_good
from agent.findings._base import ASKS_COMPANY
from agent.findings._base import LOW_ASKS
from agent.findings._base import FindingType
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import process_exec
from agent.findings._examples import unknown_start
from agent.findings._network_examples import dns_query
from agent.intel import Snapshot
from agent.model import Evidence
from agent.model import ProcessExec
from agent.model import ProcessKey
from agent.model import Sensitivity
from agent.model import Severity

NS = 1_000_000_000
PLAIN, ODD = process_exec(path="/srv/weak", filename="/srv/weak"), process_exec(path="/tmp/odd", filename="/tmp/odd")
SHELL = process("/usr/bin/bash", key=ProcessKey(4200, 400_000), parent=ProcessKey(4100, 390_000), started_at_ns=1)


def match(event, context):
    return Evidence(reason=f"{event.path} is weak") if event.path.startswith("/srv/weak") else None


WEAK = FindingType(
    name="Execution:Runtime/Weak",
    severity=Severity.MEDIUM,
    attack="T1000",
    title="{process} {place}",
    on=ProcessExec,
    match=match,
    company=ASKS_COMPANY,
    examples=(),
)
OTHER = declare(WEAK, name="Execution:Runtime/Other")
LOW = declare(WEAK, name="Execution:Runtime/Low", severity=Severity.LOW, company=frozenset())


def classifier(*types, sensitivity=Sensitivity.BALANCED, counters=None):
    counters = counters or Counters()
    benign = known_good(counters)
    return Classifier(types, intel=Snapshot(()), benign=benign, sensitivity=sensitivity, counters=counters)


def later(event, seconds):
    return replace(event, time_ns=event.time_ns + int(seconds * NS), at_ns=event.at_ns + int(seconds * NS))


def other_process(**changes):
    return process(key=ProcessKey(5000, 600_000), **changes)


def test_alone_it_is_held_and_forgotten_in_time():
    """Nothing is said of what is weak and stays alone; that it was there is a number."""
    counters = Counters()
    judge = classifier(WEAK, counters=counters)

    assert [] == judge.classify(PLAIN, in_container())
    assert 1 == judge.sizes()["candidates"]
    assert [] == judge.classify(later(ODD, company.WINDOW_S + 1), in_container())

    assert {"classify.held": 1, "classify.held_forgotten": 1} == counters.snapshot()
    assert 0 == judge.sizes()["candidates"]


def test_company_that_was_there_lets_it_out_at_once():
    """The finding says what else was odd."""
    judge = classifier(WEAK)
    judge.classify(ODD, in_container(actor=other_process()))

    [found] = judge.classify(later(PLAIN, company.WINDOW_S), in_container())

    [signal] = found.evidence.signals
    assert ("program_in_shared_directory", ODD.at_ns) == (signal.name, signal.at_ns)
    assert "/tmp/odd" in signal.reason


def test_company_that_comes_later_lets_it_out_then_and_once():
    """Whichever is first: the finding is that of the weak event, at its own time."""
    judge = classifier(WEAK)

    assert [] == judge.classify(PLAIN, in_container())
    [found] = judge.classify(later(ODD, company.WINDOW_S), in_container(actor=other_process()))
    assert [] == judge.classify(later(ODD, company.WINDOW_S), in_container(actor=other_process()))

    assert (WEAK.name, PLAIN.at_ns) == (found.type, found.at_ns)
    assert ["program_in_shared_directory"] == [signal.name for signal in found.evidence.signals]


def test_two_candidates_are_company_for_each_other():
    """Two weak things in one place are an odd place."""
    found = classifier(WEAK, OTHER).classify(PLAIN, in_container())

    assert {WEAK.name: [OTHER.name], OTHER.name: [WEAK.name]} == {
        one.type: [signal.name for signal in one.evidence.signals] for one in found
    }


@pytest.mark.parametrize(
    "types",
    [
        pytest.param((WEAK,), id="the same type again"),
        pytest.param((WEAK, LOW), id="a finding of low severity"),
    ],
)
def test_what_is_no_company(types):
    """A type does not vouch for itself, and what is of low severity for nobody."""
    judge = classifier(*types)
    judge.classify(PLAIN, in_container(actor=other_process()))

    assert WEAK.name not in [found.type for found in judge.classify(PLAIN, in_container())]


def test_an_oddity_that_restates_the_fact_is_no_company():
    """A type whose point is the directory is not let out by the directory."""
    judge = classifier(declare(WEAK, same_fact=frozenset({"program_in_shared_directory"})))
    judge.classify(ODD, in_container())

    assert [] == judge.classify(PLAIN, in_container())


@pytest.mark.parametrize(
    ("level", "declared", "odd", "fires"),
    [
        pytest.param(Sensitivity.HIGH, ASKS_COMPANY, 0, True, id="weak, at high"),
        pytest.param(Sensitivity.BALANCED, ASKS_COMPANY, 0, False, id="weak"),
        pytest.param(Sensitivity.BALANCED, ASKS_COMPANY, 1, True, id="weak, one signal"),
        pytest.param(Sensitivity.LOW, ASKS_COMPANY, 1, False, id="weak, one signal, at low"),
        pytest.param(Sensitivity.LOW, ASKS_COMPANY, 2, True, id="weak, two signals, at low"),
        pytest.param(Sensitivity.BALANCED, LOW_ASKS, 0, True, id="strong"),
        pytest.param(Sensitivity.LOW, LOW_ASKS, 0, False, id="strong, at low"),
        pytest.param(Sensitivity.LOW, LOW_ASKS, 1, True, id="strong, one signal, at low"),
    ],
)
def test_sensitivity_says_how_much_company(level, declared, odd, fires):
    """The table of docs/company.md."""
    judge = classifier(declare(WEAK, company=declared), sensitivity=Sensitivities(Sensitivity.HIGH, {WEAK.name: level}))
    for event in (ODD, replace(ODD, path="/srv/.odd", filename="/srv/.odd"))[:odd]:
        judge.classify(event, in_container())

    assert fires is bool(judge.classify(PLAIN, in_container()))


@pytest.mark.parametrize(
    ("place", "near"),
    [
        pytest.param(on_host(actor=other_process(parent=None)), False, id="a stranger"),
        pytest.param(in_container(actor=other_process()), False, id="in a container"),
        pytest.param(on_host(actor=other_process(), lineage=(replace(SHELL, parent=None),)), False, id="of init's"),
        pytest.param(
            on_host(actor=other_process(), lineage=(replace(SHELL, exe=process("/usr/sbin/cron").exe),)),
            False,
            id="of one daemon",
        ),
        pytest.param(on_host(), True, id="the same process"),
        pytest.param(on_host(actor=other_process(), lineage=(SHELL,)), True, id="of one shell"),
        pytest.param(
            on_host(actor=other_process(), lineage=(process("/usr/bin/make", key=ProcessKey(1, 2)), SHELL)),
            True,
            id="a grandchild of one shell",
        ),
        pytest.param(
            on_host(
                actor=other_process(),
                lineage=(process("/a", key=ProcessKey(1, 2)), process("/b", key=ProcessKey(3, 4)), SHELL),
            ),
            False,
            id="too deep",
        ),
    ],
)
def test_on_the_host_near_is_one_piece_of_work(place, near):
    """A shell ties together what it starts; a daemon and process 1 do not."""
    judge = classifier(WEAK)
    lineage = place.lineage[-1:] if len(place.lineage) == 1 else (SHELL,)
    judge.classify(ODD, place)

    assert near is bool(judge.classify(PLAIN, on_host(lineage=lineage)))


def test_another_container_is_not_near():
    """Neighbours on one host have nothing to do with each other."""
    judge = classifier(WEAK)
    judge.classify(ODD, in_container(container=replace(unknown_start(), id="another")))

    assert [] == judge.classify(PLAIN, in_container())


def test_the_tables_are_bounded_and_what_falls_out_is_counted():
    """A flood of candidates and oddities costs a bounded memory, and is a number."""
    counters = Counters()
    judge = classifier(WEAK, counters=counters)
    for number in range(company.PLACES_MAX + 10):
        somewhere = in_container(container=replace(unknown_start(), id=f"c{number}"))
        judge.classify(ODD, somewhere)
        judge.classify(replace(PLAIN, path="/srv/odd"), somewhere)
    for _ in range(company.HELD_PER_PLACE_MAX + 5):
        judge.classify(PLAIN, in_container())

    assert {"odd_places": company.PLACES_MAX, "candidates": company.HELD_PER_PLACE_MAX} == judge.sizes()
    assert 11 == counters.get("classify.company_forgotten")
    assert 5 == counters.get("classify.held_forgotten")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        pytest.param({"path": "/usr/bin/x"}, None, id="ordinary"),
        pytest.param({"path": "/tmpfiles/x"}, None, id="a directory that begins alike"),
        pytest.param({"path": "/usr/bin/sh", "interpreted": True, "filename": "/srv/x"}, None, id="a script"),
        pytest.param({"path": "/usr/bin/x", "ld_preload": "libfoo.so /usr/lib/b.so"}, None, id="a system library"),
        pytest.param({"path": "/usr/bin/x", "args": ("[",)}, None, id="test(1)"),
        pytest.param({"path": "/dev/shm/x"}, "program_in_shared_directory", id="shared memory"),
        pytest.param(
            {"path": "/usr/bin/sh", "interpreted": True, "filename": "/var/tmp/x"},
            "program_in_shared_directory",
            id="a script in a shared directory",
        ),
        pytest.param(
            {"path": "/tmp/t/bin/sh", "path_in_root": "/bin/sh", "interpreted": True, "filename": "/usr/x"},
            "program_in_shared_directory",
            id="a script in a chroot that is in a shared directory",
        ),
        pytest.param(
            {"path": "/srv/t/bin/sh", "path_in_root": "/bin/sh", "interpreted": True, "filename": "/tmp/x"},
            "program_in_shared_directory",
            id="a script in the shared directory of a chroot",
        ),
        pytest.param(
            {"path": "/srv/t/bin/sh", "path_in_root": "/bin/sh", "interpreted": True, "filename": "/usr/x"},
            None,
            id="a script in a chroot elsewhere",
        ),
        pytest.param({"path": "/srv/.x"}, "hidden_program", id="hidden"),
        pytest.param(
            {"path": "/usr/bin/x", "ld_preload": "/usr/../srv/evil.so"}, "library_preloaded", id="out of the system"
        ),
        pytest.param({"path": "/usr/bin/x", "args": ("[kworker/0:1]",)}, "name_of_a_kernel_thread", id="a disguise"),
    ],
)
def test_what_is_odd(changes, name):
    """What ordinary work brings is no company."""
    event = replace(process_exec(filename="/usr/bin/x", args=("x",)), **changes)
    judge = classifier(WEAK)
    judge.classify(event, in_container())

    found = judge.classify(PLAIN, in_container())

    assert ([name] if name else []) == [signal.name for one in found for signal in one.evidence.signals]


def test_other_events_cost_nothing():
    """What no type listens to and no oddity is seen in is not looked at."""
    assert [] == classifier(WEAK).classify(dns_query("example.org"), in_container())
