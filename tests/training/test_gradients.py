from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sg_bench.config import Stage, Training
from sg_bench.errors import MethodError, UsageError
from sg_bench.methods.base import Losses
from sg_bench.networks.build import unet
from sg_bench.networks.configs import papers_network
from sg_bench.training import gradients
from sg_bench.training.draws import Draw
from sg_bench.training.fine_tuning import FineTuning
from sg_bench.training.gradients import Gradients, StepMemory, activations_on_host, is_memory_error, next_step_memory
from sg_bench.training.loop import train, weighted_loss
from sg_bench.training.pretraining import Pretraining
from sg_bench.training.ranks import World

Make = Callable[..., Pretraining]
Tune = Callable[..., FineTuning]
WHOLE = StepMemory(repeated=True)


def draws() -> list[Draw]:
    return [Draw(index, (0, 1, index)) for index in range(4)]


def found(learner: Any, memory: StepMemory) -> tuple[list[Tensor], Tensor, Losses]:
    """Return the gradients of one batch, its loss and its losses."""
    stage = learner.stages[-1]
    loss, losses = Gradients(learner, weighted_loss, memory).compute(learner.batch("train", draws()), stage)
    grads = [p.grad.clone() for p in learner.network.parameters() if p.grad is not None]
    return grads, loss.detach(), losses


def assert_same(one: tuple[list[Tensor], Tensor, Losses], other: tuple[list[Tensor], Tensor, Losses]) -> None:
    assert len(one[0]) == len(other[0]) > 0
    scale = max(float(grad.abs().max()) for grad in one[0])
    assert scale > 0
    for grad, again in zip(one[0], other[0], strict=True):
        torch.testing.assert_close(again, grad, rtol=1e-4, atol=1e-6 * scale)
    torch.testing.assert_close(other[1], one[1])
    for name, term in {**one[2].terms, **one[2].measures}.items():
        torch.testing.assert_close({**other[2].terms, **other[2].measures}[name].detach().float(), term.detach())


def without_batch_statistics(network: nn.Module) -> None:
    """Let every batch norm use its running statistics, whatever mode the network is in."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train = lambda mode=True, own=module: own  # type: ignore[method-assign, misc]
            module.training = False


def running(network: nn.Module) -> list[Tensor]:
    return [buffer.clone() for buffer in network.buffers()]


class Limited:
    """A learner on a device with too little memory: its losses fail above a number of samples, until all is moved."""

    def __init__(self, learner: Any, most: int, *, until_moved: bool = False) -> None:
        self.learner, self.most, self.until_moved, self.moved = learner, most, until_moved, False
        self.sizes: list[int] = []
        if isinstance(learner, gradients.OutputLearner):  # which __getattr__ does not pass on since Python 3.12
            self.losses_of = learner.losses_of

    def __getattr__(self, name: str) -> Any:
        return getattr(self.learner, name)

    def losses(self, batch: Any, stage: Stage) -> Losses:
        losses: Losses = self.learner.losses(batch, stage)  # the statistics of batch norm change before it fails
        return self._checked(len(batch.inputs), losses)

    def outputs(self, batch: Any) -> Any:
        return self._checked(len(batch.inputs), self.learner.outputs(batch))

    def _checked(self, samples: int, computed: Any) -> Any:
        self.sizes.append(samples)
        if samples > self.most and torch.is_grad_enabled() and not (self.until_moved and self.moved):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return computed


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a CPU's training answer memory errors like a GPU's."""
    monkeypatch.setattr(gradients, "answers_memory_errors", lambda device: True)


class TestMicroBatches:
    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_their_gradients_and_losses_are_those_of_the_batch(self, semantic: Make, tuning: Tune, size: int) -> None:
        for learner in (semantic(), tuning("ncc"), tuning("ncs"), tuning("lcs")):
            without_batch_statistics(learner.network)
            whole = found(learner, StepMemory())
            assert_same(whole, found(learner, StepMemory(micro_batch=size)))

    def test_with_batch_norm_they_are_the_mean_over_parts_with_statistics_of_their_own(self, semantic: Make) -> None:
        whole, parts = semantic(), semantic(micro_batch=2)
        batch, stage = parts.batch("train", draws()), parts.stages[-1]
        whole.network.train()
        for start in (0, 2):
            part = gradients._part(batch, start, start + 2, 4)
            (weighted_loss(whole.losses(part, stage), stage) / 2).backward()
        grads, _, _ = found(parts, StepMemory())
        for parameter, grad in zip(whole.network.parameters(), grads, strict=True):
            torch.testing.assert_close(grad, parameter.grad)

    def test_outputs_computed_twice_move_the_running_statistics_once(self, tuning: Tune) -> None:
        divided, once = tuning("ncs", training={"micro_batch": 2}), tuning("ncs")
        found(divided, StepMemory())
        once.network.train()
        for start in (0, 2):
            once.outputs(gradients._part(once.batch("train", draws()), start, start + 2, 4))
        for one, other in zip(running(divided.network), running(once.network), strict=True):
            assert torch.equal(one, other)

    def test_the_random_draws_of_a_training_stay_the_same(self, semantic: Make) -> None:
        seen: list[list[float]] = []
        for settings in ({}, {"micro_batch": 2}):
            learner = semantic(**settings)
            inputs: list[float] = []
            make = learner.batch

            def batch(part: Any, draws: Any, make: Any = make, inputs: list[float] = inputs) -> Any:
                made = make(part, draws)
                if part == "train":
                    inputs.append(float(made.inputs.double().sum()))
                return made

            learner.batch = batch  # type: ignore[method-assign]
            train(learner, seed=3)
            seen.append(inputs)
        assert seen[0] == seen[1]

    def test_a_loss_that_is_not_declared_as_a_mean_is_not_divided(self, semantic: Make) -> None:
        learner = semantic(micro_batch=2)
        learner.mean_over_samples = False
        with pytest.raises(MethodError, match="not declared as means over samples"):
            train(learner, seed=0)

    def test_they_must_divide_the_batch_and_be_divisible_by_the_workers(self, semantic: Make) -> None:
        with pytest.raises(ValidationError, match="micro_batch 3 must divide batch_size 4"):
            Training(batch_size=4, micro_batch=3)
        with pytest.raises(UsageError, match=r"Set training\.micro_batch to a multiple of 4"):
            train(semantic(micro_batch=2), seed=0, world=World(0, 4))

    def test_workers_have_the_same_samples_in_the_network_at_once(self) -> None:
        assert World(1, 2).share(range(8), 8) == [4, 5, 6, 7]
        assert [World(rank, 2).share(range(8), 4) for rank in range(2)] == [[0, 1, 4, 5], [2, 3, 6, 7]]

    def test_only_when_set_they_are_in_the_key(self) -> None:
        assert {"micro_batch", "compile"}.isdisjoint(Training().key_content())
        assert Training(batch_size=4, micro_batch=2, compile=True).key_content() == {
            **Training(batch_size=4).key_content(),
            "micro_batch": 2,
            "compile": True,
        }


@pytest.mark.usefixtures("answered")
class TestOutOfMemory:
    @pytest.mark.parametrize("name", ["ncc", "ncs"])
    def test_a_network_without_batch_statistics_trains_on_in_micro_batches_to_the_same_weights(
        self, tuning: Tune, name: str
    ) -> None:
        settings = {"patience": None, "optimiser": {"name": "sgd", "lr": 0.1}, "norm_eval": "running"}
        memory, ends = StepMemory(), []
        for most in (99, 1):
            learner = tuning(name, training=settings)
            without_batch_statistics(learner.network)
            limited = Limited(learner, most)
            train(limited, seed=0, memory=memory if most == 1 else None)
            ends.append(learner.network.state_dict())
        assert memory == StepMemory(micro_batch=1, repeated=True)
        assert memory.describe() == {"step_memory": {"micro_batch": 1, "activations": "device"}}
        for key, tensor in ends[0].items():
            torch.testing.assert_close(ends[1][key], tensor, rtol=1e-4, atol=1e-6)

    def test_with_batch_norm_activations_move_to_the_host_and_every_bit_stays(
        self, semantic: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole, memory = semantic(), StepMemory()
        limited = Limited(semantic(), 3, until_moved=True)

        def moved() -> Any:
            limited.moved = True
            return activations_on_host()

        monkeypatch.setattr(gradients, "OFFLOADED_BYTES", 0)
        monkeypatch.setattr(gradients, "activations_on_host", moved)
        assert train(limited, seed=0, memory=memory) == train(whole, seed=0)
        assert memory.describe() == {"step_memory": {"micro_batch": None, "activations": "host"}}
        for one, other in zip(limited.network.state_dict().values(), whole.network.state_dict().values(), strict=True):
            assert torch.equal(one, other)

    def test_a_step_that_fits_once_cached_memory_is_free_changes_nothing(self, semantic: Make) -> None:
        limited, memory = Limited(semantic(), 3), StepMemory()
        losses: list[int] = []
        own = limited.losses

        def once(batch: Any, stage: Stage) -> Losses:
            limited.most = 3 if not losses else 99
            losses.append(1)
            return own(batch, stage)

        limited.losses = once  # type: ignore[method-assign]
        assert train(limited, seed=0, memory=memory) == train(semantic(), seed=0)
        assert memory.describe() == {}

    def test_what_never_fits_names_what_a_user_can_do(self, semantic: Make) -> None:
        with pytest.raises(torch.OutOfMemoryError) as error:
            train(Limited(semantic(), 3), seed=0)
        assert "stage 'warm-up' with 4 samples does not fit" in str(error.value)
        assert "training.precision=bfloat16" in str(error.value)
        assert "training.micro_batch=2, with which batch norm sees 2 samples (other numbers)" in str(error.value)

    def test_one_of_several_workers_does_not_change_how_it_computes(self, semantic: Make) -> None:
        assert not Gradients(semantic(), weighted_loss, StepMemory(), World(0, 2)).guarded


def test_libraries_report_a_lack_of_memory_in_words_of_their_own() -> None:
    assert is_memory_error(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_memory_error(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    assert is_memory_error(RuntimeError("CUDA error: out of memory"))
    assert not is_memory_error(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.usefixtures("answered")
def test_any_other_error_of_a_step_is_raised_at_once(semantic: Make) -> None:
    limited = Limited(semantic(), 99)
    limited.outputs = limited.losses = raising  # type: ignore[assignment, method-assign]
    with pytest.raises(RuntimeError, match="shapes"):
        train(limited, seed=0)
    assert limited.sizes == []


def raising(*arguments: Any) -> Losses:
    raise RuntimeError("shapes cannot be multiplied")


def test_a_cpu_does_not_answer_memory_errors(semantic: Make) -> None:
    with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate"):
        train(Limited(semantic(), 3), seed=0)


@pytest.mark.parametrize(
    ("now", "divisible", "movable", "then"),
    [
        (StepMemory(), True, True, WHOLE),
        (WHOLE, True, True, StepMemory(micro_batch=32, repeated=True)),
        (StepMemory(micro_batch=5, repeated=True), True, True, StepMemory(micro_batch=3, repeated=True)),
        (StepMemory(micro_batch=1, repeated=True), True, True, StepMemory(1, on_host=True, repeated=True)),
        (WHOLE, False, True, StepMemory(on_host=True, repeated=True)),
        (WHOLE, False, False, None),
        (StepMemory(on_host=True, repeated=True), False, True, None),
        (StepMemory(1, on_host=True, repeated=True), True, True, None),
    ],
)
def test_what_is_tried_next_computes_the_same(
    now: StepMemory, divisible: bool, movable: bool, then: StepMemory | None
) -> None:
    assert next_step_memory(now, 64, divisible=divisible, movable=movable) == then


@pytest.mark.parametrize("dimension", [2, 3])
def test_activations_on_the_host_leave_gradients_as_they_are(dimension: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "OFFLOADED_BYTES", 0)
    torch.manual_seed(0)
    network = unet(papers_network(dimension, 2)).train()
    images = torch.rand(2, 1, 32, 32, 1 if dimension == 2 else 8)
    grads = []
    for moved in (False, True):
        network.zero_grad()
        if moved:
            with activations_on_host():
                loss = (network(images) - images).square().mean()
        else:
            loss = (network(images) - images).square().mean()
        loss.backward()
        grads.append([parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None])
    assert all(torch.equal(one, other) for one, other in zip(*grads, strict=True))


def test_a_tensor_that_two_operations_in_a_row_need_is_moved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "OFFLOADED_BYTES", 0)
    moved: list[int] = []
    empty = torch.empty_like

    def counted(tensor: Tensor, **options: Any) -> Tensor:
        moved.append(tensor.data_ptr())
        return empty(tensor, **options)

    monkeypatch.setattr(torch, "empty_like", counted)
    x = torch.rand(8, requires_grad=True)
    with activations_on_host():
        y = x.exp()
        loss = (y * y).sum()
    loss.backward()
    assert len(moved) == 1
    torch.testing.assert_close(x.grad, 2 * (2 * x.detach()).exp())
