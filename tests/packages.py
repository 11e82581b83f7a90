"""The requirements files: what they list, and a virtual environment that has nothing else."""
from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import temporary_folder

TOP = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")  # what a package needs differs with the version
NEEDED = "# needed by the above"


def listed(file: str) -> tuple[dict[str, Requirement], dict[str, Requirement]]:
    """The packages that a requirements file names for themselves, and those under NEEDED, by name."""
    own, _, needed = (TOP / file).read_text(encoding="utf-8").partition(NEEDED)
    return _requirements(own), _requirements(needed)


def _requirements(text: str) -> dict[str, Requirement]:
    lines = [line for line in text.splitlines() if line and line[0] not in "#-"]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


def closure(requirements: list[Requirement]) -> set[str]:
    """The names of packages and of all that they need, with any version of Python."""
    found: set[tuple[str, frozenset[str]]] = set()
    todo = list(requirements)
    while todo:
        requirement = todo.pop()
        key = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if key not in found:
            found.add(key)
            needs = map(Requirement, distribution(key[0]).requires or [])
            todo += [need for need in needs if _applies(need, key[1])]
    return {name for name, _ in found}


def _applies(need: Requirement, extras: frozenset[str]) -> bool:
    return need.marker is None or any(
        need.marker.evaluate({"extra": extra, "python_version": python, "python_full_version": f"{python}.0"})
        for extra in ("", *extras) for python in PYTHONS)


@contextmanager
def environment(*files: str) -> Iterator[Path]:
    """The Python of a virtual environment that has the packages of requirements files, and no others."""
    with temporary_folder() as folder:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        [packages] = folder.glob("lib/python3*/site-packages")
        names = {name for file in files for part in listed(file) for name in part}
        for entry in {entry for name in names for entry in _entries(name)}:
            (packages / entry.name).symlink_to(entry)
        yield folder / "bin" / "python"


def _entries(name: str) -> set[Path]:
    """The files and folders in site-packages that belong to an installed package."""
    installed = distribution(name)
    tops = {file.parts[0] for file in installed.files or [] if file.parts[0] not in ("..", "__pycache__")}
    return {Path(str(installed.locate_file(top))) for top in tops}
