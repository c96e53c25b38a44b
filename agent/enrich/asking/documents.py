"""Reading the files that runtimes write: bounded, regular, of whom they must be."""

from __future__ import annotations

import os
import stat
from typing import TypeVar

import msgspec

from agent.enrich.asking.said import ANSWER_BYTES
from agent.enrich.asking.said import NoAnswer
from agent.enrich.asking.said import TooLarge

_T = TypeVar("_T")


def document(path: str, kind: type[_T], owner: int) -> _T | None:
    """Return a JSON file as `kind`; None when it is not there, or is neither root's nor `owner`'s.

    Raises NoAnswer when it cannot be read or used.
    """
    raw = _content(path, owner)
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise NoAnswer(f"{path} does not say what it should: {str(exc)[:100]}") from exc


def entries(path: str, limit: int) -> list[str]:
    """Return up to `limit` names in a directory, nothing when it cannot be read."""
    names: list[str] = []
    try:
        with os.scandir(path) as found:
            for entry in found:
                if len(names) == limit:
                    break
                names.append(entry.name)
    except OSError:
        return names
    return sorted(names)


def _content(path: str, owner: int) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode) or seen.st_uid not in {0, owner}:
            return None
        if seen.st_size > ANSWER_BYTES:
            raise TooLarge(f"{path} has {seen.st_size} bytes")
        with os.fdopen(os.dup(fd), "rb") as stream:
            raw = stream.read(ANSWER_BYTES + 1)
    except OSError as exc:
        raise NoAnswer(f"{path} cannot be read: {exc.strerror}") from exc
    finally:
        os.close(fd)
    if len(raw) > ANSWER_BYTES:
        raise TooLarge(f"{path} has more than {ANSWER_BYTES} bytes")
    return raw
