"""Settings of the transforms, with the official constants as defaults. Imports no torch.

Lengths are shares of the image's sides wherever the official code allows it. So the same settings suit a 16x16x8 patch
and the papers' 64x64x32, in which they give exactly the official numbers.

Source: the official code of Models Genesis (Zhou et al. 2019, arXiv:1908.06912) and of Semantic Genesis (Haghighi et
al. 2020, arXiv:2007.06959), whose Keras and PyTorch editions differ in painting. The transforms of other methods are at
the end, with their sources in the transforms' classes.
"""

from __future__ import annotations

from fractions import Fraction as Rational
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sg_bench.config import Border, Fraction, Model, Positive, Shape

SideShare = Annotated[str, Field(pattern=r"^\d+/[1-9]\d*$")]
"""A share of an image's side, such as "1/6"; the length is rounded down to whole voxels."""

PositiveReal = Annotated[float, Field(gt=0)]


class FlipSettings(Model):
    """Mirroring along x and y, never along z; the target is mirrored too."""

    draws: Positive = 3
    """Most draws; the first that does not happen ends them."""
    probability: Fraction = 0.4
    """Probability of each draw, of x, y or the channel axis (which has no effect) with equal probabilities."""


class BezierSettings(Model):
    """A non-linear intensity map: the cubic Bezier curve through (0, 0), two random points and (1, 1)."""

    inverted: Fraction = 0.5
    """Probability of an inverted map, from bright to dark."""
    nodes: Annotated[int, Field(ge=2)] = 2048
    """Points at which the curve is computed, with linear interpolation between them."""


class ShuffleSettings(Model):
    """Permutation of the voxels inside small blocks."""

    blocks: Positive = 10_000
    """Number of blocks: 10 000 change 82 % of a 64x64x32 cube (Models Genesis), 5 change 0.1 % (Semantic Genesis)."""
    side_divisor: Positive = 10
    """A block's side is 1 to side // side_divisor voxels: 6, 6 and 3 at most in 64x64x32."""
    side_floor: Positive = 2
    """Least maximum of a block's side in voxels; without it, patches under 20 voxels would never change."""


class ElasticSettings(Model):
    """A smooth random in-plane displacement of the input; the target is not displaced."""

    alpha: Annotated[float, Field(ge=0)] = 991.0
    """Displacement in voxels per unit of smoothed noise."""
    sigma: PositiveReal = 8.0
    """Standard deviation in voxels of the Gaussian that smooths the noise, along x, y and, in 3D, z."""
    truncate: PositiveReal = 4.0
    """Radius of the Gaussian filter in standard deviations."""
    reference_side: Positive | None = 64
    """In-plane side of the images that alpha and sigma are meant for; others are displaced by the same share of their
    side. None: alpha and sigma are used for any image."""


class BoxSides(Model):
    """Range of the lengths of a box's sides, both ends included."""

    plane: tuple[SideShare, SideShare]
    """Along x and y, drawn independently."""
    depth: tuple[SideShare, SideShare]
    """Along z."""

    @model_validator(mode="after")
    def _ordered(self) -> BoxSides:
        for low, high in (self.plane, self.depth):
            if not Rational(low) <= Rational(high) <= 1:
                raise ValueError(f"sides must be (low, high) with low <= high <= 1, not ({low}, {high})")
        return self


class PaintingSettings(Model):
    """Boxes, and what fills their inside (in-painting) or everything outside of them (out-painting)."""

    sides: BoxSides
    """In-painting: of a box. Out-painting: of the difference between the image and a box."""
    least: Annotated[int, Field(ge=0)] = 1
    """Least number of boxes."""
    most: Positive = 1
    """Most boxes."""
    another: Fraction = 0.95
    """Probability of each further box; the first that is not drawn ends them."""
    border: Annotated[int, Field(ge=0)] = 3
    """Least distance in voxels between a box and the image's faces; less if the box is too long for it."""
    fill: Literal["noise", "constant"] = "noise"
    """A value of U[0, 1) for each voxel, or one for the whole image."""

    @model_validator(mode="after")
    def _ordered(self) -> PaintingSettings:
        if self.least > self.most:
            raise ValueError(f"least must not exceed most, but least is {self.least} and most is {self.most}")
        return self


SIXTH_TO_THIRD = BoxSides(plane=("1/6", "1/3"), depth=("1/6", "1/3"))
"""10-21, 10-21 and 5-10 voxels of 64x64x32."""
THREE_TO_FOUR_SEVENTHS = BoxSides(plane=("3/7", "4/7"), depth=("3/7", "4/7"))
"""27-36, 27-36 and 13-18 voxels of 64x64x32, so boxes of 28-37, 28-37 and 14-19 are kept."""
TEN_TO_TWENTY_VOXELS = BoxSides(plane=("10/64", "20/64"), depth=("10/32", "20/32"))
"""10-20 voxels along each axis of 64x64x32."""


class PresetSettings(Model):
    """Settings of a preset."""


class ModelsGenesisSettings(PresetSettings):
    """Flips, then local shuffling, a non-linear map and painting, each with its own probability."""

    flip: FlipSettings = FlipSettings()
    shuffle: ShuffleSettings = ShuffleSettings()
    shuffle_probability: Fraction = 0.5
    bezier: BezierSettings = BezierSettings()
    bezier_probability: Fraction = 0.9
    in_painting: PaintingSettings = PaintingSettings(sides=SIXTH_TO_THIRD, least=0, most=5)
    out_painting: PaintingSettings = PaintingSettings(sides=THREE_TO_FOUR_SEVENTHS, least=1, most=5)
    painting_probability: Fraction = 0.9
    in_painting_share: Fraction = 0.2
    """Probability that painting is in-painting instead of out-painting."""


class SemanticGenesisPyTorchSettings(PresetSettings):
    """Elastic deformation, then exactly one of the four others, with equal probabilities."""

    elastic: ElasticSettings = ElasticSettings()
    shuffle: ShuffleSettings = ShuffleSettings(blocks=5)
    bezier: BezierSettings = BezierSettings()
    in_painting: PaintingSettings = PaintingSettings(sides=SIXTH_TO_THIRD)
    out_painting: PaintingSettings = PaintingSettings(sides=THREE_TO_FOUR_SEVENTHS)


class SemanticGenesisKerasSettings(SemanticGenesisPyTorchSettings):
    """Smaller boxes, filled with one constant for each image; most likely the settings of the papers."""

    in_painting: PaintingSettings = PaintingSettings(sides=TEN_TO_TWENTY_VOXELS, fill="constant")
    out_painting: PaintingSettings = PaintingSettings(sides=TEN_TO_TWENTY_VOXELS, fill="constant")


class PatchSwapSettings(Model):
    """Swaps of two patches of equal size."""

    swaps: Positive = 10
    """Number of swaps, one after the other."""
    patch: Shape = (8, 8, 4)
    """Voxels of a patch; at most half of the image's side, so that two patches always fit."""


class QuarterTurnsSettings(Model):
    """Rotations by multiples of 90 degrees."""

    axes: Literal["z", "all"] = "z"
    """z: 0, 90, 180 or 270 degrees in the plane; all: 0 degrees, or 90, 180 or 270 about z, x or y (10 rotations)."""


class PatchMaskSettings(Model):
    """Masking of patches on a regular grid."""

    patch: Positive = 8
    """Side of a patch in voxels along every axis; at most the image's, and halved until there are `least_patches`."""
    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.6
    """Share of patches that are masked."""
    least_patches: Annotated[int, Field(ge=2)] = 8
    """Least number of patches in an image."""


class RubiksCubeSettings(Model):
    """2x2x2 sub-cubes of a cube that are permuted and rotated."""

    permutations: Annotated[int, Field(ge=2, le=40320)] = 100
    """Number of permutations, chosen from 8! = 40 320 for large distances from each other."""
    gap: Border = (10, 10, 5)
    """Least free voxels along x, y and z between a sub-cube and its eighth, for a random shift; without it, structures
    would continue from one sub-cube into the next and reveal their order."""
    turned: Fraction = 1 / 3
    """Probability that a sub-cube is rotated by 180 degrees about x, and independently about z."""


class ViewSettings(Model):
    """A random view of an image: crop and flip, then intensities, blur and noise."""

    scale: tuple[Fraction, Fraction] = (0.2, 1.0)
    """Share of the image's voxels that the crop covers; it is resized to the size of the view."""
    aspect: Annotated[float, Field(ge=1)] = 4 / 3
    """Largest ratio of two sides of the crop, each as a share of the image's."""
    flip: Fraction = 0.5
    """Probability of mirroring along x, from left to right. Nothing is mirrored along y and z, along which a body has
    no symmetry."""
    intensity: Fraction = 0.8
    """Probability that intensities change."""
    brightness: Fraction = 0.4
    """Greatest change of the factor of all intensities, up or down."""
    contrast: Fraction = 0.4
    """Greatest change of the factor of the differences from the mean, up or down."""
    gamma: tuple[PositiveReal, PositiveReal] = (0.7, 1.5)
    """Range of the exponent of the intensities, in place of the hue and saturation of colour images."""
    blur: Fraction = 0.5
    """Probability of blur."""
    sigma: tuple[PositiveReal, PositiveReal] = (0.1, 2.0)
    """Range of the standard deviation of the blur, in voxels of the view."""
    noise: Fraction = 0.2
    """Probability of Gaussian noise, which images of scanners have and photographs of data sets have not."""
    deviation: Fraction = 0.1
    """Largest standard deviation of the noise."""

    @model_validator(mode="after")
    def _ordered(self) -> ViewSettings:
        for name in ("scale", "gamma", "sigma"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be (low, high) with 0 < low <= high, not ({low}, {high})")
        return self


class FusionSettings(Model):
    """Boxes of one image that are blended into another."""

    levels: Positive = 4
    """Number K of fusion coefficients 1/K, 2/K ... 1 besides 0, which is the class of the rest of the image."""
    boxes: tuple[Positive, Positive] = (10, 40)
    """Range of the number of boxes."""
    sides: tuple[Positive, Positive] = (8, 40)
    """Range of a box's sides in voxels; at most the image's."""

    @model_validator(mode="after")
    def _ordered(self) -> FusionSettings:
        for name in ("boxes", "sides"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} must be (low, high) with low <= high, not ({low}, {high})")
        return self


class TilesSettings(Model):
    """Tiles of an image that are put into another order."""

    grid: Annotated[int, Field(ge=2, le=4)] = 3
    """Tiles along every axis of the image that has more than one voxel."""
    permutations: Annotated[int, Field(ge=2)] = 1000
    """Number of orders, chosen for large distances from each other; at most all that there are."""
    gap: Border = (8, 8, 8)
    """Voxels along x, y and z by which a tile is smaller than its cell of the grid, for a random shift; without it,
    structures would continue from one tile into the next and reveal their order."""

    def tile(self, shape: Shape, dimension: int) -> Shape:
        """Return the size of a tile of an image: its cell without the gap, and at least half of the cell."""
        cells = (self.grid, self.grid, self.grid if dimension == 3 else 1)
        sides = [whole // count for whole, count in zip(shape, cells, strict=True)]
        x, y, z = (max(side - gap, -(-side // 2)) for side, gap in zip(sides, self.gap, strict=True))
        return x, y, z


class OverlapSettings(Model):
    """Crops of an image, and by how much they overlap the cells of a grid in its plane."""

    grid: Annotated[int, Field(ge=2, le=8)] = 4
    """Cells along x and along y; each is a base crop."""
    crops: Positive = 4
    """Random crops of the size of a cell."""

    def cell(self, shape: Shape) -> Shape:
        """Return the size of a cell of an image; along z, it is as deep as the image."""
        x, y = (max(1, side // self.grid) for side in shape[:2])
        return x, y, shape[2]
