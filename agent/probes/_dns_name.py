"""The first question of a DNS message, from bytes that anybody may have written (RFC 1035 4.1).

Pure: bytes in, values out.  Every length is checked against what is there; a
message that lies about one is malformed.  Questions after the first are not
looked at: no resolver answers them.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from agent.errors import MalformedRecord

_HEADER = struct.Struct("!HHHHHH")  # ID, flags, QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT
_TAIL = struct.Struct("!HH")  # QTYPE, QCLASS
LABEL_BYTES = 63  # RFC 1035 2.3.4; the two bits above say that it is no label
NAME_BYTES = 255  # with the length of each label and of the root: so 127 labels at most
# Plain in a name. A dot inside a label, the escape itself and a blank are escaped (RFC 1035 5.1), so that two
# names never look the same.
_PLAIN = frozenset(range(0x21, 0x7F)) - frozenset(b".\\")


class Question(NamedTuple):
    """What was asked."""

    transaction: int
    name: str
    """Lower case, without the trailing dot; the root is `.`."""
    type_raw: int


def question(message: bytes) -> Question:
    """Return the first question.  Raises MalformedRecord when there is none or a length is not true."""
    if len(message) < _HEADER.size:
        raise MalformedRecord(f"a DNS message of {len(message)} bytes")
    transaction, _flags, count, *_others = _HEADER.unpack_from(message)
    if count == 0:
        raise MalformedRecord("a DNS question without a question")
    labels, end = _labels(message, _HEADER.size)
    if end + _TAIL.size > len(message):
        raise MalformedRecord("a DNS question that ends before its type and class")
    type_raw, _class = _TAIL.unpack_from(message, end)
    return Question(transaction, shown(labels), type_raw)


def _labels(message: bytes, start: int) -> tuple[list[bytes], int]:
    """Return the labels of the name at `start`, and where it ends."""
    labels: list[bytes] = []
    at = start
    while True:
        length = message[at] if at < len(message) else None
        if length is None or at + 1 + length > len(message):
            raise MalformedRecord("a DNS name that goes on behind its message")
        if length > LABEL_BYTES:
            raise MalformedRecord("a DNS question with a compression pointer")
        if at + 1 + length - start > NAME_BYTES:
            raise MalformedRecord(f"a DNS name of more than {NAME_BYTES} bytes")
        if length == 0:
            return labels, at + 1
        labels.append(message[at + 1 : at + 1 + length])
        at += 1 + length


def shown(labels: list[bytes]) -> str:
    """Return a name as lists write it: lower case, without the trailing dot; the root is `.`."""
    return ".".join(map(_shown, labels)) or "."


def _shown(label: bytes) -> str:
    return "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03}" for byte in label.lower())
