"""Metadata servers on loopback, good and bad: what is known afterwards, and how long that takes at most."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from agent.counters import Counters
from agent.enrich.place import asking
from agent.enrich.place import ecs
from agent.enrich.place import imds
from agent.enrich.place import kubernetes
from agent.enrich.place import pods
from agent.enrich.place import survey
from agent.enrich.place.asking import Client
from agent.enrich.place.asking import Endpoint
from agent.enrich.place.asking import Request
from agent.enrich.place.asking import Unanswered
from agent.enrich.place.decoding import decoded
from agent.enrich.place.ecs import TaskMetadata
from agent.enrich.place.imds import Imds
from agent.enrich.place.kubernetes import Credentials
from agent.enrich.place.kubernetes import Kubelet
from agent.enrich.place.pods import Pod
from agent.enrich.place.survey import Instance
from agent.enrich.place.tasks import Tasks
from agent.enrich.place.watching import Asked
from agent.enrich.place.watching import Pods
from agent.enrich.place.watching import Watched
from agent.model import KubernetesCluster
from agent.model import Tag
from tests import metadata
from tests.metadata import BAD
from tests.metadata import CLUSTER
from tests.metadata import INSTANCE_ID
from tests.metadata import POD_UID
from tests.metadata import Server
from tests.metadata import eventually

SOON_S = 0.4
"""That a bad server gets here; the tests show that it is heeded, not how long it is."""
KINDS = {
    "silent": {"silent"},
    "dripping": {"silent"},
    "flooding": {"oversized"},
    "dying": {"broken"},
    "babbling": {"broken"},
    "redirecting": {"refused"},
    "failing": {"refused"},
}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this test runs in does not decide whom it asks."""
    names = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "AWS_EC2_METADATA_DISABLED")
    for name in names:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give servers less time than on a real host, and ask again at once."""
    for module, name in ((imds, "CONNECT_S"), (imds, "REQUEST_S"), (ecs, "REQUEST_S"), (kubernetes, "REQUEST_S")):
        monkeypatch.setattr(module, name, SOON_S)


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """Return the file of a service account's token."""
    path = tmp_path / "token"
    path.write_text("token\n")
    return path


def watched(server: Server, token: Path, counters: Counters) -> Watched:
    api = kubernetes.ApiServer(Endpoint.parse(server.url), Credentials(token, None), "node-1")
    return Watched(api, counters=counters, learned=lambda _: None)


@pytest.fixture
def closing() -> Iterator[list[Any]]:
    """Give a list of what is closed at the end."""
    listed: list[Any] = []
    yield listed
    for one in listed:
        one.close()


# Asking.


@pytest.mark.parametrize("name", [name for name in BAD if name in KINDS])
def test_a_bad_server_holds_nobody_up(name: str) -> None:
    """Silent, dripping, endless, dying: each ends within its time and its bytes, and says which it was."""
    with Server(lambda _: BAD[name]) as server:
        began_s = time.monotonic()
        with pytest.raises(Unanswered) as told:
            Client(Endpoint.parse(server.url)).ask(Request("/"), SOON_S)

    assert told.value.kind in KINDS[name]
    assert time.monotonic() - began_s < 10 * SOON_S
    assert str(told.value).isprintable()


def test_a_huge_answer_is_refused_before_it_is_in_memory() -> None:
    """What is read is bounded by the request, not by the server."""
    with Server(lambda _: (200, b" " * (64 << 20))) as server:
        client = Client(Endpoint.parse(server.url))
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        with pytest.raises(Unanswered, match="more than 65,536 bytes"):
            client.ask(Request("/"), 20.0)
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()

    assert peak < 70 << 20  # the server's own 64 MiB, in this process, and no second copy


def test_nobody_there_is_told_from_nobody_who_answers() -> None:
    """A refused connection says what it is."""
    with Server(lambda _: (200, b"")) as server:
        gone = Endpoint.parse(server.url)
    with pytest.raises(Unanswered) as told:
        Client(gone).ask(Request("/"), SOON_S)

    assert "unreachable" == told.value.kind


@pytest.mark.parametrize("url", ["", "ftp://a", "http://", "http://a:b", "http://a:99999", "http://u:p@a/", "//a"])
def test_what_is_no_address_is_refused(url: str) -> None:
    """A slip in the environment is an error with its text, not a request to somewhere."""
    with pytest.raises(Unanswered, match="is not"):
        Endpoint.parse(url)


# EC2.


def test_an_instance_is_known_in_full() -> None:
    """Everything that GuardDuty's instanceDetails want, from the documents of a real service."""
    with Server(metadata.serves_imds(metadata.imds())) as server:
        found = Imds(imds.endpoint(server.url)).instance()

    [interface] = found.interfaces
    assert (INSTANCE_ID, "m6i.large", "ami-0abcdef1234567890") == (found.id, found.type, found.image_id)
    assert (metadata.ACCOUNT, "us-east-1", "us-east-1a", "aws") == (
        found.account_id,
        found.region,
        found.availability_zone,
        found.partition,
    )
    assert ("arn:aws:iam::111122223333:instance-profile/node", "AIPAABCDEFGHIJKLMNOPQ") == (
        found.profile_arn,
        found.profile_id,
    )
    assert ("eni-0123456789abcdef0", ("10.0.1.5", "10.0.1.6"), "192.0.2.7", ("2001:db8::5",)) == (
        interface.id,
        interface.private_addresses,
        interface.public_address,
        interface.ipv6_addresses,
    )
    assert [("sg-0a", "web"), ("sg-0b", "ssh from office")] == [(one.id, one.name) for one in interface.security_groups]
    assert (Tag(key="Name", value="web-1"), Tag(key="eks:cluster-name", value=CLUSTER)) == found.tags
    assert found.outpost_arn is None


def test_an_instance_that_says_little_is_still_known() -> None:
    """Without tags, profile and partition there is an id, and nothing is invented."""
    few = {name: None for name in metadata.imds() if name.startswith("meta-data/")}
    with Server(metadata.serves_imds(metadata.imds(**few))) as server:
        found = Imds(imds.endpoint(server.url)).instance()

    assert (INSTANCE_ID, (), (), None, None) == (
        found.id,
        found.interfaces,
        found.tags,
        found.profile_arn,
        found.partition,
    )


def test_the_sdks_variable_names_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_EC2_METADATA_SERVICE_ENDPOINT is honoured, and [host] ec2_endpoint stands before it."""
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://192.0.2.1:81/")
    assert Endpoint("192.0.2.1", 81, "", tls=False) == imds.endpoint(None)
    assert Endpoint("192.0.2.2", 80, "", tls=False) == imds.endpoint("http://192.0.2.2")

    monkeypatch.delenv("AWS_EC2_METADATA_SERVICE_ENDPOINT")
    assert Endpoint("169.254.169.254", 80, "", tls=False) == imds.endpoint(None)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6")
    assert Endpoint("fd00:ec2::254", 80, "", tls=False) == imds.endpoint(None)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("where", ["api/token", "dynamic/instance-identity/document", "meta-data/iam/info"])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_metadata_service_ends_in_time(name: str, where: str) -> None:
    """At whatever step it goes bad, the end is an error in words, or what could be known: never a hang."""
    with Server(metadata.serves_imds(metadata.imds(), {where: BAD[name]})) as server:
        began_s = time.monotonic()
        service = Imds(imds.endpoint(server.url))
        if where == "meta-data/iam/info":
            assert INSTANCE_ID == service.instance().id
            assert service.missed == (name not in {"lying", "empty"})  # a document without a profile is one
        elif name != "empty":
            with pytest.raises(Unanswered):
                service.instance()

    assert time.monotonic() - began_s < 20 * SOON_S


@pytest.mark.usefixtures("quick")
def test_a_token_that_does_not_come_back_points_at_the_hop_limit() -> None:
    """In a container on a bridge that is the reason, and an operator is told what to change."""
    silent = Server(metadata.serves_imds(metadata.imds(), {"api/token": BAD["silent"]}))
    with silent as server, pytest.raises(Unanswered, match="raise HttpPutResponseHopLimit to 2"):
        Imds(imds.endpoint(server.url)).instance()


def test_lies_are_left_out_and_bounded() -> None:
    """What cannot be an id or an address is not one, and nothing is longer than it may be."""
    mac = f"meta-data/network/interfaces/macs/{metadata.MAC}"
    lies = {
        f"{mac}/public-ipv4s": "999.1.1.1",
        f"{mac}/local-ipv4s": "\n".join(f"10.0.{i // 250}.{i % 250}" for i in range(2000)),
        f"{mac}/vpc-id": "vpc-\x1b[31m",
        f"{mac}/security-groups": "x" * 20_000,
        "meta-data/tags/instance": "\n".join(f"k{i}" for i in range(1000)),
        "meta-data/tags/instance/k0": "v" * 60_000,
        "meta-data/network/interfaces/macs": "\n".join([f"{metadata.MAC}/", "../../user-data", "zz"]),
    }
    with Server(metadata.serves_imds(metadata.imds(**lies))) as server:
        found = Imds(imds.endpoint(server.url)).instance()

    [interface] = found.interfaces
    assert (None, None, imds.ADDRESSES) == (
        interface.public_address,
        interface.vpc_id,
        len(interface.private_addresses),
    )
    assert 512 == len(interface.security_groups[0].name or "")
    assert (50, 256) == (len(found.tags), max(len(tag.value) for tag in found.tags))


def test_other_hardware_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off AWS not one packet goes to the metadata address; where it cannot be told, it is tried."""
    assert imds.pointless(None, tmp_path) is None
    (tmp_path / "sys_vendor").write_text("QEMU\n")
    assert "not an EC2 instance: its hardware says 'QEMU'" == imds.pointless(None, tmp_path)
    assert imds.pointless("http://127.0.0.1", tmp_path) is None
    (tmp_path / "bios_version").write_text("4.11.amazon\n")
    assert imds.pointless(None, tmp_path) is None
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "AWS_EC2_METADATA_DISABLED is set" == imds.pointless("http://127.0.0.1", tmp_path)


def test_where_nobody_answers_nobody_is_asked_again_soon(closing: list[Any]) -> None:
    """A host that is no instance asks once and then leaves it for an hour; health says so."""
    with Server(lambda _: (200, b"")) as server:
        gone = server.url
    counters = Counters()
    instance = Instance(ask="always", endpoint=gone, counters=counters)
    closing.append(instance)
    instance.start()
    eventually(lambda: counters.get("place.ec2_unreachable"))

    eventually(lambda: "no instance metadata" in instance.standing.detail)
    assert instance.standing.known is None
    assert survey.AGAIN_S == instance._failed(Unanswered("unreachable", "x"))
    assert survey.AGAIN_S == instance._failed(Unanswered("refused", "switched off", 403))
    assert survey.AGAIN_S > instance._failed(Unanswered("refused", "busy", 503))


def test_an_instance_stays_known_when_the_service_fails_later(closing: list[Any]) -> None:
    """What was learned is not forgotten, so that findings do not lose their instance."""
    with Server(metadata.serves_imds(metadata.imds())) as server:
        instance = Instance(ask="auto", endpoint=server.url, counters=Counters())
        closing.append(instance)
        instance.start()
        eventually(lambda: instance.known)
    instance._look()

    assert instance.known is not None
    assert (INSTANCE_ID, True) == (instance.known.id, instance.standing.known)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"#!/bin/bash\n/etc/eks/bootstrap.sh {CLUSTER} --b64-cluster-ca xyz", CLUSTER),
        (f"/etc/eks/bootstrap.sh '{CLUSTER}'", CLUSTER),
        (f"apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec:\n  cluster:\n    name: {CLUSTER}\n", CLUSTER),
        ("/etc/eks/bootstrap.sh ${CLUSTER_NAME}", None),
        ("nothing of the kind", None),
        ("kind: NodeConfig " * 4000, None),
        ("/etc/eks/bootstrap.sh " + "\t" * 60_000, None),
    ],
)
def test_user_data_names_the_cluster(text: str, name: str | None) -> None:
    """As the bootstrap script or nodeadm is called; what is no name is none."""
    found = survey._by_user_data(text.encode())

    assert name == (found and found.name)


def test_the_first_who_names_the_cluster_is_named_too() -> None:
    """Configuration stands before a label, a label before the instance; any of AWS's says that it is EKS."""
    label = survey.by_label({"alpha.eksctl.io/cluster-name": "by-label"})
    configured = survey.Named("mine", "configuration", eks=False)

    assert KubernetesCluster(name="mine", source="configuration", eks=True) == survey.cluster(configured, label)
    assert KubernetesCluster(name="mine", source="configuration", eks=False) == survey.cluster(configured, None)
    assert survey.cluster(None, None) is None


# ECS.


def test_a_fargate_task_is_known_in_full() -> None:
    """Cluster, task, definition, group, times, containers and tags, of the endpoint of version 4."""
    with Server(metadata.serves_task(metadata.task())) as server:
        found = TaskMetadata(Endpoint.parse(f"{server.url}/v4/xyz")).task()

    assert found.cluster is not None
    assert (CLUSTER, f"arn:aws:ecs:us-east-1:111122223333:cluster/{CLUSTER}") == (found.cluster.name, found.cluster.arn)
    assert (metadata.TASK_ARN, "FARGATE", "service:web-service", "26") == (
        found.arn,
        found.launch_type,
        found.group,
        found.revision,
    )
    assert "arn:aws:ecs:us-east-1:111122223333:task-definition/web:26" == found.definition_arn
    assert 1_795_510_864_500_000_000 == found.started_at_ns  # date -u -d 2026-11-24T09:01:04.5Z +%s
    assert ["nginx"] == [one.name for one in found.containers]
    assert (Tag(key="team", value="shop"),) == found.tags


def test_a_task_without_the_right_to_tags_goes_without() -> None:
    """taskWithTags is refused where ecs:ListTagsForResource is: the rest is still known."""
    with Server(metadata.serves_task(metadata.task(), tags=False)) as server:
        found = TaskMetadata(Endpoint.parse(f"{server.url}/v4/xyz")).task()

    assert (metadata.TASK_ARN, ()) == (found.arn, found.tags)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", BAD)
def test_a_bad_task_endpoint_ends_in_time(name: str) -> None:
    """Whatever it does, it is an error in words."""
    with Server(lambda _: BAD[name]) as server:
        began_s = time.monotonic()
        with pytest.raises(Unanswered):
            TaskMetadata(Endpoint.parse(server.url)).task()

    assert time.monotonic() - began_s < 10 * SOON_S


@pytest.mark.parametrize(
    "lie", [{"TaskARN": "x"}, {"TaskARN": None}, {"Containers": {}}, {"Containers": [{"Name": 5}]}, {"TaskTags": []}]
)
def test_a_task_of_another_shape_is_refused(lie: dict[str, Any]) -> None:
    """Strictly decoded: no field is guessed."""
    with pytest.raises(Unanswered):
        ecs.task_of(json.dumps(metadata.task(**lie)).encode())


def test_containers_of_an_instance_get_their_task(closing: list[Any]) -> None:
    """The ECS agent is asked once a container, beside everything else; the cluster's ARN is put together."""
    counters = Counters()
    with Server(metadata.serves_introspection("c" * 64)) as server:
        tasks = Tasks(server.url, counters=counters)
        closing.append(tasks)
        assert (None, True) == tasks.of("c" * 64)
        found = eventually(lambda: tasks.of("c" * 64)[0])
        stranger = eventually(lambda: (tasks.of("d" * 64), tasks.of("d" * 64)[1])[1] is False)

    assert stranger
    assert (metadata.TASK_ARN, "web", "26") == (found.arn, found.family, found.revision)
    assert f"arn:aws:ecs:us-east-1:111122223333:cluster/{CLUSTER}" == found.cluster.arn
    assert 1 == sum("c" * 64 in path for path in server.paths())
    assert 1 == counters.get("place.ecs_refused")


def test_a_flood_of_containers_stays_bounded(monkeypatch: pytest.MonkeyPatch, closing: list[Any]) -> None:
    """Whoever starts containers without end makes no table grow and nobody wait."""
    monkeypatch.setattr("agent.enrich.place.tasks.KEPT", 8)
    counters = Counters()
    with Server(lambda _: BAD["silent"]) as server:
        tasks = Tasks(server.url, counters=counters)
        closing.append(tasks)
        for number in range(500):
            tasks.of(f"{number:064x}")

        assert tasks.size() <= 8
        assert counters.get("place.ecs_queue_full") > 300


# Kubernetes.


def test_the_documents_are_those_of_kubernetes() -> None:
    """What these tests feed has the shape that Kubernetes' own OpenAPI demands."""
    kubernetes_validate.validate(metadata.pod(), kubernetes_validate.latest_version(), strict=True)


def test_pods_are_listed_watched_and_remembered(token: Path, closing: list[Any]) -> None:
    """In pages, then by changes; a pod that is deleted is known for a while; a watch that is too old lists again."""
    counters = Counters()
    api = metadata.ApiServer(metadata.pod(), metadata.pod("uid-2", "other", "102"))
    with Server(api) as server:
        known = watched(server, token, counters)
        closing.append(known)
        known.start()
        first = eventually(lambda: known.workload(POD_UID)[0])
        assert ("Deployment", "web", "deployment-uid", "shop") == (first.kind, first.name, first.uid, first.namespace)
        assert eventually(lambda: known.workload("uid-2")[0])

        api.change("ADDED", metadata.pod("uid-3", "new", "103"))
        assert eventually(lambda: known.workload("uid-3")[0]).pod_name == "new"
        api.change("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "150"}})
        api.change("DELETED", metadata.pod("uid-3", "new", "151"))
        api.end_watch()
        eventually(lambda: any("resourceVersion=151" in path for path in server.paths()))
        assert known.workload("uid-3")[0] is not None

        api.pods = [metadata.pod("uid-4", "after", "201")]
        api.change("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
        assert eventually(lambda: known.workload("uid-4")[0])
        assert known.workload(POD_UID)[0] is not None
        assert 1 == counters.get("place.pods_relisted")
        assert [path for path in server.paths() if "continue=1" in path]
    assert 1 == sum("replicasets" in path for path in server.paths())


def test_without_the_right_to_owners_a_label_tells(token: Path, closing: list[Any]) -> None:
    """A Deployment is known by pod-template-hash; its uid is then unknown, not invented."""
    api = metadata.ApiServer(metadata.pod())
    api.denied = ("replicasets", "nodes")
    with Server(api) as server:
        known = watched(server, token, Counters())
        closing.append(known)
        known.start()
        found = eventually(lambda: known.workload(POD_UID)[0])

    assert ("Deployment", "web", None) == (found.kind, found.name, found.uid)


def test_a_cronjob_owns_its_jobs_pods(token: Path, closing: list[Any]) -> None:
    """Two steps up, where the API server may be asked."""
    owner = [{"apiVersion": "batch/v1", "kind": "Job", "name": "nightly-1", "uid": "j", "controller": True}]
    with Server(metadata.ApiServer(metadata.pod(ownerReferences=owner))) as server:
        known = watched(server, token, Counters())
        closing.append(known)
        known.start()
        found = eventually(lambda: known.workload(POD_UID)[0])

    assert ("CronJob", "nightly", "cron-uid") == (found.kind, found.name, found.uid)


def test_a_refused_token_says_what_it_needs(token: Path, closing: list[Any]) -> None:
    """Health names the permission, and findings do not wait for what will not come."""
    counters = Counters()
    with Server(metadata.ApiServer(token="another")) as server:
        known = watched(server, token, counters)
        closing.append(known)
        known.start()
        eventually(lambda: known.standing.known is False)

    assert "answers 401: its token needs list and watch on pods" in known.standing.detail
    assert (None, False) == known.workload(POD_UID)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", BAD)
def test_a_bad_api_server_ends_in_time(name: str, token: Path) -> None:
    """It is asked again with patience, counted, and told in health; the thread ends when it should."""
    counters = Counters()
    with Server(lambda _: BAD[name]) as server:
        known = watched(server, token, counters)
        known.start()
        eventually(lambda: known.standing.known is False)
        began_s = time.monotonic()
        known.close()

    assert time.monotonic() - began_s < 10 * SOON_S
    assert 1 == len([name for name in counters.snapshot() if name.startswith("place.kubernetes_")])


@pytest.mark.usefixtures("quick")
def test_a_watch_that_sends_a_line_without_end_is_given_up(
    token: Path, closing: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was listed stays known."""
    monkeypatch.setattr(asking, "LINE_BYTES", 4096)
    counters = Counters()
    api = metadata.ApiServer(metadata.pod())
    with Server(api) as server:
        known = watched(server, token, counters)
        closing.append(known)
        known.start()
        eventually(lambda: known.workload(POD_UID)[0])
        api.change("ADDED", metadata.pod("uid-5", "big", labels={"a": "x" * 10_000}))
        eventually(lambda: counters.get("place.kubernetes_broken"))

    assert known.workload(POD_UID)[0] is not None


def test_a_kubelet_is_asked_when_a_pod_is_new(token: Path, closing: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a watch, one question for all pods, when one turns up that nobody knows; static pods by their own uid."""
    monkeypatch.setattr("agent.enrich.place.watching.ANEW_S", 0.01)
    static = metadata.pod("mirror", "etcd-node-1", annotations={"kubernetes.io/config.hash": "f" * 32})
    listed = [static]
    with Server(lambda _: (200, json.dumps({"kind": "PodList", "items": listed}).encode())) as server:
        known = Asked(Kubelet(Endpoint.parse(server.url), Credentials(token, None)), counters=Counters())
        closing.append(known)
        known.start()
        found = eventually(lambda: known.workload("f" * 32)[0])
        assert ("etcd-node-1", "web", None) == (found.pod_name, found.name, found.uid)

        listed.append(metadata.pod())
        assert eventually(lambda: known.workload(POD_UID)[0])
    assert {"/pods"} == set(server.paths())
    assert "Bearer token" == server.asked[0].headers["Authorization"]


def test_a_pod_is_known_as_its_document_says() -> None:
    """Host namespaces, service account, volumes, mounts, security and ids of containers."""
    pod = decoded(json.dumps(metadata.pod()).encode(), Pod)
    found = pods.workload(pod, None)

    [container] = found.containers
    assert (True, True, False, "web-account", "node-1") == (
        found.host_network,
        found.host_pid,
        found.host_ipc,
        found.service_account,
        found.node,
    )
    assert ("c" * 64, True, True, "/data") == (
        container.id,
        container.privileged,
        container.allow_privilege_escalation,
        container.mounts[0].mount_path,
    )
    assert [("data", "/srv/data"), ("tmp", None)] == [(one.name, one.host_path) for one in found.volumes]
    assert ("Pod", POD_UID) == (found.kind, found.uid)


def test_a_huge_pod_is_cut_to_size() -> None:
    """A megabyte of label, a thousand containers, escapes for a terminal: bounded, and only ids must be plain."""
    huge = metadata.pod(name="n" * 100_000, labels={f"k{i}\x1b[2J": "v" * 1_000_000 for i in range(3)} | {"a": "<b>"})
    huge["spec"]["containers"] = [{"name": f"c{i}", "image": "i" * 5000} for i in range(1000)]
    huge["status"]["containerStatuses"][0]["containerID"] = "containerd://\x1b]0;x\x07"
    found = pods.workload(decoded(json.dumps(huge).encode(), Pod), None)

    assert (253, 32, 512) == (len(found.pod_name), len(found.containers), len(found.containers[0].image or ""))
    assert max(len(label.value) for label in found.labels) == 256
    assert {one.id for one in found.containers} == {None}


def test_pods_that_come_and_go_without_end_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither table grows over its limit, and what was pushed out is counted."""
    monkeypatch.setattr("agent.enrich.place.watching.PODS", 16)
    monkeypatch.setattr("agent.enrich.place.watching.GONE", 16)
    counters = Counters()
    table = Pods(counters)
    for number in range(100):
        pod = decoded(json.dumps(metadata.pod(f"uid-{number}")).encode(), Pod)
        table.put(pod, pods.workload(pod, None))
        if number % 2:
            table.remove(pod, float(number))

    assert table.size() <= 32
    assert counters.get("enrich.evicted_pods") > 0
