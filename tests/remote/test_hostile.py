"""Servers, URLs and variables that mean harm or are wrong: an answer or one line, in time, and no secret anywhere."""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from scripted import answer, dripping, scripted

import chgdb
from chgdb.errors import ChgdbError
from chgdb.remote.connect import connect, read_file
from chgdb.remote.proxies import proxy_for
from chgdb.remote.transport import Answer
from chgdb.urls import is_url, public, url_path, without_secrets
from chgdb_cli.main import _exit_code

SECRET = "s3cr3t"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHGDB_ATTEMPTS", "1")
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def said(action) -> str:
    """The one line of an error."""
    with pytest.raises(ChgdbError) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text
    assert text.isprintable(), text
    assert len(text) < 1000
    return text


# Secrets -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"https://me:{SECRET}@localhost/x",
        f"http://me:{SECRET}@server:8080/x",
        f"https://{SECRET}@example.org/x",
        f"HTTPS://ME:{SECRET}@EXAMPLE.ORG/x",
        f"https://me:{SECRET}@[::1]/x",
        f"https://me:{SECRET}@[2001:db8::1%25eth0]:443/x",
        f"https://me:p@{SECRET}@host/x",
        f"https://me:{SECRET}/w@host/x",
        f"https://me:w?{SECRET}@host/x",
        f"https://me:w#{SECRET}@host/x",
        f"https://me:w {SECRET}@host/x",
        f"https://me:a::{SECRET}@host/x",
        f"https://me:a'b\"<>{SECRET}@host/x",
        f"sftp://me:a::{SECRET}@host/x",
        f"s3://key:{SECRET}@bucket/x",
        f"https://host/x?X-Amz-Signature={SECRET}",
        f"https://host/x?u=http://a@b&s={SECRET}",
        f"https://host/x#access_token={SECRET}",
        f"zip::https://me:{SECRET}@host/x.zip",
        f"zip://a/CHGCAR::https://me:{SECRET}@[::1]:80/x.zip?k={SECRET}",
        f"simplecache::s3://key:{SECRET}@bucket/x",
        f"abfs://key:{SECRET}@account.dfs.core.windows.net/x",
    ],
)
def test_no_secret_of_any_url_is_shown(url: str):
    assert SECRET not in public(url)
    assert public(url).endswith(("/x", "/x.zip"))
    assert SECRET not in str(ChgdbError(f"{url}: is not there"))
    assert SECRET not in without_secrets(f"({url})")
    assert SECRET not in url_path(url)


@pytest.mark.parametrize(
    "url",
    ["https://host/a@b", "s3://bucket/a@b", "github://a:b@v1.0/x", "http://[::1]:80/a::b@c", "https://host:80/x:y@z"],
)
def test_what_is_no_secret_stays(url: str):
    assert public(url) == url


@pytest.mark.parametrize(
    "url",
    [
        f"http://me:{SECRET}@localhost:9/x.zarr?sig={SECRET}",
        f"http://me:{SECRET}@nowhere.invalid/x.zarr",
        f"http://me:{SECRET}@[::1]:9/x.zarr",
        f"http://me:{SECRET}@host:99999/x.zarr",
        f"http://me:{SECRET}@127.0.0.1:9/x.zarr",
        f"zip::http://me:{SECRET}@127.0.0.1:9/x.zip",
        f"nope://me:{SECRET}@host/x",
        f"ftp://me:{SECRET}@127.0.0.1:9/x",
        f"sftp://me:{SECRET}@127.0.0.1:9/x",
    ],
)
def test_no_command_shows_a_secret(url: str, tmp_path: Path, capsys):
    for command in (
        ["info", "--catalog", url],
        ["fetch", "mp-149", "--catalog", url, "--json"],
        ["convert", url, str(tmp_path / "out.npz")],
        ["build", str(tmp_path / "out.zarr"), url, "--json"],
        ["pull", url, str(tmp_path / "pulled"), "--json"],
        ["publish", url, str(tmp_path / "published")],
        ["diff", url, url],
        ["search", url, url, "--elements"],
        ["convert", "a", "b", url],
    ):
        assert _exit_code(command) in (1, 2), command
        captured = capsys.readouterr()
        assert SECRET not in captured.err + captured.out, command
        assert "this is a bug" not in captured.err, (command, captured.err)


def test_no_secret_is_kept(nginx, tmp_path: Path, own_cache: Path, capsys):
    url = nginx.url.replace("://127.0.0.1", f"://me:p@{SECRET}@127.0.0.1") + f"/twelve.zarr?sig={SECRET}"
    assert _exit_code(["fetch", "mat-1", "--catalog", url, "-o", str(tmp_path / "one.zarr"), "--json"]) == 0
    assert chgdb.open(tmp_path / "one.zarr").attributes["extracted_from"] == f"{nginx.url}/twelve.zarr"
    assert _exit_code(["cache", "info"]) == 0
    assert _exit_code(["cache", "info", "--json"]) == 0
    assert _exit_code(["pull", url, str(tmp_path / "all.zarr"), "--json"]) == 0
    assert f"{nginx.url}/twelve.zarr" in (shown := "".join(capsys.readouterr()))
    assert SECRET not in shown
    kept = [p for folder in (own_cache, tmp_path) for p in folder.rglob("*") if p.is_file()]
    assert [p for p in kept if SECRET.encode() in p.read_bytes() or SECRET in str(p)] == []


def test_stores_that_differ_by_the_query_do_not_share_a_head(own_cache: Path, monkeypatch: pytest.MonkeyPatch):
    with scripted(answer(b"", "404 Not Found")) as server:
        from chgdb.remote.files import RemoteFiles

        first, second = (RemoteFiles(f"{server.url}/get?store={name}") for name in "ab")
    assert first._cache.get("heads", first._heads) is not None
    assert first._heads != second._heads


@pytest.mark.parametrize("code", ["301", "302", "303", "307", "308"])
def test_no_credential_goes_to_another_server(code: str):
    given = {"AUTHORIZATION": f"Bearer {SECRET}", "x-api-key": SECRET, "Cookie": SECRET, "Accept-Language": "de"}
    with scripted(answer(b"found")) as other, scripted() as first:
        first.script(answer(b"", f"{code} Moved", Location=f"{other.url}/y"))
        options = {"headers": given, "public_headers": ["accept-language"]}
        assert connect(f"http://me:{SECRET}@127.0.0.1:{first.port}/x?key={SECRET}", options).get("").data == b"found"
        assert first.asked[0].count(SECRET.encode()) == 4
        assert SECRET.encode() not in other.asked[0]
        assert b"Accept-Language: de" in other.asked[0]
        assert b"Authorization" not in other.asked[0]
        assert f"Host: 127.0.0.1:{other.port}".encode() in other.asked[0]


def test_credentials_stay_with_their_server():
    with scripted() as server:
        server.script(answer(b"", "302 Found", Location="/y"), answer(b"found"))
        options = {"headers": {"X-Api-Key": SECRET}}
        assert connect(f"http://me:pw@127.0.0.1:{server.port}/x", options).get("").data == b"found"
        assert all(
            b"X-Api-Key" in asked and b"authorization: Basic" in asked.lower().replace(b"basic", b"Basic")
            for asked in server.asked
        )
    # By way of another server and back they are gone: the other one could have chosen what is asked for.
    with scripted() as first, scripted(answer(b"", "302 Found", Location=f"{first.url}/z")) as other:
        first.script(answer(b"", "302 Found", Location=f"{other.url}/y"), answer(b"found"))
        assert connect(f"{first.url}/x", options).get("").data == b"found"
        assert b"X-Api-Key" in first.asked[0]
        assert b"X-Api-Key" not in first.asked[1]


# Time ----------------------------------------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "script",
    {
        "nothing": dripping(b"", b"", 0.1),
        "status line": dripping(b"HTTP/1.1 ", b"2", 0.1),
        "headers": dripping(OK, b"A: b\r\n", 0.1),
        "one header": dripping(OK + b"X: ", b"y", 0.1),
        "100 continue": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.1),
        "many 100 continue": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500, 0.001),
        "body": dripping(OK + b"Content-Length: 1000000\r\n\r\n", b"x", 0.1),
        "body without length": dripping(OK + b"\r\n", b"x", 0.1),
        "chunks": dripping(CHUNKED, b"1\r\nx\r\n", 0.1),
        "chunk extension": dripping(CHUNKED + b"1;", b"e", 0.1),
        "trailers": dripping(CHUNKED + b"1\r\nx\r\n0\r\n", b"A: b\r\n", 0.1),
        "error page": dripping(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9999\r\n\r\n", b"x", 0.1),
        "page of a move": dripping(b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 9999\r\n\r\n", b"x", 0.1),
    }.items(),
    ids=lambda item: item[0],
)
def test_every_wait_has_an_end(script, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHGDB_TIMEOUT", "0.5")
    with scripted(script[1]) as server:
        begin = time.monotonic()
        line = said(lambda: read_file(f"{server.url}/x"))
        assert time.monotonic() - begin < 4
        assert server.url in line


def test_a_slow_answer_that_comes_is_taken(monkeypatch: pytest.MonkeyPatch):
    """Longer than the timeout in all, since it comes at more than the slowest rate."""
    monkeypatch.setenv("CHGDB_TIMEOUT", "0.4")

    def send(connection) -> None:
        connection.sendall(OK + b"Content-Length: 10000\r\n\r\n")
        for _ in range(10):
            time.sleep(0.1)
            connection.sendall(b"x" * 1000)

    with scripted(send) as server:
        assert read_file(f"{server.url}/x") == b"x" * 10000


def test_all_attempts_end_together(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHGDB_ATTEMPTS", "100")
    monkeypatch.setenv("CHGDB_DEADLINE", "1.5")
    for script in (
        answer(b"", "503 Busy", Retry_After="1"),
        dripping(OK + b"Content-Length: 1000000\r\n\r\n", b"x" * 2000, 0.1),
    ):
        with scripted(script) as server:
            begin = time.monotonic()
            assert server.url in said(lambda: read_file(f"{server.url}/x"))
            assert time.monotonic() - begin < 4


# Answers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:99999/", "http://127.0.0.1:x/", "http://[::1/", "http:///x", "http://", "//", "ftp://host/x",
        "file:///etc/passwd", "gopher://x", "javascript:alert(1)", "http://a b/", "http://\xff/", "http://xn--a/",
        f"http://me:{SECRET}@127.0.0.1:9/", "http://" + "a" * 300 + "/", "http://" + "a." * 200 + "/", "\x1b[31m",
        "http://127.0.0.1:9/\x1b]0;x\x07", "/x", "", "http://127.0.0.1:-1/", "http://127.0.0.1:²/",
        "http://%31%32%37.0.0.1:9/",
    ],
)  # fmt: skip
def test_whereever_a_server_points_to(location: str):
    with scripted(answer(b"", "302 Found", Location=location)) as server:
        line = said(lambda: read_file(f"{server.url}/x"))
        assert SECRET not in line


@pytest.mark.parametrize("pause", ["²", "-5", "1e9", "9" * 5000, "nan", "Wed, 21 Oct 2015 07:28:00 GMT", "x" * 9000])
def test_whatever_pause_a_server_asks_for(pause: str, monkeypatch: pytest.MonkeyPatch):
    pauses: list[float] = []
    monkeypatch.setenv("CHGDB_ATTEMPTS", "2")
    clock = SimpleNamespace(sleep=pauses.append, monotonic=time.monotonic)
    monkeypatch.setattr("chgdb.remote.transport.time", clock)
    with scripted(answer(b"", "503 Busy", Retry_After=pause)) as server:
        assert "503 Busy, 2 times" in said(lambda: read_file(f"{server.url}/x"))
    assert len(pauses) == 1
    assert 0 <= pauses[0] <= 30


@pytest.mark.parametrize(
    "text",
    [
        "", "bytes", "bytes 0-4", "bytes 0-4/²", "bytes */5", "bytes 0-" + "9" * 5000 + "/*", "bytes ٠-٤/٥",
        "bytes 0-4/" + "9" * 5000, "items 0-4/5", "bytes 1-5/9", "bytes -1-4/5", "\x1b[2J",
    ],
)  # fmt: skip
def test_whatever_part_a_server_says_it_sends(text: str):
    header = text.encode("utf-8").decode("latin-1")
    with scripted(answer(b"01234", "206 Partial Content", Content_Range=header)) as server:
        assert "instead of" in (line := said(lambda: connect(server.url).get("x", 0, 5))) or "not asked for" in line


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\r\n", b"HTTP", b"HTTP/1.1", b"HTTP/9.9 200 OK\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n", b"HTTP/1.1 -1 OK\r\n\r\n", b"HTTP/1.1 000 \r\n\r\n", b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nabcde", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab",
        CHUNKED + b"zz\r\nabc", CHUNKED + b"-5\r\nabc", CHUNKED + b"f" * 70000, CHUNKED + b"5\r\nab",
        CHUNKED + b"\xb2\r\nab", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70000 + b"\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 101 Switching\r\n\r\n", b"HTTP/1.1 500 \x1b[31m\x07\r\n\r\n",
        b"HTTP/1.1 206 Partial\r\nContent-Length: 2\r\n\r\nab", b"HTTP/1.1 418 Teapot " + b"x" * 60000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx", b"HTTP/1.1 300 Many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: x-gzip\r\nContent-Length: 1\r\n\r\nx", b"HTTP/1.1 302 Found\r\n\r\n",
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"\x1b[31m\"\r\n\r\n", b"HTTP/1.1 407 Proxy\r\n\r\n",
    ],
    ids=lambda raw: repr(raw[:40]),
)  # fmt: skip
def test_whatever_a_server_answers(raw: bytes, tmp_path: Path, capsys):
    with scripted(raw) as server:
        said(lambda: read_file(f"{server.url}/x"))
        for command in (
            ["info", "--catalog", f"{server.url}/x"],
            ["convert", f"{server.url}/x", str(tmp_path / "o.npz")],
        ):
            assert _exit_code(command) == 1
            err = capsys.readouterr().err
            assert err.count("\n") == 1
            assert "this is a bug" not in err
            assert err[:-1].isprintable()


def test_not_modified_is_believed_only_where_it_was_asked():
    with scripted(b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n') as server:
        transport = connect(server.url)
        said(lambda: transport.get("x", 0, 5))
        said(lambda: transport.get("x"))
        assert transport.get("x", known='"a"').data is None
        said(lambda: transport.get("x", known="a\r\nX-Evil: 1"))
        assert b"Evil" not in b"".join(server.asked)


def test_an_error_page_without_end_takes_no_memory(monkeypatch: pytest.MonkeyPatch):
    import tracemalloc

    def send(connection) -> None:
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /y\r\n\r\n")
        for _ in range(200):
            connection.sendall(b"x" * 1_000_000)

    with scripted(send) as server:
        tracemalloc.start()
        said(lambda: read_file(f"{server.url}/x"))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most < 30_000_000


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "X-GZip"])
def test_gzip_by_both_of_its_names(coding: str):
    with scripted(answer(gzip.compress(b"density"), Content_Encoding=coding)) as server:
        assert read_file(f"{server.url}/CHGCAR") == b"density"
        assert connect(server.url).get("CHGCAR", 2, 5).data == b"nsi"


# URLs ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("a b/CHGCAR", b"/a%20b/CHGCAR"), ("a%20b/CHGCAR", b"/a%20b/CHGCAR"), ("Zürich/CHGCAR", b"/Z%C3%BCrich/CHGCAR"),
        ("金/CHGCAR", b"/%E9%87%91/CHGCAR"), ("a+b/CHGCAR?x=a b", b"/a+b/CHGCAR?x=a%20b"), ("CHGCAR#x", b"/CHGCAR"),
        ("a\tb", b"/a%09b"), ('"<>', b"/%22%3C%3E"),
    ],
)  # fmt: skip
def test_blanks_and_letters_of_all_languages_in_urls(path: str, asked: bytes):
    with scripted(answer(b"found")) as server:
        assert read_file(f"{server.url}/{path}") == b"found"
        assert server.asked[0].split(b" ")[1] == asked
        assert connect(f"{server.url}/ä ö").get("ü ß").data == b"found"
        assert server.asked[1].split(b" ")[1] == b"/%C3%A4%20%C3%B6/%C3%BC%20%C3%9F"


def test_hosts_in_all_languages(monkeypatch: pytest.MonkeyPatch):
    """A proxy sees the host in the encoding of the name service."""
    with scripted(answer(b"found")) as server:
        monkeypatch.setenv("http_proxy", server.url)
        assert read_file("http://bücher.example/x") == b"found"
        assert server.asked[0].startswith(b"GET http://xn--bcher-kva.example/x ")
        assert b"Host: xn--bcher-kva.example\r\n" in server.asked[0]


@pytest.mark.parametrize(
    "url",
    [
        "http://", "https:///x", "http://host:99999/x", "http://host:x/", "http://[::1/x", "http://a b/x", "http://\0/x",
        "http://xn--a\u0301.example/", "http://" + "a" * 70 + ".example/x", "http://ex\u200dample/", "http://host:²/x",
        "http://.../x", "http://[v1.x]/", "://x", "http://\ud800/x", "zip::", "::", "a::b::c", "zip::zip::zip::x",
        "github://x", "github://a:b@/", "memory://\0", "file://\0", "file://host/\udcff", "hf://x", "data:,x://",
        "http://127.0.0.1:0/x", "ab://", "reference://", "dir::x", "tar://a::b", "s3://", "s3://\0/x", "gs://",
    ],
)  # fmt: skip
def test_whatever_a_url_is(url: str, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHGDB_TIMEOUT", "2")
    monkeypatch.setenv("CHGDB_DEADLINE", "2")
    for command in (["info", "--catalog", url], ["convert", url, "o.npz"], ["build", "o.zarr", url]):
        assert _exit_code(command) in (1, 2), command
        err = capsys.readouterr().err
        assert "this is a bug" not in err, (command, err)
        assert err.strip(), command


def test_a_path_with_colons_that_exists_is_a_path(tmp_path: Path, monkeypatch, capsys):
    from materials import atoms, same

    monkeypatch.chdir(tmp_path)
    Path("step::2").mkdir()
    assert is_url("step::2") is False
    assert is_url("step::2/CHGCAR") is False  # may be made
    assert is_url("step::3/CHGCAR") is True
    chgdb.write("step::2/CHGCAR", atoms("mat-1"))
    Path("CHGCAR").write_bytes(Path("step::2/CHGCAR").read_bytes())
    assert same(chgdb.read("step::2/CHGCAR"), chgdb.read("CHGCAR"))
    assert _exit_code(["convert", "step::2/CHGCAR", "step::2/o.cube"]) == 0
    assert _exit_code(["build", "step::2/st.zarr", "step::2/CHGCAR"]) == 0
    assert _exit_code(["info", "--catalog", "step::2/st.zarr"]) == 0
    assert _exit_code(["convert", "step::3/CHGCAR", "o.npz"]) == 1
    assert "step" in capsys.readouterr().err.splitlines()[-1]


# Variables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("CHGDB_TIMEOUT", value) for value in ("nan", "inf", "-1", "0", "1e400", "x", "²", "9" * 5000)),
        *(("CHGDB_ATTEMPTS", value) for value in ("1e9", "nan", "0", "-3", "inf", "five", "1_000")),
        *(("CHGDB_DEADLINE", value) for value in ("nan", "-inf", "1e300")),
    ],
)
def test_variables_that_are_no_numbers(name: str, value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, value)
    with scripted(answer(b"", "503 Busy")) as server:
        assert f"the environment variable {name} is" in said(lambda: read_file(f"{server.url}/x"))


@pytest.mark.parametrize("value", ["inf", "9" * 400, "-1", "²GB", "1e9", "1 XB", "1KB5"])
def test_sizes_of_the_cache_that_are_none(value: str, monkeypatch: pytest.MonkeyPatch):
    from chgdb.remote.cache import cache_limit

    monkeypatch.setenv("CHGDB_CACHE_SIZE", value)
    assert "CHGDB_CACHE_SIZE" in said(cache_limit)


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from chgdb.remote.cache import cache_folder

    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CHGDB_CACHE", "~/cache of mine")
    assert cache_folder() == tmp_path / "cache of mine"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHGDB_CACHE", "here")
    assert cache_folder() == tmp_path / "here"
    monkeypatch.setenv("CHGDB_CACHE", "~nobody-of-this-name/x")
    assert "no home folder" in said(cache_folder)
    monkeypatch.delenv("CHGDB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, by the specification
    assert cache_folder() == tmp_path / ".cache" / "chgdb"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "chgdb"


# Proxies -------------------------------------------------------------------------------------------------------------


def test_a_proxy_is_asked_for_the_whole_address(monkeypatch: pytest.MonkeyPatch):
    with scripted(answer(b"found")) as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:{SECRET}@127.0.0.1:{proxy.port}")
        assert read_file("http://example.test/x?y=1") == b"found"
        assert proxy.asked[0].startswith(b"GET http://example.test/x?y=1 HTTP/1.1\r\n")
        assert b"Host: example.test\r\n" in proxy.asked[0]
        assert b"proxy-authorization: basic" in proxy.asked[0].lower()


def test_a_proxy_does_not_make_two_servers_one(monkeypatch: pytest.MonkeyPatch):
    with scripted() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        proxy.script(answer(b"", "302 Found", Location="http://b.test/y"), answer(b"found"))
        assert connect("http://a.test", {"headers": {"X-Key": SECRET}}).get("x").data == b"found"
        assert b"X-Key" in proxy.asked[0]
        assert b"X-Key" not in proxy.asked[1]
        assert b"Host: b.test\r\n" in proxy.asked[1]
        proxy.script(answer(b"", "302 Found", Location="/y"), answer(b"found"))
        assert connect("http://a.test", {"headers": {"X-Key": SECRET}}).get("x").data == b"found"
        assert b"X-Key" in proxy.asked[1]


def test_a_tunnel_that_is_refused_or_drips(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHGDB_TIMEOUT", "0.5")
    with scripted(answer(b"", "403 Forbidden")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://u:{SECRET}@127.0.0.1:{proxy.port}")
        line = said(lambda: read_file("https://example.test/x"))
        assert "proxy" in line
        assert "403" in line
        assert SECRET not in line
        assert proxy.asked[0].startswith(b"CONNECT example.test:443 ")
        proxy.script(dripping(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", 0.1))
        begin = time.monotonic()
        said(lambda: read_file("https://example.test/x"))
        assert time.monotonic() - begin < 4


def test_which_proxy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://cgi:1")
    assert proxy_for("http", "a.test") == ""
    monkeypatch.setenv("ALL_PROXY", "all.test")
    assert proxy_for("http", "a.test") == "http://all.test:1080"
    monkeypatch.setenv("https_proxy", "https://p.test")
    assert proxy_for("https", "a.test") == "https://p.test:443"
    for listed, host, none in (
        ("*", "a.test", True), ("a.test", "a.test", True), (".a.test", "b.a.test", True), ("a.test", "ba.test", False),
        ("a.test", "b.A.test.", True), ("x, 10.0.0.0/8", "10.1.2.3", True), ("10.0.0.0/8", "11.1.2.3", False),
        ("[::1]", "::1", True), ("fe80::/10", "[fe80::1]", True), ("a b", "b", True), (", ,", "a", False),
        ("1/2/3", "a", False),
    ):  # fmt: skip
        monkeypatch.setenv("no_proxy", listed)
        assert (proxy_for("https", host) == "") is none, (listed, host)


@pytest.mark.parametrize(
    "proxy", ["socks5://h:1", "socks5h://u:s3cr3t@h", "ftp://h", "http://h:x", "http://[::1", "::", "a b"]
)
def test_proxies_that_are_not_supported_are_said(proxy: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("all_proxy", proxy)
    line = said(lambda: read_file("http://example.test/x"))
    assert "all_proxy" in line
    assert SECRET not in line


def test_a_kept_connection_that_was_closed_is_no_failure():
    """One connection, two answers, the second after the server has closed it."""
    with scripted(answer(b"first"), answer(b"second")) as server:  # says nothing of closing, and closes
        transport = connect(server.url)
        assert [transport.get("x").data for _ in range(2)] == [b"first", b"second"]


def test_commands_without_a_url_import_no_client():
    code = (
        "import sys, chgdb; chgdb.open()['mp-149'].density;"
        "print([m for m in ('urllib3', 'idna', 'http.client', 'ssl', 'fsspec') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_another_package_can_offer_a_transport(monkeypatch: pytest.MonkeyPatch):
    """An entry point, as an installed package has it."""
    from importlib.metadata import EntryPoint

    point = EntryPoint("shelf", "test_hostile:_shelf", "chgdb.transports")
    monkeypatch.setattr("chgdb.remote.connect.offered", lambda group: {"shelf": point})
    assert read_file("shelf://book") == b"shelf://book"


class _Shelf:
    writable = False

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, key: str, start=None, stop=None, *, fresh: bool = False, known: str = "") -> Answer:
        return Answer(self.url.encode())


def _shelf(url: str, options: dict) -> _Shelf:
    return _Shelf(url)
