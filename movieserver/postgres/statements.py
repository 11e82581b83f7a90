"""The named statements of sql/: loading them, and how a connection prepares them."""
from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

TOP = Path(__file__).parents[2]
FOLDER = TOP / "sql"
MIGRATIONS = TOP / "migrations"
HEADER = re.compile(r"^-- name: (\w+)\n((?:-- .*\n)+)", re.MULTILINE)
PARAMETER = re.compile(r"%\((\w+)\)s|%%")
PREPARABLE = re.compile(r"\s*(?:SELECT|WITH|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Statement:
    """One name of sql/: one or more SQL statements, sent as one message, which is one transaction."""

    text: str

    @cached_property
    def parts(self) -> list[Prepared]:
        """Each SQL statement as a prepared one; empty if one of them cannot be prepared."""
        texts = [part for part in re.split(r";\s*(?:\n|\Z)", self.text) if part.strip()]
        return [_prepared(text) for text in texts] if all(map(PREPARABLE.match, texts)) else []

    @cached_property
    def execute(self) -> str:
        """The message that runs the prepared parts, or the text itself."""
        return "; ".join(part.execute for part in self.parts) or self.text


@dataclass(frozen=True)
class Prepared:
    """How a connection prepares a SQL statement, and how it runs it."""

    prepare: str
    execute: str


def _prepared(text: str) -> Prepared:
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        return f"${numbers.setdefault(found[1], len(numbers) + 1)}" if found[1] else "%"

    name = f"movieserver_{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
    numbered = PARAMETER.sub(number, text)
    arguments = ", ".join(f"%({parameter})s" for parameter in numbers)
    return Prepared(f"PREPARE {name} AS {numbered}", f"EXECUTE {name}" + (f" ({arguments})" if arguments else ""))


def parse_statements(text: str) -> dict[str, Statement]:
    """The statements of one file by name; each begins with `-- name: <name>` and its contract."""
    _, *fields = HEADER.split(text)
    return {name: Statement(statement.strip()) for name, statement in zip(fields[::3], fields[2::3])}


def load_statements() -> dict[str, Statement]:
    """Every statement of sql/, as `<file>.<name>`."""
    return {
        f"{file.stem}.{name}": statement
        for file in sorted(FOLDER.glob("*.sql"))
        for name, statement in parse_statements(file.read_text(encoding="utf-8")).items()
    }


def array(values: Iterable[object]) -> str:
    """The text of a PostgreSQL array (manual, section 8.15.2); None becomes NULL."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
