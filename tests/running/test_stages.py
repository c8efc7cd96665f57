"""Stages leave complete results, whatever runs at the same time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from sg_bench.config import CropRule, Training
from sg_bench.data.cubes import CropCubes
from sg_bench.data.sources.base import Case
from sg_bench.data.store import Store
from sg_bench.methods.base import Crops
from sg_bench.running.stages import dispatch, pretrain
from sg_bench.running.stages.dispatch import attempt
from sg_bench.training.precision import autocast, configure_arithmetic
from sg_bench.workspace import Workspace
from tests.recipes import corpus_recipe, fake_job, pretraining_recipe

STORE = fake_job("store", "ab" * 32, title="prepare scans")


def silent(done: int, total: int | None) -> None:
    """Report to no one."""


def test_nobody_can_finish_a_store_while_a_case_is_written_to_it(tmp_path: Path, monkeypatch: Any) -> None:
    workspace, waited = Workspace(tmp_path), []

    def finish_beside(*_: Any) -> None:
        with workspace.lock(STORE.key):
            pass

    def write_a_case(*_: Any) -> None:
        other = Thread(target=finish_beside)
        other.start()
        other.join(0.2)
        waited.append(other.is_alive())

    monkeypatch.setattr(dispatch, "prepare_cases", write_a_case)
    assert attempt(STORE, workspace, silent, [Case("a case", "a patient")]) is None
    assert waited == [True]


def test_a_case_that_becomes_readable_leaves_the_crops_of_all_others_as_they_were(
    tmp_path: Path, make_store: Callable[..., Store], monkeypatch: Any
) -> None:
    draw = np.random.default_rng(0)
    store = make_store(tmp_path, {f"p{number}": {"image": draw.random((24, 20, 16))} for number in range(4)})
    rule = CropRule(cube=(8, 8, 4), border=(1, 1, 1), air=None)
    method: Any = SimpleNamespace(sampling=lambda: Crops(rule, 3))
    recipe = pretraining_recipe("rotation", corpus_recipe(), seed=5)

    def places(unreadable: str | None) -> dict[str, list[Any]]:
        ids = [id_ for id_ in store.ids if id_ != unreadable]
        monkeypatch.setattr(pretrain, "corpus_ids", lambda *_: (store, ids[:-1], ids[-1:]))
        found: dict[str, list[Any]] = {}
        for cubes in pretrain.pretraining_cubes(method, recipe, Workspace(tmp_path)):
            assert isinstance(cubes, CropCubes)
            for id_, start in cubes.places:
                found.setdefault(id_, []).append(start)
        return found

    complete = places(None)
    assert len({tuple(starts) for starts in complete.values()}) == 4
    for id_ in store.ids:
        assert places(id_) == {other: starts for other, starts in complete.items() if other != id_}


def test_the_precision_of_a_training_is_that_of_its_settings_on_every_device() -> None:
    for precision, matmul, convolutions in (("tf32", "high", True), ("float32", "highest", False)):
        configure_arithmetic(Training(precision=precision))
        assert torch.get_float32_matmul_precision() == matmul
        assert torch.backends.cudnn.allow_tf32 is convolutions
    configure_arithmetic(Training())
    layer, x = torch.nn.Linear(4, 4), torch.ones(2, 4)
    with autocast(torch.device("cpu"), "bfloat16"):
        assert layer(x).dtype == torch.bfloat16
    with autocast(torch.device("cpu"), "float32"):
        assert layer(x).dtype == torch.float32
