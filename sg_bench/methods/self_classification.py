"""Self-classification: Semantic Genesis without restoration, the papers' ablation with the same corruption.

Source: Haghighi et al., arXiv:2007.06959, section 4 (ablation); settings in protocol C.3 and C.4.
"""

from __future__ import annotations

from torch import Tensor, nn

from sg_bench.config import Stage
from sg_bench.methods.base import Batch, Losses
from sg_bench.methods.configs import SelfClassificationConfig
from sg_bench.methods.semantic_genesis import SemanticGenesis
from sg_bench.methods.semantics import WithPatternHead, classification_losses


class SelfClassification(SemanticGenesis):
    """The encoder and a pattern head; the initialisation has no decoder."""

    config: SelfClassificationConfig
    mean_over_samples = True

    def network(self) -> nn.Module:
        """Return the encoder with a pattern head."""
        return WithPatternHead(self.new_encoder(), self.backbone, self.classes)

    def stages(self) -> list[Stage]:
        """Return one stage, which trains the classification."""
        return [Stage(name="pretrain", training=self.config.training, weights={"classification": 1.0})]

    def restored(self, network: nn.Module, inputs: Tensor) -> Tensor | None:
        """Return None: nothing is restored."""
        return None

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the classification's loss."""
        return classification_losses(network(batch.inputs), batch.labels)
