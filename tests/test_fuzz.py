"""A short run of the fuzzer, which must detect an undescribed response."""
from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.described import DOCUMENT
from tests.factories import registration
from tests.fuzz import ENDS_ALONE, LONG_LIVED, WITHOUT_ENDS, fuzz, personal_token, with_headers
from tests.test_run import Server, serving, sign_up


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """A server for all tests of this file."""
    with serving(folder, **LONG_LIVED) as running:
        yield running


@pytest.mark.parametrize("signed", ["with a login", "with a personal token", ""])
def test_every_response_is_as_described(server: Server, tmp_path: Path, signed: str) -> None:
    token = personal_token(server) if "personal" in signed else sign_up(server, registration()) if signed else None
    phases = "examples,fuzzing,stateful" if "login" in signed else "examples,fuzzing"
    outcome = fuzz(
        with_headers(tmp_path), "--url", server.url, "--phases", phases, *WITHOUT_ENDS, token=token,
        examples=4 if "login" in signed else 1)
    assert outcome.passed, outcome.report
    assert outcome.cases > (60 if "login" in signed else 20)


def test_the_responses_to_the_end_of_an_account_are_as_described(server: Server) -> None:
    outcome = fuzz(
        f"{server.url}/openapi.json", "--phases", "fuzzing", *ENDS_ALONE,
        token=sign_up(server, registration()), examples=2)
    assert outcome.passed, outcome.report


def test_an_undescribed_response_is_detected(server: Server, tmp_path: Path) -> None:
    changed: Any = copy.deepcopy(DOCUMENT)
    changed["components"]["schemas"]["Root"]["required"].append("what no response has")
    description = tmp_path / "openapi.json"
    description.write_text(json.dumps(changed), encoding="utf-8")
    outcome = fuzz(str(description), "--url", server.url, "--include-path", "/", "--phases", "fuzzing")
    assert not outcome.passed
    assert "what no response has" in outcome.report
