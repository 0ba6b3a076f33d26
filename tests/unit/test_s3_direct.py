"""The two calls that go past boto3: what they send is what boto3 would send, and whatever a server or a box between
answers becomes an error of ours, never a loop, never half a body."""

import socketserver
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import boto3
import pytest
from botocore.config import Config

from archive_service.model.errors import StoreDenied, StoreError
from archive_service.vault.stores.s3.client import S3Client, S3Connection
from archive_service.vault.stores.s3.failures import Passing
from archive_service.vault.stores.s3.retry import RetryPolicy

UNTIL = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\nx-amz-version-id: v1\r\n\r\n"


class Server:
    """Answers in turn what it was given, the last answer for ever, each on a connection of its own and saying so, for a
    client that kept one would race with its end; keeps what it was sent."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, dict[str, str], bytes]] = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                line = self.rfile.readline().decode().strip()
                headers: dict[str, str] = {}
                while (field := self.rfile.readline().decode().strip()) != "":
                    name, _, value = field.partition(": ")
                    headers[name.lower()] = value
                if "expect" in headers:
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = self.rfile.read(int(headers.get("content-length", 0)))
                outer.sent.append((line, headers, body))
                self.wfile.write(outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0])

        self.inner = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.inner.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.inner.server_address[1]}"

    def client(self, tries: int = 2) -> S3Client:
        connection = S3Connection("bucket", self.url, access_key="key", secret_key="secret", timeout=5.0)
        return S3Client(connection, retry=RetryPolicy(tries=tries, sleep=lambda _: None))

    def close(self) -> None:
        self.inner.shutdown()
        self.inner.server_close()


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    made: list[Server] = []
    yield made
    for server in made:
        server.close()


def start(servers: list[Server], *answers: bytes) -> Server:
    servers.append(Server(*answers))
    return servers[-1]


def answer(status: str, body: bytes = b"", *fields: str) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *fields])
    return head.encode() + b"\r\n\r\n" + body


def put(client: S3Client) -> None:
    client.put(
        "object o", "objects/o-1/a.b_c", b"body", IfNoneMatch="*", ChecksumAlgorithm="SHA256", ChecksumSHA256="c" * 44,
        ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=UNTIL, ObjectLockLegalHoldStatus="ON",
    )  # fmt: skip


def test_a_put_is_what_boto3_would_send(servers: list[Server]) -> None:
    server = start(servers, FINE)
    client = server.client()
    put(client)
    boto3.client(
        "s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id="key",
        aws_secret_access_key="secret", config=Config(s3={"addressing_style": "path"}),
    ).put_object(
        Bucket="bucket", Key="objects/o-1/a.b_c", Body=b"body", IfNoneMatch="*", ChecksumAlgorithm="SHA256",
        ChecksumSHA256="c" * 44, ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=UNTIL,
        ObjectLockLegalHoldStatus="ON",
    )  # fmt: skip
    (line, ours, body), (their_line, theirs, _) = server.sent
    assert line == their_line
    assert body == b"body"
    same = [name for name in theirs if name.startswith("x-amz-") or name == "if-none-match"]
    for name in set(same) - {"x-amz-date", "x-amz-content-sha256"}:
        assert ours[name] == theirs[name], name
    assert len(ours["x-amz-content-sha256"]) == 64  # over plain HTTP the body is signed
    signed = ours["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert {"host", "x-amz-object-lock-mode", "if-none-match", "x-amz-checksum-sha256"} <= set(signed)
    client.close()


@pytest.mark.parametrize(
    "said",
    [
        answer("301 Moved Permanently"),
        answer("307 Temporary Redirect", b"", "Location: https://elsewhere.example/"),
        answer("300 Multiple Choices"),
    ],
)
def test_a_redirect_that_leads_nowhere_is_refused_at_once(servers: list[Server], said: bytes) -> None:
    server = start(servers, said)
    with pytest.raises(StoreDenied) as caught:
        put(server.client())
    assert caught.value.code == "store.elsewhere"
    assert len(server.sent) == 1
    with pytest.raises(StoreDenied):
        server.client().get("object o", "o")
    assert len(server.sent) == 2


def test_a_bucket_of_another_region_is_found_by_boto3(servers: list[Server]) -> None:
    body = b"<Error><Code>PermanentRedirect</Code><Bucket>bucket</Bucket></Error>"
    region = "x-amz-bucket-region: eu-west-3"
    moved = answer("301 Moved Permanently", body, region)
    server = start(servers, moved, moved, answer("200 OK", b"", region), FINE)
    put(server.client())
    assert "eu-west-3" in server.sent[-1][1]["authorization"]


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsho",
        answer("200 OK", b"the whole body, not the span"),
    ],
)
def test_what_came_torn_or_is_not_what_was_asked_is_asked_again(servers: list[Server], said: bytes) -> None:
    server = start(servers, said, answer("206 Partial Content", b"ody"))
    data, _ = server.client().get("object o", "o", span="bytes=1-3")
    assert data == b"ody"
    assert len(server.sent) == 2


@pytest.mark.parametrize(
    "said", [b"", b"nonsense\r\n\r\n", answer("503 Slow Down"), answer("500 x", b"<html>no</html>")]
)
def test_no_answer_passes(servers: list[Server], said: bytes) -> None:
    server = start(servers, said)
    with pytest.raises(Passing):
        put(server.client())
    with pytest.raises(StoreError):
        server.client().get("object o", "o")


def test_without_credentials_it_says_so(
    servers: list[Server], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, f"{tmp_path}/none")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = start(servers, FINE)
    client = S3Client(S3Connection("bucket", server.url), retry=RetryPolicy(tries=1))
    with pytest.raises(StoreDenied, match="credentials"):
        put(client)
    assert server.sent == []
