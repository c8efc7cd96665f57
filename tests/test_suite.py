"""A suite says what is compared; what it may not say is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sg_bench.errors import UsageError
from sg_bench.resources import suites, task_cards
from sg_bench.suite import (
    Suite,
    claims_digest,
    data_sources,
    load_suite,
    parse_seeds,
    parse_setting,
    suite_digest,
    suite_tasks,
)

PHANTOM = "corpora: {3d: {name: phantom, source: phantom}}\n"
PLAIN = f"{PHANTOM}methods: [scratch]\ntasks: [ncs]\n"
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str | bytes, name: str = "mine.yaml") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def refused(reference: str, *parts: str, settings: list[str] | None = None) -> None:
    with pytest.raises(UsageError) as caught:
        load_suite(reference, settings=settings)
    reason = str(caught.value)
    assert "\n" not in reason
    assert caught.value.hint
    assert [part for part in parts if part not in reason] == [], reason


class TestLoading:
    @pytest.mark.parametrize("name", suites())
    def test_every_built_in_suite_loads_under_its_own_name(self, name: str) -> None:
        suite = load_suite(name)
        assert suite.name == name
        assert suite.title

    def test_a_files_name_is_the_suites_unless_it_says_another(self, write: Write) -> None:
        assert load_suite(write(PLAIN)).name == "mine"
        assert load_suite(write(PLAIN + "name: other\n")).name == "other"

    def test_a_method_is_a_name_or_a_name_with_settings(self, write: Write) -> None:
        text = f"{PHANTOM}tasks: [ncs]\nmethods: [scratch, {{name: scratch, label: wide, config: {{width: 8}}}}]\n"
        suite = load_suite(write(text))
        assert [method.title for method in suite.methods] == ["scratch", "wide"]
        assert suite.methods[1].config == {"width": 8}

    def test_windows_marks_and_accents_are_read(self, write: Write) -> None:
        assert load_suite(write("\ufeff" + PLAIN + "title: Ä\r\n")).title == "Ä"


class TestExtends:
    def test_what_is_not_said_is_the_extended_suites(self, write: Write) -> None:
        demo, mine = load_suite("demo"), load_suite(write("extends: demo\nfine_tuning: {steps: 7}\ntasks: [ncs]\n"))
        assert mine.fine_tuning == {**demo.fine_tuning, "steps": 7}
        assert (mine.tasks, mine.methods, mine.discovery) == (["ncs"], demo.methods, demo.discovery)

    def test_a_chain_of_files_is_followed_from_each_files_own_folder(self, write: Write) -> None:
        write(PLAIN + "width: 4\ntitle: base\n", "base/base.yaml")
        write("extends: ../base/base.yaml\nwidth: 8\n", "middle/middle.yaml")
        suite = load_suite(write("extends: middle/middle.yaml\ntitle: top\n"))
        assert (suite.width, suite.title) == (8, "top")

    def test_a_card_beside_the_extended_suite_is_still_found(self, write: Write, tmp_path: Path) -> None:
        write(PLAIN.replace("[ncs]", "[ncs, card.yaml, 'cards/b.yaml[steps=3]']"), "base/base.yaml")
        suite = load_suite(write("extends: base/base.yaml\n"))
        assert suite.tasks == ["ncs", f"{tmp_path}/base/card.yaml", f"{tmp_path}/base/cards/b.yaml[steps=3]"]

    @pytest.mark.parametrize("base", ["mine.yaml", "./mine.yaml", "other.yaml"])
    def test_a_circle_is_refused(self, write: Write, base: str) -> None:
        write("extends: mine.yaml\n", "other.yaml")
        refused(write(f"extends: {base}\n"), ".yaml: extends itself")

    def test_an_unknown_suite_is_named_with_the_file_that_extends_it(self, write: Write) -> None:
        refused(write("extends: demmo\n"), "mine.yaml: extends unknown suite 'demmo'", "Did you mean 'demo'")
        refused(write("extends: gone.yaml\n"), "gone.yaml: cannot be read")
        refused(write("extends: [demo]\n"), "mine.yaml", "['demo']")


class TestMethodsOf:
    def test_another_suites_methods_are_taken_and_nothing_else_of_it(self, write: Write) -> None:
        write(f"{PHANTOM}methods: [scratch, models_genesis]\ntasks: [ncc]\nwidth: 4\n", "rows.yaml")
        suite = load_suite(write("extends: demo\nmethods_of: rows.yaml\n"))
        assert [method.title for method in suite.methods] == ["scratch", "models_genesis"]
        assert suite.tasks == load_suite("demo").tasks
        refused(write("extends: demo\nmethods_of: demmo\n"), "methods_of unknown suite 'demmo'")


class TestUnion:
    PARTS = {
        "a.yaml": "methods: [scratch, {name: scratch, label: wide}]\ntasks: [ncc, ncs]\n",
        "b.yaml": "methods: [scratch, models_genesis]\ntasks: [ncs, dxc]\ntitle: of its own\n",
    }

    @pytest.fixture
    def united(self, write: Write) -> Callable[..., Suite]:
        def load(text: str = "union: [a.yaml, b.yaml]\n", **parts: str) -> Suite:
            for name, content in {**self.PARTS, **{f"{key}.yaml": value for key, value in parts.items()}}.items():
                write(PHANTOM + content, name)
            return load_suite(write(text))

        return load

    def test_it_has_all_methods_and_tasks_once_and_pairs_only_what_a_part_pairs(
        self, united: Callable[..., Suite]
    ) -> None:
        suite = united()
        assert [method.title for method in suite.methods] == ["scratch", "wide", "models_genesis"]
        assert suite.tasks == ["ncc", "ncs", "dxc"]
        paired = {(m.title, task) for m in suite.methods for task in suite.tasks if suite.pairs(m.title, task)}
        assert paired == {
            *(("scratch", task) for task in suite.tasks),
            *(("wide", task) for task in ("ncc", "ncs")),
            *(("models_genesis", task) for task in ("ncs", "dxc")),
        }

    def test_what_no_part_knows_is_paired_with_everything(self, united: Callable[..., Suite]) -> None:
        assert united().pairs("new", "ncc")
        assert united().pairs("wide", "pxs")

    def test_it_says_its_own_title_and_overrides_what_the_parts_share(self, united: Callable[..., Suite]) -> None:
        suite = united("union: [a.yaml, b.yaml]\ntitle: mine\nwidth: 8\n")
        assert (suite.name, suite.title, suite.width) == ("mine", "mine", 8)

    def test_parts_that_differ_in_more_than_titles_are_refused(self, united: Callable[..., Suite]) -> None:
        with pytest.raises(UsageError, match=r"'b.yaml' has another `width` than 'a.yaml'"):
            united(b=self.PARTS["b.yaml"] + "width: 8\n")
        with pytest.raises(UsageError, match="two methods are called 'wide'"):
            united(b="methods: [{name: scratch, label: wide, config: {version: 2}}]\ntasks: [ncs]\n")

    @pytest.mark.parametrize(
        ("text", "part"),
        [
            ("union: [a.yaml]\nextends: b.yaml\n", "either extends one or unites several"),
            ("union: a.yaml\n", "'union' = 'a.yaml' lists no suites"),
            ("union: [demmo]\n", "union unknown suite 'demmo'"),
            ("union: [mine.yaml]\n", "extends itself"),
        ],
    )
    def test_a_mistake_is_named(self, united: Callable[..., Suite], text: str, part: str) -> None:
        with pytest.raises(UsageError, match=part):
            united(text)


class TestSettings:
    def test_a_setting_lies_over_the_file(self, write: Write) -> None:
        suite = load_suite(write(PLAIN), settings=["width=4", "pretraining.training.epochs=3", "tasks=[ncc, lcs]"])
        assert suite.width == 4
        assert suite.pretraining == {"training": {"epochs": 3}}
        assert suite.tasks == ["ncc", "lcs"]

    @pytest.mark.parametrize(
        ("text", "nested"),
        [
            ("a=1", {"a": 1}),
            ("a.b.c=1e3", {"a": {"b": {"c": "1e3"}}}),
            (" a . b =null", {"a": {"b": None}}),
            ("a={b: [1, x=y]}", {"a": {"b": [1, "x=y"]}}),
            ("a=", {"a": None}),
        ],
    )
    def test_a_setting_is_a_dotted_path_and_a_yaml_value(self, text: str, nested: dict[str, Any]) -> None:
        assert parse_setting(text) == nested

    @pytest.mark.parametrize("text", ["nonsense", "=3", "a..b=3", ".a=3", "a.=3", "", "a=[", "a='", "folder=/x"])
    def test_a_malformed_setting_is_refused_by_option(self, text: str) -> None:
        refused("demo", "--set", settings=[text])

    def test_a_wrong_setting_is_told_with_the_option_that_said_it(self, write: Write) -> None:
        refused(write(PLAIN), "mine.yaml with --set width=abc", "'width' = 'abc'", settings=["width=abc"])


class TestBudgets:
    TEXT = PLAIN + "width: 32\ntitle: t\nbudgets: {tiny: {width: 2, fine_tuning: {steps: 3}}, small: {width: 4}}\n"

    def test_without_a_budget_the_suite_is_as_it_stands(self, write: Write) -> None:
        assert load_suite(write(self.TEXT)).width == 32

    def test_a_budgets_settings_lie_over_the_suite_and_under_those_of_the_command(self, write: Write) -> None:
        tiny = load_suite(write(self.TEXT), settings=["budget=tiny"])
        assert (tiny.width, tiny.fine_tuning, tiny.title) == (2, {"steps": 3}, "t")
        reason = load_suite(write(self.TEXT), settings=["fine_tuning.steps=9", "budget=tiny"])
        assert (reason.width, reason.fine_tuning) == (2, {"steps": 9})

    def test_a_file_may_choose_one_and_inherits_what_it_extends(self, write: Write) -> None:
        write(self.TEXT, "base.yaml")
        assert load_suite(write("extends: base.yaml\nbudget: small\n")).width == 4

    def test_an_unknown_budget_suggests_the_nearest(self, write: Write) -> None:
        refused(write(self.TEXT), "no budget 'tny'", "Did you mean 'tiny'", settings=["budget=tny"])
        refused(write(PLAIN), "no budget 'tiny'", "Known: none", settings=["budget=tiny"])


class TestSplits:
    def test_a_suite_replaces_the_split_of_a_card(self, write: Write) -> None:
        reason = "splits: {ncs: {folds: 3, stratify: true, train: 0.8, validation: 0.2}}\n"
        (task,) = suite_tasks(load_suite(write(PLAIN + reason)))
        assert (task.split.folds, task.split.train, task.split.unit) == (3, 0.8, "patients")

    def test_a_split_of_a_task_that_is_not_there_and_one_that_adds_up_to_nothing_are_refused(
        self, write: Write
    ) -> None:
        for reason, part in (("{nccs: {train: 1}}", "no task 'nccs'. Did you mean 'ncs'"), ("{ncs: {}}", "sum to 1")):
            with pytest.raises(UsageError, match=part):
                suite_tasks(load_suite(write(f"{PLAIN}splits: {reason}\n")))


class TestDataSources:
    def test_they_are_those_of_tasks_corpora_and_splits(self) -> None:
        assert data_sources(load_suite("targets")) == {
            name: name for name in ("luna16", "lidc_idri", "lits", "brats2018", "chestxray14", "siim_acr")
        }

    def test_a_split_that_asks_for_other_data_needs_them(self, write: Write) -> None:
        text = PLAIN.replace("[ncs]", "['ncs[split=leak_free]']")
        assert data_sources(load_suite(write(text))) == {
            "phantom": "phantom",
            "lidc_idri": "lidc_idri",
            "luna16": "luna16",
        }


class TestSeeds:
    @pytest.mark.parametrize(
        ("text", "seeds"),
        [("0-4", [0, 1, 2, 3, 4]), ("0,2,7", [0, 2, 7]), ("3", [3]), (3, [3]), ("0 - 1, 5", [0, 1, 5]), ("2-2", [2])],
    )
    def test_seeds_are_ranges_and_lists(self, text: object, seeds: list[int], write: Write) -> None:
        assert parse_seeds(text) == seeds
        assert load_suite(write(PLAIN + f"fine_tuning_seeds: {text}\n")).fine_tuning_seeds == seeds

    @given(st.lists(st.integers(0, 1000), min_size=1))
    def test_seeds_written_out_are_read_back(self, seeds: list[int]) -> None:
        assert parse_seeds(",".join(map(str, seeds))) == seeds

    @pytest.mark.parametrize("text", ["4-0", "-1", "a", "0-", "0,,1", "0-100001", "1.5", "''", "true", "[]", "[-1]"])
    def test_anything_else_is_refused(self, text: str, write: Write) -> None:
        refused(write(PLAIN + f"fine_tuning_seeds: {text}\n"), "mine.yaml", "'fine_tuning_seeds")

    def test_a_seed_named_twice_counts_once(self, write: Write) -> None:
        suite = load_suite(write(PLAIN + "fine_tuning_seeds: 0-2,1\npretraining_seeds: [3, 3]\n"))
        assert (suite.fine_tuning_seeds, suite.pretraining_seeds) == ([0, 1, 2], [3])


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("fine_tunning: {steps: 3}", ["unknown setting 'fine_tunning'", "Did you mean 'fine_tuning'"]),
            ("methods: [{name: scratch, labl: x}]", ["'methods.0.labl'", "Did you mean 'label'"]),
            ("corpora: {3d: {name: a, source: b, valdation: 0.1}}", ["'corpora.3d.valdation'", "'validation'"]),
            (
                "corpora: {3d: {name: a, source: b, preparation: {spacng: null}}}",
                ["'corpora.3d.preparation.spacng'", "'spacing'"],
            ),
            ("corpora: {4d: {name: a, source: b}}", ["'4d'", "should be '3d' or '2d'"]),
            ("corpora: {3d: {name: a}}", ["either a `source` or a `task`"]),
            ("corpora: {3d: {name: a, source: b, task: c}}", ["either a `source` or a `task`"]),
            ("corpora: {3d: {source: b}}", ["needs a `name`"]),
            ("corpora: {3d: {name: a, source: b, split: {folds: 3, train: 1}}}", ["one split for all seeds"]),
            ("width: abc", ["'width' = 'abc'"]),
            ("width: 0", ["'width' = 0", "greater than or equal to 1"]),
            ("width: .nan", ["'width' = nan"]),
            ("tasks: []", ["'tasks' = []"]),
            ("tasks: ncs", ["'tasks' = 'ncs'", "list"]),
            ("tasks: [1]", ["'tasks.0' = 1"]),
            ("tasks: [ncs, ncs]", ["task 'ncs' is listed twice", "variant"]),
            ("methods: [scratch, scratch]", ["method 'scratch' is listed twice", "label"]),
            ("methods: [{label: x}]", ["'methods.0.name'", "required"]),
            ("backend: rai", ["'backend' = 'rai'", "'local' or 'ray'"]),
            ("checks: [losses_fal]", ["losses_fal", "losses_fall"]),
            ("name: ../../x", ["'name' = '../../x'"]),
            ("fine_tuning:", ["'fine_tuning' = None"]),
            ("folder: /x", ["unknown setting 'folder'"]),
            ("wdth: 3\nnam: x", ["(and 1 more)"]),
        ],
    )
    def test_a_mistake_is_named_with_its_file_and_what_was_allowed(
        self, write: Write, text: str, parts: list[str]
    ) -> None:
        keys = [line.partition(":")[0] for line in text.splitlines()]
        kept = [line for line in PLAIN.splitlines() if line.partition(":")[0] not in keys]
        refused(write("\n".join([*kept, text, ""])), "mine.yaml: ", *parts)

    @pytest.mark.parametrize(
        ("content", "part"),
        [
            ("", "is empty"),
            ("# nothing yet\n", "is empty"),
            ("- a\n", "holds a list"),
            ("just text", "holds a str"),
            ("a: b: c", "not valid YAML: line 1"),
            ("a: [1,\n", "not valid YAML"),
            ("width: 4\nmethods: [scratch]\nwidth: 8\n", "line 3: 'width' is given twice"),
            (b"\x00\x01\xff", "not valid YAML"),
            (b"\x80abc: 1", "not valid YAML"),
            ("a: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ],
    )
    def test_a_file_that_is_no_settings_is_refused(self, write: Write, content: str | bytes, part: str) -> None:
        refused(write(content), "mine.yaml", part)

    def test_a_missing_file_and_a_folder_are_refused(self, write: Write, tmp_path: Path) -> None:
        refused(str(tmp_path / "gone.yaml"), "gone.yaml: cannot be read (No such file or directory)")
        (tmp_path / "folder.yaml").mkdir()
        refused(str(tmp_path / "folder.yaml"), "folder.yaml: cannot be read (Is a directory)")
        refused(str(tmp_path), "unknown suite", "ends in .yaml")

    def test_an_unknown_name_suggests_the_nearest(self) -> None:
        refused("demmo", "unknown suite 'demmo'", "Did you mean 'demo'")


CLAIM = "better: wide, than: scratch, task: ncs, pretraining_seeds: 0-4, fine_tuning_seeds: 0"
ARGUED = f"""{PHANTOM}methods: [scratch, {{name: scratch, label: wide}}]
tasks: ['ncs[steps=3]', ncc]
pretraining_seeds: 0-4
"""


class TestClaims:
    @pytest.fixture
    def argued(self, write: Write) -> Callable[..., Suite]:
        """Return a function that loads a suite with claims: the one above, its settings changed one by one."""

        def load(*claims: dict[str, Any], text: str = ARGUED, name: str = "mine.yaml") -> Suite:
            whole = [{**self.plain(), **claim} for claim in claims]
            return load_suite(write(text + yaml.safe_dump({"claims": whole}), name))

        return load

    @staticmethod
    def plain() -> dict[str, Any]:
        claim: dict[str, Any] = yaml.safe_load(f"{{name: wider, {CLAIM}}}")
        return {**claim, "task": "ncc"}

    def test_a_claim_needs_only_methods_task_and_seeds(self, argued: Callable[..., Suite]) -> None:
        (claim,) = argued({}).claims
        assert (claim.better, claim.than, claim.pretraining_seeds) == ("wide", "scratch", [0, 1, 2, 3, 4])
        assert (claim.test, claim.alternative, claim.alpha, claim.family) == ("welch", "two-sided", 0.05, "claims")

    def test_a_number_stands_for_the_other_method(self, argued: Callable[..., Suite]) -> None:
        assert argued({"than": 0.8}).claims[0].than == 0.8

    def test_a_task_is_named_as_the_suite_writes_it_or_by_its_label(
        self, argued: Callable[..., Suite], tmp_path: Path
    ) -> None:
        (tmp_path / "card.yaml").write_bytes(task_cards()["ncs"].read_bytes())
        text = ARGUED.replace("ncc", "card.yaml")
        for task, label in (("ncs[steps=3]", "ncs[steps=3]"), ("card.yaml", "ncs"), ("ncs", "ncs")):
            assert argued({"task": task}, text=text).claims[0].task == label

    @pytest.mark.parametrize(
        ("change", "parts"),
        [
            ({"better": "wid"}, ["claim 'wider'", "no method 'wid'", "Did you mean 'wide'"]),
            ({"than": "scrath"}, ["no method 'scrath'", "Did you mean 'scratch'"]),
            ({"task": "ncd"}, ["no task 'ncd'", "Did you mean 'ncc'"]),
            ({"task": "ncs"}, ["no task 'ncs'", "ncs[steps=3]"]),
            ({"than": "wide"}, ["'wide' cannot be better than itself"]),
            ({"than": 80}, ["a fraction between 0 and 1", "0.80, not 80"]),
            ({"than": 0.5, "test": "mann_whitney"}, ["mann_whitney compares two methods"]),
            ({"test": "welsh"}, ["'claims.0.test' = 'welsh'", "'welch'"]),
            ({"alternative": "less"}, ["'claims.0.alternative'", "'greater'"]),
            ({"alpha": 1}, ["'claims.0.alpha' = 1"]),
            ({"least_difference": 2}, ["'claims.0.least_difference' = 2"]),
            ({"name": ""}, ["'claims.0.name'"]),
            ({"pretraining_seeds": "0-9"}, ["pretraining_seeds 5, 6, 7, 8, 9 are not among the suite's"]),
            ({"fine_tuning_seeds": [1]}, ["fine_tuning_seeds 1 are not among"]),
            ({"bettr": "x"}, ["unknown setting 'claims.0.bettr'", "Did you mean 'better'"]),
        ],
    )
    def test_a_claim_that_cannot_be_meant_is_refused(
        self, argued: Callable[..., Suite], change: dict[str, Any], parts: list[str]
    ) -> None:
        with pytest.raises(UsageError) as caught:
            argued(change)
        reason = str(caught.value)
        assert "\n" not in reason
        assert [part for part in ["mine.yaml", *parts] if part not in reason] == [], reason

    def test_seeds_must_be_fixed(self, write: Write) -> None:
        claim = "{name: wider, better: wide, than: scratch, task: ncc}"
        refused(write(f"{ARGUED}claims: [{claim}]\n"), "'claims.0.pretraining_seeds'", "missing")

    def test_two_claims_of_one_name_and_two_levels_of_one_family_are_refused(
        self, argued: Callable[..., Suite]
    ) -> None:
        with pytest.raises(UsageError, match="two claims are called 'wider'"):
            argued({}, {})
        with pytest.raises(UsageError, match="family 'claims' must have one alpha"):
            argued({}, {"name": "b", "alpha": 0.01})
        assert len(argued({}, {"name": "b", "alpha": 0.01, "family": "x"}).claims) == 2


class TestDigests:
    def test_every_setting_and_every_claim_is_part_of_the_digest(self, write: Write) -> None:
        claim = f"claims: [{{name: a, {CLAIM.replace('ncs', 'ncc')}}}]\n"
        texts = [ARGUED, ARGUED + "width: 8\n", ARGUED + claim, ARGUED + claim.replace("0-4", "0-3")]
        suites_ = [load_suite(write(text)) for text in texts]
        assert len({suite_digest(suite) for suite in suites_}) == 4
        assert [claims_digest(s) == claims_digest(suites_[0]) for s in suites_] == [True, True, False, False]

    def test_where_the_files_lie_is_no_part_of_it_but_what_a_card_says_is(self, write: Write, tmp_path: Path) -> None:
        card = task_cards()["ncs"].read_text()
        text = PLAIN.replace("[ncs]", "[card.yaml]")
        for folder in ("a", "b", "c"):
            write(card if folder != "c" else card.replace("iou_bin", "dice_bin"), f"{folder}/card.yaml")
        digests = [suite_digest(load_suite(write(text, f"{folder}/mine.yaml"))) for folder in "abc"]
        moved = suite_digest(load_suite(write("extends: a/mine.yaml\nname: mine\n", "d.yaml")))
        assert digests[0] == digests[1] == moved
        assert digests[2] != digests[0]
