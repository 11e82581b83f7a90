"""The settings: read once, at the start, from the environment and a .env file in the working directory."""
from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from movieserver import env_file
from movieserver.addresses import FindFault, check_address, database_fault, redis_fault, web_fault
from movieserver.env_file import ENV_FILE
from movieserver.terminal import CommandError

EMBEDDED = "embedded"
SECRET_BYTES = 32  # RFC 7518 section 3.2: an HS256 key has at least 256 bits
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
POSTER_HOST = re.compile(r"[a-z0-9.-]+(:[0-9]{1,5})?")
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
PUBLIC_URL = re.compile(r"https?://([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?(/(?!\.)[\w.~-]+)*/?", re.ASCII)
BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 section 2.1
INVALID = "invalid"  # in place of an invalid field, which is absent from info.data

T = TypeVar("T")


class SettingsError(CommandError):
    """One message that names every bad variable.

    `rest`: the settings with stand-ins for the bad ones; None if .env cannot be read, or nothing else is wrong.
    """

    def __init__(self, faults: dict[str, str], rest: Settings | None) -> None:
        self.rest = rest
        lines = [f"  {name if name == ENV_FILE else name.upper()}: {message}" for name, message in faults.items()]
        super().__init__("\n".join(["these settings are wrong:", *lines]))


def _address(find_fault: FindFault, *, may_be_embedded: bool = False) -> AfterValidator:
    """Validates an address that may hold a password. `embedded` is stored as an empty address: set, but not None."""

    def validate(address: SecretStr) -> SecretStr:
        if may_be_embedded and address.get_secret_value().lower() == EMBEDDED:
            return SecretStr("")
        check_address(address.get_secret_value(), find_fault)
        return address

    return AfterValidator(validate)


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _without_brackets(host: str) -> str:
    """An IPv6 address may be in brackets, as in a URL."""
    return re.sub(r"^\[(.*)\]$", r"\1", host)


def _check_hosts(hosts: list[str]) -> list[str]:
    if not hosts:
        raise ValueError("has no address; use localhost, or * for every address of this machine")
    return hosts


def _check_poster_host(host: str) -> str:
    if not POSTER_HOST.fullmatch(host):
        raise ValueError("must be hosts in lower case, comma-separated, without https:// and without a path")
    return host


def _home(folder: Path) -> Path:
    try:
        return folder.expanduser()
    except RuntimeError:
        raise ValueError("begins with ~ and a user who has no home directory") from None


def _public_url(url: str) -> str:
    if url and not PUBLIC_URL.fullmatch(url):
        raise ValueError("is not of the form https://example.org/films, with a path of letters, digits and -._~")
    return url.rstrip("/")


def _keys(secret: SecretStr) -> list[str]:
    return [key.strip() for key in secret.get_secret_value().split(",")]


def _check_origin(origin: str) -> str:
    """An origin as browsers write it (RFC 6454 section 6.2), or *."""
    if origin != "*" and not ORIGIN.fullmatch(origin):
        raise ValueError(f"{origin!r} is no origin: write it like https://app.example, in lower case, without a path")
    if origin.endswith(DEFAULT_PORTS.get(urlsplit(origin).scheme, " ")):
        raise ValueError(f"{origin!r} must not have the default port, because browsers omit it")
    return origin


Separated = Annotated[list[T], NoDecode, BeforeValidator(_split)]  # comma-separated
Host = Annotated[str, AfterValidator(_without_brackets)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(ip_network)]  # an address is a network of one
Origin = Annotated[str, AfterValidator(_check_origin)]
PosterHost = Annotated[str, AfterValidator(_check_poster_host)]


class Settings(BaseSettings):
    """The settings, frozen. A field's name in capitals is the variable's name; .env.example explains each."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE, env_file_encoding=env_file.ENCODING, env_ignore_empty=True, extra="ignore", frozen=True,
        hide_input_in_errors=True,
    )

    host: Annotated[Separated[Host], AfterValidator(_check_hosts)] = ["localhost"]
    port: int = Field(8000, ge=0, le=65535)
    processes: int = Field(1, ge=1, le=64)
    public_url: Annotated[str, AfterValidator(_public_url)] = ""
    data_dir: Annotated[Path, AfterValidator(_home)] = Path("var")
    database_url: Annotated[SecretStr, _address(database_fault, may_be_embedded=True)] | None = None
    database_pool_size: int = Field(10, ge=1, le=200)
    redis_url: Annotated[SecretStr, _address(redis_fault, may_be_embedded=True)] | None = Field(
        None, validate_default=True)
    movie_api_kind: Literal["plain", "tmdb"] = "plain"
    movie_api_url: Annotated[SecretStr, _address(web_fault)] | None = None
    movie_api_username: str | None = None
    movie_api_password: SecretStr | None = None
    movie_api_token: SecretStr | None = Field(None, validate_default=True)
    movie_api_seconds: float = Field(8, ge=0.5, le=60)
    movie_cache_seconds: float = Field(60, ge=0, le=86400)
    jwt_secret: SecretStr | None = Field(None, validate_default=True)
    access_token_minutes: float = Field(15, gt=0, le=60 * 24 * 7)
    refresh_token_days: float = Field(30, gt=0, le=3660)
    bcrypt_rounds: int = Field(12, ge=4, le=20)
    registration: Annotated[Literal["open", "closed"], BeforeValidator(str.lower)] = "open"
    trusted_proxies: Separated[Network] = []
    counter_reset_token: SecretStr | None = None
    cors_origins: Separated[Origin] = []
    poster_hosts: Separated[PosterHost] = ["image.tmdb.org"]
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)] = "INFO"
    log_format: Annotated[Literal["auto", "json", "console"], BeforeValidator(str.lower)] = "auto"

    @field_validator("redis_url")
    @classmethod
    def _both_or_none(cls, redis_url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """If one address is set, the other must be set too: a forgotten one would silently mean an empty database."""
        database_url = info.data.get("database_url", redis_url)  # an invalid one is absent
        if redis_url is None and database_url:
            raise ValueError("is not set, but DATABASE_URL is: set REDIS_URL to an address or to `embedded`")
        if redis_url and database_url is None:
            raise ValueError("is set, but DATABASE_URL is not: set DATABASE_URL to an address or to `embedded`")
        return redis_url

    @field_validator("movie_api_token")
    @classmethod
    def _token_for_tmdb(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        url = info.data.get("movie_api_url", INVALID)
        if info.data.get("movie_api_kind") == "tmdb" and not (token and url):
            raise ValueError("is required with MOVIE_API_KIND=tmdb, and so is MOVIE_API_URL")
        return token

    @field_validator("counter_reset_token", "movie_api_token")
    @classmethod
    def _bearer_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not BEARER_TOKEN.fullmatch(token.get_secret_value()):
            raise ValueError("has characters that a bearer token cannot have: use letters, digits and -._~+/")
        return token

    @field_validator("jwt_secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        services = ("database_url", "redis_url", "movie_api_url")
        if secret is None and all(info.data.get(name, INVALID) for name in services):
            raise ValueError(
                "is required when DATABASE_URL, REDIS_URL and MOVIE_API_URL are set; "
                "python3 -c 'import secrets; print(secrets.token_urlsafe(48))' generates one"
            )
        if secret is not None and any(len(key.encode()) < SECRET_BYTES for key in _keys(secret)):
            raise ValueError(
                f"is too short: at least {SECRET_BYTES} bytes; a comma separates the key from an older one "
                "that is still accepted and needs as many bytes"
            )
        return secret

    @property
    def signing_keys(self) -> list[str]:
        """The keys of JWT_SECRET: the first one signs, all of them are accepted."""
        return _keys(self.jwt_secret) if self.jwt_secret else []


def reveal(secret: SecretStr | None) -> str:
    """The text of a secret that is set."""
    assert secret is not None
    return secret.get_secret_value()


def load() -> Settings:
    """Read the settings. Raises SettingsError that names every bad variable, but quotes no address, key or password."""
    try:
        mistakes = env_file.mistakes(_known(), [name.upper() for name in sources()])
        settings, faults = Settings(), {}
    except (OSError, UnicodeError):
        raise SettingsError({ENV_FILE: "cannot be read: it is not UTF-8 text, or not readable for this user"}, None) \
            from None
    except ValidationError as error:
        faults = {str(fault["loc"][0]): _rephrased(fault["msg"]) for fault in error.errors()}
    if faults := faults | mistakes:
        raise SettingsError(faults, _rest(faults))
    return settings


def sources() -> dict[str, str]:
    """Where each setting that is set comes from, by its field name: `the environment` or `.env`."""
    found: dict[str, Mapping[str, str | None]] = {
        ENV_FILE: env_file.env_values(), "the environment": os.environ}
    return {
        name.lower(): source for source, values in found.items() for name, value in values.items()
        if value and name.lower() in Settings.model_fields
    }


def unknown_names() -> list[str]:
    """The names in .env that are not settings."""
    return env_file.unknown_names(_known())


def _known() -> list[str]:
    return [name.upper() for name in Settings.model_fields]


def _rephrased(message: str) -> str:
    """pydantic's message, rephrased to follow the variable's name."""
    return message.removeprefix("Value error, ").replace("Input should be", "must be").partition(", unable to parse")[0]


def _rest(faults: dict[str, str]) -> Settings:
    """The settings that are not bad, with a stand-in for the key and the defaults of the others."""
    needs_both = ("movie_api_kind", "movie_api_url") if faults.keys() & {"movie_api_token", "movie_api_url"} else ()
    bad = {*faults, *needs_both}
    stand_ins = {name: field.default for name, field in Settings.model_fields.items() if name in bad}
    embedded = {name: SecretStr(EMBEDDED) for name in ("database_url", "redis_url") if name in bad}
    return Settings(**stand_ins | embedded | {"jwt_secret": SecretStr("-" * SECRET_BYTES)})
