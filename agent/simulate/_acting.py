"""Python code that acts as a process of its own, run by a copy of the interpreter in a scratch directory.

A program in /tmp is the odd company that weak finding types ask for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import HostUnsupported
from agent.simulate._base import TIMEOUT_SECONDS
from agent.simulate._base import Deed
from agent.simulate._base import program
from agent.simulate._base import scratch

PTRACE = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_ulong, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
libc.ptrace.restype = ctypes.c_long
def ptrace(request, number):
    done = libc.ptrace(request, number, None, None)
    print("done" if done >= 0 else f"refused: {errno.errorcode[ctypes.get_errno()]}")
    return done
"""
"""Gives `ptrace(request, number)`, which prints what came of it."""
TWIN = """
import ctypes, errno, os, signal, sys
word = ctypes.create_string_buffer(b"vedette")
twin = os.fork()
if twin == 0:
    signal.pause()
"""
"""Gives `word`, some memory, and `twin`, a child that has the same at the same address and does nothing."""


@contextmanager
def bystander() -> Iterator[int]:
    """Give the pid of a process of ours that does nothing, and end it."""
    argv = [program("sleep", "coreutils"), "60"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True) as child:
        try:
            yield child.pid
        finally:
            child.kill()


def act(code: str, *arguments: str) -> tuple[Deed, str]:
    """Run code as a process of its own; return the deed, its note still empty, and what it said.

    Raises `HostUnsupported` when it fails.
    """
    with scratch() as directory:
        interpreter = directory / "python"
        shutil.copy(Path(sys.executable).resolve(), interpreter)
        interpreter.chmod(0o755)
        argv: list[str | Path] = [interpreter, "-S", "-c", code, *arguments]
        environment = {**os.environ, "PYTHONHOME": f"{sys.base_prefix}:{sys.base_exec_prefix}"}
        pid, said = _done(argv, environment)
        return Deed(pid=pid, path=str(interpreter), container_id=None, note=""), said


def _done(argv: list[str | Path], environment: dict[str, str]) -> tuple[int, str]:
    try:
        with subprocess.Popen(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as child:
            said, complained = _waited(child)
    except PermissionError as error:
        raise HostUnsupported("the directory for temporary files is mounted noexec: set TMPDIR to another") from error
    if child.returncode != 0:
        raise HostUnsupported(f"the deed failed: {complained.strip()[-300:]}")
    return child.pid, said.strip()


def _waited(child: subprocess.Popen[str]) -> tuple[str, str]:
    """Return what it said when it has ended; it is gone in any case."""
    try:
        return child.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise HostUnsupported(f"the deed did not end within {TIMEOUT_SECONDS:.0f} s") from error
    finally:
        child.kill()
