"""The kernel's tables of sensitive files, as the agent fills them."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from agent.sensor.ebpf import sensitive

ROOT = Path(__file__).parents[2]
NAME_BYTES = 48


def passes(tables: dict[str, dict[bytes, bytes]], name: bytes, row: int = 0) -> bool:
    """Return whether a name gets by the look at its length and first character, as may_be_listed has it."""
    [firsts] = struct.unpack("=Q", tables["sensitive_lengths"].get(struct.pack("=I", row + len(name)), bytes(8)))
    return bool(firsts >> (name[0] & 63) & 1)


@pytest.mark.parametrize("entry", sensitive.listed(("a/b", f"*/{'n' * 46}", f"{'d' * 46}/*")))
def test_every_entry_gets_by(entry: sensitive.Listed) -> None:
    """The quick look turns away nothing that is listed."""
    tables = sensitive.tables(("a/b", f"*/{'n' * 46}", f"{'d' * 46}/*"))

    assert passes(tables, entry.leaf) if entry.leaf else passes(tables, entry.parent, NAME_BYTES)
    assert entry.leaf or entry.only_written, "what is only read is not looked up by its directory"
    assert tables["sensitive_files"][entry.parent.ljust(48, b"\0") + entry.leaf.ljust(48, b"\0")]


def test_most_names_do_not() -> None:
    """What programs open all day is turned away at once."""
    names = ["libc.so.6", "ld.so.cache", "locale-archive", "passwd", "nsswitch.conf", "hosts", "null", "maps", "stat"]
    tables = sensitive.tables()

    assert 2 >= sum(passes(tables, name.encode()) for name in names)


def test_what_is_listed_last_counts() -> None:
    """An operator who lists a file that was only told when written has it told when read, too."""
    key = b"etc".ljust(48, b"\0") + b"passwd".ljust(48, b"\0")

    assert struct.pack("=II", 0, 1) == sensitive.tables()["sensitive_files"][key]
    assert struct.pack("=II", 0, 0) == sensitive.tables(("etc/passwd",))["sensitive_files"][key]


def test_the_room_is_that_of_the_kernel() -> None:
    """Names and entries fit into what the C text declares."""
    text = (ROOT / "ebpf/prelude_opens.c").read_text(encoding="utf-8")
    [room] = re.findall(r"sensitive_files, struct listed_name, struct listed_file, (\d+)\)", text)

    assert f"#define LISTED_NAME_BYTES {NAME_BYTES} " in text
    assert int(room) >= len(sensitive.listed()) + 256
    assert all(len(name) < NAME_BYTES - 1 for entry in sensitive.listed() for name in entry[:2])


def test_the_page_lists_them() -> None:
    """docs/filtering.md names every file that is there without a configuration."""
    page = (ROOT / "docs/filtering.md").read_text(encoding="utf-8")
    told, marked = (set(re.findall(r"`([^` ]+/[^` ]+)`", part)) for part in page.split("Marked when written")[:2])

    assert {*sensitive.READ, sensitive.PROCESS_MEMORY} <= told
    assert {*sensitive.WRITTEN, sensitive.RELEASE_AGENT} <= marked
