"""What is found of sensitive files that are really changed, in the root of a container, by a program in /tmp."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent import simulate
from agent.pipeline import HASH_WAIT_S
from tests.containers import running_container
from tests.system import deeds
from tests.system.deeds import PYTHON
from tests.system.deeds import Done
from tests.system.deeds import X
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

PERSISTENCE = "Persistence:Runtime/SensitiveFileModified"
PRIVILEGE = "PrivilegeEscalation:Runtime/SensitiveFileModified"
DEFENSE = "DefenseEvasion:Runtime/SensitiveFileModified"
TYPES = (PERSISTENCE, PRIVILEGE, DEFENSE)

CRON = "/etc/cron.d/vedette-test"
RULE = "/etc/sudoers.d/vedette-test"
LOG = "/var/log/vedette-test.log"
HISTORY = "/root/.bash_history"

PREPARE = """
( mkdir -p /etc/cron.d /etc/sudoers.d /var/log; rm -f "$file"; echo old > "$file"; echo new > /tmp/prepared )
cp {python} {x}; chmod 755 {x}; exec {x} -I -S -c "$code" "$file" $0
"""
"""In a process of its own, as a finding is looked for by its pid."""
LINGER = f"\nimport time; time.sleep({deeds.HASHED_S})"
WRITE = "os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))"
DELETE = "os.unlink(path)"
RENAME = "os.rename('/tmp/prepared', path)"
AWAY = "os.rename(path, '/tmp/carried')"
LINK = "os.link(path, '/tmp/harmless')"


def changed(
    file: str,
    code: str,
    operation: str,
    *,
    capabilities: Sequence[str] = (),
    binds: Sequence[str] = (),
    **context: object,
) -> Deed:
    """Return the deed of changing a file by `code`, in which it is `path`; each of `binds` is a directory of ours."""
    script = PREPARE.format(python=PYTHON, x=X)

    def deed(directory: Path, word: str) -> Done:
        mounted = dict.fromkeys(binds, directory)
        environment = {"file": file, "code": f"import os, sys\npath = sys.argv[1]\nprint(os.getpid())\n{code}{LINGER}"}
        said = {"filePath": file, "fileOperation": operation} | context
        return in_container(script, word, environment, capabilities=capabilities, binds=mounted, said=said)

    return deed


def in_container(
    script: str,
    word: str,
    environment: Mapping[str, str],
    *,
    capabilities: Sequence[str],
    binds: Mapping[str, Path],
    said: Mapping[str, object],
) -> Done:
    with running_container(capabilities=capabilities, binds=binds) as container:
        done = deeds.succeeded(container.exec(["/bin/sh", "-c", script, word], dict(environment)))
        sha256 = deeds.sha256_of(PYTHON)
    runc = os.path.realpath(shutil.which("runc") or "runc")
    ns_pid = int(done.stdout.split()[0])
    return Done(done.pid, X, sha256, ns_pid, runc, container_id=container.id, context=dict(said))


FIRING: dict[str, tuple[str, Deed]] = {
    f"{operation}, {type_.partition(':')[0]}": (type_, changed(file, code, operation))
    for type_, file in ((PERSISTENCE, CRON), (PRIVILEGE, RULE), (DEFENSE, LOG))
    for operation, code in (("Write", WRITE), ("Delete", DELETE), ("Rename", RENAME), ("Link", LINK))
} | {
    # A name that is taken has to go first; the rename of it would be another finding of the same type and process.
    "Symlink, Persistence": (
        PERSISTENCE,
        changed(CRON, "path += '-2'\nos.symlink('/tmp/prepared', path)", "Symlink", filePath=f"{CRON}-2"),
    ),
    "Symlink, PrivilegeEscalation": (
        PRIVILEGE,
        changed(RULE, "path += '-2'\nos.symlink('/tmp/prepared', path)", "Symlink", filePath=f"{RULE}-2"),
    ),
    "Symlink, DefenseEvasion": (
        DEFENSE,
        changed(LOG, "path += '-2'\nos.symlink('/dev/null', path)", "Symlink", filePath=f"{LOG}-2"),
    ),
    "renamed away": (DEFENSE, changed(LOG, AWAY, "Rename")),
    "a history emptied": (DEFENSE, changed(HISTORY, WRITE, "Write", shellHistoryFilePath=HISTORY)),
    "a history cut by its descriptor": (
        DEFENSE,
        changed(
            HISTORY,
            "fd = os.open(path, os.O_WRONLY | os.O_APPEND)\nos.ftruncate(fd, 0)",
            "Write",
            shellHistoryFilePath=HISTORY,
        ),
    ),
    "a log emptied by who only reads it": (
        DEFENSE,
        changed(LOG, "os.open(path, os.O_RDONLY | os.O_TRUNC)", "Write"),
    ),
    "a log that was added to, then emptied": (
        DEFENSE,
        changed(LOG, "os.open(path, os.O_WRONLY | os.O_APPEND)\n" + WRITE, "Write"),
    ),
    "what was changed just before": (
        PRIVILEGE,
        changed(RULE, f"os.close(os.open('{CRON}-3', os.O_CREAT))\n{WRITE}", "Write", relatedFilePaths=[f"{CRON}-3"]),
    ),
    "steps back": (PRIVILEGE, changed(RULE, "os.unlink('/tmp/../etc/sudoers.d/../sudoers.d/vedette-test')", "Delete")),
    "the root of a process": (PRIVILEGE, changed(RULE, "os.unlink('/proc/self/root' + path)", "Delete")),
    "behind a link": (
        PERSISTENCE,
        changed(CRON, "os.symlink('/etc/cron.d', '/tmp/c')\nos.open('/tmp/c/vedette-test', os.O_WRONLY)", "Write"),
    ),
    "by a descriptor of the directory": (
        PERSISTENCE,
        changed(CRON, "os.unlink('vedette-test', dir_fd=os.open('/etc/cron.d', os.O_RDONLY))", "Delete"),
    ),
    "in a chroot": (
        PERSISTENCE,
        changed(
            CRON,
            "os.makedirs('/tmp/r/etc/cron.d'); os.chroot('/tmp/r'); os.open(path, os.O_CREAT | os.O_WRONLY)",
            "Write",
            capabilities=["CAP_SYS_CHROOT"],
        ),
    ),
    "the host's, mounted": (
        PERSISTENCE,
        changed(
            CRON,
            f"os.open('/host{CRON}', os.O_CREAT | os.O_WRONLY)",
            "Write",
            binds=["/host/etc/cron.d"],
        ),
    ),
    "a directory mounted under another name": (
        PERSISTENCE,
        changed(
            "/etc/passwd",
            "import ctypes; os.mkdir('/tmp/e')\n"
            "assert 0 == ctypes.CDLL(None).mount(b'/etc', b'/tmp/e', None, 4096, None)\n"
            "os.open('/tmp/e/passwd', os.O_WRONLY)",
            "Write",
            filePath="/tmp/e/passwd",
            capabilities=["CAP_SYS_ADMIN"],
        ),
    ),
}


@pytest.fixture(scope="module", params=FIRING)
def fired(
    run: Run, words: dict[int, str], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Fired:
    """A deed that was done and found."""
    type_, deed = FIRING[request.param]
    one = _done_and_found(run, type_, deed, tmp_path_factory)
    words[one.done.pid] = one.word
    return one


QUIET = {
    "logs added to, begun and rotated": """
        exec >> /var/log/vedette.log; echo x; echo y > /var/log/other.log
        mv /var/log/vedette.log /var/log/vedette.log.1; mv /var/log/vedette.log.1 /var/log/vedette.log.2
    """,
    "sensitive files read": "cat /etc/passwd /etc/crontab /etc/login.defs /root/.bash_history; ls /etc/pam.d",
    "files of the same names elsewhere": """
        mkdir -p /tmp/image/etc/cron.d /tmp/image/var/log; echo x > /tmp/image/etc/passwd
        echo x > /tmp/image/etc/cron.d/x; rm /tmp/image/etc/passwd; : > /tmp/image/var/log/wtmp
    """,
    "ordinary files": "echo x > /root/.notes; mv /root/.notes /root/.done; rm /root/.done; echo x > /etc/hostname",
}


@pytest.mark.parametrize("script", QUIET.values(), ids=QUIET)
def test_what_is_ordinary_disturbs_nobody(run: Run, script: str) -> None:
    """Nothing is said of what only looks like it, by whomever it is done: a sentinel behind it is found."""
    before = len(run.findings)
    with running_container() as container:
        in_odd_company = f'cp /bin/sh {X}; {X} -c "$script" 2> /dev/null; :'
        shell = container.exec(["/bin/sh", "-c", in_odd_company], {"script": script})
    time.sleep(2 * HASH_WAIT_S)
    sentinel = deeds.from_memory("sentinel", "sentinel").pid
    run.finding("DefenseEvasion:Runtime/FilelessExecution", sentinel)

    said = [
        (one.type, one.document["service"]["runtimeDetails"]["context"].get("filePath"))
        for one in run.findings[before:]
        if one.type in TYPES and one.document["resource"].get("containerDetails", {}).get("id") == container.id
    ]
    assert (0, []) == (shell.status, said)


KNOWN = {
    "useradd": "useradd --create-home vedette-t; echo vedette-t:x | chpasswd; userdel --remove vedette-t",
    "groupadd": "groupadd vedette-t; groupdel vedette-t",
    "logrotate": """
        echo x > /var/log/vedette.log
        printf '/var/log/vedette.log { copytruncate\\nrotate 1\\nsu root root }' > /tmp/conf
        for _ in 1 2 3; do logrotate --force --state /tmp/state /tmp/conf; echo x >> /var/log/vedette.log; done
    """,
}


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(script, id=name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"needs {name}"))
        for name, script in KNOWN.items()
    ],
)
def test_who_is_known_disturbs_nobody(run: Run, script: str) -> None:
    """Account tools and logrotate of the image may do their work, though something odd is in the same container."""
    before = len(run.findings)
    with running_container(capabilities=["CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER", "CAP_FSETID"]) as container:
        odd = f'{deeds.ODD}; sh -ec "$script"'
        done = container.exec(["/bin/sh", "-c", odd], {"script": script, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    time.sleep(2 * HASH_WAIT_S)
    sentinel = deeds.from_memory("sentinel", "sentinel").pid
    run.finding("DefenseEvasion:Runtime/FilelessExecution", sentinel)

    said = [
        (one.type, one.document["service"]["runtimeDetails"]["context"].get("filePath"))
        for one in run.findings[before:]
        if one.type in TYPES and one.document["resource"].get("containerDetails", {}).get("id") == container.id
    ]
    assert (0, []) == (done.status, said), done


def test_alone_it_is_no_finding(run: Run) -> None:
    """An editor by hand, in a container where nothing else is odd: the event is kept, nothing is said."""
    before = len(run.findings)
    with running_container() as container:
        deeds.succeeded(container.exec(["/bin/sh", "-c", f"mkdir -p /etc/cron.d; echo '# nothing' > {CRON}"]))
    time.sleep(2 * HASH_WAIT_S)
    sentinel = deeds.from_memory("sentinel", "sentinel").pid
    run.finding("DefenseEvasion:Runtime/FilelessExecution", sentinel)

    assert [] == [one for one in run.findings[before:] if one.type in TYPES]


def test_a_script_that_is_new_is_found(run: Run) -> None:
    """A script made in a running container and given to a shell of the image, where something odd was run, too."""
    path = f"{X}.sh"
    with running_container() as container:
        script = f"{deeds.ODD}; echo 'sleep {2 * deeds.HASHED_S}; :' > {path}; exec /bin/sh {path}"
        done = deeds.succeeded(container.exec(["/bin/sh", "-c", script]))
        found = run.finding("Execution:Runtime/NewBinaryExecuted", done.pid)

    assert path == found.document["service"]["runtimeDetails"]["context"]["scriptPath"]


TRIGGERS = [trigger for trigger in simulate.load() if trigger.finding in TYPES]


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda trigger: trigger.finding)
def test_what_simulate_does_is_found(run: Run, trigger: simulate.Trigger) -> None:
    """The deed that an operator can try brings its finding, about the process and the file that it names."""
    deed = trigger.run()

    found = run.finding(trigger.finding, deed.pid)
    context = found.document["service"]["runtimeDetails"]["context"]
    assert (deed.container_id, deed.path) == (found.document["resource"]["containerDetails"]["id"], context["filePath"])
