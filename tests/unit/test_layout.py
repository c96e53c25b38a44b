"""The compiler agrees with the Python mirror of every record: offset and size of each field, and nothing between.

No kernel is needed: the struct is taken from the C text as it stands, an assertion is added for each field of the
mirror, and the C compiler is the judge.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import agent.probes
from agent.probes import header
from agent.probes.layout import Field
from agent.probes.layout import Layout

EBPF = Path(__file__).resolve().parents[2] / "ebpf"

# The kernel's short names for its integers (include/uapi/asm-generic/int-ll64.h).
TYPES = "".join(
    f"typedef {sign} {name} {letter}{bits};\n"
    for name, bits in (("char", 8), ("short", 16), ("int", 32), ("long long", 64))
    for sign, letter in (("unsigned", "u"), ("signed", "s"))
)
STRUCT = re.compile(r"^struct (\w+) \{\n.*?^\};$", re.MULTILINE | re.DOTALL)
FLAG = re.compile(r"^#define FLAG_(\w+) \(1 << (\d+)\)", re.MULTILINE)
NUMBER = re.compile(r"^#define (\w+) ([\w +*()]+?)\s*(?://.*)?$", re.MULTILINE)


def layouts() -> dict[str, tuple[str, Layout]]:
    """Return every mirror in agent/probes with the text that should hold its struct, by a readable name."""
    found = {}
    for module in pkgutil.iter_modules(agent.probes.__path__):
        mirrors = vars(importlib.import_module(f"agent.probes.{module.name}"))
        probe = EBPF / f"{module.name}.c"
        text = (EBPF / "prelude.c").read_text(encoding="utf-8") + (
            probe.read_text(encoding="utf-8") if probe.exists() else ""
        )
        found.update(
            {
                f"{module.name}-{value.struct_name}": (text, value)
                for value in mirrors.values()
                if isinstance(value, Layout)
            }
        )
    return found


LAYOUTS = layouts()


def program(text: str, layout: Layout) -> str:
    """Return a C program that compiles only when `layout` is what the struct in `text` is."""
    structs = {match[1]: match[0] for match in STRUCT.finditer(text)}
    assert layout.struct_name in structs, f"no `struct {layout.struct_name} {{` at the beginning of a line"
    needed = with_parts(layout.struct_name, structs)
    numbers = {match[1]: match[2] for match in NUMBER.finditer(text)}
    defines = "".join(f"#define {name} {value}\n" for name, value in numbers.items())
    bodies = "\n".join(body for name, body in structs.items() if name in needed)
    whole = f'_Static_assert(sizeof(struct {layout.struct_name}) == {layout.size}, "size of the whole");'
    return "\n".join([TYPES, defines, bodies, *(assertion(layout, field) for field in layout.fields), whole, ""])


def with_parts(name: str, structs: dict[str, str]) -> set[str]:
    """Return the structs that one is made of, itself among them."""
    parts = set(re.findall(r"struct (\w+) \w+", structs[name])) & set(structs)
    return {name}.union(*(with_parts(part, structs) for part in parts))


def assertion(layout: Layout, field: Field) -> str:
    """Return the claim of the mirror about one field."""
    record = f"struct {layout.struct_name}"
    offset = f"__builtin_offsetof({record}, {field.name}) == {field.offset}"
    size = f"sizeof((({record} *)0)->{field.name}) == {field.size}"
    return f'_Static_assert({offset} && {size}, "{field.name}");'


def complaints(source: str) -> str:
    """Return what the compiler says, nothing when it is content."""
    command = ["cc", "-xc", "-std=c11", "-fsyntax-only", "-Wpadded", "-Werror", "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=False).stderr


pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (gcc)")


@pytest.mark.parametrize("name", LAYOUTS)
def test_mirror_is_what_the_compiler_makes(name: str) -> None:
    """A record is read at the places at which the kernel side writes it."""
    text, layout = LAYOUTS[name]

    assert "" == complaints(program(text, layout))


def test_every_probe_is_looked_at() -> None:
    """No probe escapes by keeping its mirror somewhere else."""
    probes = {path.stem for path in EBPF.glob("*.c") if not path.stem.startswith("prelude")}

    assert probes == {stem for stem in probes if f"{stem}-{stem}_record" in LAYOUTS}


def test_flags_mean_in_python_what_they_mean_in_c() -> None:
    """Each bit that a record may carry has one name, on both sides."""
    text = (EBPF / "prelude.c").read_text(encoding="utf-8")
    in_c = {name.lower(): 1 << int(bit) for name, bit in FLAG.findall(text)}
    in_python = {name: 1 << position for position, name in enumerate(header.FLAG_NAMES)}

    assert in_c == in_python | {"existing": header.FLAG_EXISTING}


SAMPLE = """\
#define NAME_BYTES 16 // enough
struct inner {
\tu64 id;
};
struct sample {
\tstruct inner inner;
\tu32 port;
\tu16 family;
\tu16 flags;
\tchar name[NAME_BYTES];
};
"""
MIRROR = (("inner", "8s"), ("port", "I"), ("family", "H"), ("flags", "H"), ("name", "16s"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("u32 port;", "u64 port;", id="a field grew"),
        pytest.param("NAME_BYTES 16", "NAME_BYTES 15", id="an array one byte short"),
        pytest.param("u16 family;\n\tu16 flags;", "u16 flags;\n\tu16 family;", id="two fields changed places"),
        pytest.param("u16 flags;\n\t", "", id="a field is gone"),
        pytest.param("u64 id;", "u64 id;\n\tu64 more;", id="a part grew"),
        pytest.param("];\n}", "];\n\tu64 late;\n}", id="a field the mirror does not know"),
        pytest.param("u16 flags;", "u8 flags;", id="padding that nobody sees"),
    ],
)
def test_check_bites(old: str, new: str) -> None:
    """A struct and a mirror that differ in one place do not compile."""
    mirror = Layout("sample", *MIRROR)

    assert "" == complaints(program(SAMPLE, mirror))
    assert "" != complaints(program(SAMPLE.replace(old, new), mirror))
