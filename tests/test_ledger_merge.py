"""Ledgers of several people or machines become one: nothing lost, nothing counted twice, nothing bad let in."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sg_bench.config import key_of
from sg_bench.digests import npz_digest, safetensors_digest
from sg_bench.errors import UsageError
from sg_bench.ledger import Ledger, merge
from sg_bench.workspace import Workspace, file_digest, write_json


def recipe(seed: int = 0) -> dict[str, Any]:
    return {"kind": "cell", "fine_tuning_seed": seed}


KEY = key_of(recipe())


def done(seed: int = 0, auc: float | None = 0.5, **more: Any) -> dict[str, Any]:
    record = {"key": key_of(recipe(seed)), "status": "done", "recipe": recipe(seed), "metrics": {"auc": auc}}
    return {**record, "cases": [{"case": "a", "score": 0.5}], "headline": "auc", "parity": None, "outputs": {}, **more}


def failed(seed: int = 0, kind: str = "method") -> dict[str, Any]:
    error = {"kind": kind, "type": "", "message": "it broke", "traceback": ""}
    return {"key": key_of(recipe(seed)), "status": "failed", "recipe": recipe(seed), "error": error}


def workspace(root: Path, *records: dict[str, Any]) -> Workspace:
    made = Workspace(root)
    (root / "cells").mkdir(parents=True, exist_ok=True)
    for record in records:
        Ledger(made).put(record)
    return made


def predicted(at: Workspace, seed: int = 0, content: bytes = b"predictions") -> dict[str, Any]:
    """Return a record whose predictions lie in `at`."""
    path = at.path("predictions", f"{key_of(recipe(seed))}.npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, content=np.frombuffer(content, np.uint8))
    record = done(seed, outputs={"predictions": npz_digest(path)})
    Ledger(at).put(record)
    return record


def initialised(at: Workspace, content: bytes = b"weights", *, old: bool = False) -> Path:
    made = {"kind": "initialisation", "seed": 0}
    folder = at.path("initialisations", key_of(made))
    folder.mkdir(parents=True)
    file = folder / "encoder.safetensors"
    save_file({"weight": np.frombuffer(content, np.uint8)}, file)
    outputs = {"initialisation": safetensors_digest([file])}
    if old:
        outputs["initialisation"] = hashlib.sha256(f"{file.name} {file_digest(file)}\n".encode()).hexdigest()
    write_json(folder / "record.json", {"schema": 1 if old else 2, "recipe": made, "outputs": outputs})
    return folder


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and path.parent.name != "locks")
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


@pytest.fixture
def into(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "all")


class TestRecords:
    def test_what_two_people_computed_is_in_one_ledger(self, tmp_path: Path, into: Workspace) -> None:
        workspace(tmp_path / "a", done(0), done(1))
        workspace(tmp_path / "b", done(2))
        merged = merge([tmp_path / "a", tmp_path / "b"], into)
        assert (merged.added, merged.known, merged.conflicts, merged.damaged) == (3, 0, [], [])
        assert {record["key"] for record in Ledger(into).finished()} == {key_of(recipe(seed)) for seed in range(3)}

    def test_the_same_outcome_counts_once_whoever_took_how_long(self, tmp_path: Path, into: Workspace) -> None:
        workspace(tmp_path / "a", done(ran={"wall_seconds": 1}))
        workspace(tmp_path / "b", done(ran={"wall_seconds": 2}))
        merged = merge([tmp_path / "a", tmp_path / "b"], into)
        assert (merged.added, merged.known, merged.conflicts) == (1, 1, [])
        assert [record["ran"] for record in Ledger(into).finished()] == [{"wall_seconds": 1}]

    def test_another_outcome_is_kept_beside_the_first_and_named(self, tmp_path: Path, into: Workspace) -> None:
        workspace(tmp_path / "a", done(auc=0.5))
        workspace(tmp_path / "b", done(auc=0.6))
        merged = merge([tmp_path / "a", tmp_path / "b"], into)
        assert merged.conflicts == [f"{tmp_path / 'b' / 'cells' / KEY}.json: another outcome of cells/{KEY}.json"]
        assert (Ledger(into).get(KEY) or {})["metrics"] == {"auc": 0.5}
        assert len(Ledger(into).conflicts()[KEY]) == 1

    def test_a_conflict_that_a_source_knew_of_comes_along(self, tmp_path: Path, into: Workspace) -> None:
        workspace(tmp_path / "a", done(auc=0.5), done(auc=0.6))
        assert len(merge([tmp_path / "a"], into).conflicts) == 1
        assert (Ledger(into).get(KEY) or {})["metrics"] == {"auc": 0.5}
        assert len(Ledger(into).conflicts()[KEY]) == 1

    @pytest.mark.parametrize("order", [("good", "bad"), ("bad", "good")])
    def test_a_failure_never_stands_where_the_cell_was_done(
        self, tmp_path: Path, into: Workspace, order: tuple[str, str]
    ) -> None:
        workspace(tmp_path / "good", done())
        workspace(tmp_path / "bad", failed())
        merged = merge([tmp_path / name for name in order], into)
        assert Ledger(into).done(KEY)
        assert merged.conflicts == []

    def test_a_failure_that_nobody_mended_comes_along_and_the_first_stays(
        self, tmp_path: Path, into: Workspace
    ) -> None:
        workspace(tmp_path / "a", failed(kind="data"))
        workspace(tmp_path / "b", failed(kind="method"))
        merge([tmp_path / "a", tmp_path / "b"], into)
        assert (Ledger(into).get(KEY) or {})["error"]["kind"] == "data"

    def test_merging_again_changes_no_byte(self, tmp_path: Path, into: Workspace) -> None:
        source = workspace(tmp_path / "a", done(0, 0.5), done(0, 0.6), failed(1))
        predicted(source, 2)
        initialised(source)
        merge([tmp_path / "a"], into)
        first = contents(into.root)
        merged = merge([tmp_path / "a"], into)
        assert (merged.added, merged.predictions, merged.initialisations) == (0, 0, 0)
        assert contents(into.root) == first

    def test_the_sources_are_left_as_they_were(self, tmp_path: Path, into: Workspace) -> None:
        predicted(workspace(tmp_path / "a", done(1)))
        before = contents(tmp_path / "a")
        merge([tmp_path / "a"], into)
        assert contents(tmp_path / "a") == before


class TestDamage:
    @pytest.mark.parametrize(
        ("content", "what"),
        [
            ("{", "is damaged"),
            ("[]", "it holds no record"),
            (json.dumps({**done(), "schema": 99}), "has schema 99"),
            (json.dumps({**done(), "schema": 1, "recipe": recipe(7)}), "its recipe has the key"),
            (json.dumps({**done(), "schema": 1, "status": "perhaps"}), "it holds no finished cell and no failure"),
            (json.dumps({**done(), "schema": 1, "metrics": {"auc": "high"}}), "it holds no finished cell"),
            (json.dumps({**done(auc=float("nan")), "schema": 1}), "JSON"),
            (json.dumps({**failed(), "schema": 1, "error": "it broke"}), "it holds no finished cell and no failure"),
        ],
    )
    def test_a_bad_record_is_named_and_left_out_and_the_others_come_along(
        self, tmp_path: Path, into: Workspace, content: str, what: str
    ) -> None:
        workspace(tmp_path / "a", done(1))
        path = tmp_path / "a" / "cells" / f"{KEY}.json"
        path.write_text(content)
        merged = merge([tmp_path / "a"], into)
        (reason,) = merged.damaged
        assert str(path) in reason
        assert what in reason
        assert [record["key"] for record in Ledger(into).records()] == [key_of(recipe(1))]

    def test_files_that_are_no_records_are_passed_over(self, tmp_path: Path, into: Workspace) -> None:
        workspace(tmp_path / "a", done())
        (tmp_path / "a" / "cells" / "notes.json").write_text("mine")
        assert merge([tmp_path / "a"], into).damaged == []

    def test_predictions_that_are_not_what_the_record_says_stay_out(self, tmp_path: Path, into: Workspace) -> None:
        source = workspace(tmp_path / "a")
        predicted(source)
        path = source.path("predictions", f"{KEY}.npz")
        np.savez(path, content=np.zeros(5))
        merged = merge([tmp_path / "a"], into)
        assert merged.damaged == [f"{path} is damaged: its content has another digest than in the record"]
        path.write_bytes(b"other")
        (message,) = merge([tmp_path / "a"], into).damaged
        assert message.startswith(f"{path} is damaged: ")
        assert not into.path("predictions", f"{KEY}.npz").exists()

    def test_weights_that_are_not_what_their_record_says_stay_out(self, tmp_path: Path, into: Workspace) -> None:
        folder = initialised(workspace(tmp_path / "a"))
        save_file({"weight": np.zeros(5)}, folder / "encoder.safetensors")
        assert merge([tmp_path / "a"], into).damaged == [
            f"{folder} is damaged: its content has another digest than in its record"
        ]
        assert not into.path("initialisations", folder.name).exists()


class TestBesideTheRecords:
    def test_predictions_and_initialisations_are_copied_where_they_are_missing(
        self, tmp_path: Path, into: Workspace
    ) -> None:
        source = workspace(tmp_path / "a")
        predicted(source)
        folder = initialised(source)
        merged = merge([tmp_path / "a"], into)
        assert (merged.predictions, merged.initialisations) == (1, 1)
        assert (
            into.path("predictions", f"{KEY}.npz").read_bytes() == source.path("predictions", f"{KEY}.npz").read_bytes()
        )
        assert contents(into.path("initialisations", folder.name)) == contents(folder)
        assert not list(into.root.rglob(".merging-*"))

    def test_predictions_of_an_outcome_that_does_not_count_are_not_copied(
        self, tmp_path: Path, into: Workspace
    ) -> None:
        workspace(into.root, done(auc=0.9))
        predicted(workspace(tmp_path / "a"))
        assert merge([tmp_path / "a"], into).predictions == 0

    def test_an_initialisation_that_is_still_being_made_is_left_where_it_is(
        self, tmp_path: Path, into: Workspace
    ) -> None:
        source = workspace(tmp_path / "a")
        folder = initialised(source)
        folder.rename(folder.with_name(f"{folder.name}.partial"))
        merged = merge([tmp_path / "a"], into)
        assert (merged.initialisations, merged.damaged) == (0, [])

    def test_other_weights_under_one_key_are_a_conflict_and_the_first_stay(
        self, tmp_path: Path, into: Workspace
    ) -> None:
        ours = initialised(into, b"ours")
        initialised(workspace(tmp_path / "a"), b"theirs")
        (conflict,) = merge([tmp_path / "a"], into).conflicts
        assert f"other weights than in initialisations/{ours.name}" in conflict
        assert load_file(ours / "encoder.safetensors")["weight"].tobytes() == b"ours"

    def test_the_same_weights_under_an_old_digest_of_files_are_no_conflict(
        self, tmp_path: Path, into: Workspace
    ) -> None:
        initialised(into, old=True)
        initialised(workspace(tmp_path / "a"))
        merged = merge([tmp_path / "a"], into)
        assert (merged.conflicts, merged.damaged) == ([], [])

    def test_a_results_folder_has_only_records_and_they_come_along(self, tmp_path: Path, into: Workspace) -> None:
        write_json(tmp_path / "results" / "cells" / f"{KEY}.json", {"schema": 1, **done()})
        assert merge([tmp_path / "results"], into).added == 1


class TestTables:
    def path(self, at: Path) -> Path:
        (path,) = (at / "cells").glob(f"{KEY}.cases-*.parquet")
        return path

    def test_tables_come_along(self, tmp_path: Path, into: Workspace) -> None:
        workspace(tmp_path / "a", done(curves=[{"stage": "fine-tune", "step": 5, "train": {"loss": 0.1}}]))
        merge([tmp_path / "a"], into)
        assert Ledger(into).tables(KEY).case_rows(KEY) == done()["cases"]
        assert Ledger(into).curves(KEY) == [{"stage": "fine-tune", "step": 5, "train": {"loss": 0.1}}]

    def test_a_record_without_its_table_is_left_out(self, tmp_path: Path, into: Workspace) -> None:
        workspace(tmp_path / "a", done())
        self.path(tmp_path / "a").unlink()
        (message,) = merge([tmp_path / "a"], into).damaged
        assert "its cases are not there" in message

    def test_a_table_with_another_content_is_left_out(self, tmp_path: Path, into: Workspace) -> None:
        workspace(tmp_path / "a", done())
        workspace(tmp_path / "b", {**done(), "cases": [{"case": "b", "score": 0.5}]})
        self.path(tmp_path / "a").write_bytes(self.path(tmp_path / "b").read_bytes())
        (message,) = merge([tmp_path / "a"], into).damaged
        assert "it holds another content than its record names" in message
        assert list(Ledger(into).records()) == []

    def test_records_of_schema_1_and_2_with_the_same_cases_agree(self, tmp_path: Path, into: Workspace) -> None:
        outputs = {"store": "1" * 64, "predictions": "2" * 64}
        workspace(into.root, done(outputs={"store": "3" * 64}))
        write_json(tmp_path / "old" / "cells" / f"{KEY}.json", {"schema": 1, **done(outputs=outputs)})
        merged = merge([tmp_path / "old"], into)
        assert (merged.known, merged.conflicts, merged.damaged) == (1, [], [])

    def test_a_table_name_from_elsewhere_is_no_path(self, tmp_path: Path, into: Workspace) -> None:
        cases = {"cases": {"rows": 1, "sha256": "../../../../x"}}
        record = {key: value for key, value in done().items() if key != "cases"}
        write_json(tmp_path / "a" / "cells" / f"{KEY}.json", {"schema": 2, **record, "tables": cases})
        assert len(merge([tmp_path / "a"], into).damaged) == 1


class TestUsage:
    def test_a_folder_without_cells_is_refused_before_anything_is_copied(self, tmp_path: Path, into: Workspace) -> None:
        workspace(tmp_path / "a", done())
        with pytest.raises(UsageError, match="no cells here"):
            merge([tmp_path / "a", tmp_path / "nothing"], into)
        assert not into.root.exists()

    def test_a_workspace_is_not_merged_into_itself(self, into: Workspace) -> None:
        workspace(into.root, done())
        with pytest.raises(UsageError, match="is the workspace to merge into"):
            merge([into.root], into)
