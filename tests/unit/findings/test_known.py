"""Known good company: whom it excuses, whom it must not, and what a damaged file says."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from agent import findings
from agent.classify import Classifier
from agent.counters import Counters
from agent.errors import ConfigError
from agent.findings import _known
from agent.findings._examples import AFTER_START
from agent.findings._examples import AT_START
from agent.findings._examples import HOST_MNT_NS
from agent.findings._examples import executable
from agent.findings._examples import in_container
from agent.findings._examples import library_map
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import process_exec
from agent.findings._examples import unknown_start
from agent.findings._examples import written_by
from agent.intel import Snapshot
from agent.model import Origin
from agent.model import Sensitivity
from tests.unit.findings import _mutants

NEW = "Execution:Runtime/NewBinaryExecuted"
FILELESS = "DefenseEvasion:Runtime/FilelessExecution"
LIBRARY = "Execution:Runtime/NewLibraryLoaded"
SHELL = "Execution:Runtime/ReverseShell"


def packaged(path, **changes):
    return executable(path, package=path.rpartition("/")[2], **changes)


EXCUSES = (
    _known.Excuse(finding=NEW, reason="linked", at=frozenset({Sensitivity.BALANCED}), writer=("/usr/bin/*-ld",)),
    _known.Excuse(finding=FILELESS, reason="copy", at=frozenset({Sensitivity.BALANCED}), replaced=("/usr/bin/runc",)),
    _known.Excuse(
        finding=LIBRARY,
        reason="company",
        at=frozenset({Sensitivity.BALANCED}),
        actor=("/usr/sbin/useradd",),
        parent=("/usr/bin/dash",),
        under=("/usr/bin/dpkg",),
    ),
    _known.Excuse(
        finding=SHELL,
        reason="by hand",
        at=frozenset({Sensitivity.BALANCED}),
        actor=("/opt/bin/tool",),
        unpackaged="comes without",
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

    assert reason in {"linked", "copy", "company", "by hand"}
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

    judging = {"holds", "_bound", "_runs", "_on_host", "_bound_to", "_of_image", "_copied"}
    source = Path(str(_known.__file__)).read_text()
    unnoticed = [
        what
        for what, changed in _mutants.mutants(source, only=judging)
        if all_right(_mutants.run(changed, "agent.findings._known").KnownGood(EXCUSES, Counters(), Host()))
    ]

    assert all_right(_known.KnownGood(EXCUSES, Counters(), Host()))
    assert "" == "\n".join(unnoticed)


GOOD = """
[[excuse]]
finding = "Execution:Runtime/NewBinaryExecuted"
reason = "a linker"
at = ["balanced"]
writer = ["/usr/bin/ld"]
"""


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        pytest.param("[[excuse]]", "[[excuse]", r"line 2", id="not TOML"),
        pytest.param("finding =", "fnding =", r"unknown field `fnding` - at `\$.excuse\[", id="unknown key"),
        pytest.param('reason = "a linker"', "", r"field `reason` - at `\$.excuse\[", id="no reason"),
        pytest.param('"a linker"', '" "', r"excuse\[0\].reason: say why", id="a blank reason"),
        pytest.param('"a linker"', "3", r"Expected `str`, got `int` - at `\$.excuse\[0\].reason`", id="a number"),
        pytest.param('["balanced"]', '["loud"]', r"'loud' - at `\$.excuse\[0\].at", id="no such sensitivity"),
        pytest.param('["balanced"]', "[]", r"excuse\[0\].at: name at least one", id="at no sensitivity"),
        pytest.param('writer = ["/usr/bin/ld"]', "", r"excuse\[0\]: give at least one of actor", id="bound to nothing"),
        pytest.param('ld"]', 'ld"]\nunder = ["b"]', r"excuse\[0\].under: 'b' must be", id="a bare name beside a path"),
        pytest.param('ld"]', 'ld"]\nunpackaged = ""', r"excuse\[0\].unpackaged: say why", id="waived for no reason"),
        pytest.param('"/usr/bin/ld"', '"ld"', r"excuse\[0\].writer: 'ld' must be", id="a bare name"),
        pytest.param('"/usr/bin/ld"', '"/usr/bin/*"', r"excuse\[0\].writer: '/usr/bin/\*' must be", id="a directory"),
        pytest.param("[[excuse]]", "[[other]]", r"unknown field `other`", id="unknown table"),
    ],
)
def test_a_damaged_file_says_where(tmp_path, before, after, message):
    """An operator reads the file and the key, not a traceback."""
    file = tmp_path / "site.toml"
    file.write_text(GOOD.replace(before, after))

    with pytest.raises(ConfigError, match=rf"site\.toml: .*{message}"):
        _known.read(file)


def test_a_file_that_is_not_text_or_not_there_says_so(tmp_path):
    """Bytes that are not UTF-8 and a missing file are named, too."""
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match=r"binary\.toml: .*utf-8"):
        _known.read(binary)
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot be read: No such file"):
        _known.read(tmp_path / "gone.toml")


def test_bundled_excuses_name_findings_that_exist():
    """An excuse for a finding that was renamed would excuse nobody."""
    names = {finding.name for finding in findings.load()}

    excuses = _known.bundled()

    assert {NEW, FILELESS} <= {excuse.finding for excuse in excuses}
    assert names >= {excuse.finding for excuse in excuses}


def test_the_toolchain_that_is_installed_here_is_known():
    """The linker of this Debian, resolved as the kernel resolves it, is on the list of writers."""
    linker = Path("/usr/bin/ld")
    if not linker.exists():
        pytest.skip("no linker is installed")

    paths = [path for excuse in _known.bundled() for path in excuse.writer]

    assert _known._compile(tuple(paths)).fullmatch(str(linker.resolve()))
