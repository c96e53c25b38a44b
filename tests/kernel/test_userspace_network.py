"""The source without eBPF: what it sees of connections and DNS."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.kernel.task import Task
from tests.kernel.task import task

# A listener, and connections to it that last two milliseconds.
_CONNECT = """
import socket, time
server = socket.create_server(("127.0.0.1", 4251))
time.sleep(1.2)
client = socket.create_connection(("127.0.0.1", 4251))
taken, _ = server.accept()
time.sleep(0.002)
client.close(); taken.close()
time.sleep(0.2)
"""

# A resolver on loopback, and one question to it over UDP, one over TCP.
_DNS = """
import socket, struct, threading, time
question = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\\4evil\\7example\\0" + struct.pack("!HH", 1, 1)
answer = struct.pack("!HHHHHH", 7, 0x8180, 1, 1, 0, 0) + question[12:]
answer += b"\\xc0\\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes([192, 0, 2, 9])
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("127.0.0.1", 53))
tcp = socket.create_server(("127.0.0.1", 53))
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.sendto(question, ("127.0.0.1", 53))
_, whom = udp.recvfrom(512)
udp.sendto(answer, whom)
client.recv(512)
over = socket.create_connection(("127.0.0.1", 53))
taken, _ = tcp.accept()
over.sendall(struct.pack("!H", len(question)) + question)
taken.recv(512); taken.sendall(struct.pack("!H", len(answer)) + answer); over.recv(512)
time.sleep(0.2)
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Task]:
    """A task with a watcher in it."""
    with task() as made:
        made.watch(tmp_path_factory.mktemp("watched") / "events")
        yield made


def _started(made: Task, code: str) -> int:
    """Run Python in a task; return the pid that it had."""
    done = made.run([sys.executable, "-c", f"import os; print(os.getpid(), flush=True)\n{code}"])
    assert 0 == done.status, done.out
    return int(done.out.split()[0])


def test_a_connection_of_two_milliseconds_is_seen_from_both_ends(watched: Task) -> None:
    pid = _started(watched, _CONNECT)
    made = watched.until(lambda event: event["kind"] == "net_connect" and event["remote_port"] == 4251)
    assert (pid, "127.0.0.1", 6, True) == (made["tgid"], made["remote_address"], made["protocol"], made["connected"])
    taken = watched.until(lambda event: event["kind"] == "net_accept" and event["tgid"] == pid)
    assert (4251, "127.0.0.1") == (taken["socket"]["local_port"], taken["socket"]["remote_address"])
    listened = watched.until(lambda event: event["kind"] == "net_listen" and event["tgid"] == pid)
    assert (4251, ["sampled"]) == (listened["socket"]["local_port"], listened["flags"])


def test_a_question_is_seen_with_its_process_and_its_answer(watched: Task) -> None:
    pid = _started(watched, _DNS)
    for protocol in (17, 6):
        asked = watched.until(lambda event, p=protocol: (event["kind"], event.get("protocol")) == ("dns_query", p))
        assert (pid, "evil.example", 53) == (asked["tgid"], asked["name"], asked["remote_port"])
        told = watched.until(lambda event, p=protocol: (event["kind"], event.get("protocol")) == ("dns_answer", p))
        assert (pid, "evil.example", "192.0.2.9") == (told["tgid"], told["name"], told["answers"][0]["value"])


_WIRES = """
import os, socket, subprocess, time
server = socket.create_server(("127.0.0.1", 4254))
client = socket.create_connection(("127.0.0.1", 4254))
subprocess.run(["/bin/sh", "-c", "sleep 1"], stdin=client)
os.dup2(client.fileno(), 0)
time.sleep(2)
"""


def test_a_connection_on_the_standard_descriptors_is_told_with_its_cookie(watched: Task) -> None:
    pid = _started(watched, _WIRES)
    made = watched.until(lambda event: event["kind"] == "net_connect" and event["remote_port"] == 4254)
    shell = watched.until(lambda event: event.get("args") == ["/bin/sh", "-c", "sleep 1"])
    assert (0, "socket", made["cookie"]) == (
        shell["stdio"][0]["fd"],
        shell["stdio"][0]["kind"],
        shell["stdio"][0]["socket"]["cookie"],
    )
    put = watched.until(lambda event: event["kind"] == "fd_dup")
    assert (pid, 0, made["cookie"], ["sampled"]) == (put["tgid"], put["new_fd"], put["socket"]["cookie"], put["flags"])
    told = [event["tgid"] for event in watched.seen() if event["kind"] == "fd_dup"]
    assert [pid] == told  # the shell was started with it


def test_a_socket_that_nobody_is_found_for_is_told_without_a_process(watched: Task) -> None:
    code = (
        "import socket; s = socket.socket(); s.setblocking(False); "
        "s.connect_ex(('127.0.0.1', 4252)); s.close(); import time; time.sleep(0.1)"
    )
    pid = _started(watched, code)
    told = watched.until(lambda event: event["kind"] == "net_connect" and event["remote_port"] == 4252)
    assert told["tgid"] in {0, pid}  # refused at once on loopback: gone before we can ask, or just not yet
