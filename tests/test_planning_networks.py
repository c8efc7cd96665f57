"""A suite's network reaches every method, is part of its keys where it is not the papers', and is refused in time."""

from __future__ import annotations

from typing import Any

import pytest

from sg_bench.config import merged
from sg_bench.errors import UsageError
from sg_bench.networks.configs import NetworkChoice
from sg_bench.planning import Plan, plan
from sg_bench.recipes import read_recipe
from sg_bench.suite import Suite, load_suite, suite_digest

NCC, DXC = "ncc[data=phantom]", "dxc[data=phantom]"
FILMS = {"name": "films", "source": "phantom", "config": {"modality": "film"}}
BASE: dict[str, Any] = {
    "name": "mine",
    "width": 4,
    "corpora": {
        "3d": {"name": "phantom", "source": "phantom", "pretraining": {"crops": {"cube": [16, 16, 8]}}},
        "2d": {**FILMS, "pretraining": {"crops": {"cube": [32, 32, 1]}}},
    },
    "methods": ["scratch", "rotation"],
    "tasks": [NCC],
}
NETWORKS = ("resenc", "vit")
VIT = {"name": "vit", "patch": 8, "width": 24, "depth": 2, "heads": 2}


def planned(**changes: Any) -> Plan:
    return plan(Suite.model_validate(merged(BASE, changes)))


def initialisations(found: Plan) -> dict[str, str]:
    return {job.title: job.key for job in found.of_kind("initialisation")}


def missing(found: Plan) -> dict[str, str]:
    return {cell.method: cell.missing for cell in found.cells if cell.missing}


class TestKeys:
    def test_naming_the_papers_networks_renames_nothing(self) -> None:
        tasks = [NCC, DXC]
        before = [cell.key for cell in planned(tasks=tasks).cells]
        networks: list[Any] = [
            {"3d": "unet3d", "2d": "resnet18"},
            {"3d": {"name": "unet3d", "width": 4}, "2d": {"name": "resnet18", "config": {"width": 4}}},
        ]
        for network in networks:
            assert [cell.key for cell in planned(tasks=tasks, network=network).cells] == before

    def test_the_width_of_the_papers_network_is_the_suites_unless_it_has_its_own(self) -> None:
        assert initialisations(planned(network={"name": "unet3d", "width": 8})) == initialisations(planned(width=8))

    def test_another_network_renames_all_initialisations_and_so_does_each_of_its_settings(self) -> None:
        found = [initialisations(planned(**each)) for each in ({}, {"network": VIT}, {"network": {**VIT, "depth": 3}})]
        assert len({key for each in found for key in each.values()}) == sum(map(len, found)) == 6

    def test_a_suites_width_is_no_part_of_the_key_of_another_network(self) -> None:
        assert initialisations(planned(network=VIT)) == initialisations(planned(network=VIT, width=8))

    def test_a_record_names_the_network_and_reads_back_to_the_same_key(self) -> None:
        for job in planned(network=VIT, tasks=[NCC, DXC]).of_kind("initialisation"):
            content = job.recipe.key_content()
            assert content["config"]["network"]["name"] == "vit"
            assert read_recipe(content).key == job.key

    def test_a_suite_without_a_network_has_the_digest_that_it_always_had(self) -> None:
        suite = Suite.model_validate(BASE)
        assert "network" not in suite.model_dump()
        assert suite_digest(suite) != suite_digest(Suite.model_validate({**BASE, "network": "vit"}))


class TestChoice:
    def test_a_method_may_have_its_own_network(self) -> None:
        methods = ["scratch", {"name": "scratch", "label": "other", "network": VIT}]
        scratch, other = planned(methods=methods).of_kind("initialisation")
        assert (scratch.recipe.config.chosen_network.name, other.recipe.config.chosen_network.name) == ("unet3d", "vit")

    def test_discovery_keeps_the_papers_network(self) -> None:
        methods = ["rotation+semantics"]
        jobs = planned(methods=methods, network=VIT, discovery={"crops": {"cube": [16, 16, 8]}}).of_kind(
            "initialisation"
        )
        names = {job.recipe.method: job.recipe.config.chosen_network.name for job in jobs}
        assert names == {"autoencoder": "unet3d", "rotation+semantics": "vit"}

    def test_a_network_without_this_dimension_leaves_its_cells_missing(self) -> None:
        found = planned(tasks=[NCC, DXC], network="unet3d")
        assert [cell.task for cell in found.cells if cell.missing] == [DXC, DXC]
        assert "network 'unet3d' has no 2D version" in missing(found)["scratch"]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"network": "vitt"}, "unknown network 'vitt'"),
            ({"network": {**VIT, "widht": 3}}, "config of network 'vit': unknown setting 'widht'"),
            ({"network": {**VIT, "heads": 5}}, "width 24 must be a multiple of heads 5"),
            ({"pretraining": {"network": "vit"}}, "pretraining: the network is not a setting of methods"),
            ({"methods": [{"name": "scratch", "config": {"network": "vit"}}]}, "is not one of its settings"),
            ({"network": VIT, "methods": [{"name": "scratch", "config": {"width": 8}}]}, "not of 'vit'"),
        ],
    )
    def test_what_is_not_a_networks_is_an_error(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(UsageError) as caught:
            planned(**changes)
        assert message in str(caught.value)


class TestRefusal:
    @pytest.mark.parametrize("method", ["models_genesis_published", "medicalnet", "masked_autoencoder"])
    def test_a_method_of_another_network_is_missing_with_the_reason_while_the_rest_is_planned(
        self, method: str
    ) -> None:
        found = planned(network=VIT, methods=["scratch", method])
        assert missing(found).keys() == {method}
        assert "network 'vit'" in missing(found)[method] or "network is 'vit'" in missing(found)[method]
        assert "own `network`" in missing(found)[method]

    def test_published_weights_of_the_suites_network_are_refused_only_for_want_of_their_file(self) -> None:
        for network in ({"name": "medicalnet", "depth": 10}, {"name": "medicalnet", "depth": 50}):
            methods = [{"name": "medicalnet", "config": {"depth": 10}}]
            reason = missing(planned(network=network, methods=methods))["medicalnet"]
            assert ("weights fetch" in reason) == (network["depth"] == 10)
            assert ("depth 50" in reason) == (network["depth"] == 50)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"network": "swin_unetr"}, "sides must be multiples of 32 x 32 x 32; fewer `depths` need less"),
            ({"network": "vit"}, "task 'ncc[data=phantom]': network 'vit' cannot take images of 16 x 16 x 8"),
            ({"network": "resenc_unet"}, "6 levels need a side of more than 32; fewer `blocks` need less"),
            (
                {"methods": [{"name": "rotation", "config": {"crops": {"cube": [16, 16, 12]}}}]},
                "pretraining of 'rotation': network 'unet3d' cannot take images of 16 x 16 x 12",
            ),
            ({"methods": ["rotation+semantics"], "discovery": {"crops": {"cube": [20, 16, 8]}}}, "20 x 16 x 8"),
            ({"methods": [{"name": "rubiks_cube", "config": {"crops": {"cube": [24, 16, 16]}}}]}, "12 x 8 x 8"),
        ],
    )
    def test_sizes_that_a_network_cannot_take_are_refused_with_the_allowed_ones(
        self, changes: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(UsageError) as caught:
            plan(Suite.model_validate({**BASE, **changes}))
        assert message in str(caught.value)


class TestToday:
    """The suites of today's methods on two networks."""

    ROWS = {
        *(
            f"{method}_{network}"
            for method in ("scratch", "simclr", "moco_v2", "vicreg", "dino")
            for network in NETWORKS
        ),
        *(f"{method}_{network}" for method in ("voco", "volume_fusion", "jigsaw") for network in NETWORKS),
        "masked_autoencoder_vit",
    }

    PAPERS = {
        *("scratch", "simclr", "moco_v2", "vicreg", "dino", "voco", "volume_fusion", "jigsaw", "masked_autoencoder"),
        *("models_genesis", "semantic_genesis", "models_genesis_resenc", "semantic_genesis_resenc"),
    }

    def test_every_row_of_the_demo_is_planned_on_every_task(self) -> None:
        found = plan(load_suite("demo-today"))
        assert not missing(found)
        assert {cell.method for cell in found.cells} == self.ROWS
        assert len(found.cells) == 6 * len(self.ROWS)
        assert len(found.of_kind("initialisation")) == 2 * len(self.ROWS)

    @pytest.mark.parametrize("settings", [[], ["budget=tiny"]])
    def test_only_data_are_missing_from_the_full_size(self, settings: list[str]) -> None:
        found = plan(load_suite("today", settings=settings))
        assert {cell.method for cell in found.cells} == self.ROWS | self.PAPERS
        assert {cell.task for cell in found.cells} == {"ncc", "ncs", "lcs", "bms", "dxc", "pxs"}
        assert all("no folder given for the data" in reason for reason in missing(found).values())

    @pytest.mark.parametrize(("key", "crop"), [("3d", (64, 64, 32)), ("2d", (224, 224, 1))])
    def test_its_networks_take_the_published_crops(self, key: Any, crop: tuple[int, int, int]) -> None:
        for row in load_suite("today").methods:
            if not row.network:  # the papers'
                continue
            given = row.network[key]
            config = {**given.config, "dimension": int(key[0])}
            choice = NetworkChoice.model_validate({"name": given.name, "config": config})
            assert choice.config.refusal(crop) == ""
