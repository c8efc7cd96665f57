"""Published weights compute here what they compute by their own names, in plain functions, to the last bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sg_bench.errors import MethodError
from sg_bench.networks.published.fitting import build_network, read_into
from sg_bench.networks.published.resnet3d import DEPTHS, MedicalNet, MedicalNetUNet, PaddedShortcut
from sg_bench.networks.resnet import DEVIATION, MEAN
from sg_bench.networks.unet import YNet3D
from tests.networks.published import official

CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}
COUNTS = {10: 14_355_520, 18: 32_986_176, 34: 63_295_808, 50: 46_155_072}


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def test_the_3d_unet_restores_the_same_image(tmp_path: Path) -> None:
    state = official.filled(official.unet3d())
    network = build_network("unet3d").eval()
    read_into(network, official.write(tmp_path / "a.pt", state, "module."), "unet3d", decoder=True)
    x = images(1, 1, 16, 16, 8)
    with torch.no_grad():
        found, wanted = network(x), official.unet3d_forward(state, x)
    assert wanted.std() > 0.01
    torch.testing.assert_close(found, wanted, **CLOSE)


def test_a_pattern_head_of_as_many_classes_is_read_and_one_of_others_is_ignored(tmp_path: Path) -> None:
    state = official.filled(official.unet3d(44))
    path = official.write(tmp_path / "a.pt", state)
    same, other = YNet3D(32, 44), YNet3D(32, 10)
    assert not read_into(same, path, "unet3d", decoder=True).ignored
    assert torch.equal(same.clc_out.fc1.weight, state["clc_out.fc1.weight"])
    before = other.clc_out.conv1.weight.clone()
    assert len(read_into(other, path, "unet3d", decoder=True).ignored) == 9
    assert torch.equal(other.clc_out.conv1.weight, before)


def test_resnet18_gives_the_same_maps_of_a_grey_image_as_imagenet_was_normalised(tmp_path: Path) -> None:
    state = official.filled(official.resnet18())
    torch.save(state, tmp_path / "a.pth")
    network = build_network("resnet18").eval()
    report = read_into(network, tmp_path / "a.pth", "resnet18", decoder=False)
    assert (report.encoder, report.decoder[0], report.ignored) == (
        (100, 100),
        0,
        ("encoder.fc.bias", "encoder.fc.weight"),
    )
    x = images(2, 1, 64, 32, 1)
    colours = (x[..., 0] - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)
    with torch.no_grad():
        found, wanted = network.features(x), official.resnet18_forward(state, colours)
    for one, other in zip(found, wanted, strict=True):
        assert other.std() > 0.01
        torch.testing.assert_close(one, other, **CLOSE)


class TestMedicalNet:
    @pytest.mark.parametrize("depth", DEPTHS)
    def test_it_gives_the_same_maps(self, tmp_path: Path, depth: int) -> None:
        state = official.filled(official.medicalnet(depth))
        network = MedicalNetUNet(depth).eval()
        path = official.write(tmp_path / "a.pth", state, "module.")
        report = read_into(network, path, f"medicalnet{depth}", decoder=False)  # type: ignore[arg-type]
        assert (report.coverage, report.unused) == (1.0, ())
        x = images(1, 1, 32, 32, 16)
        with torch.no_grad():
            found, wanted = network.features(x), official.medicalnet_forward(state, depth, x)
        for one, other in zip(found, wanted, strict=True):
            assert other.std() > 0.01
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))

    @pytest.mark.parametrize("depth", DEPTHS)
    def test_its_maps_are_as_large_as_it_declares(self, depth: int) -> None:
        network = MedicalNet(depth)
        maps = network.eval().features(images(1, 1, 32, 16, 16))
        assert [each.shape[1] for each in maps] == list(network.channels)
        assert [32 // each.shape[2] for each in maps] == list(network.strides) == [2, 4, 8, 8, 8]
        assert sum(each.numel() for each in network.parameters()) == COUNTS[depth]

    def test_its_decoder_gives_logits_on_the_inputs_grid(self) -> None:
        network = MedicalNetUNet(10, 3)
        logits = network.decode(network.features(images(2, 1, 16, 24, 8)))
        assert logits.shape == (2, 3, 16, 24, 8)
        logits.sum().backward()
        assert all(each.grad is not None for each in network.parameters())

    def test_gradients_flow_through_a_shortcut_without_weights(self) -> None:
        shortcut, x = PaddedShortcut(new=2, stride=2), images(1, 3, 4, 4, 4).requires_grad_()
        out = shortcut(x)
        assert out.shape == (1, 5, 2, 2, 2)
        assert (torch.equal(out[:, :3], x[:, :, ::2, ::2, ::2]), int(out[:, 3:].count_nonzero())) == (True, 0)
        out.sum().backward()
        assert int(x.grad.count_nonzero()) == 24
        assert not list(shortcut.state_dict())

    @pytest.mark.parametrize("shape", [(1, 1, 12, 16, 16), (1, 2, 16, 16, 16), (1, 16, 16, 16), (1, 1, 0, 8, 8)])
    def test_another_shape_is_refused_by_name(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(MethodError, match=r"MedicalNet takes \(B, 1, X, Y, Z\) with X, Y and Z multiples of 8"):
            MedicalNet(10).features(torch.zeros(shape))

    def test_another_depth_is_refused(self) -> None:
        with pytest.raises(MethodError, match=r"MedicalNet has no depth 101\. Choose one of 10, 18, 34, 50"):
            MedicalNet(101)
