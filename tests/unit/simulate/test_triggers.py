"""The triggers as declarations, and those of their parts that touch nothing."""

from __future__ import annotations

import json
import pkgutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agent import findings
from agent import simulate
from agent.errors import HostUnsupported
from agent.simulate import _base
from agent.simulate import _container
from agent.simulate import execution_new_library_loaded as new_library


def stems(package) -> list[str]:
    return [found.name for found in pkgutil.iter_modules(package.__path__) if not found.name.startswith("_")]


def test_each_finding_has_its_trigger_in_a_file_of_the_same_name():
    """Whoever adds a finding shows how to bring it about."""
    assert stems(findings) == stems(simulate)
    assert [finding.name for finding in findings.load()] == [trigger.finding for trigger in simulate.load()]


def test_loading_the_triggers_does_nothing():
    """To list what could be done is not to do it: a fresh interpreter loads them all and starts no program."""
    watch = (
        "import sys; from agent import simulate\n"
        "deeds = {'subprocess.Popen', 'socket.bind', 'os.fork'}\n"
        "sys.addaudithook(lambda event, _: event in deeds and sys.exit(event))\n"
        "print(*(trigger.finding for trigger in simulate.load()), sep='\\n')"
    )

    done = subprocess.run([sys.executable, "-c", watch], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    assert [trigger.finding for trigger in simulate.load()] == done.stdout.splitlines()


def test_a_missing_program_names_its_package():
    """Whoever runs a trigger is told what to install."""
    with pytest.raises(HostUnsupported, match=r"no-such-program is not installed: install the package some-package"):
        _base.program("no-such-program", "some-package")


def test_what_is_scratched_is_gone_when_the_deed_fails():
    """A trigger that fails leaves no file, and what it wrote was for nobody else to read."""
    directories = []

    def fail():
        with _base.scratch() as directory:
            (directory / "file").write_text("x")
            directories.append((directory, stat.S_IMODE(directory.stat().st_mode)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    [(directory, mode)] = directories
    assert (0o700, False) == (mode, directory.exists())


def test_the_container_keeps_what_runc_proposes():
    """Namespaces, masked paths and capabilities stay as runc ships them; the root is writable and the wait bounded."""
    proposed = {
        "ociVersion": "1.0.2",
        "process": {"terminal": True, "args": ["sh"], "noNewPrivileges": True},
        "root": {"path": "rootfs", "readonly": True},
        "linux": {"namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "mount"}]},
    }
    before = json.dumps(proposed)

    changed = _container.bundle(proposed)

    assert {"terminal": False, "args": ["sleep", "60"], "noNewPrivileges": True} == changed["process"]
    assert {"path": "rootfs", "readonly": False} == changed["root"]
    assert proposed["linux"] == changed["linux"]
    assert before == json.dumps(proposed)


def test_a_container_gets_what_its_deed_needs():
    """Beside what runc proposes, not instead of it."""
    proposed = {
        "process": {"capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"]}},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
    }

    changed = _container.bundle(proposed, {"/run/x": Path("/tmp/y")}, ["CAP_SYS_ADMIN"])

    assert {"bounding": ["CAP_KILL", "CAP_SYS_ADMIN"], "effective": ["CAP_KILL", "CAP_SYS_ADMIN"]} == changed[
        "process"
    ]["capabilities"]
    bound = {"destination": "/run/x", "type": "bind", "source": "/tmp/y", "options": ["bind"]}
    assert [*proposed["mounts"], bound] == changed["mounts"]


@pytest.mark.parametrize("place", ["usr/lib/x86_64-linux-gnu", "usr/lib64", "lib64", "usr/lib"])
def test_a_library_is_found_where_distributions_keep_it(tmp_path, place):
    """The trigger needs no compiler: it copies a library that is there."""
    file = tmp_path / place / "libm.so.6"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")

    assert file == new_library.library(tmp_path)


def test_a_host_without_that_library_says_so(tmp_path):
    """On musl there is nothing of the kind, and that is said."""
    with pytest.raises(HostUnsupported, match=r"no libm\.so\.6"):
        new_library.library(tmp_path)
