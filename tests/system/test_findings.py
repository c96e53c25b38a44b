"""What `vedette run` says, and does not say, of deeds that are really done on this host and in real containers."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from typing import NamedTuple

import botocore.session
import pytest
from botocore.model import Shape

from agent.pipeline import HASH_WAIT_S
from collector.query import Filters
from collector.query import events
from tests.containers import make_runc_run_from_memory
from tests.system import deeds
from tests.system.deeds import Done
from tests.system.running import Found
from tests.system.running import Run
from tests.system.running import vedette
from tests.system.running import wait_for
from tests.unit.collector.test_guardduty import wrong

NEW_BINARY = "Execution:Runtime/NewBinaryExecuted"
NEW_LIBRARY = "Execution:Runtime/NewLibraryLoaded"
FILELESS = "DefenseEvasion:Runtime/FilelessExecution"
REVERSE_SHELL = "Execution:Runtime/ReverseShell"
MINING_DNS = "CryptoCurrency:Runtime/BitcoinTool.B!DNS"
NEAR = frozenset({NEW_BINARY, NEW_LIBRARY, FILELESS, REVERSE_SHELL, MINING_DNS})

RUNC_CLONE = "/memfd:runc_cloned:"
CP = os.path.realpath("/bin/cp")
TICK_S = 0.01  # the kernel's start times have no finer grain
CLOCKS_S = 0.1  # and the boot clock is read against the other once
MOST_TRIES = 30  # of a deed whose hash came too late


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """`vedette run --json`, ready; it ends cleanly."""
    running = Run(tmp_path_factory.mktemp("findings") / "state")
    running.ready()
    yield running
    assert 0 == running.stop(), running.said


@pytest.fixture(scope="module")
def nearest() -> set[int]:
    """The pids that came nearest to a finding of which nothing was said."""
    return set()


def as_runc_does(_: Path) -> set[int]:
    """Have runc execute its own copy from memory; the pid is known to runc alone."""
    assert RUNC_CLONE == make_runc_run_from_memory()
    return set()


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param(lambda _: deeds.run_a_program_of_the_image(), id="a program of the image"),
        pytest.param(lambda _: deeds.use_a_layer_that_was_there_at_start(), id="a layer that was there at start"),
        pytest.param(lambda _: deeds.compile_and_run_in_a_container(), id="what a compiler of the image made"),
        pytest.param(lambda _: deeds.load_libraries_of_the_image(), id="a library of the image"),
        pytest.param(deeds.run_a_copy_on_the_host, id="a copied program on the host"),
        pytest.param(deeds.load_a_copied_library_on_the_host, id="a copied library on the host"),
        pytest.param(
            deeds.install_a_package,
            id="a package manager on the host",
            marks=pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb"),
        ),
        pytest.param(as_runc_does, id="runc's copy of itself"),
        pytest.param(deeds.run_again_after_being_unlinked, id="a daemon that executes itself after an upgrade"),
        pytest.param(lambda _: deeds.wait_for_a_port(), id="a script that waits for a port"),
        pytest.param(lambda _: deeds.ask("notminexmr.com"), id="a domain that ends like a pool's"),
        pytest.param(lambda _: deeds.ask("minexmr.com.example.com"), id="a domain that begins as a pool's"),
        pytest.param(lambda _: deeds.ask("example.com"), id="an ordinary domain"),
    ],
)
def test_nothing_is_said_of_what_is_harmless(
    run: Run, nearest: set[int], tmp_path: Path, deed: Callable[[Path], set[int]]
) -> None:
    """When what was done after a near miss is found, nothing was said of it or of anything that it started."""
    before = len(run.findings)

    pids = deed(tmp_path)
    time.sleep(2 * HASH_WAIT_S)  # a finding that waits for a hash can be overtaken, but not for longer
    sentinel = deeds.from_memory("sentinel", "sentinel").pid
    run.finding(FILELESS, sentinel)

    ours = [one for one in run.findings[before:] if is_ours(one) or one.process["pid"] in pids]
    found = [one for one in ours if one.type in NEAR]  # an odd place and a library preloaded may be another's
    assert [(FILELESS, sentinel)] == [(one.type, one.process["pid"]) for one in found]
    nearest.update(pids)


def test_what_is_harmless_was_seen(run: Run, nearest: set[int]) -> None:
    """Nothing was said of the near misses although each of them is among the events."""

    def seen() -> list[dict[str, Any]]:
        return list(events(run.state_dir, Filters()))

    assert nearest
    wait_for(lambda: nearest <= {event["actor"]["tgid"] for event in seen() if "actor" in event}, nearest)
    assert [event for event in seen() if event.get("process_exec", {}).get("path", "").startswith(RUNC_CLONE)]


def is_ours(found: Found) -> bool:
    """Whether it is about something that this process started, however indirectly."""
    return os.getpid() in [one["pid"] for one in found.process["lineage"]]


class Fired(NamedTuple):
    """A deed and the finding that it brought."""

    done: Done
    found: Found
    word: str
    """One of the arguments of the process."""
    between_s: tuple[float, float]
    """Unix time before the deed and after it."""

    @property
    def details(self) -> dict[str, Any]:
        """Return the runtime details."""
        details: dict[str, Any] = self.found.document["service"]["runtimeDetails"]
        return details


Deed = Callable[[Path, str], Done]
"""Does it with a directory of its own at hand, and with a word among the arguments."""


def copied(script: str) -> Deed:
    """Return the deed of running, in a container, what the script has copied to its place."""
    return lambda _, word: deeds.in_container(f"{script}; {deeds.RUN_X}", word, writer=CP)


def named() -> str:
    return f"x-{uuid.uuid4().hex}"


FIRING: dict[str, tuple[str, Deed]] = {
    "a copy": (NEW_BINARY, copied(f"cp {deeds.TRUE} {deeds.X}")),
    "a renamed copy": (NEW_BINARY, copied(f"cp {deeds.TRUE} {deeds.X}.part; mv {deeds.X}.part {deeds.X}")),
    "a copy of what a compiler made": (
        NEW_BINARY,
        copied(f"{deeds.MAKE}; cp {deeds.X}.made {deeds.X}"),
    ),
    "out of a pipe": (
        NEW_BINARY,
        lambda _, word: deeds.in_container(f"cat {deeds.TRUE} | cat > {deeds.X}; {deeds.RUN_X}", word, writer=deeds.SH),
    ),
    "written by a shell": (NEW_BINARY, lambda _, word: deeds.written_by_a_shell(word)),
    "fetched": (NEW_BINARY, lambda _, word: deeds.fetched(word)),
    "LD_PRELOAD": (NEW_LIBRARY, lambda _, word: deeds.preloaded(word)),
    "dlopen": (NEW_LIBRARY, lambda _, word: deeds.opened_at_run_time(word)),
    "a program by the dynamic loader": (NEW_LIBRARY, lambda _, word: deeds.run_by_the_loader(word)),
    "memfd in a container": (FILELESS, lambda _, word: deeds.from_memory_in_container(word)),
    "memfd on the host": (FILELESS, lambda _, word: deeds.from_memory(named(), word)),
    "memfd named as runc's": (FILELESS, lambda _, word: deeds.from_memory("runc_cloned:/proc/self/exe", word)),
    "memfd by execveat": (FILELESS, lambda _, word: deeds.from_memory_without_a_path(word)),
    "unlinked": (FILELESS, deeds.from_an_unlinked_file),
    "bash": (REVERSE_SHELL, lambda _, word: deeds.called_home_by(deeds.BASH, word)),
    "bash by another name": (
        REVERSE_SHELL,
        lambda directory, word: deeds.called_home_by(str(shutil.copy(deeds.BASH, directory / "cron")), word),
    ),
    "python": (REVERSE_SHELL, lambda _, word: deeds.called_home_by_python(word)),
    "python in a container": (REVERSE_SHELL, lambda _, word: deeds.called_home_in_container(word)),
    "DNS over UDP": (MINING_DNS, partial(deeds.asked, deeds.OVER_UDP, "UDP")),
    "DNS over TCP": (MINING_DNS, partial(deeds.asked, deeds.OVER_TCP, "TCP")),
    "DNS by the C library, with a dot": (MINING_DNS, partial(deeds.asked, deeds.BY_THE_C_LIBRARY, "UDP")),
}


@pytest.fixture(scope="module")
def words() -> dict[int, str]:
    """The word in the arguments of each process that was found, by pid."""
    return {}


@pytest.fixture(scope="module", params=FIRING)
def fired(
    run: Run, words: dict[int, str], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Fired:
    """A deed that was done and found."""
    type_, deed = FIRING[request.param]
    one = _done_and_found(run, type_, deed, tmp_path_factory)
    words[one.done.pid] = one.word
    return one


def _done_and_found(run: Run, type_: str, deed: Deed, tmp_path_factory: pytest.TempPathFactory) -> Fired:
    """Do a deed and wait for its finding, until one had its hash: on a busy machine that is later than it waits."""
    one = _once(run, type_, deed, tmp_path_factory)
    for _ in range(MOST_TRIES):
        if "executableSha256Missing" not in one.found.document["service"]["additionalInfo"]["value"]:
            break
        time.sleep(HASH_WAIT_S)  # what an agent that has just started reads first
        one = _once(run, type_, deed, tmp_path_factory)
    return one


def _once(run: Run, type_: str, deed: Deed, tmp_path_factory: pytest.TempPathFactory) -> Fired:
    word = f"word-{uuid.uuid4().hex}"
    before_s = time.time()
    done = deed(tmp_path_factory.mktemp("deed"), word)
    after_s = time.time()
    return Fired(done, run.finding(type_, done.pid), word, (before_s, after_s))


def test_a_deed_is_found(fired: Fired) -> None:
    """The finding names the program and the container, and the pid inside of it."""
    process, resource = fired.found.process, fired.found.document["resource"]

    assert fired.done.path == process["executablePath"]
    assert os.path.basename(fired.done.path) == process["name"]
    assert fired.done.container_id == resource.get("containerDetails", {}).get("id")
    assert fired.done.ns_pid == process["namespacePid"]


def test_the_hash_is_that_of_what_ran(fired: Fired) -> None:
    """Whoever has the file, or had the bytes that were never in one, finds them in the finding."""
    assert fired.done.sha256 == fired.found.process.get("executableSha256"), fired.found.document["service"][
        "additionalInfo"
    ]


def test_the_process_started_with_the_deed(fired: Fired) -> None:
    """The start of the process is Unix time, to a tick."""
    first_s, last_s = fired.between_s

    assert first_s - TICK_S - CLOCKS_S <= fired.found.process["startTime"] <= last_s + CLOCKS_S


def test_the_lineage_begins_with_the_parent(fired: Fired) -> None:
    """Who started the process is known, and so on up to this test."""
    lineage = fired.found.process["lineage"]

    assert fired.done.parent == lineage[0]["executablePath"]
    assert fired.found.process["parentUuid"] == lineage[0]["uuid"]
    assert os.getpid() in [one["pid"] for one in lineage]


def test_the_evidence_says_why(fired: Fired) -> None:
    """The file that was written, the program that wrote it, the address, the domain: what an analyst asks first."""
    context, action = fired.details["context"], fired.found.document["service"].get("action", {})
    writer = context.get("modifyingProcess", {})

    assert fired.done.context == {name: context.get(name) for name in fired.done.context}
    assert fired.done.action == {
        kind: {name: action[kind].get(name) for name in said} for kind, said in fired.done.action.items()
    }
    assert (fired.done.writer, fired.done.writer and os.path.basename(fired.done.writer)) == (
        writer.get("executablePath"),
        writer.get("name"),
    )


def test_a_finding_is_as_guardduty_has_it(fired: Fired, guardduty: Shape) -> None:
    """Whatever reads findings of GuardDuty reads this one."""
    assert [] == list(wrong(fired.found.document, guardduty))


@pytest.fixture(scope="module")
def guardduty() -> Shape:
    """The shape of a finding in the newest API that botocore knows."""
    shape: Shape = botocore.session.get_session().get_service_model("guardduty").shape_for("Finding")
    return shape


def test_the_arguments_stay_out_of_the_finding(fired: Fired) -> None:
    """The command line of a process, where secrets are, is in no finding."""
    assert fired.word not in json.dumps(fired.found.document)


def test_the_arguments_are_in_the_events(run: Run, words: dict[int, str]) -> None:
    """Who keeps the events can look up the command line that a finding leaves out."""

    def look() -> dict[int, str]:
        done = vedette("events", "--json", "--type", "process_exec", "--state-dir", str(run.state_dir))
        execs = map(json.loads, done.stdout.splitlines())
        return {
            event["actor"]["tgid"]: word
            for event in execs
            for word in event["process_exec"]["args"]
            if word in words.values()
        }

    assert words
    wait_for(lambda: words.items() <= look().items(), words)
