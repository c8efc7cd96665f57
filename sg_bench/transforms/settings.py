"""What can be set about corruption: every official constant, with its default. Imports no torch.

Lengths are shares of the image's own sides wherever the official code allows it, so that the same settings corrupt a
16x16x8 patch as they corrupt the papers' 64x64x32, where they give exactly the official numbers.

Source: the official code of Models Genesis (Zhou et al. 2019, arXiv:1908.06912) and of Semantic Genesis (Haghighi et
al. 2020, arXiv:2007.06959), the latter in its Keras and its PyTorch edition, which differ in painting. What belongs to
other methods stands at the end; their classes name its sources.
"""

from __future__ import annotations

from fractions import Fraction as Rational
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sg_bench.config import Border, Fraction, Model, Positive, Shape

Share = Annotated[str, Field(pattern=r"^\d+/[1-9]\d*$")]
"""A part of an image's side, such as "1/6"; what it comes to is rounded down to whole voxels."""

PositiveReal = Annotated[float, Field(gt=0)]


class Flip(Model):
    """Mirroring along x and y, never along z; the target is mirrored too."""

    draws: Positive = 3
    """Draws at most; the first one that fails ends them."""
    probability: Fraction = 0.4
    """Of each draw. It picks x, y or the channel axis (where it changes nothing) with equal chance."""


class Bezier(Model):
    """A non-linear intensity map: the cubic Bezier curve through (0, 0), two random points and (1, 1)."""

    inverted: Fraction = 0.5
    """How often bright becomes dark."""
    nodes: Annotated[int, Field(ge=2)] = 2048
    """Points at which the curve is computed; straight lines lie between them."""


class Shuffle(Model):
    """Small blocks whose voxels change places; each block reads the uncorrupted image, later blocks overwrite."""

    blocks: Positive = 10_000
    """10 000 change 82 % of a 64x64x32 cube (Models Genesis), 5 change 0.1 % (Semantic Genesis)."""
    side_divisor: Positive = 10
    """A block's side is 1 to side // side_divisor voxels: 6, 6 and 3 at most in 64x64x32."""
    side_floor: Positive = 2
    """The longest side is no less than this, else a patch under 20 voxels would never change."""


class Elastic(Model):
    """A smooth random displacement in the plane, which the network has to undo: the target stays in place."""

    alpha: Annotated[float, Field(ge=0)] = 991.0
    """Factor from smoothed noise to voxels."""
    sigma: PositiveReal = 8.0
    """Standard deviation of the Gaussian that smooths the noise, in voxels, along x, y and, unless flat, z."""
    truncate: PositiveReal = 4.0
    """Where the Gaussian ends, in standard deviations."""
    reference_side: Positive | None = 64
    """alpha and sigma hold for images of this in-plane side; others deform by the same share of their side.
    None: alpha and sigma hold for any image."""


class Sides(Model):
    """The least and the greatest length of a box's sides, both included."""

    plane: tuple[Share, Share]
    """Along x and y, each drawn by itself."""
    depth: tuple[Share, Share]
    """Along z."""

    @model_validator(mode="after")
    def _ordered(self) -> Sides:
        for low, high in (self.plane, self.depth):
            if not Rational(low) <= Rational(high) <= 1:
                raise ValueError(f"sides must be (low, high) with low <= high <= 1, not ({low}, {high})")
        return self


class Painting(Model):
    """Boxes, and what fills their inside (in-painting) or all that lies outside of them (out-painting)."""

    sides: Sides
    """In-painting: of a box. Out-painting: what a kept box is shorter than the image."""
    least: Annotated[int, Field(ge=0)] = 1
    """Boxes that are surely drawn."""
    most: Positive = 1
    """Boxes at most."""
    another: Fraction = 0.95
    """Chance of each further box; the first refusal ends them."""
    border: Annotated[int, Field(ge=0)] = 3
    """Voxels between a box and the image's faces; fewer where the box leaves no room for them on both sides."""
    fill: Literal["noise", "constant"] = "noise"
    """U[0, 1) for each voxel, or one such number for the whole image."""

    @model_validator(mode="after")
    def _ordered(self) -> Painting:
        if self.least > self.most:
            raise ValueError(f"least must not exceed most, but least is {self.least} and most is {self.most}")
        return self


SIXTH_TO_THIRD = Sides(plane=("1/6", "1/3"), depth=("1/6", "1/3"))
"""10-21, 10-21 and 5-10 voxels of 64x64x32."""
THREE_TO_FOUR_SEVENTHS = Sides(plane=("3/7", "4/7"), depth=("3/7", "4/7"))
"""27-36, 27-36 and 13-18 voxels of 64x64x32, so boxes of 28-37, 28-37 and 14-19 are kept."""
TEN_TO_TWENTY_VOXELS = Sides(plane=("10/64", "20/64"), depth=("10/32", "20/32"))
"""10-20 voxels along each axis of 64x64x32."""


class PresetSettings(Model):
    """Settings of a whole preset."""


class ModelsGenesis(PresetSettings):
    """Flip, then local shuffling, then a non-linear map, then painting, each with its own chance."""

    flip: Flip = Flip()
    shuffle: Shuffle = Shuffle()
    shuffle_probability: Fraction = 0.5
    bezier: Bezier = Bezier()
    bezier_probability: Fraction = 0.9
    in_painting: Painting = Painting(sides=SIXTH_TO_THIRD, least=0, most=5)
    out_painting: Painting = Painting(sides=THREE_TO_FOUR_SEVENTHS, least=1, most=5)
    painting_probability: Fraction = 0.9
    in_painting_share: Fraction = 0.2
    """How often painting, if it happens, is in-painting; else it is out-painting."""


class SemanticGenesisPyTorch(PresetSettings):
    """Elastic deformation, then exactly one of the four others, with equal chances."""

    elastic: Elastic = Elastic()
    shuffle: Shuffle = Shuffle(blocks=5)
    bezier: Bezier = Bezier()
    in_painting: Painting = Painting(sides=SIXTH_TO_THIRD)
    out_painting: Painting = Painting(sides=THREE_TO_FOUR_SEVENTHS)


class SemanticGenesisKeras(SemanticGenesisPyTorch):
    """The same with smaller boxes, filled with one constant for each image; most likely the papers' own."""

    in_painting: Painting = Painting(sides=TEN_TO_TWENTY_VOXELS, fill="constant")
    out_painting: Painting = Painting(sides=TEN_TO_TWENTY_VOXELS, fill="constant")


class PatchSwap(Model):
    """Pairs of equal patches that change places, one pair after the other."""

    swaps: Positive = 10
    """How often two patches are picked."""
    patch: Shape = (8, 8, 4)
    """Voxels of a patch; at most half of the image's side, so that two always find room beside one another."""


class QuarterTurns(Model):
    """Turns of the whole image by a multiple of 90 degrees."""

    axes: Literal["z", "all"] = "z"
    """z: by 0, 90, 180 or 270 degrees in the plane; all: none, or 90, 180 or 270 degrees about z, x or y (ten ways)."""


class PatchMask(Model):
    """Patches on a regular grid, some of which are blanked."""

    patch: Positive = 8
    """Side of a patch in voxels along every axis, at most that of the image; halved until there are enough patches."""
    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.6
    """Share of the patches that is blanked."""
    least_patches: Annotated[int, Field(ge=2)] = 8
    """An image with fewer patches than this gets smaller ones."""


class RubiksCube(Model):
    """A cube cut into 2x2x2 sub-cubes, which change places and are turned."""

    permutations: Annotated[int, Field(ge=2, le=40320)] = 100
    """Orders that occur, out of 8! = 40 320: as far apart from each other as can be."""
    gap: Border = (10, 10, 5)
    """Voxels at least by which a sub-cube may shift inside its eighth, along x, y and z, so that no edge runs on from
    one sub-cube into the next and gives their order away."""
    turned: Fraction = 1 / 3
    """How often a sub-cube is turned by 180 degrees about x; as often, and independently, about z."""
