"""Whether the code that bcc emits reads where BTF says the field is.

bcc rewrites C before it compiles, and its 0.26 is known to lay out gapped
structs otherwise than the kernel.  For every kernel struct that the probes name,
and every field of it that they mention, a function that is compiled with the
probes but never loaded reads it by address, as READ() does, and where LOAD() reads
it also by `->`, which bcc rewrites.  The offsets in its instructions are compared
with BTF's.

Runs in the loader child: standard library only, compatible with Python 3.9.
Blind to: a field whose name is made by macro, bit-fields.
"""

from __future__ import annotations

import re
import struct
from typing import Any

from agent.sensor.ebpf import kernel_tree
from agent.sensor.ebpf.btf import KernelTypes

_WORD = re.compile(r"[A-Za-z_]\w*")
_LOADED = re.compile(r"\bLOAD\(\w+, \w+, (\w+)")  # LOAD(known, pointer, field)
_INSTRUCTION = struct.Struct("<BBhi")  # struct bpf_insn: opcode, registers, offset, immediate
_ADD_IMMEDIATE = 0x07  # BPF_ALU64 | BPF_ADD | BPF_K
_MOVE_REGISTER = 0xBF  # BPF_ALU64 | BPF_MOV | BPF_X
_LOAD_POINTER = 0x79  # BPF_LDX | BPF_MEM | BPF_DW
_CALL = 0x85  # BPF_JMP | BPF_CALL
_PROBE_READS = frozenset({4, 113})  # bpf_probe_read, bpf_probe_read_kernel: include/uapi/linux/bpf.h
_THIRD_ARGUMENT = 3


def checked(types: KernelTypes, text: str) -> list[tuple[str, list[tuple[str, int, bool]]]]:
    """Return (struct, [(field, offset, scalar)]) for what `text` mentions."""
    words, loaded = set(_WORD.findall(text)), set(_LOADED.findall(text))
    pairs = []
    for name in kernel_tree.structs_named(text, types):
        scalars = loaded.intersection(types.scalar_fields(name))
        fields = [(field, offset, field in scalars) for field, offset in types.fields(name) if field in words]
        if fields:
            pairs.append((name, fields))
    return pairs


def _reads(field: str, *, scalar: bool) -> str:
    by_address = f"\tbpf_probe_read_kernel(&byte, 1, &object->{field});"
    return by_address + (f"\n\tsum += (u64)object->{field};" if scalar else "")


def functions(types: KernelTypes, text: str) -> str:
    """Return C to append to `text`: one function a struct, one read a field."""
    parts = ['\n#line 1 "selfcheck.c"\n']
    for name, fields in checked(types, text):
        reads = "\n".join(_reads(field, scalar=rewritten) for field, _, rewritten in fields)
        parts.append(
            f"int selfcheck_{name}(struct bpf_raw_tracepoint_args *ctx)\n"
            f"{{\n\tstruct {name} *object = (struct {name} *)ctx->args[0];\n"
            f"\tchar byte = 0;\n\tu64 sum = 0;\n{reads}\n\treturn byte + sum;\n}}\n"
        )
    return "".join(parts)


def wrong_offsets(module: Any, types: KernelTypes, text: str) -> list[str]:  # bcc has no types
    """Return `struct.field` for each that the emitted code reads elsewhere than BTF says."""
    wrong = []
    for name, fields in checked(types, text):
        emitted = offsets_read(module.dump_func(f"selfcheck_{name}".encode()))
        expected = [(field, offset) for field, offset, scalar in fields for _ in range(1 + scalar)]
        if len(emitted) != len(expected):
            wrong.append(f"{name} ({len(emitted)} reads for {len(expected)})")
        pairs = zip(expected, emitted)
        wrong += [f"{name}.{field}" for (field, offset), found in pairs if found != offset]
    return list(dict.fromkeys(wrong))


def offsets_read(code: bytes) -> list[int]:
    """Return how far from the object each probe_read_kernel call in straight-line `code` reads."""
    offsets = []
    distance = [0] * 11  # of each register, r0 to r10
    for position in range(0, len(code), _INSTRUCTION.size):
        opcode, registers, _, immediate = _INSTRUCTION.unpack_from(code, position)
        target, source = registers & 0xF, registers >> 4
        if opcode == _MOVE_REGISTER:
            distance[target] = distance[source]
        elif opcode == _ADD_IMMEDIATE:
            distance[target] += immediate
        elif opcode == _LOAD_POINTER:
            distance[target] = 0
        elif opcode == _CALL and immediate in _PROBE_READS:
            offsets.append(distance[_THIRD_ARGUMENT])
    return offsets
