"""Configuration of the methods that compare or rearrange views and pieces of images; free of torch.

Defaults are the published settings. What the papers' hardware allowed is a setting: batches of 4096 images, for
example. SGD takes the place of LARS, which SimCLR and VICReg need for such batches only, and there is no warm-up of the
learning rate.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from sg_bench.config import AddedLater, CropRule, Fraction, Model, Optimiser, Positive, Schedule, Shape, Training
from sg_bench.methods.configs import FILM_CROPS, CropsConfig
from sg_bench.transforms import settings as corruptions

Temperature = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
COSINE = Schedule(name="cosine", min_lr=0)


def sgd(lr: float, weight_decay: float, epochs: int) -> Training:
    """Return a training in batches of 256 with SGD, a momentum of 0.9 and a cosine schedule, to its end."""
    optimiser = Optimiser(name="sgd", lr=lr, weight_decay=weight_decay)
    return Training(optimiser=optimiser, schedule=COSINE, batch_size=256, epochs=epochs, patience=None)


class ProjectionSettings(Model):
    """The layers on the pooled features, which are not exported."""

    hidden: Positive = 2048
    outputs: Positive = 128


class ViewsConfig(CropsConfig):
    """Settings of methods that compare random views of an image."""

    view: corruptions.ViewSettings = corruptions.ViewSettings()
    projection: ProjectionSettings = ProjectionSettings()


class SimCLRConfig(ViewsConfig):
    """SimCLR (arXiv:2002.05709): temperature 0.1, a projection of 2048 and 128, lr 0.3 for 256 images, 100 epochs."""

    view: corruptions.ViewSettings = corruptions.ViewSettings(scale=(0.08, 1.0), brightness=0.8, contrast=0.8)
    temperature: Temperature = 0.1
    training: Training = sgd(0.3, 1e-6, 100)


class MoCoV2Config(ViewsConfig):
    """MoCo v2 (arXiv:2003.04297): 65 536 keys, momentum 0.999, temperature 0.2, lr 0.03 for 256 images, 200 epochs."""

    queue: Positive = 65_536
    """Keys of earlier batches that each query is compared with."""
    momentum: Fraction = 0.999
    """Of the encoder of the keys."""
    temperature: Temperature = 0.2
    training: Training = sgd(0.03, 1e-4, 200)


class VICRegConfig(ViewsConfig):
    """VICReg (arXiv:2105.04906): weights 25, 25 and 1, an expander of three layers of 8192, lr 0.2 for 256 images.

    Both views are drawn alike, and nothing is solarised.
    """

    view: corruptions.ViewSettings = corruptions.ViewSettings(scale=(0.08, 1.0))
    projection: ProjectionSettings = ProjectionSettings(hidden=8192, outputs=8192)
    weight_invariance: Weight = 25.0
    weight_variance: Weight = 25.0
    weight_covariance: Weight = 1.0
    training: Training = sgd(0.2, 1e-6, 1000)


class MaskedAutoencoderViTConfig(CropsConfig):
    """Masked auto-encoder (arXiv:2111.06377): 75 % masked, a decoder of 8 blocks of width 512, lr 1.5e-4, 800 epochs.

    The network is ViT-B/16 unless another ViT is chosen.
    """

    networks: ClassVar[frozenset[str]] = frozenset({"vit"})
    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.75
    """Share of the patches that are masked."""
    decoder_depth: Positive = 8
    decoder_width: Positive = 512
    decoder_heads: Positive = 16
    training: Training = Training(
        optimiser=Optimiser(name="adamw", lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.05),
        schedule=COSINE,
        batch_size=256,
        epochs=800,
        patience=None,
    )

    @model_validator(mode="before")
    @classmethod
    def _vit_by_default(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("network") is not None:
            return given
        return {**given, "network": {"name": "vit", "config": {"dimension": given.get("dimension", 3)}}}

    @model_validator(mode="after")
    def _has_patches(self) -> MaskedAutoencoderViTConfig:
        if "crops" in self.without_effect():  # self-discovered cubes are masked
            return self
        sides = zip(self.crops.cube, self.chosen_network.config.multiple, strict=True)
        if math.prod(max(1, side // patch) for side, patch in sides) < 2:
            raise ValueError(f"crops.cube {self.crops.cube} has one patch only, so it cannot be masked in part")
        return self


class DINOConfig(ViewsConfig):
    """DINO (arXiv:2104.14294): two global and eight local views, 65 536 outputs, student's temperature 0.1.

    Crops are those of its convolutional networks; so is SGD in place of AdamW. Both large views are blurred with the
    same probability, and nothing is solarised.
    """

    flat: ClassVar[dict[str, Any]] = {**FILM_CROPS, "local_size": (96, 96, 1)}
    view: corruptions.ViewSettings = corruptions.ViewSettings(scale=(0.14, 1.0))
    local: corruptions.ViewSettings = corruptions.ViewSettings(scale=(0.05, 0.14))
    """Of the small views, which only the student gets."""
    local_views: Annotated[int, Field(ge=0)] = 8
    local_size: Shape = (32, 32, 16)
    """Voxels of a small view; the paper's have 96 x 96 pixels next to 224 x 224."""
    projection: ProjectionSettings = ProjectionSettings(hidden=2048, outputs=65_536)
    bottleneck: Positive = 256
    """Units of the layer before the last one."""
    head_norm: Annotated[bool, AddedLater()] = False
    """Whether the head has batch norm between its layers; the paper leaves it out with vision transformers.

    Pooled features of a network without batch norm differ little from their mean, which the head's takes out. Without
    it, outputs can become the same for all images; centring then makes the teacher's uniform.
    """
    momentum: Fraction = 0.996
    """Of the teacher at the start; it rises to 1 along a cosine."""
    student_temperature: Temperature = 0.1
    teacher_temperature: tuple[Temperature, Temperature] = (0.04, 0.07)
    """At the start, and after the warm-up."""
    warm_up: Fraction = 0.3
    """Share of the stage's steps in which the teacher's temperature rises: 30 epochs of 100."""
    centre_momentum: Fraction = 0.9
    training: Training = sgd(0.03, 1e-4, 100)

    @model_validator(mode="after")
    def _local_views_fit(self) -> DINOConfig:
        network = self.chosen_network
        if self.local_views and (refusal := network.config.refusal(self.local_size)):
            raise ValueError(f"local_size {self.local_size} does not fit network '{network}': {refusal}")
        return self


class PiecesConfig(CropsConfig):
    """Settings of methods that cut images into pieces, which are enlarged to what the network takes."""

    @property
    def input_shape(self) -> Shape | None:
        """Return None: what enters the network are the pieces."""
        return None

    @property
    def piece(self) -> Shape:
        """Return the voxels of a piece, before it is enlarged."""
        return self.crops.cube

    @model_validator(mode="after")
    def _pieces_fit(self) -> PiecesConfig:
        if "crops" in self.without_effect():  # they are cut from self-discovered cubes
            return self
        network = self.chosen_network
        sizes = zip(self.piece, network.config.multiple, strict=True)
        x, y, z = (-(-side // step) * step for side, step in sizes)
        if refusal := network.config.refusal((x, y, z)):
            raise ValueError(
                f"crops.cube {self.crops.cube} makes pieces of {x} x {y} x {z}, which do not fit network '{network}': "
                f"{refusal}"
            )
        return self


class VoCoConfig(PiecesConfig):
    """VoCo (CVPR 2024, arXiv:2402.17300): a grid of 4 x 4 base crops, lr 1e-4; a region is four crops wide.

    The number of random crops and the size of the projection are ours.
    """

    flat: ClassVar[dict[str, Any]] = FILM_CROPS
    crops: CropRule = CropRule(cube=(256, 256, 64))
    per_volume: Positive = 4
    overlap: corruptions.OverlapSettings = corruptions.OverlapSettings()
    projection: ProjectionSettings = ProjectionSettings(hidden=2048, outputs=2048)
    weight_regularisation: Weight = 1.0
    """Of the similarity of different base crops."""
    training: Training = Training(
        optimiser=Optimiser(name="adamw", lr=1e-4, weight_decay=1e-2),
        schedule=COSINE,
        batch_size=4,
        epochs=1000,
        patience=None,
    )

    @property
    def piece(self) -> Shape:
        """Return the voxels of a crop."""
        return self.overlap.cell(self.crops.cube)


class VolumeFusionConfig(CropsConfig):
    """Volume fusion (arXiv:2306.16925): five classes, 10 to 40 boxes of 8 to 40 voxels a side, Adam, lr 1e-3."""

    fusion: corruptions.FusionSettings = corruptions.FusionSettings()


class JigsawConfig(PiecesConfig):
    """Jigsaw puzzles (ECCV 2016): 3 x 3 tiles, or 3 x 3 x 3, 1000 orders, lr 0.01 for 256 images.

    Films have the paper's tiles of 64 x 64 pixels in cells of 74; the size in three dimensions is ours.
    """

    flat: ClassVar[dict[str, Any]] = {**FILM_CROPS, "tiles": {"gap": (10, 10, 0)}}
    crops: CropRule = CropRule(cube=(96, 96, 48))
    tiles: corruptions.TilesSettings = corruptions.TilesSettings()
    hidden: Positive = 4096
    """Units of the layer that sees all tiles."""
    training: Training = sgd(0.01, 5e-4, 200)

    @property
    def piece(self) -> Shape:
        """Return the voxels of a tile."""
        return self.tiles.tile(self.crops.cube, self.dimension)
