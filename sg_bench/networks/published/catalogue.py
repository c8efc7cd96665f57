"""Catalogue of the published weights that a comparison may start from: address, licence and pretraining data.

Imports no torch, for planning and `sg-bench weights list`. None of these files is part of sg-bench.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sg_bench.config import SpatialDims
from sg_bench.errors import UsageError, did_you_mean

Architecture = Literal["unet3d", "resnet18", "medicalnet10", "medicalnet18", "medicalnet34", "medicalnet50"]
WIDTH = 32
"""Width of all published networks, in the unit of a suite's `width`."""
ASU = (
    "ASU GitHub Project License: non-commercial, academic use only, share alike, patent US 12,469,315. "
    "Read it in the authors' repository"
)
LUNA16_SUBSETS = tuple(f"subset{number}" for number in range(7))


@dataclass(frozen=True)
class PublishedWeights:
    """One published file of weights."""

    name: str
    """Name in `sg-bench weights`."""
    title: str
    architecture: Architecture
    dimension: SpatialDims
    parameters: int
    """Number of parameters in use; a file may contain more, such as an optimiser's state."""
    file: str
    """The publisher's file name."""
    url: str
    licence: str
    citation: str
    corpus: str
    """Name of the pretraining data."""
    seen: str
    """Description of the pretraining data, to judge whether test images were among them."""
    sources: tuple[str, ...] = ()
    """Registered sources of the pretraining data."""
    groups: tuple[str, ...] = ()
    """Groups of cases used from these sources; (): all."""
    decoder: bool = False
    """Whether the file contains a decoder."""
    sha256_start: str = ""
    """First digits of the file's SHA-256, if published."""
    prefix: str = ""
    """Prefix of our tensor names before the published ones."""

    @property
    def size(self) -> str:
        """Return the number of parameters and the least size of the file, that of its tensors in single precision."""
        count = f"{self.parameters:,}".replace(",", " ")
        return f"{count} parameters, {4 * self.parameters / 1e6:.0f} MB or more"


def _luna16(name: str, title: str, file: str, url: str, citation: str) -> PublishedWeights:
    return PublishedWeights(
        name,
        title,
        "unet3d",
        3,
        19_073_665,
        file,
        url,
        ASU,
        citation,
        "LUNA16",
        "LUNA16: 623 chest CT of subsets 0 to 6, without labels; they are LIDC-IDRI scans too",
        sources=("luna16",),
        groups=LUNA16_SUBSETS,
        decoder=True,
    )


def _medicalnet(depth: Literal[10, 18, 34, 50], parameters: int) -> PublishedWeights:
    architectures: dict[int, Architecture] = {
        10: "medicalnet10",
        18: "medicalnet18",
        34: "medicalnet34",
        50: "medicalnet50",
    }
    file = f"resnet_{depth}_23dataset.pth"
    return PublishedWeights(
        f"medicalnet_resnet{depth}",
        f"MedicalNet 3D ResNet-{depth}, 23 data sets",
        architectures[depth],
        3,
        parameters,
        file,
        f"https://huggingface.co/TencentMedicalNet/MedicalNet-Resnet{depth}/resolve/main/{file}",
        "MIT, according to its page at Hugging Face",
        "S. Chen, K. Ma, Y. Zheng. Med3D: Transfer Learning for 3D Medical Image Analysis. arXiv:1904.00625",
        "3DSeg-8",
        "3DSeg-8: CT and MRI of public segmentation challenges, with labels. The images are not listed: liver CT and "
        "brain MRI that LiTS and BraTS share may be among them",
        prefix="encoder.",
    )


CATALOGUE: dict[str, PublishedWeights] = {
    each.name: each
    for each in (
        _luna16(
            "semantic_genesis_published",
            "Semantic Genesis, chest CT",
            "semantic_genesis_chest_ct.pt",
            "https://zenodo.org/record/4625297/files/semantic_genesis_chest_ct.pt?download=1",
            "F. Haghighi et al. Learning Semantics-enriched Representation via Self-discovery, Self-classification, "
            "and Self-restoration. MICCAI 2020. arXiv:2007.06959",
        ),
        _luna16(
            "transvw_published",
            "TransVW, chest CT",
            "TransVW_chest_ct.pt",
            "https://zenodo.org/record/4625321/files/TransVW_chest_ct.pt?download=1",
            "F. Haghighi et al. Transferable Visual Words. IEEE TMI 2021. arXiv:2102.10680",
        ),
        _luna16(
            "models_genesis_published",
            "Models Genesis, chest CT",
            "Genesis_Chest_CT.pt",
            "https://huggingface.co/MrGiovanni/ModelsGenesis/resolve/main/Genesis_Chest_CT.pt",
            "Z. Zhou et al. Models Genesis: Generic Autodidactic Models for 3D Medical Image Analysis. MICCAI 2019. "
            "arXiv:1908.06912",
        ),
        PublishedWeights(
            "imagenet",
            "ResNet-18 trained on ImageNet, as torchvision publishes it",
            "resnet18",
            2,
            11_689_512,
            "resnet18-f37072fd.pth",
            "https://download.pytorch.org/models/resnet18-f37072fd.pth",
            "torchvision's code is BSD-3-Clause; ImageNet itself is for non-commercial research",
            "K. He et al. Deep Residual Learning for Image Recognition. CVPR 2016",
            "ImageNet",
            "ImageNet: natural photographs, with labels; no medical images",
            sha256_start="f37072fd",
            prefix="encoder.",
        ),
        _medicalnet(10, 14_355_520),
        _medicalnet(18, 32_986_176),
        _medicalnet(34, 63_295_808),
        _medicalnet(50, 46_155_072),
    )
}


def published_weights(name: str) -> PublishedWeights:
    """Return the published weights called `name`.

    Raises:
        UsageError: there is no such name; the message suggests the nearest.
    """
    if name not in CATALOGUE:
        raise UsageError(f"unknown weights '{name}'", hint=did_you_mean(name, CATALOGUE))
    return CATALOGUE[name]
