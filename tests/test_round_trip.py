"""What is exported, and imported into an empty account, is exported again byte for byte."""
from __future__ import annotations

import json
import random
import string
import uuid
from typing import Any

import pytest

from movieserver.data import exports
from movieserver.embedded.postgres import Postgres
from tests.client import Api
from tests.conftest import SignUp
from tests.counts import assert_exact
from tests.test_exports import pages
from tests.test_imports import CSV, JSON, NDJSON, imported
from tests.test_stored_movies import TEXTS

PIECES = [
    *TEXTS, "=", "+", "-", "@", "'", '"', ";", ",", "\t", "\r", "\n", "\r\n", "\ufeff", "sep=;",
    "Letterboxd list export", *string.ascii_letters]
NAMES = ["tmdb", "imdb", "a", "z9_"]
GENRES = ["", "Drama", "=a,-b", " Drama , ,War", "'"]


class Maker:
    """Makes collections up; the same ones from the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def text(self, least: int, most: int) -> str:
        pieces = self.random.choices(PIECES, k=self.random.choice((0, 1, 1, 2, 5, 20)))
        return "".join(pieces)[:most].ljust(least, "x")

    def movie(self) -> dict[str, Any]:
        optional = {
            "year": self.random.randint(1870, 2100), "poster": f"https://x/{self.random.random()}'=;",
            "ids": {name: self.text(1, 100) for name in self.random.sample(NAMES, k=self.random.randint(0, 4))},
            "note": self.text(0, 2_000),
        }
        return {
            "uuid": str(uuid.UUID(int=self.random.getrandbits(128))), "title": self.text(1, 500),
            "description": self.text(0, 10_000), "genres": self.random.choice(GENRES),
        } | {key: value for key, value in optional.items() if self.random.random() < 0.5}

    def collection(self) -> dict[str, Any]:
        movies = [self.movie() for _ in range(self.random.choice((0, 1, 3, 12)))]
        return {"title": self.text(1, 255), "description": self.text(0, 3_000), "movies": movies}


async def filled(api: Api, seed: int) -> None:
    """Give the user collections of every kind, some of which have been changed."""
    maker = Maker(seed)
    for _ in range(maker.random.randint(1, 12)):
        answer = await api.post("/collection/", maker.collection())
        assert answer.status == 201, answer.json
        if maker.random.random() < 0.4:
            assert (await api.put(answer.headers["Location"], {"title": maker.text(1, 255)})).status == 200
        if maker.random.random() < 0.4:
            assert (await api.post(f"{answer.headers['Location']}movies/", maker.movie())).status == 200


@pytest.mark.parametrize("seed", range(12))
async def test_an_export_in_an_empty_account_is_the_same_export(
    alice: Api, sign_up: SignUp, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Uuids and moments included, page by page; and a second import changes nothing."""
    await filled(alice, seed)
    monkeypatch.setattr(exports, "PAGE_COLLECTIONS", 5)
    before, bob = [page.body for page in await pages(alice)], await sign_up()
    for again in (False, True):
        for page in before[::random.Random(seed).choice((1, -1))]:
            done = await imported(bob, page, NDJSON)
            assert done["skipped"] == 0 and (done["added"] == 0 or not again)
        assert [page.body for page in await pages(bob)] == before
    assert (await bob.get("/genres/")).json["genres"] == (await alice.get("/genres/")).json["genres"]
    assert_exact(postgres.url, alice)
    assert_exact(postgres.url, bob)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", [JSON, CSV])
async def test_an_exported_collection_can_be_imported(alice: Api, sign_up: SignUp, seed: int, kind: str) -> None:
    """As JSON wholly, as CSV with every movie as it was."""
    await filled(alice, seed)
    bob = await sign_up()
    for line in b"".join([page.body for page in await pages(alice)]).splitlines():
        path = f"/collection/{json.loads(line)['uuid']}/"
        file = await alice.get(f"{path}export/?format={'json' if kind == JSON else 'csv'}")
        done = await imported(bob, file.body, kind)
        if kind == JSON:
            assert (await bob.get(path)).body == file.body
        elif json.loads(line)["movies"]:
            into = done["collections"][0]["uuid"]
            assert (await bob.get(f"/collection/{into}/")).json["movies"] == json.loads(line)["movies"]
            assert done["skipped"] == 0
