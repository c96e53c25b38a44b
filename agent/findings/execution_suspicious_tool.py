"""A tool was run that is made to attack, or to look for weaknesses.

What is brought in after a break-in: scanners, sniffers, crackers of passwords, tunnels. A tool is known by its file
name, that of a script too, and once it is read by what it holds.

Noise: administrators and testers at work.
Blind to: a tool that is on no list; one under another name that is packed or holds none of the marks.
"""

from __future__ import annotations

from agent.findings._base import ASKS_COMPANY
from agent.findings._base import FindingType
from agent.findings._examples import content
from agent.findings._examples import executable
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import process_exec
from agent.findings._examples import silent
from agent.findings._tools import Tool
from agent.findings._tools import tool_marked
from agent.findings._tools import tool_named
from agent.model import Context
from agent.model import Evidence
from agent.model import ProcessExec
from agent.model import Severity

NAME = "Execution:Runtime/SuspiciousTool"


def match(event: ProcessExec, context: Context) -> Evidence | None:
    """Return the tool: by its name, else by what was read of it."""
    tool = _named(context)
    if context.contents:
        tool = _marked(context) if tool is None else None
    if tool is None or _told(context):
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    exe = context.actor.exe
    return Evidence(
        reason=f"{event.path} runs {tool.name}, a {tool.category}",
        tool_name=tool.name,
        tool_category=tool.category,
        file_path=event.path,
        script_path=None if exe is None else exe.script_path,
        severity=Severity.HIGH if tool.offensive else Severity.LOW,
    )


def _named(context: Context) -> Tool | None:
    return None if context.actor.exe is None else tool_named(context.actor.exe)


def _marked(context: Context) -> Tool | None:
    return next((tool for file in context.contents if (tool := tool_marked(file)) is not None), None)


def _told(context: Context) -> bool:
    """Answer whether this same process was given the same script before: by `env`, which starts the interpreter."""
    exe, before = context.actor.exe, context.actor.replaced
    if exe is None or before is None or exe.script_path is None:
        return False
    return exe.script_path == before.script_path


_PYTHON = "/usr/bin/python3.11"
FINDING = FindingType(
    name=NAME,
    severity=Severity.LOW,
    severity_rule="High for what is made to attack, Low for what serves administrators as well (tools.toml)",
    company=ASKS_COMPANY,
    attack="T1588.002",
    title="{process} {place} is a tool for attacks or tests",
    on=ProcessExec,
    match=match,
    wants_contents=True,
    examples=(
        fires(
            "a network scanner",
            process_exec(path="/usr/bin/nmap"),
            on_host(actor=process("/usr/bin/nmap")),
            shows={
                "tool_name": "Nmap",
                "tool_category": "Network Scanner",
                "severity": Severity.LOW,
                "file_path": "/usr/bin/nmap",
                "script_path": None,
            },
        ),
        fires(
            "made to attack, in a container",
            process_exec(),
            in_container(actor=process("/opt/chisel_1.9.1_linux_amd64")),
            shows={"tool_name": "Chisel", "severity": Severity.HIGH},
        ),
        fires(
            "a script of an interpreter",
            process_exec(),
            on_host(actor=process(exe=executable(_PYTHON, script_path="/opt/sqlmap/sqlmap.py"))),
            shows={"tool_name": "sqlmap", "script_path": "/opt/sqlmap/sqlmap.py"},
        ),
        fires(
            "the same script for the first time, by a process that ran another",
            process_exec(),
            on_host(
                actor=process(
                    exe=executable(_PYTHON, script_path="sqlmap.py"),
                    replaced=executable("/usr/bin/env", script_path="other.py"),
                )
            ),
        ),
        fires(
            "no script, by a process that ran none",
            process_exec(),
            on_host(actor=process("/usr/bin/nmap", replaced=executable("/usr/bin/bash"))),
        ),
        fires(
            "another name, by what the program holds",
            process_exec(),
            on_host(contents=(content("/opt/x", marks=("github.com/jpillora/chisel/",)),)),
            shows={"tool_name": "Chisel"},
        ),
        fires(
            "another name, by what the script holds",
            process_exec(),
            on_host(
                contents=(content(_PYTHON), content("/opt/x", role="script", marks=("https://sqlmap.org",))),
            ),
        ),
        fires(
            "the program gone, by what was read of it",
            process_exec(),
            on_host(
                actor=process(exe=None, replaced=executable(_PYTHON)),
                contents=(content("/opt/x", marks=("gs-netcat",)),),
            ),
            shows={"tool_name": "gsocket", "tool_category": "Backdoor Tool"},
        ),
        silent("another program", process_exec(), on_host(actor=process("/usr/bin/nmapper"))),
        silent("a program that is gone", process_exec(), on_host(actor=process(exe=None))),
        silent(
            "a script that fetches a tool",
            process_exec(),
            on_host(
                contents=(content(_PYTHON), content("/opt/x", role="script", marks=("github.com/jpillora/chisel/",)))
            ),
        ),
        silent(
            "told already by its name",
            process_exec(),
            on_host(actor=process("/usr/bin/nmap"), contents=(content("/usr/bin/nmap", marks=("https://nmap.org",)),)),
        ),
        silent(
            "told already by `env`, which started the interpreter",
            process_exec(),
            on_host(
                actor=process(
                    exe=executable(_PYTHON, script_path="sqlmap.py"),
                    replaced=executable("/usr/bin/env", script_path="sqlmap.py"),
                )
            ),
        ),
    ),
)
