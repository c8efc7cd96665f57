"""A key names a recipe: the same for the same settings, another for any other."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sg_bench.config import AirRule, CropRule, Optimiser, Preparation, Split, Training, canonical_json, key_of, merged
from sg_bench.methods.configs import ModelsGenesisConfig, SemanticGenesisConfig

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6
)
recipes = st.dictionaries(st.text(), trees, max_size=4)


def shuffled(value: Any, random: Any) -> Any:
    if isinstance(value, dict):
        pairs = [(key, shuffled(inner, random)) for key, inner in value.items()]
        random.shuffle(pairs)
        return dict(pairs)
    return [shuffled(inner, random) for inner in value] if isinstance(value, list) else value


class TestKeys:
    @given(recipes, st.randoms(use_true_random=False))
    def test_a_key_does_not_depend_on_the_order_of_settings(self, recipe: dict, random: Any) -> None:
        assert key_of(shuffled(recipe, random)) == key_of(recipe)

    @given(recipes)
    def test_a_recipe_read_back_from_json_has_the_same_key(self, recipe: dict) -> None:
        assert key_of(json.loads(canonical_json(recipe))) == key_of(recipe)

    @given(recipes, st.text(), leaves)
    def test_another_setting_is_another_key(self, recipe: dict, name: str, value: Any) -> None:
        changed = {**recipe, name: value}
        same = canonical_json(changed) == canonical_json(recipe)
        assert (key_of(changed) == key_of(recipe)) == same

    @given(recipes)
    def test_a_key_is_64_hex_digits(self, recipe: dict) -> None:
        assert len(key_of(recipe)) == 64
        assert int(key_of(recipe), 16) >= 0

    def test_a_key_is_the_same_in_another_process(self) -> None:
        code = "from sg_bench.config import Training, key_of; print(key_of({'b': Training(), 'a': 'ä'}))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == key_of({"a": "ä", "b": Training()})

    def test_a_key_is_the_digest_of_sorted_json_without_spaces(self) -> None:
        text = '{"a":"\\u00e4","b":[1,0.5,null]}'
        assert key_of({"b": [1, 0.5, None], "a": "ä"}) == hashlib.sha256(text.encode()).hexdigest()

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_a_number_that_json_cannot_say_is_refused(self, value: float) -> None:
        with pytest.raises(ValueError, match="not JSON compliant"):
            key_of({"deep": [{"lr": value}]})

    def test_a_model_stands_for_its_settings(self) -> None:
        assert key_of(Optimiser()) == key_of(Optimiser().model_dump())

    def test_what_is_not_json_is_refused_by_name(self) -> None:
        with pytest.raises(TypeError, match="object cannot be part of a recipe"):
            key_of({"a": object()})


class TestMerging:
    @given(recipes, recipes)
    def test_an_overlay_wins_and_everything_else_stays(self, base: dict, overlay: dict) -> None:
        out = merged(base, overlay)
        assert out.keys() == base.keys() | overlay.keys()
        assert all(out[key] == base[key] for key in base.keys() - overlay.keys())
        assert all(out[key] == value for key, value in overlay.items() if not isinstance(value, dict))

    @given(recipes, recipes)
    def test_merging_changes_neither_side(self, base: dict, overlay: dict) -> None:
        before = canonical_json([base, overlay])
        merged(base, overlay)
        assert canonical_json([base, overlay]) == before

    @given(recipes, recipes)
    def test_merging_twice_is_merging_once(self, base: dict, overlay: dict) -> None:
        assert merged(merged(base, overlay), overlay) == merged(base, overlay)

    @given(recipes)
    def test_merging_nothing_changes_nothing(self, base: dict) -> None:
        assert merged(base) == merged(base, {}) == merged({}, base) == base


class TestSettings:
    def test_a_part_of_a_nested_setting_keeps_the_rest_of_its_default(self) -> None:
        config = ModelsGenesisConfig.model_validate({"training": {"optimiser": {"lr": 0.5}, "epochs": 3}})
        assert config.training.optimiser == Optimiser(name="sgd", lr=0.5)
        assert config.training.schedule == ModelsGenesisConfig().training.schedule
        assert (config.training.epochs, config.training.batch_size) == (3, 6)

    def test_a_part_of_an_optional_nested_setting_keeps_the_rest_and_none_removes_it(self) -> None:
        assert CropRule.model_validate({"air": {"most": 0.3}}).air == AirRule(most=0.3)
        assert CropRule.model_validate({"air": None}).air is None

    @pytest.mark.parametrize("preset", ["semantic_genesis_keras", "semantic_genesis_pytorch"])
    def test_a_part_of_the_transforms_keeps_the_rest_of_the_chosen_preset(self, preset: str) -> None:
        whole = SemanticGenesisConfig.model_validate({"preset": preset}).transforms
        part = SemanticGenesisConfig.model_validate({"preset": preset, "transforms": {"shuffle": {"blocks": 7}}})
        assert part.transforms.shuffle.blocks == 7
        assert part.transforms.model_copy(update={"shuffle": whole.shuffle}) == whole

    @given(st.dictionaries(st.sampled_from(["epochs", "batch_size", "patience"]), st.integers(1, 99)))
    def test_giving_settings_one_by_one_is_giving_them_over_the_defaults(self, given_: dict) -> None:
        assert Training.model_validate(given_) == Training(**{**Training().model_dump(), **given_})

    def test_an_unknown_setting_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="epoch"):
            Training.model_validate({"epoch": 3})

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_setting_that_is_not_finite_is_refused(self, value: float) -> None:
        with pytest.raises(ValidationError):
            Optimiser(lr=value)

    def test_settings_cannot_be_changed(self) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            Training().epochs = 3  # type: ignore[misc]

    @pytest.mark.parametrize("cube", [(0, 8, 8), (8, 8), (8, -8, 8)])
    def test_a_cube_has_three_positive_sides(self, cube: tuple[int, ...]) -> None:
        with pytest.raises(ValidationError, match="cube"):
            CropRule.model_validate({"cube": cube})


class TestPreparation:
    @pytest.mark.parametrize("orientation", ["RRR", "RLS", "ras", "RA", "RASI", ""])
    def test_an_orientation_names_each_axis_once(self, orientation: str) -> None:
        with pytest.raises(ValidationError, match="orientation"):
            Preparation(orientation=orientation)

    @pytest.mark.parametrize("orientation", ["RAS", "LPS", "SAL", "PIR"])
    def test_the_axes_may_come_in_any_order_and_direction(self, orientation: str) -> None:
        assert Preparation(orientation=orientation).orientation == orientation

    def test_a_window_runs_from_low_to_high(self) -> None:
        with pytest.raises(ValidationError, match="low < high"):
            Preparation(clip=(3, 3))

    def test_a_voxel_has_a_size(self) -> None:
        with pytest.raises(ValidationError, match="positive"):
            Preparation(spacing=(1, 0, 1))


class TestSplit:
    def test_the_fractions_of_what_is_drawn_are_a_whole(self) -> None:
        with pytest.raises(ValidationError, match="sum to 1"):
            Split(train=0.9, validation=0.1, test=0.1)
        with pytest.raises(ValidationError, match=r"train, validation must sum to 1, not 0\.5"):
            Split(train=0.25, validation=0.25, folds=3)
        assert Split(groups={"test": ("test",)}, train=0.875, validation=0.125).test == 0

    def test_where_every_part_is_named_nothing_is_drawn(self) -> None:
        numbers: Any = {"train": (0, 99), "validation": (100, 114), "test": (115, 129)}
        assert Split(numbers=numbers).train == 0

    @pytest.mark.parametrize(
        ("settings", "reason"),
        [
            ({"groups": {"test": ("a",)}, "lists": {"test": "b"}, "train": 1}, "by only one of groups"),
            ({"groups": {"test": ("a",)}, "folds": 3, "train": 1}, "choose one"),
            ({"folds": 3, "outside": {"data": "a", "source": "folder"}, "train": 1}, "choose one"),
            ({"groups": {"test": ("a",)}, "test": 0.5, "train": 0.5}, "'test' has a fraction, but is not drawn"),
            ({"validation": 0.5, "test": 0.5}, "train must be above 0"),
            ({"folds": 1, "train": 1}, "folds"),
            ({"groups": {"exam": ("a",)}, "train": 1}, "groups.exam"),
            ({"unit": "slices", "train": 1}, "unit"),
        ],
    )
    def test_what_contradicts_itself_is_refused(self, settings: dict[str, Any], reason: str) -> None:
        with pytest.raises(ValidationError, match=reason):
            Split.model_validate(settings)
