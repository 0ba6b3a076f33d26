"""One S3 service a test process, a fresh bucket a test."""

import atexit
import secrets
from contextlib import ExitStack
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.config import Config

from archive_service.vault.stores.s3.client import S3Connection
from archive_service.vault.stores.s3.retry import RetryPolicy
from tests.services import versitygw
from tests.services.tools import find_tool, missing
from tests.services.versitygw import S3Service

AT_ONCE = RetryPolicy(sleep=lambda seconds: None)
"""Retries as in production, without the pauses."""


@cache
def _service(tool: str) -> S3Service:
    """Brought up once a process, however many test files ask for it; down with the process."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(versitygw.running(tool))


@pytest.fixture
def s3_service() -> S3Service:
    """The given service, or a versitygw of this process's own."""
    found = versitygw.given()
    if found is not None:
        return found
    tool = find_tool("versitygw")
    if tool is None:
        missing("versitygw", versitygw.HOW)
    return _service(tool)


@cache
def admin(service: S3Service) -> Any:
    """A plain boto3 client with the root's credentials: what an administrator, or an attacker, holds."""
    return boto3.session.Session().client(
        "s3",
        endpoint_url=service.url,
        region_name="us-east-1",
        aws_access_key_id=service.access_key,
        aws_secret_access_key=service.secret_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 4}),
    )


def new_bucket(service: S3Service, *, locked: bool = True) -> S3Connection:
    """A fresh bucket: versioned with Object Lock, or plain."""
    name = f"archive-{secrets.token_hex(8)}"
    admin(service).create_bucket(Bucket=name, **({"ObjectLockEnabledForBucket": True} if locked else {}))
    return connection(service, name)


def connection(service: S3Service, bucket: str, *, url: str | None = None) -> S3Connection:
    """How to reach a bucket, through another address if told."""
    return S3Connection(
        bucket,
        endpoint=url or service.url,
        access_key=service.access_key,
        secret_key=service.secret_key,
        connections=8,
    )
