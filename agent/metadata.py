"""`[host]`, `[ecs]` and `[kubernetes]` of the agent's settings: whom to ask where we are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from typing import Literal

import msgspec
from msgspec import Meta

from agent.wording import HttpUrl


class HostConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[host]`: the cloud instance."""

    ec2: Annotated[
        Literal["auto", "always", "off"],
        Meta(
            description="Whether EC2's instance metadata service is asked what instance this is. `auto` does not where "
            "the hardware says another maker: [identity.md](identity.md)."
        ),
    ] = "auto"
    ec2_endpoint: Annotated[
        HttpUrl | None,
        Meta(description="Instead of `AWS_EC2_METADATA_SERVICE_ENDPOINT`, or `http://169.254.169.254`."),
    ] = None


class EcsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[ecs]`: tasks of Amazon ECS."""

    ask: Annotated[
        Literal["auto", "off"],
        Meta(description="`auto` asks where there is an endpoint in the environment, or a container of ECS."),
    ] = "auto"
    task_endpoint: Annotated[
        HttpUrl | None,
        Meta(
            description="Task metadata, version 4, of the agent's own task; instead of `ECS_CONTAINER_METADATA_URI_V4`."
        ),
    ] = None
    agent_endpoint: Annotated[
        HttpUrl, Meta(description="The ECS agent's introspection API, which knows the tasks of an EC2 instance.")
    ] = HttpUrl("http://127.0.0.1:51678")


class KubernetesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[kubernetes]`: the pods of this node."""

    ask: Annotated[
        Literal["auto", "off"],
        Meta(description="`auto` asks where an API server or a kubelet is known, from here or from the environment."),
    ] = "auto"
    cluster_name: Annotated[
        str | None, Meta(description="What findings call the cluster. Without it: as labels, tags or user data say.")
    ] = None
    node: Annotated[
        str | None, Meta(description="Name of this node, by which its pods are found; instead of `NODE_NAME`.")
    ] = None
    api_server: Annotated[
        HttpUrl | None,
        Meta(description="Whose pods are listed and watched; instead of `KUBERNETES_SERVICE_HOST` and `_PORT`."),
    ] = None
    kubelet: Annotated[
        HttpUrl | None,
        Meta(description="Asked in place of the API server, when a pod is new: `https://127.0.0.1:10250`."),
    ] = None
    token_file: Annotated[
        Path | None, Meta(description="A service account's token. Without it: where a pod has its own.")
    ] = None
    ca_file: Annotated[
        Path | None,
        Meta(
            description="PEM: who signs the server's certificate. Without it: where a pod has that, else the system's."
        ),
    ] = None
    cert_file: Annotated[Path | None, Meta(description="PEM: a client certificate, in place of the token.")] = None
    key_file: Annotated[Path | None, Meta(description="PEM: the private key of `cert_file`.")] = None
    server_name: Annotated[
        str | None,
        Meta(
            description="Whom the server's certificate must name, where that is not its address: of a kubelet's own "
            "certificate, the node."
        ),
    ] = None
