"""The commands of docs/install as a reader copies them: five at most, and each is one that its program takes.

What needs AWS or a cluster is not run: `aws` is held against botocore's model, what kubectl does by itself is done,
`vedette` parses its own options.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

from tests.packaging.test_eks import has_kustomize

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("debian", "ec2", "eks", "fargate", "ssm")
GLOBAL = {"query", "output", "region", "cli-input-json"}  # options of the aws command line itself
ITS_OWN = {("s3", "cp"), ("cloudformation", "deploy")}  # commands that are no operation of an API


def blocks(name: str) -> list[list[str]]:
    """Return the command lines of each shell block of a document."""
    text = (ROOT / f"docs/install/{name}.md").read_text(encoding="utf-8")
    return [block.strip().split("\n") for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def programs(line: str) -> list[list[str]]:
    """Return the simple commands in a line, those within $(…) and loops among them."""
    inner = re.findall(r'"\$\((.*)\)"', line)
    outer = re.sub(r'"\$\((.*)\)"', "INNER", line)
    outer = re.sub(r"^for \w+ in [^;]*; do (.*); done$", r"\1", outer)
    simple = [shlex.split(part.partition(" >")[0], comments=True) for part in re.split(r" && | \| ", outer)]
    return [*simple, *(command for each in inner for command in programs(each))]


def _inside(command: list[str]) -> list[str]:
    """Return what kubectl exec is to run."""
    return command[command.index("--") + 1 :] if "--" in command else []


ALL = [(name, command) for name in DOCUMENTS for block in blocks(name) for line in block for command in programs(line)]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_five_commands_at_most(name: str) -> None:
    """From nothing to the first finding."""
    assert len(blocks(name)[0]) <= 5


@pytest.mark.parametrize("command", [each for _, each in ALL if each[0] == "aws"], ids=" ".join)
def test_aws_knows_the_command(command: list[str]) -> None:
    """Each option is a member of the operation's input, and what is required is given."""
    service, verb, *rest = command[1:]
    options = {word[2:] for word in rest if word.startswith("--")} - GLOBAL
    for word in rest:
        if "file://packaging/" in word:
            assert (ROOT / word.removeprefix("file://")).is_file()
    if (service, verb) in ITS_OWN:
        assert all((ROOT / word).is_file() for word in rest if word.startswith("packaging/"))
        return
    model = botocore.session.get_session().get_service_model(service)
    operation = next(name for name in model.operation_names if xform_name(name, "-") == verb)
    shape = model.operation_model(operation).input_shape
    names = {xform_name(name, "-") for name in shape.members} | {"force-new-deployment"}

    assert set() == options - names
    if not any("--cli-input-json" in word for word in rest):
        assert {xform_name(name, "-") for name in shape.required_members} <= options


@pytest.mark.parametrize("command", [each for _, each in ALL if "vedette" in (each[0], *_inside(each))], ids=" ".join)
def test_vedette_takes_its_options(command: list[str]) -> None:
    """Words and options before `--help` are parsed first, so a wrong one is refused."""
    own = command[command.index("--") + 2 :] if "--" in command else command[1:]
    words = [word for word in own if not word.startswith("-")]
    line = [sys.executable, "-m", "agent", *words[: 3 if words[0] == "pki" else 1], "--help"]
    told = subprocess.run(line, capture_output=True, text=True, check=False, cwd=ROOT)

    assert 0 == told.returncode, told.stderr
    assert [] == [word for word in own if word.startswith("--") and word not in told.stdout]


@pytest.mark.skipif(not has_kustomize(), reason="needs kubectl 1.24 or newer")
@pytest.mark.parametrize("command", [each for name, each in ALL if each[0] == "kubectl"], ids=" ".join)
def test_kubectl_takes_the_command(command: list[str]) -> None:
    """What it can do without a cluster it does; else it gets as far as looking for one."""
    if "secret" in command:
        command = [*command, "--dry-run=client", "--output=yaml"]
    env = {**os.environ, "KUBECONFIG": "/nonexistent"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=env, timeout=60)
    said = done.stdout + done.stderr

    assert "unknown" not in said
    assert done.returncode == 0 or "connection" in said or "refused" in said, said
    if "secret" in command:
        assert "name: vedette-join" in said


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_and_verbs_are_there(name: str) -> None:
    """Each path of this repository that a document names exists, and so does each verb of make."""
    text = (ROOT / f"docs/install/{name}.md").read_text(encoding="utf-8")
    verbs = set(re.findall(r"\bmake ([a-z]+)\b", text))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    paths = re.findall(r"\b((?:packaging|tests|systemd)/[\w./-]*\w)", text)

    assert verbs <= targets
    assert [] == [path for path in paths if not (ROOT / path).exists()]
    assert [] == [link for link in re.findall(r"\]\((\S+?)\)", text) if not (ROOT / "docs/install" / link).exists()]
