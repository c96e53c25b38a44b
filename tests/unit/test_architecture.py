"""The rules of layout hold for the product, and each of them bites.

The rules themselves are in tests/architecture.py, with the reasons for their exceptions.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import architecture

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = sorted(str(path.relative_to(ROOT)) for top in ("agent", "collector") for path in (ROOT / top).rglob("*.py"))
PROBES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "ebpf").glob("*.c"))

Rule = Callable[[str, str], list[str]]

RULES: tuple[Rule, ...] = (
    architecture.one_way_imports,
    architecture.guarded_packages,
    architecture.proc_paths,
    architecture.sizes,
    architecture.parameters,
    architecture.nesting,
    architecture.documentation,
    architecture.names,
    architecture.quiet_import,
)


def text(path: str) -> str:
    """Return a file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def everywhere(rule: Rule, paths: list[str]) -> Iterator[str]:
    """Yield what a rule has against these files."""
    for path in paths:
        try:
            yield from rule(path, text(path))
        except SyntaxError as error:
            yield f"{path}:{error.lineno} {error.msg}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_product_keeps_the_rule(rule: Rule) -> None:
    """A reader who knows the rules of layout knows where to look, in every file."""
    assert [] == list(everywhere(rule, PRODUCT))


def test_probes_stay_small() -> None:
    """A probe can be read in one sitting."""
    assert [] == list(everywhere(architecture.c_sizes, PROBES))


def test_probes_keep_the_way_a_call_came_in() -> None:
    """A probe adds to the flags of its record: by which way the call came in is in them already."""
    assert [] == list(everywhere(architecture.c_flags, PROBES))


def test_everything_is_caught_in_few_places() -> None:
    """An error that nobody expected surfaces: only the boundaries that are named catch everything, once each."""
    found = sorted(line.partition(":")[0] for line in everywhere(architecture.broad_excepts, PRODUCT))

    assert [] == [path for path in found if path not in architecture.CATCHES_EVERYTHING]
    assert len(set(found)) == len(found)


def test_loader_runs_on_old_python() -> None:
    """The loader starts under a system Python as old as Amazon Linux 2023's, with all that it imports."""
    assert [] == list(everywhere(architecture.old_python, imported_by(architecture.LOADER)))


def test_linter_knows_what_runs_on_old_python() -> None:
    """The linter asks no newer Python of the loader than it gets; whatever the loader imports is listed."""
    ruff = tomllib.loads(text("pyproject.toml"))["tool"]["ruff"]
    listed = {path for path, version in ruff["per-file-target-version"].items() if version == "py39"}

    assert listed == {path for path in imported_by(architecture.LOADER) if not path.endswith("__init__.py")}


def imported_by(first: str) -> list[str]:
    """Return the files of the product that a file needs, itself among them."""
    needed, todo = set(), [first]
    while todo:
        path = todo.pop()
        if path in needed or path not in PRODUCT:
            continue
        needed.add(path)
        names = [name for _, name in architecture.imports(architecture.module_name(path), text(path))]
        todo.extend(name.replace(".", "/") + ".py" for name in names)
    return sorted(needed)


@pytest.mark.parametrize(
    "table",
    [
        pytest.param([path for paths in architecture.ONLY_IN.values() for path in paths], id="guarded packages"),
        pytest.param(list(architecture.READS_PROC), id="/proc"),
        pytest.param(list(architecture.CATCHES_EVERYTHING), id="broad excepts"),
        pytest.param(list(architecture.LONG_MODULES), id="long modules"),
    ],
)
def test_exceptions_are_not_stale(table: list[str]) -> None:
    """An exception whose file is gone is gone, too."""
    assert [] == [path for path in table if not (ROOT / path).exists()]


@pytest.mark.parametrize("part", [part for part in architecture.MAY_IMPORT if part != "agent"])
def test_import_table_is_not_stale(part: str) -> None:
    """The table of who may import whom speaks of what exists."""
    assert any(architecture.is_within(architecture.module_name(path), part) for path in PRODUCT)


def function(body: str, parameters: str = "", head: str = "") -> str:
    """Return a module with one documented function."""
    return f'"""A module."""\n{head}\ndef work({parameters}):\n    """Work."""\n    {body}\n'


NESTED = "for a in b:\n        if a:\n            {}"
TRIED = "try: pass\n    except A:\n        if a:\n            for b in c:\n                {}"
FIVE = "a, b, c, d, e"

GOOD: list[tuple[Rule, str, str]] = [
    (
        architecture.one_way_imports,
        "agent/enrich/hashes.py",
        "from agent.model import FileId\nfrom agent import errors",
    ),
    (architecture.one_way_imports, "agent/enrich/hashes.py", "from agent.enrich import procfs\nimport hashlib"),
    (architecture.one_way_imports, "agent/enrich/hashes.py", "from . import procfs\nfrom ..model import FileId"),
    (architecture.one_way_imports, "agent/cli.py", "from collector.config import Config"),
    (architecture.one_way_imports, "collector/wire.py", "from vedette.v1 import event_pb2"),
    (architecture.guarded_packages, "agent/deliver/client.py", "import grpc"),
    (architecture.guarded_packages, "agent/deliver/spool.py", "import grpcless"),
    (architecture.proc_paths, "agent/enrich/procfs.py", "open('/proc/self')"),
    (architecture.proc_paths, "agent/decode.py", '"""Not from /proc."""\nX = 1\n"""Never /proc/1."""\nY = "/process"'),
    (architecture.sizes, "agent/decode.py", function("pass\n" * 1 + "    pass\n" * 46)),
    (
        architecture.sizes,
        "agent/findings/a_b.py",
        "import a\n" * 100 + "X = 1\n" * 60 + "FINDING: T = T(\n" + "1,\n" * 50 + ")",
    ),
    (architecture.sizes, "agent/findings/_base.py", "X = 1\n" * 61),
    (architecture.sizes, "agent/decode.py", "X = 1\n" * 300),
    (architecture.c_sizes, "ebpf/a.c", "\n" * 250),
    (architecture.c_flags, "ebpf/a.c", "\trecord->header.flags |= call->trust;\n\tcall->flags = 0;"),
    (architecture.parameters, "agent/decode.py", function("pass", "self, a, b, c, d")),
    (architecture.parameters, "agent/decode.py", "class A:\n def __init__(self, a, *, b, c, d, e): pass"),
    (
        architecture.parameters,
        "agent/cli.py",
        function("pass", FIVE, head='@click.command("work")\n@click.option("-a")'),
    ),
    (architecture.nesting, "agent/decode.py", function(NESTED.format("c()"))),
    (architecture.nesting, "agent/decode.py", function(NESTED.format("c()\n        elif b:\n            d()"))),
    (architecture.nesting, "agent/decode.py", function(NESTED.format("with c: d()"))),
    (architecture.documentation, "agent/decode.py", function("pass") + "def _private(): pass\n"),
    (architecture.names, "agent/decode.py", '"""A module."""\nclass Handled: pass'),
    (architecture.broad_excepts, "agent/decode.py", "try: a()\nexcept (OSError, ValueError): pass"),
    (architecture.quiet_import, "agent/decode.py", '"""A module."""\nX = 1\n"""An alias."""\nimport a'),
    (architecture.quiet_import, "proto/generate.py", 'if __name__ == "__main__":\n    main()'),
    (
        architecture.old_python,
        "agent/sensor/ebpf/loader.py",
        "import os\nimport bcc\nfrom agent.sensor.ebpf import btf",
    ),
]

BAD: list[tuple[Rule, str, str]] = [
    (architecture.one_way_imports, "agent/enrich/hashes.py", "from agent.decode import Decoder"),
    (architecture.one_way_imports, "agent/enrich/hashes.py", "from agent import decode"),
    (architecture.one_way_imports, "agent/enrich/hashes.py", "from ..decode import Decoder"),
    (architecture.one_way_imports, "agent/enrich/hashes.py", "import agent.decode"),
    (architecture.one_way_imports, "agent/enrich/hashes.py", "def a():\n    from agent.classify import b"),
    (architecture.one_way_imports, "agent/model/events.py", "from agent.errors import AgentBug"),
    (architecture.one_way_imports, "agent/modelling.py", "X = 1"),
    (architecture.one_way_imports, "agent/pipeline.py", "from agent.enrich import Enricher"),
    (architecture.one_way_imports, "collector/wire.py", "from agent.model import Event"),
    (architecture.guarded_packages, "agent/deliver/spool.py", "from grpc import aio"),
    (architecture.guarded_packages, "agent/sensor/ebpf/source.py", "import bcc"),
    (architecture.guarded_packages, "agent/pipeline.py", "def a():\n    import pyarrow.parquet"),
    (architecture.proc_paths, "agent/decode.py", "open('/proc/self/maps')"),
    (architecture.proc_paths, "agent/decode.py", "open(b'/proc/self/maps')"),
    (architecture.proc_paths, "agent/decode.py", "open(f'/proc/{pid}/maps')"),
    (architecture.proc_paths, "agent/decode.py", "open(f'{root}/proc/{pid}/maps')"),
    (architecture.sizes, "agent/decode.py", function("pass\n" * 1 + "    pass\n" * 48)),
    (architecture.sizes, "agent/findings/a_b.py", "X = 1\n" * 61),
    (architecture.sizes, "agent/decode.py", "X = 1\n" * 301),
    (architecture.c_sizes, "ebpf/a.c", "\n" * 251),
    (architecture.c_sizes, "ebpf/prelude.c", "\n" * 501),
    (architecture.c_flags, "ebpf/a.c", "\trecord->header.flags = call->trust;"),
    (architecture.parameters, "agent/decode.py", function("pass", FIVE)),
    (architecture.parameters, "agent/decode.py", function("pass", "a, *, b, c, d, e")),
    (architecture.parameters, "agent/decode.py", "class A:\n def __init__(self, a, b, *, c, d, e): pass"),
    (architecture.nesting, "agent/decode.py", function(NESTED.format("while c: d()"))),
    (
        architecture.nesting,
        "agent/decode.py",
        function(NESTED.format("c()\n        else:\n            f()\n            if d: e()")),
    ),
    (architecture.nesting, "agent/decode.py", function(NESTED.format("with c:\n                if d: e()"))),
    (architecture.nesting, "agent/decode.py", function(TRIED.format("if d: e()"))),
    (architecture.documentation, "agent/decode.py", "X = 1"),
    (architecture.documentation, "agent/decode.py", '"""A module."""\ndef work(): pass'),
    (architecture.documentation, "agent/decode.py", '"""A module."""\nclass A:\n    """It."""\n    def b(self): pass'),
    (architecture.names, "agent/utils.py", "X = 1"),
    (architecture.names, "agent/decode.py", "class EventHandler: pass"),
    (architecture.broad_excepts, "agent/decode.py", "try: a()\nexcept Exception: pass"),
    (architecture.broad_excepts, "agent/decode.py", "try: a()\nexcept: pass"),
    (architecture.broad_excepts, "agent/decode.py", "try: a()\nexcept (OSError, BaseException): pass"),
    (architecture.broad_excepts, "agent/decode.py", "with contextlib.suppress(Exception): a()"),
    (architecture.quiet_import, "agent/decode.py", "start()"),
    (architecture.quiet_import, "agent/decode.py", "for a in b: c(a)"),
    (architecture.old_python, "agent/sensor/ebpf/loader.py", "match a:\n    case 1: pass"),
    (architecture.old_python, "agent/sensor/ebpf/loader.py", "import msgspec"),
    (architecture.old_python, "agent/sensor/ebpf/loader.py", "from agent.model import Event"),
]


@pytest.mark.parametrize(("rule", "path", "source"), GOOD, ids=lambda value: getattr(value, "__name__", ""))
def test_rule_lets_good_code_be(rule: Rule, path: str, source: str) -> None:
    """A rule has nothing against what is just within it."""
    ast.parse(source if path.endswith(".py") else "")

    assert [] == rule(path, source)


@pytest.mark.parametrize(("rule", "path", "source"), BAD, ids=lambda value: getattr(value, "__name__", ""))
def test_rule_bites(rule: Rule, path: str, source: str) -> None:
    """A rule names the file and the line of what is just beyond it."""
    found = rule(path, source)

    assert 1 == len(found)
    assert found[0].startswith(f"{path}:")
