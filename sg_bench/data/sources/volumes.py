"""Reading of NIfTI, MetaImage and NRRD files, and functions shared by the sources of volumes.

`files_under` reads names only, `read_grid` reads headers, `read_volume` and `read_label` complete files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.grids import Affine
from sg_bench.data.sources.base import Case, Problem
from sg_bench.data.sources.headers import METAIMAGE, NRRD
from sg_bench.data.sources.voxels import check_finite, check_usable, read_nifti_header, read_voxels
from sg_bench.errors import DataError

VolumeGrid = tuple[tuple[int, ...], Affine]
"""Shape (x, y, z) and 4x4 affine."""

ENDINGS = (".nii.gz", ".nii", *METAIMAGE)
VOLUMES = (*ENDINGS, *NRRD)
"""Endings of all files of volumes; those of NRRD are read for a user's folder."""
AFFINE_TOLERANCE = 1e-3
"""Difference between an image's affine and its label's that is always accepted, in any entry."""
VOXEL_TOLERANCE = 0.1
"""Largest distance allowed between the places that the two give to any voxel, in voxels of the image."""
MOST_UNNAMED = 8
"""Channels of one file that need no names; more are rather a series in time."""
_CLUTTER = (".DS_Store", "Thumbs.db")


# ---- names -----------------------------------------------------------------------------------------------------------


def case_id(path: Path) -> str:
    """Return a file's name without its image extension."""
    ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), "")
    return path.name[: len(path.name) - len(ending)]


def natural_key(text: str) -> tuple[Any, ...]:
    """Return a sort key that orders volume-2 before volume-10."""
    parts = re.split(r"([0-9]+)", text)
    return (*(_number_key(part) if index % 2 else part for index, part in enumerate(parts)), text)


def _number_key(digits: str) -> tuple[int, str]:
    """Return a sort key of a number of any length."""
    stripped = digits.lstrip("0")
    return len(stripped), stripped


def is_system_file(path: Path) -> bool:
    """Return whether the file was created by an operating system and is not part of the data set."""
    return path.name.startswith("._") or path.name in _CLUTTER


def no_such_folder(root: Path | None) -> Problem:
    """Return the problem of a missing root folder."""
    return Problem(str(root), "no such folder. Give the data set's folder as the source's root")


def files_under(root: Path, ending: str) -> list[Path]:
    """Return the files `*ending` anywhere under `root`, in the order of `natural_key`, without system files.

    Broken links are included, so that opening them is reported; folders are not.
    """
    paths = (path for path in root.rglob(f"*{ending}") if not is_system_file(path) and not path.is_dir())
    return sorted(paths, key=lambda path: natural_key(path.relative_to(root).as_posix()))


def parent_named(path: Path, root: Path, pattern: str) -> str:
    """Return the name of the nearest folder from `path` up to `root` that matches `pattern` fully; "" for none."""
    for folder in path.parents:
        if re.fullmatch(pattern, folder.name):
            return folder.name
        if folder == root:
            break
    return ""


# ---- problems --------------------------------------------------------------------------------------------------------


def as_problem(error: DataError) -> Problem:
    """Return a reader's error as a `Problem` of the file at its start."""
    where, _, what = str(error).partition(": ")
    return Problem(where, what)


def unique_cases(cases: list[Case], problems: list[Problem]) -> list[Case]:
    """Return the first case of each id; add further ones to `problems`."""
    first: dict[str, Case] = {}
    for case in cases:
        kept = first.setdefault(case.id, case)
        if kept is not case:
            what = f"one id, '{case.id}', for two images: {kept.image} is used and this one is not. Keep one of them"
            problems.append(Problem(str(case.image), what))
    return list(first.values())


# ---- reading ---------------------------------------------------------------------------------------------------------


def read_volume(path: Path) -> tuple[NDArray[np.float32], Affine]:
    """Read a NIfTI or MetaImage file.

    Returns:
        The image, (x, y, z), float32 in native units, and its 4x4 affine, voxel indices to world mm, RAS+.

    Raises:
        DataError: the file is corrupt, has more than one volume, or contains NaN or infinity.
    """
    array, affine = read_voxels(path)
    check_finite(path, array)
    return array.astype(np.float32, copy=not array.flags.writeable), affine


def read_channels(path: Path, names: Sequence[str]) -> tuple[NDArray[np.float32], Affine]:
    """Read all channels of a file: (channels, x, y, z), or (x, y, z) for one, float32 in native units.

    Args:
        path: of a NIfTI, MetaImage or NRRD file.
        names: of the channels; () for as many as the file has, up to MOST_UNNAMED.

    Raises:
        DataError: as `read_volume`, or the file has another number of channels.
    """
    array, affine = read_voxels(path, channels=True)
    count = array.shape[3] if array.ndim == 4 else 1
    if count != len(names) and (names or count > MOST_UNNAMED) and (count, len(names)) != (1, 1):
        wanted = f"`channels` names {len(names)}: {', '.join(names)}" if names else "`channels` names none"
        hint = f"Name {count} channels in `channels`, in their order" if count > 1 else "Remove `channels`"
        raise DataError(f"{path}: it has {count} channels, shape {array.shape}, and {wanted}", hint=hint)
    check_finite(path, array)
    if count == 1:
        return array.astype(np.float32, copy=not array.flags.writeable), affine
    return np.moveaxis(array, 3, 0).astype(np.float32), affine


def check_varied(path: Path, image: NDArray[np.float32], names: Sequence[str] = ()) -> None:
    """Check that an image (x, y, z), or each of its channels (channels, x, y, z), has at least two values.

    Raises:
        DataError: it has not.
    """
    channels = image[np.newaxis] if image.ndim == 3 else image
    for index, channel in enumerate(channels):
        first = channel.flat[0]
        if (channel[channel.shape[0] // 2] == first).all() and (channel == first).all():
            which = f"channel {names[index]}, " if index < len(names) else ""
            raise DataError(
                f"{path}: {which}all {channel.size} voxels have the value {first:g}",
                hint="Nothing can be learnt from a constant image: export it again, or leave it out",
            )


def read_label(path: Path) -> tuple[NDArray[np.uint8], Affine]:
    """Read a label map.

    Returns:
        The label, (x, y, z), uint8 class numbers, and its 4x4 affine.

    Raises:
        DataError: the file is corrupt, or a value is not an integer in 0..255.
    """
    array, affine = read_voxels(path)
    if array.dtype == np.uint8:
        return array.copy("K"), affine
    fits = (array >= 0) & (array <= 255) & (array == np.rint(array))
    if not fits.all():
        raise DataError(
            f"{path}: label value {array[~fits][0]:g} is not an integer in 0..255",
            hint="Export class numbers, not intensities or probabilities",
        )
    return array.astype(np.uint8), affine


def read_grid(path: Path) -> VolumeGrid:
    """Read the header of a NIfTI file.

    Raises:
        DataError: the header is corrupt or has no usable affine, or the file is too short for its shape (checked only
            if it is not gzipped).
    """
    header = read_nifti_header(path)
    shape = tuple(int(size) for size in header.get_data_shape())
    affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    check_usable(path, affine)
    return shape[:3] if shape[3:] == (1,) else shape, affine


# ---- image and label -------------------------------------------------------------------------------------------------


def check_shapes(image: Path, image_shape: tuple[int, ...], label: Path, label_shape: tuple[int, ...]) -> None:
    """Check that a label has the shape of its image.

    Raises:
        DataError: the shapes differ; names both files and shapes.
    """
    if label_shape != image_shape:
        raise DataError(
            f"{label}: its shape (x, y, z) is {label_shape}, its image {image} has {image_shape}",
            hint="Check that the two belong together, or resample the label onto the image",
        )


def largest_distance(affine: Affine, other: Affine, shape: Sequence[int]) -> tuple[float, float]:
    """Return the largest distance between the places that two affines give to any voxel, in voxels and in mm.

    Args:
        affine: 4x4, in whose voxels the distance is measured.
        other: 4x4.
        shape: of the grid; the first three sizes count.
    """
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape[:3]], indexing="ij")).reshape(3, -1)
    moved = (other - affine)[:3, :3] @ corners + (other - affine)[:3, 3:]
    voxels = float(np.linalg.norm(np.linalg.solve(affine[:3, :3], moved), axis=0).max())
    return voxels, float(np.linalg.norm(moved, axis=0).max())


def check_affines(image: Path, image_affine: Affine, label: Path, label_affine: Affine, shape: Sequence[int]) -> None:
    """Check that a label's affine puts every voxel where its image's does, up to rounding.

    Raises:
        DataError: the affines differ; names both files and the largest distance.
    """
    voxels, distance = largest_distance(image_affine, label_affine, shape)
    largest = float(np.abs(label_affine - image_affine).max())
    if largest > AFFINE_TOLERANCE and voxels > VOXEL_TOLERANCE:
        raise DataError(
            f"{label}: its affine differs from that of its image {image} by {largest:g}, up to {voxels:.3g} voxels or "
            f"{distance:.4g} mm; allowed are {VOXEL_TOLERANCE:g} voxels",
            hint="Copy the image's header to the label if both have the same grid, else resample the label",
        )


def check_classes(path: Path, label: NDArray[np.uint8], classes: dict[int, str]) -> None:
    """Check that a label map contains known classes only.

    Raises:
        DataError: names the unknown value and the classes.
    """
    strange = label[~np.isin(label, list(classes))]
    if strange.size:
        known = ", ".join(f"{number} {meaning}" for number, meaning in classes.items())
        raise DataError(
            f"{path}: {strange.size} voxels have label value {strange[0]}, allowed are {known}",
            hint="Check that this file belongs to this data set, and to this year's edition of it",
        )


def read_grids(case: Case, problems: list[Problem]) -> tuple[VolumeGrid, VolumeGrid] | None:
    """Read the headers of a case's image and label (NIfTI); add corrupt files and different shapes to `problems`.

    Returns:
        Both grids; None if a file is corrupt or the shapes differ.
    """
    assert case.image is not None
    assert case.label is not None
    grids = []
    for path in (case.image, case.label):
        try:
            grids.append(read_grid(path))
        except DataError as error:
            problems.append(as_problem(error))
    if len(grids) < 2:
        return None
    try:
        check_shapes(case.image, grids[0][0], case.label, grids[1][0])
    except DataError as error:
        problems.append(as_problem(error))
        return None
    return grids[0], grids[1]
