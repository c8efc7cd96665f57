"""A folder of NIfTI or MetaImage files: a user's own data, or any set that keeps one file an image.

`read_volume` and `read_label` serve every source whose images are such files.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from pathlib import Path, PureWindowsPath
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from sg_bench.data.sources.base import Case, Problem, Source, SourceConfig, Study
from sg_bench.errors import DataError

Affine = NDArray[np.float64]

ENDINGS = (".nii.gz", ".nii", ".mhd", ".mha")
AFFINE_TOLERANCE = 1e-3
"""Largest difference allowed between an image's affine and its label's, in any entry."""
_CLUTTER = (".DS_Store", "Thumbs.db")
_RENEW = "Download or export the file again"


class FolderConfig(SourceConfig):
    """Which files are images, where their labels are, and who the patient is."""

    images: str = "images/*"
    """Glob relative to the root; files that are neither NIfTI nor MetaImage are passed over."""
    labels: str | None = None
    """Path relative to the root with "{id}" in it, such as "labelsTr/{id}.nii.gz"; None for images alone."""
    patient: str | None = None
    """Regular expression with one group, searched in the id: the group is the patient. None: the id is."""

    @field_validator("patient")
    @classmethod
    def _one_group(cls, value: str | None) -> str | None:
        try:
            groups = 1 if value is None else re.compile(value).groups
        except re.error as error:
            raise ValueError(f"patient '{value}' is not a regular expression: {error}") from None
        if groups != 1:
            raise ValueError(f"patient must have exactly one group, such as '^(\\d+)_', not {groups}: '{value}'")
        return value


class FolderSource(Source):
    """Images matched by a glob under one folder, each with an optional label map."""

    name: ClassVar[str] = "folder"
    config: FolderConfig

    def scan(self) -> list[Case]:
        """Return all cases, sorted by id with numbers as numbers, without reading any image.

        Raises:
            DataError: the first of `problems()`.
        """
        cases, problems = self._survey()
        if problems:
            more = f" ({len(problems) - 1} more problems of this kind or another)" if len(problems) > 1 else ""
            raise DataError(f"{problems[0]}{more}")
        return cases

    def problems(self) -> list[Problem]:
        """Return every defect that scanning can see: missing, unreadable, doubled or unlabelled files."""
        return self._survey()[1]

    def load(self, case: Case) -> Study:
        """Read one case in native intensities.

        Raises:
            DataError: a file is damaged, not one volume, not finite, or image and label lie on different grids.
        """
        if case.image is None:
            raise DataError(f"{case.id}: it names no image file", hint="Scan the folder again")
        image, affine = read_volume(case.image)
        label = None
        if case.label is not None:
            label, label_affine = read_label(case.label)
            _check_shapes(case.image, image.shape, case.label, label.shape)
            _check_affines(case.image, affine, case.label, label_affine)
        return Study(image=image, affine=affine, label=label)

    def _survey(self) -> tuple[list[Case], list[Problem]]:
        root = self.root
        if root is None or not root.is_dir():
            return [], [Problem(str(root), "no such folder. Give the data set's folder as the source's root")]
        unsafe = [text for text in (self.config.images, self.config.labels) if text and _leaves(text)]
        if unsafe:
            what = "it leaves the data set's folder. Write it relative to the root, without '..'"
            return [], [Problem(f"{root}: pattern '{text}'", what) for text in unsafe]
        paths = _matches(root, self.config.images)
        if not paths:
            what = f"no {', '.join(ENDINGS)} file matches. Set `images` to a glob relative to this folder"
            return [], [Problem(f"{root}: images '{self.config.images}'", what)]
        problems = _doubled(paths)
        cases = [self._case(root, path, problems) for path in paths]
        return cases, problems

    def _case(self, root: Path, path: Path, problems: list[Problem]) -> Case:
        identity, patient = case_id(path), case_id(path)
        if self.config.patient is not None:
            match = re.search(self.config.patient, identity)
            if match is None or not match[1]:
                what = f"`patient` '{self.config.patient}' finds nothing in the id '{identity}'. Correct the expression"
                problems.append(Problem(str(path), what))
            else:
                patient = match[1]
        label = None if self.config.labels is None else root / self.config.labels.replace("{id}", identity)
        if label is not None and not label.is_file():
            what = f"its label {label} is missing. Add it, remove the image, or correct `labels`"
            problems.append(Problem(str(path), what))
        extra = [*_data_files(path, problems), *(_data_files(label, problems) if label else [])]
        return Case(id=identity, patient=patient, image=path, label=label, extra=tuple(extra))


def case_id(path: Path) -> str:
    """Return a file's name without its image ending."""
    ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), "")
    return path.name[: len(path.name) - len(ending)]


def natural_key(text: str) -> tuple[Any, ...]:
    """Return a sorting key that puts volume-2 before volume-10."""
    parts = re.split(r"([0-9]+)", text)
    return (*(int(part) if index % 2 else part for index, part in enumerate(parts)), text)


def read_volume(path: Path) -> tuple[NDArray[np.float32], Affine]:
    """Read a NIfTI or MetaImage file.

    Returns:
        The image, (x, y, z), float32 in native units, and its 4x4 affine, voxel indices to world mm, RAS+.

    Raises:
        DataError: the file is damaged, holds more than one volume, or holds NaN or infinity.
    """
    array, affine = _read(path)
    wrong = array.size - np.count_nonzero(np.isfinite(array))
    if wrong:
        raise DataError(f"{path}: {wrong} voxels are NaN or infinite", hint="Replace them, or leave the image out")
    return array, affine


def read_label(path: Path) -> tuple[NDArray[np.uint8], Affine]:
    """Read a label map.

    Returns:
        The label, (x, y, z), uint8 class numbers, and its 4x4 affine.

    Raises:
        DataError: the file is damaged, or a value is not an integer in 0..255.
    """
    array, affine = _read(path)
    fits = (array >= 0) & (array <= 255) & (array == np.rint(array))
    if not fits.all():
        raise DataError(
            f"{path}: label value {array[~fits][0]:g} is not an integer in 0..255",
            hint="Export class numbers, not intensities or probabilities",
        )
    return array.astype(np.uint8), affine


def _check_shapes(image: Path, image_shape: tuple[int, ...], label: Path, label_shape: tuple[int, ...]) -> None:
    if label_shape != image_shape:
        raise DataError(
            f"{label}: its shape (x, y, z) is {label_shape}, its image {image} has {image_shape}",
            hint="Check that the two belong together, or resample the label onto the image",
        )


def _check_affines(image: Path, image_affine: Affine, label: Path, label_affine: Affine) -> None:
    difference = float(np.abs(label_affine - image_affine).max())
    if difference > AFFINE_TOLERANCE:
        raise DataError(
            f"{label}: its affine differs from that of its image {image} by {difference:g}, "
            f"allowed is {AFFINE_TOLERANCE:g}",
            hint="Copy the image's header to the label if the two lie on one grid, else resample the label",
        )


def _leaves(pattern: str) -> bool:
    path = PureWindowsPath(pattern)
    return ".." in path.parts or bool(path.anchor)


def _matches(root: Path, pattern: str) -> list[Path]:
    """Return the images that `pattern` finds, sorted by id; a pattern that is no glob finds none."""
    try:
        paths = [path for path in root.glob(pattern) if _is_image(path)]
    except (ValueError, IndexError):
        return []
    return sorted(paths, key=lambda path: (natural_key(case_id(path)), path.as_posix()))


def _is_image(path: Path) -> bool:
    name = path.name
    wanted = name.lower().endswith(ENDINGS) and not name.startswith("._") and name not in _CLUTTER
    return wanted and path.is_file()


def _doubled(paths: list[Path]) -> list[Problem]:
    counts = Counter(case_id(path) for path in paths)
    problems = []
    for identity in (identity for identity, count in counts.items() if count > 1):
        same = [str(path) for path in paths if case_id(path) == identity]
        what = f"one id, '{identity}', for several files, also {', '.join(same[1:])}. Keep one of them"
        problems.append(Problem(same[0], what))
    return problems


def _data_files(path: Path, problems: list[Problem]) -> list[Path]:
    """Return the file that a MetaImage header says its voxels are in; report it where it is missing."""
    if path.suffix.lower() not in (".mhd", ".mha") or not path.is_file():
        return []
    name = _header(path).get("ElementDataFile", "")
    if name.upper() == "LOCAL":
        return []
    data = path.parent / name
    if not name or not data.is_file() or _leaves(name):
        what = f"its data file '{name}' is missing or not beside it. Copy it there"
        problems.append(Problem(str(path), what))
        return []
    return [data]


def _header(path: Path) -> dict[str, str]:
    """Return the "Key = value" lines of a MetaImage header, which ends with ElementDataFile."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for line in file.read(65536).split(b"\n"):
            key, equals, value = line.decode("utf-8", "replace").partition("=")
            if equals:
                fields[key.strip()] = value.strip()
            if not equals or key.strip() == "ElementDataFile":
                break
    return fields


def _read(path: Path) -> tuple[NDArray[np.float32], Affine]:
    """Return one volume (x, y, z) and its affine; anything else is a DataError that names `path`."""
    array, affine = _read_metaimage(path) if path.suffix.lower() in (".mhd", ".mha") else _read_nifti(path)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim != 3 or array.size == 0:
        raise _not_one_volume(path, f"shape {array.shape}")
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    if not abs(np.linalg.det(affine[:3, :3])) > 1e-6 * steps.prod():
        raise DataError(f"{path}: its header gives no usable affine, voxels measure {steps.tolist()} mm", hint=_RENEW)
    return array, affine


def _read_nifti(path: Path) -> tuple[NDArray[np.float32], Affine]:
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    damage = (OSError, EOFError, ValueError, OverflowError, zlib.error)
    try:
        image = _nifti(path)
        if image.get_data_dtype().kind not in "biuf":
            raise _not_one_volume(path, f"voxels of type {image.get_data_dtype()}")
        return image.get_fdata(dtype=np.float32, caching="unchanged"), np.asarray(image.affine, dtype=np.float64)
    except (*damage, ImageFileError, HeaderDataError, WrapStructError) as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: it cannot be read as NIfTI ({cause[:200]})", hint=_RENEW) from error


def _nifti(path: Path) -> Any:
    """Return the nibabel image in `path`, read whole: only so does gzip compare its checksum."""
    import nibabel as nib

    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    kind: Any = nib.Nifti2Image if raw[4:7] == b"n+2" else nib.Nifti1Image
    image = kind.from_bytes(raw)
    promised = int(np.prod(image.shape, dtype=np.int64)) * image.get_data_dtype().itemsize
    if promised > len(raw):
        raise ValueError(f"its header promises {promised} bytes, it holds {len(raw)}")
    return image


def _read_metaimage(path: Path) -> tuple[NDArray[np.float32], Affine]:
    import SimpleITK

    sitk: Any = SimpleITK
    problems: list[Problem] = []
    _data_files(path, problems)
    if problems:
        raise DataError(str(problems[0]))
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        cause = "its header is damaged, or its data are missing, damaged or cut short"
        raise DataError(f"{path}: it cannot be read as MetaImage: {cause}", hint=_RENEW) from error
    if image.GetNumberOfComponentsPerPixel() != 1 or image.GetDimension() < 3:
        values = image.GetNumberOfComponentsPerPixel()
        raise _not_one_volume(path, f"{image.GetDimension()} dimensions and {values} values a voxel")
    return sitk.GetArrayViewFromImage(image).T.astype(np.float32), _ras_affine(image)


def _ras_affine(image: Any) -> Affine:
    """Return the RAS+ affine of a SimpleITK image, whose world is LPS+."""
    size = image.GetDimension()
    direction = np.asarray(image.GetDirection()).reshape(size, size)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = direction * np.asarray(image.GetSpacing())[:3]
    affine[:3, 3] = image.GetOrigin()[:3]
    affine[:2] *= -1
    return affine


def _not_one_volume(path: Path, found: str) -> DataError:
    return DataError(f"{path}: it has {found}, not one volume (x, y, z)", hint="Export one scalar volume a file")
