"""What a package exports can be imported from it, with and without torch as far as the package promises."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import sg_bench
from sg_bench.methods import Batch, Losses, Method, Restoration
from sg_bench.networks import UNet3D
from sg_bench.statistics import welch
from sg_bench.training import train

PACKAGES = ["sg_bench"] + [
    module.name for module in pkgutil.walk_packages(sg_bench.__path__, "sg_bench.") if module.ispkg
]
EXPORTING = [name for name in PACKAGES if hasattr(importlib.import_module(name), "__all__")]


@pytest.mark.parametrize("package", EXPORTING)
def test_every_exported_name_can_be_imported(package: str) -> None:
    module = importlib.import_module(package)
    assert sorted(set(module.__all__)) == sorted(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert not hasattr(module, "nothing_of_this_name")


def test_the_packages_that_a_user_imports_from_export_something() -> None:
    used = "data discovery evaluation methods networks planning reporting running statistics suite testing training"
    assert {f"sg_bench.{name}" for name in used.split()} <= set(EXPORTING)


def test_names_come_from_where_they_are_defined() -> None:
    found = {each.__name__: each.__module__ for each in (Batch, Losses, Method, Restoration, UNet3D, welch, train)}
    assert found == {
        **dict.fromkeys(("Batch", "Losses", "Method", "Restoration"), "sg_bench.methods.base"),
        "UNet3D": "sg_bench.networks.unet",
        "welch": "sg_bench.statistics.two_sample",
        "train": "sg_bench.training.loop",
    }
