"""The operator's lists: which files they are, and by what a change of them is seen."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import msgspec

from agent.errors import ConfigError

FILES_MAX = 1000  # of one directory: more are no lists


class ListSource(msgspec.Struct, frozen=True, kw_only=True):
    """A file, or a directory of files, as `[[intel.lists]]` has it."""

    path: str
    category: str
    format: str = "txt"
    name: str | None = None
    """What findings call it; None: the path of the file."""
    trusted: bool = False

    def files(self) -> Iterator[Path]:
        """Yield the files.  Raises ConfigError for a directory that cannot be read."""
        path = Path(self.path)
        if not path.is_dir():
            yield path
            return
        try:
            found = sorted(file for file in path.iterdir() if not file.name.startswith(".") and not file.is_dir())
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be read: {error.strerror}") from error
        if len(found) > FILES_MAX:
            raise ConfigError(f"{self.path}: has {len(found)} files, {FILES_MAX} at most are read")
        yield from found


def inputs(sources: Iterable[ListSource]) -> str:
    """Return a text that is another one as soon as a file, the settings or what ships is another one."""
    said: list[object] = [_bundled()]
    for source in sources:
        said.append(msgspec.to_builtins(source))
        try:
            said.extend(map(_state, source.files()))
        except ConfigError as error:
            said.append(str(error))
    return msgspec.json.encode(said).decode()


def _state(file: Path) -> object:
    try:
        found = file.stat()
    except OSError as error:
        return [str(file), error.errno]
    return [str(file), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _bundled() -> int:
    """Return a checksum of the lists that ship with the agent."""
    total = 0
    for file in resources.files("agent.intel").joinpath("lists").iterdir():
        total ^= zlib.crc32(file.read_bytes() + file.name.encode())
    return total
