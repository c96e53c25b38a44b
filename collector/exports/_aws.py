"""Clients of AWS, with the credentials that boto3 finds: environment, profile, instance or task role."""

from __future__ import annotations

from typing import Any

import msgspec

from collector.errors import ConfigError
from collector.exports._base import TIMEOUT_S
from collector.exports._base import Unsent

LATER = frozenset(
    {
        *("ThrottlingException", "LimitExceededException", "TooManyRequestsException", "SlowDown", "RequestTimeout"),
        *("InternalException", "InternalFailure", "ServiceUnavailable"),
        # What people put right: credentials, policies, a bus that is not there yet. Services that speak AWS's JSON
        # say them with status 400.
        *("AccessDeniedException", "NotAuthorized", "OptInRequired", "ResourceNotFoundException"),
        *("ExpiredTokenException", "ExpiredToken", "RequestExpired", "UnrecognizedClientException"),
        *("InvalidSignatureException", "IncompleteSignature", "InvalidClientTokenId", "MissingAuthenticationToken"),
    }
)
"""Codes of errors that pass."""
_SERVER_ERROR = 500


class AwsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all of AWS's services need to know."""

    region: str
    endpoint_url: str | None = None
    """Of a VPC endpoint, or of something that speaks as AWS does."""


def client(service: str, settings: Any) -> Any:
    """Return a client of boto3. Raises ConfigError when it is not installed, or there is no such place."""
    try:
        import boto3  # noqa: PLC0415  optional, and 30 MB
        from botocore.config import Config  # noqa: PLC0415  comes with it
        from botocore.exceptions import InvalidRegionError  # noqa: PLC0415
    except ImportError as exc:
        raise ConfigError(f"type` needs boto3: install vedette[aws] ({exc})") from exc
    patience = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 1})
    try:
        return boto3.client(service, region_name=settings.region, endpoint_url=settings.endpoint_url, config=patience)
    except InvalidRegionError as exc:
        raise ConfigError(f"region`: {exc}") from exc
    except ValueError as exc:
        raise ConfigError(f"endpoint_url`: {exc}") from exc


def call(operation: Any, **parameters: Any) -> tuple[dict[str, Any], str | None]:
    """Return what AWS answers, or why it refuses for good. Raises Unsent when it may answer later."""
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415  as above
    from botocore.exceptions import ClientError  # noqa: PLC0415
    from botocore.exceptions import ParamValidationError  # noqa: PLC0415

    try:
        return operation(**parameters), None
    except ClientError as exc:
        error, status = exc.response["Error"], exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        about = f"{error.get('Code')}: {error.get('Message')}"
        if error.get("Code") in LATER or status >= _SERVER_ERROR or status in (401, 403, 404, 429):
            raise Unsent(about) from exc  # credentials, policies and buckets are put right by people
        return {}, about
    except ParamValidationError as exc:
        return {}, str(exc)
    except BotoCoreError as exc:
        raise Unsent(str(exc)) from exc
