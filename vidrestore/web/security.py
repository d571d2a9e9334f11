"""Who may talk to the page: this machine's own browser, and people who know the password.

A page of another site, open in the same browser, can send requests here too. It is told by the
``Host`` it asked for (DNS rebinding) or the ``Origin`` it comes from (request forgery).
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vidrestore.errors import SettingsError
from vidrestore.jobs.space import as_size

_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
_FORM_BYTES = 65_536
"""What surrounds the file in an upload."""
_SPARE_BYTES = 50_000_000
"""Room on the disk that an upload leaves."""
_FETCHING = re.compile("file[=/]https?:", re.IGNORECASE)
"""In a path that Gradio answers with what it gets from another machine."""
_HEADERS = {
    "content-security-policy": (
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}
"""The page loads nothing from elsewhere, and is shown in no other page."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the page listens and whom it lets in."""

    host: str = "127.0.0.1"
    user_and_password: str | None = None
    """As ``USER:PASSWORD``; needed where other machines can reach the page."""

    def __post_init__(self) -> None:
        if self.user_and_password is not None:
            user, _, password = self.user_and_password.partition(":")
            if not user or not password:
                raise SettingsError("--auth is not USER:PASSWORD")
        elif not _is_loopback(self.host):
            raise SettingsError(
                f"with --host {self.host} other machines can reach the page: add --auth "
                "USER:PASSWORD"
            )

    def knows_host(self, host: str) -> bool:
        """Is the page called so? Names of other people's choosing may point here as well."""
        if host in _LOOPBACK or host == self.host.lower():
            return True
        if not _is_any(self.host):
            return False
        name = socket.gethostname().lower()
        return _is_address(host) or host in (name, f"{name}.local", socket.getfqdn().lower())

    def admits(self, authorization: str) -> bool:
        """Is the password right? ``authorization`` is the request's header."""
        if self.user_and_password is None:
            return True
        kind, _, coded = authorization.partition(" ")
        try:
            given = base64.b64decode(coded, validate=True)
        except ValueError:
            return False
        is_right = hmac.compare_digest(given, self.user_and_password.encode())
        return kind.lower() == "basic" and is_right


class Guard:
    """Middleware that refuses requests before anything else sees them.

    Args:
        app: What is guarded.
        access: Whom to let in.
        most_bytes: Largest upload; None: no limit but the disk.
        room_bytes: Returns how much fits on the disk.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        most_bytes: int | None,
        room_bytes: Callable[[], int],
    ) -> None:
        self._app, self._access = app, access
        self._most_bytes, self._room_bytes = most_bytes, room_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # the page uses no websockets: not accepted
        refusal = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        if refusal is not None:
            await refusal(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(k.encode(), v.encode()) for k, v in _HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _refusal(self, method: str, path: str, headers: Headers) -> Response | None:
        host = _host_of(headers.get("host", ""))
        if host is None or not self._access.knows_host(host):
            return _refused(HTTPStatus.MISDIRECTED_REQUEST, "this page has another address")
        if not _is_own(headers):
            return _refused(HTTPStatus.FORBIDDEN, "another site may not do this")
        if not self._access.admits(headers.get("authorization", "")):
            asks = {"www-authenticate": 'Basic realm="vidrestore", charset="UTF-8"'}
            return _refused(HTTPStatus.UNAUTHORIZED, "user and password, please", asks)
        if _FETCHING.search(unquote(path)):
            return _refused(HTTPStatus.FORBIDDEN, "nothing is fetched from elsewhere")
        return self._refusal_of_size(headers) if method == "POST" else None

    def _refusal_of_size(self, headers: Headers) -> Response | None:
        text = headers.get("content-length", "0")
        num_bytes = int(text) if text.isdecimal() else 0
        if self._most_bytes is not None and num_bytes > self._most_bytes + _FORM_BYTES:
            return _refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"this file has {as_size(num_bytes)}, and at most {as_size(self._most_bytes)} are "
                "taken here",
            )
        if num_bytes > _FORM_BYTES and num_bytes + _SPARE_BYTES > self._room_bytes():
            return _refused(
                HTTPStatus.INSUFFICIENT_STORAGE,
                f"this file has {as_size(num_bytes)}, and the disk has no room for it",
            )
        return None


def _refused(
    status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None
) -> PlainTextResponse:
    return PlainTextResponse(text, status_code=int(status), headers=headers)


def _is_own(headers: Headers) -> bool:
    """Tell a request of this page, or of no page, from those of other pages."""
    host: str = headers.get("host", "")
    origin: str | None = headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc.lower() == host.lower()
    mode: str | None = headers.get("sec-fetch-mode")
    site: str | None = headers.get("sec-fetch-site")
    return site != "cross-site" or mode == "navigate"


def _host_of(header: str) -> str | None:
    """Return the name in a ``Host`` header, without the port."""
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_any(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_unspecified


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
