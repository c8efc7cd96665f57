from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from sg_bench.errors import SgBenchError
from sg_bench.training.compilation import configure_compilation, without_compilation
from sg_bench.training.fine_tuning import FineTuning
from sg_bench.training.loop import train
from sg_bench.training.pretraining import Pretraining

Make = Callable[..., Pretraining]


def compiled_by(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let networks be compiled by another backend than Inductor, which takes minutes on a CPU."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))


def test_training_steps_are_compiled_and_evaluation_is_not(autoencoder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[bool] = []
    compiled, plain = autoencoder(compile=True), autoencoder()

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        modes.append(compiled.network.training)
        return graph

    compiled_by(backend, monkeypatch)
    assert len(train(compiled, seed=0)) == 4
    assert modes
    assert all(modes)
    train(plain, seed=0)
    for key, tensor in plain.network.state_dict().items():
        torch.testing.assert_close(compiled.network.state_dict()[key], tensor)


def test_a_network_is_compiled_only_where_a_training_asks_for_it(autoencoder: Make) -> None:
    network, asked, plain = autoencoder().network, autoencoder(compile=True).stages[0], autoencoder().stages[0]

    def is_compiled() -> bool:
        return network._compiled_call_impl is not None

    configure_compilation(network, asked.training)
    assert is_compiled()
    with without_compilation(network):
        assert not is_compiled()
    assert is_compiled()
    configure_compilation(network, plain.training)
    assert not is_compiled()


def test_a_compiler_that_fails_is_named_with_the_setting(autoencoder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        raise FileNotFoundError("no C++ compiler")

    compiled_by(backend, monkeypatch)
    with pytest.raises(
        SgBenchError, match=r"torch\.compile failed: .*Set training\.compile=false, or install"
    ) as error:
        train(autoencoder(compile=True), seed=0)
    assert error.value.kind == "infrastructure"


@pytest.mark.slow
def test_inductor_computes_the_same_up_to_rounding(tuning: Callable[..., FineTuning]) -> None:
    settings = {"epochs": 1, "optimiser": {"name": "sgd", "lr": 0.1}}
    compiled, plain = tuning("ncc", training={**settings, "compile": True}), tuning("ncc", training=settings)
    assert isinstance(compiled.network, nn.Module)
    train(compiled, seed=0)
    train(plain, seed=0)
    for key, tensor in plain.network.state_dict().items():
        torch.testing.assert_close(compiled.network.state_dict()[key], tensor, rtol=1e-3, atol=1e-5)
