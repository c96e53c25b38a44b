"""Real crun for tests: it refuses hosts that have cgroups of both versions, so it is shown version 2 alone.

packaging/setup.sh does not install it: where it is, podman and buildah take it instead of runc, also on such hosts.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.runtimes import Runc
from tests.runtimes import sh

IS_HERE = shutil.which("crun") is not None
# In a mount namespace of its own, which ends with it.
_ALONE = "mount --make-rprivate / && umount -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "


class Crun(Runc):
    """Runs bundles as runc does."""

    def run_bundle(self, name: str, bundle: Path) -> None:
        """Run a container to its end."""
        line = f"crun --root {self.root} --cgroup-manager=cgroupfs run --bundle {bundle} {name}"
        sh("unshare", "--mount", "sh", "-c", _ALONE + line)
