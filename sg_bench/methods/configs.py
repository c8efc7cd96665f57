"""Configuration of each built-in method; free of torch, so that planning reads a config without importing its method.

Defaults are the published settings (protocol part C); a suite overrides what its budget does not allow. `flat` holds
those of two dimensions, where nothing is published beyond the network and the size of its input.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from sg_bench.config import (
    AddedLater,
    CropRule,
    Dimensional,
    Model,
    NotInKey,
    Optimiser,
    Positive,
    Schedule,
    Shape,
    Training,
    merged,
)
from sg_bench.errors import UsageError
from sg_bench.networks.configs import NetworkChoice, papers_network
from sg_bench.transforms import settings as corruptions

Ingredient = Literal["corpus", "patterns", "weights"]
FILM = (224, 224, 1)
"""Voxels that a 2D network is trained on."""
FILM_CROPS: dict[str, Any] = {"crops": {"cube": FILM, "border": (0, 0, 0), "air": None}, "per_volume": 1}
STEADY = Training(schedule=Schedule(name="step"), batch_size=6)
"""Models Genesis' training with Adam, lr 1e-3: protocol C.6 [C], and our choice where a method's own is not known."""


class MethodConfig(Dimensional):
    """Settings of every method; a plugin's config extends it. Planning sets `dimension` to that of each task."""

    needs: ClassVar[frozenset[Ingredient]] = frozenset({"corpus"})
    """What this method needs before it can pretrain."""
    dimensions: ClassVar[frozenset[int]] = frozenset({2, 3})
    """Spatial dimensions that the method supports."""
    networks: ClassVar[frozenset[str]] = frozenset()
    """Names of the networks that the method is defined for; none: any."""

    version: int = 1
    """Increased whenever a change of code changes the method's result."""
    width: Positive = 32
    """Channels of the papers' network: of its first convolution, 32 in the papers."""
    network: Annotated[NetworkChoice | None, AddedLater()] = None
    """Another network than the papers'; planning sets it to that of the suite."""
    training: Training = Training()
    workers: Annotated[Positive, NotInKey()] = 1
    """Processes that share one pretraining, with the same result; more than one needs the ray backend."""

    @model_validator(mode="after")
    def _has_dimension(self) -> MethodConfig:
        if self.dimension not in self.dimensions:
            raise ValueError(f"the method has no {self.dimension}D version, only {sorted(self.dimensions)}")
        return self

    @property
    def chosen_network(self) -> NetworkChoice:
        """Return the network to pretrain, by default the papers' of this dimension and width."""
        return self.network or papers_network(self.dimension, self.width)

    @property
    def input_shape(self) -> Shape | None:
        """Return the voxels of what enters the network in pretraining; None: the self-discovered cubes, or nothing."""
        return None


class ScratchConfig(MethodConfig):
    """Random weights: the baseline that every claim is measured against."""

    needs: ClassVar[frozenset[Ingredient]] = frozenset()
    training: Training = Training(epochs=0)

    def without_effect(self) -> frozenset[str]:
        """Return `training`: nothing is trained."""
        return frozenset({"training"})


class AutoencoderConfig(MethodConfig):
    """The auto-encoder of self-discovery (protocol C.2.1)."""

    flat: ClassVar[dict[str, Any]] = {"shape": FILM}
    shape: Shape = (128, 128, 64)
    """Every volume is resized to this many voxels."""
    skips: bool = True
    """Faithful; without skip connections the bottleneck has to carry everything."""
    training: Training = Training(batch_size=8, schedule=Schedule(every=20))

    @property
    def input_shape(self) -> Shape | None:
        """Return the shape of a resized volume."""
        return self.shape


class CropsConfig(MethodConfig):
    """Settings of methods that learn from random cubes of every volume (protocol C.5)."""

    flat: ClassVar[dict[str, Any]] = FILM_CROPS
    crops: CropRule = CropRule()
    per_volume: Positive = 32
    """Cubes cut from each volume."""
    training: Training = STEADY

    @property
    def input_shape(self) -> Shape | None:
        """Return the shape of the cubes."""
        return self.crops.cube


class ModelsGenesisConfig(CropsConfig):
    """Models Genesis: 3D chest CT (protocol C.4, C.5), and films."""

    flat: ClassVar[dict[str, Any]] = {
        **FILM_CROPS,
        # Blocks of 1 to 22 pixels a side: 700 of them change as large a part of a film as 10 000 do of a cube.
        "transforms": {"shuffle": {"blocks": 700}},
    }
    transforms: corruptions.ModelsGenesisSettings = corruptions.ModelsGenesisSettings()
    training: Training = Training(
        optimiser=Optimiser(name="sgd", lr=1.0), schedule=Schedule(name="step"), batch_size=6, norm_eval="running"
    )


class InpaintingConfig(CropsConfig):
    """Models Genesis' in-painting alone, with Adam (protocol C.6 [C]: the papers' own settings are unpublished)."""

    in_painting: corruptions.PaintingSettings = corruptions.ModelsGenesisSettings().in_painting


class PatchShufflingConfig(CropsConfig):
    """Context restoration: 10 swaps of 8x8x4 patches (protocol C.7 [C]), of 8x8 in films."""

    flat: ClassVar[dict[str, Any]] = {**FILM_CROPS, "patch_swap": {"patch": (8, 8, 1)}}
    patch_swap: corruptions.PatchSwapSettings = corruptions.PatchSwapSettings()


class RotationConfig(CropsConfig):
    """Four turns in the plane (protocol C.8 [C]), or ten about all axes of cubic crops (C.8 [V code])."""

    turns: corruptions.QuarterTurnsSettings = corruptions.QuarterTurnsSettings()

    @model_validator(mode="after")
    def _has_turns(self) -> RotationConfig:
        if self.dimension == 2 and self.turns.axes == "all":
            raise ValueError("a film turns in its plane only: set turns.axes to z")
        return self


class RubiksCubeConfig(CropsConfig):
    """Rubik's cube in windows of 128x128x64 (protocol C.9 [C]), so that sub-cubes are of the papers' size or nearly."""

    dimensions: ClassVar[frozenset[int]] = frozenset({3})
    crops: CropRule = CropRule(cube=(128, 128, 64))
    cube: corruptions.RubiksCubeSettings = corruptions.RubiksCubeSettings()
    weight_order: float = Field(default=0.5, ge=0)
    """Of the permutation's cross-entropy (C.9 [R])."""
    weight_turned: float = Field(default=0.5, ge=0)
    """Of the turns' binary cross-entropy (C.9 [R])."""

    @property
    def input_shape(self) -> Shape | None:
        """Return the shape of a sub-cube."""
        x, y, z = self.crops.cube
        return x // 2, y // 2, z // 2


class MaskedAutoencoderConfig(CropsConfig):
    """60 % of the patches blanked (arXiv:2301.03580, section 4); a patch is as large as the encoder's total stride."""

    networks: ClassVar[frozenset[str]] = frozenset({"medicalnet", "resnet18", "unet3d"})
    """Convolutional ones with batch norm, after which masked positions are set to zero."""

    flat: ClassVar[dict[str, Any]] = {**FILM_CROPS, "mask": {"patch": 32}}
    mask: corruptions.PatchMaskSettings = corruptions.PatchMaskSettings()


class SemanticsConfig(Model):
    """The papers' add-on (protocol C.3): a head that classifies self-discovered patterns."""

    weight_restoration: float = Field(default=1.0, ge=0)
    weight_classification: float = Field(default=0.01, ge=0)
    warm_up_epochs: int = Field(default=20, ge=0)
    """Epochs, out of `training.epochs`, in which only encoder and head learn to classify."""
    labels: Literal["patterns", "random"] = "patterns"
    """random: a control that permutes the pseudo-labels among the training cubes, by the pretraining seed."""

    def leaves_joint_stage(self, training: Training) -> None:
        """Check that the warm-up leaves an epoch of `training`.

        Raises:
            ValueError: it leaves none.
        """
        if self.warm_up_epochs >= training.epochs:
            given = f"warm_up_epochs = {self.warm_up_epochs} leaves none of {training.epochs} epochs"
            raise ValueError(f"{given} to restore in; lower it")


class SemanticGenesisConfig(MethodConfig):
    """Semantic Genesis: the official Keras recipe for 3D chest CT (protocol C.3, C.4), and its analogue for films."""

    needs: ClassVar[frozenset[Ingredient]] = frozenset({"corpus", "patterns"})
    preset: Literal["semantic_genesis_keras", "semantic_genesis_pytorch"] = "semantic_genesis_keras"
    """The two official ports paint differently; the papers' numbers most likely come from Keras."""
    transforms: corruptions.SemanticGenesisPyTorchSettings = corruptions.SemanticGenesisKerasSettings()
    """Settings of the chosen preset."""
    semantics: SemanticsConfig = SemanticsConfig()
    training: Training = Training(batch_size=8, schedule=Schedule(every=20))

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, given: Any) -> Any:
        """Complete the given `transforms` by the settings of the chosen preset."""
        given = cls.over_flat(given)  # first: a complete `transforms` has no defaults left to replace
        if not isinstance(given, dict) or isinstance(given.get("transforms"), Model):
            return given
        torch_port = given.get("preset") == "semantic_genesis_pytorch"
        preset = corruptions.SemanticGenesisPyTorchSettings if torch_port else corruptions.SemanticGenesisKerasSettings
        overlay = given.get("transforms", {})
        return {**given, "transforms": merged(preset().model_dump(), overlay) if isinstance(overlay, dict) else overlay}

    @model_validator(mode="after")
    def _joint_stage(self) -> SemanticGenesisConfig:
        self.semantics.leaves_joint_stage(self.training)
        return self


class SelfRestorationConfig(SemanticGenesisConfig):
    """Semantic Genesis without its classes: no field of `semantics` is used."""

    def without_effect(self) -> frozenset[str]:
        """Return all of `semantics`."""
        return frozenset({"semantics"})

    @model_validator(mode="after")
    def _joint_stage(self) -> SelfRestorationConfig:
        return self  # there is no warm-up


class SelfClassificationConfig(SelfRestorationConfig):
    """Semantic Genesis without its restoration: of `semantics`, only `labels` is used."""

    def without_effect(self) -> frozenset[str]:
        """Return the weights and the warm-up of `semantics`."""
        unused = SemanticsConfig.model_fields.keys() - {"labels"}
        return frozenset(f"semantics.{name}" for name in unused)


@cache
def with_semantics(name: str, base: type[MethodConfig]) -> type[MethodConfig]:
    """Return the config of method `name` with the add-on: its own settings, and `semantics`.

    Raises:
        UsageError: the method does not pretrain, or uses the patterns already.
    """
    if "corpus" not in base.needs:
        raise UsageError(
            f"method '{name}' does not pretrain, so semantics cannot be added to it",
            hint="Choose self_classification, which learns from the patterns alone",
        )
    if "patterns" in base.needs:
        raise UsageError(
            f"method '{name}' uses the self-discovered patterns already, so semantics cannot be added to it",
            hint="Choose semantic_genesis, which classifies and restores them, or the name without '+semantics'",
        )

    class WithSemantics(base):  # type: ignore[misc, valid-type]
        needs: ClassVar[frozenset[Ingredient]] = base.needs | {"patterns"}
        semantics: SemanticsConfig = SemanticsConfig()

        @model_validator(mode="after")
        def _joint_stage(self) -> WithSemantics:
            self.semantics.leaves_joint_stage(self.training)
            return self

        def without_effect(self) -> frozenset[str]:
            """Return where the method alone would cut its cubes: it gets the self-discovered ones instead."""
            crops = {"crops", "per_volume"} if issubclass(base, CropsConfig) else set[str]()
            return frozenset({*super().without_effect(), *crops})

        @property
        def input_shape(self) -> Shape | None:
            """Return None: its cubes are the self-discovered ones."""
            return None

        def __reduce__(self) -> tuple[Any, ...]:
            return _unpickled, (name, base, self.__getstate__())

    WithSemantics.__name__ = WithSemantics.__qualname__ = f"{base.__name__}WithSemantics"
    WithSemantics.__doc__ = f"{base.__doc__} With the papers' add-on, on self-discovered cubes."
    return WithSemantics


def _unpickled(name: str, base: type[MethodConfig], state: dict[Any, Any]) -> MethodConfig:
    """Return a config of a class that `with_semantics` makes, and which pickle cannot import by its name."""
    cls = with_semantics(name, base)
    config = cls.__new__(cls)
    config.__setstate__(state)
    return config
