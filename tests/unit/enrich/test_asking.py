"""Who says what a container is: files as runtimes write them, engines and impostors on sockets, whose word counts."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.counters import Counters
from agent.enrich.asking.arrivals import Arrivals
from agent.enrich.asking.asker import Answer
from agent.enrich.asking.asker import Asker
from agent.enrich.asking.docker import DockerSocket
from agent.enrich.asking.foretold import foretold
from agent.enrich.asking.said import ANSWER_BYTES
from agent.enrich.asking.said import NoAnswer
from agent.enrich.asking.said import Question
from agent.enrich.asking.said import TooLarge
from agent.enrich.asking.said import labels
from agent.enrich.asking.said import moment_ns
from agent.enrich.asking.said import mounts
from agent.enrich.asking.sources import Places
from agent.enrich.asking.states import States
from agent.enrich.asking.states import of_bundle
from agent.model import Process
from tests.unit.enrich.made import process

ID = "ab" * 32
WAIT_S = 20.0
CRIO = {
    "io.kubernetes.cri-o.ContainerType": "container",
    "io.kubernetes.cri-o.Metadata": '{"name":"shop","attempt":0}',
    "io.kubernetes.cri-o.ImageName": "quay.example/shop:1",
    "io.kubernetes.cri-o.Labels": json.dumps(
        {
            "io.kubernetes.pod.name": "shop-7d9f",
            "io.kubernetes.pod.namespace": "trade",
            "io.kubernetes.pod.uid": "4f1c",
            "io.kubernetes.container.name": "shop",
        }
    ),
}
INSPECTED = {
    "Id": ID,
    "Name": "/web",
    "Image": f"sha256:{'d' * 64}",
    "State": {"Pid": 0, "StartedAt": "2026-09-01T00:00:00.123456789Z"},
    "Config": {"Image": "nginx:1.25", "Labels": {"b": "2", "a": "1"}},
    "HostConfig": {"Privileged": True},
    "Mounts": [{"Source": "/srv", "Destination": "/data", "RW": False}],
}


def question(container_id: str = ID, **changes: Any) -> Question:
    return Question(container_id, None)._replace(**changes)


def written(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def states(tmp_path: Path) -> States:
    return States((f"{tmp_path}/runc",), (f"{tmp_path}/tasks",), rootless=True, run_user=f"{tmp_path}/user")


def runc_state(container_id: str, *words: str, cgroup: str = "/web") -> dict[str, Any]:
    return {
        "id": container_id,
        "init_process_pid": 4_000_000,
        "created": "2026-09-01T00:00:00Z",
        "config": {"labels": list(words), "mounts": [{"source": "/srv", "destination": "/data", "device": "bind"}]},
        "cgroup_paths": {"": f"/sys/fs/cgroup/unified{cgroup}"},
    }


def test_containerd_says_it_in_the_bundle_of_a_task(tmp_path: Path) -> None:
    """While the task is there its configuration names container, image and pod."""
    given = {
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": "shop",
        "io.kubernetes.cri.image-name": "quay.example/shop:1",
        "io.kubernetes.cri.sandbox-name": "shop-7d9f",
        "io.kubernetes.cri.sandbox-namespace": "trade",
        "io.kubernetes.cri.sandbox-uid": "4f1c",
    }
    volume = "/var/lib/kubelet/pods/4f1c/volumes/kubernetes.io~empty-dir/cache"
    mounted = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    mounted.append({"destination": "/cache", "type": "bind", "source": volume, "options": ["rbind", "ro"]})  # type: ignore[dict-item]  # a list beside text
    written(tmp_path / "tasks" / "k8s.io" / ID / "config.json", {"annotations": given, "mounts": mounted})

    said = states(tmp_path).ask(question())
    assert said is not None
    assert ("containerd", "shop", "quay.example/shop:1") == (said.runtime, said.name, said.image)
    assert ("shop-7d9f", "trade", "4f1c") == (said.pod_name, said.pod_namespace, said.pod_uid)
    assert said.mounts is not None
    [only] = said.mounts
    assert ("/cache", "cache", True) == (only.mount_path, only.name, only.read_only)


def test_cri_o_says_it_in_annotations(tmp_path: Path) -> None:
    """Its labels are JSON in an annotation, and name the pod."""
    bundle = written(tmp_path / "bundle" / "config.json", {"annotations": CRIO}).parent

    said = of_bundle(question(), str(bundle))
    assert ("cri-o", "shop", "quay.example/shop:1") == (said.runtime, said.name, said.image)
    assert ("shop-7d9f", "trade", "4f1c") == (said.pod_name, said.pod_namespace, said.pod_uid)


def test_runc_and_crun_say_it_in_their_state(tmp_path: Path) -> None:
    """A name that somebody chose is the name; the annotations are labels of runc's, or in the bundle of crun's."""
    image = "org.opencontainers.image.ref.name"
    written(tmp_path / "runc" / "web" / "state.json", runc_state("web", f"{image}=web:1"))
    bundle = written(tmp_path / "bundle" / "config.json", {"annotations": {image: "job:2"}}).parent
    written(tmp_path / "runc" / "job" / "status", {"pid": 1, "cgroup-path": "/job", "bundle": str(bundle)})

    web, job = (states(tmp_path).ask(question(name, cgroup_path=f"/{name}")) for name in ("web", "job"))
    assert web is not None
    assert job is not None
    assert ("web", "web:1", "runc", 4_000_000) == (web.name, web.image, web.runtime, web.pid)
    assert ("job", "job:2", "crun", 1) == (job.name, job.image, job.runtime, job.pid)


def test_the_state_of_another_cgroup_is_another_containers(tmp_path: Path) -> None:
    """A container that was put into the cgroup `/web` is not the one that is called web and lives elsewhere."""
    written(tmp_path / "runc" / "web" / "state.json", runc_state("web", cgroup="/elsewhere/foo"))

    assert states(tmp_path).ask(question("web", cgroup_path="/web")) is None


def test_a_users_state_counts_for_that_users_containers_alone(tmp_path: Path) -> None:
    """What a user writes below /run/user says nothing of root's container, nor does what another wrote for him."""
    place = written(tmp_path / "user" / "1000" / "runc" / "web" / "state.json", runc_state("web"))
    own = "/user.slice/user-1000.slice/user@1000.service/web"
    os.chown(place, 1000, 1000)

    ask = states(tmp_path).ask
    assert ask(question("web", uid=0, cgroup_path="/web")) is None
    assert ask(question("web", uid=1001, cgroup_path="/web")) is None
    assert ask(question("web", uid=1000, cgroup_path="/web")) is not None
    written(place, runc_state("web", cgroup=own))
    assert ask(question("web", uid=100_005, cgroup_path=own)) is not None
    os.chown(place, 1001, 1001)
    assert ask(question("web", uid=1000, cgroup_path=own)) is None


@pytest.mark.parametrize(
    ("content", "trouble"), [("{", NoAnswer), ("[" * 100_000, NoAnswer), ("x" * (ANSWER_BYTES + 1), TooLarge)]
)
def test_files_that_are_none_are_refused(tmp_path: Path, content: str, trouble: type[Exception]) -> None:
    """What does not parse, what nests without end, what is too large: each is a sentence and costs nothing."""
    path = tmp_path / "runc" / "web" / "state.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)

    with pytest.raises(trouble):
        states(tmp_path).ask(question("web"))


def test_a_pipe_and_a_link_are_not_read(tmp_path: Path) -> None:
    """Nobody can hold the reader up with a file that is none."""
    place = tmp_path / "runc" / "web"
    place.mkdir(parents=True)
    os.mkfifo(place / "state.json")
    written(tmp_path / "else", runc_state("job"))
    (tmp_path / "runc" / "job").mkdir()
    (tmp_path / "runc" / "job" / "state.json").symlink_to(tmp_path / "else")

    assert [None, None] == [states(tmp_path).ask(question(name)) for name in ("web", "job")]


def test_podmans_store_gives_name_and_image(tmp_path: Path) -> None:
    """The bundle lies in a store, whose list knows what the bundle does not."""
    bundle = tmp_path / "overlay-containers" / ID / "userdata"
    written(bundle / "config.json", {"annotations": {"io.container.manager": "libpod"}})
    metadata = json.dumps({"image-name": "nginx:1", "image-id": "d" * 64, "name": "web"})
    written(tmp_path / "overlay-containers" / "containers.json", [{"id": ID, "names": ["web"], "metadata": metadata}])
    written(tmp_path / "runc" / ID / "state.json", runc_state(ID, f"bundle={bundle}", "io.container.manager=libpod"))

    said = states(tmp_path).ask(question())
    assert said is not None
    assert ("podman", "web", "nginx:1", f"sha256:{'d' * 64}") == (
        said.runtime,
        said.name,
        said.image,
        said.image_digest,
    )


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("run", "--bundle", "/srv/b", "web"), ("web", "/srv/b")),
        (("--root", "/r", "create", "--bundle=/srv/b", "--pid-file", "/p", "web"), ("web", "/srv/b")),
        (("run", "web"), ("web", "/srv/here/.")),
        (("run", "-b", "b", "web"), ("web", "/srv/here/b")),
        (("state", "web"), None),
        (("run",), None),
        (("run", "../../etc"), None),
    ],
)
def test_who_makes_a_container_foretells_it(words: tuple[str, ...], found: tuple[str, str] | None) -> None:
    """The arguments of runc name container and bundle before either is a container."""
    told = foretold(started("runc", words))

    assert found == (None if told is None else (told[0].id, told[1]))


def test_what_is_called_otherwise_or_is_in_a_container_foretells_nothing() -> None:
    """Docker in docker makes containers of its own host, which is a container here."""
    words = ("run", "--bundle", "/srv/b", "web")

    assert foretold(started("cat", words)) is None
    assert foretold(msgspec.structs.replace(started("runc", words), container_id="outer")) is None


def started(name: str, words: tuple[str, ...]) -> Process:
    return msgspec.structs.replace(
        process(7), name=name, args=(name, *words), cwd="/srv/here", euid=0, container_id=None
    )


def test_what_is_kept_of_labels_is_bounded() -> None:
    """However many and long they are; the short ones are kept whole."""
    kept, trimmed = labels({"tier": "front", "huge": "x" * 1_000_000} | {f"k{n:04}": "v" * 99 for n in range(1000)})

    assert trimmed
    assert ("tier", "front") in {(label.key, label.value) for label in kept}
    assert sum(len(label.key) + len(label.value) for label in kept) <= 2_048
    assert (1, False) == (len(labels({"a": "b"})[0]), labels({"a": "b"})[1])


def test_what_is_kept_of_mounts_is_bounded() -> None:
    """A thousand mounts, or one with a name without end."""
    kept, trimmed = mounts((f"/m{n}", "/" + "x" * 600, False) for n in range(1000))

    assert trimmed
    assert len(kept) <= 32
    assert all(len(one.host_path or "") <= 512 for one in kept)


@pytest.mark.parametrize("stamp", [None, "", "yesterday", "0001-01-01T00:00:00Z", "9" * 1000])
def test_a_moment_that_is_none_is_unknown(stamp: str | None) -> None:
    """Go's zero time, and whatever is no time."""
    assert moment_ns(stamp) is None


@contextmanager
def engine(path: Path, answer: Callable[[socket.socket, bytes], None]) -> Iterator[None]:
    """Answer each connection on a unix socket as told."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
                with connection:
                    answer(connection, connection.recv(4096))
            except OSError:
                if server.fileno() < 0:
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(WAIT_S)


def replying(document: object, status: str = "200 OK") -> Callable[[socket.socket, bytes], None]:
    def answer(connection: socket.socket, _request: bytes) -> None:
        head = f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\n\r\n"
        connection.sendall((head + json.dumps(document)).encode())

    return answer


def test_docker_says_it_over_its_socket(tmp_path: Path) -> None:
    """Name, image, digest, labels, mounts, privileged and start, as `docker inspect` has them."""
    with engine(tmp_path / "s", replying(INSPECTED)):
        said = DockerSocket(str(tmp_path / "s"), WAIT_S).ask(question())

    assert said is not None
    assert ("docker", "web", "nginx:1.25", f"sha256:{'d' * 64}", True) == (
        said.runtime,
        said.name,
        said.image,
        said.image_digest,
        said.privileged,
    )
    assert said.labels is not None
    assert ["a", "b"] == [label.key for label in said.labels]
    assert said.mounts is not None
    assert [("/data", "/srv", True)] == [(one.mount_path, one.host_path, one.read_only) for one in said.mounts]
    assert 1_788_220_800_123_456_000 == said.started_at_ns


def test_docker_looks_names_up_too(tmp_path: Path) -> None:
    """A container that is called as another's id is not that other one; nor does docker answer for a plain name."""
    with engine(tmp_path / "s", replying(INSPECTED | {"Id": "f" * 64, "Name": f"/{ID}"})):
        ask = DockerSocket(str(tmp_path / "s"), WAIT_S).ask
        assert [None, None] == [ask(question()), ask(question("web"))]
    with engine(tmp_path / "t", replying({"message": "no such container"}, "404 Not Found")):
        assert DockerSocket(str(tmp_path / "t"), WAIT_S).ask(question()) is None


def dripping(connection: socket.socket, _request: bytes) -> None:
    """Say a byte now and then, for ever: no single read takes long."""
    for _ in range(1000):
        connection.sendall(b"H")
        time.sleep(0.02)


def flooding(connection: socket.socket, _request: bytes) -> None:
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    for _ in range(2 * ANSWER_BYTES >> 16):
        connection.sendall(b"x" * 65_536)


def hanging_up(connection: socket.socket, _request: bytes) -> None:
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(dripping, "no answer within 0.2 s", id="slow"),
        pytest.param(hanging_up, "no HTTP", id="silent"),
        pytest.param(replying([]), "does not say", id="another document"),
        pytest.param(replying({}, "500 Oops"), "status 500", id="refusing"),
    ],
)
def test_an_engine_that_is_none_costs_its_deadline_at_most(tmp_path: Path, answer: Any, why: str) -> None:
    """Whatever listens there, the question ends, with a reason."""
    with engine(tmp_path / "s", answer), pytest.raises(NoAnswer, match=why):
        DockerSocket(str(tmp_path / "s"), 0.2 if answer is dripping else WAIT_S).ask(question())


def test_an_answer_without_end_is_refused(tmp_path: Path) -> None:
    """It is not read to its end, and not kept."""
    with engine(tmp_path / "s", flooding), pytest.raises(TooLarge):
        DockerSocket(str(tmp_path / "s"), WAIT_S).ask(question())


def test_the_asker_tells_files_first_and_sockets_then(tmp_path: Path) -> None:
    """What is local comes at once; what the engine adds is merged; a process of another container is not believed."""
    bundle = {"annotations": {"org.opencontainers.image.ref.name": "x"}}
    written(tmp_path / "tasks" / "moby" / ID / "config.json", bundle)
    written(tmp_path / "runc" / "liar" / "state.json", runc_state("liar", cgroup="/liar"))
    counters = Counters()
    places = Places((), (f"{tmp_path}/s",), (), (f"{tmp_path}/runc",), (f"{tmp_path}/tasks",), timeout_s=WAIT_S)
    with engine(tmp_path / "s", replying(INSPECTED)):
        asker = Asker(places, counters=counters, holds=lambda pid, _: pid != 4_000_000)
        assert asker.ask(question())
        first, last = heard(asker, 2)
        assert asker.ask(question("liar"))
        [lie] = heard(asker, 1)
        asker.close()

    assert ("x", False) == (first.said and first.said.image, first.final)
    assert ("nginx:1.25", True) == (last.said and last.said.image, last.final)
    assert (None, True) == (lie.said, lie.final)
    assert (1, 1, 1) == tuple(counters.get(f"containers.{name}") for name in ("known", "failed", "mistaken"))


def test_what_was_foretold_counts_for_the_same_user_alone(tmp_path: Path) -> None:
    """A bundle that root's runc was given describes root's container, one of a user's does not."""
    bundle = written(tmp_path / "config.json", {"annotations": {"org.opencontainers.image.ref.name": "x:1"}}).parent
    places = Places((), (), (), (), ())
    asker = Asker(places, counters=Counters(), holds=lambda *_: True)
    asker.foretell(question("ours", uid=0, runtime="runc"), str(bundle))
    asker.foretell(question("theirs", uid=1000, runtime="runc"), str(bundle))
    for name in ("ours", "theirs"):
        assert asker.ask(question(name, uid=0))
    answers = heard(asker, 3)
    asker.close()

    final = {one.id: one for one in answers if one.final}
    ours = final["ours"].said
    assert ours is not None
    assert ("ours", "x:1", "runc") == (ours.name, ours.image, ours.runtime)
    assert (None, "no runtime here knows it") == (final["theirs"].said, final["theirs"].missing)


def heard(asker: Asker, count: int) -> list[Answer]:
    answers: list[Answer] = []
    until_s = time.monotonic() + WAIT_S
    while len(answers) < count:
        assert time.monotonic() < until_s, answers
        answers += asker.heard()
        time.sleep(0.005)
    return answers


def test_a_runtime_that_appears_is_noticed(tmp_path: Path) -> None:
    """Also when its directory is made only then; other files beside it are nobody's business."""
    path = tmp_path / "run" / "engine" / "s"
    arrivals = Arrivals((str(path),))
    assert arrivals.look() == ()

    (tmp_path / "other").touch()
    assert arrivals.look() == ()
    path.parent.mkdir(parents=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    until_s = time.monotonic() + WAIT_S
    while not (found := arrivals.look()):
        assert time.monotonic() < until_s
    assert found == (str(path),)

    server.close()
    path.unlink()
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    assert arrivals.look() == (str(path),)
    server.close()
    arrivals.close()
