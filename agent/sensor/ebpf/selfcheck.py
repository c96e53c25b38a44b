"""Whether the code that bcc emits reads where BTF says the field is.

bcc rewrites C before it compiles, and its 0.26 is known to lay out gapped
structs otherwise than the kernel.  For every kernel struct that the probes name,
and every field of it that they mention, one address is taken in a function that
is compiled with the probes but never loaded; the offsets in its instructions are
compared with BTF's.

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
_INSTRUCTION = struct.Struct("<BBhi")  # struct bpf_insn: opcode, registers, offset, immediate
_ADD_IMMEDIATE = 0x07  # BPF_ALU64 | BPF_ADD | BPF_K
_MOVE_REGISTER = 0xBF  # BPF_ALU64 | BPF_MOV | BPF_X
_LOAD_POINTER = 0x79  # BPF_LDX | BPF_MEM | BPF_DW
_CALL = 0x85  # BPF_JMP | BPF_CALL
_PROBE_READ_KERNEL = 113  # include/uapi/linux/bpf.h
_THIRD_ARGUMENT = 3


def checked(types: KernelTypes, text: str) -> list[tuple[str, list[tuple[str, int]]]]:
    """Return (struct, [(field, offset)]) for what `text` mentions."""
    words = set(_WORD.findall(text))
    pairs = []
    for name in kernel_tree.structs_named(text, types):
        fields = [(field, offset) for field, offset in types.fields(name) if field in words]
        if fields:
            pairs.append((name, fields))
    return pairs


def functions(types: KernelTypes, text: str) -> str:
    """Return C to append to `text`: one function a struct, one read a field."""
    parts = ['\n#line 1 "selfcheck.c"\n']
    for name, fields in checked(types, text):
        reads = "\n".join(f"\tbpf_probe_read_kernel(&byte, 1, &object->{field});" for field, _ in fields)
        parts.append(
            f"int selfcheck_{name}(struct bpf_raw_tracepoint_args *ctx)\n"
            f"{{\n\tstruct {name} *object = (struct {name} *)ctx->args[0];\n"
            f"\tchar byte = 0;\n{reads}\n\treturn byte;\n}}\n"
        )
    return "".join(parts)


def wrong_offsets(module: Any, types: KernelTypes, text: str) -> list[str]:  # bcc has no types
    """Return `struct.field` for each that the emitted code reads elsewhere than BTF says."""
    wrong = []
    for name, fields in checked(types, text):
        code = module.dump_func(f"selfcheck_{name}".encode())
        emitted = offsets_read(code)
        expected = [offset for _, offset in fields]
        if emitted == expected:
            continue
        pairs = zip(fields, emitted + [-1] * len(fields))
        wrong += [f"{name}.{field}" for (field, offset), found in pairs if found != offset]
    return wrong


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
        elif opcode == _CALL and immediate == _PROBE_READ_KERNEL:
            offsets.append(distance[_THIRD_ARGUMENT])
    return offsets
