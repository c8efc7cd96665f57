"""Initialisations on disk: the encoder and decoder weights that a method passes to a task, saved losslessly.

A folder contains `encoder.safetensors` and, if the method trained one, `decoder.safetensors`: contiguous CPU tensors
under the published names, float32, counters int64.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from sg_bench.digests import OF_FILE, content_digest, safetensors_digest, weights_digest
from sg_bench.errors import DamagedError, MethodError
from sg_bench.networks.backbone import Backbone
from sg_bench.workspace import WEIGHT_FILES, file_state, write_atomic

StateDict = dict[str, Tensor]
"""Tensors by name, as `nn.Module.state_dict` returns them."""

COUNTER = ("num_batches_tracked",)
"""Suffix of tensors that older files lack; no output depends on them."""


@dataclass(frozen=True)
class LoadReport:
    """The result of loading an initialisation: sorted tensor names by outcome."""

    matched: tuple[str, ...]
    """In the network and the initialisation: loaded."""
    missing: tuple[str, ...]
    """In the network only: unchanged (counters, or a decoder that the initialisation lacks)."""
    unused: tuple[str, ...]
    """In the initialisation only, or not needed by the task."""
    reinitialised: tuple[str, ...]
    """Left random: the output layer, because the task has another number of output channels, and input layers of
    untrained weights, because it has another number of input channels."""
    decoder: Literal["loaded", "random", "not needed"]
    adapted: tuple[str, ...] = ()
    """Input layers, loaded by the rule of `adapted_input` because the task has another number of input channels."""
    channels: int = 1
    """Input channels of the task."""

    def __str__(self) -> str:
        kept = f", {len(self.reinitialised)} re-initialised" if self.reinitialised else ""
        if self.adapted:
            rule = f"repeated for and divided by {self.channels} input channels"
            kept = f", {len(self.adapted)} of them adapted ({', '.join(self.adapted)}: {rule}){kept}"
        counts = f"{len(self.matched)} tensors loaded, {len(self.missing)} missing, {len(self.unused)} unused{kept}"
        return f"{counts}; decoder: {self.decoder}"


def split_state(backbone: Backbone) -> tuple[StateDict, StateDict]:
    """Return a backbone's encoder's and decoder's tensors, without those of its heads.

    Raises:
        MethodError: no tensor belongs to the encoder.
    """
    state = {name: each for name, each in backbone.state_dict().items() if not name.startswith(backbone.HEADS)}
    encoder = {name: each for name, each in state.items() if not name.startswith(backbone.DECODER)}
    if not encoder:
        raise MethodError(
            f"none of the {len(state)} tensors of {type(backbone).__name__} belongs to its encoder",
            hint="Let its DECODER and HEADS name the prefixes of the other tensors only",
        )
    return encoder, {name: each for name, each in state.items() if name not in encoder}


def save_initialisation(folder: Path, encoder: Mapping[str, Tensor], decoder: Mapping[str, Tensor]) -> str:
    """Write the tensors into `folder` and return the digest (64 hex digits) of their content.

    An empty `decoder` leaves no decoder file. Floating-point tensors are stored as float32, integers as int64.

    Raises:
        MethodError: the encoder is empty, or a tensor contains NaN or infinity.
    """
    if not encoder:
        raise MethodError("the initialisation has no encoder tensors", hint="Check the method's initialisation()")
    for name, tensors in zip(WEIGHT_FILES, (encoder, decoder), strict=True):
        path = folder / name
        if tensors:
            write_atomic(path, save({key: _storable(key, tensor) for key, tensor in tensors.items()}))
        else:
            path.unlink(missing_ok=True)
    return safetensors_digest(folder / name for name in WEIGHT_FILES)


def load_initialisation(folder: Path, *, digest: str = "") -> tuple[StateDict, StateDict]:
    """Return the encoder's and the decoder's tensors in `folder`; the latter may be empty.

    Calls that follow one another share the tensors' memory while the files are unchanged: copy before changing one.

    Args:
        folder: an initialisation.
        digest: of its content, by its record; "": not checked.

    Raises:
        DamagedError: the encoder's file is missing, a file is damaged, or the content has another digest.
    """
    states = tuple(file_state(folder / name) for name in WEIGHT_FILES)
    encoder, decoder = _tensors(folder, states, digest)
    return dict(encoder), dict(decoder)


@lru_cache(maxsize=2)  # cells of one initialisation follow one another
def _tensors(folder: Path, states: tuple[Any, ...], digest: str) -> tuple[StateDict, StateDict]:
    """Return the tensors of both files; kept while the files' states are the same, so they must not be changed."""
    paths = [folder / name for name in WEIGHT_FILES]
    encoder, decoder = _read(paths[0]), _read(paths[1]) if paths[1].exists() else {}
    if digest and digest != _digest(paths, (encoder, decoder), digest):
        raise DamagedError(f"the weights in {folder} have another digest than in their record", path=paths[0])
    return encoder, decoder


def _digest(paths: Sequence[Path], parts: Sequence[StateDict], like: str) -> str:
    """Return the digest of tensors that were read from these files, without reading them again."""
    if like.startswith(OF_FILE):
        return weights_digest(paths, like=like)
    named = zip(paths, parts, strict=True)
    return content_digest({f"{path.name}/{name}": part[name].numpy() for path, part in named for name in part})


def load_into(
    network: Backbone,
    encoder: Mapping[str, Tensor],
    decoder: Mapping[str, Tensor],
    *,
    need_decoder: bool,
    adapt: bool = True,
) -> LoadReport:
    """Copy an initialisation into `network` and report the outcome of every tensor.

    Every encoder tensor of the network must be present with its shape, and so must every decoder tensor if the decoder
    is needed; if the initialisation has no decoder at all, the network's stays random. An output layer with
    another number of output channels stays random too, and an input layer for another number of input channels is
    adapted (`adapted_input`), or stays random unless `adapt`. On an error nothing is copied.

    Raises:
        MethodError: a tensor is missing or has another shape.
    """
    own = network.state_dict()
    unneeded = network.HEADS if need_decoder and decoder else (*network.HEADS, *network.DECODER)
    wanted = {name for name in own if not name.startswith(unneeded)}
    given = {**encoder, **decoder}
    outputs = {name for name in wanted if name.startswith(network.OUTPUT)}
    other_output = {name for name in outputs if _other_channels(own[name], given.get(name))}
    inputs = {name for name in wanted - outputs if _other_input(own[name], given.get(name), network.in_channels)}
    fitted = {name: adapted_input(given[name], own[name]) for name in inputs} if adapt else {}
    other_output |= inputs - fitted.keys()
    given |= fitted
    _check(own, given, wanted - other_output)
    matched = (wanted - other_output) & given.keys()
    network.load_state_dict({**own, **{name: given[name] for name in matched}})
    return LoadReport(
        adapted=_sorted(fitted),
        channels=network.in_channels,
        matched=_sorted(matched),
        missing=_sorted(name for name in own.keys() - given.keys() if not name.startswith(network.HEADS)),
        unused=_sorted(given.keys() - matched - other_output),
        reinitialised=_sorted(other_output),
        decoder=_decoder_status(needed=need_decoder, given=bool(decoder)),
    )


def _other_channels(own: Tensor, given: Tensor | None) -> bool:
    """Return whether two output layers differ in their output channels (the first axis) only."""
    return given is not None and own.shape[0] != given.shape[0] and own.shape[1:] == given.shape[1:]


def adapted_input(given: Tensor, own: Tensor) -> Tensor:
    """Return an input layer's tensor in the shape of `own`, which has another number of input channels.

    A weight (outputs, inputs, *kernel) is summed over its inputs, repeated for each channel and divided by their
    number, so that an image whose channels are all equal gives what one channel gave. A statistic or factor of a norm
    of the input, (inputs,), is its mean, repeated.
    """
    if given.dim() == 1:
        return given.mean().expand_as(own).clone()
    return (given.sum(dim=1, keepdim=True) / own.shape[1]).expand_as(own).clone()


def _other_input(own: Tensor, given: Tensor | None, channels: int) -> bool:
    """Return whether two tensors differ in the number of input channels only.

    `own` is of a network for images of `channels`, one of which a network for photographs repeats to three.
    """
    if given is None or own.shape == given.shape or own.dim() != given.dim() or not own.is_floating_point():
        return False
    if own.dim() == 1:
        return own.shape[0] == channels
    sides = own.dim() > 3 and own.shape[1] in ({channels} if channels > 1 else {1, 3})
    return sides and (own.shape[0], *own.shape[2:]) == (given.shape[0], *given.shape[2:])


def _check(own: Mapping[str, Tensor], given: Mapping[str, Tensor], wanted: set[str]) -> None:
    missing = [name for name in own if name in wanted and name not in given and not name.endswith(COUNTER)]
    shapes = [
        f"{name} is {tuple(given[name].shape)} where the network has {tuple(own[name].shape)}"
        for name in own
        if name in wanted and name in given and given[name].shape != own[name].shape
    ]
    if not missing and not shapes:
        return
    fit = len(wanted) - len(missing) - len(shapes)
    problems = [f"{len(missing)} missing ({_first(missing)})"] if missing else []
    problems += [f"{len(shapes)} of another shape ({_first(shapes)})"] if shapes else []
    raise MethodError(
        f"the initialisation covers {fit} of the network's {len(wanted)} tensors ({fit / len(wanted):.0%}): "
        + "; ".join(problems),
        hint="Build the network with the width of the weights, and pass the backbone without its head",
    )


def _decoder_status(*, needed: bool, given: bool) -> Literal["loaded", "random", "not needed"]:
    if not needed:
        return "not needed"
    return "loaded" if given else "random"


def _storable(name: str, tensor: Tensor) -> Tensor:
    kind = torch.float32 if tensor.is_floating_point() else torch.int64
    plain = tensor.detach().to("cpu", kind).clone(memory_format=torch.contiguous_format)
    if not torch.isfinite(plain).all():
        raise MethodError(f"{name} contains NaN or infinity", hint="The pretraining diverged: lower its learning rate")
    return plain


def _read(path: Path) -> StateDict:
    try:
        return load(path.read_bytes())
    except FileNotFoundError as error:
        raise DamagedError(f"no weights at {path}", path=path) from error
    except (SafetensorError, ValueError) as error:
        raise DamagedError(f"the weights at {path} are damaged ({error})", path=path) from error


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names))


def _first(names: Iterable[str], count: int = 3) -> str:
    shown = list(names)
    return ", ".join(shown[:count]) + (", ..." if len(shown) > count else "") if shown else "none"
