"""Compiles probes: prelude and probes as one text, and what does not compile dropped by its name.

Runs in the loader child: bcc and the standard library, compatible with Python 3.9.
"""

from __future__ import annotations

import ctypes
import os
import re
import tempfile
from typing import Any
from typing import NamedTuple

from agent.sensor.ebpf import attach
from agent.sensor.ebpf import casts
from agent.sensor.ebpf import kernel_tree
from agent.sensor.ebpf import selfcheck
from agent.sensor.ebpf.btf import BtfError
from agent.sensor.ebpf.btf import KernelTypes


class Part(NamedTuple):
    """Some of the probes, compiled together and not yet loaded."""

    module: Any  # bcc has no types
    probes: dict[str, Any]
    refused: dict[str, str]
    """What does not compile, and what clang said of it."""


class CompileError(Exception):
    """The text does not compile; `output` is what clang said."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output = output


def compile_part(request: dict[str, Any], names: list[str]) -> Part:
    """Compile the probes `names` and check the offsets they read.  Raises BtfError, ImportError without bcc."""
    probes = {probe["name"]: probe for probe in request["probes"] if probe["name"] in names}
    types = KernelTypes()
    try:
        with kernel_tree.folder() as tree:
            module, refused = _compile_what_can_be(types, request, probes, tree)
        _name_function(module, types)
        wrong = selfcheck.wrong_offsets(module, types, _joined(request, probes))
    finally:
        types.close()
    if wrong:
        raise BtfError(f"bcc reads the wrong place for {', '.join(wrong[:5])}: no record could be trusted")
    return Part(module, probes, refused)


def _name_function(module: Any, types: KernelTypes) -> None:  # bcc has no types
    """Put the kernel's function where the compiled programs call a helper that does not exist."""
    from bcc.libbcc import lib  # noqa: PLC0415  # as bcc itself, below

    function = types.function_id(casts.FUNCTION)
    for index in range(lib.bpf_num_functions(module.module)):
        name = lib.bpf_function_name(module.module, index)
        code = (ctypes.c_char * lib.bpf_function_size(module.module, name)).from_address(
            lib.bpf_function_start(module.module, name)
        )
        code.raw = casts.renamed(code.raw, function)


def maps(part: Part) -> dict[str, int]:
    """Return the descriptor of every map of a part, by its name."""
    from bcc.libbcc import lib  # noqa: PLC0415  # as bcc itself, below

    lib.bpf_table_name.restype = ctypes.c_char_p
    module = ctypes.c_void_p(part.module.module)
    count = lib.bpf_num_tables(module)
    return {lib.bpf_table_name(module, one).decode(): lib.bpf_table_fd_id(module, one) for one in range(count)}


def slots(request: dict[str, Any]) -> dict[str, int]:
    """Return the index of each probe in the loss counters of this load."""
    return {probe["name"]: slot for slot, probe in enumerate(request["probes"])}


def _joined(request: dict[str, Any], probes: dict[str, Any]) -> str:
    """Return prelude and probes as one text: bcc rewrites the main file only."""
    parts = [f'#line 1 "{name}"\n{text}' for name, text in request["prelude"].items()]
    for name, probe in probes.items():
        parts.append(f'#line 1 "{name}.c"\n' + probe["text"])
    return "\n".join(parts)


def _compile_what_can_be(
    types: KernelTypes, request: dict[str, Any], probes: dict[str, Any], tree: str
) -> tuple[Any, dict[str, str]]:
    """Compile; drop each probe that clang names, with what it said, and go on with the rest."""
    refused: dict[str, str] = {}
    while True:
        try:
            return _compile(types, request, probes, tree), refused
        except CompileError as error:  # noqa: PERF203  # each round compiles less
            blamed = [name for name in probes if re.search(rf"\b{name}\.c:\d+", error.output)]
            if not blamed:
                raise BtfError("the prelude does not compile: " + _first_error(error.output)) from error
            for name in blamed:
                refused[name] = "does not compile: " + _first_error(error.output, name)
                del probes[name]


def _compile(types: KernelTypes, request: dict[str, Any], probes: dict[str, Any], tree: str) -> Any:  # bcc has no types
    text = _joined(request, probes)
    flags = kernel_tree.write(tree, types, text)
    flags += [f"-DPROBE_COUNT={len(request['probes'])}"]
    flags += [f"-DLIFECYCLE_PAGES={request['lifecycle_pages']}", f"-DACTIVITY_PAGES={request['activity_pages']}"]
    flags += [f"-D{name}={value}" for name, value in request["defines"].items()]
    for name, slot in slots(request).items():
        flags += [f"-DSLOT_{name}={slot}", f"-DKIND_{name}={request['probes'][slot]['kind']}"]
    os.environ["BCC_KERNEL_SOURCE"] = tree
    import bcc  # noqa: PLC0415  # may be missing: the loader answers that

    text += selfcheck.functions(types, text)
    with tempfile.TemporaryFile() as captured:
        saved = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            return attach.ask_bcc(bcc.BPF, text=text, cflags=flags)
        except attach.AttachError as error:
            captured.seek(0)
            raise CompileError(captured.read().decode(errors="replace")) from error
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _first_error(output: str, probe: str = "") -> str:
    """Return clang's first error line, of `probe` when there is one."""
    lines = [line for line in output.splitlines() if "error:" in line]
    named = [line for line in lines if f"{probe}.c:" in line]
    return one_line((named or lines or ["clang gave no reason"])[0])


def one_line(text: str) -> str:
    """Return `text` as one line of at most 300 characters: clang and the verifier write screens."""
    return " ".join(text.split())[:300]
