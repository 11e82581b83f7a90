"""A failover: the primary is killed under load, the standby is promoted, and no acknowledged write is lost."""
from __future__ import annotations

import random
import time

import pytest

from movieserver.embedded.redis import Redis
from tests.chaos import Checker, Client, acknowledged, until, writing
from tests.conftest import SECRET, temporary_folder
from tests.replica import pair, url
from tests.test_run import serving

SERVING_AGAIN_SECONDS = 5.0
WRITES = 200


@pytest.mark.parametrize("commit", ["on", "remote_apply"])
def test_a_failover_loses_nothing(redis: Redis, commit: str) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    with temporary_folder() as folder, pair(commit) as (primary, standby):
        outside = {
            "DATABASE_URL": url([primary, standby], target_session_attrs="read-write"), "REDIS_URL": redis.url,
            "JWT_SECRET": SECRET, "MOVIE_API_URL": "http://127.0.0.1:1/", "PROCESSES": "2",
        }
        with serving(folder / "data", **outside) as server:
            client = Client(int(server.url.rpartition(":")[2]))
            with writing(client, seed) as writers:
                until(lambda: acknowledged(writers) >= WRITES)
                primary.kill()
                refused = client.responses[503]
                until(lambda: client.responses[503] > refused)
                began = time.monotonic()
                standby.promote()
                before = acknowledged(writers)
                until(lambda: acknowledged(writers) > before)
                assert time.monotonic() - began < SERVING_AGAIN_SECONDS
                until(lambda: acknowledged(writers) >= before + WRITES)
            assert set(client.responses) <= {200, 201, 503}
            assert Checker(standby.url, client).faults(writers) == []
            assert server.stop() == 0
