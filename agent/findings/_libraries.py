"""Which preloaded libraries come from where no package puts them."""

from __future__ import annotations

import re

# Where the loader looks by itself (ld.so(8)), with what packages and package managers of their own prefix use; nix
# and snap are read-only to all but their owners.
_SYSTEM = ("/lib/", "/lib32/", "/lib64/", "/libx32/", "/usr/", "/nix/store/", "/snap/", "/gnu/store/")
_SCRATCH = ("/tmp/", "/var/tmp/", "/dev/shm/", "/run/shm/")  # noqa: S108  # where everybody may write
_SEPARATORS = re.compile(r"[: ]+")  # both, says ld.so(8)


def foreign(ld_preload: str | None, ld_library_path: str | None) -> tuple[str, ...]:
    """Return the libraries of an LD_PRELOAD that are from no directory of the system, in order.

    A name without a slash is looked for where the loader looks by itself, and before that in LD_LIBRARY_PATH.
    """
    if not ld_preload:
        return ()
    elsewhere = bool(ld_library_path) and not _all_system(ld_library_path or "")
    named = (library for library in _SEPARATORS.split(ld_preload) if library)
    return tuple(library for library in named if (elsewhere if "/" not in library else not is_system(library)))


def is_system(path: str) -> bool:
    """Answer whether a path is in a directory of the system, and written straight."""
    return path.startswith(_SYSTEM) and "/../" not in path


def is_scratch(path: str) -> bool:
    """Answer whether a path is where everybody may write, is hidden, or depends on where one stands."""
    return path.startswith(_SCRATCH) or "/." in path or not path.startswith(("/", "$"))


def _all_system(search_path: str) -> bool:
    return all(is_system(f"{directory}/") for directory in search_path.split(":") if directory)
