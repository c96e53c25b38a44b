"""What readers of lines and tables share: numbered lines of bounded length, and how a bad one is told."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Iterator
from typing import BinaryIO

from agent.errors import ConfigError
from agent.intel.entries import Indicator
from agent.intel.entries import indicator

FILE_BYTES_MAX = 35 << 20  # what AWS takes of a list
LINE_BYTES_MAX = 64 << 10  # a row of FireEye's 48 columns has some 2 KiB
_SHOWN = 80


def bad(where: str, number: int, complaint: str) -> ConfigError:
    """Return the error to raise."""
    return ConfigError(f"{where}:{number}: {complaint}")


def lines(file: BinaryIO, where: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line, without its end.  Raises ConfigError for one that is no text, or too long."""
    number = 0
    while raw := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(raw) > LINE_BYTES_MAX:
            raise bad(where, number, f"is longer than {LINE_BYTES_MAX} bytes")
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise bad(where, number, "is not UTF-8") from error
        yield number, text.rstrip("\r\n")


def rows(file: BinaryIO, where: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of its last line and the fields, stripped, of each row of a table that is not empty."""
    reader = csv.reader((f"{text}\n" for _, text in lines(file, where)), strict=True, skipinitialspace=True)
    try:
        for row in reader:
            if any(row):
                yield reader.line_num, [field.strip() for field in row]
    except csv.Error as error:
        raise bad(where, reader.line_num, str(error)) from error


def unix_time(text: str, where: str, number: int) -> float:
    """Return the seconds since 1970 of an RFC 3339 time; one without an offset is UTC.  Raises ConfigError."""
    try:
        found = datetime.datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise bad(where, number, f"{text[:_SHOWN]!r} is no time") from error


def understood(text: str, where: str, number: int) -> Indicator:
    """Return the indicator that `text` is.  Raises ConfigError when it is none."""
    found = indicator(text)
    if found is None:
        raise bad(where, number, f"{text[:_SHOWN]!r} is no domain of two labels or more, address, network or SHA-256")
    return found
