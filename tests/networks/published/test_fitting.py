"""Every tensor of a file is accounted for, and a file that does not cover what is needed changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sg_bench.errors import DataError
from sg_bench.networks.published.catalogue import CATALOGUE, Architecture
from sg_bench.networks.published.fitting import DECODER, FileReport, build_network, examine, read_into
from sg_bench.networks.resnet import UNet2D
from sg_bench.networks.unet import UNet3D, YNet3D
from sg_bench.networks.weights import StateDict
from tests.fixtures import one_line
from tests.networks.published import official
from tests.networks.published.official import write

FIRST = "down_tr64.ops.0.conv1.weight"


@pytest.fixture
def state() -> StateDict:
    torch.manual_seed(3)
    return {name: tensor.clone() for name, tensor in UNet3D(2).state_dict().items()}


def read(path: Path, *, decoder: bool = True) -> tuple[UNet3D, FileReport]:
    torch.manual_seed(4)
    network = UNet3D(2)
    return network, read_into(network, path, "unet3d", decoder=decoder)


def refused(path: Path, *parts: object, decoder: bool = True) -> None:
    torch.manual_seed(4)
    network = UNet3D(2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(DataError) as caught:
        read_into(network, path, "unet3d", decoder=decoder)
    one_line(caught, path, *parts)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


class TestReading:
    def test_a_whole_file_is_read_to_the_last_tensor(self, tmp_path: Path, state: StateDict) -> None:
        network, report = read(write(tmp_path / "a.pt", state, "module."))
        assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
        assert (len(report.matched), report.encoder, report.decoder, report.coverage) == (106, (48, 48), (44, 44), 1.0)
        assert str(report) == (
            "48 of 48 tensors of the encoder and 44 of 44 of the decoder; "
            "0 missing, 0 of another shape, 0 ignored, 0 unused"
        )

    def test_half_precision_becomes_single(self, tmp_path: Path, state: StateDict) -> None:
        half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
        network, _ = read(write(tmp_path / "a.pt", half))
        assert network.state_dict()[FIRST].dtype == torch.float32
        torch.testing.assert_close(network.state_dict()[FIRST], half[FIRST].float())

    def test_heads_of_the_pretraining_are_ignored_and_what_is_not_known_is_unused(
        self, tmp_path: Path, state: StateDict
    ) -> None:
        state |= {
            name: torch.zeros(1) for name in ("projection_head.0.weight", "prototypes.weight", "clc_out.fc1.bias")
        }
        _, report = read(write(tmp_path / "a.pt", {**state, "surprise": torch.zeros(1)}))
        assert report.ignored == ("clc_out.fc1.bias", "projection_head.0.weight", "prototypes.weight")
        assert report.unused == ("surprise",)

    def test_counters_may_be_missing(self, tmp_path: Path, state: StateDict) -> None:
        without = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
        _, report = read(write(tmp_path / "a.pt", without))
        assert (len(report.matched), report.missing, report.coverage) == (92, (), 1.0)

    def test_a_head_of_the_same_classes_is_read_and_a_part_of_one_is_not(self, tmp_path: Path) -> None:
        given = YNet3D(2, 5).state_dict()
        for file, ignored in ((given, 0), ({k: v for k, v in given.items() if k != "clc_out.fc1.bias"}, 8)):
            path = write(tmp_path / "a.pt", file)
            assert len(read_into(YNet3D(2, 5), path, "unet3d", decoder=True).ignored) == ignored


class TestRefusals:
    def test_a_missing_encoder_tensor_is_named_with_the_coverage(self, tmp_path: Path, state: StateDict) -> None:
        del state["down_tr512.ops.1.bn1.running_var"]
        path = write(tmp_path / "a.pt", state)
        refused(path, "it covers 47 of 48 tensors of the encoder (98%)", "1 missing (down_tr512.ops.1.bn1.running_var)")

    def test_a_transposed_kernel_is_recognised(self, tmp_path: Path, state: StateDict) -> None:
        state[FIRST] = state[FIRST].transpose(0, 1).contiguous()
        path = write(tmp_path / "a.pt", state)
        refused(
            path,
            f"{FIRST} is (1, 2, 3, 3, 3) where the network has (2, 1, 3, 3, 3)",
            "axes are in the order of another framework",
        )

    def test_weights_of_another_width_are_refused_with_both_shapes(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.pt", UNet3D(4).state_dict())
        refused(path, "is (8,) where the network has (4,)", "of another shape", decoder=False)

    def test_a_missing_decoder_is_refused_where_it_is_wanted_and_only_there(
        self, tmp_path: Path, state: StateDict
    ) -> None:
        path = write(tmp_path / "a.pt", {name: each for name, each in state.items() if not name.startswith(DECODER)})
        refused(path, "it has no decoder", "config: {decoder: false}")
        network, _ = read(path, decoder=False)
        assert torch.equal(network.state_dict()[FIRST], state[FIRST])

    def test_a_part_of_a_decoder_is_refused_where_it_is_wanted(self, tmp_path: Path, state: StateDict) -> None:
        del state["up_tr64.up_conv.bias"]
        path = write(tmp_path / "a.pt", state)
        refused(path, "it covers 43 of 44 tensors of the decoder (98%)", "1 missing (up_tr64.up_conv.bias)")
        assert str(read(path, decoder=False)[1]).startswith(
            "48 of 48 tensors of the encoder and 43 of 44 of the decoder"
        )

    def test_a_decoder_that_is_not_wanted_stays_random(self, tmp_path: Path, state: StateDict) -> None:
        network, _ = read(write(tmp_path / "a.pt", state), decoder=False)
        torch.manual_seed(4)
        assert torch.equal(network.up_tr64.up_conv.weight, UNet3D(2).up_tr64.up_conv.weight)
        assert not torch.equal(network.up_tr64.up_conv.weight, state["up_tr64.up_conv.weight"])

    def test_weights_of_another_network_cover_nothing(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.pt", UNet2D(1).state_dict())
        refused(path, "it covers 0 of 48 tensors of the encoder (0%)")


class TestRecognition:
    @pytest.mark.parametrize("depth", [10, 18, 34, 50])
    def test_the_depth_of_medicalnet_is_told_by_its_tensors(self, tmp_path: Path, depth: int) -> None:
        shapes = official.medicalnet(depth)
        tiny = {name: torch.tensor(0.0).expand(shape) for name, shape in shapes.items()}
        report = examine(write(tmp_path / "a.pth", tiny, "module."))
        assert (report.architecture, report.coverage, report.unused) == (f"medicalnet{depth}", 1.0, ())

    @pytest.mark.parametrize("width", [1, 2, 3])
    def test_the_width_of_our_own_networks_is_told_by_theirs(self, tmp_path: Path, width: int) -> None:
        networks: dict[Architecture, torch.nn.Module] = {"unet3d": UNet3D(width), "resnet18": UNet2D(width)}
        for architecture, network in networks.items():
            report = examine(write(tmp_path / "a.pt", network.state_dict()))
            assert (report.architecture, report.width, report.coverage) == (architecture, width, 1.0)

    def test_tensors_of_no_known_network_are_named(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.pt", {"Mixed_3b.b0.conv3d.weight": torch.zeros(1)})
        with pytest.raises(DataError) as caught:
            examine(path)
        one_line(caught, path, "Mixed_3b.b0.conv3d.weight", "belong to no known network")

    def test_said_to_be_something_it_is_compared_with_that(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.pt", UNet3D(2).state_dict())
        assert examine(path, CATALOGUE["transvw_published"]).coverage < 0.2
        assert examine(path, CATALOGUE["imagenet"]).encoder[0] == 0


def test_every_entry_of_the_catalogue_counts_its_networks_parameters() -> None:
    for weights in CATALOGUE.values():
        own = build_network(weights.architecture).named_parameters()
        count = sum(each.numel() for name, each in own if weights.decoder or not name.startswith(DECODER))
        assert weights.parameters == count + 513_000 * (weights.name == "imagenet"), weights.name
