"""A program that mines cryptocurrency was started.

Whoever has stolen computing time sells it this way. A miner is known by its file name, by arguments that only miners
take (where to mine, for whom and how), and once it is read by its SHA-256, what it holds, or the settings it is given.

Noise: owners who mine; a scanner that carries the miners' marks in its own program.
Blind to: a miner under another name that reads its pool from its own default file and holds none of the marks (packed,
or built anew without them): its questions for a pool are CryptoCurrency:Runtime/BitcoinTool.B!DNS; one in a web page.
"""

from __future__ import annotations

from agent.findings import _mining
from agent.findings._base import FindingType
from agent.findings._examples import content
from agent.findings._examples import executable
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import process_exec
from agent.findings._examples import silent
from agent.findings._tools import is_miner_marked
from agent.findings._tools import is_miner_named
from agent.model import Context
from agent.model import Evidence
from agent.model import ProcessExec
from agent.model import Severity

NAME = "Impact:Runtime/CryptoMinerExecuted"


def match(event: ProcessExec, context: Context) -> Evidence | None:
    """Return why it is a miner: by its name or arguments, else by what was read of it."""
    reason = _outside(event, context)
    if context.contents:
        reason = _inside(context) if reason is None else None
    if reason is None:
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    exe = context.actor.exe
    return Evidence(reason=reason, file_path=event.path, script_path=None if exe is None else exe.script_path)


def _outside(event: ProcessExec, context: Context) -> str | None:
    if context.actor.exe is not None and is_miner_named(context.actor.exe):
        return f"{event.path} is called as a miner is, or was given a program that is"
    signs = _mining.signs(event.args[1:] + event.args_tail, context)
    return f"{event.path} was given {', '.join(sorted(signs))}, as miners are" if signs else None


def _inside(context: Context) -> str | None:
    for file in context.contents:
        if is_miner_marked(file):
            return f"{file.path} holds what only miners do"
    return None


_POOL = "stratum+tcp://pool.example.com:3333"
_WALLET = "4" + "A" * 94
_BY = ("x", "-o", _POOL, "-u", "worker")
FINDING = FindingType(
    name=NAME,
    severity=Severity.HIGH,
    attack="T1496",
    title="{process} mines cryptocurrency {place}",
    on=ProcessExec,
    match=match,
    wants_contents=True,
    examples=(
        fires(
            "by its name",
            process_exec(path="/opt/xmrig"),
            on_host(actor=process("/opt/xmrig")),
            shows={"file_path": "/opt/xmrig", "script_path": None},
        ),
        fires("by the name of a release", process_exec(), on_host(actor=process("/opt/XMRig-6.21.0"))),
        fires(
            "by the name of what the dynamic loader was given",
            process_exec(path="/lib/ld-linux-x86-64.so.2"),
            on_host(actor=process(exe=executable("/lib/ld-linux-x86-64.so.2", script_path="/opt/minerd"))),
        ),
        fires(
            "a script called as a miner",
            process_exec(path="/usr/bin/dash", filename="./xmrig", interpreted=True),
            on_host(actor=process(exe=executable("/usr/bin/dash", script_path="./xmrig"))),
            shows={"script_path": "./xmrig"},
        ),
        fires("another name, a pool and a user", process_exec(args=_BY), in_container()),
        fires("a pool and a user, the program gone", process_exec(args=_BY), on_host(actor=process(exe=None))),
        fires(
            "in one word each",
            process_exec(args=("x", f"--url={_POOL}", "--user=worker")),
            on_host(),
        ),
        fires(
            "a pool on a list, without a scheme",
            process_exec(args=("x", "-o", "pool.minexmr.com:4444", "-u", "worker")),
            on_host(),
        ),
        fires("any address and a wallet", process_exec(args=("x", "-o", "a.example:1", "-u", _WALLET)), on_host()),
        fires(
            "any address, user and password x", process_exec(args=("x", "-o", "a.b:1", "-u", "u", "-p", "x")), on_host()
        ),
        fires(
            "an algorithm and an option of miners",
            process_exec(args=("x", "-a", "rx/0", "--donate-level=1")),
            on_host(),
        ),
        fires(
            "behind 5,000 other arguments",
            process_exec(args=("x", *["-"] * 99), args_tail=_BY, args_omitted_bytes=9_999),
            on_host(),
        ),
        fires(
            "another name, by what it holds",
            process_exec(),
            on_host(contents=(content("/opt/x", marks=("donate.v2.xmrig.com",)),)),
            shows={"reason": "/opt/x holds what only miners do"},
        ),
        fires(
            "another name, by its settings",
            process_exec(),
            on_host(contents=(content("/opt/x"), content("/opt/a.json", role="config", marks=('"donate-level" :',)))),
        ),
        silent("a pool alone", process_exec(args=("grep", _POOL, "log")), on_host()),
        silent("a file and a user", process_exec(args=("curl", "-o", "file", "-u", "user")), on_host()),
        silent("an address and a user", process_exec(args=("x", "-o", "a.b:1", "-u", "u")), on_host()),
        silent("another password", process_exec(args=("x", "-o", "a.b:1", "-u", "u", "-p", "y")), on_host()),
        silent("a pool in a command of a shell", process_exec(args=("sh", "-c", " ".join(_BY))), on_host()),
        silent("its own name says so", process_exec(args=("-o", _POOL, "-u")), on_host()),
        silent("a name that begins like one", process_exec(), on_host(actor=process("/opt/xmrigged"))),
        silent(
            "a script that writes a miner's settings",
            process_exec(),
            on_host(contents=(content("/opt/x", role="script", marks=('"donate-level":',)),)),
        ),
        silent(
            "the mark of something else", process_exec(), on_host(contents=(content("/opt/x", marks=("gs-netcat",)),))
        ),
        silent(
            "told already by its name",
            process_exec(),
            on_host(actor=process("/opt/xmrig"), contents=(content("/opt/xmrig", marks=("donate.v2.xmrig.com",)),)),
        ),
    ),
)
