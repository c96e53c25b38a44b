"""The HTTP API beside the collector: there where `[api]` says so, and loaded only then (it takes 15 MB)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from collector.config import Config
from collector.watch import Hub

if TYPE_CHECKING:
    from collector.api.serving import Serving


class Web:
    """The API, served or not."""

    def __init__(self) -> None:
        self._serving: Serving | None = None

    @property
    def address(self) -> str | None:
        """Return its URL, with the port that was taken; None while it is not served."""
        return None if self._serving is None else self._serving.address

    def start(self, config: Config, hub: Hub, ready: Callable[[], bool]) -> None:
        """Serve it where it is wanted; `ready` tells whether the rest answers. Raises AddressError, StateError."""
        if config.api is None:
            return
        from collector.api.serving import serving  # noqa: PLC0415  see above

        self._serving = serving(config, config.api, hub, ready)
        self._serving.start()

    def stop(self) -> None:
        """Serve it no more."""
        if self._serving is not None:
            self._serving.stop()
