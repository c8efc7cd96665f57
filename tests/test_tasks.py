"""A card says what a task is; its name chooses variants; what it may not say is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sg_bench.errors import UsageError
from sg_bench.evaluation.metrics import METRICS
from sg_bench.registry import SOURCES
from sg_bench.resources import task_cards
from sg_bench.tasks import Task, fine_tunes_all, parse_reference, read_task

CARD: dict[str, Any] = {
    "name": "mine",
    "title": "Mine",
    "kind": "segmentation",
    "data": {"name": "scans", "source": "folder", "config": {"labels": "labels/{id}.nii.gz"}},
    "sampling": {"places": "foreground", "patch": [16, 16, 8]},
    "loss": "dice",
    "headline": "dice_case",
    "target": [1],
}
Write = Callable[..., Path]
words = st.text("abcdefghijklmnopqrstuvwxyz0123456789_.-", min_size=1)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(file: str = "mine.yaml", **changes: Any) -> Path:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({key: value for key, value in {**CARD, **changes}.items() if value != "absent"}))
        return path

    return write


def refused(reference: str, *parts: str, folder: Path | None = None) -> None:
    with pytest.raises(UsageError) as caught:
        read_task(reference, folder)
    reason = str(caught.value)
    assert "\n" not in reason
    assert caught.value.hint
    assert [part for part in parts if part not in reason] == [], reason


def built_in() -> list[str]:
    """Return every built-in task in every variant of its card."""
    references = []
    for name, path in task_cards().items():
        axes = yaml.safe_load(path.read_text()).get("variants", {})
        references += [name, *(f"{name}[{axis}={value}]" for axis, values in axes.items() for value in values)]
    return references


class TestBuiltIn:
    def test_the_six_targets_are_there(self) -> None:
        assert task_cards().keys() == {"ncc", "ncs", "lcs", "bms", "dxc", "pxs"}

    @pytest.mark.parametrize("reference", built_in())
    def test_every_card_is_valid_in_every_variant(self, reference: str) -> None:
        task = read_task(reference)
        SOURCES.config(task.data.source).model_validate(task.data.config)
        assert task.label == reference
        assert METRICS[task.headline].kind == task.kind
        assert task.parity is None or METRICS[task.parity].kind == task.kind
        assert task.follows

    @pytest.mark.parametrize("name", task_cards())
    def test_every_card_is_named_as_its_file(self, name: str) -> None:
        assert read_task(name).name == name

    @pytest.mark.parametrize("reference", built_in())
    def test_a_task_on_the_phantom_says_so_in_its_note(self, reference: str) -> None:
        task = read_task(reference)
        assert task.data.source != "phantom" or "phantom" in task.note


class TestVariants:
    def test_the_cards_default_is_chosen_unless_told(self, write: Write) -> None:
        path = write(variants={"size": {"small": {"title": "s"}, "big": {"title": "b"}}}, default={"size": "small"})
        assert read_task(str(path)).title == "s"
        assert read_task(f"{path}[size=big]").title == "b"

    def test_a_default_is_not_printed_and_a_choice_is(self, write: Write) -> None:
        path = write(variants={"size": {"small": {}}}, default={"size": "small"})
        assert read_task(str(path)).label == "mine"
        assert read_task(f"{path}[size=small]").label == "mine[size=small]"

    def test_a_variant_changes_only_what_it_says(self, write: Write) -> None:
        path = write(variants={"size": {"big": {"sampling": {"patch": [32, 32, 16]}}}})
        plain, big = read_task(str(path)), read_task(f"{path}[size=big]")
        assert big.sampling.patch == (32, 32, 16)
        same = big.sampling.model_copy(update={"patch": plain.sampling.patch})
        assert big.model_copy(update={"sampling": same, "variant": ""}) == plain

    def test_every_card_can_be_told_steps_and_a_fraction(self, write: Write) -> None:
        task = read_task(f"{write()}[steps=80,fraction=0.1]")
        assert (task.training.steps, task.fraction) == (80, 0.1)

    def test_the_order_of_choices_does_not_matter(self) -> None:
        assert read_task("ncs[steps=80,data=phantom]") == read_task(" ncs[ data = phantom , steps=80 ] ")
        assert read_task("ncs[steps=80,data=phantom]").label == "ncs[data=phantom,steps=80]"

    def test_a_variant_may_be_called_by_a_number(self, write: Write) -> None:
        path = write(
            variants={"fold": {1: {"split": {"seed": 1, "train": 0.5, "test": 0.5}}, 2: {}}}, default={"fold": 2}
        )
        assert read_task(f"{path}[fold=1]").split.seed == 1
        assert read_task(str(path)).split.seed == 0

    def test_an_unknown_axis_or_value_suggests_the_nearest(self) -> None:
        refused("ncs[dta=phantom]", "ncs.yaml", "no variants by 'dta'", "Did you mean 'data'")
        refused("ncs[data=phantm]", "ncs.yaml", "no variant data=phantm", "Did you mean 'phantom'")

    @pytest.mark.parametrize(
        "choice", ["steps=abc", "steps=-1", "steps=1.5", "fraction=0", "fraction=2", "fraction=nan"]
    )
    def test_an_impossible_budget_is_refused(self, choice: str) -> None:
        refused(f"ncs[{choice}]", "ncs.yaml", choice.partition("=")[0])

    @given(words, st.dictionaries(words, words, max_size=4))
    def test_a_reference_that_is_written_out_is_read_back(self, name: str, choices: dict[str, str]) -> None:
        inside = ",".join(f"{axis}={value}" for axis, value in choices.items())
        assert parse_reference(f"{name}[{inside}]" if choices else name) == (name, choices)

    @pytest.mark.parametrize(
        "reference", ["", "[", "ncs[", "ncs]", "[data=x]", "ncs[x]", "ncs[=x]", "ncs[x=]", "ncs[a=1]b", "ncs[a=1,a=2]"]
    )
    def test_a_malformed_reference_is_refused(self, reference: str) -> None:
        refused(reference, f"'{reference}' is not a task", "Write it as ncs")


class TestFiles:
    def test_a_card_is_found_relative_to_the_suites_folder(self, write: Write, tmp_path: Path) -> None:
        write("cards/one.yaml")
        assert read_task("cards/one.yaml", tmp_path).name == "mine"
        assert read_task("./one.yaml[steps=3]", tmp_path / "cards").label == "mine[steps=3]"

    def test_without_a_suite_it_is_found_from_here(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(write().parent)
        assert read_task("mine.yaml").name == "mine"

    def test_a_missing_card_is_named_by_its_path(self, tmp_path: Path) -> None:
        refused("gone.yaml", f"{tmp_path}/gone.yaml: cannot be read (No such file", "Check the path", folder=tmp_path)

    def test_an_unknown_name_suggests_the_nearest(self) -> None:
        refused("nccs", "unknown task 'nccs'", "Did you mean 'ncs'", "Known: bms, dxc, lcs, ncc, ncs, pxs")


class TestRefusals:
    @pytest.mark.parametrize("side", [0, 4, 15, -8])
    def test_a_patch_that_three_poolings_cannot_halve_is_refused(self, write: Write, side: int) -> None:
        refused(str(write(sampling={"places": "foreground", "patch": [16, side, 8]})), "mine.yaml", "sampling", "patch")

    @given(st.tuples(*[st.integers(1, 9).map(lambda side: 8 * side)] * 3))
    def test_any_patch_of_eights_is_accepted(self, patch: tuple[int, int, int]) -> None:
        sampling = {"places": "foreground", "patch": patch}
        assert Task.model_validate({**CARD, "sampling": sampling}).sampling.patch == patch

    @pytest.mark.parametrize(
        ("changes", "parts"),
        [
            ({"kind": "detection"}, ["'kind' = 'detection'", "'classification', 'segmentation' or 'regression'"]),
            ({"target": []}, ["needs `target`"]),
            ({"target": [0]}, ["'target.0' = 0"]),
            ({"target": [256]}, ["'target.0' = 256"]),
            ({"loss": "bce"}, ["segmentation", "bce"]),
            ({"kind": "classification", "target": [], "loss": "bce"}, ["set sampling.places"]),
            ({"kind": "classification", "loss": "bce"}, ["classification task has none"]),
            ({"titel": "x"}, ["unknown setting 'titel'", "Did you mean 'title'"]),
            ({"sampling": {"places": "foreground", "pach": 8}}, ["'sampling.pach'", "Did you mean 'patch'"]),
            ({"training": {"optimiser": {"lrr": 1}}}, ["'training.optimiser.lrr'", "Did you mean 'lr'"]),
            ({"training": {"epochs": -1}}, ["'training.epochs' = -1"]),
            ({"training": {"optimiser": {"lr": float("inf")}}}, ["'training.optimiser.lr' = inf", "finite"]),
            ({"split": {"train": 0.9}}, ["'split'", "must sum to 1, not 0.9"]),
            ({"preparation": {"clip": [3, 1]}}, ["'preparation'", "low < high"]),
            ({"sampling": {"places": "foreground", "target_fraction": [0.9, 0.1]}}, ["least <= most"]),
            ({"title": "absent"}, ["'title'", "required"]),
            ({"name": "Mine X"}, ["'name' = 'Mine X'"]),
            ({"variant": "x"}, ["unknown setting 'variant'"]),
            ({"variants": 3}, ["'variants' = 3"]),
            ({"variants": {"size": {"big": None}}}, ["'variants.size.big'"]),
            ({"default": {"size": "big"}}, ["no variants by 'size'"]),
            ({"default": 3}, ["'default' = 3"]),
        ],
    )
    def test_a_mistake_is_named_with_its_card_and_what_was_allowed(
        self, write: Write, changes: dict[str, Any], parts: list[str]
    ) -> None:
        refused(str(write(**changes)), "mine.yaml: ", *parts)


class TestProbesAndShots:
    def test_they_are_in_no_key_unless_chosen(self) -> None:
        assert not {"probe", "shots"} & read_task("ncc").key_content().keys()
        chosen = read_task("ncc[probe=knn,shots=5]").key_content()
        assert (chosen["probe"], chosen["shots"]) == ("knn", 5)

    def test_what_trains_a_network_has_no_effect_on_a_probe(self) -> None:
        plain, longer = read_task("ncc[probe=linear]"), read_task("ncc[probe=linear,steps=80,protocol=frozen]")
        assert plain.key_json == longer.key_json
        assert plain.key_json != read_task("ncc[probe=knn]").key_json

    def test_a_probe_read_back_from_its_key_has_the_same_key(self) -> None:
        for name in task_cards():
            task = read_task(f"{name}[probe=linear,shots=2]")
            content = {**task.key_content(), "title": "", "data": task.data.model_dump()}
            assert Task.model_validate(content).key_json == task.key_json

    @pytest.mark.parametrize("wrong", ["lcs[probe=knn]", "ncc[probe=tree]", "ncc[shots=0]", "ncc[shots=few]"])
    def test_a_probe_that_cannot_be_is_refused(self, wrong: str) -> None:
        with pytest.raises(UsageError, match=r"probe|shots"):
            read_task(wrong)

    def test_only_full_fine_tuning_is_compared_with_papers(self) -> None:
        assert fine_tunes_all("ncc[data=phantom]")
        assert not any(fine_tunes_all(f"ncc[{each}]") for each in ("probe=knn", "shots=1", "fraction=0.1"))
