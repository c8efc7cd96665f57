"""The worked example of docs/networks.md runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml

from sg_bench.registry import NETWORKS
from sg_bench.suite import Suite

GUIDE = Path(__file__).parents[2] / "docs" / "networks.md"
TEXT = GUIDE.read_text()


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module that a reader writes by copying the examples one after the other."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
    path = tmp_path / "stairs_of_the_guide.py"
    path.write_text(code.partition("from sg_bench.testing")[0])
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, path.stem, module)
    for attribute in ("_entries", "_owners"):
        monkeypatch.setattr(NETWORKS, attribute, dict(getattr(NETWORKS, attribute)))
    exec(path.read_text(), module.__dict__)
    return module


def test_the_network_of_the_guide_is_registered_and_works(example: ModuleType) -> None:
    assert example.restored.shape == (2, 1, 16, 12, 8)
    assert example.segmenter(torch.rand(1, 1, 8, 8, 8)).shape == (1, 1, 8, 8, 8)
    assert NETWORKS.config("stairs") is example.StairsConfig
    code = NETWORKS.plugin("stairs")
    assert code
    assert len(code.sha256) == 64


def test_each_way_to_name_a_network_in_the_guide_is_valid() -> None:
    block = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)[0]
    lines = [line for line in block.splitlines() if line.startswith("network:")]
    methods = yaml.safe_load(block[block.index("methods:") :])["methods"]
    base = {"name": "a", "corpora": {}, "tasks": ["ncc"], "methods": methods}
    found = [Suite.model_validate({**base, **yaml.safe_load(line)}).network for line in lines]
    assert [{name: each.name for name, each in network.items()} for network in found] == [
        {"3d": "swin_unetr", "2d": "swin_unetr"},
        {"3d": "vit", "2d": "vit"},
        {"3d": "resenc_unet", "2d": "vit"},
    ]


def test_the_guide_lists_every_network() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == set(NETWORKS.names())
