"""What methods that compare views of an image share: views, projection heads, and teachers that follow a student."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sg_bench.config import Shape
from sg_bench.methods.base import Batch, Crops, Method, PretrainingSampling
from sg_bench.methods.view_configs import ViewsConfig
from sg_bench.networks.backbone import Backbone, global_average
from sg_bench.transforms.base import Params, add_prefix, remove_prefix
from sg_bench.transforms.streams import RandomStreams
from sg_bench.transforms.views import RandomView


class Projected(nn.Module):
    """An encoder, global average pooling and a head, which is not exported."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: Tensor) -> Tensor:
        """Return the head's outputs (B, outputs) of images (B, C, X, Y, Z), in single precision at least."""
        projected: Tensor = self.head(global_average(self.backbone.features(x)[-1]))
        return projected if projected.dtype == torch.float64 else projected.float()


class StudentAndTeacher(nn.Module):
    """A network that is trained, and a copy whose weights follow its own as a moving average.

    The teacher is part of the state, so checkpoints hold it, but it gets no gradients and is not exported.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the student's outputs."""
        if not self.training and any(module.training for module in self.teacher.modules()):
            self.teacher_outputs(x)  # running statistics are re-estimated, the teacher's as well
        out: Tensor = self.student(x)
        return out

    @torch.no_grad()
    def teacher_outputs(self, x: Tensor) -> Tensor:
        """Return the teacher's outputs, without gradients."""
        out: Tensor = self.teacher(x)
        return out

    def copy_student(self) -> None:
        """Make the teacher equal to the student."""
        self.teacher.load_state_dict(self.student.state_dict())

    def follow(self, momentum: float) -> None:
        """Move the teacher's weights to `momentum` times their own plus the rest of the student's.

        The statistics of batch norm are the teacher's own.
        """
        pairs = zip(self.teacher.parameters(), self.student.parameters(), strict=True)
        for own, other in pairs:
            own.lerp_(other, 1 - momentum)


class ViewsMethod(Method):
    """A method that gets random views of every image: the first as the inputs, the others as the views of a batch."""

    config: ViewsConfig

    def __init__(self, config: ViewsConfig, classes: int = 0) -> None:
        super().__init__(config, classes)
        self.views = self.make_views()

    def make_views(self) -> list[RandomView]:
        """Return how each view is made; by default there are two of the same kind, as large as the image."""
        return [RandomView(self.config.view), RandomView(self.config.view)]

    def sampling(self) -> PretrainingSampling:
        """Return random cubes of every volume."""
        return Crops(self.config.crops, self.config.per_volume)

    def sample_params(self, random: RandomStreams, shape: Shape) -> Params:
        """Return the parameters of each view."""
        params: Params = {}
        for number, view in enumerate(self.views):
            params |= add_prefix(f"view{number}", view.sample(random, shape))
        return params

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the views of each image."""
        made = [view.apply(images, remove_prefix(params, f"view{number}")) for number, view in enumerate(self.views)]
        return Batch(made[0], images, labels, views=tuple(made[1:]))


class TeacherMethod(ViewsMethod):
    """A method whose network is a `StudentAndTeacher`; the student's encoder is exported."""

    def backbone(self, network: nn.Module) -> Backbone:
        """Return the student's encoder."""
        assert isinstance(network, StudentAndTeacher)
        return super().backbone(network.student)

    def after_initialisation(self, network: nn.Module) -> None:
        """Copy the student into the teacher."""
        assert isinstance(network, StudentAndTeacher)
        network.copy_student()


def mlp(sizes: Sequence[int], *, norm: bool = False, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return linear layers of these sizes, with batch norm if `norm` and an activation between each two."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs, bias=not norm), *([nn.BatchNorm1d(outputs)] if norm else [])]
        layers.append(activation())
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def grouped(views: Sequence[Tensor]) -> Tensor:
    """Return views of one size as one batch (B * views, C, X, Y, Z), grouped by image."""
    return torch.stack(list(views), dim=1).flatten(0, 1)


def product(one: Tensor, other: Tensor) -> Tensor:
    """Return the matrix product `one @ other`, computed in single precision at least, also under autocast.

    Cosines and logits that are divided by a temperature, and covariances, would lose too many digits in bfloat16.
    """
    kind = torch.promote_types(torch.promote_types(one.dtype, other.dtype), torch.float32)
    with torch.autocast(one.device.type, enabled=False):
        return one.to(kind) @ other.to(kind)


def accuracy(similarities: Tensor) -> Tensor:
    """Return the share of rows of (B, B) whose largest entry is on the diagonal."""
    return (similarities.argmax(1) == torch.arange(len(similarities), device=similarities.device)).float().mean()
