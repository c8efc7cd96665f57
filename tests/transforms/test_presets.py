from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from sg_bench.errors import UsageError
from sg_bench.transforms import settings
from sg_bench.transforms.base import remove_prefix, sample_batch
from sg_bench.transforms.compose import Corruption
from sg_bench.transforms.flip import Flip
from sg_bench.transforms.presets import preset

SMALL = (16, 16, 8)
NAMES = ["models_genesis", "semantic_genesis_keras", "semantic_genesis_pytorch"]


def drawn(corruption: Corruption, count: int, seed: int = 0) -> dict[str, Tensor]:
    return sample_batch(corruption, [(seed, number) for number in range(count)], SMALL)


def ramps(count: int) -> Tensor:
    """Return images without equal voxels."""
    return torch.linspace(0.05, 0.9, 2048).view(1, 1, *SMALL).repeat(count, 1, 1, 1, 1)


@pytest.fixture(scope="module")
def models_genesis_params() -> dict[str, Tensor]:
    return drawn(preset("models_genesis"), 4000)


def test_models_genesis_applies_each_part_with_its_own_chance(models_genesis_params: dict[str, Tensor]) -> None:
    params = remove_prefix(models_genesis_params, "corruption")
    shares = {name: float(params[f"{name}.on"].double().mean()) for name in ("shuffle", "bezier", "painting")}
    assert shares == pytest.approx({"shuffle": 0.5, "bezier": 0.9, "painting": 0.9}, abs=0.025)
    assert float((params["painting.choice"] == 0).double().mean()) == pytest.approx(0.2, abs=0.025)
    on = torch.stack([params[f"{name}.on"] for name in shares])
    assert float((~on.any(0)).double().mean()) == pytest.approx(0.005, abs=0.0035)


def test_models_genesis_changes_an_image_unless_no_part_is_on(models_genesis_params: dict[str, Tensor]) -> None:
    on = torch.stack([models_genesis_params[f"corruption.{name}.on"] for name in ("shuffle", "bezier", "painting")])
    idle, active = (on.any(0) == some for some in (False, True))
    rows = torch.cat([idle.nonzero()[:, 0], active.nonzero()[:200, 0]])
    corruption = preset("models_genesis", {"shuffle": {"blocks": 50}})
    params = {key: value[rows] for key, value in models_genesis_params.items()}
    inputs, targets = corruption.corrupt(ramps(len(rows)), params)
    same = (inputs == targets).flatten(1).all(1)
    assert same[: int(idle.sum())].all()
    assert same[int(idle.sum()) :].double().mean() < 0.02  # shuffling alone can leave a small image as it is


def test_flips_mirror_x_and_y_of_input_and_target_and_never_z() -> None:
    corruption = preset(
        "models_genesis", {"shuffle_probability": 0, "bezier_probability": 0, "painting_probability": 0}
    )
    params, images = drawn(corruption, 400), ramps(400)
    inputs, targets = corruption.corrupt(images, params)
    assert torch.equal(inputs, targets)
    for image, target, (x, y) in zip(images, targets, params["pose.flip.flipped"].tolist(), strict=True):
        assert torch.equal(target, image.flip([axis for axis, chosen in ((1, x), (2, y)) if chosen]))


def test_flips_happen_as_often_as_up_to_three_draws_make_them() -> None:
    params = sample_batch(Flip(settings.FlipSettings()), range(5000), SMALL)
    odd = {1: 1 / 3, 2: 4 / 9, 3: 13 / 27}  # chance of an odd number of hits on one axis out of three
    expected = sum(odd[draws] * chance for draws, chance in ((1, 0.4 * 0.6), (2, 0.16 * 0.6), (3, 0.064)))
    assert params["flipped"].double().mean(0).tolist() == pytest.approx([expected] * 2, abs=0.02)


@pytest.mark.parametrize("name", NAMES[1:])
def test_semantic_genesis_deforms_the_input_only_then_does_one_of_four(name: str) -> None:
    corruption = preset(name)
    params, images = drawn(corruption, 2000), ramps(2000)
    shares = torch.bincount(params["corruption.one.choice"]).double() / 2000
    assert shares.tolist() == pytest.approx([0.25] * 4, abs=0.04)
    few = {key: value[:200] for key, value in params.items()}
    inputs, targets = corruption.corrupt(images[:200], few)
    assert torch.equal(targets, images[:200])
    assert (inputs != targets).flatten(1).any(1).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_small_patch_needs_no_settings_of_its_own(name: str) -> None:
    corruption = preset(name)
    images = ramps(24)
    inputs, _ = corruption.corrupt(images, drawn(corruption, 24))
    changed = (inputs != images).flatten(1).double().mean(1)
    assert inputs.shape == images.shape
    assert float(changed.median()) > 0.3


def test_overriding_one_setting_of_a_part_keeps_the_presets_others() -> None:
    config = settings.SemanticGenesisKerasSettings.model_validate(
        {
            "shuffle": {"side_divisor": 4},
            "in_painting": {"border": 1},
            "out_painting": {"sides": {"depth": ["0/1", "1/4"]}},
        }
    )
    assert config.shuffle == settings.ShuffleSettings(blocks=5, side_divisor=4)
    assert config.in_painting.fill == "constant"
    assert config.out_painting.sides.plane == settings.TEN_TO_TWENTY_VOXELS.plane
    assert settings.SemanticGenesisKerasSettings.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("name", "config", "error", "message"),
    [
        ("model_genesis", None, UsageError, "Did you mean 'models_genesis'"),
        ("semantic_genesis_keras", settings.ModelsGenesisSettings(), UsageError, "SemanticGenesisKerasSettings"),
        ("models_genesis", {"shufle": {}}, ValidationError, "shufle"),
    ],
)
def test_unknown_names_and_settings_are_refused(name: str, config: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        preset(name, config)


def test_settings_need_no_torch() -> None:
    program = (
        "import sys; sys.modules['torch'] = None; from sg_bench.transforms.settings import *; ModelsGenesisSettings()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
