"""Findings and events as agents send them, a word each."""

from __future__ import annotations

from collector.aggregate import Origin
from vedette.v1 import event_pb2
from vedette.v1 import finding_pb2
from vedette.v1 import place_pb2

SECOND_NS = 1_000_000_000
NOW_NS = 1_788_220_800 * SECOND_NS
"""2026-09-01T00:00:00Z."""

ORIGIN = Origin(
    account_id="111122223333",
    region="us-east-1",
    detector_id="d" * 32,
    host_id="i-0123456789abcdef0",
    host_name="web-1",
    agent_version="0.1.0",
    place=place_pb2.Place(instance=place_pb2.Ec2Instance(id="i-0123456789abcdef0")),
)


def process(tgid: int = 41, path: str = "/usr/bin/curl") -> finding_pb2.Process:
    """Return a process that is known in full."""
    return finding_pb2.Process(
        tgid=tgid,
        started_ticks=100,
        uuid=f"{tgid:032x}",
        parent_uuid=f"{tgid - 1:032x}",
        path=path,
        name=path.rpartition("/")[2],
        cwd="/tmp",
        started_at_ns=NOW_NS + 1_500_000,
        ns_tgid=7,
        uid=1000,
        euid=0,
        gid=1000,
        egid=0,
        user="alice",
        container_id="c" * 64,
    )


def finding(sequence: int = 1, **fields: object) -> finding_pb2.Finding:
    """Return a DNS finding of one process, with `fields` set otherwise."""
    made = finding_pb2.Finding(
        sequence=sequence,
        type="CryptoCurrency:Runtime/BitcoinTool.B!DNS",
        severity=8.0,
        title="curl asked for a mining pool",
        at_ns=NOW_NS,
        event_kind="dns_query",
        event_time_ns=77,
        process=process(),
        lineage=[process(40, "/bin/sh"), process(1, "/sbin/init")],
        attack="T1496",
        evidence=finding_pb2.Evidence(reason="pool.example.org is on a list", domain="pool.example.org"),
    )
    made.MergeFrom(finding_pb2.Finding(**fields))  # type: ignore[arg-type]  # the fields of many types
    return made


def full_evidence() -> finding_pb2.Evidence:
    """Return evidence in which every field is set."""
    return finding_pb2.Evidence(
        reason="because",
        modifying_process=process(50, "/usr/bin/wget"),
        modified_at_ns=NOW_NS + 250_000_000,
        script_path="/tmp/x.sh",
        library_path="/tmp/evil.so",
        ld_preload_value="/tmp/evil.so",
        address_family="AF_INET",
        iana_protocol_number=17,
        target_process=process(60, "/usr/sbin/sshd"),
        tool_name="nmap",
        tool_category="Network Scanner",
        command_line_example="nmap TARGET",
        threat_file_path="/tmp/miner",
        file_path="/etc/passwd",
        flags=["ro", "bind"],
        domain="pool.example.org",
        socket=event_pb2.Socket(
            protocol=6,
            local_address="10.0.0.5",
            local_port=40000,
            remote_address="2001:db8::1",
            remote_port=4444,
            cookie=9,
        ),
        connection_direction="OUTBOUND",
        socket_path="/run/docker.sock",
        runc_binary_path="/usr/sbin/runc",
        release_agent_path="/sys/fs/cgroup/rdma/release_agent",
        mount_source="/dev/sda1",
        mount_target="/mnt",
        file_system_type="ext4",
        module_name="rootkit",
        module_file_path="/tmp/rootkit.ko",
        module_sha256="b" * 64,
        shell_history_file_path="/root/.bash_history",
        memory_regions=["stack"],
        service_name="auditd",
        file_operation="Write",
        related_file_paths=["/etc/shadow"],
        result=-1,
        severity=5.0,
        signals=[finding_pb2.Signal(name="program_in_shared_directory", reason="ran in /tmp", at_ns=NOW_NS)],
        threats=[finding_pb2.Threat(list_name="pools", entry="example.org", names=["Pool"], sha256="a" * 64)],
    )


def container() -> event_pb2.Container:
    """Return a Kubernetes container."""
    return event_pb2.Container(
        id="c" * 64,
        runtime="containerd",
        pod_uid="4f1c6d1e-0000-0000-0000-000000000001",
        started_at_ns=NOW_NS,
        name="shop",
        image="registry.example:5000/team/shop:1.2",
        image_digest=f"sha256:{'d' * 64}",
        labels=[event_pb2.Label(key="tier", value="front")],
        mounts=[
            event_pb2.VolumeMount(mount_path="/data", host_path="/srv/data"),
            event_pb2.VolumeMount(mount_path="/tmp"),
        ],
        privileged=False,
        pod_name="shop-7d9f",
        pod_namespace="trade",
        trimmed=True,
    )


def event(sequence: int, at_ns: int = NOW_NS, **kind: object) -> event_pb2.Event:
    """Return an event of `kind`, an exit if none is given."""
    kind = kind or {"process_exit": event_pb2.ProcessExit(exit_code=0)}
    actor = event_pb2.Actor(tgid=41, tid=41, uuid="u" * 32, path="/usr/bin/curl", name="curl", container_id="c" * 64)
    return event_pb2.Event(sequence=sequence, time_ns=sequence, at_ns=at_ns, actor=actor, flags=["late"], **kind)  # type: ignore[arg-type]  # as above


def events(first: int, last: int, at_ns: int = NOW_NS) -> list[event_pb2.Event]:
    """Return exits numbered `first` to `last`."""
    return [event(sequence, at_ns) for sequence in range(first, last + 1)]


def place() -> place_pb2.Place:
    """Return an EKS node of which everything is known."""
    interface = place_pb2.NetworkInterface(
        id="eni-1",
        vpc_id="vpc-1",
        subnet_id="subnet-1",
        security_groups=[place_pb2.SecurityGroup(id="sg-1", name="web")],
        private_addresses=["10.0.1.5", "10.0.1.6"],
        public_address="192.0.2.7",
        ipv6_addresses=["2001:db8::5"],
        private_dns_name="ip-10-0-1-5.ec2.internal",
        public_dns_name="ec2-192-0-2-7.compute-1.amazonaws.com",
    )
    instance = place_pb2.Ec2Instance(
        id="i-0fedcba9876543210",
        type="m6i.large",
        image_id="ami-1",
        account_id="444455556666",
        region="eu-west-1",
        availability_zone="eu-west-1a",
        partition="aws",
        launched_at="2026-11-24T09:01:02Z",
        outpost_arn="arn:aws:outposts:eu-west-1:444455556666:outpost/op-1",
        profile_arn="arn:aws:iam::444455556666:instance-profile/node",
        profile_id="AIPA1",
        interfaces=[interface],
        tags=[place_pb2.Tag(key="Name", value="node-1")],
    )
    return place_pb2.Place(
        instance=instance,
        ecs=place_pb2.EcsCluster(name="prod", arn="arn:aws:ecs:eu-west-1:444455556666:cluster/prod"),
        kubernetes=place_pb2.KubernetesCluster(name="shop", source="instance tag", eks=True),
        standing=[place_pb2.Standing(name="ecs", detail="nobody was asked")],
    )


def declared() -> place_pb2.DeclaredContainer:
    """Return the container of `container` as its task or pod declares it."""
    return place_pb2.DeclaredContainer(
        name="nginx",
        id="c" * 64,
        image="registry.example/shop/nginx:1.25",
        privileged=True,
        allow_privilege_escalation=False,
        mounts=[place_pb2.DeclaredMount(name="data", mount_path="/data")],
    )


def workload() -> place_pb2.Workload:
    """Return a pod of a Deployment."""
    return place_pb2.Workload(
        kind="Deployment",
        name="web",
        uid="deployment-uid",
        namespace="shop",
        pod_name="web-6d4b75cb6d-hxk8m",
        pod_uid="4f1c6d1e-0000-0000-0000-000000000001",
        service_account="web-account",
        node="node-1",
        host_network=True,
        labels=[place_pb2.Tag(key="app", value="web")],
        containers=[declared()],
        volumes=[place_pb2.Volume(name="data", host_path="/srv/data"), place_pb2.Volume(name="tmp")],
    )


def task() -> place_pb2.EcsTask:
    """Return a task of a service on Fargate."""
    return place_pb2.EcsTask(
        arn="arn:aws:ecs:eu-west-1:444455556666:task/prod/158d1c8083dd49d6b527399fd6414f5c",
        cluster=place_pb2.EcsCluster(name="prod", arn="arn:aws:ecs:eu-west-1:444455556666:cluster/prod"),
        definition_arn="arn:aws:ecs:eu-west-1:444455556666:task-definition/web:26",
        family="web",
        revision="26",
        launch_type="FARGATE",
        group="service:web-service",
        created_at_ns=NOW_NS,
        started_at_ns=NOW_NS + 1_500_000_000,
        containers=[declared()],
        volumes=[place_pb2.Volume(name="data", host_path="/srv/data")],
        tags=[place_pb2.Tag(key="team", value="shop")],
    )
