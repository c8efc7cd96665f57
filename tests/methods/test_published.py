"""Published weights are a method that is never trained, and one pretraining whatever the seeds."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from sg_bench.config import canonical_json, merged
from sg_bench.errors import MethodError, UsageError
from sg_bench.methods.published import Published
from sg_bench.methods.published_config import ImageNetConfig, MedicalNetConfig, PublishedConfig, TransVWPublishedConfig
from sg_bench.networks.published.catalogue import CATALOGUE, PublishedWeights
from sg_bench.networks.published.files import read_weights
from sg_bench.networks.weights import load_initialisation
from sg_bench.planning import Plan, plan
from sg_bench.registry import METHODS
from sg_bench.running.stages.dispatch import attempt
from sg_bench.statistics.units import units_of
from sg_bench.suite import Suite
from sg_bench.tasks import read_task
from sg_bench.training.fine_tuning import task_network
from sg_bench.workspace import Workspace, file_digest, write_json
from tests.networks.published import official

NAMES = ["imagenet", "medicalnet", "models_genesis_published", "semantic_genesis_published", "transvw_published"]
NCS, DXC = "ncs[data=phantom]", "dxc[data=phantom]"
BASE: dict[str, Any] = {
    "name": "mine",
    "width": 32,
    "corpora": {"3d": {"name": "phantom", "source": "phantom"}},
    "methods": ["scratch", "transvw_published"],
    "tasks": [NCS],
    "pretraining_seeds": "0-2",
    "fine_tuning_seeds": "0-1",
}
every = pytest.mark.parametrize("name", NAMES)


def place(name: str, workspace: Workspace, file: Path | None = None) -> str:
    """Put a file where `weights add` would, without a look into it, and return its hash; planning reads names only."""
    weights: PublishedWeights = CATALOGUE[name]
    sha256 = file_digest(file) if file else hashlib.sha256(name.encode()).hexdigest()
    path = workspace.path("weights", name) / f"{sha256}{Path(weights.file).suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, path) if file else path.write_bytes(b"never read by planning")
    write_json(path.with_suffix(".json"), {"licence": weights.licence, "agreed": "--yes", "bytes": 1})
    return sha256


def planned(workspace: Workspace, **changes: Any) -> Plan:
    return plan(Suite.model_validate(merged(BASE, changes)), workspace=workspace)


def keys(found: Plan, method: str) -> list[str]:
    return [cell.key for cell in found.cells if cell.method == method]


def silent(done: int, total: int | None) -> None:
    """Report to no one."""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


@pytest.fixture(scope="module")
def medicalnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = official.filled(official.medicalnet(10))
    return official.write(tmp_path_factory.mktemp("official") / "resnet_10_23dataset.pth", state, "module.")


class TestConfigs:
    @every
    def test_it_needs_weights_and_no_corpus(self, name: str) -> None:
        kind: Any = METHODS.config(name)
        assert kind.needs == {"weights"}
        assert issubclass(kind, PublishedConfig)

    @every
    def test_it_survives_json(self, name: str) -> None:
        kind = METHODS.config(name)
        again = kind.model_validate(json.loads(canonical_json(kind())))
        assert canonical_json(again) == canonical_json(kind())

    @every
    def test_it_declares_what_the_weights_have_seen(self, name: str) -> None:
        config: Any = METHODS.config(name)()
        assert config.seen.corpus == CATALOGUE[config.weights].corpus
        assert config.seen.sources == (("luna16",) if name.endswith("_published") else ())

    def test_the_depth_chooses_the_weights(self) -> None:
        config = MedicalNetConfig(depth=50)
        assert (config.weights, config.architecture) == ("medicalnet_resnet50", "medicalnet50")
        assert MedicalNetConfig().weights == "medicalnet_resnet18"

    @pytest.mark.parametrize(
        ("kind", "settings", "why"),
        [
            (MedicalNetConfig, {"depth": 101}, "Input should be 10, 18, 34 or 50"),
            (MedicalNetConfig, {"decoder": True}, "have no decoder: leave `decoder` out"),
            (ImageNetConfig, {"weights": "transvw_published"}, "'weights' cannot be chosen"),
            (ImageNetConfig, {"seen": {"corpus": "nothing"}}, "'seen' cannot be chosen"),
            (ImageNetConfig, {"dimension": 3}, "no 3D version"),
            (TransVWPublishedConfig, {"architecture": "resnet18"}, "'architecture' cannot be chosen"),
            (TransVWPublishedConfig, {"sha256": "f37072fd"}, "String should match pattern"),
            (TransVWPublishedConfig, {"path": "a.pt"}, "Extra inputs"),
        ],
    )
    def test_what_follows_from_the_weights_cannot_be_told(
        self, kind: type[PublishedConfig], settings: dict[str, Any], why: str
    ) -> None:
        with pytest.raises(ValueError, match=why):
            kind.model_validate(settings)


class TestPlanning:
    def test_without_the_file_its_cells_are_missing_with_the_commands_that_bring_it(self, workspace: Workspace) -> None:
        found = planned(workspace)
        (reason,) = {cell.missing for cell in found.cells if cell.method == "transvw_published"}
        assert reason == (
            "the weights 'transvw_published' are not in the workspace. "
            "Type sg-bench weights fetch transvw_published, or sg-bench weights add transvw_published PATH"
        )
        assert all(keys(found, "scratch"))

    def test_one_file_is_one_pretraining_however_many_seeds_the_suite_has(self, workspace: Workspace) -> None:
        place("transvw_published", workspace)
        for seeds in ("0-2", "5-9"):
            found = planned(workspace, pretraining_seeds=seeds)
            cells = [cell for cell in found.cells if cell.method == "transvw_published"]
            assert [(cell.pretraining_seed, cell.fine_tuning_seed) for cell in cells] == [(0, 0), (0, 1)]
            recipes = [job.recipe for job in found.of_kind("initialisation") if job.recipe.corpus is None]
            assert [each.seed for each in recipes if each.method == "transvw_published"] == [0]

    def test_its_repetitions_are_fine_tunings_and_never_pretrainings(self, workspace: Workspace) -> None:
        place("transvw_published", workspace)
        found = planned(workspace)
        scores = {
            method: {(c.pretraining_seed, c.fine_tuning_seed): 0.5 for c in found.cells if c.method == method}
            for method in ("scratch", "transvw_published")
        }
        units = {method: units_of(each) for method, each in scores.items()}
        assert (units["scratch"].kind, units["scratch"].n) == ("pretraining", 3)
        assert (units["transvw_published"].kind, units["transvw_published"].n) == ("fine-tuning", 2)

    def test_missing_cells_are_counted_once_too(self, workspace: Workspace) -> None:
        assert len(keys(planned(workspace), "transvw_published")) == 2

    def test_the_key_follows_the_files_content_and_not_its_place(self, workspace: Workspace, tmp_path: Path) -> None:
        sha256 = place("transvw_published", workspace)
        found = planned(workspace)
        recipe = next(job.recipe for job in found.of_kind("cell") if job.key in keys(found, "transvw_published"))
        assert recipe.key_content()["initialisation"]["config"]["sha256"] == sha256
        assert str(tmp_path) not in recipe.key_json
        elsewhere = Workspace(workspace.root.rename(tmp_path / "moved"))
        assert keys(planned(elsewhere), "transvw_published") == keys(found, "transvw_published")
        (tmp_path / "other.pt").write_bytes(b"other content")
        shutil.rmtree(elsewhere.path("weights"))
        place("transvw_published", elsewhere, tmp_path / "other.pt")
        assert not set(keys(planned(elsewhere), "transvw_published")) & set(keys(found, "transvw_published"))

    def test_settings_of_pretraining_do_not_rename_it(self, workspace: Workspace) -> None:
        place("transvw_published", workspace)
        after = planned(workspace, pretraining={"training": {"epochs": 30}, "workers": 2}, backend="ray")
        assert keys(after, "transvw_published") == keys(planned(workspace), "transvw_published")

    def test_of_two_files_the_suite_says_which(self, workspace: Workspace, tmp_path: Path) -> None:
        (tmp_path / "other.pt").write_bytes(b"other content")
        one, two = place("transvw_published", workspace), place("transvw_published", workspace, tmp_path / "other.pt")
        reasons = {cell.missing for cell in planned(workspace).cells if cell.missing}
        assert len(reasons) == 1
        assert "there are 2 files of the weights 'transvw_published'" in str(reasons)
        chosen = [
            keys(
                planned(workspace, methods=[{"name": "transvw_published", "config": {"sha256": each}}]),
                "transvw_published",
            )
            for each in (one, two)
        ]
        assert all(map(all, chosen))
        assert not set(chosen[0]) & set(chosen[1])

    def test_a_unet_of_another_width_is_missing_and_medicalnet_has_no_width(self, workspace: Workspace) -> None:
        for name in ("transvw_published", "medicalnet_resnet18"):
            place(name, workspace)
        methods = ["transvw_published", "medicalnet"]
        narrow, wide = (planned(workspace, methods=methods, width=width) for width in (4, 32))
        (reason,) = {cell.missing for cell in narrow.cells if cell.method == "transvw_published"}
        assert "are of width 32, and the suite's networks of width 4. Set width: 32" in str(reason)
        assert keys(narrow, "medicalnet") == keys(wide, "medicalnet") != ["", ""]

    def test_each_is_planned_for_tasks_of_its_dimension_and_missing_for_others(self, workspace: Workspace) -> None:
        for name in ("imagenet", "transvw_published"):
            place(name, workspace)
        found = planned(workspace, methods=["imagenet", "transvw_published"], tasks=[NCS, DXC])
        reasons = {(cell.method, cell.task): cell.missing for cell in found.cells}
        assert reasons == {
            ("imagenet", NCS): "imagenet has no 3D version. Leave it out of these tasks",
            ("imagenet", DXC): None,
            ("transvw_published", NCS): None,
            ("transvw_published", DXC): "transvw_published has no 2D version. Leave it out of these tasks",
        }

    def test_a_wrong_setting_is_a_usage_error(self, workspace: Workspace) -> None:
        with pytest.raises(UsageError, match="the weights 'imagenet' have no decoder"):
            planned(workspace, methods=[{"name": "imagenet", "config": {"decoder": True}}], tasks=[DXC])

    def test_semantics_cannot_be_added_to_it(self) -> None:
        with pytest.raises(UsageError, match="method 'imagenet' does not pretrain"):
            METHODS.config("imagenet+semantics")


class TestReading:
    def job(self, workspace: Workspace, **changes: Any) -> Any:
        methods = [{"name": "medicalnet", "config": {"depth": 10}}]
        (job,) = planned(workspace, methods=methods, **changes).of_kind("initialisation")
        return job

    def test_the_initialisation_holds_the_files_tensors_and_says_what_became_of_them(
        self, workspace: Workspace, medicalnet: Path
    ) -> None:
        place("medicalnet_resnet10", workspace, medicalnet)
        job = self.job(workspace)
        assert attempt(job, workspace, silent) is None
        folder = workspace.path("initialisations", job.key)
        encoder, decoder = load_initialisation(folder)
        state = official.filled(official.medicalnet(10))
        assert {name.removeprefix("encoder."): tensor for name, tensor in encoder.items()}.keys() == state.keys()
        assert all(torch.equal(encoder[f"encoder.{name}"], tensor) for name, tensor in state.items())
        assert decoder == {}
        record = json.loads((folder / "record.json").read_text())
        assert record["loaded"].startswith("60 of 60 tensors of the encoder and no decoder")
        assert str(workspace.root) not in json.dumps(record)

    def test_a_file_that_changed_after_planning_is_refused(self, workspace: Workspace, medicalnet: Path) -> None:
        sha256 = place("medicalnet_resnet10", workspace, medicalnet)
        path = workspace.path("weights", "medicalnet_resnet10") / f"{sha256}.pth"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        job = self.job(workspace)
        failure = attempt(job, workspace, silent)
        assert failure is not None
        assert failure.kind == "data"
        assert f"medicalnet_resnet10 (weights/medicalnet_resnet10/{sha256}.pth): its SHA-256 is" in failure.message
        assert not workspace.path("initialisations", job.key).exists()

    def test_a_file_that_vanished_after_planning_is_missed(self, workspace: Workspace, medicalnet: Path) -> None:
        place("medicalnet_resnet10", workspace, medicalnet)
        job = self.job(workspace)
        shutil.rmtree(workspace.path("weights"))
        failure = attempt(job, workspace, silent)
        assert failure is not None
        assert "Type sg-bench weights fetch medicalnet_resnet10" in failure.message

    @pytest.mark.parametrize("task", ["ncc[data=phantom]", NCS, "ncs[data=phantom,protocol=frozen]"])
    def test_every_kind_of_task_takes_all_of_medicalnets_encoder(self, task: str) -> None:
        encoder = {f"encoder.{name}": each for name, each in official.filled(official.medicalnet(10)).items()}
        network, report = task_network(read_task(task), MedicalNetConfig(depth=10).chosen_network, encoder, {}, 0)
        assert len(report.matched) == 72
        assert report.unused == ()
        with torch.no_grad():
            logits = network.eval()(torch.rand(1, 1, 16, 16, 8))
        assert logits.shape == ((1, 1) if task.startswith("ncc") else (1, 1, 16, 16, 8))

    def test_without_its_decoder_only_the_encoder_is_handed_over(self, tmp_path: Path, workspace: Workspace) -> None:
        state = official.filled(official.unet3d())
        sha256 = place("transvw_published", workspace, official.write(tmp_path / "a.pt", state, "module."))
        for decoder in (True, False):
            method = Published(TransVWPublishedConfig(sha256=sha256, decoder=decoder))
            network = method.network()
            method.prepare_network(network, partial(read_weights, workspace))
            encoder, rest = method.initialisation(network)
            assert (len(encoder), len(rest)) == (56, 50 if decoder else 0)
            assert (
                torch.equal(network.state_dict()["out_tr.final_conv.bias"], state["out_tr.final_conv.bias"]) == decoder
            )

    @every
    def test_it_does_not_pretrain(self, name: str) -> None:
        method = METHODS.load(name)(METHODS.config(name)())
        assert method.stages() == []
        with pytest.raises(MethodError, match="is read from a file, so it has no training data"):
            method.sampling()
