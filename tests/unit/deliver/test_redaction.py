from __future__ import annotations

import shlex
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.counters import Counters
from agent.deliver.delivery import Delivery
from agent.deliver.redaction import Redaction
from agent.deliver.spool import Spool
from agent.deliver.target import Target
from agent.errors import ConfigError
from agent.model import Evidence
from agent.model import Signal
from agent.model import Surroundings
from tests.unit.deliver.test_wire import HOST
from tests.unit.deliver.test_wire import finding
from tests.unit.enrich.made import executed

EXEC = executed(7, 8)
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
AKIA = "AKIA" + "IOSFODNN7EXAMPLE"
GHP = "ghp_" + "0123456789abcdefABCDEF0123456789abcd"
SLACK = "xoxb-" + "1234567890-abcdefghij"


def redacted(line: str) -> str:
    args = tuple(shlex.split(line))
    event = Redaction(Counters()).event(msgspec.structs.replace(EXEC, args=args))
    return shlex.join(event.args).replace("'***'", "***")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mysql -u root -phunter2 shop", "mysql -u root '-p***' shop"),
        ("/usr/bin/mysqldump -phunter2", "/usr/bin/mysqldump '-p***'"),
        ("sudo -u bob mariadb-admin -phunter2", "sudo -u bob mariadb-admin '-p***'"),
        ("docker exec db mysql -phunter2", "docker exec db mysql '-p***'"),
        ("sshpass -p hunter2 ssh -p 22 bob@web", "sshpass -p *** ssh -p 22 bob@web"),
        ("tool --password hunter2 --user bob", "tool --password *** --user bob"),
        ("tool --db-password=hunter2", "tool '--db-password=***'"),
        ("tool --password '$hunter2' -x", "tool --password *** -x"),
        ("env DB_PASSWORD='$hunter2' ./run", "env 'DB_PASSWORD=***' ./run"),
        ("mysql '-p$hunter2'", "mysql '-p***'"),
        ("tool --pass=hunter2", "tool '--pass=***'"),
        ("keytool -storepass hunter2 -list", "keytool -storepass *** -list"),
        ("openssl rsa -passin pass:hunter2", "openssl rsa -passin 'pass:***'"),
        ("env DB_PASSWORD=hunter2 MYSQL_PWD=hunter2 ./run", "env 'DB_PASSWORD=***' 'MYSQL_PWD=***' ./run"),
        ("curl -u bob:hunter2 https://x", "curl -u 'bob:***' https://x"),
        ("curl -ubob:hunter2 https://x", "curl '-ubob:***' https://x"),
        ("curl -sSku bob:hunter2 https://x", "curl -sSku 'bob:***' https://x"),
        ("curl -skubob:hunter2 https://x", "curl '-skubob:***' https://x"),
        ("curl https://bob:hunt:er@2@x.example/a", "curl 'https://bob:***@x.example/a'"),
        ("git clone https://x-access-token:hunter2@github.com/a/b", "git clone 'https://x-access-token:***@github.com/a/b'"),
        ("curl -H 'Authorization: Bearer hunter2'", "curl -H 'Authorization: Bearer ***'"),
        ("curl -H 'Authorization: Basic aHVudGVyMg=='", "curl -H 'Authorization: Basic ***'"),
        ("curl -H 'Cookie: sid=hunter2; b=c'", "curl -H 'Cookie: ***'"),
        ("curl -H 'X-Api-Key: hunter2'", "curl -H 'X-Api-Key: ***'"),
        ("""curl -d '{"password": "hun ter2", "a": 1}'""", """curl -d '{"password": ***, "a": 1}'"""),
        ("docker login -u bob -p hunter2 reg", "docker login -u bob -p *** reg"),
        ("docker login -u bob -phunter2 reg", "docker login -u bob '-p***' reg"),
        ("redis-cli -a hunter2 ping", "redis-cli -a *** ping"),
        ("ldapsearch -x -w hunter2", "ldapsearch -x -w ***"),
        ("smbclient -U 'bob%hunter2' //x/y", "smbclient -U 'bob%***' //x/y"),
        ("zip -P hunter2 a.zip b", "zip -P *** a.zip b"),
        ("zip -rP hunter2 a.zip b", "zip -rP *** a.zip b"),
        ("ldapsearch -xw hunter2", "ldapsearch -xw ***"),
        ("mongo -phunter2 db", "mongo '-p***' db"),
        ("snmpget -v3 -Ahunter2 x", "snmpget -v3 '-A***' x"),
        ("7z x -phunter2 a.7z", "7z x '-p***' a.7z"),
        ("sh -c 'cd /x && mysql -phunter2 < \"a b\"; ls -p x'", "sh -c 'cd /x && mysql -p*** < \"a b\"; ls -p x'"),
        ("sh -c 'mysql -p\"hunter2\" shop'", "sh -c 'mysql -p*** shop'"),
        ("""sh -c "mysql -p'hunter2' shop" """, "sh -c 'mysql -p*** shop'"),
        ("sh -c 'mysql \"-phunter2\"'", "sh -c 'mysql \"-p***\"'"),
        ("""sh -c "su -c 'mysql -phunter2' bob" """, """sh -c 'su -c '"'"'mysql -p***'"'"' bob'"""),
        ("sh -c 'cd x;mysql -phunter2'", "sh -c 'cd x;mysql -p***'"),
        ("sh -c 'X=$(mysql -phunter2)'", "sh -c 'X=$(mysql -p***'"),
        ("sh -c 'TOKEN=hunter2 ./run --password hunter2'", "sh -c 'TOKEN=*** ./run --password ***'"),
        (f"aws configure set aws_access_key_id {AKIA}", "aws configure set aws_access_key_id 'AKIA***'"),
        ("export AWS_SECRET_ACCESS_KEY=wJalr/X", "export 'AWS_SECRET_ACCESS_KEY=***'"),
        (f"echo {GHP}", "echo 'ghp_***'"),
        (f"echo gldt-{'x' * 20}", "echo 'gldt-***'"),
        (f"echo sk_test_{'x' * 20}", "echo 'sk_test_***'"),
        (f"echo ABIA{'X' * 16}", "echo 'ABIA***'"),
        ("x SharedAccessSignature=hunter2", "x 'SharedAccessSignature=***'"),
        (f"echo {SLACK}", "echo 'xoxb-***'"),
        (f"echo a={JWT}", "echo 'a=eyJ***'"),
        ("sqlcmd -C 'Server=x;Uid=a;Pwd=hunter2;'", "sqlcmd -C 'Server=x;Uid=a;Pwd=***;'"),
        ("echo '-----BEGIN RSA PRIVATE KEY-----\nMIIE\n'", "echo '-----BEGIN RSA PRIVATE KEY-----***'"),
    ],
)  # fmt: skip
def test_secrets_stay_here(line: str, expected: str) -> None:
    """Who reads the store learns that there was a password, and not which."""
    assert expected == redacted(line)


@pytest.mark.parametrize(
    "line",
    [
        "mysql -p shop",
        "ssh -p 2222 bob@web",
        "nmap -p80 10.0.0.1",
        "mkdir -p /srv/password",
        "docker run --name mysql -p3306:3306 mysql:8",
        "docker run -p 80:80 nginx",
        "tool --password-file /run/secrets/x --token-ttl 5m --max-tokens=4096",
        "tool --password --verbose",
        "env PWD=/root OLDPWD=/ GOOGLE_APPLICATION_CREDENTIALS=/etc/gcp.json ./run",
        "curl https://host:8080/a@b http://[::1]:80/ -u bob",
        "curl -omenu http://host:80/x",
        "git clone git@github.com:a/b.git",
        "sh -c 'mysql -p\"$PW\" --password=$PASSWORD --token `cat x`; echo pass=0'",
        "echo the bearer of bad news, a basic training",
        "sha256sum -c e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "passwd bob",
        "kubectl create secret generic db",
        "docker build --secret id=npm,src=.npmrc .",
        "chmod 600 /etc/ssl/private/key.pem",
        "grep -r password /etc",
        "ps aux --sort=-%mem",
        "systemctl start getty@tty1",
        "eyJlike this-is-no.token",
    ],
)
def test_what_only_looks_like_a_secret_stays(line: str) -> None:
    """An analyst still sees ports, paths, names of files and what a shell has yet to fill in."""
    assert shlex.join(shlex.split(line)) == redacted(line)


def test_an_event_says_that_it_was_redacted_and_each_secret_is_counted() -> None:
    """The gap is marked; a value that came behind the cut goes, too, and what is unchanged is the same object."""
    counters = Counters()
    redaction = Redaction(counters)
    told = msgspec.structs.replace(EXEC, args=("x", f"{AKIA}", "--token"), args_tail=("hunter2", "y"))

    event = redaction.event(told)

    assert (("x", "AKIA***", "--token"), ("***", "y")) == (event.args, event.args_tail)
    assert "redacted" in event.flags
    assert 2 == counters.get("deliver.redacted_values")
    assert EXEC is redaction.event(EXEC)


def test_findings_say_their_reasons_without_secrets() -> None:
    """Sentences and examples quote command lines."""
    evidence = Evidence(
        reason="it ran mysql -phunter2",
        command_line_example="curl -u bob:hunter2",
        mount_source="https://bob:hunter2@x",
        signals=(Signal(name="a", reason="PASSWORD=hunter2 was there", at_ns=1),),
    )
    told = Redaction(Counters()).finding(finding(title="TOKEN=hunter2", evidence=evidence))

    said = repr((told.title, told.evidence))
    assert "hunter2" not in said
    assert 5 == said.count("***")


def test_the_spool_holds_no_secrets(tmp_path: Path) -> None:
    """Neither of events nor of findings: it may be read by whoever reads backups."""
    spool = Spool(tmp_path, counters=Counters())
    target = Target.parse(f"unix://{tmp_path}/nobody.sock")
    redaction = Redaction(Counters())
    delivery = Delivery(spool=spool, host=HOST, target=target, counters=Counters(), probes=(), redaction=redaction)
    told = msgspec.structs.replace(EXEC, args=("mysql", "-phunter2"))
    delivery.event(told, Surroundings(host=HOST, actor=None), None)
    delivery.finding(finding(title="TOKEN=hunter2"))
    delivery.close(0.0)
    spool.close()

    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"hunter2" not in kept
    assert b"-p***" in kept
    assert b"TOKEN=***" in kept


def test_patterns_of_the_operators_own() -> None:
    """The group is replaced, or all of it; a bad one is named at the start."""
    counters = Counters()
    redaction = Redaction(counters, [r"corp-[0-9]{4}", r"--pin (\d+)"])

    assert "a *** b --pin *** ü" == redaction.text("a corp-1234 b --pin 77 ü")
    assert 2 == counters.get("deliver.redacted_values")
    with pytest.raises(ConfigError, match=r"privacy.patterns: '\(' is no expression of RE2"):
        Redaction(counters, ["("])


@given(st.lists(st.text(max_size=40), max_size=8))
def test_nothing_breaks_it(texts: list[str]) -> None:
    """Whatever a process puts into its arguments comes out as as many, and a second time changes nothing."""
    redaction = Redaction(Counters(), ["x+"])
    once = redaction.event(msgspec.structs.replace(EXEC, args=tuple(texts)))

    assert len(texts) == len(once.args)
    assert once.args == redaction.event(once).args


@pytest.mark.parametrize(
    "piece",
    [
        "eyJ-",
        "password=",
        "://a:",
        '"',
        "'\"",
        "token: ",
        "-----BEGIN PRIVATE KEY-----",
        "bearer 1",
        "PWD=",
        "token=$;",
    ],
)
def test_a_hostile_argument_costs_a_pass(piece: str) -> None:
    """Twice as long takes about twice as long, so that nobody holds the agent up by what they start."""

    def seconds(count: int) -> float:
        args = ("mysql token ://", f"{piece * count}&")
        began = time.process_time()
        Redaction(Counters()).event(msgspec.structs.replace(EXEC, args=args))
        return time.process_time() - began

    assert seconds(16_384) < 1.0  # a square would take minutes
