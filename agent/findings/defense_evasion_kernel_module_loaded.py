"""A kernel module was loaded, or somebody tried.

A module is the kernel: rootkits hide files, processes and connections with one. What is refused counts, too, with the
result in its evidence; that a module is there already does not.

Noise: drivers that are built on the host (DKMS), security and storage agents with modules of their own, compressed
modules that kmod unpacks itself. At low and balanced what kmod and systemd load from the directories of modules is
silent, if the file was not changed since boot.
Blind to: the name of a module that comes from memory (init_module); modules loaded before the agent started.
"""

from __future__ import annotations

import errno

from agent.findings import _modules
from agent.findings._base import FindingType
from agent.findings._escape_examples import BEFORE_BOOT
from agent.findings._escape_examples import SINCE_BOOT
from agent.findings._escape_examples import module_load
from agent.findings._examples import HOST_MNT_NS
from agent.findings._examples import executable
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import silent
from agent.model import Context
from agent.model import Evidence
from agent.model import ModuleLoad
from agent.model import Sensitivity
from agent.model import Severity

NAME = "DefenseEvasion:Runtime/KernelModuleLoaded"


def match(event: ModuleLoad, context: Context) -> Evidence | None:
    """Return the module; the pipeline adds the SHA-256 of its file."""
    if event.result == -errno.EEXIST:
        return None
    if context.sensitivity is not Sensitivity.HIGH and _is_of_distribution(event, context):
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    did = "loaded" if event.result >= 0 else "tried to load"
    what = "a module from memory" if event.path is None else f"the module {event.path}"
    return Evidence(
        reason=f"it {did} {what}",
        module_name=None if event.path is None else _modules.name_of(event.path),
        module_file_path=event.path,
        flags=_modules.words(event.flags_raw),
        result=event.result,
    )


def _is_of_distribution(event: ModuleLoad, context: Context) -> bool:
    """Answer whether a loader of the host loads a file that is in its place, as it was at boot."""
    exe, file = context.actor.exe, context.module
    if context.container is not None or event.mnt_ns != context.host.mnt_ns or exe is None:
        return False
    if file is None or file.changed_at_ns is None or file.changed_at_ns > event.at_ns - event.time_ns:
        return False
    return exe.path in _modules.LOADERS and file.path.startswith(_modules.DIRECTORIES)


_FILE = executable("/usr/lib/modules/6.18.0/kernel/net/nf-tables.ko.xz", changed_at_ns=BEFORE_BOOT)
_LOADED = module_load(path=_FILE.path, mnt_ns=HOST_MNT_NS)
_KMOD = process("/usr/bin/kmod", container_id=None)
_BY_KMOD = on_host(actor=_KMOD, module=_FILE)

FINDING = FindingType(
    name=NAME,
    severity=Severity.HIGH,
    attack="T1547.006",
    title="{process} loaded a kernel module {place}",
    on=ModuleLoad,
    match=match,
    examples=(
        fires(
            "by another program",
            _LOADED,
            on_host(module=_FILE),
            shows={
                "module_name": "nf_tables",
                "module_file_path": _FILE.path,
                "flags": (),
                "result": 0,
                "reason": f"it loaded the module {_FILE.path}",
            },
        ),
        fires("by a program that is gone", _LOADED, on_host(actor=process(exe=None), module=_FILE)),
        fires(
            "from memory",
            module_load(operation="init_module", path=None, mnt_ns=HOST_MNT_NS),
            on_host(actor=_KMOD),
            shows={"module_name": None, "module_file_path": None, "reason": "it loaded a module from memory"},
        ),
        fires(
            "refused",
            module_load(result=-errno.EPERM, flags_raw=2),
            in_container(),
            shows={
                "flags": ("MODULE_INIT_IGNORE_VERMAGIC",),
                "reason": "it tried to load the module /lib/modules/6.18.0/kernel/net/dummy.ko",
            },
        ),
        fires("on a kernel that takes none", module_load(result=-errno.ENOSYS), on_host()),
        fires(
            "that was changed since boot",
            _LOADED,
            on_host(actor=_KMOD, module=executable(_FILE.path, changed_at_ns=SINCE_BOOT)),
        ),
        fires("that is gone", _LOADED, on_host(actor=_KMOD)),
        fires("of unknown age", _LOADED, on_host(actor=_KMOD, module=executable(_FILE.path, changed_at_ns=None))),
        fires(
            "from another directory",
            _LOADED,
            on_host(actor=_KMOD, module=executable("/opt/nf-tables.ko", changed_at_ns=BEFORE_BOOT)),
        ),
        fires("in another mount namespace", module_load(path=_FILE.path), _BY_KMOD),
        fires("in a container that shares the host's", _LOADED, in_container(actor=_KMOD, module=_FILE)),
        fires("by the distribution, at high", _LOADED, _BY_KMOD, sensitivity=Sensitivity.HIGH),
        silent("by the distribution", _LOADED, _BY_KMOD),
        silent(
            "by the distribution, changed at boot",
            _LOADED,
            on_host(actor=_KMOD, module=executable(_FILE.path, changed_at_ns=SINCE_BOOT - 1)),
        ),
        silent("that is there already", module_load(result=-errno.EEXIST), in_container()),
    ),
)
