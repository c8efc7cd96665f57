"""A table names the networks that it compares, if they are not the papers' alone, and unverified weights."""

from __future__ import annotations

from typing import Any

from sg_bench.reporting import main_table
from sg_bench.reporting.networks import network_notes, weights_notes
from sg_bench.reporting.render import markdown

VIT = {"name": "vit", "config": {"dimension": 3, "in_channels": 1, "version": 1, "patch": 8}}


def set_config(study: Any, config: dict[str, Any], *methods: str) -> Any:
    """Set the config of the initialisations of some methods, or of all, and return the table."""
    for cell in study.cells:
        if not methods or cell.method in methods:
            recipe = study.records[cell.key].setdefault("recipe", {})
            recipe["initialisation"] = {**(recipe.get("initialisation") or {}), "config": config}
    return main_table(study.cells, study.records)


class TestNetworks:
    def test_the_papers_networks_are_not_named(self, study: Any) -> None:
        assert network_notes(main_table(study.cells, study.records)) == []
        assert network_notes(set_config(study, {"width": 4, "dimension": 3})) == []

    def test_one_network_of_all_methods_is_named_once(self, study: Any) -> None:
        table = set_config(study, {"width": 32, "dimension": 3, "network": VIT})
        assert network_notes(table) == ["Network of all methods, pretrained or not: vit in 3D."]
        assert "Network of all methods, pretrained or not: vit in 3D." in markdown("", table, [])

    def test_several_are_named_with_their_methods_and_where_names_are_equal_with_their_settings(
        self, study: Any
    ) -> None:
        set_config(study, {"width": 4, "dimension": 3})
        set_config(study, {"dimension": 3, "network": VIT}, "mine")
        other = {**VIT, "config": {**VIT["config"], "patch": 16}}  # type: ignore[dict-item]
        (note,) = network_notes(set_config(study, {"dimension": 3, "network": other}, "scratch"))
        assert "vit in 3D with patch 16 (scratch)" in note
        assert "vit in 3D with patch 8 (mine)" in note
        assert "unet3d in 3D (models_genesis, semantic_genesis)" in note


class TestWeights:
    def test_published_weights_with_a_known_hash_need_no_note(self, study: Any) -> None:
        config = {"weights": "imagenet", "sha256": "f37072fd" * 8, "dimension": 2}
        assert weights_notes(set_config(study, config, "mine")) == []

    def test_others_and_own_files_are_printed_as_unverified(self, study: Any) -> None:
        published = {"weights": "models_genesis_published", "sha256": "ab" * 32, "width": 32}
        own = {"weights": "a", "sha256": "cd" * 32, "seen": {"corpus": "our CT"}, "network": VIT}
        set_config(study, published, "mine")
        assert weights_notes(set_config(study, own, "scratch")) == [
            "Unverified weights: scratch (an own file, with the declared corpus our CT, SHA-256 cdcdcdcdcdcd...); "
            "mine (by its name only, SHA-256 abababababab...)."
        ]
