"""Submissions are checked on both sides, and a board compares only what is comparable and names the rest."""

from __future__ import annotations

import hashlib
import re
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest

from sg_bench.config import key_of
from sg_bench.digests import sealed_text, unsealed
from sg_bench.errors import DataError, UsageError
from sg_bench.ledger import Ledger
from sg_bench.reporting.folders import read_evidence
from sg_bench.reporting.leaderboards import (
    Board,
    RunCounts,
    archives,
    open_submissions,
    pack,
    read_archive,
    write_board,
)
from sg_bench.reporting.leaderboards.archives import archive_bytes
from sg_bench.reporting.leaderboards.manifest import MANIFEST
from sg_bench.reporting.leaderboards.private import private_texts
from sg_bench.suite import load_suite
from sg_bench.workspace import Workspace, write_json

SUITE = load_suite("demo-all")
METHODS = {"scratch": 0.70, "rotation": 0.80}
SEEDS = 3


def record(method: str, seed: int, auc: float, *, steps: int = 40, **more: Any) -> dict[str, Any]:
    corpus = None if method == "scratch" else {"store": {"source": "luna16", "manifest": {"cases": 5}}}
    recipe = {
        "kind": "cell",
        "pretraining_seed": 0,
        "fine_tuning_seed": seed,
        "initialisation": {"method": method, "seed": 0, "patterns": None, "corpus": corpus, "config": {"width": 4}},
        "store": {"source": "phantom", "manifest": {"cases": 8}},
        "task": {"name": "ncc", "version": 1, "fraction": 1.0, "training": {"steps": steps}, "headline": "auc"},
    }
    leak = "" if method == "scratch" else "the corpus luna16 holds 1 of 4 test cases (1 by id)"
    return {
        "key": key_of(recipe), "status": "done", "recipe": recipe, "metrics": {"auc": auc}, "headline": "auc",
        "parity": None, "error": None, "leak": leak, "outputs": {}, "cases": [{"case": "p1#0", "score": 0.5}],
        "ran": {"software": {"sg-bench": "0.2.0", "torch": "2.13.0"}}, **more,
    }  # fmt: skip


def results(folder: Path, *, steps: int = 40, gain: float = 0.0, **more: Any) -> Path:
    """Write a folder of records: two methods, three seeds each."""
    (folder / "cells").mkdir(parents=True)
    for method, auc in METHODS.items():
        for seed in range(SEEDS):
            Ledger(Workspace(folder)).put(record(method, seed, auc + gain + seed / 1000, steps=steps, **more))
    write_json(folder / "claims.json", {"demo-all": {"claims": [], "digest": key_of(SUITE.claims)}})
    return folder


def packed(folder: Path, out: Path, **options: Any) -> Path:
    return pack(read_evidence(folder), SUITE, out, results=folder, **options).path


def altered(archive: Path, out: Path, change: Any) -> Path:
    """Write a copy of an archive after a change of its files and its manifest, with correct digests."""
    files = read_archive(archive)
    stated = unsealed(files.pop(MANIFEST))
    change(files, stated)
    stated["files"] = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    out.write_bytes(archive_bytes({**files, MANIFEST: sealed_text(stated).encode()}))
    return out


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two submissions of one setting, and one of another budget."""
    root = tmp_path_factory.mktemp("sent")
    made: dict[str, dict[str, Any]] = {"alice": {}, "bob": {"gain": 0.05}, "carol": {"steps": 80}}
    for name, settings in made.items():
        packed(results(root / "made" / name, **settings), root / f"{name}.zip")
    return root


def test_the_same_results_are_packed_into_the_same_bytes_and_say_what_they_are(sent: Path, tmp_path: Path) -> None:
    again = packed(sent / "made" / "alice", tmp_path / "again.zip")
    assert again.read_bytes() == (sent / "alice.zip").read_bytes()
    stated = unsealed(read_archive(again)[MANIFEST])
    assert stated["tasks"] == {"ncc": {"name": "ncc", "version": 1, "headline": "auc", "data": "phantom"}}
    assert stated["methods"]["rotation"]["pretrained_on"] == ["luna16"]
    assert [(each["source"], each["use"]) for each in stated["data"]] == [
        ("luna16", ["pretraining"]),
        ("phantom", ["task"]),
    ]
    assert "CC BY" in stated["data"][0]["licence"]
    assert stated["versions"] == {"sg-bench": ["0.2.0"], "torch": ["2.13.0"]}


def test_a_path_or_a_name_is_found_with_its_file_and_field_and_nothing_is_written(tmp_path: Path) -> None:
    folder = results(tmp_path / "mine", loaded="from /home/alice/weights/x.pt")
    with pytest.raises(DataError, match=r"cells/\w+\.json, loaded: a path \(/home/alice/weights/x\.pt\)"):
        packed(folder, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()
    assert packed(folder, tmp_path / "out.zip", allowed=["/home/alice/weights/x.pt"]).is_file()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("C:\\Users\\x", "a path"),
        ("s3://bucket/x", "an address of storage"),
        ("a.b@clinic.org", "an address of e-mail"),
        ("node7.local", "the name of a host"),
        ("Muster^Anna", "a person's name as DICOM writes it"),
        ("run by zaphod", "this user's name"),
    ],
)
def test_each_kind_of_private_text_is_found(text: str, what: str) -> None:
    csv = f"key,method\nabc,{text}\n".encode()
    found = private_texts({"tables/scores.csv": csv}, {"zaphod": "this user's name"})
    assert [(each.field, each.what) for each in found] == [("method, row 1", what)]


def test_what_records_hold_otherwise_is_not_private() -> None:
    texts = '["1/6", "1.3.6.1.4.1.14519.5.2.1", "application/json", "2.13.0+cpu", "https://doi.org/10.1/x", "a ^ b"]'
    assert private_texts({"a.json": texts.encode()}, {"zaphod": "this user's name"}) == []


def test_lost_runs_damaged_tables_and_changed_claims_stop_the_packing(tmp_path: Path) -> None:
    folder, out = results(tmp_path / "mine"), tmp_path / "out.zip"
    counts = [RunCounts(method="rotation", task="ncc", planned=9, done=4, failed=0, missing=0)]
    with pytest.raises(DataError, match="rotation on ncc: the report has 4 finished runs, readable records are 3"):
        packed(folder, out, planned=counts)
    write_json(folder / "claims.json", {"demo-all": {"claims": [], "digest": "0" * 64}})
    with pytest.raises(DataError, match="claims of the suite 'demo-all' were changed"):
        packed(folder, out)
    (folder / "claims.json").unlink()
    table = next((folder / "cells").glob("*.parquet"))
    table.write_bytes(table.read_bytes()[:-30] + b"x" * 30)
    with pytest.raises(DataError, match="damaged"):
        packed(folder, out)
    assert not out.exists()


def test_what_was_planned_and_is_not_done_is_named(tmp_path: Path) -> None:
    folder = results(tmp_path / "mine")
    counts = [
        RunCounts(method=name, task="ncc", planned=5, done=SEEDS, failed=1, missing=0)
        for name in ("scratch", "rotation")
    ]
    found = pack(read_evidence(folder), SUITE, tmp_path / "out.zip", results=folder, planned=counts)
    assert found.lacking == [f"{name} on ncc: 1 failed, 1 not run" for name in ("scratch", "rotation")]


def evil(path: Path, name: str, content: bytes = b"{}", mode: int = stat.S_IFREG | 0o644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
        archive.writestr(info, content)
    return path


def test_hostile_archives_are_refused_before_anything_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "evil.zip"
    for name in ("../out.json", "/etc/x.json", "cells/../../x.json", "cells/a.pkl", "manifest.json\n", "run.py"):
        with pytest.raises(DataError, match="which no submission has"):
            read_archive(evil(path, name))
    with pytest.raises(DataError, match="is a link"):
        read_archive(evil(path, MANIFEST, b"/etc/passwd", stat.S_IFLNK | 0o777))
    with pytest.raises(DataError, match="more than"):
        read_archive(evil(path, MANIFEST, b" " * (archives.MAX_JSON + 1)))
    bomb = evil(path, MANIFEST, b" " * 100_000).read_bytes()
    path.write_bytes(bomb.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(DataError):
        read_archive(path)
    monkeypatch.setattr(archives, "MAX_FILES", 0)
    with pytest.raises(DataError, match="holds 1 files"):
        read_archive(evil(path, MANIFEST))


def test_submissions_that_do_not_hold_are_named_with_the_reason(sent: Path, tmp_path: Path) -> None:
    def better(files: dict[str, bytes], stated: dict[str, Any]) -> None:
        name = next(name for name in files if name.endswith(".json") and name.startswith("cells/"))
        files[name] = files[name].replace(b'"auc": 0.', b'"auc": 0.9')

    def impossible(files: dict[str, bytes], stated: dict[str, Any]) -> None:
        name = next(name for name in files if name.endswith(".json") and name.startswith("cells/"))
        files[name] = sealed_text({**unsealed(files[name]), "metrics": {"auc": 1.5}}).encode()

    def counted(files: dict[str, bytes], stated: dict[str, Any]) -> None:
        stated["runs"][0]["done"] += 1

    def nameless(files: dict[str, bytes], stated: dict[str, Any]) -> None:
        del stated["suite"]

    places = [altered(sent / "alice.zip", tmp_path / f"{each.__name__}.zip", each)
              for each in (better, impossible, counted, nameless)]  # fmt: skip
    (tmp_path / "junk.zip").write_bytes(b"junk")
    (tmp_path / "copy.zip").write_bytes((sent / "alice.zip").read_bytes())
    files = read_archive(sent / "alice.zip")
    (tmp_path / "edited.zip").write_bytes(archive_bytes({**files, "claims.json": b"{}"}))
    places += [tmp_path / "junk.zip", tmp_path / "edited.zip", sent / "alice.zip", tmp_path / "copy.zip"]
    good, bad = open_submissions(places, tmp_path / "scratch")
    assert [each.name.rpartition("-")[0] for each in good] == ["alice"]
    assert "another digest" in bad["better.zip"]
    assert "auc = 1.5 is no value" in bad["impossible.zip"]
    assert "has 3 records, the manifest states 4" in bad["counted.zip"]
    assert "suite: Field required" in bad["nameless.zip"]
    assert "no archive" in bad["junk.zip"]
    assert "claims.json is not the file that the manifest names" in bad["edited.zip"]
    assert bad["copy.zip"] == "it is the same as alice.zip"
    with pytest.raises(UsageError, match="does not exist"):
        open_submissions([tmp_path / "absent"], tmp_path / "other")


def test_a_board_compares_within_a_setting_and_says_what_differs_between_settings(sent: Path, tmp_path: Path) -> None:
    good, bad = open_submissions([sent], tmp_path / "scratch")
    board = Board.of("Board <b>", good, bad | {"evil.zip": "<script>alert(1)</script>"})
    assert [(group.title, len(group.methods)) for group in board.groups] == [("ncc A", 4), ("ncc B", 2)]
    first = board.groups[0].ordered()[0]
    assert (first[0].label, first[1][0].mean, first[1][0].standing) == ("rotation", "85.10", "best")
    site = tmp_path / "site"
    write_board(board, site)
    index, task = (site / "index.html").read_text(), (site / board.page_of("ncc")).read_text()
    assert "<script" not in index
    assert "Board &lt;b&gt;" in index
    assert "budget" in task
    assert "training.steps" in task
    assert "the corpus luna16 holds 1 of 4 test cases" in (site / "data.html").read_text()
    for page in site.glob("*.html"):
        text = page.read_text()
        landmarks = re.findall(r' aria-label(?:ledby)?="([^"]+)"', text)
        assert len(set(landmarks)) == len(landmarks), page.name
        for link in (each.partition('"')[0] for each in text.split('href="')[1:]):
            name, _, place = link.partition("#")
            if not link.startswith("data:"):
                target = (site / name) if name else page
                assert target.is_file(), link
                assert not place or f'id="{place}"' in target.read_text(), link
    copy = read_archive(next((site / "submissions").glob("alice-*.zip")))
    assert copy == read_archive(sent / "alice.zip")
    write_board(Board.of("Again", good[:1], {}), site)
    assert len(list((site / "submissions").glob("*"))) == 1


def test_a_folder_of_something_else_is_never_replaced(sent: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something else than a board"):
        write_board(Board("Board", [], {}, []), tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
