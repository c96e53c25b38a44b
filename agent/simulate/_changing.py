"""A sensitive file that is changed in a container, by a copied shell in /tmp: the odd company that is asked for.

The file is in the container's own layer: that of the host is not touched.
"""

from __future__ import annotations

import secrets

from agent.errors import HostUnsupported
from agent.simulate._base import Deed
from agent.simulate._container import running_container


def change(script: str, path: str, did: str) -> Deed:
    """Have a copied shell run `script`, which changes `path`.  Raises `HostUnsupported` when it fails."""
    shell = f"/tmp/vedette-{secrets.token_hex(4)}"  # noqa: S108  # in the container's own root, under a random name
    with running_container() as container:
        done = container.exec(["/bin/sh", "-c", f'cp /bin/sh {shell} && exec {shell} -c "$script"'], {"script": script})
    if done.status != 0 or done.stderr:
        raise HostUnsupported(f"{path} could not be changed in the container: {done.stderr.strip()}")
    return Deed(
        pid=done.pid,
        path=path,
        container_id=container.id,
        note=f"{did} {path} in container {container.id}, where it is the container's own",
    )
