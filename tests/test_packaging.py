"""The wheel works in an empty folder: nothing is borrowed from the checkout."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from sg_bench import resources

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "SG_BENCH_HOME"}}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    return next(out.glob("*.whl"))


def test_the_descriptions_of_a_release_are_those_that_an_index_accepts(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    source = next(tmp_path.glob("*.tar.gz"))
    found = run(sys.executable, "-m", "twine", "check", "--strict", wheel, source, cwd=tmp_path)
    assert found.count("PASSED") == 2
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"mkdocs.yml", "SECURITY.md", "CITATION.cff", "docs/start.md", "tests/test_packaging.py"} <= names


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin folder of an environment that has the wheel, and beneath it the packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    packages = next(folder.glob("lib/python*/site-packages"))
    run(sys.executable, "-m", "pip", "--python", folder / "bin/python", "install", "--no-deps", wheel, cwd=folder)
    # As --system-site-packages, but of the environment that runs this test. A plain path line does not run the
    # .pth files found there, so the checkout's editable installation stays out of sight.
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "borrowed.pth").write_text("\n".join(borrowed))
    return folder / "bin"


def test_the_wheel_holds_suites_cards_published_numbers_and_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"sg_bench/suites/{path.name}" for path in resources.suites().values()} <= names
    assert {f"sg_bench/_shared/tasks/{path.name}" for path in resources.task_cards().values()} <= names
    assert {f"sg_bench/templates/method/{path.name}" for path in resources.method_template().iterdir()} <= names
    assert {"sg_bench/_shared/results/published/README.md", "sg_bench/py.typed"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests/", "tasks/", "results/")) for name in names)


def test_the_installed_package_is_not_the_checkout(installed: Path, tmp_path: Path) -> None:
    origin = run(installed / "python", "-c", "import sg_bench; print(sg_bench.__file__)", cwd=tmp_path)
    assert Path(origin.strip()).is_relative_to(installed.parent)


@pytest.mark.parametrize("what", ["tasks", "suites"])
def test_the_installed_command_lists_what_the_checkout_has(installed: Path, tmp_path: Path, what: str) -> None:
    known = resources.task_cards() if what == "tasks" else resources.suites()
    listed = run(installed / "sg-bench", "list", what, cwd=tmp_path)
    assert known
    assert all(name in listed for name in known)
    assert not list(tmp_path.iterdir())
