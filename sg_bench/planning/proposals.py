"""A task card and a suite for a user's own images, from what a look at their folder shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from sg_bench.data.survey import MOST_CLASSES, Survey
from sg_bench.errors import DataError

SIDES = (48, 48, 32)
"""Largest sides of a proposed patch of a volume."""
WHOLE = (48, 48, 32)
"""Largest sides to which whole volumes are resized."""
FILM = 128
"""Side in pixels to which films are resized."""
USUAL = ("class", "label", "diagnosis", "finding", "malignant", "target", "outcome", "group", "age", "sex", "gender")
"""Columns that a proposed task predicts if there are several."""


class Proposal(NamedTuple):
    """A task card and a suite, as the content of YAML files."""

    card: dict[str, Any]
    suite: dict[str, Any]
    predicts: str
    """What the task predicts, for the terminal."""


def slug(text: str) -> str:
    """Return a name that a card may have."""
    found = re.sub(r"[^a-z0-9_-]+", "_", text.lower()).strip("_-")
    return found if found[:1].isalpha() else f"data_{found}".rstrip("_")


def proposal(found: Survey, name: str, column: str = "") -> Proposal:
    """Return a card and a suite that run as they are.

    Args:
        found: what the folder holds.
        name: of the data set, the task and the suite.
        column: of the table, to be predicted; "" for the label maps, or the most usual column.

    Raises:
        DataError: there is nothing to predict, or there are too few patients.
    """
    if found.patients < 2:
        raise DataError(f"{found.root}: one patient cannot train and test", hint="Add others, or set `patient`")
    card: dict[str, Any] = {"name": name, "title": name.replace("_", " ").capitalize()}
    if found.counts and not column:
        outcome, predicts = _segmentation(found)
    else:
        outcome, predicts = _of_images(found, column)
    config = found.config.model_dump(mode="json", exclude_defaults=True)
    if found.config.layout == "pattern":
        config = {"images": found.config.images, **config}
    card |= {**outcome, "data": {"name": name, "source": "folder", "config": config}}
    card["preparation"] = {**_intensity(found), **card.pop("grid", {})}
    card["split"] = _split(found, stratify="label" in outcome or "findings" in outcome)
    card["training"] = {"batch_size": 4, "patience": None, "norm_eval": "reestimated"}
    if found.flat:
        card["training"] = {"batch_size": 16, "patience": None}
    card["follows"] = "our choice, proposed by sg-bench data init"
    named = found.channels in (1, len(found.config.channels))  # else a plan does not know how many there are
    suite = _suite(card, name, pretrains=named, validation=0.2 if found.patients >= 4 else 0.0)
    return Proposal(_ordered(card), suite, predicts)


def blank(name: str) -> Proposal:
    """Return a card and a suite to be completed by hand: segmentation of one class in a flat folder of CT volumes."""
    card = {
        "name": name,
        "title": name.replace("_", " ").capitalize(),
        "kind": "segmentation",
        "loss": "dice",
        "headline": "dice_positive",
        "secondary": ["dice_case"],
        "target": [1],
        "data": {"name": name, "source": "folder", "config": {"images": "images/*", "labels": "labels/{id}.nii.gz"}},
        "preparation": {"intensity": "hu", "clip": [-1000, 1000]},
        "split": {"train": 0.6, "validation": 0.2, "test": 0.2},
        "sampling": {"places": "foreground", "patch": [32, 32, 32]},
        "inference": {"mode": "sliding_window"},
        "training": {"batch_size": 4, "patience": None, "norm_eval": "reestimated"},
        "follows": "our choice",
    }
    return Proposal(card, _suite(card, name, pretrains=True, validation=0.2), "label value 1")


def as_yaml(content: Mapping[str, Any], comment: str) -> str:
    """Return a YAML file with a first line of comment."""
    text = yaml.safe_dump(dict(content), sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)
    return f"# {comment}\n{text}"


def _segmentation(found: Survey) -> tuple[dict[str, Any], str]:
    """Return the settings of a segmentation of all label values that occur."""
    values = list(found.values)
    if not values:
        raise DataError(f"{found.root}: the label maps that were read hold nothing but 0", hint="Correct `labels`")
    names, regions = _names(found, values)
    card: dict[str, Any] = {"kind": "segmentation", "loss": "dice_ce" if len(values) > 1 and not regions else "dice"}
    if regions:
        masks: dict[str, Any] = {"regions": regions}
    elif len(values) == 1 and values[0] not in names:
        masks = {"target": values}
    else:
        masks = {"classes": {value: names.get(value, f"value_{value}") for value in values}}
    card |= (
        {"headline": "dice_positive", "secondary": ["dice_case"]} if "target" in masks else {"headline": "dice_mean"}
    )
    if any(len(counts) < len(values) for counts in found.counts.values()) and "target" in masks:
        card["secondary"] = ["dice_case", "dice_bin"]
    spacing = _common_spacing(found)
    shape = [
        side * old / new for side, old, new in zip(found.shape, found.spacing, spacing or found.spacing, strict=True)
    ]
    if found.flat:
        raise DataError(f"{found.root}: masks of films are not segmented", hint="Name a column of a table by --column")
    patch = [max(8, min(most, int(side) // 8 * 8)) for side, most in zip(shape, SIDES, strict=True)]
    card |= masks | {
        "grid": {"spacing": spacing} if spacing else {},
        "sampling": {"places": "foreground", "patch": patch, "crops_per_case": 4},
        "inference": {"mode": "sliding_window"},
    }
    what = masks.get("regions") or masks.get("classes") or {"target": values}
    return card, f"segmentation of {', '.join(map(str, what.values() if 'classes' in masks else what))}"


def _names(found: Survey, values: list[int]) -> tuple[dict[int, str], dict[str, list[int]]]:
    """Return names of label values and regions, from dataset.json or because they are those of BraTS."""
    if (found.root / "dataset.json").is_file():
        from sg_bench.data.sources.folder.description import class_names, read_description, region_values

        description = read_description(found.root)
        names = {value: slug(name) for value, name in class_names(description).items()}
        return names, {slug(name): wanted for name, wanted in region_values(description).items()}
    tumours = found.channels == 4 and any(
        "flair" in each.lower() or "t2f" in each.lower() for each in found.config.channels
    )
    for enhancing in (4, 3):
        if tumours and {*values} == {1, 2, enhancing}:
            return {}, {"whole": values, "core": [1, enhancing], "enhancing": [enhancing]}
    return {}, {}


def _of_images(found: Survey, column: str) -> tuple[dict[str, Any], str]:
    """Return the settings of a classification or regression of whole images, by a column of the table."""
    known = sorted({name for case in found.cases for name in case.attributes})
    if not known or (column and column not in known):
        what = f"no column '{column}'" if column else "neither label maps nor a table with a column for most images"
        hint = f"Columns are: {', '.join(known)}" if known else "Add a CSV with a column of the images' names"
        raise DataError(f"{found.root}: {what}", hint=hint)
    values = {name: [case.attributes[name] for case in found.cases if name in case.attributes] for name in known}
    if found.config.findings_column and not column:
        least = max(6, len(found.cases) // 100)
        findings = [name for name in known if least <= sum(map(_is_one, values[name])) <= len(found.cases) - least]
        outcome: dict[str, Any] = {"kind": "classification", "loss": "bce", "findings": findings}
        predicts = f"classification by {len(findings)} findings of '{found.config.findings_column}'"
        card = outcome | {"headline": "auc", "secondary": ["auprc"]}
    else:
        card, predicts = _by_column(column or _most_usual(values), values)
    side = FILM
    if found.flat:
        grid, patch = [side, side, None], [side, side, 1]
        card |= {"dimension": 2}
    else:
        patch = [max(8, min(most, size // 8 * 8)) for size, most in zip(found.shape, WHOLE, strict=True)]
        grid = list(patch)
    card |= {"grid": {"shape": grid}, "sampling": {"places": "image", "patch": patch}, "inference": {"mode": "image"}}
    return card, predicts


def _by_column(column: str, values: Mapping[str, list[str | float]]) -> tuple[dict[str, Any], str]:
    texts = sorted({_text(value) for value in values[column]})
    if len(texts) > MOST_CLASSES and all(isinstance(value, float | int) for value in values[column]):
        return {
            "kind": "regression",
            "loss": "mse",
            "headline": "mae",
            "secondary": ["r2"],
            "value": column,
        }, f"'{column}'"
    if not 2 <= len(texts) <= MOST_CLASSES:
        raise DataError(f"column '{column}' holds {len(texts)} different texts", hint="Name another by --column")
    binary = len(texts) == 2
    names: Any = {int(text): f"{column}_{text}" for text in texts} if all(map(str.isdecimal, texts)) else texts
    card = {"kind": "classification", "loss": "bce" if binary else "cross_entropy", "label": column, "classes": names}
    headline = {"headline": "auc", "secondary": ["auprc"]} if binary else {"headline": "balanced_accuracy"}
    return card | headline, f"class '{column}': {', '.join(texts)}"


def _most_usual(values: Mapping[str, list[str | float]]) -> str:
    """Return the column that a task most likely predicts."""
    few = [name for name, each in values.items() if 2 <= len(set(map(_text, each))) <= MOST_CLASSES]
    numbers = [name for name, each in values.items() if all(isinstance(value, float | int) for value in each)]
    for names in (few, numbers):
        usual = [name for word in USUAL for name in names if word in name.lower()]
        if usual or names:
            return (usual or names)[0]
    return next(iter(values))


def _intensity(found: Survey) -> dict[str, Any]:
    if found.flat:
        return {"intensity": "minmax"}
    if found.lowest <= -500 and found.channels == 1:
        return {"intensity": "hu", "clip": [-1000, 1000]}
    return {"intensity": "percentiles", "clip": [0.5, 99.5]}


def _common_spacing(found: Survey) -> list[float] | None:
    """Return the median voxel size where voxel sizes differ by more than a tenth, else None: the grids stay."""
    ratios = [max(sizes) / min(sizes) for sizes in zip(*found.spacings, strict=True)]
    return [round(size, 2) for size in found.spacing] if max(ratios) > 1.1 else None


def _split(found: Survey, *, stratify: bool) -> dict[str, Any]:
    groups = {case.group for case in found.cases}
    if {"train", "test"} <= groups and groups <= {"train", "test", "val", "validation"}:
        held = next((name for name in ("validation", "val") if name in groups), "")
        if held:
            return {"groups": {"train": ["train"], "validation": [held], "test": ["test"]}}
    if found.patients == 2:
        return {"train": 0.5, "test": 0.5}
    shares = {"train": 0.5, "validation": 0.25, "test": 0.25} if found.patients < 10 else {}
    shares = shares or {"train": 0.6, "validation": 0.2, "test": 0.2}
    return {**shares, **({"stratify": True} if stratify else {})}


def _suite(card: Mapping[str, Any], name: str, *, pretrains: bool, validation: float) -> dict[str, Any]:
    """Return a suite that compares no pretraining with Models Genesis, pretrained on the task's training patients.

    The budget `short` is minutes of one processor: small networks, few steps. `long` has the papers' networks.
    """
    patch, flat = card["sampling"]["patch"], card.get("dimension") == 2
    key = "2d" if flat else "3d"
    pretraining: dict[str, Any] = {
        "training": {"batch_size": 4, "patience": None, "optimiser": {"name": "adam", "lr": 0.001}},
        "crops": {"cube": patch, "border": [0, 0, 0], "air": None},
        "per_volume": 1 if flat else 4,
    }
    if not flat:
        pretraining["transforms"] = {
            "shuffle": {"side_divisor": 4},
            "in_painting": {"border": 1},
            "out_painting": {"border": 1},
        }
    budgets: dict[str, dict[str, Any]] = {
        "short": {
            "width": 4,
            "pretraining": {"training": {"epochs": 2, "steps_per_epoch": 10}},
            "fine_tuning": {"steps": 40, "steps_per_epoch": 20},
        },
        "long": {
            "width": 32,
            "pretraining": {"training": {"epochs": 100, "steps_per_epoch": 100}},
            "fine_tuning": {"steps": 5000, "steps_per_epoch": 100},
        },
    }
    suite: dict[str, Any] = {"name": name, "title": card["title"], "budget": "short", "budgets": budgets}
    if pretrains:
        suite |= {"corpora": {key: {"task": name, "validation": validation}}, "methods": ["scratch", "models_genesis"]}
        suite |= {"pretraining": pretraining}
    else:
        suite |= {"corpora": {}, "methods": ["scratch"]}
        for budget in budgets.values():
            del budget["pretraining"]
    return suite | {"tasks": [f"{name}.task.yaml"], "pretraining_seeds": 0, "fine_tuning_seeds": "0"}


def _ordered(card: dict[str, Any]) -> dict[str, Any]:
    first = ("name", "title", "kind", "dimension", "data", "preparation", "split")
    return {key: card[key] for key in (*first, *(key for key in card if key not in first)) if key in card}


def _is_one(value: str | float) -> bool:
    return value == 1


def _text(value: str | float) -> str:
    return value.strip() if isinstance(value, str) else f"{value:g}"
