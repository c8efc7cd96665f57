"""Recognition of folders without a named layout: flat, with labels next to the images, or a folder for each patient."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

from sg_bench.data.sources.folder.config import FolderConfig
from sg_bench.data.sources.folder.patterns import all_files
from sg_bench.data.sources.folder.reading import FILMS, file_stem
from sg_bench.data.sources.folder.table import usual_columns
from sg_bench.data.sources.volumes import VOLUMES

_LABEL_FOLDER = re.compile(r"(labels?|masks?|segmentations?|segs?|annotations?|ground_?truth|gt)(.*)", re.IGNORECASE)
_LABEL_NAME = re.compile(r"(label|mask|seg|segmentation|gt|dseg|roi|annotation)s?", re.IGNORECASE)


def recognise_pattern(root: Path) -> FolderConfig | None:
    """Return the settings of a flat folder or of one with a folder for each patient; None without any image."""
    files = [path.relative_to(root) for path in all_files(root)]
    for endings in (VOLUMES, FILMS):
        images = [path for path in files if path.name.lower().endswith(endings)]
        if images:
            break
    else:
        return None
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in images:
        by_folder[path.parent].append(path)
    labels = {folder for folder in by_folder if folder.parts and _LABEL_FOLDER.fullmatch(folder.parts[-1])}
    pictures = {folder: paths for folder, paths in by_folder.items() if folder not in labels}
    if not pictures:
        return None
    largest = max(pictures, key=lambda folder: (len(pictures[folder]), folder.as_posix()))
    nested = [folder for folder in pictures if folder.parts]
    if len(nested) > 1 and len({len(folder.parts) for folder in nested}) == 1 and len(nested) == len(pictures):
        config = _by_patient(pictures)
        if config is not None:
            return config
    return _flat(root, largest, pictures[largest], labels, by_folder)


def _flat(
    root: Path, folder: Path, images: list[Path], labels: set[Path], by_folder: dict[Path, list[Path]]
) -> FolderConfig:
    """Return the settings of images in one folder, with labels in another or next to them."""
    base = "" if folder == Path() else f"{folder.as_posix()}/"
    table = _table_of(root, {file_stem(path) for path in images})
    stems = {file_stem(path): path for path in images}
    for other in sorted(labels):
        names = {file_stem(path): path for path in by_folder[other]}
        if pattern := _label_name(stems, names):
            return FolderConfig(images=f"{base}*", labels=f"{other.as_posix()}/{pattern}", table=table)
    suffixes = Counter(stem.rpartition("_")[2] for stem in stems if _LABEL_NAME.fullmatch(stem.rpartition("_")[2]))
    if suffixes:
        suffix = suffixes.most_common(1)[0][0]
        masks = {stem: path for stem, path in stems.items() if stem.endswith(f"_{suffix}")}
        others = {stem: path for stem, path in stems.items() if stem not in masks}
        heads = {stem.removesuffix(f"_{suffix}") for stem in masks}
        ending = _ending(next(iter(masks.values())))
        tails = Counter(stem.rpartition("_")[2] for stem in others if stem.rpartition("_")[0] in heads)
        if heads & others.keys():
            return FolderConfig(images=f"{base}*", labels=f"{base}{{id}}_{suffix}{ending}", table=table)
        if tails:
            tail, image_ending = tails.most_common(1)[0][0], _ending(next(iter(others.values())))
            return FolderConfig(
                images=f"{base}{{id}}_{tail}{image_ending}", labels=f"{base}{{id}}_{suffix}{ending}", table=table
            )
    return FolderConfig(images=f"{base}*", table=table)


def _by_patient(pictures: dict[Path, list[Path]]) -> FolderConfig | None:
    """Return the settings of a folder for each patient, if all folders hold files of the same names."""
    depth = len(next(iter(pictures)).parts)
    if depth > 2:
        return None
    folders = "{patient}" if depth == 1 else "{patient}/{session}"
    tails: dict[str, Counter[str]] = {"named": Counter(), "same": Counter()}
    for folder, paths in pictures.items():
        for path in paths:
            head = next((part for part in reversed(folder.parts) if path.name.startswith(f"{part}_")), None)
            tail = path.name.removeprefix(f"{head}_") if head else path.name
            tails["named" if head else "same"][tail] += 1
    kind = max(tails, key=lambda name: sum(tails[name].values()))
    usual = {tail: count for tail, count in tails[kind].items() if not re.search(r"[0-9]{3}", tail)}  # else an id
    common = [tail for tail, count in usual.items() if 2 * count > len(pictures)]
    if not common:
        return None
    prefix = f"{folders}/" + ("{id}_" if kind == "named" else "")
    return _channels_and_label(prefix, sorted(common))


def _channels_and_label(prefix: str, names: list[str]) -> FolderConfig:
    """Return the settings for files of these names in each folder."""
    stems = {file_stem(Path(name)): name for name in names}
    masks = [stem for stem in stems if any(_LABEL_NAME.fullmatch(part) for part in re.split(r"[_\-.]", stem))]
    images = [stem for stem in stems if stem not in masks]
    pairs = {_kind_of(mask): mask for mask in masks}
    matched = [stem for stem in images if _kind_of(stem) in pairs and _kind_of(stem)]
    if matched:  # CT_image with CT_mask, MR_image with MR_mask: one of them, as their grids differ
        image, mask = matched[0], pairs[_kind_of(matched[0])]
        return FolderConfig(images=f"{prefix}{stems[image]}", labels=f"{prefix}{stems[mask]}")
    labels = f"{prefix}{stems[masks[0]]}" if masks else None
    if len(images) <= 1:
        return FolderConfig(images=f"{prefix}{stems[(images or masks)[0]]}", labels=labels if images else None)
    endings = Counter(_ending(Path(stems[stem])) for stem in images)
    ending = endings.most_common(1)[0][0]
    channels = tuple(stem for stem in images if _ending(Path(stems[stem])) == ending)
    return FolderConfig(images=f"{prefix}{{channel}}{ending}", labels=labels, channels=channels)


def _kind_of(stem: str) -> str:
    """Return a name without its parts that say whether it is an image or a label: "CT" for "CT_mask"."""
    parts = re.split(r"[_\-.]", stem)
    return "_".join(part for part in parts if not _LABEL_NAME.fullmatch(part) and part.lower() not in ("image", "img"))


def _label_name(images: dict[str, Path], labels: dict[str, Path]) -> str:
    """Return the name of labels with {id} in place of the image's name; "" if they do not fit."""
    if not labels:
        return ""
    ending = Counter(_ending(path) for path in labels.values()).most_common(1)[0][0]
    if images.keys() & labels.keys():
        return f"{{id}}{ending}"
    tails = Counter(stem.removeprefix(head) for stem in labels for head in [stem.rpartition("_")[0]] if head in images)
    return f"{{id}}{tails.most_common(1)[0][0]}{ending}" if tails else ""


def _ending(path: Path) -> str:
    return path.name[len(file_stem(path)) :]


def _table_of(root: Path, ids: set[str]) -> str | None:
    """Return the first table at the root with a column of most of these ids."""
    for path in sorted(each for each in root.iterdir() if each.suffix.lower() in (".csv", ".tsv")):
        if usual_columns(path, ids):
            return path.name
    return None
