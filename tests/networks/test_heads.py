"""Heads give logits of the right shape, and train what they should."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sg_bench.networks.backbone import Backbone
from sg_bench.networks.heads import Classifier, Segmenter
from sg_bench.networks.unet import Encoder3D, UNet3D


class Flat(Backbone):
    """A 2D backbone of one map."""

    channels, strides = (6,), (4,)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 4, stride=4)

    def encode(self, x: Tensor) -> list[Tensor]:
        return [self.conv(x)]


def test_a_classifier_puts_512_1024_outputs_on_the_published_encoder() -> None:
    with torch.device("meta"):
        head = Classifier(Encoder3D(32), 3)
    assert head.hidden is not None
    assert (head.hidden.in_features, head.hidden.out_features) == (512, 1024)
    assert (head.output.in_features, head.output.out_features) == (1024, 3)


def test_a_classifier_gives_signed_logits_and_trains_everything_it_holds() -> None:
    head = Classifier(Encoder3D(2), 3)
    logits = head(torch.rand(8, 1, 16, 16, 8))
    assert logits.shape == (8, 3)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_a_classifier_on_a_unet_does_not_run_its_decoder() -> None:
    unet = UNet3D(2)
    unet.out_tr.register_forward_hook(lambda *_: pytest.fail("the decoder ran"))
    assert Classifier(unet, 1)(torch.rand(2, 1, 16, 16, 8)).shape == (2, 1)


def test_a_classifier_takes_images_and_may_do_without_a_hidden_layer() -> None:
    head = Classifier(Flat(), 14, hidden=False)
    assert head(torch.rand(2, 3, 16, 16)).shape == (2, 14)
    assert head.output.in_features == 6


def test_a_segmenter_gives_the_logits_behind_the_unets_sigmoid() -> None:
    unet = UNet3D(2, out_channels=2).eval()
    x = torch.rand(1, 1, 16, 16, 8)
    assert torch.equal(torch.sigmoid(Segmenter(unet)(x)), unet(x))
    assert Segmenter(unet).backbone is unet
