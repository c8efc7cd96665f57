"""The site of the documentation builds without a warning, and its pictures are those that the script draws."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from docs.tools.commands import commands_page
from docs.tools.links import rewritten
from docs.tools.settings import methods_page, networks_page, settings_page, sources_page
from sg_bench.registry import METHODS, NETWORKS, SOURCES

ROOT = Path(__file__).resolve().parents[2]


def test_the_reference_names_every_command_with_its_options() -> None:
    page = commands_page()
    for line in ("## sg-bench run\n", "### sg-bench weights export\n", "| `--suite ", "sg-bench power --n 10"):
        assert line in page
    assert "\\[" not in page
    assert "`--backend <local|ray>`" in page
    assert "results/&lt;suite>" in page


@pytest.mark.parametrize(
    ("page", "registry"), [(methods_page, METHODS), (networks_page, NETWORKS), (sources_page, SOURCES)]
)
def test_the_reference_has_a_section_for_each_registered_name(page, registry) -> None:
    text = page()
    assert [name for name in registry.names() if f"\n## {name}\n" not in text and not registry.plugin(name)] == []


def test_settings_have_their_types_defaults_and_descriptions() -> None:
    page = settings_page()
    assert "| `width` | `int` | `32` | Channels of the first convolution" in page
    assert "| `label` | `str` |" in page
    assert "](#training)" in page
    assert "Annotated" not in page


@pytest.mark.parametrize(
    ("link", "page"),
    [
        ("[a](../tasks)", "[a](targets.md)"),
        ("[a](../examples/hippocampus/suite.yaml)", "[a](files/examples/hippocampus/suite.yaml.md)"),
        ("[a](../CONTRIBUTING.md#add-a-task)", "[a](contributing.md#add-a-task)"),
        ("[a](keys.md)", "[a](keys.md)"),
        ("[a](https://arxiv.org/abs/1)", "[a](https://arxiv.org/abs/1)"),
        ("```\n[a](../tasks)\n```", "```\n[a](../tasks)\n```"),
    ],
)
def test_links_to_files_of_the_checkout_lead_to_pages(link: str, page: str) -> None:
    assert rewritten(link, "docs/guide.md", "guide.md", ROOT) == page


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("MkDocs is not installed: pip install -e '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "reference" / "commands.html").read_text(encoding="utf-8")
    assert re.findall(r'<(?:script|link)[^>]* (?:src|href)="(?:https?:)?//(?!localhost)[^"]*"', text) == []
    assert "results/&lt;suite&gt;" in text


@pytest.mark.slow
def test_the_pictures_of_the_statistics_are_those_that_the_script_draws(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "docs" / "tools" / "pictures.py", tmp_path], cwd=ROOT, check=True)
    committed = ROOT / "docs" / "pictures"
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in committed.iterdir()}
    assert [path.name for path in tmp_path.iterdir() if path.read_bytes() != (committed / path.name).read_bytes()] == []


def test_the_workflow_runs_what_the_makefile_has() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    targets = set(re.findall(r"(?m)^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    known = {name for target in targets for name in target.split()}
    used = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert {line.split()[-1] for line in used if line.startswith("make ")} == {"test", "docs"} <= known
    assert workflow["permissions"] == {"contents": "read"}
