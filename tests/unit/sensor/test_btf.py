"""The header made from BTF: gaps are written so that bcc and C agree on them."""

from __future__ import annotations

import pytest

from agent.sensor.ebpf.btf import repair_padding


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("\tlong: 0;", id="alignment only"),
        pytest.param("\tint: 3;", id="between bit-fields"),
        pytest.param("\tunsigned int flag: 1;", id="a bit-field with a name"),
        pytest.param("\tlong field;", id="a field"),
        pytest.param("long: 64;", id="not in a struct"),
    ],
)
def test_what_is_no_gap_stays(line: str) -> None:
    """Real fields and bit-fields are left as they are."""
    assert line == repair_padding(line)


@pytest.mark.parametrize(
    ("line", "size"), [("\tlong: 64;", 8), ("\t\tint: 32;", 4), ("\tshort: 16;", 2), ("\tchar: 8;", 1)]
)
def test_gap_becomes_bytes(line: str, size: int) -> None:
    """A gap of a whole type becomes an array as long and as aligned."""
    repaired = repair_padding(line)

    assert repaired.strip() == f"char __gap_1[{size}] __attribute__((aligned({size})));"


def test_gaps_have_names_of_their_own() -> None:
    """Two gaps in one struct do not collide."""
    repaired = repair_padding("\tlong: 64;\n\tlong: 64;\n")

    assert "__gap_1[8]" in repaired
    assert "__gap_2[8]" in repaired
