"""compose.yaml: production passes every setting on, the demo needs none. The tests do not need Docker."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from movieserver.settings import Settings
from tests.conftest import SECRET, temporary_folder

TOP = Path(__file__).parents[1]
TEXT = (TOP / "compose.yaml").read_text(encoding="utf-8")
FILE = YAML(typ="safe").load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
ENVIRONMENT: dict[str, str | None] = SERVICES["server"]["environment"]
COMPOSES = [("docker-compose",), ("docker", "compose")]


def works(command: tuple[str, ...]) -> bool:
    return bool(shutil.which(command[0])) and subprocess.run(
        [*command, "version"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("command", COMPOSES, ids=" ".join)
@pytest.mark.parametrize("profile", ["demo", "production"])
def test_compose_accepts_the_file(command: tuple[str, ...], profile: str) -> None:
    if not works(command):
        pytest.skip(f"{' '.join(command)} is not installed")
    done = subprocess.run(
        [*command, "--file", str(TOP / "compose.yaml"), "--profile", profile, "config"],
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_file_conforms_to_its_schema() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"], cwd=TOP,
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_docker_compose_1_29_accepts_the_top_level_keys() -> None:
    assert {key for key in FILE if not key.startswith("x-")} == {"services", "networks", "volumes"}


def test_services_refer_to_services_of_their_profile() -> None:
    for name, service in SERVICES.items():
        for other, requirement in service.get("depends_on", {}).items():
            assert SERVICES[other]["profiles"] == service["profiles"]
            if requirement["condition"] == "service_healthy":
                assert SERVICES[other]["healthcheck"]["test"]
        assert set(service["networks"]) <= set(FILE["networks"])
        assert {volume.partition(":")[0] for volume in service.get("volumes", [])} <= set(FILE["volumes"])
        assert ("ports" in service) == (name in ("server", "demo"))
    assert {name for name, service in SERVICES.items() if service["profiles"] == ["demo"]} == {"demo"}
    assert SERVICES["server"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert SERVICES["migrate"]["environment"] == ENVIRONMENT


def test_every_setting_is_passed_through() -> None:
    """An unlisted setting in .env would not reach the server."""
    assert set(ENVIRONMENT) == {name.upper() for name in Settings.model_fields}


def filled(**values: str) -> dict[str, str]:
    """The server's environment with `values` set, as Compose makes it."""
    def replaced(match: re.Match[str]) -> str:
        return values.get(match[1]) or match[2]

    text = {name: value if value is None else re.sub(r"\$\{(\w+):-([^}]*)\}", replaced, value)
            for name, value in ENVIRONMENT.items()}
    return {name.lower(): value if value is not None else values[name] for name, value in text.items()
            if value is not None or name in values}


def test_production_gets_its_settings() -> None:
    settings = Settings(_env_file=None, **filled(  # type: ignore[arg-type]
        POSTGRES_PASSWORD="p", REDIS_PASSWORD="r", JWT_SECRET=SECRET, MOVIE_API_URL="http://m/",
        CORS_ORIGINS="https://app.example", TRUSTED_PROXIES="10.0.0.0/8", PROCESSES="4"))
    assert settings.database_url and settings.redis_url
    assert settings.database_url.get_secret_value() == "postgresql://movieserver:p@postgres:5432/movieserver"
    assert settings.redis_url.get_secret_value() == "redis://:r@redis:6379/0"
    assert (settings.host, settings.port, settings.processes) == (["0.0.0.0"], 8000, 4)
    assert settings.cors_origins == ["https://app.example"] and settings.trusted_proxies


def test_production_requires_its_settings() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(_env_file=None, **filled())  # type: ignore[arg-type]
    assert {fault["loc"][0] for fault in refused.value.errors()} == {"movie_api_url", "jwt_secret"}


def test_the_file_has_no_secrets() -> None:
    found = dict(re.findall(r"\$\{(\w+)(:?[?-][^}]*|)\}", TEXT.replace("$${", "")))
    assert {kind[:2] for kind in found.values()} == {":-"}
    assert {default for name, default in found.items() if "PASSWORD" in name} == {":-"}
    for name, value in ENVIRONMENT.items():
        assert value is None or not any(word in name for word in ("PASSWORD", "SECRET", "TOKEN"))


@pytest.mark.parametrize("password", ["", "long-random-word"])
def test_redis_requires_a_password(password: str) -> None:
    service = SERVICES["redis"]
    shell, option, script = service["command"]
    with temporary_folder() as folder:
        entrypoint = folder / "docker-entrypoint.sh"
        entrypoint.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
        entrypoint.chmod(0o755)
        done = subprocess.run(
            [shell, option, script.replace("$$", "$")], capture_output=True, text=True, check=False,
            env={"PATH": f"{folder}:{os.environ['PATH']}", "REDISCLI_AUTH": password, "REDIS_MEMORY": "256mb"})
    if password:
        assert done.stdout.splitlines()[:3] == ["redis-server", "--requirepass", password]
    else:
        assert done.returncode != 0 and "set REDIS_PASSWORD" in done.stderr and done.stdout == ""
