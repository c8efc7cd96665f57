"""The command line answers at once, in one line where something is wrong, and writes nothing half."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sg_bench.cli.selection import select, split_list
from sg_bench.digests import write_sealed
from sg_bench.ledger import Ledger
from sg_bench.planning import Plan
from sg_bench.workspace import Workspace
from tests.cli.conftest import Answer, Ask, finish, write

VERBS = ("run", "plan", "status", "report", "list")
HEAVY = ("matplotlib", "monai", "pandas", "ray", "scipy", "sklearn", "torch", "torchio")
SUITE: dict[str, Any] = {
    "corpora": {"3d": {"name": "phantom", "source": "phantom"}},
    "methods": ["scratch"],
    "tasks": ["ncs[data=phantom]"],
    "fine_tuning_seeds": "0-1",
}
CARD: dict[str, Any] = {
    "name": "scans",
    "title": "Scans",
    "kind": "segmentation",
    "loss": "dice",
    "headline": "dice_case",
    "target": [1],
    "data": {"name": "scans", "source": "folder", "config": {"labels": "labels/{id}.nii"}},
    "sampling": {"places": "foreground", "patch": [16, 16, 8]},
}


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60)


def suite(**changes: Any) -> str:
    return write({**SUITE, **changes})


def with_scans() -> str:
    write(CARD, "card.yaml")
    return suite(tasks=["card.yaml", "ncs[data=phantom]"])


def planned(name: str) -> Plan:
    return select(name).plan


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


class TestHelp:
    @pytest.mark.parametrize("verb", VERBS)
    def test_every_verb_explains_itself(self, ask: Ask, verb: str) -> None:
        answer = ask(verb, "--help")
        assert answer.code == 0
        assert verb in answer.out

    def test_no_verb_is_a_question_for_help(self, ask: Ask) -> None:
        answer = ask()
        assert answer.code == 0
        assert all(verb in answer.out for verb in VERBS)

    def test_help_shows_the_brackets_of_a_variant(self, ask: Ask) -> None:
        assert "ncs[steps=80]" in "".join(ask("report", "--help").out.replace("│", "").split())

    def test_help_tells_the_exit_codes(self, ask: Ask) -> None:
        assert "3 data missing" in ask("--help").out

    @pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["list", "suites"], ["plan", "--suite=demo"]])
    def test_it_imports_nothing_heavy(self, arguments: list[str], tmp_path: Path) -> None:
        code = (
            "import sys; from sg_bench.cli import main\n"
            f"sys.argv = ['sg-bench', *{arguments!r}]\n"
            "try: main()\n"
            "except SystemExit as done: code = done.code or 0\n"
            f"print('LOADED', code, *[name for name in {HEAVY!r} if name in sys.modules])"
        )
        assert python("-c", code).stdout.splitlines()[-1] == "LOADED 0"

    def test_the_package_is_the_program(self) -> None:
        done = python("-m", "sg_bench", "list", "suites")
        assert (done.returncode, done.stderr) == (0, "")
        assert "demo" in done.stdout

    def test_the_packages_refusals_are_one_line_too(self) -> None:
        done = python("-m", "sg_bench", "plan", "--suite", "demmo")
        Answer(done.returncode, done.stdout, done.stderr).refused("unknown suite 'demmo'. Did you mean 'demo'?")


class TestList:
    @pytest.mark.parametrize(
        ("what", "names"),
        [
            ("methods", ["scratch", "semantic_genesis"]),
            ("networks", ["unet3d", "vit"]),
            ("tasks", ["ncc", "dxc"]),
            ("suites", ["demo", "targets"]),
        ],
    )
    def test_each_name_has_a_line(self, ask: Ask, what: str, names: list[str]) -> None:
        answer = ask("list", what)
        assert answer.code == 0
        assert {line.split()[0] for line in answer.out.splitlines()} >= set(names)

    def test_a_publication_is_printed_in_the_papers_form(self, ask: Ask) -> None:
        answer = ask("list", "published", "semantic_genesis_2020")
        assert answer.code == 0
        assert "| Semantic Genesis 3D | 98.46 ± 0.30 | 77.33 ± 0.52 | 86.53 ± 1.30 | 68.82 ± 0.38 |" in answer.out
        ask("list", "published", "semantic_genesis_2021").refused("Did you mean 'semantic_genesis_2020'?")
        ask("list", "tasks", "ncs").refused("'ncs' is one name too many")

    def test_anything_else_is_refused_with_what_can_be_listed(self, ask: Ask) -> None:
        ask("list", "things").refused("'things'", "'methods', 'networks', 'tasks', 'suites'", "sg-bench list --help")


class TestPlan:
    def test_it_counts_and_writes_nothing(self, ask: Ask, tmp_path: Path) -> None:
        answer = ask("plan", "--suite", "demo")
        assert answer.code == 0
        assert "cells" in answer.out
        assert everything(tmp_path) == set()

    @pytest.mark.parametrize(("name", "code"), [("demo-today", 0), ("today", 3)])
    def test_todays_methods_are_planned_on_the_phantom_and_on_data_that_are_there(
        self, ask: Ask, name: str, code: int
    ) -> None:
        assert ask("plan", "--suite", name).code == code

    def test_data_that_are_missing_are_named_with_the_option_and_exit_with_3(self, ask: Ask) -> None:
        answer = ask("plan", "--suite", with_scans())
        assert answer.code == 3
        assert "MISSING: no folder given for the data 'scans'. Add --data scans=PATH" in answer.out

    @pytest.mark.parametrize("data", ["gone", "file", "empty"])
    def test_data_that_are_not_where_the_option_says_exit_with_3(self, ask: Ask, tmp_path: Path, data: str) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "file").touch()
        answer = ask("plan", "--suite", with_scans(), "--data", f"scans={data}")
        assert answer.code == 3
        assert f"MISSING: {tmp_path / data}: " in answer.out


class TestSelection:
    def test_a_method_is_chosen_by_its_label_or_name_with_the_suites_settings(self, ask: Ask) -> None:
        labelled = [{"name": "scratch", "label": "wide", "config": {"width": 64}}]
        name = suite(methods=labelled)
        for chosen in ("wide", "scratch", "wide,scratch"):
            (method,) = select(name, methods=chosen).plan.suite.methods
            assert (method.title, method.config) == ("wide", {"width": 64})

    def test_a_method_that_the_suite_lacks_can_be_added(self, ask: Ask) -> None:
        assert {c.method for c in select(suite(), methods="models_genesis").plan.cells} == {"models_genesis"}

    def test_the_demo_can_be_narrowed_to_any_one_method(self, ask: Ask) -> None:
        whole = {cell.key for cell in planned("demo").cells}
        for method in ("scratch", "models_genesis", "semantic_genesis"):
            assert {cell.key for cell in select("demo", methods=method).plan.cells} < whole

    @pytest.mark.parametrize("chosen", ["scans", "card.yaml", "scans,card.yaml"])
    def test_a_task_is_chosen_by_its_name_or_card(self, ask: Ask, chosen: str) -> None:
        assert [task.name for task in select(with_scans(), tasks=chosen).plan.tasks] == ["scans"]

    def test_variants_are_chosen_by_name_or_one_by_one(self, ask: Ask) -> None:
        name = suite(tasks=["ncs[data=phantom]", "ncs[steps=8,data=phantom]", "lcs[data=phantom]"])
        assert len(select(name, tasks="ncs").plan.tasks) == 2
        assert len(select(name, tasks="ncs[data=phantom,steps=8]").plan.tasks) == 1
        assert [t.label for t in select(name, tasks="ncs[data=phantom,steps=9],lcs").plan.tasks] == [
            "ncs[data=phantom,steps=9]",
            "lcs[data=phantom]",
        ]

    def test_a_variant_of_the_suites_own_card_is_chosen_by_its_name(self, ask: Ask) -> None:
        with_scans()
        answer = ask("plan", "--suite", "mine.yaml", "--tasks", "scans[steps=4]")
        assert "scans[steps=4]" in answer.out
        assert "no folder given for the data 'scans'" in answer.out

    def test_a_task_misspelt_is_sought_among_the_suites_own_cards_too(self, ask: Ask) -> None:
        with_scans()
        ask("plan", "--suite", "mine.yaml", "--tasks", "scan").refused("unknown task 'scan'", "Did you mean 'scans'")

    def test_a_card_given_by_path_is_found_from_here(self, ask: Ask, tmp_path: Path) -> None:
        write(CARD, "card.yaml")
        assert [task.name for task in select("demo", tasks="./card.yaml").plan.tasks] == ["scans"]

    def test_leaving_out_the_task_of_the_corpus_leaves_the_keys(self, ask: Ask, tmp_path: Path) -> None:
        for folder in ("images", "labels"):
            (tmp_path / "scans" / folder).mkdir(parents=True)
            (tmp_path / "scans" / folder / "1.nii").touch()
        with_scans()
        name = suite(
            tasks=["card.yaml", "ncs[data=phantom]"], corpora={"3d": {"task": "scans"}}, methods=["models_genesis"]
        )
        whole = select(name, data=["scans=scans"]).plan
        part = select(name, data=["scans=scans"], tasks="ncs").plan
        assert {c.key for c in part.cells} == {c.key for c in whole.cells if c.task == "ncs[data=phantom]"}
        assert len(part.cells) == 2

    def test_a_seed_named_twice_counts_once(self, ask: Ask) -> None:
        assert select(suite(), seeds="0-2,1").plan.suite.fine_tuning_seeds == [0, 1, 2]

    def test_commas_in_brackets_do_not_separate(self) -> None:
        assert split_list("a, b[c=1,d=2] ,,e") == ["a", "b[c=1,d=2]", "e"]


class TestStatus:
    def test_cells_to_compute_exit_with_1_and_all_done_with_0(self, ask: Ask) -> None:
        name = suite()
        assert (ask("status", "--suite", name).code, "2 to compute" in ask("status", "--suite", name).out) == (1, True)
        finish(planned(name))
        answer = ask("status", "--suite", name)
        assert answer.code == 0
        assert "2 done" in answer.out

    @pytest.mark.parametrize(("kind", "code"), [("method", 1), ("infrastructure", 1), ("data", 3)])
    def test_a_failed_cell_exits_by_who_is_to_blame(self, ask: Ask, kind: str, code: int) -> None:
        name = suite()
        finish(planned(name), "failed", kind)
        answer = ask("status", "--suite", name, "--why")
        assert answer.code == code
        assert "2 failed" in answer.out
        assert "it broke" in answer.out

    def test_why_names_the_setting_that_differs(self, ask: Ask) -> None:
        name = suite()
        finish(planned(name))
        answer = ask("status", "--suite", name, "--why", "--set", "fine_tuning.batch_size=3")
        assert "scratch on ncs[data=phantom], seeds 0/0: not computed" in answer.out
        assert "task.training.batch_size: 16 -> 3" in answer.out

    def test_why_tells_of_missing_data_and_of_an_empty_ledger(self, ask: Ask) -> None:
        answer = ask("status", "--suite", with_scans(), "--why")
        assert "scratch on scans, seeds 0/0: no folder given" in answer.out
        assert "scratch on ncs[data=phantom], seeds 0/0: not computed; no finished cell to compare with" in answer.out

    def test_a_damaged_record_stays_where_it_is_and_its_cell_is_to_be_computed(
        self, ask: Ask, caplog: pytest.LogCaptureFixture
    ) -> None:
        name = suite()
        finish(planned(name))
        path = Workspace.default().path("cells", f"{planned(name).cells[0].key}.json")
        path.write_text("{")
        answer = ask("status", "--suite", name)
        assert answer.code == 1
        assert "1 done, 1 to compute" in answer.out
        assert f"Skipped: {path} is damaged: " in caplog.text
        assert path.read_text() == "{"
        assert not (Workspace.default().root / "damaged").exists()


@pytest.mark.usefixtures("tables_only")
class TestReport:
    def test_what_is_done_is_printed_and_written(self, ask: Ask, tmp_path: Path) -> None:
        name = suite()
        finish(planned(name))
        answer = ask("report", "--suite", name, "--out", "there")
        assert answer.code == 0
        assert (tmp_path / "there/tables/main.md").is_file()
        assert len(list((tmp_path / "there/cells").glob("*.json"))) == 2

    def test_it_goes_under_results_by_the_suites_name(self, ask: Ask, tmp_path: Path) -> None:
        ask("report", "--suite", suite(name="other"))
        assert (tmp_path / "results/other/tables/main.md").is_file()

    def test_a_workspace_without_its_cells_leaves_an_earlier_report_alone(self, ask: Ask, tmp_path: Path) -> None:
        name = suite()
        finish(planned(name))
        ask("report", "--suite", name)
        before = {path: path.read_bytes() for path in (tmp_path / "results").rglob("*") if path.is_file()}
        answer = ask("report", "--suite", name, "--work", "elsewhere")
        assert answer.code == 1
        assert "Kept as it was: the report in results/mine" in answer.err
        assert {path: path.read_bytes() for path in (tmp_path / "results").rglob("*") if path.is_file()} == before

    def test_figures_are_drawn_as_pdf_where_that_is_asked_for(self, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
        name, drawn = suite(), list[tuple[str, Path]]()
        finish(planned(name))
        monkeypatch.setattr("sg_bench.reporting.figures.plots", lambda *_, **__: ["a figure"])
        monkeypatch.setattr("sg_bench.reporting.figures.save_for_paper", lambda *given: drawn.append(given))
        ask("report", "--suite", name)
        assert drawn == []
        assert "figures/paper" in ask("report", "--suite", name, "--pdf").err
        assert drawn == [("a figure", Path("results/mine/figures/paper"))]

    def test_cells_that_stand_on_different_contents_are_told(self, ask: Ask) -> None:
        name = suite()
        finish(planned(name))
        for number, job in enumerate(planned(name).of_kind("cell")):
            path = Workspace.default().path("cells", f"{job.key}.json")
            write_sealed(path, {**json.loads(path.read_text()), "outputs": {"store": str(number)}})
        assert "Conflict: these cells stand on different outputs of one recipe: store " in (
            ask("report", "--suite", name).out
        )

    def test_a_conflict_is_told(self, ask: Ask) -> None:
        name = suite()
        finish(planned(name))
        job = planned(name).of_kind("cell")[0]
        ledger = Ledger(Workspace.default())
        ledger.put({**json.loads(json.dumps(ledger.get(job.key))), "metrics": {"iou_bin": 0.6}})
        assert f"Conflict: a cell was computed again with another outcome: cells/{job.key}" in (
            ask("report", "--suite", name).out
        )


@pytest.mark.usefixtures("tables_only")
class TestRun:
    def test_when_all_is_done_it_computes_nothing_and_says_so(self, ask: Ask) -> None:
        name = suite()
        finish(planned(name))
        answer = ask("run", "--suite", name)
        assert answer.code == 0
        assert "Nothing to compute" in answer.err

    def test_when_all_data_are_missing_it_says_which_and_exits_with_3(self, ask: Ask, tmp_path: Path) -> None:
        with_scans()
        answer = ask("run", "--suite", suite(tasks=["card.yaml"]))
        assert answer.code == 3
        assert "Missing: no folder given for the data 'scans'. Add --data scans=PATH" in answer.err
        assert not (tmp_path / ".sg-bench").exists()

    def test_a_cell_that_its_method_failed_is_not_computed_again_and_exits_with_1(self, ask: Ask) -> None:
        name = suite()
        finish(planned(name), "failed")
        answer = ask("run", "--suite", name)
        assert answer.code == 1
        assert "Failed (method): it broke" in answer.err

    def test_an_output_folder_that_cannot_be_made_is_told_before_anything_is_computed(
        self, ask: Ask, tmp_path: Path
    ) -> None:
        write("kept", "file")
        answer = ask("run", "--suite", suite(), "--out", "file")
        assert answer.code == 1
        assert answer.err.startswith("Error: file: File exists. Check --work, --out and --data")
        assert not (tmp_path / ".sg-bench").exists()

    @pytest.mark.parametrize("work", ["s3://bucket/place", "s3://bucket/place/deep"])
    def test_a_report_is_not_kept_where_the_workspace_is(self, ask: Ask, work: str) -> None:
        answer = ask("report", "--suite", suite(), "--work", work, "--out", "s3://bucket/place/")
        answer.refused(f"--out s3://bucket/place holds the workspace {work}")

    def test_an_interruption_is_told_with_what_to_do(self, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("sg_bench.cli.run._compute", interrupt)
        monkeypatch.setattr(os, "_exit", sys.exit)  # of this process, which has other tests to run
        answer = ask("run", "--suite", suite())
        assert answer.code == 130
        assert answer.err.splitlines()[-1].startswith("Interrupted. Nothing finished is lost")


BAD: list[tuple[list[str], list[str]]] = [
    (["--suite", "demmo"], ["unknown suite 'demmo'", "Did you mean 'demo'"]),
    (["--suite", "gone.yaml"], ["gone.yaml: cannot be read"]),
    (["--suite", "."], ["unknown suite '.'", "ends in .yaml"]),
    (["--suite", ""], ["unknown suite ''"]),
    (["--suite"], ["--suite", "requires an argument"]),
    (["--methods", "scrath"], ["unknown method 'scrath'", "Did you mean 'scratch'"]),
    (["--methods", ","], ["--methods ','"]),
    (["--tasks", "nccs"], ["unknown task 'nccs'", "Did you mean 'ncs'"]),
    (["--tasks", "ncs["], ["'ncs[' is not a task"]),
    (["--tasks", "ncs[data=phantm]"], ["no variant data=phantm", "Did you mean 'phantom'"]),
    (["--tasks", " "], ["--tasks ' '"]),
    (["--tasks", "./gone.yaml"], ["gone.yaml: cannot be read"]),
    (["--seeds", "4-0"], ["--seeds", "'4-0'", "0-4"]),
    (["--seeds", "x"], ["--seeds", "'x'"]),
    (["--seeds", "0-99999999999999999999"], ["--seeds", "at most 100000"]),
    (["--pretraining-seeds", "1.5"], ["--pretraining-seeds", "'1.5'"]),
    (["--data", "x"], ["--data 'x' is not NAME=PATH"]),
    (["--data", "=y"], ["--data '=y' is not NAME=PATH"]),
    (["--data", "x="], ["--data 'x=' is not NAME=PATH"]),
    (["--data", "x=/"], ["--data x=...", "Known: phantom, phantom-brains, phantom-labelled"]),
    (["--data", "a=1", "--data", "a=2"], ["--data a=... is given twice"]),
    (["--data", "phantom=/"], ["'phantom' reads no folder"]),
    (["--set", "nonsense"], ["--set 'nonsense' is not key=value"]),
    (["--set", "wdth=3"], ["with --set wdth=3: unknown setting 'wdth'", "Did you mean 'width'"]),
    (["--set", "width=abc"], ["'width' = 'abc'"]),
    (["--set", "width=["], ["--set width", "not a YAML value"]),
    (["--set", "fine_tuning.stps=3"], ["'training.stps'", "Did you mean 'steps'"]),
    (["--set", "fine_tuning.optimiser.lr=.inf"], ["'training.optimiser.lr' = inf"]),
    (["--set", "tasks=[]"], ["'tasks' = []"]),
    (["--nonsense"], ["--nonsense", "sg-bench plan --help"]),
    (["extra"], ["extra", "sg-bench plan --help"]),
]


class TestRefusals:
    @pytest.mark.parametrize(("arguments", "parts"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
    def test_bad_input_gets_one_line_and_leaves_nothing(
        self, ask: Ask, tmp_path: Path, arguments: list[str], parts: list[str]
    ) -> None:
        ask("plan", *arguments).refused(*parts)
        assert everything(tmp_path) == set()

    @pytest.mark.parametrize("verb", ["run", "plan", "status", "report"])
    def test_every_verb_refuses_a_suite_with_a_typo(self, ask: Ask, tmp_path: Path, verb: str) -> None:
        name = suite(fine_tunning={"steps": 3})
        ask(verb, "--suite", name).refused("mine.yaml: unknown setting 'fine_tunning'", "Did you mean 'fine_tuning'")
        assert everything(tmp_path) == {tmp_path / name}

    @pytest.mark.parametrize(
        "arguments", [["--jobs", "0"], ["--jobs", "x"], ["--backend", "rai"], ["--retry-faild"], ["--work"]]
    )
    def test_a_wrong_option_of_run_is_one_line(self, ask: Ask, arguments: list[str]) -> None:
        ask("run", *arguments).refused(arguments[0], "--help")

    def test_an_unknown_verb_is_one_line(self, ask: Ask) -> None:
        ask("frobnicate").refused("frobnicate", "sg-bench --help")

    def test_a_plan_that_cannot_be_made_names_the_suite(self, ask: Ask) -> None:
        ask("plan", "--suite", suite(methods=["scrath"])).refused("suite mine.yaml: unknown method 'scrath'")

    @pytest.mark.parametrize("verb", ["plan", "status", "run", "report"])
    def test_a_file_for_a_workspace_is_one_line(self, ask: Ask, verb: str) -> None:
        write("kept", "file")
        ask(verb, "--suite", suite(), "--work", "file").refused("file", "Not a directory", "--work", code=1)
        assert Path("file").read_text() == "kept"

    def test_a_file_for_an_output_folder_is_one_line(self, ask: Ask) -> None:
        write("kept", "file")
        ask("report", "--suite", suite(), "--out", "file").refused("file", "Not a directory", "--out", code=1)
        assert Path("file").read_text() == "kept"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write anything")
    def test_a_folder_that_may_not_be_written_is_one_line(self, ask: Ask, tmp_path: Path) -> None:
        (tmp_path / "locked").mkdir(mode=0o500)
        ask("report", "--suite", suite(), "--out", "locked/there").refused("Permission denied", code=1)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write anything")
    def test_a_suite_that_may_not_be_read_is_one_line(self, ask: Ask) -> None:
        Path(suite()).chmod(0)
        ask("plan", "--suite", "mine.yaml").refused("mine.yaml: cannot be read (Permission denied)")
