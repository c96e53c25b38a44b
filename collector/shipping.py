"""Event files on their way into a bucket, when they have had time to be merged.

Agents are acknowledged when their events are on the collector's own disk: an object a second and host would cost more
than all the rest (docs/scale.md).  A file that has not changed for `ship_after_s` is put into the bucket under its own
name, and removed here once it is there.  A collector killed in between puts it there again: the same object, with the
same content.  Files younger than that are merged, older ones are not any more (`collector.compact`), so that nothing
is there once as a part and once in a whole.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import NamedTuple
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from collector import names
from collector.errors import ConfigError
from collector.events import parts_of
from collector.names import Part

BATCH_BYTES = 8 * 1024 * 1024  # in memory at a time; of a multipart upload 5 MiB are the least

_log = logging.getLogger(__name__)


class Bucket(NamedTuple):
    """Where event files go."""

    system: Any
    """pyarrow's file system."""
    prefix: str


def bucket_of(url: str) -> Bucket:
    """Return what `s3://BUCKET/PREFIX` names, with credentials as AWS's tools find them. Raises ConfigError.

    `?region=R`, `?endpoint_override=HOST:PORT&scheme=http` and others are pyarrow's.
    """
    if urlsplit(url).scheme != "s3":
        raise ConfigError(f"`events_url` {url} must be s3://BUCKET/PREFIX")
    try:
        system, prefix = fs.FileSystem.from_uri(url)
    except (OSError, pa.ArrowException) as exc:
        raise ConfigError(f"`events_url` {url}: {exc}") from exc
    return Bucket(system, prefix.rstrip("/"))


def ship(root: Path, bucket: Bucket, changed_before_s: float) -> int:
    """Move what has not changed since into the bucket; return how many files. Raises OSError when it refuses."""
    count = 0
    for folder in sorted(root.glob("class=*/day=*/host=*")):
        for path in _settled(folder, changed_before_s):
            _put(path, bucket, str(path.relative_to(root)))
            path.unlink()
            count += 1
    if count:
        _log.info("%s: %d event files are in the bucket now", root, count)
    return count


def names_in(bucket: Bucket, class_name: str | None = None) -> set[str]:
    """Return the event files in the bucket, of a class or of all, by their paths below its prefix. Raises OSError."""
    below = bucket.prefix if class_name is None else f"{bucket.prefix}/class={class_name}"
    selector = fs.FileSelector(below, recursive=True, allow_not_found=True)
    paths = (info.path for info in bucket.system.get_file_info(selector) if info.is_file)
    return {path.removeprefix(bucket.prefix + "/") for path in paths if names.parse_part(path.rpartition("/")[2])}


def _settled(folder: Path, changed_before_s: float) -> Iterator[Path]:
    """Yield what has not changed since, having removed what was merged into it: alone that would be read again."""
    parts = parts_of(folder)
    gone = names.superseded(parts)
    for part in parts:
        path = folder / part.name
        if part in gone or path.stat().st_mtime >= changed_before_s:
            continue
        _remove_parts(folder, part, gone)
        yield path


def _remove_parts(folder: Path, whole: Part, gone: set[Part]) -> None:
    for part in gone:
        if part.within(whole):
            (folder / part.name).unlink(missing_ok=True)


def _put(path: Path, bucket: Bucket, name: str) -> None:
    """Put a file there whole, and see that it is."""
    target = f"{bucket.prefix}/{name}"
    with path.open("rb") as source, bucket.system.open_output_stream(target) as sink:
        shutil.copyfileobj(source, sink, BATCH_BYTES)
    size = bucket.system.get_file_info(target).size
    if size != path.stat().st_size:
        raise OSError(f"{target}: {size} bytes are there of {path.stat().st_size}")
