"""Exports hold what the records hold, read back by the libraries that people read them with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bibtexparser.entrypoint import parse_string

from sg_bench.errors import UsageError
from sg_bench.registry import METHODS, NETWORKS, SOURCES
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.exports import FORMATS, TrackedRun, export, open_tracker, tracked_runs
from sg_bench.reporting.exports.bibtex import WITHOUT, known_references, references
from sg_bench.reporting.exports.tracked import curve_points
from sg_bench.reporting.frame import COLUMNS
from tests.reporting.page.conftest import HOSTILE, make_evidence


@pytest.fixture
def studied(study: Any) -> Evidence:
    return Evidence(study.cells, study.records)


def tracked(score: float = 0.75, digest: str = "one") -> TrackedRun:
    rows = [{"step": 5 * n, "lr": 0.1, "train": {"loss": 1 / n}, "validation": {"loss": 2 / n}} for n in (1, 2)]
    picture = np.zeros((8, 24, 3), np.uint8)
    picture[:, 8:16] = 255
    parameters: dict[str, str | int | float | bool] = {
        "method": "mine",
        "task": "ncc[data=phantom]",
        "fine_tuning.steps": 40,
        "frozen": False,
    }
    metrics = {"test/auc": score, "cost/wall_seconds": 1.5}
    return TrackedRun(
        "a" * 64, "fine-tuning", ("mine", "ncc[data=phantom]"), "p0-f1", parameters, metrics, curve_points(rows),
        {"segmentation/0": picture}, digest,
    )  # fmt: skip


def test_tables_are_read_back_as_they_were(studied: Evidence, tmp_path: Path) -> None:
    for to in ("parquet", "csv"):
        assert export(studied, to, tmp_path).runs == len(studied.frame)
    for name in ("scores", "cases"):
        as_parquet, as_csv = pd.read_parquet(tmp_path / f"{name}.parquet"), pd.read_csv(tmp_path / f"{name}.csv")
        assert list(as_parquet) == list(as_csv)
        for column in ("value",) if name == "scores" else ("score", "truth"):
            assert as_parquet[column].tolist() == as_csv[column].tolist()
    assert pd.read_parquet(tmp_path / "scores.parquet")["value"].tolist() == studied.frame["value"].tolist()


def test_the_data_dictionary_describes_every_column(studied: Evidence, tmp_path: Path) -> None:
    export(studied, "csv", tmp_path)
    package = json.loads((tmp_path / "datapackage.json").read_text(encoding="utf-8"))
    for resource in package["resources"]:
        fields = resource["schema"]["fields"]
        assert [field["name"] for field in fields] == list(pd.read_csv(tmp_path / resource["path"], nrows=0))
        assert all(field["description"].endswith((".", ".)")) for field in fields)
    text = (tmp_path / "data-dictionary.md").read_text(encoding="utf-8")
    assert all(f"| {column.name} |" in text for column in COLUMNS)


def test_equal_results_give_equal_bytes(studied: Evidence, tmp_path: Path) -> None:
    for folder in (tmp_path / "one", tmp_path / "other"):
        export(studied, "parquet", folder)
    assert all(
        path.read_bytes() == (tmp_path / "other" / path.name).read_bytes() for path in (tmp_path / "one").iterdir()
    )


def test_references_are_those_of_what_was_used(studied: Evidence) -> None:
    library = parse_string(references(studied))
    assert library.failed_blocks == []
    assert {entry.key for entry in library.entries} == {
        "sgbench", "haghighi2020semantic", "zhou2019models", "cicek2016unet"
    }  # fmt: skip
    assert all("of" not in entry.fields_dict for entry in library.entries)


def test_everything_that_is_built_in_has_a_reference_or_needs_none() -> None:
    names = {f"{registry.kind}:{name}" for registry in (METHODS, NETWORKS, SOURCES) for name in registry.names()}
    known = {name for entry in known_references() for name in entry.of}
    ours = {name for name in names if registry_of(name).plugin(name.partition(":")[2]) is None}
    assert ours - known == WITHOUT
    assert known - ours == {"software:sg-bench", "method:+semantics"}
    texts = "\n\n".join(entry.text for entry in known_references())
    library = parse_string(texts)
    assert library.failed_blocks == []
    assert len(library.entries) == len(known_references())


def registry_of(name: str) -> Any:
    return {"method": METHODS, "network": NETWORKS, "source": SOURCES}[name.partition(":")[0]]


def test_what_has_no_known_reference_is_named() -> None:
    text = references(make_evidence(["mine"], ["ncc"], [(0, 0)]))
    assert text.startswith("% No reference is known for the method mine: add its own.\n")


def test_an_unknown_format_is_named_with_the_nearest(studied: Evidence, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown format 'tensorbord'. Did you mean 'tensorboard'\?"):
        export(studied, "tensorbord", tmp_path)


def test_nothing_to_export_is_an_error(studied: Evidence, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no cell is finished"):
        export(Evidence(studied.cells, {}), "csv", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_is_not_installed_is_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(UsageError, match=r"pip install 'sg-bench\[wandb\]'"):
        open_tracker("wandb", tmp_path, "demo")


def test_each_finished_cell_is_a_run_with_its_scores_and_curves() -> None:
    evidence = make_evidence(["a", "b"], ["ncc"], [(0, 0), (0, 1)])
    runs = list(tracked_runs(evidence))
    assert [run.path for run in runs] == [f"fine-tuning/{method}/ncc/p0-f{seed}" for method in "ab" for seed in (0, 1)]
    scores = [value for cell in evidence.cells for value in evidence.records[cell.key]["metrics"].values()]
    assert [next(iter(run.metrics.values())) for run in runs] == scores
    assert {point.name for point in runs[0].curves} == {"train/loss", "validation/loss"}
    assert runs[0].parameters["pretraining.training.steps"] == 20


def test_runs_with_strange_labels_stay_in_the_folder() -> None:
    paths = [run.path for run in tracked_runs(make_evidence([HOSTILE, ".."], [f"../{HOSTILE}"], [(0, 0)]))]
    assert paths
    assert all(len(path.split("/")) == 4 and "<" not in path for path in paths)
    assert all(part.strip(".") for path in paths for part in path.split("/"))


@pytest.mark.slow
@pytest.mark.parametrize("to", ["tensorboard", "mlflow", "wandb"])
def test_a_run_is_stored_once_and_again_only_if_it_changed(tmp_path: Path, to: str) -> None:
    for run, new in ((tracked(), True), (tracked(), False), (tracked(0.8, "two"), True), (tracked(0.8, "two"), False)):
        assert open_tracker(to, tmp_path, "demo").add(run) is new


@pytest.mark.slow
def test_tensorboard_reads_scores_curves_images_and_settings(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    for run in (tracked(0.7, "before"), tracked()):
        open_tracker("tensorboard", tmp_path, "demo").add(run)
    folder = tmp_path / tracked().path
    assert len(list(folder.glob("events.*"))) == 1
    read = EventAccumulator(str(folder)).Reload()
    assert [(each.step, each.value) for each in read.Scalars("train/loss")] == [(5, 1.0), (10, 0.5)]
    assert [each.value for each in read.Scalars("test/auc")] == [0.75]
    assert (read.Images("segmentation/0")[0].width, read.Images("segmentation/0")[0].height) == (24, 8)
    stored = read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    compared = HParamsPluginData.FromString(stored).session_start_info.hparams
    assert {name: value.string_value for name, value in compared.items()} == {
        "method": "mine",
        "task": "ncc[data=phantom]",
    }
    assert b"| fine_tuning.steps | 40 |" in read.Tensors("settings/text_summary")[0].tensor_proto.string_val[0]


@pytest.mark.slow
def test_mlflow_reads_scores_curves_images_and_settings(tmp_path: Path) -> None:
    for run in (tracked(0.7, "before"), tracked()):
        open_tracker("mlflow", tmp_path, "demo").add(run)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("demo")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.status, found.data.metrics["test/auc"]) == ("FINISHED", 0.75)
    assert found.data.params["fine_tuning.steps"] == "40"
    assert found.data.tags["task"] == "ncc[data=phantom]"
    history = client.get_metric_history(found.info.run_id, "train/loss")
    assert [(each.step, each.value) for each in history] == [(5, 1.0), (10, 0.5)]
    assert [each.path for each in client.list_artifacts(found.info.run_id, "images")] == ["images/segmentation-0.png"]


def wandb_records(path: Path) -> list[Any]:
    """Return the records of an offline run: a log of LevelDB's format after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    data, place, joined, found = path.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:  # the end of a block is padded
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        joined += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a complete record, or its last part
            found.append(Record.FromString(joined))
            joined = b""
    return found


@pytest.mark.slow
def test_wandb_keeps_an_offline_run_with_scores_curves_images_and_settings(tmp_path: Path) -> None:
    for run in (tracked(0.7, "before"), tracked()):
        open_tracker("wandb", tmp_path, "demo").add(run)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert [path.suffix for path in (folder / "files" / "media" / "images").rglob("*.png")] == [".png"]
    (stored,) = folder.glob("*.wandb")
    records = wandb_records(stored)
    (begun,) = [each.run for each in records if each.WhichOneof("record_type") == "run"]
    assert (begun.project, begun.display_name, begun.run_group) == ("demo", tracked().name, "mine")
    assert begun.host == "sg-bench"
    config = {"/".join(each.nested_key) or each.key: each.value_json for each in begun.config.update}
    assert config["fine_tuning.steps"] == "40"
    items = [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in each.history.item}
        for each in records
        if each.WhichOneof("record_type") == "history"
    ]
    assert [(row["_step"], row["train/loss"]) for row in items if "train/loss" in row] == [(5, 1.0), (10, 0.5)]
    assert any(name.startswith("segmentation/0") for row in items for name in row)
    summaries = [item for each in records for item in each.summary.update]
    assert "0.75" in [item.value_json for item in summaries if "test/auc" in (item.key, *item.nested_key)]


def test_formats_are_those_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "exports.md").read_text(encoding="utf-8")
    assert all(f"`{to}`" in page for to in FORMATS)
