"""Probes that really cannot be attached: the others watch, and everywhere one can read what is blind and why.

One does not compile, because its text is broken; the tracepoint of another is not there.
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from agent import findings
from agent import health
from agent import probes
from tests.kernel import deeds
from tests.system.running import ROOT
from tests.system.running import WAIT_S
from tests.system.running import command
from tests.system.running import vedette
from tests.system.running import wait_for
from tests.system.test_outages import posted

BROKEN, MISSING = "net_connect", "ptrace"
NOT_COMPILING = "does not compile: net_connect.c:"
NOT_THERE = "system call exit: tracepoint syscalls:sys_exit_ptrace is not there"
BLIND = findings.blind(findings.load(), [BROKEN, MISSING])
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a name so short that a unix socket fits in."""
    return tmp_path_factory.mktemp("blind")


@pytest.fixture
def before(folder: Path) -> tuple[str, ...]:
    """What stands before a command for which the two probes fail, and for nobody else."""
    text = (ROOT / "ebpf" / f"{BROKEN}.c").read_text(encoding="utf-8")
    (folder / "broken.c").write_text(text + "\nint broken(void) { return nowhere; }\n", encoding="utf-8")
    (folder / "nothing").mkdir()
    mounts = (
        f"mount --bind {folder}/broken.c {ROOT}/ebpf/{BROKEN}.c"
        f" && mount --bind {folder}/nothing /sys/kernel/tracing/events/syscalls/sys_exit_{MISSING}"
    )
    return ("unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh")


def test_the_agent_says_so_and_goes_on(folder: Path, before: tuple[str, ...]) -> None:
    """On the wire, in the file and in the log: each of the two with its reason and its findings; the rest is told."""
    with posted(folder, before=before) as post:
        wait_for(lambda: post.standing()["counters"], post.agent.lines)
        at_collector = {probe["name"]: probe for probe in post.standing()["probes"]}
        wait_for((folder / "health.json").exists)
        said = health.read(folder / "health.json")
        pid = deeds.python("import os; os.mkdir(os.sys.argv[1]); os.rmdir(os.sys.argv[1])", str(folder / "gone"))
        wait_for(lambda: pid in [event["actor"]["tgid"] for event in post.events("file_unlink")], post.agent.lines)
        log = post.agent.said

    assert said is not None
    here = {probe.name: probe for probe in said.probes}
    assert {BROKEN, MISSING} == {name for name, probe in at_collector.items() if not probe["attached"]}
    for name, reason in ((BROKEN, NOT_COMPILING), (MISSING, NOT_THERE)):
        blind = list(findings.blind(findings.load(), [name]))
        probe = at_collector[name]
        assert reason in probe["reason"]
        assert blind == probe["blind_findings"]
        assert (False, probe["reason"], blind) == (
            here[name].attached,
            here[name].reason,
            list(here[name].blind_findings),
        )
        assert (
            f"probe {name} is unavailable: {probe['reason']}; findings that go blind: {', '.join(blind) or 'none'}"
            in (log)
        )
    assert "undeclared identifier 'nowhere'" in at_collector[BROKEN]["reason"]


def test_the_doctor_says_so(before: tuple[str, ...]) -> None:
    """For programs and for people: what is unavailable, why, and what goes blind."""
    done = vedette("doctor", "--json", before=before)
    report: dict[str, Any] = json.loads(done.stdout)
    text = vedette("doctor", before=before).stdout

    assert 1 == done.returncode
    assert list(BLIND) == report["blind_findings"] != []
    reasons = {probe["name"]: probe["reason"] for probe in report["probes"] if probe["status"] == "unavailable"}
    assert {BROKEN, MISSING} == reasons.keys()
    assert NOT_COMPILING in reasons[BROKEN]
    assert NOT_THERE in reasons[MISSING]
    rows = text.partition("\nUNAVAILABLE\n")[2].partition("\nby ")[0]
    assert [BROKEN, MISSING] == [row.split()[0] for row in rows.splitlines() if not row.startswith("    ")]
    assert f"{len(probes.load()) - 2} of {len(probes.load())} probes attached" in text


def test_the_live_view_says_so(folder: Path, before: tuple[str, ...]) -> None:
    """Who watches at a terminal sees how many probes are attached, and what is wrong with the others."""
    ours, theirs = pty.openpty()
    line = [*before, *command("run", "--state-dir", str(folder / "state"))]
    run = subprocess.Popen(line, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, cwd=ROOT)
    os.close(theirs)
    shown: list[str] = []
    reader = threading.Thread(target=_read, args=(ours, shown))
    reader.start()
    try:
        for words in (
            f"{len(probes.load()) - 2} of {len(probes.load())} probes",
            f"{BROKEN} is not attached: {NOT_COMPILING}",
            f"{MISSING} is not attached: {NOT_THERE}",
        ):
            wait_for(lambda words=words: words in _words(shown), shown)
    finally:
        run.send_signal(signal.SIGTERM)
        run.wait(WAIT_S)
        reader.join(WAIT_S)
        os.close(ours)


def _words(shown: list[str]) -> str:
    """Return what was shown as one line: a sentence may be broken anywhere."""
    return " ".join(ESCAPES.sub("", "".join(shown)).split())


def _read(terminal: int, shown: list[str]) -> None:
    """Keep what is written to a terminal, until nobody has it open any more."""
    try:
        while chunk := os.read(terminal, 65536):
            shown.append(chunk.decode(errors="replace"))
    except OSError:  # EIO: the last one closed it
        return
