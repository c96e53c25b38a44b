"""What is done to event files once they are there: merged when small, moved into a bucket, removed when old."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC
from datetime import datetime
from math import inf

from collector import compact
from collector import retention
from collector import shipping
from collector.errors import ConfigError
from collector.keeping import Keeping
from collector.retention import Bounds

_NS_PER_S = 1_000_000_000

_log = logging.getLogger(__name__)


async def tidy_for_ever(keeping: Keeping) -> None:
    """Tidy up every `compact_interval_s` until cancelled."""
    while True:
        await asyncio.sleep(keeping.config.compact_interval_s)
        await asyncio.get_running_loop().run_in_executor(keeping.disk, tidy, keeping)


def tidy(keeping: Keeping) -> None:
    """Merge, ship, then remove what is beyond the bounds; a disk that refuses is tried again the next time."""
    config, root, now_s = keeping.config, keeping.files.root, keeping.now_ns() / _NS_PER_S
    unchanged_s = config.ship_after_s if config.events_url else inf
    compact.compact(root, now_s, unchanged_s)
    try:
        if config.events_url:
            shipping.ship(root, shipping.bucket_of(config.events_url), now_s - unchanged_s)
    except (OSError, ConfigError) as exc:
        _log.warning("%s: event files are not moved: %s", root, exc)
    try:
        bounds = Bounds(config.keep_days, config.keep_bytes)
        retention.enforce(root, bounds, datetime.fromtimestamp(now_s, UTC).date())
    except OSError as exc:
        _log.warning("%s: old event files are not removed: %s", root, exc)
