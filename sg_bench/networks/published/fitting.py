"""Matching the tensors of a file of published weights with a network, and loading them.

Source: the loader contract of protocol part E.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from sg_bench.errors import DataError
from sg_bench.networks.backbone import SegmentationBackbone
from sg_bench.networks.published.catalogue import WIDTH, Architecture, PublishedWeights
from sg_bench.networks.published.checkpoints import read_checkpoint
from sg_bench.networks.published.resnet3d import DEPTHS, MedicalNetUNet
from sg_bench.networks.resnet import UNet2D
from sg_bench.networks.unet import UNet3D
from sg_bench.networks.weights import COUNTER, StateDict

HEADS = ("projection_head", "prototypes", "clc_out", "fc.")
"""Prefixes of a pretraining's heads, which no target task uses."""
DECODER = (*UNet3D.DECODER, *UNet2D.DECODER)
"""Prefixes of the names of a decoder in the published architectures."""
OURS = ("encoder.", "decoder.", "segmentation_head.")
"""Prefixes of our own names, which are unchanged."""
ENCODER_ONLY = "Give the method config: {decoder: false} to use the encoder only"


@dataclass(frozen=True)
class FileReport:
    """The match of a file's tensors with a network; names are the network's, sorted."""

    architecture: Architecture
    width: int
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    """In the network only, without counters, and without the decoder if the file has no part of it."""
    misshapen: tuple[str, ...]
    """Lines such as "name is (1, 2) where the network has (2, 1)"."""
    ignored: tuple[str, ...]
    """Heads of the pretraining."""
    unused: tuple[str, ...]
    """In the file only, and not a known head."""
    encoder: tuple[int, int]
    """Number of matched tensors and of all tensors, without counters."""
    decoder: tuple[int, int]

    @property
    def coverage(self) -> float:
        """Return the fraction of the encoder's tensors that matched, in [0, 1]."""
        return self.encoder[0] / self.encoder[1]

    @property
    def has_decoder(self) -> bool:
        """Return whether the file contains any part of a decoder."""
        return any(name.startswith(DECODER) for name in (*self.matched, *self.misshapen))

    @property
    def has_width(self) -> bool:
        """Return whether networks of this architecture have a width."""
        return not self.architecture.startswith("medicalnet")

    @property
    def lists(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the tensors that do not match, by reason."""
        return {
            "missing": self.missing,
            "of another shape": self.misshapen,
            "ignored": self.ignored,
            "unused": self.unused,
        }

    def __str__(self) -> str:
        have, wanted = self.decoder
        decoder = f"{have} of {wanted} of the decoder" if self.has_decoder else "no decoder"
        parts = f"{self.encoder[0]} of {self.encoder[1]} tensors of the encoder and {decoder}"
        rest = f"{len(self.missing)} missing, {len(self.misshapen)} of another shape"
        return f"{parts}; {rest}, {len(self.ignored)} ignored, {len(self.unused)} unused"


def build_network(architecture: Architecture, width: int = WIDTH) -> SegmentationBackbone:
    """Return the network of an architecture, with a decoder; MedicalNet ignores the width."""
    if architecture == "unet3d":
        return UNet3D(width)
    if architecture == "resnet18":
        return UNet2D(width)
    return MedicalNetUNet(int(architecture.removeprefix("medicalnet")))


def recognise(state: Mapping[str, Tensor], shown: str) -> tuple[Architecture, int]:
    """Return the architecture and the width of a file's tensors, from their names and shapes.

    Raises:
        DataError: the tensors belong to no known network.
    """
    names = {name.removeprefix("encoder.") for name in state}
    first = next((state[name] for name in ("down_tr64.ops.0.conv1.weight",) if name in state), None)
    if first is not None and first.dim() == 5:
        return "unet3d", first.shape[0]
    first = next((state[name] for name in ("conv1.weight", "encoder.conv1.weight") if name in state), None)
    if first is not None and first.dim() == 4:
        return "resnet18", max(1, first.shape[0] // 2)
    if first is not None and first.dim() == 5:
        blocks = tuple(
            len({name.split(".")[1] for name in names if name.startswith(f"layer{n}.")}) for n in (1, 2, 3, 4)
        )
        deep = any(name.endswith(".conv3.weight") for name in names)
        for depth, wanted in DEPTHS.items():
            if blocks == wanted and deep == (depth == 50):
                found: Architecture = f"medicalnet{depth}"  # type: ignore[assignment]
                return found, WIDTH
    raise DataError(
        f"{shown}: its tensors ({_first(state)}) belong to no known network",
        hint="Known networks: the 3D U-Net, ResNet-18 and MedicalNet; see sg-bench weights list",
    )


def match_tensors(
    network: nn.Module, state: Mapping[str, Tensor], architecture: Architecture, width: int
) -> FileReport:
    """Return the match of `state`, under the network's names, with `network`.

    A pattern head is matched only if the network has one with the same number of classes.
    """
    own = network.state_dict()
    heads = [name for name in own if name.startswith(HEADS)]
    same_head = all(name in state and state[name].shape == own[name].shape for name in heads if not _is_counter(name))
    wanted = [name for name in own if same_head or name not in heads]
    matched = {name for name in wanted if name in state and state[name].shape == own[name].shape}
    strange = [name for name in wanted if name in state and name not in matched]
    kept = [name for name in wanted if not _is_counter(name)]
    rest = state.keys() - set(wanted)
    absent = [name for name in kept if name not in state]
    if not any(name.startswith(DECODER) for name in state):
        absent = [name for name in absent if not name.startswith(DECODER)]
    return FileReport(
        architecture,
        width,
        matched=tuple(sorted(matched)),
        missing=tuple(sorted(absent)),
        misshapen=tuple(_misshapen(name, state[name], own[name]) for name in sorted(strange)),
        ignored=tuple(sorted(name for name in rest if _published(name).startswith(HEADS))),
        unused=tuple(sorted(name for name in rest if not _published(name).startswith(HEADS))),
        encoder=_share([name for name in kept if not name.startswith((*DECODER, *HEADS))], matched),
        decoder=_share([name for name in kept if name.startswith(DECODER)], matched),
    )


def rename_tensors(state: Mapping[str, Tensor], architecture: Architecture) -> StateDict:
    """Return a file's tensors under the names of our network; those of a plain ResNet get the prefix `encoder.`."""
    if architecture == "unet3d":
        return dict(state)
    return {name if name.startswith(OURS) else f"encoder.{name}": tensor for name, tensor in state.items()}


def examine(path: Path, weights: PublishedWeights | None = None, *, sha256: str = "", shown: str = "") -> FileReport:
    """Return the match of a file's tensors with the network of `weights`, or with the one that their names indicate.

    Raises:
        DataError: as `read_checkpoint`, or the tensors belong to no known network.
    """
    state = read_checkpoint(path, sha256=sha256, shown=shown)
    architecture, width = (weights.architecture, WIDTH) if weights else recognise(state, shown or str(path))
    return match_tensors(build_network(architecture, width), rename_tensors(state, architecture), architecture, width)


def read_into(
    network: nn.Module,
    path: Path,
    architecture: Architecture,
    *,
    decoder: bool,
    sha256: str = "",
    shown: str = "",
) -> FileReport:
    """Copy a published file into `network`: the complete encoder and, if wanted, the complete decoder, or nothing.

    Args:
        network: as `build_network` returns it, or one with a pattern head.
        path: the file.
        architecture: of the network.
        decoder: whether the decoder is copied, and must be complete.
        sha256: the expected SHA-256 of the file.
        shown: name of the file in messages, by default its path.

    Raises:
        DataError: as `read_checkpoint`, or a tensor is missing or has another shape.
    """
    state = read_checkpoint(path, sha256=sha256, shown=shown)
    return load_published(network, state, architecture, decoder=decoder, shown=shown or str(path))


def load_published(
    network: nn.Module, state: Mapping[str, Tensor], architecture: Architecture, *, decoder: bool, shown: str
) -> FileReport:
    """Copy the tensors of a published file into `network`, as `read_into`.

    Args:
        network: as `build_network` returns it, or one with a pattern head.
        state: as `read_checkpoint` returns it.
        architecture: of the network.
        decoder: whether the decoder is copied, and must be complete.
        shown: name of the file in messages.

    Raises:
        DataError: a tensor is missing or has another shape.
    """
    state = rename_tensors(state, architecture)
    report = match_tensors(network, state, architecture, WIDTH)
    check_complete(report, decoder=decoder, shown=shown)
    own = network.state_dict()
    taken = [name for name in report.matched if decoder or not name.startswith(DECODER)]
    network.load_state_dict({**own, **{name: state[name].to(own[name].dtype) for name in taken}})
    return report


def check_complete(report: FileReport, *, decoder: bool, shown: str) -> None:
    """Check that a file has the complete encoder and, if wanted, the complete decoder.

    Raises:
        DataError: with the fraction that matches and the first tensors that do not.
    """
    needed = ("encoder", report.encoder), ("decoder", report.decoder if decoder else (0, 0))
    lacking = [(part, *counts) for part, counts in needed if counts[0] < counts[1]]
    if not lacking:
        return
    part, have, wanted = lacking[0]
    if part == "decoder" and not report.has_decoder:
        raise DataError(f"{shown}: it has no decoder", hint=ENCODER_ONLY)
    mine = [each for each in report.missing if each.startswith(DECODER) == (part == "decoder")]
    others = [each for each in report.misshapen if each.startswith(DECODER) == (part == "decoder")]
    problems = [f"{len(mine)} missing ({_first(mine)})"] if mine else []
    problems += [f"{len(others)} of another shape ({_first(others, 1)})"] if others else []
    hint = "Use the publisher's own file" if part == "encoder" else ENCODER_ONLY
    raise DataError(
        f"{shown}: it covers {have} of {wanted} tensors of the {part} ({have / wanted:.0%}): {'; '.join(problems)}",
        hint=hint,
    )


def _misshapen(name: str, given: Tensor, own: Tensor) -> str:
    text = f"{name} is {tuple(given.shape)} where the network has {tuple(own.shape)}"
    permuted = sorted(given.shape) == sorted(own.shape)
    return f"{text}: its axes are in the order of another framework" if permuted else text


def _published(name: str) -> str:
    return name.removeprefix("encoder.")


def _share(names: list[str], matched: set[str]) -> tuple[int, int]:
    return sum(name in matched for name in names), len(names)


def _is_counter(name: str) -> bool:
    return name.endswith(COUNTER)


def _first(names: Iterable[str], count: int = 3) -> str:
    shown = list(names)
    return ", ".join(shown[:count]) + (", ..." if len(shown) > count else "")
