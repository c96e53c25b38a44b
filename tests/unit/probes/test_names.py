"""A file as a call named it: what the caller wrote, behind what the kernel knows; and records that lie about it."""

from __future__ import annotations

import struct

import pytest

from agent.errors import MalformedRecord
from agent.probes._names import NAME
from agent.probes._names import Named
from agent.probes._names import named
from tests.unit.probes.records import packed

TEXT, BASE, LACKS_START = 1, 2, 4


def parts(text: bytes, base: bytes, known: int) -> tuple[bytes, bytes]:
    """Return a `struct name_info` and the record that it is of."""
    end = 4 + len(text) + len(base)
    return packed(NAME, text=4, base=4 + len(text), end=end, known=known), b"head" + text + base + b"tail"


@pytest.mark.parametrize(
    ("text", "base", "path"),
    [
        pytest.param(b"a\0", b"w\0srv\0/\0", "/srv/w/a", id="relative"),
        pytest.param(b"/a/b\0", b"/\0", "/a/b", id="absolute"),
        pytest.param(b"a\0", b"", "/a", id="in a root that has no mark"),
        pytest.param(b".//a/./b//\0", b"w\0", "/w/a/b", id="steps that change nothing"),
        pytest.param(b"link/../a\0", b"w\0", "/w/link/../a", id="a step up stays"),
        pytest.param(b"..\0", b"w\0", "/w/..", id="a step up alone"),
        pytest.param(b"\0", b"file\0w\0", "/w/file", id="the descriptor itself, by an empty name"),
        pytest.param(b"\0", b"", "/", id="the root itself"),
        pytest.param(b"a\xff\n\0", b"\xfe\0", "/\\xfe/a\\xff\n", id="any bytes"),
        pytest.param(b"a\0", b"w\0\0", "…/w/a", id="a directory too deep"),
        pytest.param(b"a\0b\0", b"w\0", "/w/a", id="more than one name"),
        pytest.param(b"a", b"w\0", "/w/a", id="no end"),
    ],
)
def test_path(text: bytes, base: bytes, path: str) -> None:
    """The path is absolute, and nothing that the caller wrote is taken for more than it is."""
    assert path == named(*parts(text, base, TEXT | BASE)).path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        pytest.param(b"ut/long/leaf\0", "/w/…/long/leaf", id="the end"),
        pytest.param(b"/leaf\0", "/w/…/leaf", id="the end, whole names"),
        pytest.param(b"ut\0", "/w/…", id="half a name"),
        pytest.param(b"\0", "/w/…", id="rewritten meanwhile"),
        pytest.param(b"", "/w/…", id="nothing"),
    ],
)
def test_start_is_missing(text: bytes, path: str) -> None:
    """Where the start of a name is missing, the path says where."""
    assert path == named(*parts(text, b"w\0", TEXT | BASE | LACKS_START)).path


def test_chroot() -> None:
    """In a chroot the path is told as the process itself has it, too."""
    assert Named("/jail/w/a", "/w/a", "a") == named(*parts(b"a\0", b"w\0/\0jail\0", TEXT | BASE))
    assert Named("/jail/a", "/a", "/a") == named(*parts(b"/a\0", b"/\0jail\0", TEXT | BASE))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param(0, (None, None, None), id="nothing"),
        pytest.param(BASE, ("/w", None, None), id="a descriptor instead of a name"),
        pytest.param(TEXT, ("…/a", None, "a"), id="no directory"),
        pytest.param(TEXT | LACKS_START, ("…/…", None, "…a"), id="neither directory nor start"),
    ],
)
def test_what_is_not_known(known: int, expected: tuple[str | None, ...]) -> None:
    """What could not be read is None, or an ellipsis where it would stand; it is never a guess."""
    assert expected == named(*parts(b"a\0", b"w\0", known))


@pytest.mark.parametrize(
    ("text", "base", "end"),
    [(5, 4, 8), (4, 9, 8), (0, 4, 2**32 - 1), (2**32 - 1, 2**32 - 1, 2**32 - 1), (0, 20, 20)],
)
def test_parts_that_do_not_fit(text: int, base: int, end: int) -> None:
    """Places that are not in the record are malformed, whatever they would have held."""
    with pytest.raises(MalformedRecord):
        named(struct.pack("=IIII", text, base, end, TEXT | BASE), b"ten bytes.")
