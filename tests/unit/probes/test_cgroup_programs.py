"""Programs on a cgroup decide whether a packet or a call passes: ours never say no."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent import probes

ROOT = Path(__file__).parents[3]
HOOKS = [
    pytest.param(probe.name, hook.function, id=hook.function)
    for probe in probes.load()
    for lane in probe.lanes
    for hook in lane.hooks
    if hook.kind.startswith("cgroup")
]


def returns_of(text: str, function: str) -> list[str]:
    """Return what each `return` of a C function returns."""
    body = re.search(rf"^int {function}\(.*?^}}", text, re.MULTILINE | re.DOTALL)
    assert body is not None
    return re.findall(r"\breturn\b\s*(.*?);", body[0])


@pytest.mark.parametrize(("probe", "function"), HOOKS)
def test_a_cgroup_program_lets_everything_pass(probe: str, function: str) -> None:
    """Watching a host never drops a packet of it, nor refuses a call: 1 is what lets pass, on every path."""
    text = (ROOT / "ebpf" / f"{probe}.c").read_text(encoding="utf-8")

    assert {"1"} == set(returns_of(text, function))


def test_a_program_that_refuses_would_be_noticed() -> None:
    """The rule bites."""
    assert ["0", "1"] == returns_of("int f(struct c *x)\n{\n\tif (x)\n\t\treturn 0;\n\treturn 1;\n}\n", "f")
