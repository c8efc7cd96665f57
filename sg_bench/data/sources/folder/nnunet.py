"""Layout nnunet: imagesTr/<case>_0000.nii.gz for channel 0 and so on, labelsTr/<case>.nii.gz, dataset.json."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from sg_bench.data.sources.base import Problem
from sg_bench.data.sources.folder.config import FolderConfig
from sg_bench.data.sources.folder.description import channel_names, read_description
from sg_bench.data.sources.folder.found import FoundCase, FoundFolder
from sg_bench.data.sources.folder.reading import FILMS, file_stem
from sg_bench.data.sources.volumes import VOLUMES, is_system_file
from sg_bench.errors import DataError, did_you_mean

_NUMBERED = re.compile(r"(.+)_([0-9]{4})")


def scan_nnunet(root: Path, config: FolderConfig) -> FoundFolder:
    """Return the cases of nnU-Net's raw layout; those of imagesTs too, as group test, if labelsTs exists.

    Raises:
        DataError: dataset.json is corrupt, or a channel of the settings is not in it.
    """
    found = FoundFolder()
    numbers = _numbers(root, config)
    parts = [("Tr", "train" if (root / "labelsTs").is_dir() else "")]
    parts += [("Ts", "test")] if (root / "labelsTs").is_dir() and (root / "imagesTs").is_dir() else []
    for part, group in parts:
        labels = {file_stem(path): path for path in _images(root / f"labels{part}")} if config.labels else {}
        for name, files in sorted(_by_case(root / f"images{part}").items()):
            case = _case(name, files, numbers, config)
            case.group = group
            if config.labels:
                case.label = labels.pop(name, None)
                if case.label is None:
                    case.unusable(case.image, f"it has no label in labels{part}. Add it, or remove the image")
            found.cases.append(case)
        what = f"it is a label without an image in images{part}. Add the image, or remove the label"
        found.problems += [Problem(str(path), what) for path in labels.values()]
    if not found.cases:
        what = "no imagesTr/<case>_0000.<ending> is in it. Give the folder of one data set, such as Dataset001_Name"
        found.problems.append(Problem(str(root), what))
    return found


def recognise_nnunet(root: Path) -> FolderConfig | None:
    """Return the settings that read a folder in nnU-Net's raw layout; None if it is none."""
    cases = _by_case(root / "imagesTr")
    if not cases:
        return None
    count = max(len(files) for files in cases.values())
    try:
        names = channel_names(read_description(root))
    except DataError:
        names = []
    names = names if len(names) == count else [f"channel{index}" for index in range(count)]
    return FolderConfig(
        layout="nnunet",
        labels="labelsTr/{id}" if (root / "labelsTr").is_dir() else None,
        channels=tuple(names) if count > 1 else (),
    )


def _numbers(root: Path, config: FolderConfig) -> list[int]:
    """Return the numbers of the channels to be read."""
    if not config.channels:
        return [0]
    names = channel_names(read_description(root)) if (root / "dataset.json").is_file() else []
    if not names:
        return list(range(len(config.channels)))
    for name in config.channels:
        if name not in names:
            raise DataError(f"{root}/dataset.json: it has no channel '{name}'", hint=did_you_mean(name, names))
    return [names.index(name) for name in config.channels]


def _case(name: str, files: dict[int, Path], numbers: list[int], config: FolderConfig) -> FoundCase:
    paths = [files[number] for number in numbers if number in files]
    case = FoundCase(name, image=paths[0] if paths else None, channels=tuple(paths[1:]))
    where = case.image or next(iter(files.values()))
    missing = [f"_{number:04d}" for number in numbers if number not in files]
    if missing:
        case.unusable(where, f"its channel {', '.join(missing)} is missing. Add it, or remove the case")
    if not config.channels and len(files) > 1:
        case.unusable(where, f"it has {len(files)} channels. Name those to be read in `channels`")
    return case


def _by_case(folder: Path) -> dict[str, dict[int, Path]]:
    """Return the files of each case by the number of their channel."""
    cases: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in _images(folder):
        if match := _NUMBERED.fullmatch(file_stem(path)):
            cases[match[1]][int(match[2])] = path
    return cases


def _images(folder: Path) -> list[Path]:
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in paths if path.name.lower().endswith((*VOLUMES, *FILMS)) and not is_system_file(path)]
