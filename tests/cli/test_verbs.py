"""What all commands have: examples that work, -q and -v, --version, completion, and JSON of facts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml

from sg_bench import __version__, resources
from sg_bench.cli import app, completion
from sg_bench.planning import plan
from sg_bench.planning.schemas import suite_schema, task_schema
from sg_bench.suite import load_suite
from sg_bench.workspace import check_writable
from tests.cli.conftest import Ask, finish, write
from tests.ray_configs.commands import parse, words

ROOT = Path(__file__).resolve().parents[2]


def commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        inner = hasattr(command, "commands")
        yield from commands(command, f"{path}{name} ") if inner else [(f"{path}{name}", command)]


ALL = dict(commands(typer.main.get_command(app)))


def done(**changes: Any) -> str:
    """Write a suite of two cells that are done, and return its file."""
    base = {"extends": "demo", "name": "mine", "methods": ["scratch"], "tasks": ["ncs[data=phantom]"]}
    name = write({**base, "fine_tuning_seeds": [0, 1], "checks": [], **changes})
    finish(plan(load_suite(name), {}))
    return name


class TestHelp:
    @pytest.mark.parametrize("name", ALL)
    def test_every_command_has_two_examples_that_the_command_line_accepts(self, name: str) -> None:
        lines = [line for line in (ALL[name].epilog or "").splitlines() if line.startswith("sg-bench ")]
        assert len(lines) >= 2
        for line in lines:
            assert line.startswith(f"sg-bench {name}")
            parse(words(line))

    @pytest.mark.parametrize("name", ALL)
    def test_every_command_has_quiet_and_verbose(self, name: str) -> None:
        options = {option for parameter in ALL[name].params for option in parameter.opts}
        assert {"-q", "--quiet", "-v", "--verbose"} <= options

    def test_the_version_is_printed(self, ask: Ask) -> None:
        assert ask("--version").out == f"sg-bench {__version__}\n"


class TestVerbosity:
    def test_quiet_prints_results_alone(self, ask: Ask, tables_only: None) -> None:
        name = done()
        loud, quiet = ask("run", "--suite", name), ask("run", "--suite", name, "-q")
        assert "Nothing to compute" in loud.err
        assert "Nothing to compute" not in quiet.err
        assert quiet.out == loud.out

    def test_verbose_prints_where_an_error_came_from(self, ask: Ask) -> None:
        assert "Traceback" not in ask("plan", "--suite", "gone").err
        answer = ask("plan", "--suite", "gone", "-v")
        assert "Traceback" in answer.err
        assert answer.err.splitlines()[-1].startswith("Usage: unknown suite 'gone'")
        assert answer.code == 2


class TestCompletion:
    def test_suites_methods_and_tasks_are_completed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        write("name: a", "demolition.yaml")
        assert {"demo", "demo-today", "demolition.yaml"} <= set(completion.suites("demo"))
        assert completion.methods("scratch,rota") == ["scratch,rotation"]
        assert completion.tasks("nc") == [name for name in resources.task_cards() if name.startswith("nc")]

    def test_the_shell_gets_proposals(self) -> None:
        environment = {
            **os.environ,
            "_SG_BENCH_COMPLETE": "complete_bash",
            "COMP_WORDS": "sg-bench pla",
            "COMP_CWORD": "1",
        }
        code = "import sys; sys.argv[0] = 'sg-bench'; from sg_bench.cli import main; main()"
        found = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        assert found.stdout.split() == ["plan"], found.stderr


@pytest.mark.usefixtures("tables_only")
class TestJson:
    def of(self, ask: Ask, *arguments: str) -> Any:
        return json.loads(ask(*arguments, "--json").out)

    def test_lists(self, ask: Ask) -> None:
        rows = self.of(ask, "list", "methods")["methods"]
        assert {"name": "scratch", "summary": rows[[r["name"] for r in rows].index("scratch")]["summary"]} in rows
        assert self.of(ask, "list", "published", "semantic_genesis_2020")["rows"]
        assert {row["name"] for row in self.of(ask, "weights", "list")["weights"]} >= {"imagenet"}

    def test_what_stands_in_the_ledger(self, ask: Ask) -> None:
        name = done()
        written = self.of(ask, "report", "--suite", name)
        assert written == {
            "cells": {"done": 2, "failed": 0, "to_compute": 0, "missing": 0},
            "report": "results/mine",
            "exit_code": 0,
        }
        titles = [
            section["title"]
            for section in self.of(ask, "explain", "scratch/ncs/0/0", "--work", ".sg-bench")["sections"]
        ]
        assert titles[:2] == ["Cell", "Scores"]
        compared = self.of(ask, "compare", "results/mine", "results/mine")
        assert compared["exit_code"] == 0
        assert [(line["method"], line["verdict"]) for line in compared["lines"]] == [("scratch", "consistent")]
        merged = self.of(ask, "merge", "results/mine", "--into", "there")
        assert (merged["added"], merged["conflicts"]) == (2, [])

    def test_power(self, ask: Ask) -> None:
        assert self.of(ask, "power", "--n", "10")["detectable_d"] == pytest.approx(1.325, abs=0.001)
        found = self.of(ask, "power", "--suite", done(methods=["scratch", "rotation"]))
        assert [row["method"] for row in found["methods"]] == ["rotation"]

    def test_an_audit_names_pairs(self, ask: Ask) -> None:
        found = self.of(ask, "audit", "--suite", done(methods=["rotation"]))
        assert {"corpus", "task", "part", "cases", "not_compared"} == set(found["pairs"][0])


class TestWorkspace:
    def test_one_that_cannot_be_written_is_refused_before_anything_is_computed(
        self, ask: Ask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(**_: Any) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("sg_bench.workspace.files.tempfile.TemporaryFile", fail)
        monkeypatch.setattr("sg_bench.cli.run._compute", lambda *_, **__: pytest.fail("it was computed"))
        base = {"extends": "demo", "name": "mine", "methods": ["scratch"], "tasks": ["ncs[data=phantom]"]}
        answer = ask("run", "--suite", write({**base, "checks": []}))
        assert answer.code == 2
        assert "cannot be written: Permission denied" in answer.err.splitlines()[-1]

    def test_a_folder_is_made_and_left_empty(self, tmp_path: Path) -> None:
        check_writable(tmp_path / "deep" / "work", "--work")
        assert not list((tmp_path / "deep" / "work").iterdir())


class TestSchema:
    def test_every_suite_and_card_of_the_project_is_valid(self) -> None:
        suites = [*resources.suites().values(), *ROOT.glob("examples/*/suite.yaml"), ROOT / "ray_configs/laptop.yaml"]
        cards = [*resources.task_cards().values(), *ROOT.glob("examples/*/task.yaml")]
        for schema, paths in ((suite_schema(), suites), (task_schema(), cards)):
            jsonschema.Draft202012Validator.check_schema(schema)
            validator = jsonschema.Draft202012Validator(schema)
            assert len(paths) > 5
            for path in paths:
                errors = [each.message[:200] for each in validator.iter_errors(yaml.safe_load(path.read_text()))]
                assert errors == [], path

    @pytest.mark.parametrize(
        ("content", "where"),
        [
            ({"extends": "demo", "wdth": 3}, "wdth"),
            ({"extends": "demo", "methods": ["scrath"]}, "scrath"),
            ({"extends": "demo", "methods": [{"name": "rotation", "config": {"crps": {}}}]}, "crps"),
            ({"extends": "demo", "network": "unet4d"}, "unet4d"),
            ({"extends": "demo", "fine_tuning": {"stps": 3}}, "stps"),
            ({"extends": "demo", "fine_tuning_seeds": {}}, "{}"),
        ],
    )
    def test_what_is_misspelt_is_found(self, content: Any, where: str) -> None:
        errors = list(jsonschema.Draft202012Validator(suite_schema()).iter_errors(content))
        assert errors
        assert any(where in error.message for error in errors)

    def test_settings_are_described(self) -> None:
        schema = suite_schema()
        assert schema["properties"]["claims"]["description"].startswith("What the suite argues")
        assert re.match("Weight|Channels", schema["properties"]["width"]["description"])

    def test_the_command_writes_both_files_and_prints_one(self, ask: Ask) -> None:
        ask("schema", "--out", "there")
        assert json.loads(Path("there/task.schema.json").read_text()) == task_schema()
        assert json.loads(ask("schema", "suite").out) == suite_schema()
