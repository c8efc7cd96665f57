"""Volume fusion: segment by how much each voxel of a fused image is of another image.

Source: Wang et al., "MIS-FM: 3D medical image segmentation using foundation models pretrained on a large-scale
unannotated dataset", arXiv:2306.16925, section 3. Both images are random cubes of the corpus; Dice is computed for
each sample.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from sg_bench.config import Shape, Stage
from sg_bench.methods.base import Batch, Crops, Losses, Method, PretrainingSampling
from sg_bench.methods.view_configs import VolumeFusionConfig
from sg_bench.networks.backbone import UNet
from sg_bench.transforms.base import Params, spatial_shape
from sg_bench.transforms.fusion import Fusion
from sg_bench.transforms.streams import RandomStreams

SMOOTH = 1e-5
"""Added to numerator and denominator of Dice."""


class VolumeFusion(Method):
    """Cross-entropy and Dice loss of the fusion coefficients as classes; encoder and decoder are trained."""

    config: VolumeFusionConfig
    mean_over_samples = True
    images_per_sample = 2
    from_one_case = False

    def __init__(self, config: VolumeFusionConfig, classes: int = 0) -> None:
        super().__init__(config, classes)
        self.fusion = Fusion(config.fusion)

    def network(self) -> nn.Module:
        """Return the U-Net with a logit for each class."""
        return self.new_unet(self.fusion.classes)

    def sampling(self) -> PretrainingSampling:
        """Return random cubes of every volume."""
        return Crops(self.config.crops, self.config.per_volume)

    def stages(self) -> list[Stage]:
        """Return one stage with both terms."""
        return [Stage(name="pretrain", training=self.config.training, weights={"cross_entropy": 1.0, "dice": 1.0})]

    def sample_params(self, random: RandomStreams, shape: Shape) -> Params:
        """Return the boxes of each sample."""
        return self.fusion.sample(random, shape)

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the fused images; the answer `classes` is (B, X, Y, Z). `images` are (B, 2, C, X, Y, Z)."""
        background, foreground = images.unbind(1)
        classes = self.fusion.classes_of(params, spatial_shape(background))
        return Batch(self.fusion.fuse(background, foreground, classes), background, labels, {"classes": classes})

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return both terms, and the share of voxels that are classified correctly."""
        assert isinstance(network, UNet)
        logits, classes = network.segment(batch.inputs), batch.answers["classes"]
        logits = logits if logits.dtype == torch.float64 else logits.float()
        terms = {"cross_entropy": cross_entropy(logits, classes), "dice": 1 - dice(logits.softmax(1), classes)}
        return Losses(terms, {"voxel_accuracy": (logits.argmax(1) == classes).float().mean()})


def dice(probabilities: Tensor, classes: Tensor) -> Tensor:
    """Return the mean Dice over samples and classes of (B, K, X, Y, Z) and the true classes (B, X, Y, Z)."""
    wanted = one_hot(classes, probabilities.shape[1]).movedim(-1, 1).to(probabilities)
    common, sizes = ((each.flatten(2).sum(-1)) for each in (probabilities * wanted, probabilities + wanted))
    return ((2 * common + SMOOTH) / (sizes + SMOOTH)).mean()
