"""A suite whose workspace is on an S3 server, computed by nodes that have nothing in common but its URL."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sg_bench.workspace.objects import Objects
from tests.e2e.conftest import TINY, Run, fingerprint, tables
from tests.fixtures.s3 import BUCKET, s3_server

PART = ("--methods", "scratch,models_genesis", "--tasks", "tiny_ncc.yaml", "--seeds", "0")
Node = Callable[[str], None]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """Start an S3 server; `node(name)`: what is started from now on runs on a node with a disk of its own."""
    with s3_server() as environment:
        for name, value in {**environment, "SG_BENCH_CHECKPOINT_SECONDS": "0.2"}.items():
            monkeypatch.setenv(name, value)
        yield lambda name: monkeypatch.setenv("SG_BENCH_LOCAL", str(tmp_path / "disk" / name))


@pytest.fixture
def work(node: Node, tmp_path: Path) -> str:
    """An empty place on the server, which all tests of a process share."""
    return f"s3://{BUCKET}/{tmp_path.name}/work"


def stored_cells(work: str) -> dict[str, Any]:
    """Return the stored records by key."""
    stored = Objects(work)
    names = [name for name in stored.files("cells") if name.endswith(".json") and "conflict" not in name]
    return {name.removesuffix(".json"): json.loads(stored.read(f"cells/{name}")) for name in names}


def times(work: str) -> dict[str, int]:
    """Return when each stored record was written."""
    return {name: state.time for name, state in Objects(work).files("cells").items()}


def outcomes(records: dict[str, Any]) -> dict[str, Any]:
    return {key: [record[part] for part in ("metrics", "tables", "outputs")] for key, record in records.items()}


def local_cells(folder: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in (folder / "work" / "cells").glob("*.json")}


@pytest.mark.slow
def test_the_same_cells_are_computed_and_another_node_has_nothing_to_compute(
    finished: Path, sg_bench: Run, node: Node, work: str, tmp_path: Path
) -> None:
    node("one")
    command = ("--suite", TINY, "--work", work, *PART)
    done = sg_bench("run", *command, "--out", work.replace("/work", "/report"), "--jobs", 1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "check deterministic: holds" in done.stdout
    found, there = outcomes(stored_cells(work)), outcomes(local_cells(finished))
    assert len(found) == 2
    assert found == {key: there[key] for key in found}
    before = times(work)
    node("two")
    again = sg_bench("run", *command, "--out", work.replace("/work", "/report"))
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Nothing to compute" in again.stderr
    assert times(work) == before
    assert again.stdout.replace("two", "one") == done.stdout.replace("two", "one")
    place = Objects(work.removesuffix("/work"))
    everything = place.files("", below=True)
    assert {"report/report.html", "report/tables/main.md"} <= everything.keys()
    for name in everything:
        raw = place.read(name)
        assert str(tmp_path).encode() not in raw, name
        assert b"127.0.0.1" not in raw or name.startswith("work/leases"), name


@pytest.mark.slow
def test_a_killed_run_is_resumed_by_another_node_and_no_cell_is_computed_twice(
    finished: Path, sg_bench: Run, start: Any, node: Node, work: str, tmp_path: Path
) -> None:
    node("one")
    command = ("run", "--suite", TINY, "--work", work, "--jobs", 2)
    with start(*command, "--out", tmp_path / "one") as process:
        end = time.monotonic() + 300
        while len(times(work)) < 9 and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    before = times(work)
    node("two")
    done = sg_bench(*command, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert tables(tmp_path) == tables(finished)
    after = times(work)
    assert {name: after[name] for name in before} == before
    assert outcomes(stored_cells(work)) == outcomes(local_cells(finished))

    # An empty node writes the report, and what is damaged is noticed and computed again.
    node("three")
    (tmp_path / "again").mkdir()
    report = sg_bench("report", "--suite", TINY, "--work", work, "--out", tmp_path / "again" / "out")
    assert report.returncode == 0, report.stderr
    assert tables(tmp_path / "again") == tables(finished)
    figures = fingerprint(finished / "out" / "figures").keys()
    assert fingerprint(tmp_path / "again" / "out" / "figures").keys() == figures
    status = sg_bench("status", "--suite", TINY, "--work", work)
    assert status.returncode == 0, status.stdout + status.stderr
    rescored = sg_bench("rescore", "--suite", TINY, "--work", work)
    assert rescored.returncode == 0, rescored.stdout + rescored.stderr

    stored = Objects(work)
    weights = [name for name in stored.files("initialisations", below=True) if name.endswith("encoder.safetensors")]
    records = [name for name in stored.files("cells") if name.endswith(".json")]
    damaged = [f"cells/{records[0]}", *(f"initialisations/{name}" for name in weights)]
    for name in damaged:
        stored.upload(name, stored.read(name)[:-100])
    node("four")
    status = sg_bench("status", "--suite", TINY, "--work", work)
    assert status.returncode == 1
    assert f"Skipped: {work}/cells/{records[0]} is damaged" in status.stderr
    (tmp_path / "mended").mkdir()
    mended = sg_bench(*command, "--out", tmp_path / "mended" / "out")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert "is damaged" in mended.stderr
    assert tables(tmp_path / "mended") == tables(finished)
    assert outcomes(stored_cells(work)) == outcomes(local_cells(finished))


@pytest.mark.slow
def test_two_nodes_at_once_share_the_work_and_end_with_the_same_table(
    finished: Path, start: Any, node: Node, work: str, tmp_path: Path
) -> None:
    command = ("run", "--suite", TINY, "--work", work, "--jobs", 1)
    node("one")
    with start(*command, "--out", tmp_path / "one" / "out") as one:
        node("two")
        with start(*command, "--out", tmp_path / "two" / "out") as two:
            outputs = [process.communicate(timeout=900)[0] for process in (one, two)]
            assert [one.returncode, two.returncode] == [0, 0], outputs
    assert tables(tmp_path / "one") == tables(tmp_path / "two") == tables(finished)
    assert outcomes(stored_cells(work)) == outcomes(local_cells(finished))
    assert not [name for name in Objects(work).files("cells") if "conflict" in name]


pytestmark = pytest.mark.xdist_group("e2e")
