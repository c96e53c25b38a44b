"""The network of a deed's own: what is said in it, and that it is left in any case."""

from __future__ import annotations

import os
import signal
import time

import pytest

from agent import intel
from agent.errors import HostUnsupported
from agent.probes import _dns_name
from agent.probes import _dns_records
from agent.simulate import _network
from agent.simulate import cryptocurrency_bitcoin_tool_b_dns as mining


@pytest.fixture
def in_this_network(monkeypatch):
    """Stay in the network of this test, for which no privilege is needed."""
    monkeypatch.setattr(_network, "_leave_the_network", lambda: None)


def test_the_question_is_a_dns_message():
    """The packet is what a resolver would send: one question, recursion desired (RFC 1035 4.1)."""
    message = _network.question("pool.minexmr.com", transaction=0x1234)

    assert bytes.fromhex("1234 0100 0001 0000 0000 0000") == message[:12]
    assert b"\x04pool\x07minexmr\x03com\x00" + bytes.fromhex("0001 0001") == message[12:]


def test_the_answer_is_one_to_the_question():
    """It carries the question, its number and the address, as who decodes answers reads it."""
    message = _network.answer(_network.question("a.example", transaction=0x1234), "169.254.169.254")

    assert (0x1234, "a.example", 1) == _dns_name.question(message)
    [record] = _dns_records.answer(message, cut=False).records
    assert ("a.example", "169.254.169.254") == (record.name, record.value)


def test_the_pool_is_on_the_list():
    """The trigger asks for what the finding looks for."""
    assert intel.bundled().domain(mining.DOMAIN, "cryptocurrency") is not None


@pytest.mark.usefixtures("in_this_network")
def test_the_deed_is_done_by_a_child(tmp_path):
    """The pid that is returned did it, and is gone."""
    file = tmp_path / "pid"

    pid = _network.alone(lambda: file.write_text(str(os.getpid())) and None)

    assert str(pid) == file.read_text()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


@pytest.mark.usefixtures("in_this_network")
@pytest.mark.parametrize(
    ("error", "message"),
    [
        pytest.param(PermissionError(), "needs root", id="no privilege"),
        pytest.param(OSError(98, "taken"), r"does not work: \[Errno 98\] taken", id="no port"),
        pytest.param(ZeroDivisionError(), "ended with status", id="a mistake"),
    ],
)
def test_what_failed_is_told(error, message):
    """Whoever simulates reads why it was not done, in a sentence."""

    def fail():
        raise error

    with pytest.raises(HostUnsupported, match=message):
        _network.alone(fail)


@pytest.mark.usefixtures("in_this_network")
def test_an_interrupt_leaves_no_child(tmp_path):
    """Whoever loses patience leaves nothing that runs."""
    file = tmp_path / "pid"

    def linger():
        file.write_text(str(os.getpid()))
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        _network.alone(linger)

    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)
