"""The running kernel's types, as C that bcc can compile and as offsets that can be checked.

A host seldom has kernel headers, but a kernel with BTF describes itself in
/sys/kernel/btf/vmlinux.  libbpf turns that description into C.  Two things have
to be put right before bcc may see it:

* libbpf writes a gap between two fields as an unnamed bit-field (`long: 64;`).
  C lays that out correctly, bcc 0.26's rewriter does not: it then reads a
  neighbour, and `mm->arg_start` yields the environment.  `repair_padding`
  writes such a gap as an aligned char array, which both lay out alike.
* types that bcc brings with it (`uapi/linux/bpf.h`) must not be defined twice.

This module runs inside the loader child, under whichever Python has bcc, so it
needs nothing outside the standard library and stays compatible with Python 3.9.

Blind to: types that live in a module's own BTF (/sys/kernel/btf/<module>).
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator

VMLINUX_BTF = "/sys/kernel/btf/vmlinux"
LIBBPF = "libbpf.so.1"  # 1.x: the four-argument btf_dump__new used below

# include/uapi/linux/btf.h
_KIND_STRUCT, _KIND_ENUM, _KIND_TYPEDEF, _KIND_FUNCTION, _KIND_ENUM64 = 4, 6, 8, 12, 19
_ENUM_STRIDES = {_KIND_ENUM: 8, _KIND_ENUM64: 12}  # bytes of struct btf_enum, struct btf_enum64
_SCALAR_KINDS = frozenset({1, 2, _KIND_ENUM})  # int, pointer, enum
_MODIFIER_KINDS = frozenset({8, 9, 10, 11, 18})  # typedef, volatile, const, restrict, type_tag


class BtfError(Exception):
    """The kernel's type information cannot be had on this host; the text says why."""


class _BtfType(ctypes.Structure):
    """struct btf_type: name offset, packed kind/vlen, and size or target type."""

    _fields_ = [("name_off", ctypes.c_uint32), ("info", ctypes.c_uint32), ("size", ctypes.c_uint32)]


class _BtfMember(ctypes.Structure):
    """struct btf_member: name offset, type id, bit offset (low 24 bits when kind_flag is set)."""

    _fields_ = [("name_off", ctypes.c_uint32), ("type", ctypes.c_uint32), ("offset", ctypes.c_uint32)]


_PRINTF_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


def load_libbpf() -> ctypes.CDLL:
    """Return libbpf, declared.  Raises BtfError naming the package when it is missing."""
    try:
        lib = ctypes.CDLL(LIBBPF, use_errno=True)
    except OSError as error:
        raise BtfError(f"{LIBBPF} was not found: install libbpf1 (Debian, Ubuntu) or libbpf (Amazon Linux)") from error
    _declare(lib)
    return lib


def _declare(lib: ctypes.CDLL) -> None:
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32
    lib.btf__parse.restype = pointer
    lib.btf__parse.argtypes = [text, pointer]
    lib.btf__parse_split.restype = pointer
    lib.btf__parse_split.argtypes = [text, pointer]
    lib.btf__free.argtypes = [pointer]
    lib.btf__free.restype = None
    lib.btf__find_by_name_kind.restype = ctypes.c_int32
    lib.btf__find_by_name_kind.argtypes = [pointer, text, number]
    lib.btf__type_by_id.restype = ctypes.POINTER(_BtfType)
    lib.btf__type_by_id.argtypes = [pointer, number]
    lib.btf__name_by_offset.restype = text
    lib.btf__name_by_offset.argtypes = [pointer, number]
    lib.btf_dump__new.restype = pointer
    lib.btf_dump__new.argtypes = [pointer, _PRINTF_CALLBACK, pointer, pointer]
    lib.btf_dump__free.argtypes = [pointer]
    lib.btf_dump__free.restype = None
    lib.btf_dump__dump_type.argtypes = [pointer, number]


class KernelTypes:
    """The types of one kernel.  Raises BtfError when they cannot be read."""

    def __init__(self, path: str = VMLINUX_BTF, module: str | None = None) -> None:
        """Read the kernel's types from `path`, and those of one `module` on top of them."""
        self._lib = load_libbpf()
        self._base = self._lib.btf__parse(path.encode(), None)
        self._btf = self._base
        if self._base and module:
            self._btf = self._lib.btf__parse_split(module.encode(), self._base)
        if not self._btf:
            raise BtfError(
                f"{path} cannot be read ({_strerror()}): this kernel was built without "
                "CONFIG_DEBUG_INFO_BTF, so eBPF probes cannot be compiled for it"
            )

    def close(self) -> None:
        """Free what libbpf holds."""
        self._lib.btf__free(self._btf)
        if self._btf != self._base:
            self._lib.btf__free(self._base)

    def has_struct(self, name: str) -> bool:
        """Return whether the kernel knows `struct name`."""
        return self._find(name, _KIND_STRUCT) > 0

    def struct_id(self, name: str) -> int:
        """Return the number of `struct name`, 0 or less when the kernel does not know it."""
        return self._find(name, _KIND_STRUCT)

    def function_id(self, name: str) -> int:
        """Return the number of a function, 0 or less when the kernel does not know it."""
        return self._find(name, _KIND_FUNCTION)

    def has_field(self, struct: str, field: str) -> bool:
        """Return whether `struct` has `field`, also inside an anonymous member."""
        return any(name == field for name, _ in self.fields(struct))

    def enumerator(self, enum: str, name: str) -> int:
        """Return the value of `name` in `enum`, -1 when the kernel does not have it."""
        values = (value for kind in _ENUM_STRIDES for found, value in self._enumerators(enum, kind) if found == name)
        return next(values, -1)

    def _enumerators(self, enum: str, kind: int) -> Iterator[tuple[str, int]]:
        """Yield (name, low 32 bits of the value) of an enum of `kind`."""
        type_id = self._find(enum, kind)
        if type_id <= 0:
            return
        entry = self._lib.btf__type_by_id(self._btf, type_id).contents
        base, stride = ctypes.addressof(entry) + ctypes.sizeof(_BtfType), _ENUM_STRIDES[kind]
        for address in range(base, base + (entry.info & 0xFFFF) * stride, stride):
            name_off, value = (ctypes.c_uint32 * 2).from_address(address)
            yield self._name(name_off), int(value)

    def fields(self, struct: str) -> Iterator[tuple[str, int]]:
        """Yield (name, byte offset) of every addressable field of `struct`.

        Bit-fields are left out: C cannot take their address.
        """
        for name, offset, _kind in self._members(self._find(struct, _KIND_STRUCT), 0):
            yield name, offset

    def scalar_fields(self, struct: str) -> frozenset[str]:
        """Return the names of those fields of `struct` that are a number or a pointer."""
        members = self._members(self._find(struct, _KIND_STRUCT), 0)
        return frozenset(name for name, _offset, kind in members if kind in _SCALAR_KINDS)

    def header(self, structs: list[str], typedefs: tuple[str, ...] = ()) -> str:
        """Return C that defines `structs`, `typedefs` and everything they contain, gaps repaired.

        Names that this kernel does not know are left out.
        """
        chunks: list[str] = []
        libc = ctypes.CDLL(None)
        libc.vsnprintf.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p]
        buffer = ctypes.create_string_buffer(1 << 16)  # the longest single printf is one line of C

        def collect(_context: int, template: bytes, arguments: int) -> None:
            written = libc.vsnprintf(buffer, len(buffer), template, arguments)
            chunks.append(buffer.raw[:written].decode())

        callback = _PRINTF_CALLBACK(collect)  # held until the dump is freed
        dump = self._lib.btf_dump__new(self._btf, callback, None, None)
        if not dump:
            raise BtfError(f"libbpf cannot print the kernel's types ({_strerror()})")
        try:
            wanted = [(name, _KIND_TYPEDEF) for name in typedefs] + [(name, _KIND_STRUCT) for name in structs]
            for name, kind in wanted:
                type_id = self._find(name, kind)
                if type_id > 0:
                    self._lib.btf_dump__dump_type(dump, type_id)
        finally:
            self._lib.btf_dump__free(dump)
        return repair_padding("".join(chunks))

    def _members(self, type_id: int, base_offset: int) -> Iterator[tuple[str, int, int]]:
        """Yield (name, byte offset, kind of type), those of anonymous members among them."""
        if type_id <= 0:
            return
        type_pointer = self._lib.btf__type_by_id(self._btf, type_id)
        info = type_pointer.contents.info
        bitfields = bool(info >> 31)
        address = ctypes.addressof(type_pointer.contents) + ctypes.sizeof(_BtfType)
        for index in range(info & 0xFFFF):
            member = _BtfMember.from_address(address + index * ctypes.sizeof(_BtfMember))
            if bitfields and member.offset >> 24:
                continue
            offset_bits = member.offset & 0xFFFFFF if bitfields else member.offset
            offset = base_offset + offset_bits // 8
            name = self._name(member.name_off)
            target = self._unmodified(member.type)
            if name:
                yield name, offset, self._kind(target)
            else:
                yield from self._members(target, offset)

    def _unmodified(self, type_id: int) -> int:
        """Follow const, volatile, typedef down to the struct or union they stand for."""
        while self._kind(type_id) in _MODIFIER_KINDS:
            type_id = self._lib.btf__type_by_id(self._btf, type_id).contents.size
        return type_id

    def _kind(self, type_id: int) -> int:
        if type_id == 0:
            return 0
        return int(self._lib.btf__type_by_id(self._btf, type_id).contents.info >> 24) & 0x1F

    def _find(self, name: str, kind: int) -> int:
        return int(self._lib.btf__find_by_name_kind(self._btf, name.encode(), kind))

    def _name(self, offset: int) -> str:
        name = self._lib.btf__name_by_offset(self._btf, offset)
        return name.decode() if name else ""


_GAP = re.compile(r"^(?P<indent>\t+)(?:unsigned )?(?P<type>long|int|short|char): (?P<bits>\d+);$", re.MULTILINE)
_SIZE_BYTES = {"long": 8, "int": 4, "short": 2, "char": 1}


def repair_padding(header: str) -> str:
    """Write each whole-byte gap as an aligned char array.

    A gap that is not a whole number of its type stands between real bit-fields
    and is left alone.
    """
    count = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal count
        size = _SIZE_BYTES[match["type"]]
        if int(match["bits"]) != size * 8:
            return match[0]
        count += 1
        return f"{match['indent']}char __gap_{count}[{size}] __attribute__((aligned({size})));"

    return _GAP.sub(replace, header)


def _strerror() -> str:
    return os.strerror(ctypes.get_errno()) if ctypes.get_errno() else "no reason given"
