"""The subject of the checks: a method with small settings and a few images of the phantom, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sg_bench.config import Model, Shape, merged
from sg_bench.data.cubes import ArrayCubes
from sg_bench.errors import UsageError
from sg_bench.methods.base import Batch, Method
from sg_bench.registry import METHODS
from sg_bench.tasks import validated
from sg_bench.testing.phantoms import CLASSES, SHAPES, phantom_cubes
from sg_bench.training.draws import Draw, Purpose
from sg_bench.training.pretraining import Pretraining, fresh_network, on_device, sample_images
from sg_bench.transforms.base import as_tensors
from sg_bench.transforms.streams import RandomStreams

CPU = torch.device("cpu")
BATCH = 4
LOCAL: dict[int, Shape] = {3: (8, 8, 8), 2: (32, 32, 1)}
"""Shape of the small views of methods that have such."""
SMALL: dict[str, Any] = {
    "width": 2,
    "crops": {"border": (0, 0, 0), "air": None},
    "per_volume": 3,
    "training": {
        "batch_size": BATCH,
        "epochs": 3,
        "steps_per_epoch": 2,
        "steps": None,
        "patience": None,
        "optimiser": {"name": "adam", "lr": 0.01},
    },
    "semantics": {"warm_up_epochs": 1},
    "transforms": {"in_painting": {"border": 1}, "out_painting": {"border": 1}},
    "view": {"scale": (0.5, 1.0), "blur": 0},
    "local": {"scale": (0.3, 0.5), "blur": 0},
    "projection": {"hidden": 32, "outputs": 16},
    "bottleneck": 8,
    "queue": BATCH,
    "momentum": 0.9,
    "local_views": 2,
    "hidden": 32,
    "tiles": {"grid": 2, "permutations": 6},
    "decoder_depth": 1,
    "decoder_width": 24,
    "decoder_heads": 2,
    "overlap": {"grid": 2, "crops": 2},
    "fusion": {"sides": (4, 12)},
}
"""Settings of every method in the checks, as far as the method has them."""
SMALL_NETWORKS: dict[str, dict[str, Any]] = {"vit": {"patch": 8, "width": 24, "depth": 2, "heads": 2}}
"""Settings of the networks of methods that are not defined for the papers'."""


@dataclass(frozen=True)
class Subject:
    """One method in one dimension."""

    name: str
    dimension: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Override the kit's small settings where a method needs others."""

    def __post_init__(self) -> None:
        declared = METHODS.config(self.name).dimensions  # type: ignore[attr-defined] # a method's config has them
        if self.dimension not in declared:
            raise UsageError(
                f"method '{self.name}' has no {self.dimension}D version", hint=f"It declares {sorted(declared)}"
            )

    @cached_property
    def given(self) -> dict[str, Any]:
        """Return the settings that make this method small."""
        cube = SHAPES[self.dimension]
        small = merged(SMALL, {"crops": {"cube": cube}, "shape": cube, "local_size": LOCAL[self.dimension]})
        kind: Any = METHODS.config(self.name)
        for network in sorted(kind.networks & SMALL_NETWORKS.keys()):
            config = {**SMALL_NETWORKS[network], "dimension": self.dimension}
            small["network"] = {"name": network, "config": config}
        return merged(fitting(kind, small), dict(self.settings), {"dimension": self.dimension})

    @cached_property
    def config(self) -> Any:
        """Return the small config."""
        return validated(METHODS.config(self.name), self.given, f"config of method '{self.name}'")

    @property
    def classes(self) -> int:
        """Return the number of pseudo-labels: 0 for a method without patterns."""
        return CLASSES if "patterns" in self.config.needs else 0

    def method(self) -> Method:
        """Return a new instance of the method."""
        made: Method = METHODS.load(self.name)(self.config, self.classes)
        return made

    def images(self) -> Tensor:
        """Return new tensors of clean images (B, 1, X, Y, Z) in [0, 1], or (B, images, 1, X, Y, Z)."""
        method, cubes = self.method(), phantom_cubes(self.dimension)
        if method.images_per_sample > 1:
            cases = np.arange(len(cubes)) // CLASSES
            return sample_images(method, cubes, cases, train_draws())
        return on_device(cubes.images(range(BATCH)), CPU)

    def labels(self) -> Tensor:
        """Return their pseudo-labels (B,)."""
        return torch.from_numpy(phantom_cubes(self.dimension).labels(range(BATCH)))

    def params(self, method: Method, seed: int = 0) -> dict[str, Tensor]:
        """Return the random parameters of one batch."""
        streams = RandomStreams([draw.key for draw in train_draws(seed)])
        return as_tensors(method.sample_params(streams, SHAPES[self.dimension]))

    def batch(self, method: Method, seed: int = 0) -> Batch:
        """Return one batch."""
        return method.make_batch(self.images(), self.labels(), self.params(method, seed))

    def learner(self, seed: int = 0) -> Pretraining:
        """Return the method's pretraining, ready for the training loop."""
        method, cubes = self.method(), phantom_cubes(self.dimension)
        few = ArrayCubes(cubes.cubes[:BATCH], cubes.labels(range(BATCH)), cubes.case_ids()[:BATCH])
        return Pretraining(method, fresh_network(method, seed), cubes, few, CPU)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, as worker processes do: more do not pay for images this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train_draws(seed: int = 0, first: int = 0) -> list[Draw]:
    """Return the draws of one batch, which consists of the images from `first` on."""
    return [Draw(place, (seed, Purpose.TRAIN, 0, 0, place)) for place in range(first, first + BATCH)]


def fitting(model: type[Model], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of `overlay` that `model` and the settings inside it have."""
    out: dict[str, Any] = {}
    for name, value in overlay.items():
        if name not in model.model_fields:
            continue
        default = model.model_fields[name].default
        inner = isinstance(value, Mapping) and isinstance(default, Model)
        out[name] = fitting(type(default), value) if inner else value
    return out
