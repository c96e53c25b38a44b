"""ECS: task definitions that its own model takes, templates, and the sidecar put into what is there."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cfnlint.decode.cfn_yaml
import pytest

from tests.packaging import aws

ECS = Path(__file__).resolve().parents[2] / "packaging" / "ecs"
FILES = ("fargate", "ec2-daemon")
TOKEN = "arn:aws:ssm:eu-west-1:111122223333:parameter/vedette/join-token"
OPTIONS = ("--image", "registry.example/vedette:fargate", "--join-token", TOKEN)
SHOP: dict[str, Any] = {
    "family": "shop",
    "requiresCompatibilities": ["FARGATE"],
    "networkMode": "awsvpc",
    "cpu": "512",
    "memory": "1024",
    "executionRoleArn": "arn:aws:iam::111122223333:role/shop",
    "volumes": [{"name": "scratch"}],
    "containerDefinitions": [{"name": "shop", "image": "registry.example/shop:1.2", "essential": True}],
}


def added(given: object, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the script on a task definition."""
    text = given if isinstance(given, str) else json.dumps(given)
    line = [sys.executable, ECS / "add-sidecar", *(options or OPTIONS)]
    return subprocess.run(line, input=text, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", FILES)
def test_the_service_itself_takes_each_task_definition(name: str) -> None:
    """By botocore's model no key is wrong; moto's ECS registers it over HTTP, and says it back."""
    task = aws.document(ECS / f"{name}.json")
    assert "" == aws.complaints("ecs", "RegisterTaskDefinition", task)
    assert "" != aws.complaints("ecs", "RegisterTaskDefinition", {**task, "pidmode": "task"})
    with aws.moto() as client:
        made = client("ecs").register_task_definition(**task)["taskDefinition"]

    assert task["family"] == made["family"]
    assert "vedette" == made["containerDefinitions"][-1]["name"]
    assert task["pidMode"] == made["pidMode"]


def test_templates_are_what_cloudformation_knows() -> None:
    """cfn-lint, which has the schemas of every resource, has nothing against them, not even a warning."""
    assert "" == aws.lint(*(ECS / f"{name}.yaml" for name in FILES))


@pytest.mark.parametrize("name", FILES)
def test_template_and_task_definition_say_the_same(name: str) -> None:
    """Whoever takes one or the other gets the same agent."""
    template = cfnlint.decode.cfn_yaml.load(str(ECS / f"{name}.yaml"))
    properties = template["Resources"]["Task"]["Properties"]
    told, registered = _agent(properties, "ContainerDefinitions"), _agent(aws.document(ECS / f"{name}.json"))

    for differing in ("image", "secrets", "logconfiguration"):
        assert told.pop(differing)
        assert registered.pop(differing)
    assert told == {key: value for key, value in registered.items() if value != []}


def _agent(task: dict[str, Any], key: str = "containerDefinitions") -> dict[str, Any]:
    (container,) = (one for one in task[key] if "vedette" in (one.get("name"), one.get("Name")))
    return dict(_lower(container))


def _lower(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key).lower(): _lower(one) for key, one in value.items()}
    return [_lower(one) for one in value] if isinstance(value, list) else value


def test_sidecar_is_added_to_what_is_there() -> None:
    """The workload stays as it was; a second run changes nothing; an old sidecar is brought up to date."""
    given = {**SHOP, "taskDefinitionArn": "arn:x", "revision": 7, "status": "ACTIVE", "compatibilities": ["FARGATE"]}
    once = added({"taskDefinition": given})
    assert (0, "") == (once.returncode, once.stderr)
    task = json.loads(once.stdout)
    old = copy.deepcopy(task)
    old["containerDefinitions"][1]["memory"] = 64

    assert "" == aws.complaints("ecs", "RegisterTaskDefinition", task)
    assert SHOP["containerDefinitions"] == task["containerDefinitions"][:-1]
    assert {"scratch", "vedette-run", "vedette-state"} == {one["name"] for one in task["volumes"]}
    sidecar = task["containerDefinitions"][-1]
    assert (False, ["SYS_PTRACE"]) == (sidecar["essential"], sidecar["linuxParameters"]["capabilities"]["add"])
    assert "task" == task["pidMode"]
    assert once.stdout == added(once.stdout).stdout == added(old).stdout


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{", "standard input: "),
        ([], "containerDefinitions is missing"),
        ({**SHOP, "containerDefinitions": [{}]}, "each needs a name"),
        ({**SHOP, "pidMode": "host"}, "ec2-daemon.json"),
        ({**SHOP, "executionRoleArn": None}, "executionRoleArn is missing"),
        ({**SHOP, "runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}}, "Linux alone"),
        ({**SHOP, "containerDefinitions": [{"name": "vedette"}]}, "no essential container"),
    ],
)
def test_what_cannot_have_a_sidecar_is_told(given: object, told: str) -> None:
    """In one line that says what to do, and nothing on standard output that could be registered by mistake."""
    done = added(given)

    assert (2, "") == (done.returncode, done.stdout)
    assert told in done.stderr
    assert 1 == done.stderr.count("\n")


def test_token_itself_is_refused() -> None:
    """A secret does not get into a task definition, which many can read."""
    done = added(SHOP, "--image", "x", "--join-token", "vedette-join-abc")

    assert 2 == done.returncode
    assert "never the token itself" in done.stderr
    assert "vedette-join-abc" not in done.stderr
