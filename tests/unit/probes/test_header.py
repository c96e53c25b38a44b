"""Paths as a record spells them: leaf first, each name with its NUL."""

from __future__ import annotations

import pytest

from agent.probes import header


@pytest.mark.parametrize(
    ("names", "path", "in_root"),
    [
        pytest.param(b"leaf\0dir\0/\0", "/dir/leaf", None, id="its own root is the root"),
        pytest.param(b"leaf\0dir\0/\0jail\0srv\0", "/srv/jail/dir/leaf", "/dir/leaf", id="in a chroot"),
        pytest.param(b"/\0jail\0srv\0", "/srv/jail", "/", id="the root of a chroot itself"),
        pytest.param(b"leaf\0dir\0", "/dir/leaf", None, id="outside of its root"),
        pytest.param(b"leaf\0/\0jail\0\0", "…/jail/leaf", "/leaf", id="root's end cut off, in a chroot"),
        pytest.param(b"leaf\0dir\0\0", "…/dir/leaf", None, id="root's end cut off before its own root"),
        pytest.param(b"/\0", "/", None, id="the root"),
        pytest.param(b"\xff\0/\0a\0", "/a/\\xff", "/\\xff", id="not UTF-8"),
        pytest.param(b"a\0/\0b\0/\0", "/b/a", "/a", id="no kernel writes two"),
        pytest.param(b"", "/", None, id="nothing"),
        pytest.param(b"no end", "/", None, id="a name without its end"),
    ],
)
def test_paths(names: bytes, path: str, in_root: str | None) -> None:
    """From the root of the mount tree, and from the root directory of the process where that is another."""
    assert (path, in_root) == (header.path(names), header.path_in_root(names))
