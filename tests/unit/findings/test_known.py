"""Known good company: whom it excuses, whom it must not, and what a damaged file says."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from agent import findings
from agent.classify import Classifier
from agent.counters import Counters
from agent.errors import ConfigError
from agent.findings import _excuses
from agent.findings import _known
from agent.findings._examples import AFTER_START
from agent.findings._examples import AT_START
from agent.findings._examples import HOST_MNT_NS
from agent.findings._examples import executable
from agent.findings._examples import fd_dup
from agent.findings._examples import file_open
from agent.findings._examples import in_container
from agent.findings._examples import library_map
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import process_exec
from agent.findings._examples import unknown_start
from agent.findings._examples import written_by
from agent.findings._examples_files import file_link
from agent.findings._examples_files import file_rename
from agent.findings._examples_files import file_truncate
from agent.findings._examples_files import file_unlink
from agent.intel import Snapshot
from agent.model import Origin
from agent.model import Sensitivity
from agent.model import Writer
from tests.unit.findings import _mutants

NEW = "Execution:Runtime/NewBinaryExecuted"
FILELESS = "DefenseEvasion:Runtime/FilelessExecution"
LIBRARY = "Execution:Runtime/NewLibraryLoaded"
SHELL = "Execution:Runtime/ReverseShell"
COMMAND = "Persistence:Runtime/SuspiciousCommand"
FILES = "Persistence:Runtime/SensitiveFileModified"


def packaged(path, **changes):
    return executable(path, package=path.rpartition("/")[2], **changes)


EXCUSES = (
    _excuses.Excuse(finding=NEW, reason="linked", at=frozenset({Sensitivity.BALANCED}), writer=("/usr/bin/*-ld",)),
    _excuses.Excuse(finding=FILELESS, reason="copy", at=frozenset({Sensitivity.BALANCED}), replaced=("/usr/bin/runc",)),
    _excuses.Excuse(
        finding=LIBRARY,
        reason="company",
        at=frozenset({Sensitivity.BALANCED}),
        actor=("/usr/sbin/useradd",),
        parent=("/usr/bin/dash",),
        under=("/usr/bin/dpkg",),
    ),
    _excuses.Excuse(
        finding=SHELL,
        reason="by hand",
        at=frozenset({Sensitivity.BALANCED}),
        actor=("/opt/bin/tool",),
        unpackaged="comes without",
    ),
    _excuses.Excuse(
        finding=COMMAND,
        reason="company",
        at=frozenset({Sensitivity.BALANCED}),
        actor=("/usr/sbin/useradd",),
        under=("/usr/bin/dpkg",),
        started_by=("/usr/bin/dash",),
    ),
    _excuses.Excuse(
        finding=FILES,
        reason="a tree",
        at=frozenset({Sensitivity.BALANCED}),
        script=("/usr/sbin/builder",),
        started_by=("/usr/bin/dash",),
        chroot=True,
    ),
)
LINKER = executable("/usr/bin/x86_64-ld")
RUNC = packaged("/usr/bin/runc", size_bytes=100)
USERADD = packaged("/usr/sbin/useradd")
DASH = process(exe=packaged("/usr/bin/dash"), container_id=None)
DPKG = process(exe=packaged("/usr/bin/dpkg"), container_id=None)
COPY = process_exec(memfd=True, size_bytes=100, mnt_ns=HOST_MNT_NS)


def linked(exe=LINKER, **writer):
    return in_container(writer=written_by(exe, **writer))


def running(**before):
    return on_host(actor=process(replaced=replace(RUNC, **before)))


def installing(exe=USERADD, lineage=(DASH, DPKG), **actor):
    return on_host(actor=process(exe=exe, **({"container_id": None} | actor)), lineage=lineage)


def by_hand(**exe):
    return on_host(actor=process(exe=executable("/opt/bin/tool", **exe), container_id=None))


BUILDER = process("/usr/bin/perl", script=packaged("/usr/sbin/builder"), container_id=None)
TREE, BELOW = "/srv/tree/etc/passwd", "/etc/passwd"
IN_TREE = file_open(TREE, path_in_root=BELOW)
INSIDE = process("/srv/tree/usr/bin/dpkg", container_id=None)


def building(*lineage, actor=INSIDE):
    return on_host(actor=actor, lineage=lineage or (BUILDER, DASH))


def copies(*ran, size_bytes=100):
    """A process that runs a copy, started by one that runs a copy and ran `ran` before; in a namespace of its own."""
    copy = executable("/memfd:x", memfd=True, size_bytes=size_bytes)
    before, *further = ran
    parent = process(exe=copy, replaced=before, container_id=None)
    lineage = (parent, *(process(exe=exe, container_id=None) for exe in further))
    return on_host(actor=process(exe=copy, replaced=copy, container_id=None), lineage=lineage)


class Host:
    """A host on which nobody but root may write /opt/bin/tool, which is no package's; the rest is as stated."""

    def of(self, exe):
        if exe.path in {"/opt/bin/tool", "/usr/sbin/useradd"} and exe.package is None:
            return Origin(package=None) if exe.size_bytes is None else None
        return _known.AsStated().of(exe)


NOT_EXCUSED = [
    pytest.param(NEW, process_exec(), in_container(), id="nobody seen writing"),
    pytest.param(NEW, process_exec(), linked(None), id="a writer whose program is unknown"),
    pytest.param(NEW, process_exec(), linked(executable("/usr/bin/cp")), id="another program of the image"),
    pytest.param(NEW, process_exec(), linked(executable("/tmp/x86_64-ld")), id="the name elsewhere"),
    pytest.param(NEW, process_exec(), linked(executable("/usr/bin/d/x86_64-ld")), id="deeper than the star reaches"),
    pytest.param(NEW, process_exec(), linked(executable("/usr/bin/x86_64-ld2")), id="a longer name"),
    pytest.param(NEW, process_exec(), linked(replace(LINKER, changed_at_ns=AFTER_START)), id="a linker brought in"),
    pytest.param(NEW, process_exec(), linked(replace(LINKER, changed_at_ns=None)), id="a linker of unknown age"),
    pytest.param(NEW, process_exec(), linked(replace(LINKER, upper=True)), id="a linker in the writable layer"),
    pytest.param(NEW, process_exec(), linked(container_id=None), id="a linker of the host"),
    pytest.param(NEW, process_exec(), linked(container_id="other"), id="a linker of another container"),
    pytest.param(
        NEW,
        process_exec(),
        in_container(container=unknown_start(), writer=written_by(LINKER)),
        id="in a container of unknown age",
    ),
    pytest.param(
        NEW, process_exec(), on_host(writer=written_by(LINKER, container_id=None)), id="on the host, by its linker"
    ),
    pytest.param(FILELESS, process_exec(), linked(), id="another finding"),
    pytest.param(FILELESS, COPY, on_host(), id="nothing known of what ran before"),
    pytest.param(FILELESS, COPY, running(path="/usr/bin/bash"), id="another program of the same size"),
    pytest.param(FILELESS, COPY, running(size_bytes=101), id="another size"),
    pytest.param(FILELESS, COPY, running(size_bytes=None), id="an unknown size"),
    pytest.param(FILELESS, COPY, running(memfd=True), id="a memfd that takes the path"),
    pytest.param(FILELESS, COPY, running(unlinked=True), id="an unlinked file that had the path"),
    pytest.param(FILELESS, replace(COPY, mnt_ns=HOST_MNT_NS + 1), running(), id="in another mount namespace"),
    pytest.param(
        FILELESS,
        COPY,
        replace(running(), host=replace(running().host, mnt_ns=None)),
        id="on a host of unknown namespaces",
    ),
    pytest.param(FILELESS, COPY, running(package=None), id="a runtime that is no package's"),
    pytest.param(LIBRARY, library_map(), installing(executable("/usr/sbin/useradd")), id="no package's content"),
    pytest.param(LIBRARY, library_map(), installing(packaged("/usr/sbin/usermod")), id="another of a package"),
    pytest.param(LIBRARY, library_map(), installing(None), id="an actor whose program is unknown"),
    pytest.param(LIBRARY, library_map(), installing(replace(USERADD, unlinked=True)), id="an unlinked one"),
    pytest.param(LIBRARY, library_map(), installing(replace(USERADD, memfd=True)), id="a memfd by its name"),
    pytest.param(LIBRARY, library_map(), installing(ld_preload="/tmp/x.so"), id="with code of another"),
    pytest.param(LIBRARY, library_map(), installing(environment_cut=True), id="perhaps with code of another"),
    pytest.param(LIBRARY, library_map(), installing(lineage=()), id="under nobody"),
    pytest.param(LIBRARY, library_map(), installing(lineage=(DASH,)), id="not under the ancestor"),
    pytest.param(LIBRARY, library_map(), installing(lineage=(DPKG, DASH)), id="the parent farther up"),
    pytest.param(LIBRARY, library_map(), installing(container_id="other"), id="in another container"),
    pytest.param(
        LIBRARY,
        library_map(),
        replace(installing(container_id="other"), container=in_container().container),
        id="in another container than the event",
    ),
    pytest.param(FILELESS, replace(COPY, mnt_ns=1), copies(replace(RUNC, size_bytes=99)), id="a copy of another"),
    pytest.param(FILELESS, replace(COPY, size_bytes=99), copies(RUNC), id="of another size than the copy before"),
    pytest.param(FILELESS, replace(COPY, mnt_ns=1), copies(packaged("/usr/bin/bash"), RUNC), id="a shell between"),
    pytest.param(FILELESS, COPY, copies(RUNC, size_bytes=99), id="by way of something of another size"),
    pytest.param(COMMAND, process_exec(), installing(lineage=(DPKG,)), id="that nobody known started"),
    pytest.param(FILES, file_open(TREE), building(), id="below the tree, but in no chroot"),
    pytest.param(FILES, IN_TREE, building(DASH), id="in a chroot, with no builder"),
    pytest.param(FILES, IN_TREE, building(DASH, actor=process(exe=None, container_id=None)), id="by nobody known"),
    pytest.param(FILES, IN_TREE, building(BUILDER), id="a builder that nobody started"),
    pytest.param(FILES, IN_TREE, building(BUILDER, DPKG), id="a builder that another started"),
    pytest.param(FILES, IN_TREE, building(BUILDER, INSIDE, DASH), id="a builder whose starter is farther up"),
    pytest.param(FILES, IN_TREE, building(BUILDER, replace(DASH, exe=None)), id="started by nobody known"),
    pytest.param(
        FILES,
        IN_TREE,
        building(replace(BUILDER, script=executable("/usr/sbin/builder")), DASH),
        id="a script of that path that is no package's",
    ),
    pytest.param(
        FILES,
        IN_TREE,
        building(replace(BUILDER, script=None, exe=executable("/usr/bin/perl", script_path="/usr/sbin/builder")), DASH),
        id="a script of that name that nobody looked at",
    ),
    pytest.param(
        FILES, IN_TREE, building(replace(BUILDER, script=None, exe=packaged("/usr/sbin/builder")), DASH), id="no script"
    ),
    pytest.param(FILES, IN_TREE, building(replace(BUILDER, ld_preload="/tmp/x.so"), DASH), id="with another's code"),
    pytest.param(FILES, replace(IN_TREE, flags=("fd_raced",)), building(), id="the name of a decoy"),
    pytest.param(FILES, file_unlink(TREE), building(), id="taken away outside"),
    pytest.param(FILES, file_truncate(TREE), building(), id="cut outside"),
    pytest.param(FILES, file_rename("/x", TREE, new_path_in_root=BELOW), building(), id="brought from outside"),
    pytest.param(FILES, file_rename(TREE, "/x", old_path_in_root=BELOW), building(), id="brought outside"),
    pytest.param(FILES, file_link(TREE, "/x", path_in_root=BELOW), building(), id="another name of one outside"),
    pytest.param(FILES, file_link("/x", TREE, target_in_root=BELOW), building(), id="another name outside"),
    pytest.param(FILES, file_link("/x", "y", symbolic=True), building(), id="a symbolic link outside"),
    pytest.param(FILES, process_exec(), building(), id="a program from outside"),
    pytest.param(FILES, fd_dup(), building(), id="an event about no file"),
    pytest.param(SHELL, library_map(), by_hand(size_bytes=1), id="by hand, but others may write it"),
    pytest.param(FILELESS, library_map(size_bytes=100, mnt_ns=HOST_MNT_NS), running(), id="another kind of event"),
]
EXCUSED = [
    pytest.param(NEW, process_exec(), linked(), id="a linker of the image"),
    pytest.param(NEW, process_exec(), linked(replace(LINKER, changed_at_ns=AT_START, upper=False)), id="in its layers"),
    pytest.param(FILELESS, COPY, running(), id="a copy of what ran before"),
    pytest.param(LIBRARY, library_map(), installing(), id="all of a company"),
    pytest.param(LIBRARY, library_map(), installing(ld_preload="/usr/lib/libjemalloc.so.2"), id="the system's preload"),
    pytest.param(SHELL, library_map(), by_hand(), id="no package's, and said to be none"),
    pytest.param(FILELESS, replace(COPY, mnt_ns=1), copies(RUNC), id="a copy that a copy started"),
    pytest.param(COMMAND, process_exec(), installing(lineage=(DPKG, DASH)), id="under one that the right one started"),
    pytest.param(FILES, IN_TREE, building(), id="in the tree, under its builder"),
    pytest.param(FILES, IN_TREE, building(DASH, actor=BUILDER), id="by the builder, in the tree"),
    pytest.param(FILES, file_unlink(TREE, path_in_root=BELOW), building(), id="taken away in the tree"),
    pytest.param(FILES, file_truncate(TREE, path_in_root=BELOW), building(), id="cut in the tree"),
    pytest.param(
        FILES,
        file_rename(TREE, TREE, old_path_in_root=BELOW, new_path_in_root=BELOW),
        building(),
        id="renamed in the tree",
    ),
    pytest.param(
        FILES, file_link(TREE, TREE, path_in_root=BELOW, target_in_root=BELOW), building(), id="linked in the tree"
    ),
    pytest.param(
        FILES, file_link(TREE, "/x", symbolic=True, path_in_root=BELOW), building(), id="a symbolic link in the tree"
    ),
    pytest.param(FILES, process_exec(path_in_root="/x"), building(), id="a program of the tree"),
    pytest.param(FILES, library_map(path_in_root="/x"), building(), id="a library of the tree"),
    pytest.param(FILELESS, replace(COPY, memfd=False, unlinked=True), running(), id="a copy in an unlinked file"),
]


def context(around, sensitivity=Sensitivity.BALANCED):
    """Return what a `match` would be shown."""
    intel, benign = Snapshot(()), _known.KnownGood((), Counters())
    classifier = Classifier((), intel=intel, benign=benign, sensitivity=sensitivity, counters=Counters())
    return classifier._context(around, around.actor)


@pytest.mark.parametrize(("finding", "event", "around"), NOT_EXCUSED)
def test_who_is_not_excused(finding, event, around):
    """Looking like known good company is not enough."""
    counters = Counters()

    assert _known.KnownGood(EXCUSES, counters, Host()).excuse(finding, event, context(around)) is None
    assert {} == counters.snapshot()


@pytest.mark.parametrize(("finding", "event", "around"), EXCUSED)
def test_who_is_excused(finding, event, around):
    """Known good company is excused with its reason, and counted."""
    counters = Counters()

    reason = _known.KnownGood(EXCUSES, counters, Host()).excuse(finding, event, context(around))

    assert reason in {"linked", "copy", "company", "by hand", "a tree"}
    assert {"classify.excused": 1} == counters.snapshot()


@pytest.mark.parametrize("sensitivity", [Sensitivity.LOW, Sensitivity.HIGH])
def test_an_excuse_holds_only_where_it_says(sensitivity):
    """A sensitivity that the entry does not name gets no excuse."""
    known = _known.KnownGood(EXCUSES, Counters(), Host())

    assert known.excuse(NEW, process_exec(), context(linked(), sensitivity)) is None


def test_each_condition_is_held_by_a_case():
    """Nobody can loosen an excuse without a case above that fails."""

    def all_right(known) -> bool:
        try:
            wrongly = [known.excuse(*case.values[:2], context(case.values[2])) for case in NOT_EXCUSED]
            rightly = [known.excuse(*case.values[:2], context(case.values[2])) for case in EXCUSED]
            elsewhere = known.excuse(NEW, process_exec(), context(linked(), Sensitivity.HIGH))
        except (AttributeError, TypeError):  # a None that the condition kept away: noticed
            return False
        return not any(wrongly) and all(rightly) and elsewhere is None

    judging = {
        "holds",
        "_bound",
        "_begun",
        "_runs",
        "_on_host",
        "_bound_to",
        "_of_image",
        "_before",
        "_copied",
        "_in_chroot",
    }
    source = Path(str(_known.__file__)).read_text()
    unnoticed = [
        what
        for what, changed in _mutants.mutants(source, only=judging)
        if all_right(_mutants.run(changed, "agent.findings._known").KnownGood(EXCUSES, Counters(), Host()))
    ]

    assert all_right(_known.KnownGood(EXCUSES, Counters(), Host()))
    assert "" == "\n".join(unnoticed)


GOOD = """
[[known]]
finding = "Execution:Runtime/NewBinaryExecuted"
reason = "a linker"
at = ["balanced"]
writer = ["/usr/bin/ld"]
"""


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        pytest.param("[[known]]", "[[excuse]", r"line 2", id="not TOML"),
        pytest.param("finding =", "fnding =", r"unknown field `fnding` - at `\$.known\[", id="unknown key"),
        pytest.param('reason = "a linker"', "", r"field `reason` - at `\$.known\[", id="no reason"),
        pytest.param('"a linker"', '" "', r"known\[0\].reason: say why", id="a blank reason"),
        pytest.param('"a linker"', "3", r"Expected `str`, got `int` - at `\$.known\[0\].reason`", id="a number"),
        pytest.param('["balanced"]', '["loud"]', r"'loud' - at `\$.known\[0\].at", id="no such sensitivity"),
        pytest.param('["balanced"]', "[]", r"known\[0\].at: name at least one", id="at no sensitivity"),
        pytest.param('writer = ["/usr/bin/ld"]', "", r"known\[0\]: give at least one of actor", id="bound to nothing"),
        pytest.param('ld"]', 'ld"]\nunder = ["b"]', r"known\[0\].under: 'b' must be", id="a bare name beside a path"),
        pytest.param('ld"]', 'ld"]\nunpackaged = ""', r"known\[0\].unpackaged: say why", id="waived for no reason"),
        pytest.param('"/usr/bin/ld"', '"ld"', r"known\[0\].writer: 'ld' must be", id="a bare name"),
        pytest.param('"/usr/bin/ld"', '"/usr/bin/*"', r"known\[0\].writer: '/usr/bin/\*' must be", id="a directory"),
        pytest.param('writer = ["/usr', 'script = ["/usr', r"known\[0\].script: give `chroot = true`", id="any script"),
        pytest.param('ld"]', 'ld"]\nsteerable = ""', r"known\[0\].steerable: say why", id="steered for no reason"),
        pytest.param('ld"]', 'ld"]\nstarted_by = ["/b"]', r"known\[0\].started_by: give `under`", id="of nobody"),
        pytest.param('writer = ["/usr', 'started_by = ["/usr', r"known\[0\]: give at least one", id="a starter alone"),
        pytest.param("[[known]]", "[[other]]", r"unknown field `other`", id="unknown table"),
    ],
)
def test_a_damaged_file_says_where(tmp_path, before, after, message):
    """An operator reads the file and the key, not a traceback."""
    file = tmp_path / "site.toml"
    file.write_text(GOOD.replace(before, after))

    with pytest.raises(ConfigError, match=rf"site\.toml[0-9:]*: .*{message}"):
        _excuses.read(file)


def test_a_file_that_is_not_text_or_not_there_says_so(tmp_path):
    """Bytes that are not UTF-8 and a missing file are named, too."""
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match=r"binary\.toml: .*utf-8"):
        _excuses.read(binary)
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot be read: No such file"):
        _excuses.read(tmp_path / "gone.toml")


ENTRIES = [pytest.param(one, id=f"{number}-{one.finding}") for number, one in enumerate(_excuses.bundled())]


def meeting(entry, package):
    """Return an event and surroundings that meet every binding of an entry with programs of `package`, on the host."""
    exe = {name: executable(paths[0].replace("*", "x"), package=package, size_bytes=9) for name, paths in bound(entry)}
    ran = {name: process(exe=one, container_id=None) for name, one in exe.items()}
    if "script" in exe:
        ran["script"] = process("/usr/bin/python3", script=exe["script"], container_id=None)
    actor = ran.get("actor", process(container_id=None, replaced=exe.get("replaced")))
    above = [ran[name] for name in ("parent", "under", "script", "started_by") if name in ran]
    writer = Writer(process=ran["writer"], at_ns=1, path="/x") if "writer" in ran else None
    event = process_exec(path_in_root="/x", size_bytes=9, mnt_ns=HOST_MNT_NS)
    return event, on_host(actor=actor, lineage=tuple(above), writer=writer)


def bound(entry):
    return [(name, paths) for name in _excuses.BINDINGS if (paths := getattr(entry, name))]


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_impostor_is_excused_by_no_entry_that_ships(entry):
    """What an entry excuses in a package's program, it does not in another file at the very path."""
    sensitivity = min(entry.at, key=lambda level: level.value)
    known = _known.KnownGood([entry], Counters(), None if entry.unpackaged is None else Host())
    genuine, around = meeting(entry, "some-package")
    forged, impostors = meeting(entry, None)

    assert entry.reason == known.excuse(entry.finding, genuine, context(around, sensitivity))
    assert known.excuse(entry.finding, forged, context(impostors, sensitivity)) is None


@pytest.mark.parametrize("entry", [one for one in ENTRIES if one.values[0].chroot])
def test_what_leaves_the_chroot_is_excused_by_no_entry_that_ships(entry):
    """Nor is what is done to the host, be the program what it may."""
    genuine, around = meeting(entry, "some-package")

    known = _known.KnownGood([entry], Counters())

    assert known.excuse(entry.finding, replace(genuine, path_in_root=None), context(around)) is None


def test_bundled_excuses_name_findings_that_exist():
    """An excuse for a finding that was renamed would excuse nobody."""
    names = {finding.name for finding in findings.load()}

    excuses = _excuses.bundled()

    assert {NEW, FILELESS} <= {excuse.finding for excuse in excuses}
    assert names >= {excuse.finding for excuse in excuses}


def test_the_toolchain_that_is_installed_here_is_known():
    """The linker of this Debian, resolved as the kernel resolves it, is on the list of writers."""
    linker = Path("/usr/bin/ld")
    if not linker.exists():
        pytest.skip("no linker is installed")

    paths = [path for excuse in _excuses.bundled() for path in excuse.writer]

    assert _known._compile(tuple(paths)).fullmatch(str(linker.resolve()))
