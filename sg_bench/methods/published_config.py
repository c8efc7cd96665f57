"""Configuration of methods that read published weights; free of torch.

A config names the file by its SHA-256, which planning looks up in the workspace, and the data it was pretrained on.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from sg_bench.config import Model, SpatialDims, Training
from sg_bench.errors import DataError
from sg_bench.methods.configs import Ingredient, MethodConfig
from sg_bench.networks.configs import (
    DENSE_VNET,
    MEDICALNET,
    DenseVNetConfig,
    MedicalNetNetworkConfig,
    NetworkChoice,
    papers_network,
)
from sg_bench.networks.published.catalogue import CATALOGUE, WIDTH, Architecture, PublishedWeights
from sg_bench.networks.published.files import find
from sg_bench.networks.published.own_files import NIFTYNET, find_own
from sg_bench.workspace import Workspace


class PretrainingData(Model):
    """What published weights were pretrained on."""

    corpus: str = ""
    """Its name."""
    sources: tuple[str, ...] = ()
    """Registered sources that read it."""
    groups: tuple[str, ...] = ()
    """Only their cases of these groups; (): all."""


class PublishedConfig(MethodConfig):
    """Published weights: nothing is trained, so there is one initialisation, whatever the seeds.

    Only `sha256`, `decoder` and, for MedicalNet, `depth` can be chosen; the other fields follow from them.
    """

    needs: ClassVar[frozenset[Ingredient]] = frozenset({"weights"})
    named: ClassVar[str] = ""
    """Name of the weights, with a setting that it depends on in braces."""
    training: Training = Training(epochs=0)

    weights: str = ""
    """Name in the catalogue."""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """SHA-256 of the file; "": planning takes the file that the workspace has."""
    architecture: Architecture = "unet3d"
    decoder: bool = True
    """Read the file's decoder too; False, and always where it has none: a segmentation starts from a random decoder."""
    seen: PretrainingData = PretrainingData()
    """Pretraining data. They are in the key because a cell's record reports the test cases among them."""

    def without_effect(self) -> frozenset[str]:
        """Return `training`: nothing is trained."""
        return frozenset({"training"})

    @model_validator(mode="before")
    @classmethod
    def _from_catalogue(cls, given: Any) -> Any:
        """Fill in the fields that follow from the weights' name; other values are errors."""
        name = cls.named.format(depth=given.get("depth", 18)) if isinstance(given, dict) else ""
        if name not in CATALOGUE:  # validation of the field reports the wrong setting
            return given
        weights = CATALOGUE[name]
        seen = PretrainingData(corpus=weights.corpus, sources=weights.sources, groups=weights.groups)
        fixed: dict[str, Any] = {
            "weights": name,
            "architecture": weights.architecture,
            "seen": seen.model_dump(mode="json"),
        }
        for setting, value in fixed.items():
            if given.get(setting, value) != value:
                raise ValueError(f"'{setting}' cannot be chosen, it follows from the weights '{name}': leave it out")
        if given.get("decoder") and not weights.decoder:
            raise ValueError(f"the weights '{name}' have no decoder: leave `decoder` out")
        return {"decoder": weights.decoder, **given, **fixed}

    @property
    def chosen_network(self) -> NetworkChoice:
        """Return the network of the file."""
        if self.architecture.startswith(MEDICALNET):
            config = MedicalNetNetworkConfig.model_validate({"depth": int(self.architecture.removeprefix(MEDICALNET))})
            return NetworkChoice(name=MEDICALNET, config=config)
        return papers_network(self.dimension, self.width)

    @property
    def entry(self) -> PublishedWeights:
        """Return the catalogue's entry of these weights."""
        return CATALOGUE[self.weights]

    def located(self, workspace: Workspace) -> PublishedConfig:
        """Return this config with the hash of the workspace's file.

        Raises:
            DataError: the file is absent or ambiguous, or the suite's networks are of another width.
        """
        scalable = not self.architecture.startswith(MEDICALNET)
        if scalable and self.width != WIDTH:
            raise DataError(
                f"the weights '{self.weights}' are of width {WIDTH}, and the suite's networks of width {self.width}",
                hint=f"Set width: {WIDTH} in the suite, or remove the method",
            )
        sha256 = find(self.entry, workspace, self.sha256).sha256
        return self.model_copy(update={"sha256": sha256, "width": WIDTH})


class CheckpointConfig(PublishedConfig):
    """A user's own checkpoint, added by `sg-bench weights add NAME FILE --network NETWORK`.

    Only `weights`, its name, and `sha256` and `decoder` can be chosen; network and pretraining data follow from them.
    """

    def without_effect(self) -> frozenset[str]:
        """Return what belongs to published weights alone."""
        return frozenset({"architecture", "training", "width"})

    @property
    def chosen_network(self) -> NetworkChoice:
        """Return the network of the file; before planning has looked it up, the papers'."""
        return self.network or papers_network(self.dimension)

    def located(self, workspace: Workspace) -> CheckpointConfig:
        """Return this config with hash, network and pretraining data of the workspace's file.

        Raises:
            DataError: the file is absent or ambiguous, or its network has another dimension.
        """
        found = find_own(self.weights, workspace, self.sha256)
        network = NetworkChoice.model_validate(found.record["network"])
        if network.config.dimension != self.dimension:
            raise DataError(
                f"the weights '{self.weights}' are of a {network.config.dimension}D network",
                hint="Leave the method out of these tasks",
            )
        seen = PretrainingData(corpus=found.record["corpus"], sources=tuple(found.record["sources"]))
        decoder = self.decoder and bool(found.record["decoder"])
        update = {"sha256": found.sha256, "network": network, "seen": seen, "decoder": decoder}
        return self.model_copy(update=update)


class NiftyNetConfig(CheckpointConfig):
    """NiftyNet's dense V-Net of abdominal CT, trained with labels (protocol C.11), from its TensorFlow checkpoint."""

    dimensions: ClassVar[frozenset[int]] = frozenset({3})
    weights: Literal["niftynet"] = NIFTYNET

    @property
    def chosen_network(self) -> NetworkChoice:
        """Return the published network."""
        return self.network or NetworkChoice(name=DENSE_VNET, config=DenseVNetConfig())


class _Volumes(PublishedConfig):
    dimensions: ClassVar[frozenset[int]] = frozenset({3})


class SemanticGenesisPublishedConfig(_Volumes):
    """The authors' Semantic Genesis of chest CT."""

    named: ClassVar[str] = "semantic_genesis_published"


class TransVWPublishedConfig(_Volumes):
    """The authors' TransVW of chest CT."""

    named: ClassVar[str] = "transvw_published"


class ModelsGenesisPublishedConfig(_Volumes):
    """The authors' Models Genesis of chest CT."""

    named: ClassVar[str] = "models_genesis_published"


class ImageNetConfig(PublishedConfig):
    """ResNet-18 trained on ImageNet with labels; for films and slices."""

    dimensions: ClassVar[frozenset[int]] = frozenset({2})
    dimension: SpatialDims = 2

    named: ClassVar[str] = "imagenet"


class MedicalNetConfig(_Volumes):
    """MedicalNet's 3D ResNet, trained with labels on many segmentation data sets (protocol C.11)."""

    named: ClassVar[str] = "medicalnet_resnet{depth}"
    depth: Literal[10, 18, 34, 50] = 18
