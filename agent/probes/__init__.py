"""Declarations of the probes, one module each, with the stem of its file in `ebpf/`.

Nothing is registered: a module of this package that has a `PROBE` is a probe.
"""

from __future__ import annotations

import importlib
import pkgutil

from agent.probes.declaration import Probe


def load() -> tuple[Probe, ...]:
    """Return every probe there is, sorted by name."""
    modules = (importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__))
    probes = [module.PROBE for module in modules if hasattr(module, "PROBE")]
    return tuple(sorted(probes, key=lambda probe: probe.name))
