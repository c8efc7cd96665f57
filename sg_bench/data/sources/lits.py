"""LiTS-2017: abdominal CT with segmentations of liver and lesions.

Official layout: volume-N.nii and segmentation-N.nii in "Training Batch 1" and "Training Batch 2". Mirrors gzip the
files or move them, so files are searched for at any depth.

Known defects: volumes 28 to 47 have an identity affine, so their true spacing is lost; the label maps of some later
volumes have their image's grid but another affine in the header, so the image's affine is always used.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sg_bench.data.grids import Affine
from sg_bench.data.sources.base import (
    Case,
    DataSetInfo,
    Problem,
    PublicConfig,
    PublishedCount,
    SingleScanSource,
    Study,
    count_problems,
)
from sg_bench.data.sources.volumes import (
    AFFINE_TOLERANCE,
    check_classes,
    check_shapes,
    files_under,
    no_such_folder,
    read_grids,
    read_label,
    read_volume,
    unique_cases,
)
from sg_bench.errors import DataError

CLASSES = {0: "background", 1: "liver", 2: "lesion"}
_NAME = re.compile(r"(volume|segmentation)-([0-9]+)\.nii(\.gz)?")


class LitsConfig(PublicConfig):
    """LiTS has no settings of its own."""


class LitsSource(SingleScanSource):
    """Volumes in HU with labels 0 background, 1 liver, 2 lesion; one volume per patient, as far as is known."""

    name: ClassVar[str] = "lits"
    namespace: ClassVar[str] = "lits"
    about: ClassVar[DataSetInfo | None] = DataSetInfo(
        title="LiTS, Liver Tumor Segmentation Challenge 2017",
        size="54 GB unpacked, 15 GB to download",
        licence="CC BY-NC-ND 4.0",
        citation="Bilic et al., The Liver Tumor Segmentation Benchmark (LiTS), Medical Image Analysis 84, 2023",
        where="https://competitions.codalab.org/competitions/17094: register, download Training Batch 1 and Training "
        "Batch 2, unpack both into one folder. The test volumes have no labels and are not needed",
        folders=("LiTS", "LITS", "LITS17", "lits", "LITS-Challenge"),
        counts=(PublishedCount("volumes", 131, "derived"),),
    )
    config: LitsConfig

    def problems(self) -> list[Problem]:
        """Return all defects of names and headers; reads the header of every file, which is slow on a slow disk."""
        cases, problems = self._scan_folder()
        for case in cases:
            problems += _header_problems(case)
        if self.root is None or not self.root.is_dir():
            return problems
        assert self.about is not None
        return problems + count_problems(str(self.root), self.about.counts, {"volumes": len(cases)})

    def load(self, case: Case) -> Study:
        """Read one volume, in HU, and its labels, with the volume's affine regardless of the label's header.

        Raises:
            DataError: a file is corrupt, shapes or axis orders differ, or a label is not 0, 1 or 2.
        """
        if case.image is None or case.label is None:
            raise DataError(f"{case.id}: it names no image or no label", hint="Scan the folder again")
        image, affine = read_volume(case.image)
        label, label_affine = read_label(case.label)
        check_shapes(case.image, image.shape, case.label, label.shape)
        _check_axes(case.image, affine, case.label, label_affine)
        check_classes(case.label, label, CLASSES)
        return Study(image=image, affine=affine, label=label)

    def _scan_folder(self) -> tuple[list[Case], list[Problem]]:
        root = self.root
        if root is None or not root.is_dir():
            return [], [no_such_folder(root)]
        found: dict[str, dict[int, list[Path]]] = {"volume": defaultdict(list), "segmentation": defaultdict(list)}
        for path in [*files_under(root, ".nii"), *files_under(root, ".nii.gz")]:
            match = _NAME.fullmatch(path.name)
            if match:
                found[match[1]][int(match[2])].append(path)
        volumes, masks = found["volume"], found["segmentation"]
        if not volumes:
            what = "no volume-N.nii or volume-N.nii.gz is in it. Unpack the training batches there"
            return [], [Problem(str(root), what)]
        problems = [
            Problem(str(path), f"there is no volume-{number}. Add it, or remove this segmentation", absent=True)
            for number in sorted(masks.keys() - volumes.keys())
            for path in masks[number]
        ]
        cases = [
            Case(id=f"volume-{number}", patient=f"lits-{number}", image=path, label=label)
            for number in sorted(volumes)
            for path in volumes[number]
            if (label := _mask_of(path, number, masks[number], problems))
        ]
        return unique_cases(cases, problems), problems


def _mask_of(volume: Path, number: int, masks: list[Path], problems: list[Problem]) -> Path | None:
    """Return the segmentation of a volume: the one in the same folder, or else the only one."""
    matching = [path for path in masks if path.parent == volume.parent] or masks
    if len(matching) == 1:
        return matching[0]
    if not matching:
        what = f"there is no segmentation-{number}. Unpack the training batches again, or remove this volume"
    else:
        what = f"several files are its segmentation: {', '.join(map(str, matching))}. Keep one of them"
    problems.append(Problem(str(volume), what, absent=not matching))
    return None


def _header_problems(case: Case) -> list[Problem]:
    """Return the defects in the headers of a volume and its segmentation."""
    problems: list[Problem] = []
    grids = read_grids(case, problems)
    if grids is None:
        return problems
    assert case.image is not None
    assert case.label is not None
    (_, affine), (_, label_affine) = grids
    if np.array_equal(affine, np.eye(4)):
        what = "its affine is the identity, so its spacing is not known. Do not resample it by mm"
        problems.append(Problem(str(case.image), what, warning=True))
    try:
        _check_axes(case.image, affine, case.label, label_affine)
    except DataError as error:
        return [*problems, Problem(str(case.label), str(error).removeprefix(f"{case.label}: "))]
    difference = float(np.abs(label_affine - affine).max())
    if difference > AFFINE_TOLERANCE:
        what = f"its affine differs from its image's by {difference:g}. The image's is used, nothing need be done"
        problems.append(Problem(str(case.label), what, warning=True))
    return problems


def _check_axes(image: Path, affine: Affine, label: Path, label_affine: Affine) -> None:
    """Check that a label has the axis order of its image: otherwise neither affine fits both arrays.

    Raises:
        DataError: the orders differ; names both files and orientations.
    """
    from nibabel import orientations

    nibabel: Any = orientations
    orders = [nibabel.io_orientation(each)[:, 0].tolist() for each in (affine, label_affine)]
    if orders[0] != orders[1]:
        ours, theirs = ("".join(nibabel.aff2axcodes(each)) for each in (label_affine, affine))
        raise DataError(
            f"{label}: its axes run {ours}, those of its image {image} run {theirs}: not the same order",
            hint="Download both again, or bring the label onto the image's grid",
        )
