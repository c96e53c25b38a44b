"""Which libraries in LD_PRELOAD are worth a word."""

from __future__ import annotations

import pytest

from agent.findings._libraries import foreign
from agent.findings._libraries import is_scratch


@pytest.mark.parametrize(
    ("preload", "search", "expected"),
    [
        (None, None, ()),
        ("", None, ()),
        ("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", None, ()),
        ("/lib64/libasan.so", None, ()),
        ("/usr/libexec/coreutils/libstdbuf.so", None, ()),
        ("libeatmydata.so", None, ()),
        ("libfakeroot-sysv.so", "/usr/lib/x86_64-linux-gnu/libfakeroot:/usr/lib64/libfakeroot", ()),
        ("libx.so", "/usr/lib:/tmp/lib", ("libx.so",)),
        ("libx.so", ":", ()),
        ("/usr/lib/../../tmp/x.so", None, ("/usr/lib/../../tmp/x.so",)),
        ("/usr/lib/a.so:/tmp/x.so /opt/y.so", None, ("/tmp/x.so", "/opt/y.so")),
        (" :/tmp/x.so", None, ("/tmp/x.so",)),
        ("./x.so", None, ("./x.so",)),
        ("/usrx/lib/a.so", None, ("/usrx/lib/a.so",)),
    ],
)
def test_a_library_from_elsewhere_is_told(preload, search, expected):
    """What packages put where the loader looks is everybody's; all else is named, in order."""
    assert expected == foreign(preload, search)


@pytest.mark.parametrize(
    ("path", "scratch"),
    [
        ("/tmp/x.so", True),
        ("/dev/shm/x.so", True),
        ("/opt/.x/x.so", True),
        ("x.so", True),
        ("./x.so", True),
        ("/opt/x.so", False),
        ("$LIB/x.so", False),
    ],
)
def test_a_scratch_directory_is_graver(path, scratch):
    """Where everybody may write, what is hidden and what depends on where one stands."""
    assert scratch is is_scratch(path)
