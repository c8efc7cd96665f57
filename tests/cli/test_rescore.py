"""rescore as it is typed: what it prints, its exit codes, and that it needs no torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sg_bench import cli
from sg_bench.cli.selection import select
from sg_bench.ledger import Ledger
from sg_bench.workspace import Workspace
from tests.evaluation.scored_cells import got, put

Ask = Callable[..., tuple[int, str, str]]
WITHOUT_TORCH = """
import sys

class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("monai", "ray", "torch", "torchio"):
            raise ImportError(f"{name} is refused here")

sys.meta_path.insert(0, Refusal())
"""


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Return a function that runs a command in an empty folder and returns its code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SG_BENCH_HOME", raising=False)

    def ask(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sg-bench", "rescore", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return (int(caught.value.code or 0), *capsys.readouterr())

    return ask


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


def test_all_cells_of_a_workspace_are_the_same_and_told_so(ask: Ask, work: Workspace) -> None:
    keys = [put(work), put(work, "dxc"), put(work, "ncc")]
    code, out, err = ask("--work", "work")
    assert (code, err) == (0, "")
    assert sorted(out.splitlines()) == sorted(
        [
            f"scratch/ncs/0/0 {keys[0][:12]}: same",
            f"scratch/dxc/0/0 {keys[1][:12]}: same",
            f"scratch/ncc/0/0 {keys[2][:12]}: same",
            "3 cells scored again: 3 same",
        ]
    )


def test_what_differs_is_told_with_both_values_and_exits_with_1(ask: Ask, work: Workspace) -> None:
    key = put(work, iou_bin=0.25)
    put(work, seed=1)
    code, out, _ = ask("--work", "work")
    assert code == 1
    assert f"scratch/ncs/0/0 {key[:12]}: iou_bin 0.25 -> 0." in out
    assert "2 cells scored again: 1 same, 1 different" in out
    assert got(work, key)["metrics"]["iou_bin"] == 0.25


def test_written_once_it_is_the_same(ask: Ask, work: Workspace) -> None:
    key = put(work, iou_bin=0.25)
    code, out, _ = ask("--work", "work", "--write")
    assert (code, "(written)" in out, "sg-bench report writes them anew" in out) == (0, True, True)
    assert got(work, key)["rescored"][0]["metrics"]["iou_bin"] == 0.25
    assert ask("--work", "work")[:2] == (0, f"scratch/ncs/0/0 {key[:12]}: same\n1 cell scored again: 1 same\n")


def test_missing_predictions_exit_with_3(ask: Ask, work: Workspace) -> None:
    key = put(work)
    work.path("predictions", f"{key}.npz").unlink()
    code, out, _ = ask("--work", "work")
    assert (code, "missing: no predictions at" in out, "1 without predictions" in out) == (3, True, True)


def test_cells_are_chosen_by_key_or_name(ask: Ask, work: Workspace) -> None:
    key = put(work)
    put(work, seed=1)
    put(work, "ncc")
    assert "1 cell scored" in ask(key[:12], "--work", "work")[1]
    assert "2 cells scored" in ask("scratch/ncs", key[:8], "--work", "work")[1]
    code, _, err = ask("scratch/nsc", "--work", "work")
    assert (code, "Did you mean 'scratch/ncs" in err) == (2, True)


def test_the_streamed_metric_is_printed_beside_the_pooled_one_and_never_written(ask: Ask, work: Workspace) -> None:
    key = put(work)
    code, out, _ = ask("--work", "work", "--stream", "2", "--write")
    assert (code, "mean_iou_keras_stream, batches of 2: 0." in out, "(pooled: 0." in out) == (0, True, True)
    assert "mean_iou_keras_stream" not in got(work, key)["metrics"]
    assert ask("--work", "work", "--stream", "0")[0] == 2


def test_a_results_folder_that_has_predictions_is_scored_too(ask: Ask, work: Workspace, tmp_path: Path) -> None:
    put(work)
    for room in ("cells", "predictions"):
        shutil.copytree(work.root / room, tmp_path / "results" / room)
    assert ask("--work", "results")[0] == 0
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["cells", "predictions"]


def test_a_suite_names_its_own_cells_only(ask: Ask, work: Workspace) -> None:
    put(work)
    code, _, err = ask("--suite", "demo-all", "--work", "work")
    assert (code, "none of these cells is finished. sg-bench run computes them" in err) == (2, True)
    cell = select("demo-all", work=work.root).plan.of_kind("cell")[0]
    Ledger(work).put(
        {
            "key": cell.key,
            "status": "done",
            "recipe": cell.recipe.key_content(),
            "metrics": {},
            "cases": [],
            "outputs": {},
        }
    )
    code, out, _ = ask("--suite", "demo-all", "--work", "work")
    assert (code, "1 cell scored again: 1 without predictions" in out) == (3, True)


def test_a_cell_is_looked_for_in_the_suite(ask: Ask, work: Workspace) -> None:
    put(work)
    assert ask("scratch/ncs", "--work", "work")[0] == 0
    code, _, err = ask("scratch/ncs", "--suite", "demo-all", "--work", "work")
    assert (code, "no cell 'scratch/ncs'. Known: none" in err) == (2, True)


def test_options_of_no_suite_and_an_empty_folder_are_refused(ask: Ask) -> None:
    code, _, err = ask("--set", "width=3")
    assert (code, "--set would have no effect without --suite" in err) == (2, True)
    code, out, err = ask()
    assert (code, out, "no cells here" in err) == (2, "", True)


def test_it_runs_where_torch_cannot_be_imported(work: Workspace) -> None:
    put(work)
    put(work, "ncc")
    asked = f"sys.argv = ['sg-bench', 'rescore', '--work', {str(work.root)!r}]"
    code = f"{WITHOUT_TORCH}\n{asked}\nfrom sg_bench.cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, "2 cells scored again: 2 same" in done.stdout) == (0, True), done.stderr
