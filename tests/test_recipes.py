"""Keys hold whatever can change a number, and nothing else; recipes survive records, pickling and versions."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import ValidationError

from sg_bench.config import (
    AddedLater,
    CropRule,
    Model,
    NotInKey,
    Optimiser,
    Outside,
    Preparation,
    Schedule,
    Split,
    Stage,
    Training,
    differences,
    key_of,
)
from sg_bench.discovery.settings import DiscoverySettings
from sg_bench.methods.configs import ScratchConfig
from sg_bench.recipes import (
    BaseRecipe,
    CellRecipe,
    CorpusPart,
    CorpusRecipe,
    DiscoveryRecipe,
    PretrainingRecipe,
    read_recipe,
    recorded_task,
)
from sg_bench.registry import METHODS, SOURCES
from sg_bench.resources import task_cards
from sg_bench.tasks import Task, read_task
from tests import golden_keys
from tests.recipes import corpus_recipe, pretraining_recipe, store_recipe

METHOD_NAMES = METHODS.names()
ADDED = [f"{name}+semantics" for name in METHOD_NAMES if f"{name}+semantics" in METHODS]
DRAWN = Split(train=0.5, validation=0.25, test=0.25)
NAMED = Split(numbers={"train": (0, 4), "validation": (5, 6), "test": (7, 9)})


def settings() -> Iterator[tuple[str, Model]]:
    """Yield an object of every class of settings, and of the ways in which it leaves fields unused."""
    for intensity in ("hu", "minmax"):
        yield f"preparation {intensity}", Preparation.model_validate({"intensity": intensity})
    for optimiser in ("adam", "sgd"):
        yield optimiser, Optimiser.model_validate({"name": optimiser})
    for schedule in ("constant", "plateau", "step", "cosine"):
        yield f"schedule {schedule}", Schedule.model_validate({"name": schedule})
    yield "training", Training()
    yield "stage", Stage(name="joint", training=Training(), weights={"restoration": 1.0})
    yield "crops", CropRule()
    yield "split", DRAWN
    yield "split by name", NAMED
    yield "split outside", Split(outside=Outside(data="d", source="luna16", ids="f"), train=0.5, validation=0.5)
    for resolutions in (1, 3):
        yield f"discovery {resolutions}", DiscoverySettings(resolutions=resolutions)
    for name in (*METHOD_NAMES, *ADDED):
        dimension = max(METHODS.config(name).dimensions)  # type: ignore[attr-defined]
        yield f"config of {name}", METHODS.config(name).model_validate({"dimension": dimension})
    for name in SOURCES.names():
        yield f"config of source {name}", SOURCES.config(name)()
    for name in task_cards():
        for variant in ("", "[data=phantom]", "[protocol=frozen]"):
            yield f"task {name}{variant}", read_task(f"{name}{variant}")
    yield "task ncc[protocol=slices]", read_task("ncc[protocol=slices]")
    yield "task ncs[protocol=slices]", read_task("ncs[protocol=slices]")


SETTINGS = dict(settings())


def another(value: Any, annotation: Any) -> Any:
    """Return another value of a field's type; None where this function knows none."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return another(value, get_args(annotation)[0])
    if origin is Literal:
        return next((each for each in get_args(annotation) if each != value), None)
    if origin in (Union, UnionType):
        kinds = [each for each in get_args(annotation) if each is not type(None)]
        return another(value, kinds[0])
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, (tuple, dict)):
        return None if not value else type(value)() if isinstance(value, dict) else (*value, value[-1])
    if value is None:
        return {int: 7, float: 0.5, str: "x"}.get(annotation, "other")
    return None


def marked(model: Model, name: str) -> bool:
    return any(isinstance(each, NotInKey) for each in type(model).model_fields[name].metadata)


def places(model: Model, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, bool]]:
    """Yield each field of a model and of those inside it: its path, another value, and whether it is in the key."""
    unused = model.without_effect()
    for name, field in type(model).model_fields.items():
        value, inside = getattr(model, name), not marked(model, name) and name not in unused
        if isinstance(value, Model):
            nested = {each.partition(".")[2] for each in unused if each.startswith(f"{name}.")}
            for below, changed, counts in places(value):
                dotted = {".".join(below[:length]) for length in range(1, len(below) + 1)}
                yield (*path, name, *below), changed, inside and counts and not dotted & nested
        elif (changed := another(value, field.annotation)) is not None:
            yield (*path, name), changed, inside


def with_changed(model: Model, path: tuple[str, ...], value: Any) -> Model:
    name, *rest = path
    changed = with_changed(getattr(model, name), tuple(rest), value) if rest else value
    return model.model_copy(update={name: changed})


@pytest.mark.parametrize("name", SETTINGS)
def test_each_field_changes_the_key_unless_it_cannot_change_a_result(name: str) -> None:
    model = SETTINGS[name]
    count = 0
    for path, value, counts in places(model):
        if path[-1] in CHOOSERS:
            continue  # another choice uses other fields
        changed = with_changed(model, path, value)
        assert (changed.key_json != model.key_json) == counts, (path, value)
        count += 1
    assert count


CHOOSERS = {"places", "mode", "intensity"}
"""Fields that are in the key, and whose change makes nonsense of an object that is not validated again."""


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_recorded_gives_the_same_key_when_it_is_read_back(name: str) -> None:
    model = SETTINGS[name]
    content = model.key_content()
    if isinstance(model, Task):
        content |= {"title": "", "data": model.data.model_dump()}
    again = type(model).model_validate(json.loads(json.dumps(content)))
    assert again.key_json == model.key_json
    assert key_of(model.key_content()) == key_of(json.loads(model.key_json))


@pytest.mark.parametrize("name", [*METHOD_NAMES, *ADDED])
def test_a_config_survives_pickling(name: str) -> None:
    dimension = max(METHODS.config(name).dimensions)  # type: ignore[attr-defined]
    config = METHODS.config(name).model_validate({"dimension": dimension, "workers": 3})
    assert pickle.loads(pickle.dumps(config)) == config


def config_key(method: str, **given: Any) -> str:
    return METHODS.config(method).model_validate(given).key_json


class TestNothingElse:
    @pytest.mark.parametrize(
        ("method", "changed"),
        [
            ("self_restoration", {"semantics": {"labels": "random", "weight_classification": 0.5}}),
            ("self_classification", {"semantics": {"weight_classification": 0.5, "warm_up_epochs": 3}}),
            ("scratch", {"training": {"batch_size": 3, "epochs": 9, "precision": "bfloat16"}}),
            ("scratch", {"workers": 4}),
            ("models_genesis", {"workers": 4}),
            ("rotation", {"training": {"optimiser": {"momentum": 0.5}}}),
            ("models_genesis", {"training": {"optimiser": {"eps": 1e-3, "betas": (0.5, 0.9)}}}),
            ("models_genesis", {"training": {"schedule": {"min_delta": 0.5, "min_lr": 0.1}}}),
            ("rotation+semantics", {"crops": {"cube": (32, 32, 16)}, "per_volume": 3}),
            ("medicalnet", {"training": {"batch_size": 3}}),
        ],
    )
    def test_a_setting_without_effect_changes_no_key(self, method: str, changed: dict[str, Any]) -> None:
        assert config_key(method) == config_key(method, **changed)

    @pytest.mark.parametrize(
        ("method", "changed"),
        [
            ("self_classification", {"semantics": {"labels": "random"}}),
            ("scratch", {"width": 16}),
            ("rotation", {"training": {"precision": "tf32"}}),
            ("rotation", {"training": {"optimiser": {"eps": 1e-8}}}),
            ("models_genesis", {"training": {"optimiser": {"momentum": 0.5}}}),
            ("rotation", {"crops": {"cube": (32, 32, 16)}}),
            ("rotation+semantics", {"turns": {"axes": "all"}}),
        ],
    )
    def test_one_that_has_an_effect_does(self, method: str, changed: dict[str, Any]) -> None:
        assert config_key(method) != config_key(method, **changed)

    def test_the_seed_of_a_split_counts_where_something_is_drawn_by_it(self) -> None:
        def corpus(split: Split) -> str:
            return CorpusRecipe(store=store_recipe(), part=CorpusPart(split=split), split=split).key_json

        assert corpus(NAMED) == corpus(NAMED.model_copy(update={"seed": 5, "unit": "cases", "stratify": True}))
        assert corpus(DRAWN) != corpus(DRAWN.model_copy(update={"seed": 5}))
        assert corpus(DRAWN) != corpus(DRAWN.model_copy(update={"unit": "cases"}))

    @pytest.mark.parametrize(("card", "same"), [("lcs", True), ("lcs[data=phantom]", False), ("ncc", False)])
    def test_the_seed_of_a_tasks_split_also_draws_its_fixed_crops_and_negatives(self, card: str, same: bool) -> None:
        task = read_task(card).model_copy(update={"split": NAMED})
        other = task.model_copy(update={"split": NAMED.model_copy(update={"seed": 5})})
        assert (task.key_json == other.key_json) == same

    def test_the_name_of_an_outside_data_set_is_not_in_the_key(self) -> None:
        first, second = (Outside(data=name, source="luna16", ids="f" * 64) for name in ("luna16", "my-luna"))
        assert first.key_json == second.key_json
        with pytest.raises(ValidationError, match="`outside` needs `data`"):
            Outside(source="luna16")

    def test_random_neighbours_need_no_auto_encoder(self) -> None:
        recipe = DiscoveryRecipe(settings=DiscoverySettings(neighbours_by="random"), corpus=corpus_recipe())
        assert recipe.key_content()["autoencoder"] is None


class Later(Model):
    size: int = 3
    compiled: Annotated[bool, NotInKey()] = False
    warmth: Annotated[float, AddedLater()] = 0.0


class TestMarkers:
    def test_a_setting_added_later_is_in_the_key_once_it_is_used(self) -> None:
        assert Later().key_content() == {"size": 3}
        assert Later(warmth=0.5).key_content() == {"size": 3, "warmth": 0.5}

    def test_a_setting_of_execution_never_is(self) -> None:
        assert Later(compiled=True).key_content() == {"size": 3}

    def test_a_changed_copy_has_its_own_key(self) -> None:
        first = pretraining_recipe("rotation", corpus_recipe())
        assert first.key != first.model_copy(update={"seed": 1}).key
        assert first.key == first.model_copy(update={"seed": 0}).key


class TestPrecision:
    def test_it_is_float32_everywhere_unless_another_is_chosen(self) -> None:
        assert all(read_task(name).training.precision == "float32" for name in task_cards())
        assert Training().precision == "float32"

    def test_auto_is_refused_with_the_choices(self) -> None:
        with pytest.raises(ValidationError, match="choose float32, tf32 or bfloat16"):
            Training.model_validate({"precision": "auto"})


def cell() -> CellRecipe:
    return CellRecipe(
        task=read_task("ncs[data=phantom]"),
        store=store_recipe(),
        initialisation=pretraining_recipe("rotation+semantics", corpus_recipe(), workers=2),
        pretraining_seed=0,
        fine_tuning_seed=3,
    )


class TestRecords:
    def test_a_recipe_read_from_a_record_has_the_key_of_its_result(self) -> None:
        content = json.loads(json.dumps(cell().key_content()))
        assert key_of(content) == cell().key
        assert read_recipe(content).key == cell().key

    def test_a_recipe_survives_pickling_with_its_execution_settings(self) -> None:
        again = pickle.loads(pickle.dumps(cell()))
        assert (again, again.key) == (cell(), cell().key)
        assert again.initialisation.config.workers == 2

    def test_the_task_of_an_older_record_is_read(self) -> None:
        content = cell().key_content()
        content["task"]["training"]["precision"] = "auto"
        content["task"]["beside"] = content["task"].pop("secondary")
        assert recorded_task(content).name == "ncs"

    def test_a_plugins_code_is_part_of_the_key(self) -> None:
        content = pretraining_recipe().key_content()
        code = {"package": "mine", "version": "1", "sha256": "0" * 64}
        found = [PretrainingRecipe.model_validate({**content, "plugin": plugin}).key for plugin in (None, code)]
        assert found[0] == pretraining_recipe().key != found[1]

    def test_settings_of_a_method_are_checked_by_its_own_config(self) -> None:
        recipe = PretrainingRecipe.model_validate({"method": "scratch", "config": {"width": 4}, "seed": 0})
        assert isinstance(recipe.config, ScratchConfig)
        with pytest.raises(ValidationError, match="skips"):
            PretrainingRecipe.model_validate({"method": "scratch", "config": {"skips": True}, "seed": 0})


def test_the_keys_of_a_small_stored_plan_are_as_they_were() -> None:
    stored, now = golden_keys.stored(), golden_keys.keys()
    changed = {
        title: list(differences(stored.get(title, {}).get("content"), now.get(title, {}).get("content")))
        for title in sorted({*stored, *now})
        if stored.get(title, {}).get("key") != now.get(title, {}).get("key")
    }
    assert not changed, f"keys changed (tests/golden_keys.py says what to do): {json.dumps(changed, indent=1)}"


def test_every_recipe_is_part_of_the_stored_plan() -> None:
    kinds = {each["content"]["kind"] for each in golden_keys.stored().values()}
    assert kinds == {get_args(each.model_fields["kind"].annotation)[0] for each in BaseRecipe.__subclasses__()}
