"""Who loads modules of the distribution, and from where: data of KernelModuleLoaded.

Sources: the packages kmod and systemd of Debian 12, Fedora 40 and Amazon Linux 2023, Bottlerocket 1.30 (as of 2026-11);
flags: include/uapi/linux/module.h.
"""

from __future__ import annotations

LOADERS = frozenset(
    {
        "/usr/bin/kmod",
        "/usr/sbin/kmod",
        "/usr/bin/udevadm",
        "/usr/lib/systemd/systemd-modules-load",
        "/usr/lib/systemd/systemd-udevd",
        "/bin/kmod",
        "/bin/udevadm",
        "/lib/systemd/systemd-modules-load",
        "/lib/systemd/systemd-udevd",
    }
)
"""modprobe and insmod are kmod."""
DIRECTORIES = ("/usr/lib/modules/", "/lib/modules/")
SUFFIX = ".ko"  # and .ko.gz, .ko.xz, .ko.zst

_WORDS = {1: "MODULE_INIT_IGNORE_MODVERSIONS", 2: "MODULE_INIT_IGNORE_VERMAGIC", 4: "MODULE_INIT_COMPRESSED_FILE"}


def words(raw: int) -> tuple[str, ...]:
    """Return the flags of finit_module by their names."""
    return tuple(word for bit, word in _WORDS.items() if raw & bit)


def name_of(path: str) -> str:
    """Return what the kernel calls a module from this file, if the file is called as modules are."""
    return path.rpartition("/")[2].partition(SUFFIX)[0].replace("-", "_")
