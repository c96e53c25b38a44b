from __future__ import annotations

import msgspec
import pytest

from agent.enrich.snapshots import Snapshots
from agent.enrich.snapshots import cut
from agent.enrich.snapshots import key_of
from agent.enrich.snapshots import name_of
from agent.enrich.users import UserNames
from agent.model import Executable
from agent.model import Host
from tests.unit.enrich.made import BOOT_AT_NS
from tests.unit.enrich.made import HOST
from tests.unit.enrich.made import OWN_MNT
from tests.unit.enrich.made import executed
from tests.unit.enrich.made import forked
from tests.unit.enrich.made import key


def snapshots(host: Host = HOST) -> Snapshots:
    return Snapshots(host=host, users=UserNames(None, None), args_limit=100)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), ()),
        (("abc", "de"), ("abc", "de")),
        (("abc", "def"), ("abc", "de")),
        (("abcdefgh", "x"), ("abcde",)),
        (("abcde", "", "x"), ("abcde",)),
    ],
)
def test_arguments_are_cut_at_the_limit(args: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """A command line of megabytes costs the table its limit and no more."""
    assert expected == cut(args, 5)


@pytest.mark.parametrize(
    ("path", "comm", "expected"),
    [
        (None, None, None),
        (None, "", None),
        (None, "kworker", "kworker"),
        ("/usr/bin/python3.11", "renamed", "python3.11"),
        ("/", "comm", "comm"),
        ("/memfd:x", "comm", "memfd:x"),
    ],
)
def test_a_process_is_named_by_its_executable(path: str | None, comm: str | None, expected: str | None) -> None:
    """A process that renames itself keeps its name; unknown stays unknown."""
    assert expected == name_of(None if path is None else Executable(path=path), comm)


def test_the_uuid_is_stable_and_tells_processes_hosts_and_boots_apart() -> None:
    """The same process has the same uuid after a restart of the agent, no other one has it."""
    others = [
        snapshots().uuid_of(key(5, 8)),
        snapshots().uuid_of(key(6, 7)),
        snapshots(msgspec.structs.replace(HOST, id="m2")).uuid_of(key(5, 7)),
        snapshots(msgspec.structs.replace(HOST, boot_id="b2")).uuid_of(key(5, 7)),
    ]

    assert snapshots().uuid_of(key(5, 7)) == "eb55034c-c014-5b8a-a274-7127506e7a4c"
    assert snapshots().uuid_of(key(5, 7)) not in others
    assert len(set(others)) == 4


def test_no_parent_is_none() -> None:
    """A record that says 0 names nobody."""
    assert key_of(0, 5) is None
    assert key(3, 2) == key_of(3, 20_000_001)


def test_a_child_is_a_copy_with_an_identity_of_its_own() -> None:
    """What a fork does not change is inherited; what only the former life had is not."""
    made = snapshots()
    shell = made.of_exec(executed(5, 1, path="/bin/sh", ld_preload="/x.so"), None, None)
    caller = msgspec.structs.replace(shell, container_id="web", replaced=shell.exe)
    child = made.of_fork(forked((5, 1), (6, 300)), caller)

    assert (key(6, 300), key(5, 1), shell.uuid) == (child.key, child.parent, child.parent_uuid)
    assert BOOT_AT_NS + 3_000_000_005 == child.started_at_ns
    assert ("sh", "web", "/x.so") == (child.name, child.container_id, child.ld_preload)
    assert (None, None, None) == (child.replaced, child.exec_at_ns, child.exited_at_ns)


def test_an_exec_replaces_the_program_and_keeps_the_former() -> None:
    """After `exec tool` in a script, the script's interpreter is still known."""
    made = snapshots()
    shell = made.of_exec(executed(5, 1, path="/bin/sh", filename="/run.sh", interpreted=True), None, None)
    tool = made.of_exec(executed(5, 1, uid=7, mnt_ns=OWN_MNT), shell, None)

    assert shell.exe is not None
    assert ("/bin/sh", "/run.sh") == (shell.exe.path, shell.exe.script_path)
    assert shell.exe == tool.replaced
    assert ("tool", 7, OWN_MNT, shell.uuid) == (tool.name, tool.uid, tool.mnt_ns, tool.uuid)


def test_what_a_record_does_not_know_changes_nothing() -> None:
    """A header of a dying process says 0 for namespaces that are gone; they stay what they were."""
    made = snapshots()
    before = made.of_exec(executed(5, 1), None, None)
    same = made.refreshed(before, executed(5, 1))
    after = made.refreshed(before, executed(5, 1, mnt_ns=0, pid_ns=0, cgroup_id=0, ns_tgid=0, euid=9))

    assert same is before
    assert msgspec.structs.replace(before, euid=9) == after
