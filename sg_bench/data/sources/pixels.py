"""Pixels of one DICOM file as stored, whatever their compression."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.errors import DataError

_NO_FILE = re.compile(r"<_io\.\w+[^>]*>")
_BY_ITK = {
    "1.2.840.10008.1.2.4.57": "JPEG lossless",
    "1.2.840.10008.1.2.4.70": "JPEG lossless",
    "1.2.840.10008.1.2.4.80": "JPEG-LS",
    "1.2.840.10008.1.2.4.81": "JPEG-LS",
    "1.2.840.10008.1.2.4.90": "JPEG 2000",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
}
"""Compressions that SimpleITK decodes where pydicom has no decoder."""
_PACKAGES = {
    "JPEG-LS": "pyjpegls",
    "JPEG 2000": "pylibjpeg-openjpeg",
}
_RENEW = "Download or export the file again"
_MOST_PIXELS = 2**31
"""Pixels of one file."""


def dicom_damage() -> tuple[type[Exception], ...]:
    """Return the exceptions that pydicom and its decoders raise for corrupt files."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (
        InvalidDicomError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        NotImplementedError,
        OSError,
        OverflowError,
        RecursionError,
        RuntimeError,
        SyntaxError,
        TypeError,
        ValueError,
        struct.error,
        zlib.error,
        BytesLengthException,
    )


def one_line_cause(error: BaseException) -> str:
    """Return the first sentence of a message in at most 200 characters, without addresses of open files."""
    text = _NO_FILE.sub("the file", " ".join(str(error).split()))
    return (re.split(r"\. (?=[A-Z])", text)[0] or type(error).__name__)[:200]


def next_step(error: BaseException, renew: str) -> str:
    """Return the advice for a file that cannot be read: `renew`, unless it cannot even be opened."""
    local = isinstance(error, OSError) and error.errno is not None
    return "Check that the file is there and that you may read it" if local else renew


def stored_pixels(data: Any, path: Path, kind: str = "DICOM") -> NDArray[Any]:
    """Return the pixels of a complete data set, read from `path`: (rows, columns), values as stored.

    Raises:
        DataError: the pixels are corrupt or truncated, in colour, or of a compression without a decoder.
    """
    colour = str(data.get("PhotometricInterpretation", ""))
    if colour == "PALETTE COLOR":
        raise DataError(f"{path}: it is PALETTE COLOR, its values are numbers of colours", hint="Export it as grey")
    try:
        _check_size(data)
        return np.asarray(data.pixel_array)
    except dicom_damage() as error:
        name = _BY_ITK.get(str(getattr(getattr(data, "file_meta", None), "TransferSyntaxUID", "")))
        if name is None or not isinstance(error, (RuntimeError, NotImplementedError)):
            raise DataError(f"{path}: it cannot be read as {kind} ({one_line_cause(error)})", hint=_RENEW) from error
    return _by_itk(data, path, name)


def _check_size(data: Any) -> None:
    """Check that the header does not claim more pixels than there can be."""
    claimed = int(data.Rows) * int(data.Columns) * int(data.get("NumberOfFrames") or 1)
    if not 0 < claimed <= _MOST_PIXELS:
        raise ValueError(f"its header claims {claimed} pixels")
    there = len(data.PixelData)
    if claimed > 8 * 1032 * max(there, 1):
        raise ValueError(f"its header claims {claimed} pixels, it has {there} bytes of them")


def _by_itk(data: Any, path: Path, name: str) -> NDArray[Any]:
    """Return pixels that pydicom cannot decode, by GDCM, which SimpleITK contains; it applies slope and intercept."""
    import SimpleITK

    sitk: Any = SimpleITK
    package = f"pip install {_PACKAGES[name]}" if name in _PACKAGES else "Convert it with gdcmconv --raw or dcmdjpeg"
    try:
        pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
        slope, intercept = (
            float(data.get(tag, value)) for tag, value in (("RescaleSlope", 1), ("RescaleIntercept", 0))
        )
    except dicom_damage() as error:
        raise DataError(f"{path}: its pixels, {name}, cannot be decoded", hint=package) from error
    pixels = pixels[0] if pixels.ndim == 3 and len(pixels) == 1 else pixels
    if pixels.shape != (int(data.Rows), int(data.Columns)):
        raise DataError(f"{path}: its pixels, {name}, have shape {pixels.shape}", hint=package)
    return np.asarray(pixels if (slope, intercept) == (1, 0) else np.rint((pixels - intercept) / slope))
