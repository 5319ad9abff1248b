"""Who is answered, how much is taken, and what leads nowhere."""

from __future__ import annotations

import bz2
import gzip
import http.client
import json
import lzma
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pages import OpenPage, serving

import chgdb


def ask(site: str, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None):
    """Status, headers and body of one request, sent as it stands."""
    place = urlsplit(site)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=bool(headers and "Host" in headers))
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", ""]
)
def test_other_names_are_refused(site: str, host: str) -> None:
    for path in ("/", "/api/v1/materials", "/store/zarr.json", "/config.json"):
        status, _, body = ask(site, "GET", path, {"Host": host})
        assert status == 421
        assert b"mp-149" not in body


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
    ids=str,
)
def test_other_sites_are_refused(site: str, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/api/v1/store"), ("GET", "/store/head.bin"), ("POST", "/api/v1/predict")):
        status, answered, _ = ask(site, method, path, headers, b"x" if method == "POST" else None)
        assert status == 403
        assert "access-control-allow-origin" not in {name.lower() for name in answered}


def test_a_link_to_the_page_works(site: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ask(site, "GET", "/", headers)[0] == 200


def test_policies(site: str) -> None:
    for path in ("/", "/app.js", "/worker.js", "/api/v1/store", "/store/zarr.json"):
        _, headers, _ = ask(site, "GET", path)
        policy = {name.lower(): value for name, value in headers.items()}["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy  # no eval, nothing inline
        assert "http" not in policy


def test_a_script_in_the_page_does_not_run(site: str, open_page: OpenPage) -> None:
    page = open_page(site + "/#/", "table.materials tbody tr")
    ran = page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.owned = 1';"
        " document.body.append(s); return window.owned ?? 0 }"
    )
    assert ran == 0
    open_page.problems.clear()  # the browser tells of the refusal


@pytest.mark.parametrize(
    "path",
    [
        *("/store/../pyproject.toml", "/store/..%2f..%2fpyproject.toml", "/store/%2e%2e/%2e%2e/pyproject.toml"),
        *("/../../../../etc/passwd", "/store//etc/passwd", "/store/..\\..\\pyproject.toml", "/static/../guard.py"),
        *("/api/v1/materials/..%2F..%2Fetc%2Fpasswd/record", "/app.js/../../server.py"),
    ],
)
def test_no_path_leads_out(site: str, path: str) -> None:
    status, _, body = ask(site, "GET", path)
    assert status in (400, 404, 405)
    assert b"root:" not in body
    assert b"build-backend" not in body


def test_large_bodies_are_refused(tmp_path) -> None:
    with serving("--limit", "1", "--pack", str(tmp_path / "x.zarr")) as address:
        place = urlsplit(address)
        status, _, body = ask(address, "POST", "/api/v1/predict", {"Content-Length": str(1 << 40)})
        assert status == 413
        assert b"1 MiB" in body
        with socket.create_connection((place.hostname or "", place.port or 0), timeout=30) as raw:  # without a length
            raw.sendall(
                f"POST /api/v1/predict HTTP/1.1\r\nHost: {place.netloc}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            )
            chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
            sent = 0
            try:
                for _ in range(64):
                    raw.sendall(chunk)
                    sent += 0x10000
            except OSError:
                pass  # the server has answered, and closed
            try:
                answer = raw.recv(200)
            except OSError:
                answer = b""
        assert answer.startswith(b"HTTP/1.1 413") or (not answer and sent < 64 * 0x10000)


def test_a_browser_that_goes_away_is_no_error(tmp_path) -> None:
    command = [sys.executable, "-m", "chgdb_cli.main", "web", "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        place = urlsplit(re.search(r"http://\S+", process.stdout.readline())[0])
        head = f"POST /api/v1/predict HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 5000\r\n\r\n"
        for _ in range(3):
            with socket.create_connection((place.hostname, place.port), timeout=30) as raw:
                raw.sendall(head.encode() + b"half of it")
        assert ask(place.geturl(), "GET", "/config.json")[0] == 200
        time.sleep(0.5)
        process.terminate()
        assert "Traceback" not in process.communicate(timeout=30)[1]


HEAD = b"a\n1.0\n4 0 0\n0 4 0\n0 0 4\nSi\n1\nDirect\n0 0 0\n\n"
UPLOADS = {
    "a bomb, gzip": lambda: gzip.compress(b"\0" * (300 << 20), 9),
    "a bomb, bzip2": lambda: bz2.compress(b"\0" * (100 << 20), 9),
    "a bomb, xz": lambda: lzma.compress(b"\0" * (300 << 20)),
    "a bomb of numbers": lambda: gzip.compress(HEAD + b"2048 2048 2048\n" + b"1 " * (20 << 20), 1),
    "cut gzip": lambda: gzip.compress(HEAD + b"9 9 9\n" + b"1 " * 729)[:-9],
    "no gzip": lambda: b"\x1f\x8b\x08" + b"x" * 1000,
    "gzip of gzip": lambda: gzip.compress(gzip.compress(HEAD)),
    "too many points": lambda: HEAD + b"99999999999 99999999999 9\n1 2\n",
    "points below zero": lambda: HEAD + b"-2 -2 2\n1 2 3 4 5 6 7 8\n",
    "too many atoms": lambda: HEAD.replace(b"\n1\nD", b"\n" + b"9" * 10000 + b"\nD"),
    "lists in lists": lambda: b"[" * 200_000,
    "a long number": lambda: b'{"@module":"pymatgen","@class":"Chgcar","x":' + b"9" * 10_000 + b"}",
    "a line without an end": lambda: b"a" * (5 << 20),
    "zeros": lambda: b"\0" * 10_000,
}


@pytest.mark.parametrize("kind", UPLOADS)
def test_bad_uploads_are_one_line(site: str, kind: str) -> None:
    status, _, body = ask(site, "POST", "/api/v1/predict", body=UPLOADS[kind]())
    assert status == 422
    detail = json.loads(body)["detail"]
    assert detail.startswith("the file: ")
    assert "\n" not in detail
    assert len(detail) < 500


@pytest.mark.parametrize(
    "kind", ["text/plain", "multipart/form-data; boundary=x", "application/json; charset=utf-16", "\xff"]
)
def test_odd_types_of_content(site: str, kind: str) -> None:
    """Of a file only its content counts; a structure is JSON."""
    for path in ("/api/v1/predict", "/api/v1/estimate"):
        assert ask(site, "POST", path, {"Content-Type": kind}, b'{"cell": 1}')[0] == 422


def test_structures_are_small(site: str) -> None:
    headers = {"Content-Type": "application/json"}
    status, _, body = ask(site, "POST", "/api/v1/estimate", headers, b'{"cell":' + b" " * (2 << 20) + b"1}")
    assert status == 413
    assert b"more than 1 MiB" in body
    for text in (b"[" * 100_000, b'{"cell":' + b"9" * 10_000 + b"}"):
        assert ask(site, "POST", "/api/v1/estimate", headers, text)[0] == 400


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "get"])
def test_other_methods_are_refused(site: str, method: str) -> None:
    for path in ("/", "/config.json", "/store/zarr.json", "/api/v1/materials", "/api/v1/predict"):
        assert ask(site, method, path)[0] == 405
    assert ask(site, method, "/api/v1/optimade/v1/structures")[0] == 405


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        *(("bytes=10-5", 400), ("bytes=-", 400), ("bytes=a-b", 400), ("lines=0-5", 400), ("bytes=,", 400)),
        *(("bytes=-0", 416), ("bytes=99999999999999999999-", 416), ("bytes=" + 5000 * "9" + "-", 400)),
        *(("bytes=0-99999999999999999999", 206), ("bytes=-99999999999999999999", 206), ("bytes=0-0,2-2", 206)),
        ("bytes=" + ",".join(f"{i}-{i}" for i in range(3000, 0, -1)), 200),
        ("bytes=" + ",".join(3000 * ["0-"]), 200),
    ],
    ids=lambda value: str(value)[:30],
)
def test_odd_ranges(site: str, asked: str, status: int) -> None:
    began = time.monotonic()
    found, _, body = ask(site, "GET", "/store/payload/c/0", {"Range": asked})
    assert found == status
    if status == 200 or ("9999999" in asked and status == 206):
        assert body == (Path(chgdb.open().path) / "payload/c/0").read_bytes()
    assert time.monotonic() - began < 20


def test_only_the_loopback_is_bound(site: str) -> None:
    port = urlsplit(site).port
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:] if Path("/proc/net/tcp").exists() else []
    listening = [line.split()[1] for line in lines if line.split()[3] == "0A"]
    ours = [place for place in listening if place.endswith(f":{port:04X}")]
    if lines:
        assert ours == [f"0100007F:{port:04X}"]


def test_a_port_that_is_taken_is_one_line(site: str) -> None:
    port = str(urlsplit(site).port)
    command = [sys.executable, "-m", "chgdb_cli.main", "web", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "--port" in done.stderr


def test_other_commands_import_nothing_of_it() -> None:
    code = "import sys, chgdb_cli.main; print([m for m in sys.modules if m.split('.')[0] in ('fastapi', 'uvicorn')"
    code += " or m.startswith('chgdb.web')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"
