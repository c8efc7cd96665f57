"""Weights that others published: read once from their file, and handed on like any other initialisation.

Source: protocol part E; each file's own publication stands in networks/published/catalogue.py.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from sg_bench.config import Stage
from sg_bench.errors import MethodError
from sg_bench.methods.base import Batch, Losses, Method, Sampling
from sg_bench.methods.published_config import PublishedConfig
from sg_bench.networks.published.files import find
from sg_bench.networks.published.fitting import FileReport, network_of, read_into
from sg_bench.networks.weights import StateDict, split_state
from sg_bench.workspace import Workspace


class Published(Method):
    """Reads a file instead of training."""

    config: PublishedConfig

    def network(self) -> nn.Module:
        """Return the network that the file is for, its weights still random."""
        return network_of(self.config.architecture, self.config.width)

    def read(self, network: nn.Module, workspace: Workspace) -> FileReport:
        """Copy the file into `network`, all that is wanted of it or nothing.

        Raises:
            DataError: it is absent, no longer what it was, hostile, or does not fit.
        """
        config = self.config
        path: Path = find(config.entry, workspace, config.sha256).path
        shown = f"{config.weights} ({path.relative_to(workspace.root)})"
        return read_into(network, path, config.architecture, decoder=config.decoder, sha256=config.sha256, shown=shown)

    def initialisation(self, network: nn.Module) -> tuple[StateDict, StateDict]:
        """Return the encoder's and the decoder's tensors; the decoder's are empty if none was read."""
        encoder, decoder = split_state(network.state_dict())
        return encoder, decoder if self.config.decoder else {}

    def sampling(self) -> Sampling:
        """Refuse: nothing is pretrained."""
        raise MethodError(f"{self.config.weights} is read from a file, so it samples nothing")

    def stages(self) -> list[Stage]:
        """Return none."""
        return []

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the images as they are."""
        return Batch(images, images, labels)

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Refuse: nothing is pretrained."""
        raise MethodError(f"{self.config.weights} is read from a file, so it has no loss")
