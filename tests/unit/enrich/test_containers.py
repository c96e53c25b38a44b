from __future__ import annotations

import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import strategies as st

from agent.enrich.containers import Identified
from agent.enrich.containers import Namespaces
from agent.enrich.containers import container_id
from agent.enrich.containers import identify
from agent.enrich.containers import plain_id

ID, OTHER = "4f" * 32, "a1" * 32
TASK = "0123456789abcdef0123456789abcdef"
UID = "2b9ee5a4-7f0a-4c1f-8a53-1f8a3f0f0d11"
UID_ = UID.replace("-", "_")
HOST, OWN = Namespaces(10, 11), Namespaces(20, 21)
USER = "/user.slice/user-1000.slice"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/init.scope",
        "/system.slice/systemd-logind.service",
        "/system.slice/docker.service",
        "/system.slice/containerd.service",
        f"{USER}/session-3.scope",
        f"{USER}/user@1000.service/app.slice/app-flatpak-org.mozilla.firefox-77.scope",
        pytest.param("/process_api/a0bc7002cea7bd3e1737e89643d890a7", id="32 digits are not an id"),
        "/kubepods.slice",
        f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice",
        pytest.param(f"/machine.slice/libpod-conmon-{ID}.scope", id="podman's monitor"),
        pytest.param(f"/kubepods.slice/crio-conmon-{ID}.scope", id="cri-o's monitor"),
        pytest.param(f"/docker/{ID[:-1]}", id="63 digits"),
        pytest.param(f"/docker/{ID}0", id="65 digits"),
        pytest.param(f"/docker/{ID.upper()}", id="engines write lower case"),
        pytest.param(f"/docker/{ID}\n", id="newline at the end"),
        pytest.param(f"/docker\n/x{ID}", id="newline inside"),
        pytest.param(f"/ecs/{TASK}", id="the task itself"),
        pytest.param(f"/ecs/{TASK}/{'1' * 32}-7", id="Fargate's id begins with its task"),
        "/web",
        "/default/web",
        pytest.param("/" + "x" * 10_000, id="10,000 characters"),
        pytest.param("/a" * 5_000 + f"/docker/{ID}", id="deeper than any engine puts it"),
    ],
)
def test_what_no_engine_wrote_is_not_a_container_by_its_path(path: str) -> None:
    """A host's services, sessions and monitors are never called containers for their path alone."""
    assert container_id(path) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/docker/{ID}", Identified(ID, "docker")),
        (f"/system.slice/docker-{ID}.scope", Identified(ID, "docker")),
        (f"{USER}/user@1000.service/docker-{ID}.scope", Identified(ID, "docker")),
        pytest.param(f"/custom/{ID}", Identified(ID), id="docker run --cgroup-parent"),
        (f"/moby/{ID}", Identified(ID, "docker")),
        (f"/k8s.io/{ID}", Identified(ID, "containerd")),
        (f"/system.slice/nerdctl-{ID}.scope", Identified(ID, "containerd")),
        (f"/system.slice/cri-containerd-{ID}.scope", Identified(ID, "containerd")),
        (f"/machine.slice/libpod-{ID}.scope", Identified(ID, "podman")),
        (f"/machine.slice/libpod-{ID}.scope/container", Identified(ID, "podman")),
        (f"/libpod_parent/libpod-{ID}", Identified(ID, "podman")),
        (f"{USER}/user@1000.service/user.slice/libpod-{ID}.scope/container", Identified(ID, "podman")),
        pytest.param(f"/machine.slice/libpod-payload-{ID}", Identified(ID, "podman"), id="crun under podman"),
        (
            f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope",
            Identified(ID, "containerd", UID),
        ),
        (f"/kubepods.slice/kubepods-pod{UID_}.slice/crio-{ID}.scope", Identified(ID, "cri-o", UID)),
        (f"/kubepods.slice/kubepods-besteffort-pod{UID_}.slice/docker-{ID}.scope", Identified(ID, "docker", UID)),
        (f"/kubepods/burstable/pod{UID}/{ID}", Identified(ID, None, UID)),
        (f"/kubepods/besteffort/pod{UID}/crio-{ID}", Identified(ID, "cri-o", UID)),
        pytest.param(f"/kubepods/pod{TASK}/{ID}", Identified(ID, None, TASK), id="static pod"),
        pytest.param(f"/pod{UID}/{ID}", Identified(ID), id="a pod is one below kubepods only"),
        pytest.param(
            f"/system.slice/kubepods-burstable-pod{UID_}.slice:cri-containerd:{ID}",
            Identified(ID, "containerd", UID),
            id="containerd without SystemdCgroup under a systemd kubelet",
        ),
        (f"/ecs/{TASK}/{ID}", Identified(ID, "ecs", None, TASK)),
        (f"/ecs/{UID}/{ID}", Identified(ID, "ecs", None, UID)),
        (f"/ecs/{TASK}/{TASK}-1234567890", Identified(f"{TASK}-1234567890", "ecs", None, TASK)),
        (f"/ecstasks.slice/ecstasks-{TASK}.slice/docker-{ID}.scope", Identified(ID, "docker", None, TASK)),
        pytest.param(f"/docker/{ID}/docker/{OTHER}", Identified(ID, "docker"), id="outermost: Docker in Docker"),
        pytest.param(
            f"/docker/{ID}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UID_}.slice/cri-containerd-{OTHER}.scope",
            Identified(ID, "docker"),
            id="outermost: a pod of a kind cluster",
        ),
        pytest.param(f"/../docker/{ID}", Identified(ID, "docker"), id="seen from a sibling's cgroup namespace"),
    ],
)
def test_an_engines_path_names_the_container(path: str, expected: Identified) -> None:
    """Every engine that the product names is told by the path it writes, with pod and task where it says so."""
    assert expected == container_id(path)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/init.scope",
        pytest.param("/system.slice/cron.service", id="PrivateTmp and PrivatePIDs"),
        f"{USER}/session-3.scope",
        pytest.param(f"{USER}/user@1000.service/app.slice/app-flatpak-org.x-77.scope", id="flatpak"),
        pytest.param(f"{USER}/user@1000.service/app.slice/app-google-chrome-1.scope", id="a browser's sandbox"),
        f"{USER}/user@1000.service/tmux-spawn-5.scope",
        "/..",
    ],
)
def test_units_of_systemd_name_no_container(path: str) -> None:
    """A sandbox in a service or session is not a container, though it has namespaces of its own."""
    assert plain_id(path) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/web", Identified("web")),
        pytest.param("/web/docker-" + "b" * 10, Identified("web"), id="outermost"),
        ("/default/web", Identified("web")),
        pytest.param("/default", Identified("default"), id="a container of that name"),
        (f"{USER}/web", Identified("web")),
        pytest.param("/system.slice/ci.service/web", Identified("web"), id="runc run by a service"),
        ("/system.slice/runc-web.scope", Identified("web", "runc")),
        (f"{USER}/user@1000.service/user.slice/crun-web.scope", Identified("web", "crun")),
        ("/machine.slice/machine-deb.scope", Identified("deb")),
        ("/lxc/deb", Identified("deb")),
        pytest.param("/" + "x" * 300, Identified("x" * 255), id="longer than a name may be"),
    ],
)
def test_a_plain_path_names_the_container_by_its_outermost_directory(path: str, expected: Identified) -> None:
    """Bare runc and crun are known by the name that the operator gave."""
    assert expected == plain_id(path)


@pytest.mark.parametrize(
    ("path", "own", "sandboxed"),
    [
        pytest.param(None, OWN, False, id="no path"),
        pytest.param("/web", HOST, False, id="the host's namespaces"),
        pytest.param("/process_api/a0bc7002cea7bd3e1737e89643d890a7", HOST, False, id="a supervisor's own cgroup"),
        pytest.param("/web", Namespaces(20, 11), False, id="PrivateTmp: one of two"),
        pytest.param("/web", Namespaces(10, 21), False, id="unshare --pid: one of two"),
        pytest.param("/web", Namespaces(20, None), False, id="one unknown"),
        pytest.param("/web", OWN, True, id="a host process above it has the same cgroup"),
        pytest.param("/system.slice/x.service", OWN, False, id="a service"),
    ],
)
def test_a_plain_path_alone_makes_no_container(path: str | None, own: Namespaces, *, sandboxed: bool) -> None:
    """Without an engine's id, both namespaces and a cgroup of its own are asked for."""
    assert identify(path, own, HOST, sandboxed=lambda: sandboxed) is None


def test_both_namespaces_and_an_own_cgroup_make_a_container() -> None:
    """Bare runc's container is recognised, which no path pattern could do."""
    assert Identified("web") == identify("/web", OWN, HOST, sandboxed=lambda: False)


def test_an_engines_id_decides_whatever_the_namespaces() -> None:
    """A privileged pod with the host's pid namespace is a container nevertheless."""
    assert Identified(ID, "docker") == identify(f"/docker/{ID}", HOST, HOST, sandboxed=lambda: True)


def test_unknown_host_namespaces_leave_the_engines_ids() -> None:
    """Where process 1 cannot be looked at, nothing is guessed from namespaces."""
    assert identify("/web", OWN, Namespaces(None, None), sandboxed=lambda: False) is None


PIECES = ("/", "\n", "..", "docker", "docker-", ".scope", ".slice", "kubepods", f"pod{UID}", "ecs", TASK, ID, "\0", "é")


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=60).map("".join))
@example("/" * 10_000)
@example("docker-" * 2_000)
@example(f"/kubepods/pod{UID}" * 200)
def test_hostile_paths_give_a_bounded_answer(path: str) -> None:
    """Whatever a path holds, the answer is None or an id that is safe to store and to show in a table."""
    for found in (container_id(path), plain_id(path)):
        assert found is None or (0 < len(found.id) <= 255 and "/" not in found.id)
        assert found is None or found.id in path


@given(inner=st.text(max_size=200))
def test_nothing_below_a_container_changes_its_identity(inner: str) -> None:
    """A container that writes into its own cgroup cannot pass as another one."""
    assert Identified(ID, "docker") == container_id(f"/docker/{ID}/{inner}")
