"""GET /: browsers get the web page, other clients the addresses of the OpenAPI document and of the docs."""
from __future__ import annotations

import pytest

from tests.client import Api

FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize("accept", [
    FIREFOX, "text/html", "TEXT/HTML; charset=utf-8", "text/html, application/json;q=0.9"])
async def test_a_browser_gets_the_page(api: Api, accept: str) -> None:
    for method in ("GET", "HEAD"):
        response = await api.call(method, "/", headers={"Accept": accept})
        assert response.status == 200 and response.headers["Content-Type"].startswith("text/html")
        assert "Accept" in response.headers["Vary"].split(",")
        assert b"<html" in response.body or method == "HEAD"


@pytest.mark.parametrize("accept", [
    "", "*/*", "application/json", "application/json, text/plain, */*", "text/html;q=0",
    "text/html;q=0.5, application/json", "image/png", ";,;", "text/html;q=x",
])
async def test_other_clients_get_both_addresses(api: Api, accept: str) -> None:
    response = await api.get("/", headers={"Accept": accept})
    assert (response.status, response.json) == (200, {"openapi": "/openapi.json", "docs": "/docs/"})
    assert "Accept" in response.headers["Vary"].split(",")
    for path in response.json.values():
        assert (await api.get(path)).status == 200


async def test_it_counts_and_has_no_other_verb(api: Api) -> None:
    before = (await api.get("/request-count/")).json["requests"]
    assert (await api.post("/")).headers["Allow"] == "GET, HEAD, OPTIONS"
    await api.get("/", headers={"Accept": "text/html"})
    assert (await api.get("/request-count/")).json["requests"] == before + 3
