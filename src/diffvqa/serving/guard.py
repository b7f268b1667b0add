"""Who may ask, and what is said with every response: nothing reaches the server but its own page and programs.

A page of another site must neither send files nor read answers. Origin and Sec-Fetch-Site stop a page by its address.
Host stops a page whose name leads to this machine.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL = ("127.0.0.1", "localhost", "::1")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

HEALTH = "/health"
"""What may be asked for by any name: what watches over a server knows its number, and nothing there is anybody's."""

_READING = ("GET", "HEAD")
_log = logging.getLogger(__name__)


class Guard:
    """An application behind these checks.

    hosts: the names in the Host header by which it may be asked for; origin: the address of its page as browsers give
    it in the Origin header, where they reach it through another server.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], origin: str | None = None) -> None:
        self._app, self._origin = app, origin
        names = [*hosts, urlsplit(origin).hostname if origin else None]
        self._hosts = {name.lower() for name in names if name}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        is_head = scope["method"] == "HEAD"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            elif is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        refusal = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        try:
            # HEAD is answered as GET, without the body.
            asked = {**scope, "method": "GET"} if is_head else scope
            await (refusal or self._app)(asked, receive, send_with_headers)
        except Exception as error:
            # Answered already, by the application. Messages may quote what was sent, and stay out of the log.
            where = traceback.extract_tb(error.__traceback__)[-1]
            _log.error("%s in %s, line %s", type(error).__name__, where.name, where.lineno)

    def _refusal(self, method: str, path: str, headers: Headers) -> JSONResponse | None:
        host = headers.get("host", "")
        if path == HEALTH and method in _READING:
            return None
        if _hostname(host) not in self._hosts:
            return JSONResponse({"detail": "asked for by a name that is not this server's"}, 400)
        if method in _READING:
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if origin not in (None, f"http://{host}", self._origin) or site not in ("none", "same-origin"):
            return JSONResponse({"detail": "sent by a page of another site"}, 403)
        return None


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
