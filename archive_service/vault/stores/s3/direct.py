"""PUT and GET of bytes in memory, without what boto3 does around a call: the same credentials, signature, connections
and error words, at less than half of the processor's time (``bench.s3_intake``).

boto3 holds each call against its model, resolves the endpoint again and tells some twenty listeners, which costs more
than sealing a mail does. These two calls are most of all there are. All others, and these where a server wants to be
asked elsewhere, go through boto3 itself.
"""

from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from functools import cached_property
from threading import Lock
from typing import Any

from botocore import parsers
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.exceptions import ClientError, IncompleteReadError, NoCredentialsError
from botocore.utils import percent_encode, percent_encode_sequence

_PUT_HEADERS = {
    "ChecksumAlgorithm": "x-amz-sdk-checksum-algorithm",
    "ChecksumSHA256": "x-amz-checksum-sha256",
    "IfNoneMatch": "If-None-Match",
    "ObjectLockLegalHoldStatus": "x-amz-object-lock-legal-hold",
    "ObjectLockMode": "x-amz-object-lock-mode",
    "ObjectLockRetainUntilDate": "x-amz-object-lock-retain-until-date",
}
_OTHER_REGION = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "TemporaryRedirect",
    }
)
_PLAIN = "plain"  # a key that is its own URL form


class _Elsewhere(Exception):
    """The server wants to be asked elsewhere (another region): nothing has happened, and boto3 knows the way."""


class Direct:
    """Two calls to one bucket. Thread-safe. They raise what boto3 would: ClientError and the other BotoCoreErrors."""

    def __init__(self, session: Any, client: Any, bucket: str) -> None:
        """Asks nobody anything yet."""
        self._session = session
        self._client = client
        self._bucket = bucket
        self._region = client.meta.region_name
        self._http = client._endpoint.http_session  # with its trust, proxies, timeouts and kept connections
        self._agent = client.meta.config.user_agent
        self._parser = parsers.create_parser("rest-xml")
        self._first = Lock()

    def put(self, key: str, body: bytes, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """``put_object``. ``parameters``: of boto3's, those that lock, bind and condition an object."""
        headers = {_PUT_HEADERS[name]: _text(value) for name, value in parameters.items()}
        headers["Content-Length"] = str(len(body))
        try:
            return self._ask("PutObject", "PUT", key, headers, body=body)
        except _Elsewhere:
            return dict(self._client.put_object(Bucket=self._bucket, Key=key, Body=body, **parameters))

    def get(self, key: str, version: str | None = None, span: str | None = None) -> dict[str, Any]:
        """``get_object``, its ``Body`` the whole of it as bytes. ``span``: a Range header."""
        headers = {"Range": span} if span is not None else {}
        params = {"versionId": version} if version is not None else {}
        try:
            return self._ask("GetObject", "GET", key, headers, params=params)
        except _Elsewhere:
            more = headers | ({"VersionId": version} if version is not None else {})
            answer = dict(self._client.get_object(Bucket=self._bucket, Key=key, **more))
            with closing(answer["Body"]) as body:
                return answer | {"Body": bytes(body.read())}

    def _ask(
        self,
        operation: str,
        method: str,
        key: str,
        headers: dict[str, str],
        *,
        body: bytes = b"",
        params: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        url = (
            self._base
            + percent_encode(key, safe="/~")
            + (f"?{percent_encode_sequence(params)}" if params else "")
        )
        request = AWSRequest(method, url, headers | {"User-Agent": self._agent}, body)
        S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(request)
        signed = dict(request.headers.items())
        answer = self._http.send(AWSPreparedRequest(method, url, signed, body or None, stream_output=False))
        content = answer.content
        if answer.status_code >= 300:
            raise self._refusal(operation, answer)
        told = {name.lower(): value for name, value in answer.headers.items()}
        if told.get("content-length", str(len(content))) != str(len(content)):
            raise IncompleteReadError(actual_bytes=len(content), expected_bytes=told["content-length"])
        if "Range" in headers and answer.status_code != 206:
            raise IncompleteReadError(actual_bytes=len(content), expected_bytes=headers["Range"])
        metadata = {"HTTPStatusCode": answer.status_code, "HTTPHeaders": told}
        version = told.get("x-amz-version-id")
        return {"Body": content, "VersionId": version, "ResponseMetadata": metadata}

    def _refusal(self, operation: str, answer: Any) -> "ClientError | _Elsewhere":
        """boto3 is asked to go on only where the answer says where to: it would follow another redirect for ever."""
        said = {
            "status_code": max(301, answer.status_code),
            "headers": answer.headers,
            "body": answer.content,
        }
        parsed = self._parser.parse(said, None)
        error = parsed["Error"]
        named = "Region" in error or "x-amz-bucket-region" in {name.lower() for name in answer.headers}
        if named and error.get("Code") in _OTHER_REGION:
            return _Elsewhere()
        return ClientError(parsed, operation)

    @cached_property
    def _credentials(self) -> Any:
        """Looked up at the first call, for an instance role is asked over the network. Renewed by itself."""
        with self._first:
            found = self._session.get_credentials()
        if found is None:
            raise NoCredentialsError
        return found

    @cached_property
    def _base(self) -> str:
        """The URL of the bucket with ``/`` at its end, as boto3's own rules resolve it (path or virtual host)."""
        place = {"Bucket": self._bucket, "Key": _PLAIN}
        url = str(self._client.generate_presigned_url("get_object", Params=place))
        return url.partition("?")[0].removesuffix(_PLAIN)


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return str(value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))  # locks end on whole seconds
    return str(value)
