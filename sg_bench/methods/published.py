"""Published weights as a method: read from their file, and used like any other initialisation.

Source: protocol part E; the publications are cited in networks/published/catalogue.py.
"""

from __future__ import annotations

from torch import Tensor, nn

from sg_bench.config import Stage
from sg_bench.errors import MethodError
from sg_bench.methods.base import Batch, Losses, Method, PretrainingSampling, ReadWeights
from sg_bench.methods.published_config import CheckpointConfig, PublishedConfig
from sg_bench.networks.published.fitting import load_published
from sg_bench.networks.weights import StateDict, load_into, split_state


class Published(Method):
    """Reads a file instead of training."""

    config: PublishedConfig

    def network(self) -> nn.Module:
        """Return the network of the file's architecture, with random weights."""
        return self.new_unet()

    def prepare_network(self, network: nn.Module, read_weights: ReadWeights) -> str:
        """Copy the file's tensors into `network` and return a summary of them; on an error nothing is copied.

        Raises:
            DataError: the file is missing, changed or unsafe, or does not fit the network.
        """
        config = self.config
        state = read_weights(config.weights, config.sha256)
        return str(load_published(network, state, config.architecture, decoder=config.decoder, shown=config.weights))

    def initialisation(self, network: nn.Module) -> tuple[StateDict, StateDict]:
        """Return the encoder's and the decoder's tensors; the latter are empty if no decoder was read."""
        encoder, decoder = split_state(self.backbone(network))
        return encoder, decoder if self.config.decoder else {}

    def sampling(self) -> PretrainingSampling:
        """Raise MethodError: nothing is pretrained."""
        raise MethodError(f"{self.config.weights} is read from a file, so it has no training data")

    def stages(self) -> list[Stage]:
        """Return no stages."""
        return []

    def make_batch(self, images: Tensor, labels: Tensor, params: dict[str, Tensor]) -> Batch:
        """Return the unchanged images."""
        return Batch(images, images, labels)

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Raise MethodError: nothing is pretrained."""
        raise MethodError(f"{self.config.weights} is read from a file, so it has no loss")


class Checkpoint(Published):
    """A user's own file, whose tensors have the network's names already."""

    config: CheckpointConfig

    def prepare_network(self, network: nn.Module, read_weights: ReadWeights) -> str:
        """Copy the file's tensors into `network` and return a summary of them; on an error nothing is copied.

        Raises:
            DataError: the file is missing, changed or unsafe.
            MethodError: it does not fit the network.
        """
        state, backbone = read_weights(self.config.weights, self.config.sha256), self.backbone(network)
        decoder = {name: each for name, each in state.items() if name.startswith(backbone.DECODER)}
        encoder = {name: each for name, each in state.items() if name not in decoder}
        return str(load_into(backbone, encoder, decoder, need_decoder=self.config.decoder))
