"""Reading of any file of a user's folder by its ending: volumes, films, and label maps of either."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.grids import Affine
from sg_bench.data.sources.base import Study, film_affine
from sg_bench.data.sources.films import read_dicom, read_picture
from sg_bench.data.sources.volumes import (
    VOLUMES,
    check_affines,
    check_shapes,
    check_varied,
    read_channels,
    read_label,
)
from sg_bench.errors import DataError

FILMS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
"""Endings of the files of films."""


def file_stem(path: Path) -> str:
    """Return a file's name without the ending of an image format."""
    lower = path.name.lower()
    ending = next((ending for ending in (*VOLUMES, *FILMS) if lower.endswith(ending)), "")
    return path.name[: len(path.name) - len(ending)]


def read_study(images: Sequence[Path], label: Path | None, channels: Sequence[str]) -> Study:
    """Read the files of one case.

    Args:
        images: one file for each channel, or one file with all of them.
        label: label map on the grid of the images; None for none.
        channels: names of the channels; () for one.

    Raises:
        DataError: a file is corrupt, constant or not finite, or the files have different grids.
    """
    image, affine = read_image(images[0], channels if len(images) == 1 else ())
    if len(images) > 1:
        image = np.stack([image, *(_on_grid(path, images[0], image, affine) for path in images[1:])])
        for path, channel in zip(images, image, strict=True):
            check_varied(path, channel)
    else:
        check_varied(images[0], image, channels)
    if label is None:
        return Study(image=image, affine=affine)
    mask, mask_affine = read_mask(label)
    check_shapes(images[0], image.shape[-3:], label, mask.shape)
    if not label.name.lower().endswith(FILMS):
        check_affines(images[0], affine, label, mask_affine, mask.shape)
    return Study(image=image, affine=affine, label=mask)


def read_image(path: Path, channels: Sequence[str] = ()) -> tuple[NDArray[np.float32], Affine]:
    """Read an image of any format: (x, y, z), or (channels, x, y, z) if the file has several, and its affine.

    Raises:
        DataError: the file is corrupt, not finite, or has another number of channels than `channels` names.
    """
    lower = path.name.lower()
    if not lower.endswith(FILMS):
        return read_channels(path, channels)
    if len(channels) > 1:
        raise DataError(f"{path}: a film has one channel, `channels` names {len(channels)}", hint="Remove `channels`")
    return read_dicom(path) if lower.endswith((".dcm", ".dicom")) else (read_picture(path), film_affine())


def read_mask(path: Path) -> tuple[NDArray[np.uint8], Affine]:
    """Read a label map of any format: (x, y, z), uint8 class numbers, and its affine.

    Raises:
        DataError: the file is corrupt, or holds no class numbers.
    """
    if not path.name.lower().endswith(FILMS):
        return read_label(path)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise DataError(f"{path}: JPEG changes the values of a label map", hint="Save it as PNG")
    dicom = path.suffix.lower() in (".dcm", ".dicom")
    values: NDArray[Any] = read_dicom(path)[0] if dicom else read_picture(path, classes=True)
    fits = (values >= 0) & (values <= 255) & (values == np.rint(values))
    if not fits.all():
        raise DataError(
            f"{path}: label value {values[~fits][0]:g} is not an integer in 0..255", hint="Save it as 8 bit"
        )
    return values.astype(np.uint8), film_affine()


def _on_grid(path: Path, first: Path, image: NDArray[np.float32], affine: Affine) -> NDArray[np.float32]:
    """Return a further channel, on the grid of the first."""
    channel, own = read_image(path)
    check_shapes(first, image.shape, path, channel.shape)
    check_affines(first, affine, path, own, image.shape)
    return channel
