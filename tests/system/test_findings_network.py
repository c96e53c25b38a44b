"""What is found of names that are asked for and addresses that are spoken to, in networks of their own."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.pipeline import HASH_WAIT_S
from tests.kernel.networks import ASKING
from tests.kernel.networks import PROLOGUE
from tests.kernel.networks import alone
from tests.system import deeds
from tests.system.deeds import Done
from tests.system.running import Run
from tests.system.running import vedette
from tests.system.test_findings import FILELESS
from tests.system.test_findings import MINING_DNS
from tests.system.test_findings import Deed
from tests.system.test_findings import Fired
from tests.system.test_findings import _done_and_found
from tests.system.test_findings import guardduty
from tests.system.test_findings import run
from tests.system.test_findings import test_a_deed_is_found
from tests.system.test_findings import test_a_finding_is_as_guardduty_has_it
from tests.system.test_findings import test_the_arguments_are_in_the_events
from tests.system.test_findings import test_the_arguments_stay_out_of_the_finding
from tests.system.test_findings import test_the_evidence_says_why
from tests.system.test_findings import test_the_hash_is_that_of_what_ran
from tests.system.test_findings import test_the_lineage_begins_with_the_parent
from tests.system.test_findings import test_the_process_started_with_the_deed
from tests.system.test_findings import words

__all__ = (
    "guardduty",
    "run",
    "test_a_deed_is_found",
    "test_a_finding_is_as_guardduty_has_it",
    "test_the_arguments_are_in_the_events",
    "test_the_arguments_stay_out_of_the_finding",
    "test_the_evidence_says_why",
    "test_the_hash_is_that_of_what_ran",
    "test_the_lineage_begins_with_the_parent",
    "test_the_process_started_with_the_deed",
    "words",
)

C2, C2_DNS = "Backdoor:Runtime/C&CActivity.B", "Backdoor:Runtime/C&CActivity.B!DNS"
MINING = "CryptoCurrency:Runtime/BitcoinTool.B"
TOR_CLIENT, TOR_RELAY = "UnauthorizedAccess:Runtime/TorClient", "UnauthorizedAccess:Runtime/TorRelay"
BLACKHOLE, BLACKHOLE_DNS = "Trojan:Runtime/BlackholeTraffic", "Trojan:Runtime/BlackholeTraffic!DNS"
DROP_POINT, DROP_POINT_DNS = "Trojan:Runtime/DropPoint", "Trojan:Runtime/DropPoint!DNS"
DGA = "Trojan:Runtime/DGADomainRequest.C!DNS"
DRIVE_BY = "Trojan:Runtime/DriveBySourceTraffic!DNS"
PHISHING = "Trojan:Runtime/PhishingDomainRequest!DNS"
ABUSED = "Impact:Runtime/AbusedDomainRequest.Reputation"
BITCOIN = "Impact:Runtime/BitcoinDomainRequest.Reputation"
MALICIOUS = "Impact:Runtime/MaliciousDomainRequest.Reputation"
SUSPICIOUS = "Impact:Runtime/SuspiciousDomainRequest.Reputation"
REBIND = "UnauthorizedAccess:Runtime/MetadataDNSRebind"
FROM_ANSWERS = (REBIND,)
"""Types that rest on no list."""

OTHER = "www.example.org"
ANSWERED = """
def say(name, *records):
    made = b"".join(record(b"\\xc0\\x0c", type_raw, data) for type_raw, data in records)
    return reply(name, made, count=len(records))

def answered(name, *records):
    resolver, asker = udp(), udp()
    resolver.bind((HERE, 53))
    asker.sendto(message(name), (HERE, 53))
    _, whence = resolver.recvfrom(512)
    resolver.sendto(say(name, *records), whence)
    asker.recv(512)

def answered_by_tcp(name, *records):
    resolver, asker = server(), tcp()
    asker.connect((HERE, 53))
    asker.sendall(sized(message(name)))
    accepted, _ = resolver.accept()
    accepted.recv(512)
    accepted.sendall(sized(say(name, *records)))
    asker.recv(512)

def a(address):
    return 1, socket.inet_aton(address)

def aaaa(address):
    return 28, socket.inet_pton(socket.AF_INET6, address)

def cname(name):
    return 5, wire(name)
"""
REACHING = """
import time

def own(*addresses):
    for number, address in enumerate(addresses):
        if ":" in address:
            request = struct.pack("16sIi", socket.inet_pton(socket.AF_INET6, address), 128, 1)
        else:
            request = struct.pack("16sHH4s8x", b"lo:%d" % number, socket.AF_INET, 0, socket.inet_aton(address))
        with udp(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
            fcntl.ioctl(s, 0x8916, request)  # SIOCSIFADDR
        while not usable(address):
            time.sleep(0.01)

def usable(address):
    # An IPv6 address is tentative until a worker of the kernel has looked at it (net/ipv6/addrconf.c).
    with udp(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
        try:
            s.bind((address, 0))
        except OSError:
            return False
    return True

def visit(address, port, source=None):
    s = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    c = socket.create_connection((address, port), source_address=source and (source, 0))
    s.accept()
"""
LAST = f"\nimport time; time.sleep({deeds.HASHED_S})"


def asks(name: str, _: Path, word: str, *, code: str = deeds.OVER_UDP, protocol: str = "UDP") -> Done:
    """A question for a name, to a resolver that does not answer."""
    pid = alone(ASKING + code, name, word).pid
    return told(pid, name.lower(), protocol)


def hears(call: str, _: Path, word: str, *, name: str = OTHER, protocol: str = "UDP") -> Done:
    """A question for a name that is harmless, and the answer that `call` gives."""
    pid = alone(f"{ASKING}{ANSWERED}{call}", word).pid
    return told(pid, name, protocol)


def told(pid: int, name: str, protocol: str) -> Done:
    """Return what a finding says of a name."""
    request = {"domain": name, "protocol": protocol, "blocked": False}
    context = {"ianaProtocolNumber": 17 if protocol == "UDP" else 6}
    return deeds.on_host(pid, deeds.OUR_PYTHON, deeds.OUR_PYTHON, action={"dnsRequestAction": request}, context=context)


def reaches(address: str, call: str, _: Path, word: str, **said: Any) -> Done:
    """A connection to an address, which the child itself has."""
    pid = alone(f"{ASKING}{REACHING}{call}", word).pid
    return deeds.on_host(pid, deeds.OUR_PYTHON, deeds.OUR_PYTHON, **spoken(address, **said))


def spoken(address: str, *, port: int | None = 9001, protocol: str = "TCP", way: str = "OUTBOUND") -> dict[str, Any]:
    """Return what a finding says of an address."""
    version = 6 if ":" in address else 4
    connection: dict[str, Any] = {
        "remoteIpDetails": {f"ipAddressV{version}": address},
        "protocol": protocol,
        "connectionDirection": way,
    }
    if port is not None:
        connection["remotePortDetails"] = {"port": port}
    number = {"TCP": 6, "UDP": 17}[protocol]
    context = {"addressFamily": "AF_INET6" if version == 6 else "AF_INET", "ianaProtocolNumber": number}
    return {"action": {"networkConnectionAction": connection}, "context": context}


def in_container(code: str, word: str, **said: Any) -> Done:
    """Have a python in a container do it, in the container's own network."""
    script = f'exec {deeds.PYTHON} -I -c "$code" $0'
    whole = PROLOGUE + ASKING + ANSWERED + code + LAST
    return deeds.in_container(script, word, program=deeds.PYTHON, code=whole, **said)


def hears_in_container(_: Path, word: str) -> Done:
    request = {"domain": OTHER, "protocol": "UDP"}
    code = f"answered('{OTHER}', cname('pool.minexmr.com'))"
    return in_container(code, word, action={"dnsRequestAction": request}, context={"ianaProtocolNumber": 17})


def attempts_in_container(_: Path, word: str) -> Done:
    """A connect that cannot succeed: from there, no way leads to the address."""
    code = "tcp().connect_ex(('198.51.100.12', 443))"
    return in_container(code, word, **spoken("198.51.100.12", port=443))


def visits(address: str) -> Deed:
    return partial(reaches, address, f"own('{address}'); visit('{address}', 9001)")


FIRING: dict[str, tuple[str, Deed]] = {
    "mining, in mixed case": (MINING_DNS, partial(asks, "Pool.MineXMR.com")),
    "mining, behind CNAME": (MINING_DNS, partial(hears, f"answered('{OTHER}', cname('Pool.MineXMR.com'))")),
    "mining, behind CNAME over TCP": (
        MINING_DNS,
        partial(hears, f"answered_by_tcp('{OTHER}', cname('pool.minexmr.com'))", protocol="TCP"),
    ),
    "mining, behind CNAME in a container": (MINING_DNS, hears_in_container),
    "command and control": (C2_DNS, partial(asks, "_x.c2.guarddutyc2activityb.com")),
    "command and control over TCP": (
        C2_DNS,
        partial(asks, "C2.guarddutyc2activityb.com", code=deeds.OVER_TCP, protocol="TCP"),
    ),
    "black hole": (BLACKHOLE_DNS, partial(asks, "guarddutyblackholeactivity.com")),
    "black hole by its address": (BLACKHOLE_DNS, partial(hears, f"answered('{OTHER}', a('198.51.100.15'))")),
    "drop point": (DROP_POINT_DNS, partial(asks, "guarddutydroppointactivity.com")),
    "generated": (DGA, partial(asks, "guarddutydgaactivity.com")),
    "drive-by": (DRIVE_BY, partial(asks, "guarddutydrivebyactivity.com")),
    "phishing": (PHISHING, partial(asks, "xn--bcher-kva.guarddutyphishingactivity.com")),
    "abused": (ABUSED, partial(asks, "somebody.duckdns.org")),
    "bitcoin": (BITCOIN, partial(asks, "crypto-rep.guarddutyc2activityb.com")),
    "malicious": (MALICIOUS, partial(asks, "malicious-rep.guarddutyc2activityb.com")),
    "malicious by its address": (MALICIOUS, partial(hears, f"answered('{OTHER}', a('198.51.100.12'))")),
    "suspicious": (SUSPICIOUS, partial(asks, "suspicious-rep.guarddutyc2activityb.com")),
    "metadata": (REBIND, partial(hears, f"answered('{OTHER}', a('192.0.2.1'), a('169.254.169.254'))")),
    "metadata over TCP": (
        REBIND,
        partial(hears, f"answered_by_tcp('{OTHER}', a('169.254.169.254'))", protocol="TCP"),
    ),
    "metadata by IPv6": (REBIND, partial(hears, f"answered('{OTHER}', aaaa('fd00:ec2::254'))")),
    "metadata mapped into IPv6": (REBIND, partial(hears, f"answered('{OTHER}', aaaa('::ffff:169.254.169.254'))")),
    "address of mining": (MINING, visits("198.51.100.11")),
    "address of command and control": (C2, visits("198.51.100.12")),
    "by IPv6": (C2, visits("2001:db8:7e57::12")),
    "mapped into IPv6": (
        C2,
        partial(
            reaches,
            "198.51.100.12",
            "own('198.51.100.12'); tcp(socket.AF_INET6).connect_ex(('::ffff:198.51.100.12', 9001))",
        ),
    ),
    "a datagram": (
        C2,
        partial(
            reaches,
            "198.51.100.12",
            "own('198.51.100.12'); udp().sendto(b'x', ('198.51.100.12', 9001))",
            protocol="UDP",
        ),
    ),
    "an attempt in a container": (C2, attempts_in_container),
    "address of a guard of Tor": (TOR_CLIENT, visits("198.51.100.14")),
    "address of a directory authority of Tor": (TOR_CLIENT, visits("128.31.0.39")),
    "relay of Tor": (
        TOR_RELAY,
        partial(
            reaches,
            "198.51.100.13",
            "own('198.51.100.13', '198.51.100.14')\n"
            "visit('198.51.100.13', 9001, '198.51.100.14'); visit('198.51.100.14', 9001, '198.51.100.13')",
            port=None,
            way="INBOUND",
        ),
    ),
    "address of a black hole": (BLACKHOLE, visits("198.51.100.15")),
    "address of a drop point": (DROP_POINT, visits("198.51.100.16")),
}


@pytest.fixture(scope="module", params=FIRING)
def fired(
    run: Run, words: dict[int, str], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Fired:
    """A deed that was done and found."""
    type_, deed = FIRING[request.param]
    one = _done_and_found(run, type_, deed, tmp_path_factory)
    words[one.done.pid] = one.word
    return one


def test_the_list_is_named(fired: Fired) -> None:
    """Who reads it can look up why this name or address is a bad one."""
    if fired.found.type in FROM_ANSWERS:
        return
    [threat] = fired.found.document["service"]["evidence"]["threatIntelligenceDetails"]

    assert threat["threatListName"]


def only(code: str) -> Deed:
    """Return the deed of doing it in a network of its own."""

    def do(_: Path, word: str) -> Done:
        return deeds.on_host(alone(ASKING + ANSWERED + REACHING + code, word).pid, deeds.OUR_PYTHON, deeds.OUR_PYTHON)

    return do


SILENT: dict[str, Deed] = {
    "a domain that ends like a listed one": partial(asks, "notguarddutydgaactivity.com"),
    "a listed domain within another": partial(asks, "c2.guarddutyc2activityb.com.example.org"),
    "Google's name for the metadata": only("answered('metadata.google.internal', a('169.254.169.254'))"),
    "an address beside that of the metadata": only(f"answered('{OTHER}', a('169.254.169.253'))"),
    "an address that is not listed": only("own('198.51.100.10'); visit('198.51.100.10', 9001)"),
    "a visitor from a listed address": only("own('198.51.100.12'); visit('127.0.0.1', 9001, '198.51.100.12')"),
    "visitors by Tor": only(
        "own('198.51.100.13', '198.51.100.14')\n"
        "visit('127.0.0.1', 9001, '198.51.100.13'); visit('127.0.0.1', 9002, '198.51.100.14')"
    ),
}


@pytest.mark.parametrize("deed", [pytest.param(deed, id=name) for name, deed in SILENT.items()])
def test_nothing_is_said_of_what_only_looks_like_it(run: Run, tmp_path: Path, deed: Deed) -> None:
    """When what was done afterwards is found, nothing was said of what is harmless."""
    assert [] == said_of(run, tmp_path, deed)


def test_a_question_and_its_answer_are_one_finding(run: Run, tmp_path: Path) -> None:
    """The answer to a question for a listed name leads to the list again, and is told no second time."""
    asked = only("answered('www.supportxmr.com', cname('pool.supportxmr.com'), a('192.0.2.1'))")

    assert [MINING_DNS] == said_of(run, tmp_path, asked)


REPEATING = """
resolver, upstream = udp(), udp()
resolver.bind((HERE, 53))
upstream.bind(("127.0.0.2", 53))
child = os.fork()
if child == 0:
    udp().sendto(message("www.nanopool.org"), (HERE, 53))
    os._exit(0)
os.wait()
udp().sendto(resolver.recv(512), ("127.0.0.2", 53))
upstream.recv(512)
tell(child=child)
"""


def test_a_resolver_that_repeats_a_question_is_not_told(run: Run) -> None:
    """Who asked is told; the resolver of this host that asked for it is not."""
    deed = alone(ASKING + REPEATING)

    run.finding(MINING_DNS, deed.told["child"])
    time.sleep(2 * HASH_WAIT_S)  # as below
    run.finding(FILELESS, deeds.from_memory("sentinel", "sentinel").pid)
    assert [] == [one.type for one in run.findings if one.process["pid"] == deed.pid]


def said_of(run: Run, directory: Path, deed: Deed) -> list[str]:
    """Do it, and return what is said of it until a deed that is done afterwards is found."""
    pid = deed(directory, "word").pid
    time.sleep(2 * HASH_WAIT_S)  # a finding that waits for a hash can be overtaken, but not for longer
    run.finding(FILELESS, deeds.from_memory("sentinel", "sentinel").pid)
    return [one.type for one in run.findings if one.process["pid"] == pid]


SIMULATED = sorted({type_ for type_, _ in FIRING.values()})


@pytest.mark.parametrize("type_", SIMULATED)
def test_what_is_simulated_is_found(run: Run, type_: str) -> None:
    """An operator tries a finding, and sees it by the pid that is told."""
    done = vedette("simulate", type_, "--json")
    deed = json.loads(done.stdout)

    assert (0, type_) == (done.returncode, deed["finding"])
    assert deed["path"] == run.finding(type_, deed["pid"]).process["executablePath"]
