"""A small checkpoint of a dense V-Net, as TensorFlow 2.21 saved it under NiftyNet's names (`tf.compat.v1.train.Saver`).

TensorFlow's own graph, made of `tf.nn` and `resize_bilinear` alone, computed `tested/logits` from `tested/image` in HU.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sg_bench.errors import DataError
from sg_bench.methods.published import Checkpoint
from sg_bench.methods.published_config import NiftyNetConfig
from sg_bench.networks.build import unet
from sg_bench.networks.configs import DenseVNetConfig, NetworkChoice
from sg_bench.networks.dense_vnet import upsampled
from sg_bench.networks.published.bundle import read_bundle
from sg_bench.networks.published.files import read_weights
from sg_bench.networks.published.own import Coverage, add_own
from sg_bench.networks.published.own_files import KNOWN, OwnWeights, find_own
from sg_bench.networks.weights import split_state
from sg_bench.training.pretraining import fresh_network
from sg_bench.workspace import Workspace

INDEX = Path(__file__).with_name("niftynet.index")
DATA = "niftynet.data-00000-of-00001"
CONFIG = DenseVNetConfig(width=2, growth=(1, 1, 1), layers=(1, 2, 1), skips=(1, 2, 1))
CHOICE = NetworkChoice(name="dense_vnet", config=CONFIG)
DECLARED = {"licence": "CC BY 4.0", "corpus": "Pancreas-CT and BTCV", "sources": []}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


def added(workspace: Workspace) -> tuple[OwnWeights, Coverage]:
    return add_own("niftynet", INDEX, CHOICE, workspace, DECLARED)


def test_every_tensor_of_the_network_is_found_and_what_is_left_is_named(workspace: Workspace) -> None:
    coverage = added(workspace)[1]
    assert coverage.encoder == (39, 39)
    assert coverage.complete_decoder
    assert not coverage.missing
    assert coverage.unused == ("global_step", "tested/image", "tested/logits")
    assert sorted(each.partition(" ")[0] for each in coverage.misshapen) == [
        "segmentation_head.bias",
        "segmentation_head.weight",
    ]


def test_the_network_computes_what_tensorflow_did(workspace: Workspace) -> None:
    kept = read_weights(workspace, "niftynet", added(workspace)[0].sha256)
    network = unet(CHOICE, out_channels=2).double().eval()
    absent = network.load_state_dict(kept, strict=False)
    assert not absent.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in absent.missing_keys)
    state = read_bundle(INDEX)
    image, wanted = (state[f"tested/{name}"].double().movedim(-1, 1).transpose(2, 3) for name in ("image", "logits"))
    with torch.no_grad():
        found = network.segment((image + 1000) / 2000)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_kernels_are_turned_to_torchs_layout_and_nothing_else_is(workspace: Workspace) -> None:
    state = read_bundle(INDEX)
    assert state["DenseVNet/conv_bn/conv_/w"].shape == (2, 1, 5, 5, 5)
    assert state["tested/image"].shape == (1, 16, 8, 8, 1)
    assert (state["global_step"].dtype, state["global_step"].item()) == (torch.int64, 3000)
    assert state["DenseVNet/conv_bn/conv_/w"].is_contiguous()


def test_the_method_starts_from_it(workspace: Workspace) -> None:
    kept = added(workspace)[0]
    config = NiftyNetConfig().located(workspace)
    assert (config.sha256, config.seen.corpus, config.decoder) == (kept.sha256, DECLARED["corpus"], True)
    method = Checkpoint(config)
    network = fresh_network(method, 0)
    method.prepare_network(network, partial(read_weights, workspace))
    encoder = method.initialisation(network)[0]
    wanted = {name: each for name, each in find_tensors(workspace).items() if name in encoder}
    assert len(wanted) == 39
    assert all(torch.equal(encoder[name], each) for name, each in wanted.items())
    assert split_state(method.backbone(network))[0].keys() == encoder.keys()


def find_tensors(workspace: Workspace) -> dict[str, Tensor]:
    return dict(read_weights(workspace, "niftynet", find_own("niftynet", workspace).sha256))


def test_without_the_file_the_command_that_adds_it_is_named(workspace: Workspace) -> None:
    with pytest.raises(DataError) as caught:
        NiftyNetConfig().located(workspace)
    assert "weights add niftynet FILE." in caught.value.hint
    assert KNOWN["niftynet"]["network"] == NiftyNetConfig().chosen_network.name


@pytest.mark.parametrize(
    ("file", "at", "message"),
    [
        (DATA, 40, "are not those that were written"),
        ("niftynet.index", 100, "the table's checksum is wrong"),
        ("niftynet.index", -1, "no table"),
    ],
)
def test_a_changed_byte_is_noticed(tmp_path: Path, file: str, at: int, message: str) -> None:
    for name in (INDEX.name, DATA):
        shutil.copy(INDEX.with_name(name), tmp_path)
    content = bytearray((tmp_path / file).read_bytes())
    content[at] ^= 1
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_bundle(tmp_path / INDEX.name)


def test_without_its_bytes_an_index_is_refused(tmp_path: Path) -> None:
    shutil.copy(INDEX, tmp_path)
    with pytest.raises(DataError, match=f"{DATA}: no such file"):
        read_bundle(tmp_path / INDEX.name)


@pytest.mark.parametrize("new", [3, 4, 6, 9])
def test_upsampling_puts_voxel_i_at_i_times_the_ratio(new: int) -> None:
    x = torch.rand(1, 1, 3, 1, 1, dtype=torch.float64)
    wanted = np.interp(np.arange(new) * 3 / new, np.arange(3), x.flatten().numpy())
    np.testing.assert_allclose(upsampled(x, torch.Size((new, 1, 1))).flatten().numpy(), wanted)
