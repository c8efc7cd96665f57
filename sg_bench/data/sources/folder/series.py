"""Layout dicom: series of slices, found by their tags in any folders, with segmentations (SEG) if asked for."""

from __future__ import annotations

from pathlib import Path

from sg_bench.data.sources.base import Problem, Study
from sg_bench.data.sources.dicom import find_volumes, read_image, read_series
from sg_bench.data.sources.folder.config import FolderConfig
from sg_bench.data.sources.folder.found import FoundCase, FoundFolder
from sg_bench.data.sources.folder.patterns import all_files, as_expression
from sg_bench.data.sources.headers import leaves_folder
from sg_bench.data.sources.segmentations import read_segmentation, segmented_series
from sg_bench.data.sources.slices import on_regular_grid
from sg_bench.data.sources.volumes import as_problem, check_varied
from sg_bench.errors import DataError

_ENOUGH = 20
"""Files that are opened before a folder is taken for one without DICOM."""


def scan_series(root: Path, config: FolderConfig) -> FoundFolder:
    """Return one case for each series of at least two slices, by SeriesInstanceUID; the patient is PatientID."""
    found = FoundFolder(has_patients=True)
    series, found.problems = find_volumes(root)
    labels = _segmentations(root, config, found) if config.labels else {}
    for each in series:
        case = FoundCase(each.series, each.patient, each.files[0], extra=each.files[1:])
        if config.labels:
            same = labels.pop(each.series, [])
            case.label = same[0] if same else None
            if len(same) != 1:
                state = "no segmentation (SEG)" if not same else f"several: {', '.join(map(str, same))}"
                case.unusable(each.files[0].parent, f"its series {each.series} has {state}. Add or keep one")
        found.cases.append(case)
    what = "it segments a series that is not here. Add the series, or remove the file"
    found.problems += [Problem(str(path), what) for paths in labels.values() for path in paths]
    if not found.cases:
        found.problems.append(Problem(str(root), "no DICOM series of several slices is in it. Correct the folder"))
    return found


def load_series(files: list[Path], label: Path | None, config: FolderConfig) -> Study:
    """Read one series, in HU for CT, and its segmentation, resampled where the slices are no regular grid.

    Raises:
        DataError: a file is corrupt, the slices are no regular grid, or the segmentation does not fit.
    """
    series = read_series(files, gaps=config.gaps, irregular="allow")
    image, affine = on_regular_grid(read_image(series), series)
    check_varied(files[0].parent, image)
    mask = None if label is None else on_regular_grid(read_segmentation(label, series), series, nearest=True)[0]
    return Study(image=image, affine=affine, label=mask, notes=() if series.regular else (series.irregularity,))


def irregularity(files: list[Path], config: FolderConfig) -> str:
    """Return why a series is resampled, from the headers of its files alone; "" if it is not.

    Raises:
        DataError: a header is corrupt, or the slices are of several grids or too few.
    """
    series = read_series(files, gaps=config.gaps, irregular="allow")
    return "" if series.regular else series.irregularity


def recognise_series(root: Path) -> FolderConfig | None:
    """Return the settings that read a folder of DICOM series; None if it is none."""
    files = all_files(root)
    sample = files[:: max(1, len(files) // _ENOUGH)]
    if not any(_is_dicom(path) for path in sample):
        return None
    series, _ = find_volumes(root)
    if not series:
        return None
    segmented = (
        any(segmented_series(path) for path in all_files(root) if _is_dicom(path)) if len(files) < 5000 else False
    )
    return FolderConfig(layout="dicom", labels="**/*" if segmented else None)


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _segmentations(root: Path, config: FolderConfig, found: FoundFolder) -> dict[str, list[Path]]:
    """Return the SEG files that match `labels` by the series that they segment."""
    assert config.labels is not None
    if leaves_folder(config.labels):
        found.problems.append(Problem(f"{root}: '{config.labels}'", "it leaves the data set's folder. Correct it"))
        return {}
    expression = as_expression(config.labels)
    by_series: dict[str, list[Path]] = {}
    for path in all_files(root):
        if not expression.fullmatch(path.relative_to(root).as_posix()) or not _is_dicom(path):
            continue
        try:
            series = segmented_series(path)
        except DataError as error:
            found.problems.append(as_problem(error))
        else:
            if series:
                by_series.setdefault(series, []).append(path)
    return by_series
