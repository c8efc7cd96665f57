"""Networks that exist elsewhere compute what they compute there, from tensors of the published names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sg_bench.errors import DataError
from sg_bench.networks.build import encoder, unet
from sg_bench.networks.configs import NetworkChoice
from sg_bench.networks.i3d import I3D, published_tensors
from sg_bench.networks.vit import positions


def choice(name: str, **settings: Any) -> NetworkChoice:
    return NetworkChoice.model_validate({"name": name, "config": settings})


def test_swin_unetr_computes_what_monais_does_with_its_tensors() -> None:
    from monai.networks.nets.swin_unetr import SwinUNETR

    torch.manual_seed(0)
    depths, heads = (1, 1, 1, 1), (1, 2, 2, 2)
    theirs = SwinUNETR(1, 2, feature_size=12, depths=depths, num_heads=heads, window_size=4, spatial_dims=2).eval()
    ours = unet(choice("swin_unetr", dimension=2, feature_size=12, depths=depths, heads=heads, window=4), 2).eval()
    renamed = {}
    for name, tensor in theirs.state_dict().items():
        inner = name if name.startswith("swinViT.") else f"decoder.{name}"
        renamed[inner.replace("decoder.out.conv.conv.", "segmentation_head.")] = tensor
    ours.load_state_dict(renamed)
    image = torch.rand(1, 1, 64, 32, 1)
    with torch.no_grad():
        assert torch.allclose(ours.segment(image)[..., 0], theirs(image[..., 0]), atol=1e-5)


def test_resenc_has_nnunets_names() -> None:
    names = unet(choice("resenc_unet", width=2, blocks=(1, 2, 1))).state_dict().keys()
    assert {
        "encoder.stem.convs.0.conv.weight",
        "encoder.stages.1.blocks.0.conv1.norm.bias",
        "encoder.stages.1.blocks.0.skip.1.conv.weight",
        "encoder.stages.1.blocks.1.conv2.conv.bias",
        "decoder.transpconvs.0.bias",
        "decoder.stages.1.convs.0.norm.weight",
    } < names
    assert "encoder.stages.1.blocks.0.skip.1.conv.bias" not in names
    assert "encoder.stages.1.blocks.1.skip.0.conv.weight" not in names
    assert len(names) == 56


class TestI3D:
    def published(self) -> dict[str, Tensor]:
        """Return tensors as the usual files of the RGB network have them."""
        torch.manual_seed(0)
        state = encoder(choice("i3d", width=4, in_channels=3)).state_dict()
        names = {name.removeprefix("encoder."): each for name, each in state.items()}
        logits = {"logits.conv3d.weight": torch.zeros(400, 64, 1, 1, 1), "logits.conv3d.bias": torch.zeros(400)}
        return {f"module.{name}": each for name, each in (names | logits).items()}

    def network(self, channels: int = 1) -> I3D:
        found = encoder(choice("i3d", width=4, in_channels=channels)).eval()
        assert isinstance(found, I3D)
        return found

    def test_a_grey_image_is_three_equal_colours(self) -> None:
        grey, rgb = self.network(), self.network(3)
        for network in (grey, rgb):
            network.load_state_dict(published_tensors(self.published(), network))
        image = torch.rand(1, 1, 32, 64, 8)
        with torch.no_grad():
            for one, three in zip(grey.features(image), rgb.features(image.repeat(1, 3, 1, 1, 1)), strict=True):
                assert torch.allclose(one, three, atol=1e-6)

    @pytest.mark.parametrize(
        ("removed", "added", "message"),
        [
            ("module.Mixed_4e.b1b.conv3d.weight", "", "it lacks Mixed_4e.b1b.conv3d.weight"),
            ("module.logits.conv3d.bias", "", "it lacks logits.conv3d.bias"),
            ("", "Mixed_6a.b0.conv3d.weight", "it has unknown Mixed_6a.b0.conv3d.weight"),
            ("", "module.Conv3d_2b_1x1.conv3d.weight", "of another shape: Conv3d_2b_1x1.conv3d.weight"),
        ],
    )
    def test_a_file_with_other_tensors_is_refused(self, removed: str, added: str, message: str) -> None:
        state = self.published()
        state.pop(removed, None)
        state |= {added: torch.zeros(1)} if added else {}
        with pytest.raises(DataError, match=message):
            published_tensors(state, self.network())


def test_positions_of_a_transformer_differ_everywhere_and_do_not_depend_on_the_grids_end() -> None:
    small, large = positions((2, 3, 2), 24), positions((4, 3, 2), 24)
    assert torch.equal(small, large[: len(small)])
    assert len(large.unique(dim=0)) == 24
    assert positions((2, 2), 10).shape == (4, 10)
