"""A user's own checkpoints as weights to start from: renamed to the tensors of a registered network, and kept.

`weights/<name>/<sha256>.safetensors` holds the renamed tensors, with a JSON record of the network, the origin, and what
the user declares of licence and pretraining data. The hash is of this file, so a later version of the renaming changes
no result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from sg_bench.errors import DataError, UsageError
from sg_bench.networks.backbone import UNet
from sg_bench.networks.build import unet
from sg_bench.networks.configs import NetworkChoice
from sg_bench.networks.dense_vnet import NAMES
from sg_bench.networks.i3d import FIRST, I3D
from sg_bench.networks.published.bundle import INDEX, data_files
from sg_bench.networks.published.checkpoints import read_checkpoint
from sg_bench.networks.published.own_files import OwnWeights, keep
from sg_bench.networks.weights import COUNTER, StateDict
from sg_bench.workspace import Workspace, file_digest

NESTED = ("state_dict", "net", "model", "network_weights", "teacher")
"""Keys under which a checkpoint may hold its tensors, also one inside another."""
WRAPPERS = ("module.", "_orig_mod.", "backbone.", "encoder.", "model.", "net.", "network.", "student.", "teacher.")
"""Prefixes of all names of a part of a checkpoint, in any order."""
DEPTH = 3
"""Most wrappers around each other."""
RULES: dict[str, tuple[tuple[str, str], ...]] = {
    "dense_vnet": NAMES,
    "swin_unetr": ((r"^(encoder\d+|decoder\d+)\.", r"decoder.\1."), (r"^out\.conv\.conv\.", "segmentation_head.")),
    "resenc_unet": ((r"^(.*\.)?all_modules\..*$", ""), (r"^decoder\.encoder\..*$", "")),
}
"""By network: patterns of its publishers' names and ours; "" leaves the tensor out: it is there twice."""
Rename = Callable[[str], str]


@dataclass(frozen=True)
class Coverage:
    """The match of a checkpoint with a network; names are the network's, sorted, except for those of `unused`."""

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    misshapen: tuple[str, ...]
    """Lines such as "name is (1, 2) where the network has (2, 1)"."""
    unused: tuple[str, ...]
    encoder: tuple[int, int]
    """Number of matched tensors and of all, without counters."""
    decoder: tuple[int, int]

    @property
    def complete_decoder(self) -> bool:
        """Return whether all of the decoder is there; its output layer may have other channels."""
        return self.decoder[0] == self.decoder[1] > 0

    def __str__(self) -> str:
        use = "used" if self.complete_decoder else "not used"
        encoder, decoder = (f"{have} of {wanted} tensors" for have, wanted in (self.encoder, self.decoder))
        rest = f"{len(self.misshapen)} of another shape, {len(self.unused)} unused"
        return f"{encoder} of the encoder, {decoder} of the decoder ({use}); {rest}"

    def lists(self) -> dict[str, tuple[str, ...]]:
        """Return the names of tensors that do not match, by reason."""
        return {"missing": self.missing, "of another shape": self.misshapen, "unused": self.unused}


def add_own(
    name: str,
    path: Path,
    choice: NetworkChoice,
    workspace: Workspace,
    declared: Mapping[str, Any],
    rules: Mapping[str, str] | None = None,
    *,
    sha256: str = "",
) -> tuple[OwnWeights, Coverage]:
    """Rename a checkpoint's tensors to those of a network, and keep them in the workspace.

    Args:
        name: of the weights.
        path: a torch or safetensors file, or the .index of a TensorFlow checkpoint; no code in it is run.
        choice: the network.
        workspace: where they are kept.
        declared: `licence`, `corpus` and `sources` of the pretraining, as the user states them.
        rules: patterns of names and their replacements, instead of the known layouts; "" leaves a tensor out.
        sha256: expected SHA-256 of the file; "" accepts any.

    Raises:
        DataError: the file is missing, damaged or unsafe, has another hash, or lacks a part of the encoder.
    """
    state = read_checkpoint(path, sha256=sha256, nested=NESTED)
    network = unet(choice)
    found, unused = renamed(state, network, choice.name, rules)
    coverage = cover(found, unused, network)
    check_encoder(coverage, str(path))
    own = network.state_dict()
    outputs = [each for each in found if each.startswith(network.OUTPUT)]  # of other channels: tasks replace it
    kept = {each: found[each].to(own[each].dtype).contiguous() for each in {*coverage.matched, *outputs}}
    if not coverage.complete_decoder:
        kept = {each: tensor for each, tensor in kept.items() if not each.startswith(network.DECODER)}
    record = {
        "name": name,
        "network": choice.model_dump(mode="json"),
        "decoder": coverage.complete_decoder,
        "file": path.name,
        "file_sha256": file_digest(_content(path)),
        "coverage": str(coverage),
        **declared,
    }
    return keep(name, save(kept), record, workspace), coverage


def renamed(
    state: Mapping[str, Tensor], network: UNet, name: str, rules: Mapping[str, str] | None = None
) -> tuple[StateDict, list[str]]:
    """Return tensors under the network's names, and the names of those that are left over.

    Of all wrappers and layouts, the one is taken in which most tensors of the network are found with their shapes.
    """
    own = network.state_dict()
    heads = [int(place) for each in state for place in re.findall(r"decoder\.seg_layers\.(\d+)\.", each)]
    last = (rf"^decoder\.seg_layers\.{max(heads, default=0)}\.", "segmentation_head.")  # others supervise coarser maps
    known: Rename = _replacing((*RULES.get(name, ()), last))
    layouts: list[Rename] = [known, lambda each: f"encoder.{each}"]
    if rules is not None:
        layouts = [_replacing(rules.items())]
    best: StateDict = {}
    names: dict[str, str] = {}
    for wrapper in _wrappers(state) if rules is None else [""]:
        inner = {each: each.removeprefix(wrapper) for each in state if each.startswith(wrapper)}
        for layout in layouts:
            targets = {each: layout(short) for each, short in inner.items()}
            found = {targets[each]: _fitted(state[each], short, network) for each, short in inner.items()}
            if _matches(found, own) > _matches(best, own):
                best, names = found, targets
    left = [each for each in state if each not in names or (names[each] and names[each] not in own)]
    return {each: tensor for each, tensor in best.items() if each in own}, sorted(left)


def cover(found: Mapping[str, Tensor], unused: Iterable[str], network: UNet) -> Coverage:
    """Return the match of renamed tensors with a network; an output layer of other channels counts as absent."""
    own = {name: each for name, each in network.state_dict().items() if not name.startswith(network.HEADS)}
    matched = sorted(name for name in own if name in found and found[name].shape == own[name].shape)
    strange = [name for name in own if name in found and name not in matched]
    needed = [name for name in own if not name.endswith(COUNTER)]
    decoder = [name for name in needed if name.startswith(network.DECODER)]
    outputs = [name for name in strange if name.startswith(network.OUTPUT)]
    fitting = {*matched, *(name for name in outputs if found[name].shape[1:] == own[name].shape[1:])}
    encoder = [name for name in needed if not name.startswith(network.DECODER)]
    return Coverage(
        tuple(matched),
        tuple(name for name in needed if name not in found),
        tuple(f"{n} is {tuple(found[n].shape)} where the network has {tuple(own[n].shape)}" for n in strange),
        tuple(unused),
        (sum(name in matched for name in encoder), len(encoder)),
        (sum(name in fitting for name in decoder), len(decoder)),
    )


def check_encoder(coverage: Coverage, shown: str) -> None:
    """Check that a checkpoint has the complete encoder.

    Raises:
        DataError: with what it lacks, and its names that are unknown.
    """
    have, wanted = coverage.encoder
    if have == wanted:
        return
    problems = [f"{what}: {', '.join(names[:3])}" for what, names in coverage.lists().items() if names]
    raise DataError(
        f"{shown}: it covers {have} of {wanted} tensors of the encoder ({have / wanted:.0%}); {'; '.join(problems)}",
        hint="Choose the network's settings as in the file, or rename its tensors by --map FILE",
    )


def read_map(path: Path) -> dict[str, str]:
    """Return the patterns and replacements of a YAML file, such as {"^trunk[.]": "blocks."}.

    Raises:
        UsageError: it is not such a file.
    """
    from sg_bench.tasks import read_yaml

    content = read_yaml(path)
    for pattern, replacement in content.items():
        try:
            re.sub(str(pattern), str(replacement or ""), "")
        except re.error as error:
            raise UsageError(f"{path}: '{pattern}' is not a pattern: {error}", hint="Use Python's re") from error
    return {str(pattern): str(replacement or "") for pattern, replacement in content.items()}


def _content(path: Path) -> Path:
    """Return the file with the tensors' bytes: of a TensorFlow checkpoint, the first one of its index."""
    return data_files(path)[0] if path.suffix == INDEX else path


def _replacing(rules: Iterable[tuple[str, str]]) -> Rename:
    pairs = [(re.compile(pattern), replacement) for pattern, replacement in rules]

    def rename(name: str) -> str:
        for pattern, replacement in pairs:
            name = pattern.sub(replacement, name)
        return name

    return rename


def _wrappers(state: Iterable[str]) -> list[str]:
    """Return the prefixes, up to three wrappers around each other, that some names have; "" first."""
    names, found = list(state), [""]
    for _ in range(DEPTH):
        longer = [before + wrapper for before in found for wrapper in WRAPPERS]
        found += [each for each in longer if each not in found and any(name.startswith(each) for name in names)]
    return found


def _fitted(tensor: Tensor, name: str, network: UNet) -> Tensor:
    """Return the first convolution of I3D summed over its colours for a network of one channel, others unchanged."""
    if isinstance(network, I3D) and name == FIRST and network.in_channels == 1 and tensor.shape[1] == 3:
        return tensor.sum(dim=1, keepdim=True)
    return tensor


def _matches(found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return how many tensors have the name and shape, and how many the name, of one of the network's."""
    named = [name for name in found if name in own]
    return sum(found[name].shape == own[name].shape for name in named), len(named)
