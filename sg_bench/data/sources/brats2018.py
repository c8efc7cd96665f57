"""BraTS-2018: brain MRI of glioma in four sequences, with segmentations of the tumour's parts.

Official layout: HGG/<id>/<id>_{flair,t1,t1ce,t2,seg}.nii.gz, and the same in LGG. Id and sequence are taken from the
file names, since mirrors rename folders; HGG or LGG is the nearest parent folder of that name. Later editions are read
too: <id>-{t2f,t1n,t1c,t2w,seg}.nii.gz, where 3 is the enhancing tumour, which becomes 4 as before.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

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
    as_problem,
    check_affines,
    check_classes,
    check_shapes,
    files_under,
    natural_key,
    no_such_folder,
    parent_named,
    read_grids,
    read_label,
    read_volume,
    unique_cases,
)
from sg_bench.errors import DataError

CLASSES = {0: "background", 1: "necrosis and non-enhancing tumour", 2: "oedema", 4: "enhancing tumour"}
MODALITIES = ("flair", "t1", "t1ce", "t2")
_LATER = {"t2f": "flair", "t1n": "t1", "t1c": "t1ce", "t2w": "t2"}
"""Names of the sequences since 2023."""
_NAME = re.compile(r"(.+)[_-](flair|t1|t1ce|t2|t2f|t1n|t1c|t2w|seg)\.nii(\.gz)?")
_LATER_ID = re.compile(r"(BraTS-[A-Za-z]+-[0-9]+)-[0-9]+")
"""An id since 2023: the patient, and the number of the time point."""
_OTHER_EDITION = re.compile(r"BraTS(20|-)")
_GRADES = ("HGG", "LGG")


class Brats2018Config(PublicConfig):
    """Choice of the sequence."""

    modality: Literal["flair", "t1", "t1ce", "t2"] = "flair"


class Brats2018Source(SingleScanSource):
    """One sequence of each case, in scanner units, with labels 0, 1, 2, 4; the whole tumour is all except 0."""

    name: ClassVar[str] = "brats2018"
    namespace: ClassVar[str] = "brats"
    about: ClassVar[DataSetInfo | None] = DataSetInfo(
        title="BraTS 2018, Multimodal Brain Tumor Segmentation Challenge",
        size="about 2.5 GB gzipped (our estimate)",
        licence="research only after registration, no redistribution",
        citation="Menze et al., The Multimodal Brain Tumor Image Segmentation Benchmark (BRATS), IEEE Transactions on "
        "Medical Imaging 34, 2015; Bakas et al., Advancing The Cancer Genome Atlas glioma MRI collections with expert "
        "segmentation labels and radiomic features, Scientific Data 4, 2017",
        where="https://www.med.upenn.edu/sbia/brats2018.html: register at CBICA's Image Processing Portal, download "
        "the training data, keep the folders HGG and LGG",
        folders=("MICCAI_BraTS_2018_Data_Training", "BraTS2018", "BRATS2018", "BraTS18", "brats2018"),
        counts=(
            PublishedCount("cases", 285, "derived"),
            PublishedCount("HGG cases", 210, "recalled"),
            PublishedCount("LGG cases", 75, "recalled"),
        ),
    )
    config: Brats2018Config

    def problems(self) -> list[Problem]:
        """Return all defects of names and headers; reads the headers of the images used and of the segmentations."""
        cases, problems = self._scan_folder()
        for case in cases:
            problems += _header_problems(case)
        if self.root is None or not self.root.is_dir():
            return problems
        graded = {f"{grade} cases": sum(case.group == grade for case in cases) for grade in _GRADES}
        if any(_OTHER_EDITION.match(case.id) for case in cases):
            return problems
        assert self.about is not None
        return problems + count_problems(str(self.root), self.about.counts, {"cases": len(cases), **graded})

    def load(self, case: Case) -> Study:
        """Read one sequence and its labels.

        Raises:
            DataError: a file is corrupt, the grids differ, or a label is not 0, 1, 2 or 4.
        """
        if case.image is None or case.label is None:
            raise DataError(f"{case.id}: it names no image or no label", hint="Scan the folder again")
        image, affine = read_volume(case.image)
        label, label_affine = read_label(case.label)
        check_shapes(case.image, image.shape, case.label, label.shape)
        check_affines(case.image, affine, case.label, label_affine, image.shape)
        if _LATER_ID.fullmatch(case.id) or _later_name(case.image):
            label = np.where(label == 3, 4, np.where(label == 4, 3, label)).astype(np.uint8)  # 4 is no class there
        check_classes(case.label, label, CLASSES)
        return Study(image=image, affine=affine, label=label)

    def _scan_folder(self) -> tuple[list[Case], list[Problem]]:
        root = self.root
        if root is None or not root.is_dir():
            return [], [no_such_folder(root)]
        found: dict[tuple[Path, str], dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
        for path in [*files_under(root, ".nii"), *files_under(root, ".nii.gz")]:
            match = _NAME.fullmatch(path.name)
            if match:
                found[path.parent, match[1]][_LATER.get(match[2], match[2])].append(path)
        if not found:
            what = "no <id>_flair.nii.gz or <id>-t2f.nii.gz or the like is in it. Unpack the training data there"
            return [], [Problem(str(root), what)]
        problems: list[Problem] = []
        cases = []
        for folder, id_ in sorted(found, key=lambda key: (natural_key(key[1]), natural_key(str(key[0])))):
            parts = found[folder, id_]
            if self._complete(folder / id_, parts, problems):
                group = parent_named(folder / id_, root, "|".join(_GRADES))
                image, label = parts[self.config.modality][0], parts["seg"][0]
                later = _LATER_ID.fullmatch(id_)
                patient = later[1] if later else id_
                cases.append(Case(id=id_, patient=patient, image=image, label=label, group=group))
        return unique_cases(cases, problems), problems

    def _complete(self, stem: Path, parts: dict[str, list[Path]], problems: list[Problem]) -> bool:
        """Return whether a case has its image and segmentation once; add missing and duplicate files to `problems`."""
        wanted = (self.config.modality, "seg")
        for part in (*MODALITIES, "seg"):
            paths = parts.get(part, [])
            if not paths:
                what = f"its _{part} file is missing. Download the case again"
                problems.append(Problem(str(stem), what, warning=part not in wanted, absent=True))
            if len(paths) > 1:
                what = f"its _{part} file is there twice: {', '.join(path.name for path in paths)}. Keep one of them"
                problems.append(Problem(str(stem), what, warning=part not in wanted))
        return all(len(parts.get(part, [])) == 1 for part in wanted)


def _later_name(path: Path) -> bool:
    match = _NAME.fullmatch(path.name)
    return match is not None and match[2] in _LATER


def _header_problems(case: Case) -> list[Problem]:
    """Return the defects in the headers of an image and its segmentation."""
    problems: list[Problem] = []
    grids = read_grids(case, problems)
    if grids is None:
        return problems
    assert case.image is not None
    assert case.label is not None
    try:
        check_affines(case.image, grids[0][1], case.label, grids[1][1], grids[0][0])
    except DataError as error:
        problems.append(as_problem(error))
    return problems
