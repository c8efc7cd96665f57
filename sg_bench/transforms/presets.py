"""The papers' corruptions, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sg_bench.errors import UsageError, did_you_mean
from sg_bench.transforms import settings
from sg_bench.transforms.bezier import BezierIntensity
from sg_bench.transforms.compose import Chain, Corruption, OneOf, Sometimes
from sg_bench.transforms.elastic import ElasticDeformation
from sg_bench.transforms.flip import Flip
from sg_bench.transforms.painting import InPainting, OutPainting
from sg_bench.transforms.shuffle import LocalShuffle


def preset(name: str, config: settings.PresetSettings | Mapping[str, Any] | None = None) -> Corruption:
    """Return a paper's corruption.

    Args:
        name: models_genesis, semantic_genesis_keras or semantic_genesis_pytorch.
        config: the preset's settings, or those that differ from its defaults.

    Raises:
        UsageError: there is no such preset, or `config` holds the settings of another one.
        ValidationError: a setting is unknown or out of range.
    """
    if name not in _PRESETS:
        raise UsageError(f"there is no preset '{name}' of transforms", hint=did_you_mean(name, _PRESETS))
    kind, build = _PRESETS[name]
    if config is None or isinstance(config, Mapping):
        config = kind.model_validate(dict(config or {}))
    if type(config) is not kind:
        problem = f"the preset '{name}' cannot be built from {type(config).__name__}"
        raise UsageError(problem, hint=f"Use sg_bench.transforms.settings.{kind.__name__}")
    return build(name, config)


def _models_genesis(name: str, config: settings.ModelsGenesisSettings) -> Corruption:
    """Zhou et al. 2019 (arXiv:1908.06912), section 2 and official code."""
    paint = OneOf(
        {"in_painting": InPainting(config.in_painting), "out_painting": OutPainting(config.out_painting)},
        {"in_painting": config.in_painting_share, "out_painting": 1 - config.in_painting_share},
    )
    corruption = {
        "shuffle": Sometimes(LocalShuffle(config.shuffle), config.shuffle_probability),
        "bezier": Sometimes(BezierIntensity(config.bezier), config.bezier_probability),
        "painting": Sometimes(paint, config.painting_probability),
    }
    return Corruption(name, pose=Chain({"flip": Flip(config.flip)}), corruption=Chain(corruption))


def _semantic_genesis(name: str, config: settings.SemanticGenesisPyTorchSettings) -> Corruption:
    """Haghighi et al. 2020 (arXiv:2007.06959), official code in Keras or in PyTorch, which differ in the settings."""
    one = OneOf(
        {
            "shuffle": LocalShuffle(config.shuffle),
            "bezier": BezierIntensity(config.bezier),
            "in_painting": InPainting(config.in_painting),
            "out_painting": OutPainting(config.out_painting),
        }
    )
    return Corruption(
        name, pose=Chain({}), corruption=Chain({"elastic": ElasticDeformation(config.elastic), "one": one})
    )


_PRESETS: dict[str, tuple[type[settings.PresetSettings], Callable[[str, Any], Corruption]]] = {
    "models_genesis": (settings.ModelsGenesisSettings, _models_genesis),
    "semantic_genesis_keras": (settings.SemanticGenesisKerasSettings, _semantic_genesis),
    "semantic_genesis_pytorch": (settings.SemanticGenesisPyTorchSettings, _semantic_genesis),
}
