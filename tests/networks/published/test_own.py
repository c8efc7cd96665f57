"""Own checkpoints in the forms that people have, and the weights that a method starts from."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sg_bench.errors import DataError, UsageError
from sg_bench.methods.published import Checkpoint
from sg_bench.methods.published_config import CheckpointConfig
from sg_bench.networks.backbone import UNet
from sg_bench.networks.build import unet
from sg_bench.networks.configs import NetworkChoice
from sg_bench.networks.published.files import read_weights
from sg_bench.networks.published.own import Coverage, add_own, read_map
from sg_bench.networks.published.own_files import OwnWeights, check_own_name, find_own
from sg_bench.networks.weights import split_state
from sg_bench.training.pretraining import fresh_network
from sg_bench.workspace import Workspace

SETTINGS: dict[str, dict[str, Any]] = {
    "i3d": {"width": 4},
    "resenc_unet": {"width": 2, "blocks": (1, 2, 1)},
    "resnet18": {"width": 1, "dimension": 2},
    "swin_unetr": {"feature_size": 4, "depths": (1, 1), "heads": (1, 2), "window": 2},
    "vit": {"patch": 8, "width": 12, "depth": 2, "heads": 2},
}
DECLARED = {"licence": "CC0", "corpus": "our CT", "sources": ["luna16"]}
State = dict[str, Tensor]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


def chosen(name: str, **settings: Any) -> NetworkChoice:
    return NetworkChoice.model_validate({"name": name, "config": {**SETTINGS[name], **settings}})


def filled(name: str, out_channels: int = 1, **settings: Any) -> UNet:
    torch.manual_seed(1)
    return unet(chosen(name, **settings), out_channels)


def prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{name}": each for name, each in state.items()}


def replaced(state: State, *pairs: tuple[str, str]) -> State:
    for pattern, replacement in pairs:
        state = {re.sub(pattern, replacement, name): each for name, each in state.items()}
    return state


def monai(out_channels: int) -> State:
    pairs = (r"^segmentation_head\.", "out.conv.conv."), (r"^decoder\.", "")
    return replaced(dict(filled("swin_unetr", out_channels).state_dict()), *pairs)


def nnunet() -> dict[str, Any]:
    """The weights of nnU-Net: each convolution under two names, and outputs that supervise coarser maps."""
    state = replaced(dict(filled("resenc_unet", 3).state_dict()), (r"^segmentation_head\.", "decoder.seg_layers.1."))
    state["decoder.seg_layers.0.weight"] = torch.zeros(3, 4, 1, 1, 1)
    twice = {name.replace(".conv.", ".all_modules.0."): each for name, each in state.items() if ".conv." in name}
    again = {f"decoder.{name}": each for name, each in state.items() if name.startswith("encoder.")}
    return {"network_weights": {**state, **twice, **again}, "trainer_name": "nnUNetTrainer", "current_epoch": 1000}


def layouts() -> dict[str, tuple[str, Any, bool, int]]:
    """Return by its publisher: network, content of the file, whether its decoder is used, tensors left over."""
    encoder = split_state(filled("resenc_unet"))[0]
    vit = split_state(filled("vit"))[0] | {"cls_token": torch.zeros(1, 1, 12), "pos_embed": torch.zeros(1, 9, 12)}
    swin = {name: each for name, each in monai(1).items() if name.startswith("swinViT.")}
    resnet = replaced(split_state(filled("resnet18"))[0], (r"^encoder\.", "")) | {"fc.weight": torch.zeros(9, 16)}
    inception = replaced(split_state(filled("i3d", in_channels=3))[0], (r"^encoder\.", ""))
    inception |= {"logits.conv3d.weight": torch.zeros(4, 64, 1, 1, 1), "logits.conv3d.bias": torch.zeros(4)}
    return {
        "MONAI": ("swin_unetr", {"state_dict": prefixed(monai(14), "module."), "epoch": 3}, True, 0),
        "SuPreM": ("swin_unetr", {"net": prefixed(monai(32), "module.backbone."), "optimizer": {}}, True, 0),
        "VoCo": ("swin_unetr", {"state_dict": prefixed(swin, "module.") | {"proj.weight": torch.zeros(2)}}, False, 1),
        "nnU-Net": ("resenc_unet", nnunet(), True, 1),
        "nnssl": ("resenc_unet", {"network_weights": encoder, "nnssl_adaptation_plan": {"a": 1}}, False, 0),
        "MAE": ("vit", {"model": vit}, False, 2),
        "DINO": ("vit", {"teacher": prefixed(vit, "backbone."), "epoch": 1}, False, 2),
        "Lightning": ("resnet18", {"state_dict": prefixed(resnet, "model.encoder.")}, False, 1),
        "I3D": ("i3d", inception, False, 2),
    }


def added(name: str, content: Any, workspace: Workspace, rules: Any = None) -> tuple[OwnWeights, Coverage]:
    path = workspace.root.parent / "given.pth"
    torch.save(content, path)
    return add_own("mine", path, chosen(name), workspace, DECLARED, rules)


@pytest.mark.parametrize("publisher", layouts())
def test_a_checkpoint_is_recognised_and_starts_a_network(publisher: str, workspace: Workspace) -> None:
    name, content, decoder, left = layouts()[publisher]
    kept, coverage = added(name, content, workspace)
    assert coverage.encoder[0] == coverage.encoder[1]
    assert (coverage.complete_decoder, len(coverage.unused)) == (decoder, left)
    given = CheckpointConfig.model_validate({"weights": "mine", "dimension": 2 if name == "resnet18" else 3})
    config = given.located(workspace)
    assert (config.sha256, config.decoder, config.seen.corpus) == (kept.sha256, decoder, "our CT")
    method = Checkpoint(config)
    network = fresh_network(method, 0)
    report = method.prepare_network(network, partial(read_weights, workspace))
    assert "0 missing" in report or not decoder
    found = method.initialisation(network)[0]
    wanted = split_state(filled(name))[0]
    assert found.keys() == wanted.keys()
    if name == "i3d":
        wanted = split_state(filled(name, in_channels=3))[0]
        first = "encoder.Conv3d_1a_7x7.conv3d.weight"
        wanted[first] = wanted[first].sum(dim=1, keepdim=True)
    assert all(torch.equal(found[each], wanted[each]) for each in wanted)
    assert bool(method.initialisation(network)[1]) == decoder


def test_a_map_renames_what_no_known_layout_does(workspace: Workspace, tmp_path: Path) -> None:
    content = replaced(split_state(filled("vit"))[0], (r"^blocks\.", "trunk.layer"))
    with pytest.raises(DataError, match=r"it covers 4 of 28 tensors of the encoder \(14%\).*trunk\.layer0"):
        added("vit", content, workspace)
    path = tmp_path / "map.yaml"
    path.write_text('"^trunk[.]layer": "blocks."\n')
    assert added("vit", content, workspace, read_map(path))[1].encoder == (28, 28)
    path.write_text('"(": "b"\n')
    with pytest.raises(UsageError, match="is not a pattern"):
        read_map(path)


def test_weights_of_other_sizes_are_refused_with_the_first_of_them(workspace: Workspace) -> None:
    with pytest.raises(DataError, match=r"of another shape: .* where the network has"):
        added("vit", split_state(filled("vit", width=24))[0], workspace)


def test_a_file_that_would_run_code_is_refused(workspace: Workspace) -> None:
    with pytest.raises(DataError, match="no code was executed"):
        added("vit", {"model": {"blocks": Path("x")}}, workspace)


def test_published_names_are_not_for_own_files() -> None:
    with pytest.raises(UsageError, match="the name of published weights"):
        check_own_name("models_genesis_published")


def test_what_is_not_there_is_named_with_the_command_that_adds_it(workspace: Workspace) -> None:
    with pytest.raises(DataError) as caught:
        find_own("mine", workspace)
    assert "weights add mine FILE --network" in caught.value.hint
