"""Builders for examples about names of files, beside those of `_examples`."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from agent.findings._examples import process_exec
from agent.model import Event
from agent.model import FileLink
from agent.model import FileRename
from agent.model import FileTruncate
from agent.model import FileUnlink

_COMMON: dict[str, Any] = {name: getattr(process_exec(), name) for name in Event.__struct_fields__}
_FILE_LINK = FileLink(**_COMMON, path="/tmp/x", target="/tmp/y", symbolic=False)  # noqa: S108  # in an example
_FILE_RENAME = FileRename(**_COMMON, old_path="/tmp/y", new_path="/tmp/x", flags_raw=0)  # noqa: S108  # as above
_FILE_TRUNCATE = FileTruncate(**_COMMON, path="/tmp/x", length_bytes=0)  # noqa: S108  # as above
_FILE_UNLINK = FileUnlink(**_COMMON, path="/tmp/x", directory=False)  # noqa: S108  # as above


def file_link(path: str, target: str, **changes: Any) -> FileLink:
    """Return a file given one more name, `path`."""
    return replace(_FILE_LINK, path=path, target=target, **changes)


def file_rename(old_path: str, new_path: str, **changes: Any) -> FileRename:
    """Return a file given another name."""
    return replace(_FILE_RENAME, old_path=old_path, new_path=new_path, **changes)


def file_truncate(path: str, **changes: Any) -> FileTruncate:
    """Return a file cut to nothing."""
    return replace(_FILE_TRUNCATE, path=path, **changes)


def file_unlink(path: str, **changes: Any) -> FileUnlink:
    """Return a name taken away."""
    return replace(_FILE_UNLINK, path=path, **changes)
