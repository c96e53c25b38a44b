"""What is wrong with a rule, and where in its document."""

from __future__ import annotations

Path = tuple[str | int, ...]
"""Keys and indexes that lead to a place in a TOML document."""


class BadRule(Exception):
    """Something in a rule is not as it must be; becomes an error with file and line where the file is known."""

    def __init__(self, path: Path, complaint: str) -> None:
        super().__init__(complaint)
        self.path = path
        self.complaint = complaint
