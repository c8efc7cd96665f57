"""DINO: a student predicts from every view what its teacher, a moving average of it, makes of the large ones.

Source: Caron et al., "Emerging properties in self-supervised vision transformers", arXiv:2104.14294, section 3 and
appendix. Here weight decay is constant, gradients are not clipped, the last layer is trained from the first epoch on,
the teacher's temperature rises step by step, and batch norm in the head, where it is chosen, normalises the large and
the small views apart.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sg_bench.config import Stage
from sg_bench.methods.base import Batch, Losses, Promise
from sg_bench.methods.view_configs import DINOConfig
from sg_bench.methods.views import Projected, StudentAndTeacher, TeacherMethod, grouped, mlp, product
from sg_bench.transforms.views import RandomView

GLOBAL = 2
"""Large views of an image."""


class DINOHead(nn.Module):
    """Three layers to a bottleneck, which is normalised, and a last layer of weights of length 1.

    With `norm` there is batch norm between the three.
    """

    def __init__(self, inputs: int, hidden: int, bottleneck: int, outputs: int, *, norm: bool = False) -> None:
        super().__init__()
        self.layers = mlp([inputs, hidden, hidden, bottleneck], norm=norm, activation=nn.GELU)
        self.last = nn.Linear(bottleneck, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return cosines (B, outputs) of pooled features (B, inputs)."""
        return product(normalize(self.layers(x), dim=1), normalize(self.last.weight, dim=1).T)


class Distillation(StudentAndTeacher):
    """A student, its teacher, and the centre and temperature of the teacher's outputs."""

    centre: Tensor
    temperature: Tensor

    def __init__(self, student: nn.Module, teacher: nn.Module, outputs: int, temperature: float) -> None:
        super().__init__(student, teacher)
        self.register_buffer("centre", torch.zeros(outputs))
        self.register_buffer("temperature", torch.tensor(temperature))


class DINO(TeacherMethod):
    """Cross-entropy between the teacher's and the student's distributions of different views of an image."""

    config: DINOConfig
    promise = Promise("probe")

    def network(self) -> nn.Module:
        """Return student and teacher."""
        outputs, temperature = self.config.projection.outputs, self.config.teacher_temperature[0]
        return Distillation(self._projected(), self._projected(), outputs, temperature)

    def _projected(self) -> nn.Module:
        backbone, sizes = self.new_encoder(), self.config.projection
        norm = self.config.head_norm
        head = DINOHead(backbone.channels[-1], sizes.hidden, self.config.bottleneck, sizes.outputs, norm=norm)
        return Projected(backbone, head)

    def make_views(self) -> list[RandomView]:
        """Return the large views, then the small ones."""
        large = [RandomView(self.config.view) for _ in range(GLOBAL)]
        return large + [RandomView(self.config.local, self.config.local_size) for _ in range(self.config.local_views)]

    def stages(self) -> list[Stage]:
        """Return one stage."""
        return [Stage(name="pretrain", training=self.config.training, weights={"distillation": 1.0})]

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the mean over pairs of a large view of the teacher and another view of the student.

        The measures are the entropy of the teacher's mean distribution, which is near zero if all images get the same
        outputs, and that of its single distributions.
        """
        assert isinstance(network, Distillation)
        count, (large, small) = len(batch.inputs), ((batch.inputs, *batch.views)[:GLOBAL], batch.views[GLOBAL - 1 :])
        outputs = [network(grouped(views)).view(count, len(views), -1) for views in (large, small) if views]
        student = (torch.cat(outputs, dim=1) / self.config.student_temperature).log_softmax(-1)
        found = network.teacher_outputs(grouped(large)).view(count, GLOBAL, -1)
        teacher = ((found - network.centre) / network.temperature).softmax(-1)
        pairs = product(teacher, student.transpose(1, 2))
        different = 1 - torch.eye(GLOBAL, student.shape[1], device=pairs.device, dtype=pairs.dtype)
        loss = self.gathered(network, -(pairs * different).sum((1, 2)) / different.sum()).mean()
        mean, centre = (self.gathered(network, each.mean((0, 1))[None]).mean(0) for each in (teacher, found))
        measures = {"entropy_of_mean": _entropy(mean), "entropy": _entropy(teacher).mean()}
        return Losses({"distillation": loss}, measures, {"centre": centre})

    def after_step(self, network: nn.Module, step: int, steps: int, carried: dict[str, Tensor]) -> None:
        """Let the teacher, its centre and its temperature follow."""
        assert isinstance(network, Distillation)
        config = self.config
        network.follow(1 - (1 - config.momentum) * (math.cos(math.pi * step / steps) + 1) / 2)
        network.centre.lerp_(carried["centre"].to(network.centre), 1 - config.centre_momentum)
        first, last = config.teacher_temperature
        network.temperature.fill_(first + (last - first) * min(1.0, step / max(config.warm_up * steps, 1)))


def _entropy(probabilities: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(probabilities).sum(-1)
    return entropy
