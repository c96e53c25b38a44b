from __future__ import annotations

import pwd

import pytest

from agent.enrich import users
from agent.enrich.users import RETRY_NS
from agent.enrich.users import UserNames

HOST = 5


@pytest.mark.parametrize(
    ("uid", "mnt_ns"),
    [
        pytest.param(None, HOST, id="unknown uid"),
        pytest.param(0, 6, id="in a container"),
        pytest.param(0, None, id="namespace unknown"),
        pytest.param(-1, HOST, id="below any uid"),
        pytest.param(2**32 - 1, HOST, id="(uid_t) -1"),
        pytest.param(2**70, HOST, id="beyond any uid"),
    ],
)
def test_no_name_is_made_up(uid: int | None, mnt_ns: int | None) -> None:
    """A container's uid 0 is not called by the host's name for it."""
    assert UserNames(HOST, HOST).of(uid, mnt_ns, 0) is None


@pytest.mark.parametrize(("host", "own"), [(HOST, 6), (None, None), (None, HOST)])
def test_an_agent_in_a_container_names_nobody(host: int | None, own: int | None) -> None:
    """Its own image's user database is not the host's."""
    assert UserNames(host, own).of(0, HOST, 0) is None


def test_a_host_process_has_its_users_name() -> None:
    """The name is that of the user database."""
    assert pwd.getpwuid(0).pw_name == UserNames(HOST, HOST).of(0, HOST, 0)


def test_a_user_made_later_is_found_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing user is not asked for at every exec, and not forgotten for ever."""
    asked: list[int] = []

    def missing(uid: int) -> pwd.struct_passwd:
        asked.append(uid)
        raise KeyError(uid)

    names = UserNames(HOST, HOST)
    with monkeypatch.context() as patched:
        patched.setattr(pwd, "getpwuid", missing)
        for now_ns in (0, 1, RETRY_NS - 1):
            assert names.of(0, HOST, now_ns) is None
        assert asked == [0]

    assert names.of(0, HOST, RETRY_NS) is not None


def test_a_flood_of_uids_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that runs through all uids fills no memory."""
    monkeypatch.setattr(users, "CACHED_USERS", 10)
    names = UserNames(HOST, HOST)
    for uid in range(3_000_000, 3_000_050):
        names.of(uid, HOST, 0)

    assert names.size() <= 10
