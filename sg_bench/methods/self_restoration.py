"""Self-restoration: Semantic Genesis without classification, the papers' ablation with the same corruption.

Source: Haghighi et al., arXiv:2007.06959, section 4 (ablation); settings in protocol C.3 and C.4. In the published
tables the row of this name is Models Genesis, which differs in crops, transforms and optimiser.
"""

from __future__ import annotations

from torch import Tensor, nn

from sg_bench.config import Stage
from sg_bench.methods.base import Batch, Losses, Restoration
from sg_bench.methods.configs import SelfRestorationConfig
from sg_bench.methods.semantic_genesis import SemanticGenesis


class SelfRestoration(SemanticGenesis, Restoration):
    """The U-Net and its restoration loss; no head, no warm-up."""

    config: SelfRestorationConfig
    mean_over_samples = True

    def network(self) -> nn.Module:
        """Return the U-Net without a head."""
        return Restoration.network(self)

    def stages(self) -> list[Stage]:
        """Return one stage, which trains the restoration."""
        return Restoration.stages(self)

    def restored(self, network: nn.Module, inputs: Tensor) -> Tensor | None:
        """Return the network's output."""
        return Restoration.restored(self, network, inputs)

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the restoration's mean squared error."""
        return Restoration.losses(self, network, batch, stage)
