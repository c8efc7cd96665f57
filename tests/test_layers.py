"""Planning, listing and reporting work on a machine that has neither torch nor Ray."""

import subprocess
import sys

import pytest

HEAVY = ("monai", "ray", "torch", "torchio")
TORCH_FREE = (
    "cli",
    "digests",
    "interface",
    "ledger",
    "planning",
    "registry",
    "reporting",
    "resources",
    "statistics",
    "suite",
    "tasks",
)

REFUSE = f"""
import sys

class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ImportError(f"{{name}} is refused here")

sys.meta_path.insert(0, Refusal())
"""


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("package", TORCH_FREE)
def test_a_torch_free_package_imports_where_torch_and_ray_cannot_be_imported(package: str) -> None:
    run_python(f"{REFUSE}\nimport sg_bench.{package}")


@pytest.mark.parametrize("registry", ["METHODS", "SOURCES"])
def test_every_config_is_known_where_torch_and_ray_cannot_be_imported(registry: str) -> None:
    names = (
        f"from sg_bench.registry import {registry} as known; print(*[known.config(n).__name__ for n in known.names()])"
    )
    assert "Config" in run_python(f"{REFUSE}\n{names}")


def test_the_refusal_used_above_does_refuse() -> None:
    with pytest.raises(AssertionError, match="torch is refused here"):
        run_python(f"{REFUSE}\nimport torch")


def test_importing_sg_bench_loads_nothing_heavy() -> None:
    heavy = {*HEAVY, "matplotlib", "numpy", "pandas", "pydantic", "rich", "scipy", "sklearn", "typer", "yaml"}
    loaded = run_python("import sys, sg_bench; print(*{name.partition('.')[0] for name in sys.modules})")
    assert not heavy & set(loaded.split())


def test_the_public_names_are_fetched_when_first_used() -> None:
    code = (
        "import sg_bench; print(sg_bench.load_suite.__module__, sg_bench.plan.__module__, sg_bench.report.__module__)"
    )
    assert run_python(f"{REFUSE}\n{code}").split() == [
        "sg_bench.suite.reading",
        "sg_bench.planning.planner",
        "sg_bench.interface.runs",
    ]


def test_packages_that_need_torch_are_imported_without_it() -> None:
    packages = "data discovery evaluation methods networks running testing training transforms"
    run_python(f"{REFUSE}\nimport importlib\nfor p in {packages!r}.split(): importlib.import_module(f'sg_bench.{{p}}')")


def test_a_registered_method_is_known_by_its_name() -> None:
    run_python(
        "import sg_bench; from sg_bench.registry import METHODS, Entry;"
        "entry = Entry('here:Config', 'here:Class', 'mine'); sg_bench.register('mine', entry);"
        "assert METHODS.entry('mine') is entry"
    )


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    run_python("import sg_bench; assert not hasattr(sg_bench, 'nothing')")
