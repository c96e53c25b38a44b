"""Where names lead that are told as they were written."""

from __future__ import annotations

import os

import pytest

from agent.counters import Counters
from agent.enrich.links import FOLLOWED
from agent.enrich.links import Links
from agent.enrich.procfs import ProcFs
from agent.findings._examples import process
from agent.findings._examples_files import file_link
from agent.findings._examples_files import file_rename
from agent.findings._examples_files import file_truncate
from agent.findings._examples_files import file_unlink
from agent.model import Executable
from agent.model import Process
from agent.model import ProcessKey
from tests.unit.enrich.made import Tree

L = "/tmp/l"  # a name in an event


@pytest.fixture
def links(tree: Tree, counters: Counters) -> Links:
    return Links(procfs=ProcFs(tree.root), counters=counters, limit=4)


def symbolic(path: str, target: str, **changes: object):
    return file_link(path, target, symbolic=True, **changes)


def led(links: Links, event: object) -> dict[str, str]:
    return dict(links.led(event))


def test_a_link_that_was_made_is_followed(links: Links) -> None:
    """By whatever call, in each of its names, but for the last part, which is what the call is about."""
    assert {} == led(links, symbolic(L, "/etc/cron.d"))

    assert {f"{L}/x": "/etc/cron.d/x"} == led(links, file_unlink(f"{L}/x"))
    assert {f"{L}/x": "/etc/cron.d/x"} == led(links, file_truncate(f"{L}/x"))
    assert {f"{L}/x": "/etc/cron.d/x"} == led(links, file_rename("/tmp/y", f"{L}/x"))
    assert {f"{L}/x": "/etc/cron.d/x"} == led(links, file_link("/tmp/y", f"{L}/x"))
    assert {} == led(links, file_unlink("/tmp/lx/y"))
    assert {} == led(links, file_unlink("/tmp/x"))


def test_links_lead_to_links(links: Links) -> None:
    """Relative ones from where they lie, and not for ever."""
    links.led(symbolic("/tmp/a", "../etc"))
    links.led(symbolic("/tmp/b", "a/cron.d"))
    links.led(symbolic("/tmp/round", "/tmp/round/x"))

    assert {"/tmp/b/x": "/etc/cron.d/x"} == led(links, file_unlink("/tmp/b/x"))
    assert {"/tmp/round/y": "/tmp/round" + FOLLOWED * "/x" + "/y"} == led(links, file_unlink("/tmp/round/y"))


def test_a_link_that_is_gone_is_followed_no_more(links: Links) -> None:
    """Taken away, renamed, exchanged or replaced; nobody is led by what failed, or in another namespace."""
    links.led(symbolic(L, "/etc"))
    links.led(file_rename(L, "/tmp/m"))
    assert {} == led(links, file_unlink(f"{L}/x"))
    assert {"/tmp/m/x": "/etc/x"} == led(links, file_unlink("/tmp/m/x"))
    links.led(file_rename("/tmp/d", "/tmp/m", flags_raw=2))
    assert {"/tmp/d/x": "/etc/x"} == led(links, file_unlink("/tmp/d/x"))
    links.led(file_rename("/tmp/e", "/tmp/d"))
    assert {} == led(links, file_unlink("/tmp/d/x"))
    assert {} == led(links, file_unlink("/tmp/e/x"))
    links.led(symbolic(L, "/etc", mnt_ns=7))
    links.led(symbolic("/tmp/n", "/etc", result=-17))
    assert {} == led(links, file_unlink(f"{L}/x"))
    assert {} == led(links, file_unlink("/tmp/n/x"))
    links.led(file_unlink(L, mnt_ns=7))
    assert 0 == links.size()


def test_the_way_through_a_process_is_looked_up(links: Links, tree: Tree) -> None:
    """What is not there, or no directory, leads nowhere."""
    event = file_unlink("/proc/self/cwd/cron.d/x")
    key = event.actor
    home = tree.add(key.tgid, key.started_ticks, cwd="/etc")
    (home / "fd").mkdir(exist_ok=True)
    os.symlink("/var/log", home / "fd" / "7")
    os.symlink("pipe:[1]", home / "fd" / "8")

    assert {event.path: "/etc/cron.d/x"} == led(links, event)
    assert {"/proc/thread-self/fd/7/wtmp": "/var/log/wtmp"} == led(links, file_unlink("/proc/thread-self/fd/7/wtmp"))
    for name in ("/proc/self/fd/8/x", "/proc/self/fd/9/x", "/proc/self/cwd", "/proc/1/cwd/x", "/proc/self/fd/7x/y"):
        assert {} == led(links, file_unlink(name))
    (home / "root" / "proc" / "1").mkdir(parents=True)
    os.symlink("/etc", home / "root" / "proc" / "1" / "cwd")
    assert {"/proc/1/cwd/x": "/etc/x"} == led(links, file_unlink("/proc/1/cwd/x"))


def test_who_is_another_by_now_leads_nowhere(links: Links, tree: Tree) -> None:
    """A pid that was used again."""
    event = file_unlink("/proc/self/cwd/x")
    tree.add(event.actor.tgid, event.actor.started_ticks + 1, cwd="/etc")

    assert {} == led(links, event)


def test_a_script_by_its_descriptor_is_what_that_leads_to(links: Links, tree: Tree) -> None:
    """However the descriptor was named; another script is where it says."""

    def given(path: str | None) -> Process:
        return process(exe=Executable(path="/bin/sh", script_path=path), key=ProcessKey(9, 50))

    home = tree.add(9, 50)
    (home / "fd").mkdir()
    os.symlink("/memfd:x (deleted)", home / "fd" / "3")

    for path in ("/dev/fd/3", "/proc/self/fd/3", "/proc/thread-self/fd/3"):
        assert ((path, "/memfd:x (deleted)"),) == links.script(given(path))
    for path in ("/dev/fd/4", "/dev/fd/3/x", "/tmp/dev/fd/3", "x.sh", None):
        assert () == links.script(given(path))
    assert () == links.script(process(exe=None))


def test_a_full_table_forgets_the_oldest_and_says_so(links: Links, counters: Counters) -> None:
    """The newest links are those that somebody hides behind."""
    for number in range(5):
        links.led(symbolic(f"/tmp/{number}", "/etc"))

    assert (4, 1) == (links.size(), counters.get("enrich.evicted_links"))
    assert {} == led(links, file_unlink("/tmp/0/x"))
    assert {"/tmp/4/x": "/etc/x"} == led(links, file_unlink("/tmp/4/x"))
