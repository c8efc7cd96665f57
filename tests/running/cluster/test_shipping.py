"""The code that is sent to nodes can be imported there, in place of what they have."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from sg_bench.running.cluster import node_description, shipping
from sg_bench.running.cluster.shipping import copy_code, runtime_environment

NODE = """
import runpy, sys
from importlib import metadata
print(runpy.run_path(sys.argv[1])["describe_code"]())
import sg_bench.resources as resources
assert "ncc" in resources.task_cards() and resources.published().is_dir(), resources.task_cards()
print(metadata.version("sg-bench"), [point.load()() for point in metadata.entry_points(group="sg_bench.methods")])
"""


def test_all_workers_have_the_same_environment() -> None:
    environment = runtime_environment()
    assert set(environment) == {"env_vars"}
    assert environment["env_vars"]["OMP_NUM_THREADS"] == "1"
    assert "CUBLAS_WORKSPACE_CONFIG" in environment["env_vars"]


def test_a_node_without_anything_gets_the_package_its_data_and_plugins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = tmp_path / "plugins"
    described = plugins / "my_plugin-0.3.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: my-plugin\nVersion: 0.3\n")
    (described / "entry_points.txt").write_text("[sg_bench.methods]\nmine = my_plugin:answer\n")
    (plugins / "my_plugin.py").write_text("def answer(): return 'of the plugin'\n")
    monkeypatch.syspath_prepend(str(plugins))
    target = tmp_path / "target"
    target.mkdir()
    sent = copy_code(target)
    assert {"sg_bench", "my_plugin.py", "my_plugin-0.3.dist-info"} <= {path.name for path in sent}
    here = node_description.describe_code()
    command = [
        sys.executable,
        "-I",
        "-c",
        f"import sys; sys.path.insert(0, {str(target)!r})\n{NODE}",
        node_description.__file__,
    ]
    there, rest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert there == str(here)
    assert rest == f"{metadata.version('sg-bench')} ['of the plugin']"


def test_only_parts_that_ray_can_send_are_named(tmp_path: Path) -> None:
    assert all(path.is_dir() or path.suffix == ".py" for path in copy_code(tmp_path))
    assert shipping.DISTRIBUTION == "sg-bench"
