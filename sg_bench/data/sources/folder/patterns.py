"""Layout pattern: paths with wildcards and named parts, such as "{patient}/{session}_{channel}.nii.gz"."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from sg_bench.data.sources.base import Problem
from sg_bench.data.sources.folder.config import PARTS_OF_PATHS, FolderConfig
from sg_bench.data.sources.folder.found import FoundCase, FoundFolder
from sg_bench.data.sources.folder.reading import FILMS, file_stem
from sg_bench.data.sources.headers import leaves_folder
from sg_bench.data.sources.volumes import ENDINGS, VOLUMES, is_system_file, natural_key
from sg_bench.errors import DataError

PatternMatch = tuple[Path, dict[str, str]]
"""A file and the texts of its named parts."""
_TOKEN = re.compile(r"\*\*/?|\*|\?|\[[^\]/]+\]|\{(?:" + "|".join(PARTS_OF_PATHS) + r")\}")


def scan_pattern(root: Path, config: FolderConfig) -> FoundFolder:
    """Return the cases whose paths match `images`, with labels where `labels` leads to."""
    unsafe = [text for text in (config.images, config.labels) if text and leaves_folder(text)]
    if unsafe:
        what = "it leaves the data set's folder. Write it relative to the root, without '..'"
        return FoundFolder(problems=[Problem(f"{root}: pattern '{text}'", what) for text in unsafe])
    matches = _matches(root, config)
    if not matches:
        what = f"no {', '.join((*VOLUMES, *FILMS))} file matches. Set `images` to a glob relative to this folder"
        return FoundFolder(problems=[Problem(f"{root}: images '{config.images}'", what)])
    grouped: dict[tuple[str, ...], dict[str, list[PatternMatch]]] = defaultdict(lambda: defaultdict(list))
    for path, parts in matches:
        key = tuple(parts.get(name, "") for name in PARTS_OF_PATHS if name != "channel")
        grouped[key][parts.get("channel", "")].append((path, parts))
    cases = [case for channels in grouped.values() for case in _cases(root, config, channels)]
    labels = {case.label for case in cases if case.label is not None and case.label.is_file()}
    cases = [
        case for case in cases if case.image not in labels or case.image == case.label
    ]  # next to the images, under names that match too
    found = FoundFolder(cases, has_patients="{patient}" in config.images)
    found.problems += _labels_without_image(root, config, found.cases)
    return found


def as_expression(pattern: str, channels: Iterable[str] = ()) -> re.Pattern[str]:
    """Return the regular expression of a pattern; its named groups are the named parts.

    Raises:
        DataError: a bracket of the pattern is no set of characters.
    """
    names = "|".join(re.escape(name) for name in sorted(channels, key=len, reverse=True))
    text, at, seen = "", 0, set[str]()
    for token in _TOKEN.finditer(pattern):
        text += re.escape(pattern[at : token.start()])
        at = token.end()
        if token[0][0] == "{":
            part = token[0][1:-1]
            matched = names if part == "channel" and names else "[^/]+?"
            text += f"(?P={part})" if part in seen else f"(?P<{part}>{matched})"
            seen.add(part)
        elif token[0][0] == "[":
            text += "[" + token[0][1:].replace("!", "^", 1 if token[0][1] == "!" else 0).replace("\\", "\\\\")
        else:
            text += {"*": "[^/]*", "?": "[^/]", "**": ".*", "**/": "(?:.*/)?"}[token[0]]
    try:
        return re.compile(text + re.escape(pattern[at:]))
    except re.error as error:
        raise DataError(f"pattern '{pattern}': {error}", hint="Correct the brackets") from None


def filled_in(pattern: str, parts: Mapping[str, str]) -> str:
    """Return a pattern with the named parts of an image in place of their names."""
    for name, text in parts.items():
        pattern = pattern.replace(f"{{{name}}}", text)
    return pattern


def all_files(root: Path) -> list[Path]:
    """Return the files below `root` in a stable order, without hidden ones and those of the operating system."""
    found = []
    for folder, subfolders, names in os.walk(root, followlinks=True):
        if len(Path(folder).relative_to(root).parts) > 32:  # a link to a folder above it
            subfolders.clear()
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        found += [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
    return [path for path in found if not is_system_file(path) and path.is_file()]


def _matches(root: Path, config: FolderConfig) -> list[PatternMatch]:
    """Return the images and their named parts, in natural order of the paths."""
    if any(f"{{{name}}}" in config.images for name in PARTS_OF_PATHS):
        expression = as_expression(config.images, config.channels)
        found = [
            (path, match.groupdict())
            for path in all_files(root)
            if path.name.lower().endswith((*VOLUMES, *FILMS))
            and (match := expression.fullmatch(path.relative_to(root).as_posix()))
        ]
    else:
        found = [(path, {"id": file_stem(path)}) for path in _globbed(root, config.images)]
    return sorted(found, key=lambda each: (natural_key(file_stem(each[0])), each[0].as_posix()))


def _globbed(root: Path, pattern: str) -> list[Path]:
    """Return the images that match a glob: NIfTI and MetaImage if there are any, else other formats."""
    paths = _files_of(root, pattern)
    for endings in (ENDINGS, VOLUMES, FILMS):
        found = [path for path in paths if path.name.lower().endswith(endings)]
        if found:
            return found
    return []


def _files_of(root: Path, pattern: str) -> list[Path]:
    """Return the files that match a glob; none for an invalid one."""
    try:
        return [path for path in root.glob(pattern) if not is_system_file(path) and path.is_file()]
    except (ValueError, IndexError, NotImplementedError):
        return []


def _cases(root: Path, config: FolderConfig, channels: Mapping[str, list[PatternMatch]]) -> list[FoundCase]:
    """Return the case of one set of named parts, or a case for each file where they are the same for several."""
    if "{channel}" not in config.images:
        alone = channels[""]
        whole = len(alone) == 1 and "{" in config.images
        return [_case(root, config, [path], parts, "" if whole else file_stem(path)) for path, parts in alone]
    paths, parts, missing = list[Path](), dict[str, str](), list[str]()
    for name in config.channels:
        same = channels.get(name, [])
        paths += [path for path, _ in same[:1]]
        parts = parts or (same[0][1] if same else {})
        missing += [] if len(same) == 1 else [f"channel {name} is {'missing' if not same else 'there twice'}"]
    case = _case(root, config, paths, parts)
    if missing:
        case.unusable(paths[0], f"its {', '.join(missing)}. Complete it, remove the case, or correct `channels`")
    return [case]


def _case(root: Path, config: FolderConfig, paths: list[Path], parts: dict[str, str], stem: str = "") -> FoundCase:
    identity = joined_id([parts.get(name, "") for name in ("patient", "session", "id")]) if "{" in config.images else ""
    if stem and "{id}" not in config.images:
        identity = joined_id([identity, stem])
    case = FoundCase(identity, parts.get("patient", ""), paths[0], tuple(paths[1:]))
    if config.labels is not None:
        named = {"id": case.id, **parts}
        bare = re.fullmatch(r"(.+)_0000", case.id)  # nnU-Net's images have the channel's number, its labels do not
        if bare and not list(root.glob(filled_in(config.labels, named))):
            without = filled_in(config.labels, {**named, "id": bare[1]})
            named = {**named, "id": bare[1]} if list(root.glob(without)) else named
        _set_label(case, root, filled_in(config.labels, named))
    return case


def joined_id(parts: Iterable[str]) -> str:
    """Return the id of a case from patient, session and name; a part is left out if the next one starts with it."""
    kept: list[str] = []
    for part in parts:
        if part and kept and part.startswith(kept[-1]):
            kept[-1] = part
        elif part:
            kept.append(part)
    return "_".join(kept)


def _set_label(case: FoundCase, root: Path, pattern: str) -> None:
    """Set the label of a case, which must be one file."""
    paths = [root / pattern]
    if not paths[0].is_file() and re.search(r"[*?\[]", pattern):
        paths = sorted(_files_of(root, pattern))
    case.label = paths[0] if paths else root / pattern
    if len(paths) > 1:
        what = f"several files are its label: {', '.join(map(str, paths))}. Keep one, or correct `labels`"
        case.unusable(case.image, what)
    elif case.label == case.image:
        case.unusable(case.image, "its label is the same file. Correct `labels`, so that it leads to another one")
    elif not case.label.is_file():
        what = f"its label {case.label} is missing. Add it, remove the image, or correct `labels`"
        case.unusable(case.image, what)


def _labels_without_image(root: Path, config: FolderConfig, cases: list[FoundCase]) -> list[Problem]:
    if config.labels is None or not re.search(r"\{(id|patient|session)\}", config.labels):
        return []
    expression = as_expression(config.labels)
    used = {path for case in cases for path in (case.image, *case.channels, case.label)}
    what = "it is a label without an image. Add the image, remove the label, or correct `images`"
    return [
        Problem(str(path), what)
        for path in all_files(root)
        if path not in used
        and path.name.lower().endswith((*VOLUMES, *FILMS))
        and expression.fullmatch(path.relative_to(root).as_posix())
    ]
