"""`--json` of every command: facts on standard output, in one object, and lines for people on standard error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from sg_bench.config import key_of
from sg_bench.networks.published import files, folders
from sg_bench.networks.published.files import StoredWeights
from sg_bench.networks.unet import UNet3D
from sg_bench.networks.weights import save_initialisation, split_state
from sg_bench.workspace import Workspace, write_json
from tests.cli.conftest import Ask, write
from tests.cli.test_verbs import ALL
from tests.running.test_stores import CARD, SUITE

HUB = "https://hub.example.org/me/sg"


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_command_that_prints_facts_has_json(name: str) -> None:
    options = {option for parameter in ALL[name].params for option in parameter.opts}
    assert "--json" in options or name == "schema"  # which prints a JSON Schema


@pytest.fixture
def here(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill the current folder with images, a card, a suite and an initialisation; no address is reached."""
    draw = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (tmp_path / "scans" / kind).mkdir(parents=True)
        for number in range(4):
            image = nib.Nifti1Image(draw.integers(0, 2, (24, 24, 24), dtype=np.uint8), np.eye(4))
            nib.save(image, tmp_path / f"scans/{kind}/{number}.nii")
    write(CARD, "card.yaml")
    write(SUITE)
    recipe = {"kind": "initialisation", "method": "scratch", "config": {"width": 2}, "seed": 3, "corpus": None}
    folder = Workspace.default().path("initialisations", key_of(recipe))
    digest = save_initialisation(folder, *split_state(UNet3D(2)))
    write_json(folder / "record.json", {"recipe": recipe, "outputs": {"initialisation": digest}})
    kept = StoredWeights(Path("a.pth"), "0" * 64, {"name": "imagenet", "bytes": 7})
    monkeypatch.setattr(files, "fetch", lambda *_, **__: kept)
    monkeypatch.setattr(folders, "push", lambda *_, **__: HUB)


CHECK = ("data", "check", "folder", "scans", "--set", "labels=labels/{id}.nii")
CASES: list[tuple[tuple[str, ...], str, dict[str, Any]]] = [
    (
        CHECK,
        "0 errors, 0 warnings",
        {"data": "folder", "cases": 4, "label_maps": 4, "errors": [], "read_seconds": None},
    ),
    (("data", "show", "folder", "scans", "--cases", "1", "--out", "a.png"), "1 cases in a.png", {"file": "a.png"}),
    (("data", "init", "scans"), "Written: scans.task.yaml", {"suite": "scans.suite.yaml", "cases": 4, "warnings": []}),
    (("new", "task", "mine"), "Written: mine.task.yaml", {"card": "mine.task.yaml", "suite": "mine.suite.yaml"}),
    (("new", "method", "mine"), "sg-bench check plugin mine", {"name": "mine", "folder": "sg-bench-mine"}),
    (("weights", "fetch", "imagenet", "--yes"), "imagenet: 000", {"name": "imagenet", "bytes": 7}),
    (("weights", "export", "scratch/3", "b.pt", "--to", "official"), "b.pt, card b.md", {"seed": 3, "card": "b.md"}),
    (
        ("weights", "export", "scratch/3", "sg", "--to", "hub"),
        "in the folder sg",
        {"method": "scratch", "folder": "sg"},
    ),
    (("weights", "push", "sg", "--to", "me/sg"), HUB, {"repository": "me/sg", "address": HUB}),
]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("arguments", "line", "facts"), CASES, ids=[f"{a[0]} {a[1]} {a[-1]}" for a, _, _ in CASES])
def test_facts_are_one_object_and_lines_go_to_standard_error(
    ask: Ask, arguments: tuple[str, ...], line: str, facts: dict[str, Any]
) -> None:
    answer = ask(*arguments, "--json")
    assert answer.out, answer.err
    printed = json.loads(answer.out)
    assert (answer.code, printed["exit_code"]) == (0, 0), answer.err
    assert {name: printed[name] for name in facts} == facts
    assert line in answer.err


def test_data_sets_are_described(ask: Ask) -> None:
    sets = {each["name"]: each for each in json.loads(ask("data", "list", "--json").out)["data_sets"]}
    (luna,) = json.loads(ask("data", "list", "luna16", "--json").out)["data_sets"]
    assert sets["luna16"] == luna
    assert luna["counts"][0] == {"number": 888, "what": "CT scans", "certainty": "verified"}
    assert "task ncc" in luna["used_by"]


@pytest.mark.usefixtures("here")
def test_cases_that_are_left_out_are_named_with_the_exit_code(ask: Ask) -> None:
    Path("scans/images/3.nii").write_bytes(b"x" * 100)
    checked = ask(*CHECK, "--read", "--jobs", "1", "--json")
    assert "images/3.nii: it cannot be read as NIfTI" in json.loads(checked.out)["errors"][0]
    prepared = ask("data", "prepare", "scans", "scans", "--suite", "mine.yaml", "--jobs", "1", "--json")
    (store,) = json.loads(prepared.out)["stores"]
    assert ([each["id"] for each in store["left_out"]], store["cases"], store["error"]) == (["3"], 3, None)
    assert (checked.code, prepared.code, json.loads(prepared.out)["exit_code"]) == (3, 3, 3)
