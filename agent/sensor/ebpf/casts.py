"""Pointers to the kernel's objects that the verifier believes: reads through them are plain loads.

A read through bpf_probe_read_kernel costs some 20 ns, a plain load one; a program that walks paths has a
hundred.  Since 6.2 the kernel's function bpf_rdonly_cast (kernel/bpf/helpers.c) says of a number that it is the
address of a struct, and costs nothing by itself: the verifier takes it out.  What is loaded is still checked: a
bad address gives 0, as READ() does.

bcc 0.26 cannot call a function of the kernel's.  So the text calls a helper by a number that no helper has,
and its place is taken, in what was compiled, by the function's number in BTF.

Runs in the loader child: standard library only, compatible with Python 3.9.
"""

from __future__ import annotations

import os
import struct

from agent.sensor.ebpf import btf

FUNCTION = "bpf_rdonly_cast"
HELPER = 0x7FFF0000  # as long as nobody adds two thousand million helpers
_INSTRUCTION = struct.Struct("<BBhi")  # struct bpf_insn: opcode, registers, offset, immediate
_CALL = 0x85  # BPF_JMP | BPF_CALL
_TO_KERNEL = 2 << 4  # BPF_PSEUDO_KFUNC_CALL, where a source register would be
_NUMBER = """static inline __attribute__((always_inline, overloadable))
unsigned int kernel_type_of(const {pointed} *pointer) {{ return {id}; }}
"""
# Those of attach.py but cgroup_sock_addr, which asks for more and has what cgroup_skb has: tracepoint,
# cgroup_skb, raw_tracepoint.
_PROGRAM_TYPES = (5, 8, 17)


def functions(types: btf.KernelTypes, structs: list[str]) -> str:
    """Return C that gives the type of a pointer its number in BTF, 0 where no pointer is believed."""
    ids = {name: types.struct_id(name) for name in structs} if is_usable(types) else {}
    overloads = [("void", 0), *((f"struct {name}", id_) for name, id_ in ids.items())]
    return "".join(_NUMBER.format(pointed=pointed, id=id_) for pointed, id_ in overloads)


def is_usable(types: btf.KernelTypes) -> bool:
    """Return whether this kernel has the function, and lets programs of all our types call it."""
    function, task = types.function_id(FUNCTION), types.struct_id("task_struct")
    return function > 0 and all(_loads(program_type, function, task) for program_type in _PROGRAM_TYPES)


def _loads(program_type: int, function: int, task: int) -> bool:
    """Load `((struct task_struct *)0)->… ; return 1` as a program of a type; return whether that went well."""
    code = (
        (0xB7, 1, 0, 0),  # r1 = 0
        (0xB7, 2, 0, task),  # r2 = task
        (_CALL, _TO_KERNEL, 0, function),
        (0x79, 0, 0, 0),  # r0 = *(u64 *)r0
        (0xB7, 0, 0, 1),  # r0 = 1
        (0x95, 0, 0, 0),  # exit
    )
    instructions = b"".join(_INSTRUCTION.pack(*each) for each in code)
    fd = btf.load_libbpf().bpf_prog_load(program_type, b"cast", b"GPL", instructions, len(code), None)
    if fd < 0:
        return False
    os.close(fd)
    return True


def renamed(code: bytes, function: int) -> bytes:
    """Return instructions with the call to HELPER as one to `function` of the kernel."""
    call = _INSTRUCTION.pack(_CALL, 0, 0, HELPER)
    wanted = _INSTRUCTION.pack(_CALL, _TO_KERNEL, 0, function)
    size = _INSTRUCTION.size
    pieces = (code[at : at + size] for at in range(0, len(code), size))
    return b"".join(wanted if piece == call else piece for piece in pieces)
