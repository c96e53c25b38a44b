"""The rules of layout, as functions from a file's path and text to what is wrong with it.

Nothing of the product is imported: a rule looks at the syntax tree.  `path` is relative to the repository root and
decides which part of a table applies; every answer is a list of `PATH:LINE what`, empty when all is well.
tests/unit/test_architecture.py lays them on the product, and shows of each that it bites.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator

EVERYTHING = ("agent", "collector", "vedette")

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    # The nouns know nobody.
    "agent.model": (),
    "agent.errors": (),
    "agent.counters": (),
    "agent.version": (),
    # The stages know the nouns and their own declarations, never a neighbour.
    "agent.probes": ("agent.model", "agent.errors"),
    "agent.sensor": ("agent.probes", "agent.model", "agent.counters", "agent.errors"),
    "agent.decode": ("agent.probes", "agent.model", "agent.counters", "agent.errors"),
    "agent.enrich": ("agent.model", "agent.counters", "agent.errors", "vedette"),
    "agent.intel": ("agent.model", "agent.counters", "agent.errors"),
    "agent.findings": ("agent.model", "agent.intel", "agent.counters", "agent.errors"),
    "agent.classify": ("agent.findings", "agent.intel", "agent.model", "agent.counters", "agent.errors"),
    "agent.rules": ("agent.findings", "agent.model", "agent.counters", "agent.errors", "agent.wording"),
    "agent.deliver": ("agent.model", "agent.counters", "agent.errors", "agent.version", "vedette"),
    # A child asks; what it asks with is the delivery's connection and the question to EC2's metadata service.
    "agent.enrol": (
        "agent.deliver.client",
        "agent.deliver.target",
        "agent.enrich.place.asking",
        "agent.errors",
        "agent.version",
        "vedette",
    ),
    "agent.simulate": ("agent.model", "agent.errors"),
    # Stages arrive at the pipeline as arguments.
    "agent.stages": ("agent.model",),
    "agent.pipeline": ("agent.stages", "agent.model", "agent.counters", "agent.errors"),
    "agent.placing": ("agent.stages", "agent.model", "agent.counters"),
    "agent.canary": ("agent.stages", "agent.model", "agent.counters"),
    "agent.guard": ("agent.sensor.source", "agent.counters"),
    # The edges of the process.
    "agent.config": (
        "agent.model",
        "agent.errors",
        "agent.wording",
        "agent.listing",
        "agent.containing",
        "agent.metadata",
        "agent.privacy",
        "agent.joining",
        "agent.managing",
        "agent.reporting",
    ),
    "agent.joining": (),
    "agent.listing": (),
    "agent.containing": (),
    "agent.privacy": (),
    "agent.managing": (),
    "agent.reporting": (),
    "agent.metadata": ("agent.wording",),
    "agent.wording": (),
    "agent.notify": (),
    "agent.lock": ("agent.errors",),
    "agent.health": ("agent.model", "agent.errors"),
    "agent.recording": ("agent.model", "agent.errors"),
    "agent.terminal": (),
    # Whoever puts the parts together.
    "agent": ("agent",),
    "agent.__main__": ("agent.cli",),
    "agent.cli": EVERYTHING,
    "agent.commands": EVERYTHING,
    "agent.docs": EVERYTHING,
    # The other end shares the wire alone.
    "collector": ("vedette",),
}
"""What each part may import of ours, beside itself.  A part that is not named here may not exist."""

ONLY_IN: dict[str, tuple[str, ...]] = {
    # The loader child exits, and bcc's 120 MB with it.
    "bcc": ("agent/sensor/ebpf/compiling.py", "agent/sensor/ebpf/attach.py"),
    # Loaded for the delivery anyway, so that containerd and cri-o, which speak nothing else, cost no other library.
    "grpc": (
        "agent/deliver/client.py",
        "agent/enrich/asking/cri.py",
        "agent/commands/_query.py",
        "agent/enrol/dialling.py",
        "collector/",
    ),
    "pyroute2": ("agent/sensor/existing/sockets.py",),  # a child that exits, and 20 MB with it
    # 9 MB: made and read by the child that asks for a certificate.
    "cryptography": ("agent/enrol/asking.py", "agent/commands/_joining.py", "collector/"),
    "dns": ("agent/deliver/srv.py",),  # 12 MB, in a child that exits
    "rich": ("agent/commands/",),  # for people; the agent process never pays for it
    "sigma": ("agent/commands/_sigma.py",),  # 40 MB, for who imports rules
    "yaml": ("agent/commands/_sigma.py",),  # comes with it
    "pyarrow": ("collector/",),
    "duckdb": ("collector/",),
    "sqlalchemy": ("collector/",),
}
"""Third-party packages that are heavy or dangerous, and the only files or folders that import them."""

READS_PROC: dict[str, str] = {
    "agent/enrich/procfs.py": "enrichment's one reader of /proc",
    "agent/enrich/links.py": "asks procfs.py: these are paths in events",
    "agent/commands/_memory.py": "asks what this process itself has mapped",
    "agent/findings/": "a finding reads nothing: these are paths in events, and in examples of them",
    "agent/sensor/": "a sensor is what reads the kernel, and the loader starts before enrichment exists",
}
"""Files and folders in which a string may name /proc, and why."""

LOADER = "agent/sensor/ebpf/loader.py"
"""Runs under the system's Python, and so does everything that it imports."""
OLD_PYTHON_VERSION = (3, 9)  # of Amazon Linux 2023, the oldest Python whose distribution has a usable bcc

CATCHES_EVERYTHING: dict[str, str] = {
    "agent/cli.py": "the last boundary: a person gets one line",
    "agent/pipeline.py": "the per-event loop: one bad event does not end the watch",
    "agent/sensor/ebpf/attach.py": "bcc raises bare Exception; given a type at once, in one function",
}
"""The only files with a broad `except`, one each, and why."""

FUNCTION_LINES = 50
MODULE_LINES = 300
LONG_MODULES = {"agent/model/events.py": 1000}  # nothing but nouns: looked up, not read through
FINDING_LINES = 60  # of logic: prose and examples are what a finding should have more of
PROBE_C_LINES = 250
PRELUDE_C_LINES = 500  # shared by all probes; split it when a second reason to change appears
PARAMETERS = 4
NESTING = 2

VAGUE_NAME = re.compile(r"(Manager|Helper|Utils?|Handler)s?$|^(utils?|helpers?|misc|common|managers?|handlers?)$")
BROAD = frozenset({"Exception", "BaseException"})
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Match)
"""What counts as a level: a choice or a repetition.

`with` and `try` are neither: they say how long something is held, and what its failure means."""


def one_way_imports(path: str, source: str) -> list[str]:
    """A part imports what the table allows it, and exists in the table."""
    module = module_name(path)
    part = part_of(module)
    if part is None:
        return [f"{path}:1 {module} has no line in MAY_IMPORT: say what it may import"]
    allowed = (*MAY_IMPORT[part], part) if part != "agent" else MAY_IMPORT[part]
    return [
        f"{path}:{line} {part} imports {name}"
        for line, name in imports(module, source)
        if name.partition(".")[0] in EVERYTHING and not any(is_within(name, prefix) for prefix in allowed)
    ]


def guarded_packages(path: str, source: str) -> list[str]:
    """Heavy and dangerous packages are imported where the table says, and nowhere else."""
    return [
        f"{path}:{line} imports {name}"
        for line, name in imports(module_name(path), source)
        if (package := name.partition(".")[0]) in ONLY_IN and not path.startswith(ONLY_IN[package])
    ]


def proc_paths(path: str, source: str) -> list[str]:
    """Only the readers of /proc name it."""
    if path.startswith(tuple(READS_PROC)):
        return []
    tree = ast.parse(source)
    prose = {id(node) for node in docstrings(tree)}
    return [
        f"{path}:{node.lineno} names /proc"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and id(node) not in prose and names_proc(node.value)
    ]


def sizes(path: str, source: str) -> list[str]:
    """Functions and modules stay small; a finding smaller."""
    found = []
    lines = len(source.splitlines())
    if lines > LONG_MODULES.get(path, MODULE_LINES):
        found.append(f"{path}:1 module of {lines} lines")
    if is_finding(path) and (code := code_lines(source)) > FINDING_LINES:
        found.append(f"{path}:1 finding of {code} lines of code")
    found.extend(
        f"{path}:{function.lineno} {function.name} has {length} lines"
        for function in functions(ast.parse(source))
        if (length := line_count(function)) > FUNCTION_LINES
    )
    return found


def c_sizes(path: str, source: str) -> list[str]:
    """A probe's C file fits on a few screens."""
    limit = PRELUDE_C_LINES if path.startswith("ebpf/prelude") else PROBE_C_LINES
    lines = len(source.splitlines())
    return [f"{path}:1 {lines} lines of C"] if lines > limit else []


def c_flags(path: str, source: str) -> list[str]:
    """What fill_header said of the way a call came in is added to, never written over."""
    lines = enumerate(source.splitlines(), start=1)
    return [f"{path}:{number} writes over the flags" for number, line in lines if "record->header.flags = " in line]


def parameters(path: str, source: str) -> list[str]:
    """A function takes few parameters.

    Two kinds are let be: a constructor that takes all but the first by keyword, which reads like a record; and a
    command, which gets one parameter for each of its options.
    """
    return [
        f"{path}:{function.lineno} {function.name} takes {len(names)} parameters"
        for function in functions(ast.parse(source))
        if len(names := parameter_names(function)) > PARAMETERS
        and not is_keyword_constructor(function)
        and not is_command(function)
    ]


def nesting(path: str, source: str) -> list[str]:
    """Choices and repetitions nest two deep at most; `elif` is no level of its own."""
    return [
        f"{path}:{function.lineno} {function.name} nests {deepest} deep"
        for function in functions(ast.parse(source))
        if (deepest := depth(function.body)) > NESTING
    ]


def documentation(path: str, source: str) -> list[str]:
    """Every module, public class and public function says what it is."""
    tree = ast.parse(source)
    found = [] if ast.get_docstring(tree) else [f"{path}:1 module without a docstring"]
    found.extend(f"{path}:{node.lineno} {node.name} has no docstring" for node in undocumented(tree.body))
    return found


def names(path: str, source: str) -> list[str]:
    """No name says merely that something is done to something."""
    stem = path.rpartition("/")[2].removesuffix(".py")
    found = [f"{path}:1 module named {stem}"] if VAGUE_NAME.search(stem) else []
    found.extend(
        f"{path}:{node.lineno} class named {node.name}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef) and VAGUE_NAME.search(node.name)
    )
    return found


def broad_excepts(path: str, source: str) -> list[str]:
    """Return where everything is caught; the product has two such places."""
    return [f"{path}:{node.lineno} catches everything" for node in ast.walk(ast.parse(source)) if is_broad(node)]


def quiet_import(path: str, source: str) -> list[str]:
    """Importing a module defines things and does nothing."""
    body = ast.parse(source).body
    prose = {id(node) for node in docstrings(ast.Module(body=body, type_ignores=[]))}
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.ClassDef, *FUNCTIONS)
    return [
        f"{path}:{node.lineno} happens at import"
        for node in body
        if not isinstance(node, allowed) and not is_prose(node, prose) and not is_guard(node)
    ]


def old_python(path: str, source: str) -> list[str]:
    """What runs under the system's Python parses there, and imports the standard library, bcc and siblings alone."""
    try:
        ast.parse(source, feature_version=OLD_PYTHON_VERSION)
    except SyntaxError as error:
        return [f"{path}:{error.lineno} is no Python {'.'.join(map(str, OLD_PYTHON_VERSION))}: {error.msg}"]
    allowed = sys.stdlib_module_names | {"bcc"}
    return [
        f"{path}:{line} imports {name}"
        for line, name in imports(module_name(path), source)
        if name.partition(".")[0] not in allowed and not is_within(name, module_name(path).rpartition(".")[0])
    ]


# What the rules are made of.


def module_name(path: str) -> str:
    """Return the dotted name of the module in `path`."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def part_of(module: str) -> str | None:
    """Return the line of MAY_IMPORT that holds for `module`: the longest that covers it."""
    if module == "agent":
        return "agent"
    covering = [part for part in MAY_IMPORT if part != "agent" and is_within(module, part)]
    return max(covering, key=len, default=None)


def is_within(name: str, prefix: str) -> bool:
    """Return whether `name` is `prefix` or something in it."""
    return name == prefix or name.startswith(prefix + ".")


def imports(module: str, source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of everything imported anywhere; `from agent import model` is `agent.model`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, name) for name in imported_from(module, node))


def imported_from(module: str, node: ast.ImportFrom) -> Iterator[str]:
    """Yield what a `from` import names: of a package its modules, else the module."""
    base = node.module or ""
    if node.level:
        base = ".".join(filter(None, [*module.split(".")[: -node.level], base]))
    if base in EVERYTHING or base == "agent.sensor.ebpf":
        yield from (f"{base}.{alias.name}" for alias in node.names)
    else:
        yield base


def docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield every string that only documents: of a module, class or function, or under an assignment."""
    for node in ast.walk(tree):
        for statement in getattr(node, "body", None) if isinstance(getattr(node, "body", None), list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                yield statement.value


def names_proc(value: object) -> bool:
    """Return whether a constant begins a path into /proc, as a part of an f-string may."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return isinstance(text, str) and re.match(r"/proc(/|$)", text) is not None


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function and method."""
    return (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS))


def line_count(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines a function takes, its docstring with it and its decorators without."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def is_finding(path: str) -> bool:
    """Return whether `path` declares a finding type."""
    return path.startswith("agent/findings/") and path.count("/") == 2 and not path.rpartition("/")[2].startswith("_")


def code_lines(source: str) -> int:
    """Return how many lines hold code: no blanks, comments, docstrings or imports, nor the FINDING value."""
    tree = ast.parse(source)
    prose: set[int] = set()
    for node in (*docstrings(tree), *filter(is_listed, tree.body)):
        prose.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(source.splitlines(), start=1)
    return sum(1 for number, line in lines if number not in prose and line.strip() and not line.strip().startswith("#"))


def is_listed(node: ast.stmt) -> bool:
    """Return whether this is an import, or `FINDING = ...` with its examples: lists, not logic."""
    if isinstance(node, ast.AnnAssign):
        return ast.unparse(node.target) == "FINDING"
    if isinstance(node, ast.Assign):
        return any(ast.unparse(target) == "FINDING" for target in node.targets)
    return isinstance(node, (ast.Import, ast.ImportFrom))


def parameter_names(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Return the parameters by name, `self` and `cls` aside."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [argument.arg for argument in named if argument.arg not in {"self", "cls"}]


def is_keyword_constructor(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether this is an `__init__` that takes all but the first of its parameters by keyword."""
    return function.name == "__init__" and len(parameter_names(function)) <= len(function.args.kwonlyargs) + 1


def is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether click calls it."""
    return any(".command(" in text or "click.group(" in text for text in map(ast.unparse, function.decorator_list))


def depth(body: list[ast.stmt]) -> int:
    """Return how deep choices and repetitions nest in `body`; an inner function starts anew."""
    return max((depth_of(statement) for statement in body), default=0)


def depth_of(statement: ast.stmt) -> int:
    """Return how deep one statement goes."""
    if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
        return 0
    own = 1 if isinstance(statement, BLOCKS) else 0
    if isinstance(statement, ast.If) and len(statement.orelse) == 1 and isinstance(statement.orelse[0], ast.If):
        return max(own + depth(statement.body), depth_of(statement.orelse[0]))
    return own + max((depth(body) for body in bodies(statement)), default=0)


def bodies(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """Yield the blocks of a compound statement."""
    for name in ("body", "orelse", "finalbody"):
        yield getattr(statement, name, [])
    for part in (*getattr(statement, "handlers", []), *getattr(statement, "cases", [])):
        yield part.body


def undocumented(body: list[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield public classes and functions without a docstring, methods of public classes among them."""
    for node in body:
        if not isinstance(node, (ast.ClassDef, *FUNCTIONS)) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield node
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node.body)


def is_broad(node: ast.AST) -> bool:
    """Return whether a handler or a `suppress` takes every error."""
    if isinstance(node, ast.ExceptHandler):
        return node.type is None or names_broad(node.type)
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
        return any(names_broad(argument) for argument in node.args)
    return False


def names_broad(node: ast.expr) -> bool:
    """Return whether an expression is, or a tuple holds, one of the errors that mean all errors."""
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return any(ast.unparse(part).rpartition(".")[2] in BROAD for part in parts)


def is_prose(node: ast.stmt, prose: set[int]) -> bool:
    """Return whether a statement is one of the strings that document."""
    return isinstance(node, ast.Expr) and id(node.value) in prose


def is_guard(node: ast.stmt) -> bool:
    """Return whether this is for the program alone, or for the type checker alone."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"__name__ == '__main__'", "TYPE_CHECKING"}
