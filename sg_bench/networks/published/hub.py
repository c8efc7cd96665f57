"""A folder ready for the Hugging Face Hub: weights, their network, a model card with metadata, and digests.

`sg-bench weights add NAME FOLDER` reads it back. Nothing here uses the network.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import save

from sg_bench import __version__
from sg_bench.errors import DataError, UsageError
from sg_bench.networks.published.card import mean_scores, model_card, network_of, pretraining_data
from sg_bench.networks.published.export import Initialisation, export_tensors
from sg_bench.networks.published.folders import CARD, CONFIG, SUMS, WEIGHTS, check_digests
from sg_bench.workspace import file_digest, read_json, write_atomic, write_json

LIBRARY = "sg-bench"
UNKNOWN_LICENCE = "see-model-card"
TASK_TYPES = {"classification": "image-classification", "segmentation": "image-segmentation"}
"""Names of the Hub by kind of task."""
USES = """## Intended use

Research: as initial weights of a network that is then fine-tuned and tested on images of the same kind, and for the
comparison of pretraining methods. Not for diagnosis or any other clinical use.

## Limits

The network has learned no clinical task, or only that of its pretraining. Scores hold for the tasks, splits and budgets
of this ledger; means over few fine-tunings are uncertain. Intensities, axes and sides must be as under "Load it"."""


@dataclass(frozen=True)
class ExportedFolder:
    """The content of an exported folder, as `weights add` needs it."""

    weights: Path
    network: dict[str, Any]
    """Name and settings."""
    declared: dict[str, Any]
    """Licence, corpus and sources."""


def export_folder(
    initialisation: Initialisation, out: Path, cells: Iterable[dict[str, Any]] = (), licence: str = ""
) -> None:
    """Write an initialisation to a new folder, which appears whole.

    Args:
        initialisation: the weights to write.
        out: a folder that does not exist yet.
        cells: finished records of a ledger, for the scores in the card.
        licence: the Hub's identifier of the licence that you give the weights, such as cc-by-4.0; "": see the card.

    Raises:
        UsageError: the folder exists, or the licence is not an identifier.
        DataError: the initialisation contains nothing that can be written.
    """
    if out.exists():
        raise UsageError(f"{out} exists", hint="Choose another name, or remove it")
    if licence and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", licence):
        raise UsageError(f"'{licence}' is no licence of the Hub", hint="Use its identifier, such as cc-by-4.0")
    state = export_tensors(initialisation, "safetensors")
    out.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        recipe, records = initialisation.record["recipe"], list(cells)
        write_atomic(
            new / WEIGHTS, save(state, metadata={"format": "pt", "sg_bench_initialisation": initialisation.key})
        )
        write_json(new / CONFIG, _config(initialisation, licence))
        text = model_card(recipe, initialisation.key, initialisation.record, state, "safetensors", WEIGHTS, records)
        metadata = yaml.safe_dump(card_metadata(initialisation, records, licence), sort_keys=False, allow_unicode=True)
        write_atomic(new / CARD, f"---\n{metadata}---\n\n{text}\n{USES}\n")
        sums = [f"{file_digest(new / name)}  {name}\n" for name in (CARD, CONFIG, WEIGHTS)]
        write_atomic(new / SUMS, "".join(sums))
        new.chmod(0o755)
        new.rename(out)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def card_metadata(
    initialisation: Initialisation, cells: Iterable[Mapping[str, Any]], licence: str = ""
) -> dict[str, Any]:
    """Return the metadata of the Hub: licence, library, tags, datasets, and results as `model-index`."""
    recipe = initialisation.record["recipe"]
    scores = mean_scores(initialisation.key, cells)
    kinds = sorted({TASK_TYPES[each.kind] for each in scores if each.kind in TASK_TYPES})
    tags = ["medical-imaging", "pretraining", recipe["method"].replace("+", "-"), network_of(recipe).name, *kinds]
    sources = pretraining_data(recipe)[1]
    results = [
        {
            "task": {"type": TASK_TYPES.get(each.kind, "other")},
            "dataset": {"name": each.task, "type": f"sg-bench/{each.task}"},
            "metrics": [
                {"type": each.metric, "value": round(each.mean, 6), "name": f"mean of {each.count} fine-tunings"}
            ],
        }
        for each in scores
    ]
    named = {"license": licence} if licence else {"license": "other", "license_name": UNKNOWN_LICENCE}
    return {
        **named,
        "library_name": LIBRARY,
        "tags": list(dict.fromkeys(tags)),
        **({"datasets": sources} if sources else {}),
        **({"model-index": [{"name": f"{recipe['method']}-{recipe['seed']}", "results": results}]} if results else {}),
    }


def read_folder(folder: Path) -> ExportedFolder:
    """Return the content of an exported folder, after comparing its digests.

    Raises:
        DataError: a file is missing, changed or not what `export_folder` wrote.
    """
    check_digests(folder)
    try:
        config = read_json(folder / CONFIG)
        declared = {name: config[name] for name in ("licence", "corpus", "sources")}
        return ExportedFolder(folder / WEIGHTS, dict(config["network"]), declared)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / CONFIG}: {error}", hint="Export it again by weights export --to hub") from error


def _config(initialisation: Initialisation, licence: str) -> dict[str, Any]:
    recipe = initialisation.record["recipe"]
    network = network_of(recipe)
    corpus, sources = pretraining_data(recipe)
    return {
        "library_name": LIBRARY,
        "library_version": __version__,
        "network": {"name": network.name, **json.loads(network.config.model_dump_json())},
        "method": recipe["method"],
        "seed": recipe["seed"],
        "decoder": bool(initialisation.decoder),
        "initialisation": initialisation.key,
        "licence": licence or UNKNOWN_LICENCE,
        "corpus": corpus,
        "sources": sources,
    }
