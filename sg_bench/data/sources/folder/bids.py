"""Layout bids: sub-<label>/[ses-<label>/]anat/sub-<label>_..._<suffix>.nii.gz, labels below derivatives."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from sg_bench.data.sources.base import Problem
from sg_bench.data.sources.folder.config import FolderConfig
from sg_bench.data.sources.folder.found import FoundCase, FoundFolder
from sg_bench.data.sources.folder.patterns import all_files, as_expression
from sg_bench.data.sources.headers import leaves_folder

_NAME = re.compile(r"(sub-[A-Za-z0-9]+(?:_[A-Za-z]+-[A-Za-z0-9+]+)*)_([A-Za-z0-9]+)\.nii(?:\.gz)?")
_IMAGES = "sub-*/**/anat/*"
_LABELS = "derivatives/**/*"
_MASKS = ("dseg", "mask", "seg", "label", "lesion", "roi")
"""Suffixes of label maps."""


@dataclass(frozen=True)
class BidsFile:
    """A file with a name of BIDS."""

    path: Path
    entities: tuple[tuple[str, str], ...]
    """Such as (("sub", "01"), ("ses", "1"))."""
    suffix: str

    def subset(self, *names: str) -> str:
        """Return the entities of these names, as text."""
        return "_".join(f"{key}-{value}" for key, value in self.entities if not names or key in names)


def scan_bids(root: Path, config: FolderConfig) -> FoundFolder:
    """Return one case for each image, or for each session or run where there are several channels.

    A label belongs to the image with the same subject, session and, if it has one, run.
    """
    unsafe = [text for text in (config.images, config.labels) if text and leaves_folder(text)]
    if unsafe:
        return FoundFolder(problems=[Problem(f"{root}: '{unsafe[0]}'", "it leaves the data set's folder. Correct it")])
    images = _files(root, _IMAGES if config.images == "images/*" else config.images)
    images = [file for file in images if file.suffix not in _MASKS]
    found = FoundFolder(has_patients=True)
    if config.channels:
        images = [file for file in images if file.suffix in config.channels]
    suffixes = Counter(file.suffix for file in images)
    if not images or (not config.channels and len(suffixes) > 1):
        have = f"its images are {', '.join(sorted(suffixes))}" if images else "no image of these channels"
        what = f"{have}. Name the suffixes to be read in `channels`, such as T1w"
        found.problems.append(Problem(f"{root}/sub-*/**/anat", what))
        return found
    labels = _files(root, config.labels) if config.labels else []
    used: set[Path] = set()
    for identity, files in _grouped(images, config).items():
        case = _case(identity, files, config)
        if config.labels:
            _set_label(case, files[0], labels, used)
        found.cases.append(case)
    what = "it is a label without an image. Add the image, remove the label, or narrow `labels`"
    found.problems += [Problem(str(file.path), what) for file in labels if file.path not in used]
    return found


def recognise_bids(root: Path) -> FolderConfig | None:
    """Return the settings that read a folder in the layout of BIDS; None if it is none."""
    if not any(root.glob("sub-*")):
        return None
    images = [file for file in _files(root, _IMAGES) if file.suffix not in _MASKS]
    if not images:
        return None
    sessions = len({file.subset("sub", "ses") for file in images})
    count = Counter(file.suffix for file in images)
    channels = [suffix for suffix in sorted(count) if count[suffix] >= sessions] or [count.most_common(1)[0][0]]
    masks = Counter(file.suffix for file in _files(root, _LABELS) if file.suffix in _MASKS)
    labels = f"derivatives/**/*_{masks.most_common(1)[0][0]}.nii*" if masks else None
    table = "participants.tsv" if (root / "participants.tsv").is_file() else None
    return FolderConfig(layout="bids", channels=tuple(channels), labels=labels, table=table)


def _files(root: Path, pattern: str) -> list[BidsFile]:
    expression = as_expression(pattern)
    found = []
    for path in all_files(root):
        match = _NAME.fullmatch(path.name)
        if match and expression.fullmatch(path.relative_to(root).as_posix()):
            pairs = [each.partition("-") for each in match[1].split("_")]
            found.append(BidsFile(path, tuple((key, value) for key, _, value in pairs), match[2]))
    return found


def _grouped(images: list[BidsFile], config: FolderConfig) -> dict[str, list[BidsFile]]:
    """Return the files of each case: one, or one for each channel."""
    names = ("sub", "ses", "run") if len(config.channels) > 1 else ()
    grouped: dict[str, list[BidsFile]] = defaultdict(list)
    for file in images:
        grouped[file.subset(*names)].append(file)
    return grouped


def _case(identity: str, files: list[BidsFile], config: FolderConfig) -> FoundCase:
    case = FoundCase(identity, patient=files[0].subset("sub"))
    paths = []
    for name in config.channels or (files[0].suffix,):
        same = [file.path for file in files if file.suffix == name]
        paths += same[:1]
        if len(same) != 1:
            state = "missing" if not same else f"there {len(same)} times"
            case.unusable(files[0].path, f"its {name} of {identity} is {state}. Narrow `images`, or remove the case")
    case.image, *channels = paths
    case.channels = tuple(channels)
    return case


def _set_label(case: FoundCase, image: BidsFile, labels: list[BidsFile], used: set[Path]) -> None:
    matching = [
        file
        for file in labels
        if file.subset("sub", "ses") == image.subset("sub", "ses") and file.subset("run") in ("", image.subset("run"))
    ]
    used.update(file.path for file in matching)
    if len(matching) == 1:
        case.label = matching[0].path
        return
    several = f"several labels: {', '.join(file.path.name for file in matching)}. Narrow `labels`"
    case.unusable(image.path, f"it has {several}" if matching else "it has no label. Add it, or remove the image")
