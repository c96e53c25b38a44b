"""Stage 4: which types are asked, what an occurrence says, and what goes blind."""

from __future__ import annotations

from dataclasses import replace as declare

import pytest
from msgspec.structs import replace

from agent import findings
from agent import intel
from agent.classify import Classifier
from agent.counters import Counters
from agent.findings._examples import CONTAINER_ID
from agent.findings._examples import fd_dup
from agent.findings._examples import in_container
from agent.findings._examples import library_map
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import process_exec
from agent.findings._network_examples import dns_query
from agent.model import Content
from agent.model import Evidence
from agent.model import Sensitivity

NEW = "Execution:Runtime/NewBinaryExecuted"
LIBRARY = "Execution:Runtime/NewLibraryLoaded"
FILELESS = "DefenseEvasion:Runtime/FilelessExecution"
SHELL = "Execution:Runtime/ReverseShell"
DNS = "CryptoCurrency:Runtime/BitcoinTool.B!DNS"
TYPES = findings.load()


def classifier(types=TYPES, counters=None):
    counters = counters or Counters()
    return Classifier(
        types,
        intel=intel.bundled(),
        benign=findings.known_good(counters),
        sensitivity=Sensitivity.BALANCED,
        counters=counters,
    )


@pytest.mark.parametrize(
    ("event", "around"),
    [
        pytest.param(process_exec(), on_host(), id="a program on the host"),
        pytest.param(dns_query("example.org"), in_container(), id="a domain on no list"),
        pytest.param(fd_dup(), on_host(), id="a dup of an accepted connection"),
    ],
)
def test_what_is_ordinary_gives_nothing_and_counts_nothing(event, around):
    """A quiet host stays quiet, in the counters too."""
    counters = Counters()

    assert [] == classifier(counters=counters).classify(event, around)
    assert {} == counters.snapshot()


@pytest.mark.parametrize("event", [process_exec(), dns_query("pool.minexmr.com")])
def test_what_was_there_before_is_no_finding(event):
    """Starting the agent finds nothing in what nobody saw happen, and what happens then is found."""
    assert [] == classifier().classify(replace(event, existing=True), in_container())
    assert [] != classifier().classify(event, in_container())


def test_an_occurrence_says_who_where_and_why():
    """An analyst gets process, lineage, container, technique and the event to look up."""
    lineage = (process("/usr/bin/bash"),)
    event = process_exec()
    around = in_container(lineage=lineage)

    [found] = classifier().classify(event, around)

    assert (NEW, 5.0, "T1204.002") == (found.type, found.severity, found.attack)
    assert ("process_exec", event.time_ns, event.at_ns) == (found.event_kind, found.event_time_ns, found.at_ns)
    assert (around.actor, lineage, around.container) == (found.process, found.lineage, found.container)
    assert f"x was created or changed in container {CONTAINER_ID[:12]} and then executed" == found.title


def test_a_container_with_a_name_is_called_by_it():
    """An id of 64 digits is shortened as engines do; a name is not."""
    named = replace(in_container().container, id="build-agent-17")

    [found] = classifier().classify(process_exec(), in_container(container=named))

    assert "x was created or changed in container build-agent-17 and then executed" == found.title


def test_a_hash_that_is_not_there_yet_is_said_to_be_pending():
    """No hash is never mistaken for no file."""
    [found] = classifier().classify(process_exec(), in_container())

    assert (None, "pending") == (found.sha256, found.sha256_missing)


def test_a_title_takes_a_hostile_name_as_text():
    """A process that calls itself `{pid}` gets no say in the sentence."""
    [found] = classifier().classify(process_exec(), in_container(actor=process(name="{pid}{0.__class__}")))

    assert found.title.startswith("{pid}{0.__class__} was created")


def test_one_event_can_be_two_findings():
    """A new binary that is unlinked when it starts is told as both."""
    counters = Counters()

    found = classifier(counters=counters).classify(process_exec(unlinked=True), in_container())

    assert [FILELESS, NEW] == [each.type for each in found]
    assert {"classify.findings": 2} == counters.snapshot()


def test_an_unknown_actor_is_counted_not_guessed():
    """What nobody can be blamed for is no finding, and the number says how often."""
    counters = Counters()

    found = classifier(counters=counters).classify(process_exec(), replace(in_container(), actor=None))

    assert [] == found
    assert {"classify.no_actor": 1} == counters.snapshot()


def test_only_the_types_that_listen_are_asked():
    """A flood of one kind of event costs nothing in the others' types, not even a context."""

    def refuse(event, context):
        raise AssertionError(event)

    deaf = [declare(finding, match=refuse) for finding in TYPES if "library_map" not in finding.kinds]

    assert [] == classifier(deaf).classify(library_map(), replace(in_container(), actor=None))


def test_a_type_that_raises_is_left_to_the_loop():
    """An error in one type is not swallowed here: the pipeline counts it and goes on."""

    def broken(event, context):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        classifier([declare(TYPES[0], match=broken)]).classify(TYPES[0].examples[0].event, on_host())


def test_a_type_may_listen_to_two_kinds():
    """Both kinds reach its one function."""
    seen = []

    def note(event, context):
        seen.append(type(event).__name__)
        return Evidence(reason="noted")

    [shell] = [finding for finding in TYPES if finding.name == SHELL]
    both = classifier([declare(shell, match=note)])

    both.classify(process_exec(), on_host())
    both.classify(fd_dup(), on_host())

    assert ["ProcessExec", "FdDup"] == seen


@pytest.mark.parametrize(
    ("missing", "blind"),
    [
        pytest.param((), (), id="none missing"),
        pytest.param(("process_fork", "memfd_create", "file_open"), (), id="probes that only add evidence"),
        pytest.param(("dns_query",), (DNS,), id="its own"),
        pytest.param(("fd_dup",), (SHELL,), id="one of two"),
        pytest.param(("net_connect",), (SHELL,), id="one that is needed beside its own"),
        pytest.param(("process_exec",), (FILELESS, NEW, SHELL), id="the one that most rest on"),
    ],
)
def test_a_missing_probe_names_what_goes_blind(missing, blind):
    """Whoever reads health knows what is not being watched."""
    types = [finding for finding in TYPES if finding.name in {NEW, LIBRARY, FILELESS, SHELL, DNS}]

    assert blind == findings.blind(types, missing)


def test_who_wants_the_contents_is_asked_twice_and_nobody_else():
    """At once, and when what was executed is read; the second time about that alone."""
    asked = []
    contents = (Content(path="/tmp/x", role="program", sha256="ab" * 32),)

    def match(_, context):
        asked.append(context.contents)
        return Evidence(reason="r")

    [type_] = [one for one in TYPES if one.name == FILELESS]
    other = declare(type_, name="Execution:Runtime/Other", match=match)
    reader = declare(other, name="Execution:Runtime/Reader", wants_contents=True)
    both = classifier([other, reader])
    found = [both.classify(process_exec(), on_host(contents=read)) for read in ((), contents)]

    assert [[other.name, reader.name], [reader.name]] == [[one.type for one in each] for each in found]
    assert [(), (), contents] == asked
