"""`sg-bench new method` writes a package that is whole, or nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import pytest

from tests.cli.conftest import Ask

HEAVY = ("monai", "ray", "scipy", "torch", "torchio")


@pytest.fixture
def ask(ask: Ask) -> Ask:
    """Return a function that runs `sg-bench new method ...` in an empty folder."""
    return partial(ask, "new", "method")


def written(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_it_writes_a_package_with_an_entry_point_settings_a_method_and_a_test(ask, tmp_path) -> None:
    code, out, _ = ask("my_method")
    folder = tmp_path / "sg-bench-my-method"
    package = "src/sg_bench_my_method"
    assert code == 0
    assert "sg-bench check plugin my_method" in out
    assert written(folder) == {
        *("README.md", "pyproject.toml", "tests/test_my_method.py"),
        *(f"{package}/{name}.py" for name in ("__init__", "config", "method")),
    }
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "sg-bench-my-method"
    assert project["entry-points"]["sg_bench.methods"] == {"my_method": "sg_bench_my_method:METHOD"}
    assert "class MyMethod(Restoration)" in (folder / package / "method.py").read_text()
    for path in folder.rglob("*.py"):
        ast.parse(path.read_text())
    assert not any("$" in path.read_text() for path in folder.rglob("*.*") if path.is_file())


def test_it_writes_below_another_folder(ask, tmp_path) -> None:
    (tmp_path / "code").mkdir()
    assert ask("mine", "--into", "code")[0] == 0
    assert (tmp_path / "code/sg-bench-mine/pyproject.toml").is_file()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["My"], ["'My'", "small letters"]),
        (["a+b"], ["'a+b'", "small letters"]),
        (["../mine"], ["'../mine'"]),
        (["mine_"], ["'mine_'"]),
        (["1mine"], ["'1mine'"]),
        (["scratch"], ["there is a method 'scratch' already"]),
        (["mine", "--into", "gone"], ["gone: no such folder"]),
        (["taken"], ["sg-bench-taken exists already"]),
    ],
)
def test_a_bad_name_or_place_is_refused_in_one_line_and_nothing_is_written(ask, tmp_path, arguments, parts) -> None:
    (tmp_path / "sg-bench-taken").mkdir()
    code, out, err = ask(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert [part for part in parts if part not in err] == []
    assert [path.name for path in tmp_path.iterdir()] == ["sg-bench-taken"]
    assert not list((tmp_path / "sg-bench-taken").iterdir())


def test_it_imports_nothing_heavy(tmp_path) -> None:
    code = (
        "import sys; from sg_bench.cli import main\n"
        "sys.argv = ['sg-bench', 'new', 'method', 'mine']\n"
        "try: main()\n"
        "except SystemExit as done: code = done.code or 0\n"
        f"print('LOADED', code, *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "LOADED 0"
