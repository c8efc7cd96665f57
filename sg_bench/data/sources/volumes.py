"""Reading of NIfTI, MetaImage and NRRD files, and functions shared by the sources of volumes.

`files_under` reads names only, `read_grid` and `metaimage_header` read headers, `read_volume` and `read_label` complete
files.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.grids import Affine
from sg_bench.data.sources.base import Case, Problem
from sg_bench.data.sources.claims import MOST_PACKED, check_claimed_size
from sg_bench.data.sources.pixels import one_line_cause
from sg_bench.errors import DataError

VolumeGrid = tuple[tuple[int, ...], Affine]
"""Shape (x, y, z) and 4x4 affine."""

ENDINGS = (".nii.gz", ".nii", ".mhd", ".mha")
VOLUMES = (*ENDINGS, ".nrrd", ".nhdr")
"""Endings of all files of volumes; those of NRRD are read for a user's folder."""
AFFINE_TOLERANCE = 1e-3
"""Difference between an image's affine and its label's that is always accepted, in any entry."""
VOXEL_TOLERANCE = 0.1
"""Largest distance allowed between the places that the two give to any voxel, in voxels of the image."""
_CLUTTER = (".DS_Store", "Thumbs.db")
_RENEW = "Download or export the file again"
_METAIMAGE = (".mhd", ".mha")
_NRRD = (".nrrd", ".nhdr")
_LONGEST_HEADER = 540
"""Bytes, of NIfTI-2."""
_MOST_EXTENSIONS = 2**24
"""Bytes after the voxels of a NIfTI file, and before them, that are read and ignored."""


# ---- names -----------------------------------------------------------------------------------------------------------


def case_id(path: Path) -> str:
    """Return a file's name without its image extension."""
    ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), "")
    return path.name[: len(path.name) - len(ending)]


def natural_key(text: str) -> tuple[Any, ...]:
    """Return a sort key that orders volume-2 before volume-10."""
    parts = re.split(r"([0-9]+)", text)
    return (*(int(part) if index % 2 else part for index, part in enumerate(parts)), text)


def is_system_file(path: Path) -> bool:
    """Return whether the file was created by an operating system and is not part of the data set."""
    return path.name.startswith("._") or path.name in _CLUTTER


def leaves_folder(pattern: str) -> bool:
    """Return whether a relative path or glob leads out of its folder."""
    path = PureWindowsPath(pattern)
    return ".." in path.parts or bool(path.anchor)


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
    array, affine = _read(path)
    _check_finite(path, array)
    return array.astype(np.float32, copy=not array.flags.writeable), affine


def read_channels(path: Path, names: Sequence[str]) -> tuple[NDArray[np.float32], Affine]:
    """Read all channels of a file: (channels, x, y, z), or (x, y, z) for one, float32 in native units.

    Args:
        path: of a NIfTI, MetaImage or NRRD file.
        names: of the channels, for error messages; () for one.

    Raises:
        DataError: as `read_volume`, or the file has another number of channels.
    """
    array, affine = _read(path, channels=True)
    count = array.shape[3] if array.ndim == 4 else 1
    if count != max(1, len(names)):
        wanted = f"`channels` names {len(names)}: {', '.join(names)}" if names else "`channels` names none"
        hint = f"Name {count} channels in `channels`, in their order" if count > 1 else "Remove `channels`"
        raise DataError(f"{path}: it has {count} channels, shape {array.shape}, and {wanted}", hint=hint)
    _check_finite(path, array)
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
    array, affine = _read(path)
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
    import nibabel as nib

    with _nifti_errors(path):
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as file:
            header = _header(file.read(nib.Nifti2Header.sizeof_hdr))
        shape = tuple(int(size) for size in header.get_data_shape())
        _voxel_bytes(header)
        if not zipped:
            _check_length(header, path.stat().st_size)
    affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    _check_usable(path, affine)
    return shape[:3] if shape[3:] == (1,) else shape, affine


def data_files(path: Path, problems: list[Problem]) -> list[Path]:
    """Return the data file of a MetaImage header, [] if it is the same file; add a problem if it is missing."""
    if path.suffix.lower() not in _METAIMAGE or not path.is_file():
        return []
    name = metaimage_header(path).get("ElementDataFile", "")
    if name.upper() == "LOCAL":
        return []
    data = path.parent / name
    if not name or not data.is_file() or leaves_folder(name):
        what = f"its data file '{name}' is missing or in another folder. Copy it there"
        problems.append(Problem(str(path), what))
        return []
    return [data]


def metaimage_header(path: Path) -> dict[str, str]:
    """Return the "Key = value" lines of a MetaImage header, which ends with ElementDataFile.

    Raises:
        OSError: the file cannot be opened.
    """
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for line in file.read(65536).split(b"\n"):
            key, equals, value = line.decode("utf-8", "replace").partition("=")
            if equals:
                fields[key.strip()] = value.strip()
            if not equals or key.strip() == "ElementDataFile":
                break
    return fields


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


def check_affines(image: Path, image_affine: Affine, label: Path, label_affine: Affine, shape: Sequence[int]) -> None:
    """Check that a label's affine puts every voxel where its image's does, up to rounding.

    Raises:
        DataError: the affines differ; names both files and the largest distance.
    """
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape[:3]], indexing="ij")).reshape(3, -1)
    moved = (label_affine - image_affine)[:3, :3] @ corners + (label_affine - image_affine)[:3, 3:]
    voxels = float(np.linalg.norm(np.linalg.solve(image_affine[:3, :3], moved), axis=0).max())
    largest = float(np.abs(label_affine - image_affine).max())
    if largest > AFFINE_TOLERANCE and voxels > VOXEL_TOLERANCE:
        distance = float(np.linalg.norm(moved, axis=0).max())
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


# ---- details ---------------------------------------------------------------------------------------------------------


def _read(path: Path, *, channels: bool = False) -> tuple[NDArray[Any], Affine]:
    """Return one volume (x, y, z), or with `channels` (x, y, z, channels) if there are several, and its affine.

    Values are integers as stored, or float32.
    """
    other = path.suffix.lower() in (*_METAIMAGE, *_NRRD)
    array, affine = _read_itk(path, channels=channels) if other else _read_nifti(path)
    if channels and array.ndim == 5 and array.shape[3] == 1:
        array = array[:, :, :, 0]
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim not in ((3, 4) if channels else (3,)) or array.size == 0:
        raise _not_one_volume(path, f"shape {array.shape}")
    _check_usable(path, affine)
    return array, affine


def _check_usable(path: Path, affine: Affine) -> None:
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    if not abs(np.linalg.det(affine[:3, :3])) > 1e-6 * steps.prod():
        raise DataError(f"{path}: its header gives no usable affine, voxels measure {steps.tolist()} mm", hint=_RENEW)


@contextmanager
def _nifti_errors(path: Path) -> Iterator[None]:
    """Convert exceptions of nibabel, gzip and the file system to a DataError that names `path`."""
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    corrupt = (OSError, EOFError, ValueError, OverflowError, zlib.error)
    try:
        yield
    except (*corrupt, ImageFileError, HeaderDataError, WrapStructError) as error:
        raise DataError(f"{path}: it cannot be read as NIfTI ({one_line_cause(error)})", hint=_RENEW) from error


def _read_nifti(path: Path) -> tuple[NDArray[Any], Affine]:
    import nibabel as nib

    with _nifti_errors(path):
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = _unzipped(raw)
        kind: Any = nib.Nifti2Image if raw[4:7] == b"n+2" else nib.Nifti1Image
        image = kind.from_bytes(raw)
        stored = image.dataobj
        _check_length(image.header, len(raw) - stored.offset)
        if stored.dtype.kind not in "biuf":
            raise _not_one_volume(path, f"voxels of type {stored.dtype}")
        if stored.dtype.itemsize > 4 or (stored.slope, stored.inter) != (1, 0):
            with np.errstate(over="ignore"):
                array = image.get_fdata(dtype=np.float32, caching="unchanged")
            if stored.dtype.itemsize > 4:
                _check_32_bits(path, array, lambda: image.get_fdata(caching="unchanged"))
        else:
            array = np.ndarray(image.shape, stored.dtype, raw, stored.offset, order="F")
        return array, np.asarray(image.affine, dtype=np.float64)


def _unzipped(packed: bytes) -> bytes:
    """Return the content of a gzipped NIfTI file after comparing its checksum.

    Not more is unpacked than its header asks for and some extensions take, whatever the file unpacks to.
    """
    with gzip.open(io.BytesIO(packed)) as file:
        header = _header(file.read(_LONGEST_HEADER))
    needed = _voxel_bytes(header) + max(0, int(header["vox_offset"]))
    if needed > MOST_PACKED * len(packed):
        raise ValueError(f"its header requires {needed} bytes, its {len(packed)} cannot hold so many")
    length = int.from_bytes(packed[-4:], "little")
    if needed <= length <= needed + _MOST_EXTENSIONS:
        unpacking = zlib.decompressobj(wbits=31)
        content = unpacking.decompress(packed, length)
        more = unpacking.decompress(unpacking.unconsumed_tail, 1)
        if len(content) == length and not more and unpacking.eof and not unpacking.unused_data:
            return content
    with gzip.open(io.BytesIO(packed)) as file:  # several gzip files, one after the other
        content = file.read(needed + _MOST_EXTENSIONS)
        if file.read(1):
            raise ValueError(f"it unpacks to far more than the {needed} bytes that its header requires")
    return content


def _header(raw: bytes) -> Any:
    """Return the header of a NIfTI file from its first bytes."""
    import nibabel as nib

    kind: Any = nib.Nifti2Header if raw[4:7] == b"n+2" else nib.Nifti1Header
    return kind(raw[: kind.sizeof_hdr])


def _voxel_bytes(header: Any) -> int:
    sizes = [int(size) for size in header.get_data_shape()]
    if not sizes or min(sizes) < 1:
        raise ValueError(f"its header gives the shape {tuple(sizes)}")
    return math.prod(sizes) * int(header.get_data_dtype().itemsize)


def _check_length(header: Any, length: int) -> None:
    if _voxel_bytes(header) > length:
        raise ValueError(f"its header requires {_voxel_bytes(header)} bytes, it has {length}")


def _read_itk(path: Path, *, channels: bool = False) -> tuple[NDArray[Any], Affine]:
    """Read a MetaImage or NRRD file: (x, y, z) or, where allowed, (x, y, z, channels), and its affine."""
    import SimpleITK

    sitk: Any = SimpleITK
    kind = "NRRD" if path.suffix.lower() in _NRRD else "MetaImage"
    problems: list[Problem] = []
    data_files(path, problems)
    if problems:
        raise DataError(str(problems[0]))
    try:
        check_claimed_size(path)
        image = sitk.ReadImage(str(path))
    except (RuntimeError, OSError, MemoryError, ValueError) as error:
        own = isinstance(error, ValueError)
        cause = str(error) if own else "its header is corrupt, or its data are missing, corrupt or truncated"
        raise DataError(f"{path}: it cannot be read as {kind}: {cause}", hint=_RENEW) from error
    values = image.GetNumberOfComponentsPerPixel()
    if (values != 1 and not channels) or image.GetDimension() < 3:
        raise _not_one_volume(path, f"{image.GetDimension()} dimensions and {values} values a voxel")
    array = sitk.GetArrayFromImage(image)
    if kind == "MetaImage":
        _check_compressed(path, array)
    affine = _ras_affine(image)
    if array.dtype.kind not in "biu":
        wide = array
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
        _check_32_bits(path, array, lambda: wide)
    return (np.moveaxis(array, -1, 0).T if values != 1 else array.T), affine


def _check_finite(path: Path, array: NDArray[Any]) -> None:
    wrong = 0 if array.dtype.kind in "biu" else array.size - np.count_nonzero(np.isfinite(array))
    if wrong:
        raise DataError(f"{path}: {wrong} voxels are NaN or infinite", hint="Replace them, or leave the image out")


def _check_32_bits(path: Path, array: NDArray[np.float32], stored: Callable[[], NDArray[Any]]) -> None:
    """Check that values of 64 bits were not turned into infinity by those of 32 bits that are computed with."""
    lost = ~np.isfinite(array)
    if not lost.any():
        return
    wide = stored()[lost]
    if np.isfinite(wide).any():
        raise DataError(
            f"{path}: {np.isfinite(wide).sum()} voxels have values of 64 bits beyond those of 32 bits, such as "
            f"{wide[np.isfinite(wide)][0]:g}",
            hint="Rescale the image, or leave it out",
        )


def _check_compressed(path: Path, voxels: NDArray[Any]) -> None:
    """Check that compressed voxels are complete: SimpleITK would return uninitialised memory for missing ones.

    The data usually end with a checksum (zlib's Adler-32); they are unpacked again only if it is another.
    """
    if metaimage_header(path).get("CompressedData", "").lower() != "true":
        return
    size, apart = voxels.nbytes, data_files(path, [])
    packed = apart[0].read_bytes() if apart else path.read_bytes().partition(b"ElementDataFile")[2].partition(b"\n")[2]
    if packed[-4:] == zlib.adler32(voxels.data).to_bytes(4, "big"):
        return
    try:
        there = len(zlib.decompress(packed, wbits=47))  # 47: zlib or gzip, whichever it is
    except zlib.error as error:
        raise DataError(f"{path}: its compressed voxels are corrupt ({error})", hint=_RENEW) from error
    if there != size:
        raise DataError(f"{path}: its compressed voxels have {there} bytes, {size} are expected", hint=_RENEW)


def _ras_affine(image: Any) -> Affine:
    """Return the RAS+ affine of a SimpleITK image (SimpleITK uses LPS+)."""
    size = image.GetDimension()
    direction = np.asarray(image.GetDirection()).reshape(size, size)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = direction * np.asarray(image.GetSpacing())[:3]
    affine[:3, 3] = image.GetOrigin()[:3]
    affine[:2] *= -1
    return affine


def _not_one_volume(path: Path, found: str) -> DataError:
    return DataError(f"{path}: it has {found}, not one volume (x, y, z)", hint="Export one scalar volume a file")
