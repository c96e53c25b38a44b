"""A shell in a container copies a shared library to a new name and preloads it into /bin/true."""

from __future__ import annotations

import secrets
from pathlib import Path

from agent.errors import HostUnsupported
from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._container import running_container

# The C library's maths, which nothing in /bin/true needs: where Debian, Fedora, Amazon Linux and SUSE keep it.
_LIBRARIES = ("usr/lib/*/libm.so.6", "usr/lib64/libm.so.6", "lib/*/libm.so.6", "lib64/libm.so.6", "usr/lib/libm.so.6")


def library(root: Path) -> Path:
    """Return a shared library below `root`.  Raises `HostUnsupported` when there is none that we know."""
    for pattern in _LIBRARIES:
        for path in sorted(root.glob(pattern)):
            return path.resolve()
    raise HostUnsupported("no libm.so.6 of the GNU C library was found to copy")


def run() -> Deed:
    """Copy a library inside a container and load the copy."""
    path = f"/tmp/vedette-{secrets.token_hex(4)}.so"  # noqa: S108  # in the container's own root, under a random name
    original = library(Path("/"))
    with running_container() as container:
        done = container.exec(["/bin/sh", "-c", f"cp {original} {path} && LD_PRELOAD={path} exec /bin/true"])
    if done.status != 0 or done.stderr:
        raise HostUnsupported(f"the copy was not loaded in the container: {done.stderr.strip()}")
    return Deed(
        pid=done.pid,
        path=path,
        container_id=container.id,
        note=f"copied {original} to {path} in container {container.id} and preloaded it into /bin/true",
    )


TRIGGER = Trigger(finding="Execution:Runtime/NewLibraryLoaded", needs=("root", "runc"), run=run)
