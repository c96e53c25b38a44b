"""Readers of lists, a module each: `indicators(file, where)` yields what is in an open file.

Each raises ConfigError with file and line for what it does not understand.  What it
understands and cannot match (URLs, MD5, e-mail addresses) it leaves out;
docs/intel.md says so of each.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

from agent.errors import ConfigError
from agent.intel.entries import Indicator
from agent.intel.formats._lines import FILE_BYTES_MAX

NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


def read(path: Path, name: str) -> Iterator[Indicator]:
    """Yield the indicators of a file in the format `name`.  Raises ConfigError naming file and line."""
    reader = importlib.import_module(f"{__name__}.{name}")
    try:
        if not path.is_file():  # a pipe would be waited for; what is not there is said below
            path.stat()
            raise ConfigError(f"{path}: is no regular file")
        with path.open("rb") as file:
            if file.seek(0, 2) > FILE_BYTES_MAX:
                raise ConfigError(f"{path}: is larger than {FILE_BYTES_MAX >> 20} MiB")
            file.seek(0)
            yield from reader.indicators(file, str(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
