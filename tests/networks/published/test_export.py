"""An initialisation is written out in three forms that load elsewhere, with a card that tells what it is."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sg_bench.config import key_of
from sg_bench.errors import UsageError
from sg_bench.methods.configs import ModelsGenesisConfig, ScratchConfig
from sg_bench.methods.published_config import ImageNetConfig, MedicalNetConfig
from sg_bench.networks.backbone import Backbone
from sg_bench.networks.build import encoder, unet
from sg_bench.networks.configs import NetworkChoice
from sg_bench.networks.published.checkpoints import read_checkpoint
from sg_bench.networks.published.export import (
    EXPORT_FORMATS,
    Initialisation,
    WeightsFormat,
    export,
    find_initialisation,
)
from sg_bench.networks.published.fitting import build_network, examine
from sg_bench.networks.resnet import UNet2D
from sg_bench.networks.unet import UNet3D
from sg_bench.networks.weights import save_initialisation, split_state
from sg_bench.workspace import Workspace, write_json

ENDINGS: dict[WeightsFormat, str] = {"safetensors": "safetensors", "official": "pt", "monai": "pt"}
STORE = {"source": "luna16", "manifest": {"cases": 623, "sha256": "ab" * 32}, "config": {}}
forms = pytest.mark.parametrize("form", EXPORT_FORMATS)


def made(
    workspace: Workspace, network: Backbone, method: str, config: Any, *, seed: int = 0, corpus: Any = None
) -> Initialisation:
    """Put an initialisation into the workspace as a run would."""
    encoder, decoder = split_state(network)
    recipe = {"kind": "initialisation", "method": method, "config": config.model_dump(mode="json"), "seed": seed}
    recipe |= {"corpus": corpus, "patterns": None}
    key = key_of(recipe)
    folder = workspace.path("initialisations", key)
    digest = save_initialisation(folder, encoder, decoder if getattr(config, "decoder", True) else {})
    write_json(folder / "record.json", {"key": key, "recipe": recipe, "outputs": {"initialisation": digest}})
    return find_initialisation(workspace, key)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


@pytest.fixture
def volumes(workspace: Workspace) -> Initialisation:
    corpus = {"store": STORE, "split": {}}
    return made(workspace, UNet3D(2), "models_genesis", ModelsGenesisConfig(width=2), corpus=corpus)


@pytest.fixture
def films(workspace: Workspace) -> Initialisation:
    return made(workspace, UNet2D(2), "scratch", ScratchConfig(width=2, dimension=2))


def code_of(card: Path) -> str:
    found = re.search(r"```python\n(.*?)```", card.read_text(), re.DOTALL)
    assert found
    return found[1]


def loaded(card: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """Return the network that a card's own lines make, run beside it."""
    monkeypatch.chdir(card.parent)
    names: dict[str, Any] = {}
    exec(code_of(card), names)
    network = names["network"]
    assert isinstance(network, nn.Module)
    return network


class TestForms:
    @forms
    def test_the_cards_lines_load_a_3d_network_whole(
        self, volumes: Initialisation, tmp_path: Path, form: WeightsFormat, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        card = export(volumes, form, tmp_path / f"a.{ENDINGS[form]}")
        state = loaded(card, monkeypatch).state_dict()
        wanted = {**volumes.encoder, **volumes.decoder}
        assert state.keys() == wanted.keys()
        assert all(torch.equal(state[name], tensor) for name, tensor in wanted.items())

    @forms
    def test_what_is_written_is_recognised_by_check(
        self, volumes: Initialisation, tmp_path: Path, form: WeightsFormat
    ) -> None:
        path = tmp_path / f"a.{ENDINGS[form]}"
        export(volumes, form, path)
        report = examine(path)
        assert (report.architecture, report.width, len(report.matched), report.unused) == ("unet3d", 2, 106, ())

    @pytest.mark.parametrize("form", ["safetensors", "official"])
    def test_the_cards_lines_load_a_2d_network_whole(
        self, films: Initialisation, tmp_path: Path, form: WeightsFormat, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / f"a.{ENDINGS[form]}"
        state = loaded(export(films, form, path), monkeypatch).state_dict()
        wanted = {**films.encoder, **films.decoder}
        assert all(torch.equal(state[name], tensor) for name, tensor in wanted.items())
        assert examine(path).decoder[0] == examine(path).decoder[1]

    def test_a_2d_encoder_loads_into_monais_resnet_and_computes_the_same(
        self, films: Initialisation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        network = loaded(export(films, "monai", tmp_path / "a.pt"), monkeypatch).double().eval()
        assert type(network).__module__.startswith("monai.")
        ours = UNet2D(2).double().eval()
        ours.load_state_dict({**films.encoder, **films.decoder})
        x = torch.rand(1, 1, 64, 64, 1, dtype=torch.float64)
        with torch.no_grad():
            wanted = ours.features(x)[-1]
            colours = (x[..., 0] - ours.mean) / ours.deviation
            hidden = network.maxpool(network.act(network.bn1(network.conv1(colours))))  # type: ignore[operator]
            for level in ("layer1", "layer2", "layer3", "layer4"):
                hidden = getattr(network, level)(hidden)
        torch.testing.assert_close(hidden, wanted)
        report = examine(tmp_path / "a.pt")
        assert (report.architecture, report.width, report.coverage) == ("resnet18", 2, 1.0)

    @forms
    def test_published_weights_without_a_decoder_go_out_as_they_came(
        self, workspace: Workspace, tmp_path: Path, form: WeightsFormat, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = made(workspace, build_network("medicalnet10"), "medicalnet", MedicalNetConfig(depth=10))
        path = tmp_path / f"a.{ENDINGS[form]}"
        network = loaded(export(found, form, path), monkeypatch)
        assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in found.encoder.items())
        if form == "official":
            assert all(name.startswith("module.") for name in torch.load(path, weights_only=True)["state_dict"])
        assert len(examine(path).matched) == 72

    @forms
    @pytest.mark.parametrize(("name", "decoder"), [("vit", False), ("swin_unetr", True)])
    def test_a_network_of_the_registry_loads_from_each_format_by_the_lines_of_its_card(
        self,
        workspace: Workspace,
        tmp_path: Path,
        name: str,
        decoder: bool,
        form: WeightsFormat,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        swin = {"feature_size": 12, "depths": (1, 1, 1, 1), "window": 2}
        settings = swin if name == "swin_unetr" else {"patch": 8, "width": 12, "depth": 1, "heads": 1}
        choice = NetworkChoice.model_validate({"name": name, "config": settings})
        found = made(workspace, (unet if decoder else encoder)(choice), "scratch", ScratchConfig(network=choice))
        card = export(found, form, tmp_path / f"a.{ENDINGS[form]}")
        assert f"sides multiples of {choice.config.multiple[0]}." in card.read_text()
        network = loaded(card, monkeypatch)
        monai = form == "monai" and name == "swin_unetr"
        assert type(network).__module__.startswith("monai") == monai
        own = {*found.encoder.values(), *found.decoder.values()}
        state = network.state_dict().values()
        assert sum(any(each.shape == one.shape and torch.equal(each, one) for one in state) for each in own) == len(own)

    def test_imagenets_encoder_bears_torchvisions_names(self, workspace: Workspace, tmp_path: Path) -> None:
        found = made(workspace, UNet2D(2), "imagenet", ImageNetConfig(width=2))
        export(found, "official", tmp_path / "a.pth")
        names = torch.load(tmp_path / "a.pth", weights_only=True)["state_dict"].keys()
        assert {"conv1.weight", "layer4.1.bn2.running_var", "layer2.0.downsample.0.weight"} < names
        assert len(names) == 120

    def test_safetensors_say_which_initialisation_they_are(self, volumes: Initialisation, tmp_path: Path) -> None:
        export(volumes, "safetensors", tmp_path / "a.safetensors")
        assert volumes.key.encode() in (tmp_path / "a.safetensors").read_bytes()[:2000]
        assert len(read_checkpoint(tmp_path / "a.safetensors")) == 106


class TestCard:
    def card(self, found: Initialisation, folder: Path, cells: Any = ()) -> str:
        return export(found, "safetensors", folder / "a.safetensors", cells).read_text()

    def test_it_tells_data_method_licence_contamination_keys_and_tensors(
        self, volumes: Initialisation, tmp_path: Path
    ) -> None:
        text = self.card(volumes, tmp_path)
        for part in (
            "# models_genesis, pretraining seed 0",
            volumes.key,
            "623 images, source `luna16`",
            "Do not test on images of `luna16` that it was trained on",
            "The licence of the data: CC BY 4.0",
            "per_volume: 32",
            "The ledger has no scores with these weights.",
            "down_tr64.ops.0.conv1.weight (2, 1, 3, 3, 3)",
        ):
            assert part in text
        assert str(tmp_path) not in text
        count = sum(math.prod(t.shape) for t in UNet3D(2).state_dict().values() if t.is_floating_point())
        assert f"106 tensors, {count:,} numbers".replace(",", " ") in text.replace(",", " ")

    def test_published_weights_keep_their_licence_and_name_what_they_have_seen(
        self, workspace: Workspace, tmp_path: Path
    ) -> None:
        config = MedicalNetConfig(depth=10, sha256="ab" * 32)
        text = self.card(made(workspace, build_network("medicalnet10"), "medicalnet", config), tmp_path)
        contamination = "Do not test on its pretraining data, 3DSeg-8"
        for part in ("resnet_10_23dataset.pth", "ab" * 32, contamination, "MIT", "Chen"):
            assert part in text

    def test_random_weights_have_seen_nothing(self, films: Initialisation, tmp_path: Path) -> None:
        text = self.card(films, tmp_path)
        assert "None: the weights are random." in text
        assert "None: it was trained on no images." in text

    def test_it_averages_the_finished_cells_that_stand_on_these_weights(
        self, volumes: Initialisation, tmp_path: Path
    ) -> None:
        def cell(score: float | None, initialisation: Any = volumes.record["recipe"], status: str = "done") -> Any:
            recipe = {"initialisation": initialisation, "task": {"name": "ncs"}}
            return {"recipe": recipe, "status": status, "headline": "dice_case", "metrics": {"dice_case": score}}

        other = {**volumes.record["recipe"], "seed": 1}
        cells = [cell(0.5), cell(0.7), cell(None), cell(0.1, other), cell(0.1, status="failed")]
        assert "| dice_case | 60.00 | 2 |" in self.card(volumes, tmp_path, cells)


class TestChoosing:
    def test_a_key_its_digits_and_method_and_seed_name_the_same(
        self, workspace: Workspace, volumes: Initialisation, films: Initialisation
    ) -> None:
        for reference in (volumes.key, volumes.key[:6], "models_genesis/0"):
            assert find_initialisation(workspace, reference).key == volumes.key

    @pytest.mark.parametrize("reference", ["models_genesis/1", "rotation/0", "abc", "zzzzzz", "0" * 64, "../x/0"])
    def test_what_is_not_there_is_answered_by_what_is(
        self, workspace: Workspace, volumes: Initialisation, reference: str
    ) -> None:
        with pytest.raises(UsageError, match=r"no initialisation '.*There are: models_genesis/0"):
            find_initialisation(workspace, reference)

    def test_several_of_one_name_are_told_apart_by_their_keys(
        self, workspace: Workspace, volumes: Initialisation
    ) -> None:
        other = made(workspace, UNet3D(2), "models_genesis", ModelsGenesisConfig(width=2, per_volume=1))
        with pytest.raises(UsageError, match="2 initialisations are called 'models_genesis/0'") as caught:
            find_initialisation(workspace, "models_genesis/0")
        assert all(key[:12] in str(caught.value) for key in (volumes.key, other.key))

    def test_an_empty_workspace_says_what_to_do(self, workspace: Workspace) -> None:
        with pytest.raises(UsageError, match="There are: none; run a suite first"):
            find_initialisation(workspace, "scratch/0")

    @forms
    def test_another_ending_is_refused(self, volumes: Initialisation, tmp_path: Path, form: WeightsFormat) -> None:
        with pytest.raises(UsageError, match=rf"--to {form} writes \."):
            export(volumes, form, tmp_path / "a.bin")

    @pytest.mark.parametrize("name", ["a.pt", "a.md"])
    def test_nothing_is_overwritten(self, volumes: Initialisation, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("mine")
        with pytest.raises(UsageError, match=r"exists\. Choose another name"):
            export(volumes, "monai", tmp_path / "a.pt")
        assert (tmp_path / name).read_text() == "mine"
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]
