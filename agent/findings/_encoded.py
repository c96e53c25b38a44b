"""Text that somebody encoded, so that it cannot be read as it stands: base64, or hexadecimal."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

LITERAL = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
"""What in a program's text may be base64."""
_NO_BASE64 = re.compile(r"[^A-Za-z0-9+/]")


def text_of(text: str, *, hexadecimal: bool = False) -> Iterator[str]:
    """Yield the text that an encoded one stands for, if it is one."""
    try:
        if hexadecimal:
            yield bytes.fromhex(text).decode(errors="replace")
            return
        kept = _NO_BASE64.sub("", text.translate({ord("-"): "+", ord("_"): "/"}))
        kept = kept[: len(kept) - (len(kept) % 4 == 1)]
        yield base64.b64decode(kept + "=" * (-len(kept) % 4)).decode(errors="replace")
    except (ValueError, binascii.Error):
        return
