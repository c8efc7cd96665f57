"""JSON Schemas of suites and task cards, for editors.

They are made of the settings' own classes, with the methods and networks that are installed. They accept what a file
may say before it is completed: a suite by the one that it extends, a method by its defaults. So they allow more than
`sg-bench plan` does, which checks the whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from sg_bench import __version__
from sg_bench.config import Training
from sg_bench.config.descriptions import field_descriptions, nested_models
from sg_bench.discovery.settings import DiscoverySettings
from sg_bench.registry import METHODS, NETWORKS, SOURCES
from sg_bench.resources import suites, task_cards
from sg_bench.suite import Suite
from sg_bench.suite.claims import Claim
from sg_bench.suite.settings import MethodChoice
from sg_bench.tasks import Task

JsonSchema = dict[str, Any]
REFERENCE = "#/$defs/{model}"
COMPLETE: tuple[type[BaseModel], ...] = (Claim, MethodChoice)
"""Classes of which a file must give all required settings: nothing else completes them."""
TEXT: JsonSchema = {"type": "string"}
OBJECT: JsonSchema = {"type": "object"}


def suite_schema() -> JsonSchema:
    """Return the JSON Schema (draft 2020-12) of a suite file."""
    configs = {name: METHODS.config(name) for name in METHODS.names()}
    networks = {name: NETWORKS.config(name) for name in NETWORKS.names()}
    found, named = _definitions([Suite, Training, DiscoverySettings, *configs.values(), *networks.values()])
    suite, method = found["Suite"]["properties"], found["MethodChoice"]
    found["Network"] = _network_schema({name: named[config] for name, config in networks.items()})
    names = [{"enum": [*configs]}, {**TEXT, "pattern": r"^[^+]+\+[^+]+$"}]
    method["properties"]["name"] |= {"anyOf": names}
    method["allOf"] = [_where("name", name, {"config": named[config]}) for name, config in configs.items()]
    suite["methods"]["items"] = {"anyOf": [*names, {"$ref": "#/$defs/MethodChoice"}]}
    by_dimension = {"properties": {key: {"$ref": "#/$defs/Network"} for key in ("3d", "2d")}, "minProperties": 1}
    for owner in (suite, method["properties"]):
        described = owner["network"].get("description", "")
        any_of = [{"$ref": "#/$defs/Network"}, {**OBJECT, **by_dimension, "additionalProperties": False}]
        owner["network"] = {"anyOf": any_of, "description": described}
    _refer(found, ("Suite", "Corpus", "MethodChoice"), "discovery", named[DiscoverySettings])
    _refer(found, ("Suite",), "fine_tuning", named[Training])
    found["Corpus"]["properties"]["source"] |= {"enum": SOURCES.names()}
    suite.pop("folder")
    known = {"anyOf": [{"enum": [*suites()]}, {**TEXT, "pattern": r"\.ya?ml$"}]}
    suite |= {
        "extends": {**known, "description": "A suite that this one completes: its settings hold unless given here."},
        "union": {"type": "array", "items": known, "minItems": 1, "description": "Suites that this one unites."},
        "methods_of": {**known, "description": "A suite to take the methods from."},
        "budgets": {**OBJECT, "additionalProperties": OBJECT, "description": "Named sets of settings."},
        "budget": {**TEXT, "description": "The one of `budgets` that is chosen."},
    }
    return _whole("A suite of sg-bench", found.pop("Suite"), found)


def task_schema() -> JsonSchema:
    """Return the JSON Schema (draft 2020-12) of a task card."""
    found, _ = _definitions([Task])
    card = found["Task"]["properties"]
    card.pop("variant")
    overlay = {**OBJECT, "propertyNames": {"enum": [name for name in card if name not in ("name", "version")]}}
    card["variants"] = {
        **OBJECT,
        "additionalProperties": {**OBJECT, "additionalProperties": overlay},
        "description": "Variants by axis and value: {split: {patients: {...}}} is written NAME[split=patients].",
    }
    card["default"] = {**OBJECT, "description": "Values that hold unless a task's name chooses another, by axis."}
    found["DataChoice"]["properties"]["source"] |= {"enum": SOURCES.names()}
    found["Task"]["required"] = ["name", "title", "kind", "loss", "headline"]
    return _whole(f"A task card of sg-bench, such as {', '.join(task_cards())}", found.pop("Task"), found)


def _definitions(roots: Iterable[type[BaseModel]]) -> tuple[dict[str, JsonSchema], dict[type[BaseModel], JsonSchema]]:
    """Return the schemas of settings classes and of those within by name, and a reference to each of `roots`."""
    models = nested_models(roots)
    references, whole = models_json_schema([(model, "validation") for model in models], ref_template=REFERENCE)
    found: dict[str, JsonSchema] = whole["$defs"]
    for model in models:
        schema = found[references[model, "validation"]["$ref"].rpartition("/")[2]]
        texts = field_descriptions(model)
        for name, field in model.model_fields.items():
            aliases = getattr(field.validation_alias, "choices", [name])
            if name in texts and aliases[0] in schema.get("properties", {}):
                schema["properties"][aliases[0]]["description"] = " ".join(texts[name].split())
        if model not in COMPLETE:
            schema.pop("required", None)
    return found, {model: references[model, "validation"] for model in models}


def _network_schema(configs: dict[str, JsonSchema]) -> JsonSchema:
    """Return the schema of a network: its name, or its name and settings."""
    settings = {
        **OBJECT,
        "required": ["name"],
        "properties": {"name": {"enum": [*configs]}, "config": OBJECT},
        "description": "A network and its settings: {name: vit, patch: 8}.",
    }
    return {"anyOf": [{"enum": [*configs]}, settings]}


def _refer(found: dict[str, JsonSchema], models: Iterable[str], name: str, reference: JsonSchema) -> None:
    """Let the setting `name` of these models be described by another schema."""
    for model in models:
        own = found[model]["properties"][name]
        found[model]["properties"][name] = {**reference, "description": own.get("description", "")}


def _where(name: str, value: str, then: dict[str, JsonSchema]) -> JsonSchema:
    return {"if": {"properties": {name: {"const": value}}, "required": [name]}, "then": {"properties": then}}


def _whole(title: str, schema: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"{title}, version {__version__}"}
    return {**schema, **head, "$defs": definitions}
