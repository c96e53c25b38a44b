"""Calls of i386 from a program of x86-64, with int 0x80: seen by the compat lane, whatever the kernel was made with."""

INT80 = """
import ctypes, mmap, os, sys
# push rbx; mov eax, edi; mov ebx, esi; xchg ecx, edx; mov esi, r8d; int 0x80; pop rbx; ret
CODE = bytes.fromhex("5389f889f387d14489c6cd805bc3")
low = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40, prot=7)  # MAP_32BIT
low[: len(CODE)] = CODE
low_address = ctypes.addressof(ctypes.c_char.from_buffer(low))
int80 = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_uint] * 5)(low_address)
def text(name):
    low[1024 : 1025 + len(name)] = name + b"\\0"
    return low_address + 1024
"""
"""Python with `int80`, which takes a number and four arguments, and `text`, which puts a name where 32 bits reach."""
