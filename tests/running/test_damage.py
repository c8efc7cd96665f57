"""What is damaged in a workspace is noticed by the job that reads it, set aside, and computed again by the same run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg_bench.cli.selection import select
from sg_bench.digests import read_sealed
from sg_bench.errors import DamagedError
from sg_bench.ledger import Ledger
from sg_bench.planning import Job, Plan
from sg_bench.running import run
from sg_bench.running.driver import RunSummary
from sg_bench.running.failures import Failure
from sg_bench.running.progress import Progress
from sg_bench.running.schedule import ATTEMPTS, Scheduler
from sg_bench.running.stages.inputs import set_aside
from sg_bench.workspace import Workspace
from tests.running.test_schedule import FakeBackend, job

TINY = Path(__file__).parents[1] / "e2e" / "tiny.yaml"
Damage = Callable[[Path], object]


def planned(work: Path) -> Plan:
    return select(str(TINY), work=work, methods="semantic_genesis", tasks="tiny_ncc.yaml", seeds="0").plan


def computed(work: Path) -> tuple[RunSummary, list[str]]:
    lines: list[str] = []
    return run(planned(work), Workspace(work), backend="local", jobs=1, log=lines.append), lines


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one cell of a method that needs a store, an auto-encoder, patterns and a pretraining."""
    work = tmp_path_factory.mktemp("finished") / "work"
    assert computed(work)[0].failures == ()
    return work


def flip(path: Path, at: float = 0.5) -> None:
    """Invert 4 kB of a file."""
    raw = bytearray(path.read_bytes())
    start = min(int(at * len(raw)), len(raw) - 4096)
    raw[start : start + 4096] = bytes(byte ^ 0xFF for byte in raw[start : start + 4096])
    path.write_bytes(raw)


def zero_sixth(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    start = len(raw) // 3
    raw[start : start + len(raw) // 6] = bytes(len(raw) // 6)
    path.write_bytes(raw)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change(old: str, new: str) -> Damage:
    """Return a function that changes some text of a file."""

    def changed(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return changed


def of_another(path: Path) -> None:
    """Replace a folder's weights by others, which are whole."""
    other = next(p for p in path.parent.parent.glob(f"*/{path.name}") if p.parent != path.parent)
    shutil.copy(other, path)


def without_seal(change_record: Callable[[dict[str, Any]], object]) -> Damage:
    """Return a function that changes a JSON file which then states no digest, as those of older versions."""

    def changed(path: Path) -> None:
        record = read_sealed(path)
        change_record(record)
        path.write_text(json.dumps(record))

    return changed


CELL: tuple[str, ...] = ("cells",)
PRETRAINED = (*CELL, "semantic_genesis")
DISCOVERED = (*PRETRAINED, "patterns")
TABLE: list[tuple[str, str, Damage, tuple[str, ...], set[str]]] = [
    ("semantic_genesis", "encoder.safetensors", flip, CELL, {"pretrain", "fine-tune"}),
    ("semantic_genesis", "encoder.safetensors", cut_off, CELL, {"pretrain", "fine-tune"}),
    ("semantic_genesis", "encoder.safetensors", Path.unlink, CELL, {"pretrain", "fine-tune"}),
    ("semantic_genesis", "encoder.safetensors", of_another, CELL, {"pretrain", "fine-tune"}),
    ("semantic_genesis", "decoder.safetensors", flip, CELL, {"pretrain", "fine-tune"}),
    ("semantic_genesis", "decoder.safetensors", Path.unlink, CELL, {"pretrain", "fine-tune"}),
    ("semantic_genesis", "record.json", cut_off, CELL, {"pretrain", "fine-tune"}),
    ("semantic_genesis", "record.json", change('"seed": 0', '"seed": 1'), CELL, {"pretrain", "fine-tune"}),
    ("semantic_genesis", "record.json", without_seal(lambda r: r.pop("outputs")), CELL, {"pretrain", "fine-tune"}),
    ("autoencoder", "encoder.safetensors", flip, DISCOVERED, {"pretrain", "discover", "fine-tune"}),
    ("patterns", "cubes.npy", flip, PRETRAINED, {"discover", "pretrain", "fine-tune"}),
    ("patterns", "cubes.npy", cut_off, PRETRAINED, {"discover", "pretrain", "fine-tune"}),
    ("patterns", "index.json", change('"label": 1', '"label": 0'), PRETRAINED, {"discover", "pretrain", "fine-tune"}),
    ("store", "*.image.npy", zero_sixth, CELL, {"prepare", "fine-tune"}),
    ("stores", "*.image.npy", flip, DISCOVERED, {"prepare", "pretrain", "discover", "fine-tune"}),
    ("store", "*.image.npy", Path.unlink, CELL, {"prepare", "fine-tune"}),
    ("store", "index.json", change("],true,", "],false,"), CELL, {"prepare", "fine-tune"}),
    ("store", "index.json", cut_off, CELL, {"prepare", "fine-tune"}),
]


def folders(work: Path, name: str) -> list[Path]:
    """Return the stores, the one of the task, the patterns, or the initialisation of a method."""
    if name == "store":
        return [path for path in (work / "stores").iterdir() if any(path.glob("*.label.npy"))]
    if name in ("stores", "patterns"):
        return [path for path in (work / name).iterdir() if path.is_dir()]
    found = (work / "initialisations").iterdir()
    return [path for path in found if read_sealed(path / "record.json")["recipe"]["method"] == name]


def remove(work: Path, name: str) -> None:
    for folder in [work / "cells"] if name == "cells" else folders(work, name):
        shutil.rmtree(folder)


def results(work: Path) -> dict[str, Any]:
    """Return all that a number can depend on: weights, arrays, and what the records hold of the scores."""
    found: dict[str, Any] = {}
    for path in sorted(work.rglob("*")):
        name = str(path.relative_to(work))
        if path.suffix in (".safetensors", ".npy", ".parquet", ".npz") and not name.startswith("damaged"):
            found[name] = path.read_bytes()
    for record in Ledger(Workspace(work)).finished():
        found[record["key"]] = {part: record[part] for part in ("metrics", "outputs", "tables")}
    return found


@pytest.mark.parametrize(
    ("what", "file", "damage", "gone", "again"),
    TABLE,
    ids=lambda value: getattr(value, "__name__", "") if callable(value) else None,
)
def test_damage_is_noticed_set_aside_and_computed_again_by_the_same_run(
    finished: Path, tmp_path: Path, what: str, file: str, damage: Damage, gone: tuple[str, ...], again: set[str]
) -> None:
    work = tmp_path / "work"
    shutil.copytree(finished, work)
    damaged = [path for folder in folders(work, what) for path in folder.glob(file)]
    for path in damaged:
        damage(path)
    left = [path.read_bytes() for path in damaged if path.exists()]
    for name in gone:
        remove(work, name)
    done, lines = computed(work)
    assert done.failures == ()
    assert results(work) == results(finished)
    assert {line.partition(" ")[0] for line in lines if line.endswith(" s)") or "left in this stage" in line} == again
    assert sum("found damage: " in line for line in lines) == len(folders(finished, what))
    assert not any("\n" in line for line in lines)
    kept = [path.read_bytes() for path in (work / "damaged").rglob("*") if path.is_file()]
    assert [content for content in left if content not in kept] == [], "nothing damaged is deleted"
    assert computed(work) == (RunSummary(0, ()), [])


def test_an_array_is_read_for_its_digest_once_a_process_and_only_if_it_is_needed(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sg_bench import digests
    from sg_bench.data.store import Store

    store = tmp_path / "store"
    shutil.copytree(folders(finished, "stores")[0], store)
    read: list[str] = []
    whole = digests.content_digest

    def content_digest(arrays: Any) -> str:
        read.extend(arrays)
        return whole(arrays)

    monkeypatch.setattr(digests, "content_digest", content_digest)
    first, second = Store.open(store).ids[:2]
    for _ in range(3):  # each job opens the store anew
        Store.open(store).image(first)
    assert len(read) == 1
    Store.open(store).image(second)
    assert len(read) == 2
    image = Store.open(store).image(first)
    flip(next(path for path in store.glob("*.image.npy") if np.array_equal(np.load(path), image)))
    with pytest.raises(Exception, match="its content has another digest than in the index"):
        Store.open(store).image(first)


def damaged_input(key: str) -> Failure:
    return Failure("infrastructure", "DamagedError", f"{key} is damaged", "", damaged=key)


def test_what_needs_a_damaged_result_waits_for_it_and_is_no_failure(tmp_path: Path) -> None:
    lines: list[str] = []
    jobs: list[Job] = [job("one", "weights"), job("two", "weights"), job("after two", "two"), job("other")]
    workspace = Workspace(tmp_path)
    progress = Progress(jobs, workspace, lines.append, terminal=False)
    answer: Any = lambda unit: damaged_input("weights") if unit.name == "one" else None  # noqa: E731
    backend = FakeBackend(answer, slots=1)
    found = Scheduler(jobs, backend, workspace, progress).run()
    assert found.done == {"other"}
    assert found.damaged.keys() == {"one", "two", "after two"}
    assert found.failures == {}
    assert backend.started == ["one", "other"]
    assert list(Ledger(workspace).records()) == []
    assert sum("weights is damaged" in line for line in lines) == 1


def test_what_is_damaged_each_time_is_given_up_and_left_to_the_next_run(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, started = tmp_path / "work", []
    shutil.copytree(finished, work)
    remove(work, "cells")

    def damaged(*_: object) -> Failure:
        started.append(1)
        return damaged_input("weights")

    monkeypatch.setattr("sg_bench.running.local.attempt", damaged)
    done, _ = computed(work)
    assert (done.computed, done.failures, len(started)) == (0, ("weights is damaged",), ATTEMPTS)
    (record,) = Ledger(Workspace(work)).records()
    assert record["error"]["kind"] == "infrastructure", "never the method's"


def test_without_waiting_nothing_is_set_aside_that_another_process_has_locked(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    folder = workspace.path("patterns", "ab" * 32)
    folder.mkdir(parents=True)
    (folder / "index.json").write_text("{}")
    error = DamagedError("index.json is damaged", path=folder / "index.json")
    with workspace.lock(folder.name):
        assert set_aside(error, workspace, wait=False) is error
        assert folder.exists()
    assert "set aside as damaged/patterns/" in str(set_aside(error, workspace, wait=False))
    assert not folder.exists()
