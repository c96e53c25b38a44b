"""Every operation is delivered or counted as lost, over hundreds of thousands of them, with rings of any size."""

from __future__ import annotations

import pytest

from agent.sensor.ebpf.source import Options
from tests.soak import accounting
from tests.soak.accounting import Experiment
from tests.soak.accounting import Load

LOADS = (Load("exec", 20_000), Load("open", 150_000), Load("connect", 200_000))
SIZES = {"tiny": 64 << 10, "small": 1 << 20, "large": 16 << 20}

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module", params=SIZES)
def flooded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A sensor with rings of one size, read as slowly as by a busy agent, and its witness."""
    size = SIZES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    experiment = Experiment(Options(lifecycle_bytes=size, activity_bytes=size))
    experiment.run(accounting.built(folder), LOADS, folder)
    return experiment


@pytest.mark.parametrize("kind", accounting.OPERATION_OF)
def test_what_is_missing_was_counted(flooded: Experiment, kind: str) -> None:
    """Generated is delivered and counted lost, to the last number."""
    account = flooded.account(kind)
    print(f"{kind}: {account}")  # noqa: T201  what was measured, shown by -s

    accounting.check(account)
    assert account.delivered > 0
