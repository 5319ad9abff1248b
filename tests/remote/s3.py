"""An S3 server on loopback (moto's) that checks credentials, and what it was asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nginx import free_port, wait_for

#: Requests that the server takes without credentials: those that make the user.
_UNCHECKED = 4
#: Keys in one answer to a listing (of S3 itself: a thousand).
PAGE = 100
_POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


class S3Server:
    """moto's server with one user who may do anything in S3.

    checked: signatures are checked, and nobody else may do anything (requests without one make moto fail then).
    Otherwise any signature will do, and requests without one get what is public.
    """

    def __init__(self, folder: Path, checked: bool = True) -> None:
        import boto3

        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._log = folder / "s3.log"
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE)}
        if checked:
            environment["INITIAL_NO_AUTH_ACTION_COUNT"] = str(_UNCHECKED)
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with open(self._log, "wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_for(self.port, self.process, 60)
        self.region = "us-east-1"
        first = {"aws_access_key_id": "x", "aws_secret_access_key": "y", "region_name": self.region}
        iam = boto3.client("iam", endpoint_url=self.endpoint, **first)
        iam.create_user(UserName="writer")
        policy = iam.create_policy(PolicyName="all", PolicyDocument=json.dumps(_POLICY))["Policy"]["Arn"]
        iam.attach_user_policy(UserName="writer", PolicyArn=policy)
        key = iam.create_access_key(UserName="writer")["AccessKey"]
        self.key, self.secret = str(key["AccessKeyId"]), str(key["SecretAccessKey"])
        self.client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name=self.region,
        )
        self._buckets = 0

    def environment(self, monkeypatch: pytest.MonkeyPatch, key: str | None = None, secret: str | None = None) -> None:
        """Set the variables that AWS's tools and s3fs read, and forget file systems made with others."""
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        monkeypatch.setenv("AWS_ENDPOINT_URL", self.endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key or self.key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret or self.secret)
        monkeypatch.setenv("AWS_DEFAULT_REGION", self.region)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)

    def bucket(self, public: bool = False) -> str:
        self._buckets += 1
        name = f"bucket-{self._buckets}"
        self.client.create_bucket(Bucket=name)
        if public:
            self.client.put_bucket_acl(Bucket=name, ACL="public-read")
        return name

    def upload(self, folder: Path, bucket: str, prefix: str, public: bool = False) -> None:
        """Put every file of a folder below a prefix."""
        extra = {"ACL": "public-read"} if public else {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            key = f"{prefix}/{path.relative_to(folder).as_posix()}"
            self.client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes(), **extra)

    def requests(self) -> list[str]:
        """Lines "METHOD path" of all requests so far."""
        time.sleep(0.05)
        lines = self._log.read_text(errors="replace").splitlines()
        return [line.split('"')[1].rsplit(" ", 1)[0] for line in lines if line.count('"') >= 2 and " HTTP/1" in line]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
