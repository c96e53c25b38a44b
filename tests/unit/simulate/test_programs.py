"""The harmless files of which a list that ships knows the SHA-256."""

from __future__ import annotations

import hashlib

import pytest

from agent import intel
from agent.errors import HostUnsupported
from agent.simulate import _programs
from agent.simulate import execution_malicious_file_executed as malware
from agent.simulate import execution_malicious_file_executed_custom as custom


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_harmless_program_is_on_the_list(machine: str) -> None:
    """Byte for byte what the list knows; of the operator's own list the script is."""
    program = hashlib.sha256(_programs.harmless(malware.TEXT, machine)).hexdigest()
    script = hashlib.sha256(custom.SCRIPT).hexdigest()
    lists = intel.bundled()

    assert [True, False] == [lists.sha256(program, category) is not None for category in ("malware", "malware-custom")]
    assert [False, True] == [lists.sha256(script, category) is not None for category in ("malware", "malware-custom")]


def test_there_is_no_harmless_program_for_other_machines() -> None:
    """Which is said."""
    with pytest.raises(HostUnsupported, match="riscv64"):
        _programs.harmless("x", "riscv64")
