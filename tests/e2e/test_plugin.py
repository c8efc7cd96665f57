"""A method of another package: installed, listed, checked, and compared with no pretraining in one command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import TINY

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("e2e")]
ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "sg-bench-denoising"
WITH_STATE = ROOT / "examples" / "sg-bench-moco"
TRANSFORMERS = ROOT / "examples" / "sg-bench-transformers"
Python = Callable[..., subprocess.CompletedProcess[str]]


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "SG_BENCH_HOME"}}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fresh environment that has the packages of this one, and this checkout, beneath its own."""
    folder = tmp_path_factory.mktemp("environment")
    assert run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder).returncode == 0
    borrowed = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    (next(folder.glob("lib/python*/site-packages")) / "borrowed.pth").write_text("\n".join(borrowed))
    return folder


@pytest.fixture(scope="module")
def python(environment: Path) -> Python:
    """`python("-m", "sg_bench", ..., cwd=...)`: the fresh environment's interpreter."""

    def python(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        return run(environment / "bin/python", *arguments, cwd=cwd)

    return python


def install(environment: Path, *what: str | Path) -> None:
    offline = ("--no-build-isolation", "--no-deps", "--no-index", "-q")
    command = ("-m", "pip", "--python", environment / "bin/python", "install", *offline, *what)
    done = run(sys.executable, *command, cwd=environment)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def example(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Build the wheels of the examples and install them."""
    out = tmp_path_factory.mktemp("dist")
    for package in (EXAMPLE, WITH_STATE, TRANSFORMERS):
        build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", out, package)
        assert run(sys.executable, *build, cwd=out).returncode == 0
    install(environment, *out.glob("*.whl"))


@pytest.mark.usefixtures("example")
def test_the_installed_example_is_listed_and_its_suite_can_be_planned(python: Python, tmp_path: Path) -> None:
    listed = python("-m", "sg_bench", "list", "methods", cwd=tmp_path)
    assert any(line.startswith("denoising ") for line in listed.stdout.splitlines())
    planned = python("-m", "sg_bench", "plan", "--suite", EXAMPLE / "compare.yaml", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.count("3 cells") == 4


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("package", [EXAMPLE, WITH_STATE], ids=lambda package: package.name)
def test_an_installed_example_passes_its_own_tests_which_are_the_kit(
    python: Python, tmp_path: Path, package: Path
) -> None:
    done = python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, package / "tests", cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.usefixtures("example")
def test_the_installed_example_is_compared_with_scratch_in_one_command(python: Python, tmp_path: Path) -> None:
    command = ("run", "--suite", TINY, "--methods", "scratch,denoising", "--tasks", "tiny_ncc.yaml", "--jobs", "2")
    done = python("-m", "sg_bench", *command, "--work", "work", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "out/tables/main.md").read_text()
    assert "| scratch " in table
    assert "| denoising " in table


@pytest.mark.usefixtures("example")
def test_installed_networks_are_listed_keep_the_contract_and_can_be_compared(python: Python, tmp_path: Path) -> None:
    listed = python("-m", "sg_bench", "list", "networks", cwd=tmp_path).stdout.splitlines()
    assert {"monai_swin", "monai_vit"} < {line.partition(" ")[0] for line in listed}
    planned = python("-m", "sg_bench", "plan", "--suite", TRANSFORMERS / "compare.yaml", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.count("3 cells") == 4
    tests = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, TRANSFORMERS / "tests")
    done = python(*tests, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


def test_what_new_writes_is_installed_listed_and_passes_its_own_test(
    environment: Path, python: Python, tmp_path: Path
) -> None:
    assert python("-m", "sg_bench", "new", "method", "fresh_idea", cwd=tmp_path).returncode == 0
    install(environment, "-e", tmp_path / "sg-bench-fresh-idea")
    listed = python("-m", "sg_bench", "list", "methods", cwd=tmp_path)
    assert any(line.startswith("fresh_idea ") for line in listed.stdout.splitlines())
    done = python("-m", "pytest", "-q", cwd=tmp_path / "sg-bench-fresh-idea")
    assert done.returncode == 0, done.stdout
