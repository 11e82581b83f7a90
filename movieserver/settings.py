"""What the environment (or a .env file in the working directory) says, checked once at the start."""
from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

SECRET_BYTES = 32  # RFC 7518 section 3.2: an HS256 key has at least 256 bits
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 section 2.1


class SettingsError(Exception):
    """One message that names every bad variable; `rest` are the settings as far as they are good."""

    def __init__(self, faults: dict[str, str], rest: Settings) -> None:
        self.rest = rest
        super().__init__("\n".join(
            ["these settings are wrong:", *(f"  {name.upper()}: {message}" for name, message in faults.items())]))


def _url(*schemes: str) -> AfterValidator:
    def check(url: str) -> str:
        if urlsplit(url).scheme not in schemes:
            raise ValueError("must begin with " + " or ".join(f"{scheme}://" for scheme in schemes))
        if not (urlsplit(url).hostname or schemes[-1] == urlsplit(url).scheme == "unix"):
            raise ValueError("names no host")
        if "," not in urlsplit(url).netloc:
            urlsplit(url).port  # a ValueError where it is no number
        return url

    return AfterValidator(check)


def _database_url(url: str) -> str:
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql://")
    try:
        ports = parse_dsn(url).get("port", "")
    except ProgrammingError as error:
        raise ValueError(f"cannot be read: {str(error).strip()}") from None
    if not ports.replace(",", "0").isdecimal() and ports:
        raise ValueError("has a port that is no number")
    return url


def _networks(text: str) -> list[IPv4Network | IPv6Network]:
    return [ip_network(part.strip()) for part in text.split(",") if part.strip()]


def _checked_networks(text: str) -> str:
    _networks(text)  # a ValueError that names the part at fault
    return text


def _keys(secret: SecretStr) -> list[str]:
    return [key.strip() for key in secret.get_secret_value().split(",")]


def _origins(given: object) -> object:
    return frozenset(filter(None, map(str.strip, given.split(",")))) if isinstance(given, str) else given


def _origin(origin: str) -> str:
    """An origin as browsers write it (RFC 6454 section 6.2), or *."""
    if origin != "*" and not ORIGIN.fullmatch(origin):
        raise ValueError(f"{origin!r} is no origin: https://app.example, in small letters, without a path")
    if origin.endswith(DEFAULT_PORTS.get(urlsplit(origin).scheme, " ")):
        raise ValueError(f"{origin!r} names the port that browsers leave out")
    return origin


class Settings(BaseSettings):
    """The settings, frozen. A field's name in capitals is the variable's name; .env.example explains each."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    host: str = "localhost"
    port: int = Field(8000, ge=0, le=65535)
    processes: int = Field(1, ge=1, le=64)
    data_dir: Path = Path("var")
    database_url: Annotated[str, AfterValidator(_database_url)] | None = None
    database_pool_size: int = Field(10, ge=1, le=200)
    redis_url: Annotated[str, _url("redis", "rediss", "redis+cluster", "redis+sentinel", "unix")] | None = None
    movie_api_kind: Literal["plain", "tmdb"] = "plain"
    movie_api_url: Annotated[str, _url("https", "http")] | None = None
    movie_api_username: str | None = None
    movie_api_password: SecretStr | None = None
    movie_api_token: SecretStr | None = Field(None, validate_default=True)
    movie_api_seconds: float = Field(8, gt=0, le=60)
    movie_cache_seconds: float = Field(60, ge=0, le=86400)
    jwt_secret: SecretStr | None = Field(None, validate_default=True)
    access_token_minutes: float = Field(15, gt=0, le=60 * 24 * 7)
    refresh_token_days: float = Field(30, gt=0, le=3660)
    bcrypt_rounds: int = Field(12, ge=4, le=20)
    trusted_proxies: Annotated[str, AfterValidator(_checked_networks)] = ""
    counter_reset_token: SecretStr | None = None
    cors_origins: Annotated[
        frozenset[Annotated[str, AfterValidator(_origin)]], NoDecode, BeforeValidator(_origins)
    ] = frozenset()
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        BeforeValidator(lambda level: level.upper() if isinstance(level, str) else level),
    ] = "INFO"

    @field_validator("movie_api_token")
    @classmethod
    def _key(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if info.data.get("movie_api_kind") == "tmdb" and not (token and info.data.get("movie_api_url")):
            raise ValueError("is required with MOVIE_API_KIND=tmdb, and so is MOVIE_API_URL")
        return token

    @field_validator("counter_reset_token")
    @classmethod
    def _token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not BEARER_TOKEN.fullmatch(token.get_secret_value()):
            raise ValueError("has characters that no bearer token can have: letters, digits and -._~+/ are good")
        return token

    @field_validator("jwt_secret")
    @classmethod
    def _secret(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        services = ("database_url", "redis_url", "movie_api_url")
        if secret is None and all(info.data.get(name, "at fault itself") for name in services):
            raise ValueError(
                "is required when DATABASE_URL, REDIS_URL and MOVIE_API_URL are set; "
                "python -c 'import secrets; print(secrets.token_urlsafe(48))' makes one"
            )
        if secret is not None and any(len(key.encode()) < SECRET_BYTES for key in _keys(secret)):
            raise ValueError(
                f"is too short: at least {SECRET_BYTES} bytes; a comma separates the key from an older one "
                "that is still accepted, of as many bytes"
            )
        return secret

    @property
    def signing_keys(self) -> list[str]:
        """The keys of JWT_SECRET: the first one signs, all of them are accepted."""
        return _keys(self.jwt_secret) if self.jwt_secret else []

    @property
    def proxies(self) -> list[IPv4Network | IPv6Network]:
        """The networks of TRUSTED_PROXIES; an address is a network of one."""
        return _networks(self.trusted_proxies)


def load() -> Settings:
    """Read the settings; SettingsError names every variable that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        faults = {str(fault["loc"][0]): fault["msg"].removeprefix("Value error, ") for fault in error.errors()}
    raise SettingsError(faults, _rest(faults))


def _rest(faults: dict[str, str]) -> Settings:
    """The settings that are not at fault, with a stand-in for the key and the defaults of the others."""
    bad = {*faults, *(("movie_api_kind", "movie_api_url") if "movie_api_token" in faults else ())}
    stand_ins = {name: Settings.model_fields[name].default for name in bad}
    return Settings(**stand_ins | {"jwt_secret": SecretStr("-" * SECRET_BYTES)})
