"""EC2's instance metadata service, version 2, as its user guide describes it ("Instance metadata categories").

A token first, by PUT, then everything with it. Version 1, without a token, is not
spoken: whoever can make a web server of the host fetch a page could answer for it.

The token's answer has an IP time to live that is often 1: it then does not reach
a container on a bridge, which looks as if the service were silent. That is told.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec

from agent.enrich.place import decoding
from agent.enrich.place.asking import NOT_FOUND
from agent.enrich.place.asking import Client
from agent.enrich.place.asking import Endpoint
from agent.enrich.place.asking import Request
from agent.enrich.place.asking import Unanswered
from agent.enrich.place.decoding import address
from agent.enrich.place.decoding import plain
from agent.model import Ec2Instance
from agent.model import NetworkInterface
from agent.model import SecurityGroup

ENDPOINT = "http://169.254.169.254"
ENDPOINT_V6 = "http://[fd00:ec2::254]"
CONNECT_S = 2.0  # on an instance it takes a millisecond; elsewhere nobody answers at all
REQUEST_S = 2.0
ALL_S = 15.0  # some sixty requests on an instance with five interfaces, of a millisecond each
TOKEN_TTL_S = 300  # we are done long before
ANSWER_BYTES = 65_536
USER_DATA_BYTES = 65_536  # EC2 takes 16 KiB
INTERFACES = 8  # shown; an instance has 15 at most, save the largest
ADDRESSES = 64  # of one interface, with those that its pods have

_TOKEN_HEADER = "X-aws-ec2-metadata-token"  # noqa: S105  # the name of a header
_TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
_INSTANCE_ID = re.compile(r"i-[0-9a-f]{8,17}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}/?")
_DMI = ("sys_vendor", "board_vendor", "bios_vendor", "bios_version")
_OFF = {"true", "1"}


class _Document(msgspec.Struct, rename="camel"):
    """/latest/dynamic/instance-identity/document, less what is not used."""

    instance_id: str
    account_id: str | None = None
    region: str | None = None
    availability_zone: str | None = None
    image_id: str | None = None
    instance_type: str | None = None
    pending_time: str | None = None


class _Profile(msgspec.Struct, rename="pascal"):
    """/latest/meta-data/iam/info."""

    instance_profile_arn: str | None = None
    instance_profile_id: str | None = None


def endpoint(configured: str | None) -> Endpoint:
    """Return where the service is: as configured, by the variables of AWS's SDKs, or at its own address."""
    mode = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "").lower()
    default = ENDPOINT_V6 if mode == "ipv6" else ENDPOINT
    return Endpoint.parse(configured or os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or default)


def pointless(configured: str | None, dmi: Path = Path("/sys/class/dmi/id")) -> str | None:
    """Return why there is no point in asking; None when there is, or when it cannot be told."""
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() in _OFF:
        return "AWS_EC2_METADATA_DISABLED is set"
    if configured or os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"):
        return None
    made_by = [text for name in _DMI if (text := _first_line(dmi / name))]
    if not made_by or any("amazon" in text.lower() for text in made_by):
        return None
    return f"not an EC2 instance: its hardware says {made_by[0][:60]!r}"


class Imds:
    """Asks for everything once; used by one thread."""

    def __init__(self, where: Endpoint) -> None:
        self._client = Client(where)
        self._token = ""
        self._deadline_s = 0.0
        self.missed = 0
        """What was asked for last and did not come, beside what is not there."""

    def instance(self) -> Ec2Instance:
        """Return the instance.  Raises Unanswered when it has no id; what else does not come is `missed`."""
        self._deadline_s, self.missed = time.monotonic() + ALL_S, 0
        self._token = self._new_token()
        document = decoding.decoded(self._get("dynamic/instance-identity/document"), _Document)
        if not _INSTANCE_ID.fullmatch(document.instance_id):
            raise Unanswered("malformed", "the instance id is none")
        account, profile = document.account_id or "", self._profile()
        return Ec2Instance(
            id=document.instance_id,
            type=plain(document.instance_type),
            image_id=plain(document.image_id),
            account_id=account if _ACCOUNT.fullmatch(account) else None,
            region=plain(document.region),
            availability_zone=plain(document.availability_zone),
            partition=plain(self._said("meta-data/services/partition")),
            launched_at=plain(document.pending_time),
            outpost_arn=plain(self._said("meta-data/outpost-arn")),
            profile_arn=plain(profile.instance_profile_arn),
            profile_id=plain(profile.instance_profile_id),
            interfaces=tuple(self._interfaces()),
            tags=decoding.tags(self._tags()),
        )

    def user_data(self) -> bytes:
        """Return what the instance was started with, after `instance`; nothing where there is none."""
        try:
            return self._get("user-data", USER_DATA_BYTES)
        except Unanswered:
            return b""

    def close(self) -> None:
        """End what is under way, from any thread."""
        self._client.close()

    def _new_token(self) -> str:
        request = Request("/latest/api/token", {_TTL_HEADER: str(TOKEN_TTL_S)}, "PUT", 1024)
        try:
            return self._client.ask(request, CONNECT_S).decode("ascii")
        except UnicodeDecodeError as exc:
            raise Unanswered("malformed", "the token is not ASCII") from exc
        except Unanswered as exc:
            if exc.kind != "silent":
                raise
            hop = "raise HttpPutResponseHopLimit to 2, or use the host's network"
            raise Unanswered("silent", f"{exc}: is this a container, and the hop limit 1? {hop}") from exc

    def _get(self, path: str, limit_bytes: int = ANSWER_BYTES) -> bytes:
        left_s = min(REQUEST_S, self._deadline_s - time.monotonic())
        request = Request(f"/latest/{path}", {_TOKEN_HEADER: self._token}, limit_bytes=limit_bytes)
        return self._client.ask(request, max(left_s, 0.0))

    def _said(self, path: str) -> str | None:
        """Return a text, None where there is none; what does not come is missed, and the rest is still worth having."""
        try:
            return self._get(path).decode("utf-8", "replace").strip() or None
        except Unanswered as exc:
            self.missed += exc.status != NOT_FOUND
            return None

    def _lines(self, path: str) -> list[str]:
        return (self._said(path) or "").split("\n")[:1024]

    def _profile(self) -> _Profile:
        said = self._said("meta-data/iam/info")
        try:
            return _Profile() if said is None else decoding.decoded(said.encode(), _Profile)
        except Unanswered:
            self.missed += 1
            return _Profile()

    def _tags(self) -> Iterator[tuple[str, str]]:
        """Yield the tags, where the instance's InstanceMetadataTags lets them be read."""
        for key in filter(None, self._lines("meta-data/tags/instance")[: decoding.TAGS]):
            yield key, self._said(f"meta-data/tags/instance/{quote(key, safe='')}") or ""

    def _interfaces(self) -> Iterator[NetworkInterface]:
        base = "meta-data/network/interfaces/macs"
        macs = [mac.rstrip("/") for mac in self._lines(base) if _MAC.fullmatch(mac)][:INTERFACES]
        found = [self._interface(f"{base}/{mac}") for mac in macs]
        yield from (interface for _, interface in sorted(found, key=lambda pair: pair[0]))

    def _interface(self, base: str) -> tuple[int, NetworkInterface]:
        """Return the device number of an interface, and what it is."""
        there = set(self._lines(base))

        def lines(name: str) -> list[str]:
            return [line.strip() for line in self._lines(f"{base}/{name}")] if name in there else []

        def first(name: str) -> str | None:
            return next(iter(lines(name)), None)

        names = lines("security-groups")
        groups = [
            SecurityGroup(id=one, name=decoding.cut(names[place]) if place < len(names) else None)
            for place, one in enumerate(lines("security-group-ids")[: decoding.LISTED])
            if plain(one)
        ]
        number = first("device-number") or ""
        return int(number) if number.isascii() and number.isdecimal() and len(number) < 4 else 0, NetworkInterface(  # noqa: PLR2004  # digits of no device
            id=plain(first("interface-id")),
            vpc_id=plain(first("vpc-id")),
            subnet_id=plain(first("subnet-id")),
            security_groups=tuple(groups),
            private_addresses=_addresses(lines("local-ipv4s")),
            public_address=address(first("public-ipv4s")),
            ipv6_addresses=_addresses(lines("ipv6s")),
            private_dns_name=plain(first("local-hostname")),
            public_dns_name=plain(first("public-hostname")),
        )


def _addresses(lines: list[str]) -> tuple[str, ...]:
    return tuple(filter(None, map(address, lines[:ADDRESSES])))


def _first_line(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return stream.readline(200).strip() or None
    except OSError:
        return None
