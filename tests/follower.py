"""A program that follows the changes of a user through /changes/ and reads what changed, for crash tests."""
from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.chaos import Client


class Follower:
    """What a user has, replayed from nothing: `collections` by uuid, as they are read."""

    def __init__(self, client: Client, token: str) -> None:
        self._client, self._token = client, token
        self._since = ""
        self.collections: dict[str, Any] = {}
        self.pages = 0

    def follow(self, wait: int = 0) -> bool:
        """Replay one page; whether there was one with changes. A page that cannot be replayed is read again."""
        address = f"/changes/?limit=7&wait={wait}" + (f"&since={self._since}" if self._since else "")
        status, page = self._client.call("GET", address, token=self._token)
        if status != 200 or not all([self._replay(change) for change in page["changes"]]):
            assert status in (0, 200, 503), page
            return True
        self.pages += 1
        self._since = page["next"]
        return bool(page["changes"])

    def _replay(self, change: dict[str, str]) -> bool:
        """Whether the change is replayed."""
        uuid = change["collection_uuid"]
        if change["change"] == "deleted":
            self.collections.pop(uuid, None)
            return True
        status, collection = self._client.call("GET", f"/collection/{uuid}/", token=self._token)
        if status == 200:
            self.collections[uuid] = collection
        return status in (200, 404)  # a deleted one has a later change

    def truth(self) -> dict[str, Any]:
        """What the user has, as the list says."""
        found: dict[str, Any] = {}
        link = "/collection/?limit=100"
        while link:
            status, page = self._client.call("GET", link, token=self._token)
            assert status == 200
            found |= {one["uuid"]: {key: one[key] for key in one if key != "movie_count"}
                      for one in page["data"]["collections"]}
            link = "/collection/" + page["next"].partition("/collection/")[2] if page["next"] else ""
        return found


@contextmanager
def following(client: Client, tokens: Sequence[str]) -> Iterator[list[Follower]]:
    """A follower of each user, until the end of the block; then the rest is replayed, unless the block failed."""
    over, failed = threading.Event(), threading.Event()
    followers = [Follower(client, token) for token in tokens]

    def loop(follower: Follower) -> None:
        while not over.is_set():
            follower.follow(wait=1)
        while follower.follow() and not failed.is_set():
            pass

    threads = [threading.Thread(target=loop, args=(follower,)) for follower in followers]
    for thread in threads:
        thread.start()
    try:
        yield followers
    except BaseException:
        failed.set()
        raise
    finally:
        over.set()
        for thread in threads:
            thread.join()
