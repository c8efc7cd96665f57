"""Reading of the voxels of NIfTI, MetaImage and NRRD files, as stored or in single precision."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.grids import Affine
from sg_bench.data.sources.base import Problem
from sg_bench.data.sources.headers import METAIMAGE, MOST_PACKED, NRRD, check_claimed_size, data_files, metaimage_header
from sg_bench.data.sources.pixels import next_step, one_line_cause
from sg_bench.errors import DataError

_RENEW = "Download or export the file again"
_LONGEST_HEADER = 540
"""Bytes, of NIfTI-2."""
_MOST_EXTENSIONS = 2**24
"""Bytes after the voxels of a NIfTI file, and before them, that are read and ignored."""


def read_voxels(path: Path, *, channels: bool = False) -> tuple[NDArray[Any], Affine]:
    """Return one volume (x, y, z), or with `channels` (x, y, z, channels) if there are several, and its affine.

    Values are integers as stored, or float32.
    """
    other = path.suffix.lower() in (*METAIMAGE, *NRRD)
    array, affine = _read_itk(path, channels=channels) if other else _read_nifti(path)
    if channels and array.ndim == 5 and array.shape[3] == 1:
        array = array[:, :, :, 0]
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim not in ((3, 4) if channels else (3,)) or array.size == 0:
        raise _not_one_volume(path, f"shape {array.shape}")
    check_usable(path, affine)
    return array, affine


def check_usable(path: Path, affine: Affine) -> None:
    """Check that an affine gives every voxel a place of its own.

    Raises:
        DataError: it does not.
    """
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    if not abs(np.linalg.det(affine[:3, :3])) > 1e-6 * steps.prod():
        raise DataError(f"{path}: its header gives no usable affine, voxels measure {steps.tolist()} mm", hint=_RENEW)


def read_nifti_header(path: Path) -> Any:
    """Return the header of a NIfTI file.

    Raises:
        DataError: it is corrupt, or the file is too short for its shape (checked only if it is not gzipped).
    """
    import nibabel as nib

    with _nifti_errors(path):
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as file:
            header = _header(file.read(nib.Nifti2Header.sizeof_hdr))
        _voxel_bytes(header)
        if not zipped:
            _check_length(header, path.stat().st_size)
    return header


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
        raise DataError(
            f"{path}: it cannot be read as NIfTI ({one_line_cause(error)})", hint=next_step(error, _RENEW)
        ) from error


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
    kind = "NRRD" if path.suffix.lower() in NRRD else "MetaImage"
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
        raise DataError(f"{path}: it cannot be read as {kind}: {cause}", hint=next_step(error, _RENEW)) from error
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


def check_finite(path: Path, array: NDArray[Any]) -> None:
    """Check that no value is NaN or infinite.

    Raises:
        DataError: some are; gives their number.
    """
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
