"""The checks that every request passes: whose it is, how large it is, and what a browser may do with the answer."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import suppress
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]


#: Bytes that a body may have where no file is taken: a structure of a thousand atoms many times over.
SMALL = 1 << 20


class Guard:
    """ASGI middleware: refuses what does not come from the page itself, and bodies that are too large.

    limit: bytes of a body that is sent to one of the paths `uploads`; others have `SMALL` at most.

    hosts: names under which the server answers, besides the loopback's and IP addresses. A page that was loaded under
    another name is one whose owner made that name point here (DNS rebinding).
    """

    def __init__(self, app: App, *, hosts: Collection[str] = (), limit: int, uploads: Collection[str] = ()) -> None:
        self.app = app
        self.hosts = {"localhost", *(host.lower() for host in hosts)}
        self.limit = limit
        self.uploads = frozenset(uploads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        refusal = self._refusal(scope, headers)

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        if refusal is not None:
            await _answer(guarded_send, *refusal)
            return
        size = 0
        most = self._most(scope)

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            if message["type"] == "http.request":
                size += len(message.get("body", b""))
                if size > most:
                    raise HTTPException(413, self._too_large(scope))  # the application answers with it
            return message

        with suppress(ClientDisconnect):  # a browser that is closed is no error of the server
            await self.app(scope, counted, guarded_send)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and reason where the request is refused."""
        host = headers.get("host", "")
        if not self._is_ours(host):
            return 421, "this server does not answer under that name: see chgdb web --help, --allow-host"
        site = headers.get("sec-fetch-site", "none")
        origin = headers.get("origin")
        foreign = site in ("cross-site", "same-site") or (origin is not None and origin.partition("://")[2] != host)
        follows_link = scope["method"] in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
        if foreign and not (follows_link and scope["path"] == "/"):
            return 403, "requests from other sites are refused"
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return 400, "the length of the request is no number"
        if len(length) > 20 or int(length) > self._most(scope):
            return 413, self._too_large(scope)
        return None

    def _most(self, scope: Scope) -> int:
        return self.limit if scope["path"] in self.uploads else min(SMALL, self.limit)

    def _too_large(self, scope: Scope) -> str:
        advice = "start chgdb web with a larger --limit" if scope["path"] in self.uploads else "nothing here takes that"
        return f"more than {self._most(scope) >> 20} MiB: {advice}"

    def _is_ours(self, host: str) -> bool:
        """
        >>> guard = Guard(None, limit=1)
        >>> [guard._is_ours(h) for h in ("localhost:80", "127.0.0.1:8731", "[::1]:1", "evil.example", "")]
        [True, True, True, False, False]
        """
        name = host[: host.rindex("]") + 1] if "]" in host else host.partition(":")[0]
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name.lower() in self.hosts
        return True


async def _answer(send: Send, status: int, detail: str) -> None:
    import json

    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
