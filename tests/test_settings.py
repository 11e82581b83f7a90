"""Settings: one message names every invalid variable; secrets have no default and are not shown."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from movieserver.settings import Settings, SettingsError, load, sources, unknown_names

TOP = Path(__file__).parents[1]
COMPLETE = {
    "DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h", "MOVIE_API_URL": "https://h/list",
    "JWT_SECRET": "s" * 32,
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without a .env file."""
    monkeypatch.chdir(tmp_path)


def test_defaults() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.processes) == (["localhost"], 8000, 1)
    assert settings.bcrypt_rounds == 12
    assert not any((settings.database_url, settings.redis_url, settings.movie_api_url))


def test_no_secret_has_a_default() -> None:
    settings = load()
    secrets = (settings.jwt_secret, settings.counter_reset_token, settings.movie_api_password)
    assert secrets == (None, None, None)


def test_a_env_file_is_read_and_the_environment_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("PORT=8100\nPROCESSES=3\nHOST=\nSOMETHING_ELSE=x\n", encoding="utf-8")
    monkeypatch.setenv("PORT", "8200")
    settings = load()
    assert (settings.port, settings.processes, settings.host) == (8200, 3, ["localhost"])
    assert {name: place for name, place in sources().items() if name in ("port", "processes", "host", "redis_url")} == {
        "port": "the environment", "processes": ".env"}
    assert unknown_names() == ["SOMETHING_ELSE"]


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=8100\n", encoding="utf-8-sig")
    assert load().port == 8100


def test_an_unreadable_env_file_is_named_and_not_quoted(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("JWT_SECRET=hidden-word-é".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"  \.env: cannot be read: it is not UTF-8") as caught:
        load()
    assert caught.value.rest is None
    assert "hidden" not in str(caught.value) and "xe9" not in str(caught.value)


@pytest.mark.parametrize("name, meant", [
    ("DATABSE_URL", "DATABASE_URL"), ("DATABASE_URI", "DATABASE_URL"), ("databse_url", "DATABASE_URL"),
    ("REDISURL", "REDIS_URL"), ("MOVIES_API_URL", "MOVIE_API_URL"), ("PROCESS", "PROCESSES"), ("PORTS", "PORT"),
    ("JWT_SECRETS", "JWT_SECRET"), ("PROT", "PORT"), ("LOGLEVEL", "LOG_LEVEL"), ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
    ("MOVIE_API_USER", "MOVIE_API_USERNAME"), ("MOVIE_API_PASS", "MOVIE_API_PASSWORD"),
    ("DATABASE_POOL", "DATABASE_POOL_SIZE"), ("MOVIE_API", "MOVIE_API_URL"),
])
def test_a_misspelt_name_names_the_one_that_is_meant(tmp_path: Path, name: str, meant: str) -> None:
    (tmp_path / ".env").write_text(f"{name}=hidden-word\nPORT=x\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load()
    assert f"  {name.upper()}: is not a setting; {meant} is probably meant" in str(caught.value)
    assert "  PORT: " in str(caught.value) and "hidden" not in str(caught.value)


@pytest.mark.parametrize("text, words", [
    ("PORT=8100\nDATABASE_URL: postgresql://u:HIDDEN@h/d\n", ".env: line 2 cannot be read"),
    ("DATABASE_URL postgresql://u:HIDDEN@h/d\n", ".env: line 1 cannot be read"),
    ('\nREDIS_URL="redis://:HIDDEN@h\n', ".env: line 2 cannot be read"),
    ("PORT=8100\nJWT_SECRET\n", "JWT_SECRET: has no = and no value in .env"),
    ("DB_URL=postgresql://u:HIDDEN@h/d\n", "DB_URL: is not a setting, but has the form of DATABASE_URL"),
    ("PGURL='postgres://u:HIDDEN@h/d'\n", "PGURL: is not a setting, but has the form of DATABASE_URL"),
    ("ALCHEMY=postgresql+asyncpg://u:HIDDEN@h/d\n", "ALCHEMY: is not a setting, but has the form of DATABASE_URL"),
    ("CACHE=rediss://:HIDDEN@h\n", "CACHE: is not a setting, but has the form of REDIS_URL"),
])
def test_an_address_under_an_unknown_name_stops_the_start(tmp_path: Path, text: str, words: str) -> None:
    """Or production data would go into an embedded database."""
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load()
    assert f"  {words}" in str(caught.value) and "hidden" not in str(caught.value).lower()


def test_an_address_of_another_program_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "DATABASE_URL=embedded\nREDIS_URL=embedded\nOTHER=postgresql://h/d\nBROKER=redis://h\n", encoding="utf-8")
    load()
    assert unknown_names() == ["OTHER", "BROKER"]


@pytest.mark.parametrize("name", [
    "POSTGRES_PASSWORD", "REDIS_PASSWORD", "PUBLISH", "TZ", "COMPOSE_PROJECT_NAME", "DEBUG", "PYTHONPATH"])
def test_names_of_other_programs_are_allowed(tmp_path: Path, name: str) -> None:
    (tmp_path / ".env").write_text(f"{name}=x\n", encoding="utf-8")
    load()
    assert unknown_names() == [name]


@pytest.mark.parametrize("values, words", [
    ({"DATABASE_URL": "postgresql://h/d"}, "REDIS_URL: is not set, but DATABASE_URL is"),
    ({"REDIS_URL": "redis://h"}, "REDIS_URL: is set, but DATABASE_URL is not"),
    ({"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "embedded"}, None),
    ({"DATABASE_URL": "Embedded", "REDIS_URL": "redis://h"}, None),
    ({"DATABASE_URL": "embedded"}, None), ({"REDIS_URL": "embedded"}, None), ({}, None),
    ({"DATABASE_URL": "embedded", "REDIS_URL": "embedded"}, None),
])
def test_a_forgotten_address_is_not_an_embedded_server(
    values: dict[str, str], words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    if words:
        with pytest.raises(SettingsError, match=words):
            load()
        return
    settings = load()
    for name, address in (("DATABASE_URL", settings.database_url), ("REDIS_URL", settings.redis_url)):
        assert bool(address) == (values.get(name, "embedded").lower() != "embedded")


def test_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of-somebody")
    monkeypatch.setenv("DATA_DIR", "~/data")
    assert load().data_dir == Path("/home/of-somebody/data")
    monkeypatch.setenv("DATA_DIR", "~no-such-user/data")
    with pytest.raises(SettingsError, match="DATA_DIR: begins with ~ and a user who has no home directory"):
        load()


@pytest.mark.parametrize("text, hosts", [
    ("::", ["::"]), ("*", ["*"]), ("127.0.0.1, ::1,", ["127.0.0.1", "::1"]), (" , ", None),
])
def test_several_addresses_to_listen_on(
    text: str, hosts: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST", text)
    if hosts is None:
        with pytest.raises(SettingsError, match="HOST: has no address"):
            load()
    else:
        assert load().host == hosts


BAD = {
    "PORT": "eighty", "PROCESSES": "0", "DATABASE_URL": "mysql://u:hidden-word@h/d", "DATABASE_POOL_SIZE": "-1",
    "REDIS_URL": "hidden-word", "MOVIE_API_URL": "ftp://h", "JWT_SECRET": "hidden-word", "BCRYPT_ROUNDS": "3",
    "ACCESS_TOKEN_MINUTES": "0", "REFRESH_TOKEN_DAYS": "soon", "LOG_LEVEL": "LOUD",
    "LOG_FORMAT": "xml", "COUNTER_RESET_TOKEN": "hidden-word é", "TRUSTED_PROXIES": "127.0.0.1,10.0.0.0/33",
    "MOVIE_API_TOKEN": "hidden-word\n", "MOVIE_API_SECONDS": "0.1",
    "CORS_ORIGINS": "https://app.example/", "POSTER_HOSTS": "https://image.tmdb.org/",
}


def test_one_message_names_every_bad_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in BAD.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load()
    message = str(caught.value)
    assert re.findall(r"^  ([A-Z_]+): ", message, re.MULTILINE) == sorted(BAD, key=message.index)
    assert set(re.findall(r"^  ([A-Z_]+): ", message, re.MULTILINE)) == set(BAD)
    assert "hidden-word" not in message
    for line in (
        "PORT: must be a valid integer\n", "PROCESSES: must be greater than or equal to 1\n",
        "REFRESH_TOKEN_DAYS: must be a valid number\n", "LOG_FORMAT: must be 'auto', 'json' or 'console'",
        "POSTER_HOSTS: must be hosts in lower case",
    ):
        assert f"  {line}" in message


@pytest.mark.parametrize("name, value", [
    ("DATABASE_URL", "postgresql://h/d?hidden=1"), ("DATABASE_URL", "postgresql://h:port/d"), ("DATABASE_URL", "h"),
    ("REDIS_URL", "redis://h:port"), ("MOVIE_API_URL", "http://h:port/"), ("MOVIE_API_URL", "http://"),
    ("MOVIE_API_URL", "https://exämple.org/list"), ("MOVIE_API_URL", "https://h/a list"),
    ("MOVIE_API_URL", "https://h/list\n"),
])
def test_invalid_addresses(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load()


def test_tmdb_needs_an_address_and_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOVIE_API_KIND", "tmdb")
    for name in ("MOVIE_API_URL", "MOVIE_API_TOKEN"):
        with pytest.raises(SettingsError, match="MOVIE_API_TOKEN: is required with MOVIE_API_KIND=tmdb"):
            load()
        monkeypatch.setenv(name, "https://h/3" if name == "MOVIE_API_URL" else "token")
    assert load().movie_api_kind == "tmdb"


def test_several_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@a:1,b:2/d?target_session_attrs=read-write")
    monkeypatch.setenv("REDIS_URL", "embedded")
    assert load().database_url


@pytest.mark.parametrize("name", BAD)
def test_each_bad_variable_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, BAD[name])
    with pytest.raises(SettingsError, match=name):
        load()


@pytest.mark.parametrize("origin", [
    "app.example", "https://App.example", "https://app.example/", "https://app.example:443", "http://app.example:80",
    "https://app.example/path", "https://a b", "null", "https://", "https://app.example, *x", "https://me@app.example",
])
def test_invalid_origins(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", f"https://good.example,{origin}")
    with pytest.raises(SettingsError, match="CORS_ORIGINS"):
        load()


@pytest.mark.parametrize("text, origins", [
    ("", set()), (" , ", set()), ("*", {"*"}), ("https://a.example", {"https://a.example"}),
    ("https://a.example, http://localhost:3000,http://[::1]:8080", None),
    ("chrome-extension://abc,https://xn--e1a", None),
])
def test_origins(text: str, origins: set[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", text)
    if origins is None:
        assert len(load().cors_origins) == text.count(",") + 1
    else:
        assert set(load().cors_origins) == origins


def test_a_signing_key_is_required_when_nothing_is_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    assert load().jwt_secret
    monkeypatch.delenv("JWT_SECRET")
    with pytest.raises(SettingsError, match="JWT_SECRET: is required"):
        load()
    monkeypatch.setenv("REDIS_URL", "embedded")
    assert load().jwt_secret is None


@pytest.mark.parametrize("secret, keys", [
    ("n" * 32, ["n" * 32]), (f"{'n' * 32},{'o' * 40}", ["n" * 32, "o" * 40]),
    (f" {'n' * 32} , {'o' * 40} ", ["n" * 32, "o" * 40]),
])
def test_a_second_key_is_an_older_one(secret: str, keys: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """ASVS 5.0 13.3.4."""
    monkeypatch.setenv("JWT_SECRET", secret)
    assert load().signing_keys == keys


@pytest.mark.parametrize("secret", [
    f"{'n' * 32},", f",{'o' * 32}", f"{'n' * 32},{'o' * 31}", f"{'n' * 31},{'o' * 32}", "x" * 20 + "," + "y" * 20,
    f"{'n' * 32},{' ' * 32}",
])
def test_each_key_is_long_enough(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7518 section 3.2, RFC 8725 section 3.5: a comma in a key does not silently make short keys."""
    monkeypatch.setenv("JWT_SECRET", secret)
    with pytest.raises(SettingsError, match="JWT_SECRET: is too short: at least 32 bytes; a comma separates the key"):
        load()


@pytest.mark.parametrize("text, networks", [
    ("10.0.0.7", ["10.0.0.7/32"]), ("::1, 10.1.0.0/16 ,", ["::1/128", "10.1.0.0/16"]), (" ", []),
])
def test_proxies_are_addresses_and_networks(text: str, networks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", text)
    assert [str(network) for network in load().trusted_proxies] == networks


@pytest.mark.parametrize("text", ["proxy.example", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.1;10.0.0.2", "*"])
def test_invalid_proxies(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", text)
    with pytest.raises(SettingsError, match="TRUSTED_PROXIES: "):
        load()


def test_a_token_is_not_missed_because_the_address_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("KIND", "tmdb"), ("TOKEN", "token"), ("URL", "h")):
        monkeypatch.setenv(f"MOVIE_API_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert "MOVIE_API_URL" in str(caught.value) and "MOVIE_API_TOKEN" not in str(caught.value)


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JWT_SECRET", "COUNTER_RESET_TOKEN", "MOVIE_API_PASSWORD", "MOVIE_API_TOKEN"):
        monkeypatch.setenv(name, "hidden-word" * 3)
    for name, scheme in (("DATABASE_URL", "postgresql"), ("REDIS_URL", "redis"), ("MOVIE_API_URL", "https")):
        monkeypatch.setenv(name, f"{scheme}://user:hidden-word@host/0")
    settings = load()
    assert "hidden-word" not in repr(settings) + str(settings) + str(settings.model_dump()) + settings.model_dump_json()


@pytest.mark.parametrize("document", [".env.example", "README.md"])
def test_every_setting_is_listed(document: str) -> None:
    text = (TOP / document).read_text(encoding="utf-8")
    pattern = r"^([A-Z_]+)=" if document == ".env.example" else r"^\| `([A-Z_]+)` \|"
    assert set(re.findall(pattern, text, re.MULTILINE)) == {name.upper() for name in Settings.model_fields}


def test_the_example_file_is_valid(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text((TOP / ".env.example").read_text(encoding="utf-8"), encoding="utf-8")
    assert load() == Settings(_env_file=None)


def test_an_ipv6_address_may_stand_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "[::1], 127.0.0.1,[fe80::1%eth0]")
    assert load().host == ["::1", "127.0.0.1", "fe80::1%eth0"]
