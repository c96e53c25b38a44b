"""A shell under another name, in a scratch directory: odd company for a suspicious command."""

from __future__ import annotations

import secrets
import shutil
import subprocess

from agent.errors import HostUnsupported
from agent.simulate._base import TIMEOUT_SECONDS
from agent.simulate._base import Deed
from agent.simulate._base import program
from agent.simulate._base import scratch
from agent.simulate._container import running_container

LINGER = "; sleep 0.3"  # until the copy is hashed: it goes with its directory


def on_host(text: str, note: str) -> Deed:
    """Let the copy of a shell run a text, to a good end.  Raises `HostUnsupported` when that is not reached."""
    with scratch() as directory:
        shell = shutil.copy(program("bash", "bash"), directory / f"x{secrets.token_hex(4)}")
        command = [shell, "-c", text + LINGER]
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
        except PermissionError as error:
            raise HostUnsupported(f"{directory} is mounted noexec: set TMPDIR to a directory that is not") from error
        try:
            _, said = child.communicate(timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise HostUnsupported(f"the shell did not end within {TIMEOUT_SECONDS:.0f} s") from error
        finally:
            child.kill()
            child.wait()
        if child.returncode != 0:
            raise HostUnsupported(f"the shell failed: {said.strip()}")
    return Deed(pid=child.pid, path=str(shell), container_id=None, note=note)


def in_container(text: str, note: str) -> Deed:
    """Let the copy of a shell run a text in a container of its own.  Raises `HostUnsupported` when it fails."""
    shell = f"/tmp/x{secrets.token_hex(4)}"  # noqa: S108  # in the container's own root, under a random name
    with running_container() as container:
        copy = f'cp "$(command -v bash)" {shell} && exec {shell} -c "$0"'
        done = container.exec(["/bin/sh", "-c", copy, text])
    if done.status != 0:
        raise HostUnsupported(f"the shell failed in the container: {done.stderr.strip()}")
    return Deed(pid=done.pid, path=shell, container_id=container.id, note=f"in container {container.id}, {note}")
