from __future__ import annotations

import base64

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from vidrestore.errors import SettingsError
from vidrestore.web.security import Access, Guard

HERE = "http://127.0.0.1:7860"


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{len(await request.body())} bytes")


def client(
    access: Access | None = None, most_bytes: int | None = None, room: int = 10**9
) -> TestClient:
    guard = Middleware(
        Guard, access=access or Access(), most_bytes=most_bytes, room_bytes=lambda: room
    )
    routes = [Route("/{path:path}", echo, methods=["GET", "POST"])]
    return TestClient(Starlette(routes=routes, middleware=[guard]), base_url=HERE)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860", "127.0.0.1", "LOCALHOST"]
)
def test_the_machines_own_names_are_answered(host: str) -> None:
    assert client().get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "[::1", "10.0.0.7"]
)
def test_other_names_for_this_machine_are_refused(host: str) -> None:
    assert client().get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://127.0.0.1:9999", "http://127.0.0.1:7860.evil.example"],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_pages_of_other_sites_may_do_nothing(origin: str, method: str) -> None:
    assert client().request(method, "/", headers={"origin": origin}).status_code == 403


def test_the_page_itself_and_programs_may() -> None:
    assert client().post("/", headers={"origin": HERE}, content=b"abc").text == "3 bytes"
    assert client().post("/", content=b"abc").text == "3 bytes"


def test_only_links_lead_here_from_elsewhere() -> None:
    foreign = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client().get("/results/a/b", headers=foreign).status_code == 403
    link = foreign | {"sec-fetch-mode": "navigate"}
    assert client().get("/", headers=link).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=http://x/y",
        "/gradio_api/file%3DHTTPS://x/y",
        "/gradio_api/file/http://x/y",
        "/gradio_api/file/https:%2F%2Fx/y",
    ],
)
def test_nothing_is_fetched_from_elsewhere(path: str) -> None:
    assert client().get(path).status_code == 403


def test_the_password_is_asked_for() -> None:
    guarded = client(Access("0.0.0.0", "ann:s3:cret"))

    def status(user_and_password: str | None, kind: str = "Basic") -> int:
        if user_and_password is None:
            return guarded.get("/").status_code
        coded = base64.b64encode(user_and_password.encode()).decode()
        return guarded.get("/", headers={"authorization": f"{kind} {coded}"}).status_code

    assert status("ann:s3:cret") == 200
    for wrong in (None, "ann:s3", "ann:", "bob:s3:cret", ""):
        assert status(wrong) == 401
    assert status("ann:s3:cret", "Bearer") == 401
    assert guarded.get("/", headers={"authorization": b"Basic \xe4"}).status_code == 401
    assert "Basic" in guarded.get("/").headers["www-authenticate"]


def test_other_machines_need_the_password() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.7", "nas.example"):
        with pytest.raises(SettingsError, match="--auth"):
            Access(host)
        Access(host, "ann:secret")
    for host in ("127.0.0.1", "127.0.0.2", "localhost", "::1"):
        Access(host)
    for auth in ("ann", "ann:", ":secret"):
        with pytest.raises(SettingsError, match="USER:PASSWORD"):
            Access("127.0.0.1", auth)


def test_everywhere_means_addresses_and_the_machines_name() -> None:
    everywhere = Access("0.0.0.0", "ann:secret")
    assert everywhere.knows_host("192.168.1.7")
    assert not everywhere.knows_host("evil.example")
    assert Access("nas.example", "ann:secret").knows_host("nas.example")


def test_large_and_unstorable_uploads_are_refused_before_they_come() -> None:
    small = client(most_bytes=100_000)
    assert small.post("/", content=bytes(100_000)).status_code == 200
    refused = small.post("/", content=bytes(200_000))
    assert refused.status_code == 413
    assert "at most 100 kB" in refused.text
    full = client(room=50_100_000).post("/", content=bytes(200_000))
    assert full.status_code == 507
    assert "no room" in full.text


def test_the_page_may_load_nothing_and_be_framed_by_nobody() -> None:
    policy = client().get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
