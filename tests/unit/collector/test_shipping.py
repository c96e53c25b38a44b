"""Event files into a bucket: moto's server over HTTP stands for S3."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import boto3
import pyarrow.parquet as pq
import pytest

from collector import compact
from collector import shipping
from collector import sql
from collector import tidying
from collector.config import Config
from collector.errors import ConfigError
from collector.events import EventFiles
from collector.shipping import Bucket
from collector.shipping import bucket_of
from collector.shipping import ship
from tests.unit.collector import test_events
from tests.unit.collector import test_exports
from tests.unit.collector.test_events import stored
from tests.unit.collector.test_events import write

files = test_events.files
aws = test_exports.aws
OLD_S = 1_000_000.0


@pytest.fixture(scope="module")
def bucket(aws: dict[str, str]) -> Bucket:
    client = boto3.client("s3", region_name=aws["region"], endpoint_url=aws["endpoint_url"])
    client.create_bucket(Bucket="events")
    endpoint = aws["endpoint_url"].removeprefix("http://")
    return bucket_of(f"s3://events/lake/?region=us-east-1&scheme=http&endpoint_override={endpoint}")


def there(bucket: Bucket, files: EventFiles) -> list[int]:
    """Return the sequences that a reader of the bucket finds, and let them go."""
    from pyarrow import fs

    infos = bucket.system.get_file_info(fs.FileSelector(bucket.prefix, recursive=True, allow_not_found=True))
    paths = [info.path for info in infos if info.is_file]
    found = [
        number for path in paths for number in pq.read_table(path, filesystem=bucket.system)["sequence"].to_pylist()
    ]
    for path in paths:
        bucket.system.delete_file(path)
    return sorted(found)


def aged(path: Path, at_s: float = OLD_S - 1) -> Path:
    os.utime(path, (at_s, at_s))
    return path


def test_what_is_old_enough_moves(files: EventFiles, bucket: Bucket) -> None:
    """A file is here or there, under the same name; what may be merged yet stays."""
    aged(write(files, 1, 3))
    write(files, 4, 6)

    assert ship(files.root, bucket, OLD_S) == 1

    assert stored(files) == [4, 5, 6]
    assert there(bucket, files) == [1, 2, 3]


def test_a_whole_goes_without_its_parts(files: EventFiles, bucket: Bucket) -> None:
    """What was merged is there once, though its parts had stayed for readers."""
    for number in range(1, compact.MERGE + 1):
        write(files, number, number)
    compact.compact(files.root, 0)
    for path in files.root.rglob("*.parquet"):
        aged(path)

    assert ship(files.root, bucket, OLD_S) == 1

    assert list(files.root.rglob("*.parquet")) == []
    assert there(bucket, files) == list(range(1, compact.MERGE + 1))


def test_what_is_on_its_way_is_not_merged_any_more(files: EventFiles) -> None:
    """A file that is in the bucket, and was not removed here yet, does not get into a whole as well."""
    for number in range(1, compact.MERGE + 1):
        aged(write(files, number, number), 10.0)

    assert compact.compact(files.root, 10.0 + 901, 900.0) == 0
    assert compact.compact(files.root, 10.0 + 899, 900.0) == compact.MERGE


def test_what_is_on_its_way_is_within_no_whole(files: EventFiles) -> None:
    """A file that is older than both its neighbours is not taken for one that was merged, and removed."""
    for number in range(1, 2 * compact.MERGE + 2):
        aged(write(files, number, number), 10.0 if number == compact.MERGE + 1 else 1_000.0)

    assert compact.compact(files.root, 1_000.0, 900.0) == 2 * compact.MERGE

    assert sorted(stored(files)) == list(range(1, 2 * compact.MERGE + 2))


def test_killed_between_there_and_here(files: EventFiles, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is put there again as the same object."""
    aged(write(files, 1, 3))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "killed")))
        with pytest.raises(OSError, match="killed"):
            ship(files.root, bucket, OLD_S)

    assert ship(files.root, bucket, OLD_S) == 1
    assert there(bucket, files) == [1, 2, 3]


def test_a_bucket_that_is_not_there_keeps_everything_here(files: EventFiles, bucket: Bucket) -> None:
    """Nothing is removed that did not arrive."""
    aged(write(files, 1, 3))

    with pytest.raises(OSError, match=r"(?i)bucket"):
        ship(files.root, Bucket(bucket.system, "nobodys-bucket/x"), OLD_S)
    assert stored(files) == [1, 2, 3]


def test_what_is_too_old_goes_though_the_bucket_is_not_there(
    files: EventFiles, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk does not fill up for a bucket that cannot be reached; that one could not is said."""
    aged(write(files, 1, 3))
    state_dir = files.root.parent
    config = Config(listen=f"unix://{state_dir}/s", state_dir=state_dir, events_url="s3://none/x", keep_bytes=0)
    keeping = SimpleNamespace(config=config, files=files, now_ns=lambda: int(OLD_S * 2) * 1_000_000_000)
    monkeypatch.setattr(shipping, "bucket_of", lambda _: Bucket(bucket.system, "nobodys-bucket/x"))

    tidying.tidy(keeping)  # type: ignore[arg-type]  these are what it looks at

    assert stored(files) == []
    assert "event files are not moved" in caplog.text


@pytest.mark.parametrize("url", ["/var/lib/x", "gs://bucket/x", "s3:///", ""])
def test_a_url_that_is_no_bucket(url: str) -> None:
    """It is said with its key."""
    with pytest.raises(ConfigError, match="`events_url`"):
        bucket_of(url)


def test_a_question_reads_here_and_there(files: EventFiles, bucket: Bucket) -> None:
    """Events that left are asked for as those that stayed; one that is in both places, after a kill, is there once."""
    path = aged(write(files, 1, 3))
    content = path.read_bytes()
    ship(files.root, bucket, OLD_S)
    write(files, 4, 6)
    path.write_bytes(content)
    state_dir = files.root.parent

    def asked(statement: str) -> list[tuple[int, ...]]:
        return list(sql.ask(state_dir, statement, None, bucket).rows)

    assert asked("SELECT sequence FROM events ORDER BY 1") == [(number,) for number in range(1, 7)]
    assert asked("SELECT count(*) FROM process WHERE pid = 41 AND exit_code = 0") == [(6,)]
    assert asked("SELECT count(*) FROM dns") == [(0,)]
    assert there(bucket, files) == [1, 2, 3]
