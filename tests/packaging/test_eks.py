"""EKS: what kubectl makes of the overlays is valid in three versions, and asks for no more than it must."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from agent.config import parse
from collector.config import load as collector_config

EKS = Path(__file__).resolve().parents[2] / "packaging" / "eks"
OVERLAYS = ("eks", "agent-only", "privileged")
VERSIONS = ("1.31", "1.34", "1.37")


def has_kustomize() -> bool:
    """Return whether kubectl is here, and as new as 1.24: Debian 12 has one whose kustomize knows no `patches`."""
    if shutil.which("kubectl") is None:
        return False
    told = subprocess.run(["kubectl", "version", "--client", "--output=json"], capture_output=True, check=False).stdout
    return b"kustomizeVersion" in told


pytestmark = pytest.mark.skipif(not has_kustomize(), reason="needs kubectl 1.24 or newer")


@functools.cache
def built(overlay: str) -> list[dict[str, Any]]:
    """Return the resources of an overlay, as kubectl assembles them."""
    line = ["kubectl", "kustomize", str(EKS / "overlays" / overlay)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    return list(yaml.safe_load_all(done.stdout))


def one(overlay: str, kind: str, name: str) -> dict[str, Any]:
    """Return a resource."""
    (found,) = (each for each in built(overlay) if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    """Return the specification of its pods."""
    return dict(workload["spec"]["template"]["spec"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_are_valid(overlay: str, version: str) -> None:
    """By the schemas of Kubernetes, in which an unknown field is an error; a wrong one is found."""
    for resource in built(overlay):
        kubernetes_validate.validate(json.loads(json.dumps(resource)), version, strict=True)
    wrong = json.loads(json.dumps(one(overlay, "DaemonSet", "vedette-agent")))
    wrong["spec"]["template"]["spec"]["hostPid"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_resources_fit_together(overlay: str) -> None:
    """Selectors hold for their pods; accounts, settings and volumes that are named are there."""
    resources = built(overlay)
    named = {(each["kind"], each["metadata"]["name"]) for each in resources}
    namespaced = [each for each in resources if not each["kind"].startswith(("Cluster", "Namespace", "PriorityClass"))]
    assert {"vedette"} == {each["metadata"].get("namespace") for each in namespaced}
    for workload in (each for each in resources if each["kind"] in {"DaemonSet", "StatefulSet"}):
        pod = pod_of(workload)
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert ("ServiceAccount", pod["serviceAccountName"]) in named
        volumes = {each["name"]: each for each in pod["volumes"]}
        claims = {each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", [])}
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            assert {each["name"] for each in container["volumeMounts"]} <= volumes.keys() | claims
        assert {("ConfigMap", volumes["config"]["configMap"]["name"])} <= named


def test_agent_is_not_privileged() -> None:
    """Capabilities instead, those of the unit file; of its node it can change its own folders alone."""
    pod = pod_of(one("eks", "DaemonSet", "vedette-agent"))
    (container,) = pod["containers"]
    security = container["securityContext"]
    unit = (EKS.parents[1] / "systemd/vedette-agent.service").read_text()
    bounded = unit.partition("\nCapabilityBoundingSet=")[2].partition("\n")[0].split()
    written = {each["mountPath"] for each in container["volumeMounts"] if not each.get("readOnly")}

    assert {name.removeprefix("CAP_") for name in bounded} == set(security["capabilities"]["add"])
    assert ["ALL"] == security["capabilities"]["drop"]
    assert (False, False, True) == tuple(
        security[name] for name in ("privileged", "allowPrivilegeEscalation", "readOnlyRootFilesystem")
    )
    assert {"/run/vedette", "/var/lib/vedette"} == written
    assert [{"operator": "Exists"}] == pod["tolerations"]
    assert pod_of(one("privileged", "DaemonSet", "vedette-agent"))["containers"][0]["securityContext"]["privileged"]


def test_agent_may_only_read() -> None:
    """No verb but get, list and watch, and no secrets."""
    rules = one("eks", "ClusterRole", "vedette-agent")["rules"]

    assert {"get", "list", "watch"} == {verb for rule in rules for verb in rule["verbs"]}
    assert {"pods", "nodes", "replicasets", "jobs"} == {name for rule in rules for name in rule["resources"]}


def test_collector_is_restricted() -> None:
    """Its pod is within the strictest of the Pod Security Standards (kubernetes.io, `restricted`)."""
    pod = pod_of(one("eks", "StatefulSet", "vedette-collector"))
    kinds = {next(iter(each.keys() - {"name"})) for each in pod["volumes"]}

    assert set() == {"hostPID", "hostNetwork", "hostIPC"} & pod.keys()
    assert kinds <= {"configMap", "emptyDir", "secret", "persistentVolumeClaim", "projected", "downwardAPI", "csi"}
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert {"type": "RuntimeDefault"} == pod["securityContext"]["seccompProfile"]
    for container in (*pod["containers"], *pod["initContainers"]):
        security = container["securityContext"]
        assert not security["allowPrivilegeEscalation"]
        assert {"drop": ["ALL"]} == security["capabilities"]
        assert security["readOnlyRootFilesystem"]
        assert all("hostPort" not in port for port in container.get("ports", []))


def test_settings_are_taken(tmp_path: Path) -> None:
    """Both files are what agent and collector understand, and paths in them are where volumes are mounted."""
    config = parse((EKS / "base/agent/agent.toml").read_text(), "agent.toml")
    mounts = {each["name"]: each["mountPath"] for each in _mounts("DaemonSet", "vedette-agent")}
    assert str(config.state_dir) == mounts["state"]
    assert str(config.lock_file.parent) == mounts["run"]
    assert str(config.enrolment.token_file) == f"{mounts['join']}/token"
    state = next(each["mountPath"] for each in _mounts("StatefulSet", "vedette-collector") if each["name"] == "state")
    settings = (EKS / "base/collector/collector.toml").read_text()
    for name in (
        "pki/ca.pem",
        "pki/crl.pem",
        "tls/collector.pem",
        "tls/collector.key",
    ):  # what its init container makes
        assert f'"{state}/{name}"' in settings
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "collector.toml").write_text(settings.replace(state, str(tmp_path)))
    assert collector_config(tmp_path / "collector.toml").enrolment


def _mounts(kind: str, name: str) -> list[dict[str, Any]]:
    return list(pod_of(one("eks", kind, name))["containers"][0]["volumeMounts"])
