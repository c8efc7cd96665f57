"""Each constraints file pins every dependency of the project, at a version that pyproject.toml allows."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
FILES = {"3.11": "constraints.txt", "3.13": "constraints-3.13.txt"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(file: str) -> dict[str, str]:
    lines = [line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines()]
    pairs = [line.split("==") for line in lines if line]
    names = [canonicalize_name(name) for name, _ in pairs]
    assert len(set(names)) == len(names)
    return dict(zip(names, (version for _, version in pairs), strict=True))


@pytest.mark.parametrize("file", FILES.values())
def test_every_dependency_is_pinned_at_an_allowed_version(file: str) -> None:
    pinned = pins(file)
    requirements = [Requirement(text) for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"])]
    assert not [r.name for r in requirements if canonicalize_name(r.name) not in pinned]
    assert not [str(r) for r in requirements if not r.specifier.contains(pinned[canonicalize_name(r.name)])]


def test_the_makefile_and_the_classifiers_name_the_interpreters_that_have_constraints() -> None:
    makefile = dict(re.findall(r"^CONSTRAINTS_(\S+) := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    minors = {text.rpartition(" ")[2] for text in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", text)}
    assert makefile == FILES
    assert minors == set(FILES)
