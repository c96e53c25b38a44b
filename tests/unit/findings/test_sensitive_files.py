"""Which files are sensitive, which changes of them are ordinary, and what the same lineage changed beside."""

from __future__ import annotations

import os
import re

import pytest
from msgspec.structs import replace

from agent import findings
from agent.findings import _recent
from agent.findings import _sensitive
from agent.findings._examples import file_open
from agent.findings._examples import in_container
from agent.findings._examples import mount
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples_files import file_link
from agent.findings._examples_files import file_rename
from agent.findings._examples_files import file_truncate
from agent.findings._examples_files import file_unlink
from agent.intel import Snapshot
from agent.model import Context
from agent.model import ProcessKey
from agent.sensor.ebpf import sensitive

STEMS = ("persistence", "privilege_escalation", "defense_evasion")
NOT_KNOWN_TO_THE_KERNEL = {
    # No name of a leaf or of a directory says it.
    "/etc/periodic/*/*",
    "/etc/rc?.d/*",
    "/etc/networkd-dispatcher/*/*",
    "/var/log/journal/*/*",
    "/run/log/journal/*/*",
    # Names that good programs read all day, or like theirs: each open would be looked up.
    "/etc/nsswitch.conf",
    "/etc/ldap.conf",
    "/etc/ldap/ldap.conf",
    "/etc/openldap/ldap.conf",
    "/etc/logrotate.conf",
    # Directories with common names.
    "/etc/initramfs-tools/hooks/*",
    "/etc/dnf/plugins/*",
    "/var/spool/anacron/*",
    "/usr/share/polkit-1/actions/*",
    "/var/log/apt/*",
    "/var/log/mysql/*",
    "/var/log/postgresql/*",
}
"""Of these an old file that nobody may execute can be changed unseen, while its cgroup floods."""
A = os.O_WRONLY | os.O_APPEND


class Nothing:
    def excuse(self, finding, event, context):
        return None


class Everything:
    def excuse(self, finding, event, context):
        return "known"


def context(around=None, benign=None, changes=None):
    around = around or on_host()
    return Context(
        host=around.host,
        actor=around.actor,
        lineage=around.lineage,
        container=around.container,
        intel=Snapshot([]),
        benign=benign or Nothing(),
        changes=changes or findings.recent_changes(),
    )


def found(stem, event, around=None):
    """Return the path and the operation, or None."""
    one = _sensitive.changed(stem, event, context(around))
    return one and (one.path, one.change.operation)


def listed_paths():
    return [
        path for stem in STEMS for files in _sensitive.entries(stem) if not files.changed_by for path in files.paths
    ]


def is_known_to_the_kernel(path):
    """Answer whether every file of a pattern is on the kernel's list, for its name, its directory or both."""
    parent, leaf = path.split("/")[-2:]
    names = {(entry.parent.decode(), entry.leaf.decode()) for entry in sensitive.listed()}
    parent = "" if re.search(r"[*?]", parent) else parent
    leaf = "" if re.search(r"[*?]", leaf) else leaf
    return bool({(parent, leaf), ("", leaf), (parent, "")} & names - {("", "")})


@pytest.mark.parametrize("path", sorted(set(listed_paths()) - NOT_KNOWN_TO_THE_KERNEL))
def test_what_is_sensitive_is_never_throttled(path):
    """A flood of writes hides no change of a file that a finding is about: the kernel knows it."""
    assert is_known_to_the_kernel(path)


def test_no_exception_is_out_of_date():
    """What the kernel does not know is what is said here."""
    assert set() == {path for path in NOT_KNOWN_TO_THE_KERNEL if is_known_to_the_kernel(path)}
    assert set() == NOT_KNOWN_TO_THE_KERNEL - set(listed_paths())


@pytest.mark.parametrize("stem", STEMS)
def test_the_data_is_whole(stem):
    """Each entry says what its files are; paths are absolute or of any directory, and reach what they name."""
    for files in _sensitive.entries(stem):
        assert files.what
        assert all(path.startswith(("/", "**/")) for path in files.paths + files.changed_by)
        for path in files.paths:
            assert _sensitive.files_at(stem, path.replace("**/", "/a/b/").replace("**", "a/b").replace("?", "1"))


def test_what_several_entries_name_belongs_to_the_first():
    """Who was logged in is no ordinary log: to add to it is no service's business."""
    assert frozenset() == _sensitive.files_at("defense_evasion", "/var/log/wtmp").ordinary
    assert "append" in _sensitive.files_at("defense_evasion", "/var/log/auth.log").ordinary


EVASIONS = [
    pytest.param("/etc/../etc/passwd", "/etc/passwd", id="steps back"),
    pytest.param("/tmp/x/../../../etc/passwd", "/etc/passwd", id="more steps back than there are"),
    pytest.param("/proc/self/root/etc/passwd", "/etc/passwd", id="its own root"),
    pytest.param("/proc/1/task/1/root/etc/passwd", "/etc/passwd", id="the root of a thread"),
    pytest.param("/proc/1/root/proc/2/root/etc/passwd", "/etc/passwd", id="a root in a root"),
    pytest.param("/proc/1/root/../etc/passwd", "/etc/passwd", id="a step back out of a root"),
    pytest.param("/tmp/../proc/1/root/etc/passwd", "/etc/passwd", id="steps back before a root"),
    pytest.param("/…/etc/passwd", "/etc/passwd", id="padded until its beginning was lost"),
    pytest.param("…/etc/passwd", "/etc/passwd", id="so deep that its beginning was lost"),
    pytest.param("/proc/1/rootfs/etc/passwd", "/proc/1/rootfs/etc/passwd", id="no root"),
    pytest.param("/etc/..passwd", "/etc/..passwd", id="dots in a name"),
]


@pytest.mark.parametrize(("written", "meant"), EVASIONS)
def test_one_file_has_many_names(written, meant):
    """However a path is written, the same file is meant."""
    assert meant == _sensitive.plain(written)


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(file_open("/host/etc/passwd"), id="opened"),
        pytest.param(file_unlink("/mnt/root/etc/passwd"), id="taken away, a directory deeper"),
        pytest.param(
            file_open("/data/etc/passwd", sensitive=True, upper=None), id="of another file system, by its mark"
        ),
    ],
)
def test_the_host_s_files_in_a_container(event):
    """The root of the host, mounted in a container, is where escapes write; on the host the same path is another."""
    assert found("persistence", event, in_container()) is not None
    assert found("persistence", event, on_host()) is None


@pytest.mark.parametrize("change", [{"sensitive": False, "upper": None}, {"sensitive": True, "upper": True}])
def test_a_container_s_own_files_elsewhere(change):
    """What an image holds under another directory are no accounts."""
    assert found("persistence", file_open("/data/etc/passwd", **change), in_container()) is None


@pytest.mark.parametrize(
    ("stem", "path"),
    [
        pytest.param(
            "defense_evasion", "/srv/restored/etc/logrotate.d/wtmp", id="every file of its directory is marked"
        ),
        pytest.param("persistence", "/srv/restored/etc/pam.d/passwd", id="by another list"),
        pytest.param("persistence", "/srv/restored/etc/skel/.bashrc", id="in whatever directory"),
        pytest.param("persistence", "/srv/restored/etc/environment", id="under the name of another"),
    ],
)
def test_a_copy_elsewhere_is_no_mount(stem, path):
    """A backup that is restored has the kernel's mark for its own two last names, and no other's."""
    assert found(stem, file_open(path, sensitive=True, created=True)) is None


def test_a_bind_mount_hides_nothing():
    """The kernel names the directory by its own name: /etc, seen as /tmp/e, is marked."""
    assert ("/tmp/e/passwd", "Write") == found("persistence", file_open("/tmp/e/passwd", sensitive=True))
    assert found("persistence", file_open("/tmp/e/passwd", sensitive=False)) is None
    assert found("persistence", file_open("/tmp/etc/passwd", sensitive=True)) is None, "what builds an image"
    assert found("persistence", file_open("/tmp/e/passwd", sensitive=True, flags_raw=os.O_RDONLY)) is None
    assert found("defense_evasion", file_open("/tmp/e/.bash_history", sensitive=True, flags_raw=A)) is None


BIND, MOVE, REMOUNT, SHARED = 4096, 8192, 32, 1 << 20
HIDDEN = [
    pytest.param(mount(source="/tmp/x", target="/etc/passwd", flags_raw=BIND), "/etc/passwd", id="a file"),
    pytest.param(mount(source="tmpfs", target="/etc/cron.d", flags_raw=0), "/etc/cron.d", id="a directory"),
    pytest.param(mount(source="/tmp/x", target="/etc/cron.d", flags_raw=MOVE), "/etc/cron.d", id="by a move"),
    pytest.param(
        mount(operation="move_mount", source="tmpfs", target="/etc/cron.d", flags_raw=4),
        "/etc/cron.d",
        id="by a handle",
    ),
    pytest.param(mount(source="/etc/passwd", target="/tmp/x", flags_raw=BIND), "/etc/passwd", id="seen elsewhere"),
    pytest.param(mount(source="/etc/cron.d", target="/tmp/x", flags_raw=BIND), "/etc/cron.d", id="with its directory"),
    pytest.param(mount(operation="open_tree", source="/etc/cron.d", target=None), "/etc/cron.d", id="to be seen"),
    pytest.param(mount(source="/proc/1/root/etc/passwd", target="/tmp/x", flags_raw=BIND), "/etc/passwd", id="a root"),
]
NOT_HIDDEN = [
    pytest.param(mount(source="/tmp/x", target="/etc/passwd", flags_raw=BIND, result=-1), id="refused"),
    pytest.param(mount(source="/x", target="/etc/passwd", flags_raw=BIND | REMOUNT), id="made read-only"),
    pytest.param(mount(source="/x", target="/etc/passwd", flags_raw=SHARED), id="shared"),
    pytest.param(mount(operation="umount", source=None, target="/etc/passwd", flags_raw=0), id="taken away again"),
    pytest.param(mount(source="/etc/passwd", target="/tmp/x", flags_raw=0), id="a source that is no path"),
    pytest.param(mount(source=None, target="/newroot/etc/passwd", flags_raw=BIND), id="a root that is made"),
]


@pytest.mark.parametrize(("event", "path"), HIDDEN)
def test_a_mount_hides_a_file_or_shows_it_elsewhere(event, path):
    """Whoever reads the name afterwards reads another file, or whoever writes another name writes this one."""
    assert (path, "Link") == found("persistence", event)


@pytest.mark.parametrize("event", NOT_HIDDEN)
def test_other_mounts_do_not(event):
    """What was not done, or puts nothing anywhere."""
    assert found("persistence", event) is None


def test_a_name_that_leads_elsewhere_is_that():
    """By a link on the way, which enrichment has followed."""
    led = (("/tmp/l/x", "/etc/cron.d/../cron.d/x"),)
    event = file_rename("/tmp/y", "/tmp/l/x")

    assert _sensitive.changed("persistence", event, context()) is None
    one = _sensitive.changed("persistence", event, replace(context(), led_to=led))
    assert ("/etc/cron.d/x", "Rename") == (one.path, one.change.operation)


LOG = "/var/log/syslog"
ORDINARY = [
    pytest.param(file_open(LOG, flags_raw=A), id="added to"),
    pytest.param(file_open(LOG, created=True, flags_raw=os.O_WRONLY | os.O_TRUNC), id="begun"),
    pytest.param(file_rename(LOG, f"{LOG}.1"), id="rotated"),
    pytest.param(file_rename(LOG, f"{LOG}-20261124"), id="rotated by date"),
    pytest.param(file_rename(f"{LOG}.1", f"{LOG}.2"), id="rotated again"),
    pytest.param(file_rename(f"{LOG}.9.gz", f"{LOG}.10.gz"), id="rotated often"),
    pytest.param(file_rename(f"{LOG}.1", f"{LOG}.1.gz"), id="compressed"),
]
NOT_ORDINARY = [
    pytest.param(file_open(LOG, flags_raw=A | os.O_TRUNC), id="emptied, then added to"),
    pytest.param(file_open(LOG, flags_raw=os.O_TRUNC), id="emptied by who only reads"),
    pytest.param(file_open(LOG, flags_raw=os.O_RDWR), id="overwritten"),
    pytest.param(file_truncate(LOG), id="cut"),
    pytest.param(file_unlink(LOG), id="taken away"),
    pytest.param(file_rename(LOG, f"{LOG}.old"), id="put aside"),
    pytest.param(file_rename(LOG, "/tmp/syslog.1"), id="carried off"),
    pytest.param(file_rename(LOG, f"{LOG}.1", flags_raw=2), id="exchanged"),
    pytest.param(file_rename(f"{LOG}.tmp", LOG), id="replaced"),
    pytest.param(file_rename(f"{LOG}.1", LOG), id="replaced by the one before"),
    pytest.param(file_rename("/tmp/log", "/var/log"), id="replaced with its directory"),
    pytest.param(file_link(LOG, "/tmp/x"), id="another file's name"),
    pytest.param(file_link("/tmp/x", LOG), id="given another name"),
    pytest.param(file_link("/var/log", "/tmp/x", symbolic=True), id="its directory linked elsewhere"),
]


@pytest.mark.parametrize("event", ORDINARY)
def test_what_services_do_to_logs(event):
    """It is the daily life of a log."""
    assert found("defense_evasion", event) is None


@pytest.mark.parametrize("event", NOT_ORDINARY)
def test_what_they_do_not(event):
    """After it something is not there that was."""
    assert found("defense_evasion", event) is not None


@pytest.mark.parametrize(
    ("old", "quiet"),
    [
        ("/root/.bash_history-0421.tmp", True),
        ("/root/.zsh_history.new", True),
        ("/root/.x", False),
        ("/root/.bash_history-/x", False),
    ],
)
def test_a_shell_saves_its_history(old, quiet):
    """It writes a file that is named after the other, and puts it in its place."""
    new = "/root/.zsh_history" if "zsh" in old else "/root/.bash_history"
    assert quiet is (found("defense_evasion", file_rename(old, new)) is None)


def test_what_cannot_be_named_is_nothing():
    """A name that could not be read is of no file, unless the caller's own words tell."""
    raced = file_open("…", user_path="/etc/passwd", flags=("fd_raced",))

    assert found("persistence", file_open("…")) is None
    assert ("/etc/passwd", "Write") == found("persistence", raced)
    assert found("persistence", replace(file_unlink("/x"), path=None)) is None


def test_a_program_of_the_web_service_s_must_be_near():
    """Who was started by a web service long ago, through many others, is another program."""
    page = file_open("/var/www/x.php")
    shells = [process("/usr/bin/sh")] * 6

    assert found("persistence", page, on_host(lineage=(*shells[1:], process("/usr/sbin/nginx")))) is not None
    assert found("persistence", page, on_host(lineage=(*shells, process("/usr/sbin/nginx")))) is None
    assert found("persistence", page, on_host(lineage=(process(exe=None),))) is None


def test_who_is_known_is_excused():
    """Package managers change such files all day; and what is excused is not remembered."""
    changes = findings.recent_changes()
    quiet = context(benign=Everything(), changes=changes)

    assert _sensitive.judge("x", "persistence", file_open("/etc/passwd"), quiet) is None
    loud = _sensitive.judge("x", "persistence", file_open("/etc/shadow"), context(changes=changes))
    assert () == loud.related_file_paths


def related(changes, path, *, by=1000, parent=999, at_ns=0, around=None):
    one = process(key=ProcessKey(by, 1))
    near = (process(key=ProcessKey(parent, 1)), process(key=ProcessKey(1, 0)))
    around = around or on_host(actor=one, lineage=near)
    return changes.related(file_open(path, at_ns=at_ns), context(around), path)


def test_what_a_relative_changed_is_named():
    """Newest first, each once, the file itself never."""
    changes = findings.recent_changes()

    assert () == related(changes, "/a")
    assert ("/a",) == related(changes, "/b")
    assert ("/b", "/a") == related(changes, "/c", by=1001), "by a sibling"
    assert ("/c", "/b") == related(changes, "/a")


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"by": 2, "parent": 3}, id="a stranger, who has process 1 in common as everybody has"),
        pytest.param({"at_ns": _recent.WINDOW_NS + 1}, id="much later"),
        pytest.param({"around": in_container(actor=process(key=ProcessKey(1000, 1)))}, id="in a container"),
    ],
)
def test_what_a_stranger_changed_is_not(how):
    """Another lineage, another time or another place is another story."""
    changes = findings.recent_changes()
    related(changes, "/a")

    assert () == related(changes, "/b", **how)


def test_the_memory_is_bounded():
    """A flood of changes pushes out what is older, and one finding shows 25 of them."""
    changes = findings.recent_changes()
    for number in range(_recent.LIMIT + 1):
        shown = related(changes, f"/{number}")

    assert 25 == len(shown)
    assert _recent.LIMIT == len(changes._changes)
