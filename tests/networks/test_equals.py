"""Networks that exist elsewhere compute what they compute there, from tensors of the published names."""

from __future__ import annotations

from typing import Any

import torch

from sg_bench.networks.build import unet
from sg_bench.networks.configs import NetworkChoice
from sg_bench.networks.published.own import renamed
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


def test_i3d_computes_of_a_grey_image_what_the_published_network_does_of_three_equal_colours() -> None:
    torch.manual_seed(0)
    rgb = unet(choice("i3d", width=4, in_channels=3)).eval()
    encoder = {name: each for name, each in rgb.state_dict().items() if name.startswith("encoder.")}
    published = {name.replace("encoder.", "module."): each for name, each in encoder.items()}
    published |= {"module.logits.conv3d.weight": torch.zeros(400, 64, 1, 1, 1)}
    grey = unet(choice("i3d", width=4)).eval()
    found, unused = renamed(published, grey, "i3d")
    assert found.keys() == encoder.keys()
    assert unused == ["module.logits.conv3d.weight"]
    grey.load_state_dict(found, strict=False)
    image = torch.rand(1, 1, 32, 64, 8)
    with torch.no_grad():
        for one, three in zip(grey.features(image), rgb.features(image.repeat(1, 3, 1, 1, 1)), strict=True):
            assert torch.allclose(one, three, atol=1e-6)


def test_positions_of_a_transformer_differ_everywhere_and_do_not_depend_on_the_grids_end() -> None:
    small, large = positions((2, 3, 2), 24), positions((4, 3, 2), 24)
    assert torch.equal(small, large[: len(small)])
    assert len(large.unique(dim=0)) == 24
    assert positions((2, 2), 10).shape == (4, 10)
