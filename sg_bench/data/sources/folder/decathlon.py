"""Layout msd: the Medical Segmentation Decathlon, whose dataset.json lists images and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sg_bench.data.sources.folder.config import FolderConfig
from sg_bench.data.sources.folder.description import channel_names, read_description
from sg_bench.data.sources.folder.found import FoundCase, FoundFolder
from sg_bench.data.sources.folder.reading import file_stem
from sg_bench.data.sources.headers import leaves_folder
from sg_bench.errors import DataError


def scan_decathlon(root: Path, config: FolderConfig) -> FoundFolder:
    """Return the training cases of dataset.json; its test cases have no labels and are left out.

    Raises:
        DataError: dataset.json is corrupt or lists no training case, or its channels are not those of the settings.
    """
    description = read_description(root)
    entries = [entry for entry in _listed(description) if isinstance(entry, dict)]
    if not entries:
        raise DataError(f"{root}/dataset.json: it lists no training case", hint="Use layout nnunet or pattern")
    names = channel_names(description)
    if config.channels and names and list(config.channels) != names:
        raise DataError(
            f"{root}/dataset.json: a file has the channels {', '.join(names)}, `channels` are {list(config.channels)}",
            hint="All channels of a file are read: name them in the order of dataset.json",
        )
    return FoundFolder([_case(root, entry, config) for entry in entries])


def recognise_decathlon(root: Path) -> FolderConfig | None:
    """Return the settings that read a folder in the Decathlon's layout; None if it is none."""
    try:
        description = read_description(root)
    except DataError:
        return None
    entries = _listed(description)
    if not entries or not all(isinstance(entry, dict) and {"image", "label"} <= entry.keys() for entry in entries):
        return None
    if not (root / str(entries[0]["image"])).is_file():
        return None
    names = channel_names(description)
    return FolderConfig(layout="msd", labels="dataset.json", channels=tuple(names) if len(names) > 1 else ())


def _listed(description: dict[str, Any]) -> list[Any]:
    listed = description.get("training")
    return listed if isinstance(listed, list) else []


def _case(root: Path, entry: dict[str, Any], config: FolderConfig) -> FoundCase:
    names = [str(entry.get(name) or "").removeprefix("./") for name in ("image", "label")]
    case = FoundCase(file_stem(Path(names[0])))
    for name, kind in zip(names, ("image", "label"), strict=True):
        if kind == "label" and config.labels is None:
            continue
        path = root / name
        if not name or leaves_folder(name) or not path.is_file():
            case.unusable(path, f"its {kind} is missing. Add it, or remove the case from dataset.json")
        setattr(case, kind, path)
    return case
