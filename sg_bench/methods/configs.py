"""What each built-in method can be told; free of torch, so that planning hashes a config without importing its method.

Defaults are the published settings (protocol.md part C); a suite overrides what its budget does not allow. `flat`
holds those of two dimensions, where nothing is published beyond the network and the size of its input.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from sg_bench.recipes import CropRule, Dimensional, Model, Optimiser, Positive, Schedule, Shape, Training, merged
from sg_bench.transforms import settings as spoiling

Ingredient = Literal["corpus", "patterns"]
FILM = (224, 224, 1)
"""Voxels that a 2D network is trained on."""


class MethodConfig(Dimensional):
    """What every method has; a plugin's config extends it. Planning sets `dimension`, that of each task."""

    needs: ClassVar[frozenset[Ingredient]] = frozenset({"corpus"})
    """What must be there before this method can pretrain."""
    dimensions: ClassVar[frozenset[int]] = frozenset({2, 3})
    """In which the method exists."""

    version: int = 1
    """Changes whenever the method's result would."""
    width: Positive = 32
    """Channels of the first convolution; 32 is the papers' network."""
    training: Training = Training()
    workers: Positive = 1
    """Processes that share one pretraining; more than one needs the ray backend."""

    @model_validator(mode="after")
    def _has_dimension(self) -> MethodConfig:
        if self.dimension not in self.dimensions:
            raise ValueError(f"the method has no {self.dimension}D version, only {sorted(self.dimensions)}")
        return self


class ScratchConfig(MethodConfig):
    """Random weights: the baseline that every claim is measured against."""

    needs: ClassVar[frozenset[Ingredient]] = frozenset()
    training: Training = Training(epochs=0)


class AutoencoderConfig(MethodConfig):
    """The auto-encoder of self-discovery (protocol C.2.1)."""

    flat: ClassVar[dict[str, Any]] = {"shape": FILM}
    shape: Shape = (128, 128, 64)
    """Every volume is resized to this many voxels."""
    skips: bool = True
    """Faithful; without skip connections the bottleneck has to carry everything."""
    training: Training = Training(batch_size=8, schedule=Schedule(every=20))


class ModelsGenesisConfig(MethodConfig):
    """Models Genesis: 3D chest CT (protocol C.4, C.5), and films."""

    flat: ClassVar[dict[str, Any]] = {
        "crops": {"cube": FILM, "border": (0, 0, 0), "air": None},
        "per_volume": 1,
        # Blocks of 1 to 22 pixels a side: 700 of them change as large a part of a film as 10 000 do of a cube.
        "transforms": {"shuffle": {"blocks": 700}},
    }
    crops: CropRule = CropRule()
    per_volume: Positive = 32
    """Cubes cut from each volume."""
    transforms: spoiling.ModelsGenesis = spoiling.ModelsGenesis()
    training: Training = Training(
        optimiser=Optimiser(name="sgd", lr=1.0), schedule=Schedule(name="step"), batch_size=6, norm_eval="running"
    )


class SemanticsConfig(Model):
    """The papers' add-on (protocol C.3): a head that tells self-discovered patterns apart."""

    weight_restoration: float = Field(default=1.0, ge=0)
    weight_classification: float = Field(default=0.01, ge=0)
    warm_up_epochs: int = Field(default=20, ge=0)
    """Epochs, out of `training.epochs`, in which only encoder and head learn to classify."""


class SemanticGenesisConfig(MethodConfig):
    """Semantic Genesis: the official Keras recipe for 3D chest CT (protocol C.3, C.4), and its analogue for films."""

    needs: ClassVar[frozenset[Ingredient]] = frozenset({"corpus", "patterns"})
    preset: Literal["semantic_genesis_keras", "semantic_genesis_pytorch"] = "semantic_genesis_keras"
    """The two official ports paint differently; the papers' numbers most likely come from Keras."""
    transforms: spoiling.SemanticGenesisPyTorch = spoiling.SemanticGenesisKeras()
    """Settings of the chosen preset."""
    semantics: SemanticsConfig = SemanticsConfig()
    training: Training = Training(batch_size=8, schedule=Schedule(every=20))

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, given: Any) -> Any:
        """Lay what is given of `transforms` over the chosen preset's own settings."""
        given = cls.over_flat(given)  # before them: once `transforms` is whole, nothing can be laid beneath it
        if not isinstance(given, dict) or isinstance(given.get("transforms"), Model):
            return given
        torch_port = given.get("preset") == "semantic_genesis_pytorch"
        preset = spoiling.SemanticGenesisPyTorch if torch_port else spoiling.SemanticGenesisKeras
        overlay = given.get("transforms", {})
        return {**given, "transforms": merged(preset().model_dump(), overlay) if isinstance(overlay, dict) else overlay}

    @model_validator(mode="after")
    def _joint_stage(self) -> SemanticGenesisConfig:
        warm_up, epochs = self.semantics.warm_up_epochs, self.training.epochs
        if warm_up >= epochs:
            raise ValueError(f"warm_up_epochs = {warm_up} leaves none of {epochs} epochs to restore in; lower it")
        return self
