"""Checks of a method without training: its settings, random numbers, batches and exported weights."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tempfile
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sg_bench.config import key_of
from sg_bench.methods.base import Batch
from sg_bench.networks.build import task_model
from sg_bench.networks.weights import load_initialisation, load_into, save_initialisation
from sg_bench.registry import METHODS
from sg_bench.testing.checks import require
from sg_bench.testing.subject import BATCH, Subject
from sg_bench.training.loader import map_tensors
from sg_bench.training.pretraining import fresh_network

HEAVY = ("monai", "ray", "torch", "torchio")
IMPORT_ALONE = """
import importlib, sys

class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ImportError(f"it imports {{name}}")

sys.meta_path.insert(0, Refusal())
sys.path[:] = {path!r}
try:
    importlib.import_module({module!r})
except ImportError as error:
    sys.exit(str(error))
"""
"""A program that imports one module while nothing heavy can be imported."""


def check_its_config_survives_json(subject: Subject) -> None:
    """A config that is written to JSON and read again is the same and has the same key."""
    kind = METHODS.config(subject.name)
    for config in (subject.config, kind.model_validate({"dimension": subject.dimension})):
        again = kind.model_validate(json.loads(json.dumps(config.model_dump(mode="json"))))
        require(key_of(again) == key_of(config), "a config changes its key when it is written to JSON and read again")


def check_its_config_needs_no_torch(subject: Subject) -> None:
    """The config can be imported where torch, Ray, MONAI and TorchIO are absent, as planning and listing do."""
    base = subject.name.partition("+")[0]
    refuse_heavy_imports(METHODS.entry(base).config)


def refuse_heavy_imports(target: str) -> None:
    """Raise a ContractError if the module of "module:attribute" imports anything heavy."""
    module = target.partition(":")[0]
    reason = _import_alone(module, tuple(entry for entry in sys.path if entry))
    require(not reason, f"{module} must be light, but {reason}: move the config to a module of its own")


@cache
def _import_alone(module: str, path: tuple[str, ...]) -> str:
    """Return why a module cannot be imported without the heavy packages, "" if it can."""
    code = IMPORT_ALONE.format(heavy=HEAVY, path=list(path), module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
    return (done.stderr.strip() or "it cannot be imported").splitlines()[-1] if done.returncode else ""


def check_it_refuses_other_dimensions(subject: Subject) -> None:
    """A config can be made in the dimensions that it declares and in no other."""
    kind: Any = METHODS.config(subject.name)
    found = set()
    for dimension in (2, 3):
        try:
            kind.model_validate({"dimension": dimension})
        except ValueError:
            continue
        found.add(dimension)
    require(found == set(kind.dimensions), f"it declares dimensions {set(kind.dimensions)}, but its config has {found}")


def check_one_seed_gives_one_outcome(subject: Subject) -> None:
    """The same seed gives the same weights, parameters, batch and loss, bit for bit."""
    first, second = (_outcome(subject) for _ in range(2))
    for what, values in first.items():
        require(_same(values, second[what]), f"the same seed gives two different {what}: draw from what is handed in")


def _outcome(subject: Subject) -> dict[str, dict[str, Tensor]]:
    method = subject.method()
    network = fresh_network(method, 1)
    params = subject.params(method, 1)
    batch = method.make_batch(subject.images(), subject.labels(), dict(params))
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    out = {"weights": weights, "parameters": params, "batches": tensors_of(batch)}
    with torch.no_grad():
        losses = [method.losses(network.train(), batch, stage).terms for stage in method.stages()]
    return out | {"losses": {f"{n}.{name}": term for n, terms in enumerate(losses) for name, term in terms.items()}}


def check_another_seed_gives_another_outcome(subject: Subject) -> None:
    """Two seeds give two sets of weights and, where anything is drawn for a batch, two batches."""
    method = subject.method()
    one, other = (dict(fresh_network(method, seed).named_parameters()) for seed in (1, 2))
    require(not _same(one, other), "two seeds give the same weights")
    params = [subject.params(method, seed) for seed in (1, 2)]
    require(not params[0] or not _same(*params), "two seeds give the same parameters: draw them from `rng`")


def check_its_batches_are_well_formed(subject: Subject) -> None:
    """Inputs and views are finite float32 images (B, C, X, Y, Z) in [0, 1]; all tensors of a batch stay on the CPU."""
    batch = subject.batch(subject.method())
    for what, images in [("inputs", batch.inputs), *(("views", view) for view in batch.views)]:
        shape = tuple(images.shape)
        require(len(shape) == 5, f"{what} must be (B, C, X, Y, Z), not {shape}")
        _require_image(images, what)
    for name, tensor in tensors_of(batch).items():
        require(tensor.device.type == "cpu", f"`{name}` is on {tensor.device}: compute where the images are")
        require(bool(torch.isfinite(tensor).all()), f"`{name}` holds NaN or infinity")
    require(not batch.labels.is_floating_point(), f"labels must be whole numbers, not {batch.labels.dtype}")


def check_it_leaves_its_images_alone(subject: Subject) -> None:
    """make_batch changes neither the images nor the labels nor the parameters that it is given."""
    method = subject.method()
    images, labels, params = subject.images(), subject.labels(), subject.params(method)
    before = {"images": images.clone(), "labels": labels.clone(), **{n: p.clone() for n, p in params.items()}}
    method.make_batch(images, labels, params)
    for name, tensor in {"images": images, "labels": labels, **params}.items():
        same = _same({name: tensor}, {name: before[name]})
        require(same, f"make_batch changes `{name}` in place: work on a copy, such as {name}.clone()")


def check_a_sample_does_not_depend_on_its_neighbours(subject: Subject) -> None:
    """A batch equals its samples made one by one, so that several processes can share it."""
    method = subject.method()
    params = subject.params(method)
    whole = tensors_of(method.make_batch(subject.images(), subject.labels(), dict(params)))
    singles = [
        tensors_of(
            method.make_batch(
                subject.images()[place : place + 1],
                subject.labels()[place : place + 1],
                {name: value[place : place + 1] for name, value in params.items()},
            )
        )
        for place in range(BATCH)
    ]
    for name, tensor in whole.items():
        alone = torch.cat([single[name] for single in singles])
        same = _same({name: tensor}, {name: alone})
        require(same, f"`{name}` of a batch differs from its samples made one by one: let each have its own parameters")


def check_its_loss_is_the_mean_that_it_declares(subject: Subject) -> None:
    """With `mean_over_samples`, each term of a batch is the mean of the same term of its halves."""
    method = subject.method()
    if not method.mean_over_samples:
        return
    network, batch = fresh_network(method, 1).double().eval(), map_tensors(_doubled, subject.batch(method))
    halves = [map_tensors(itemgetter(own), batch) for own in (slice(BATCH // 2), slice(BATCH // 2, None))]
    for stage in method.stages():
        with torch.no_grad():
            whole, *parts = (method.losses(network, each, stage).terms for each in (batch, *halves))
        for name, term in whole.items():
            mean = sum(float(part[name]) for part in parts) / len(parts)
            same = abs(float(term) - mean) <= 1e-5 * abs(float(term))
            require(same, f"'{name}' is {float(term):.6g}, its halves' mean {mean:.6g}: set mean_over_samples = False")


def _doubled(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def check_its_hooks_are_functions_of_the_network(subject: Subject) -> None:
    """after_initialisation and after_step change a network in the same way every time; losses change only batch norm.

    So a step that lacks memory can be computed again, and every process has the same network.
    """
    method, batch = subject.method(), subject.batch(subject.method())
    network = fresh_network(method, 1)
    one, other = copy.deepcopy(network), copy.deepcopy(network)
    for stage in method.stages():
        for each in (one, other):
            with torch.no_grad():
                method.after_initialisation(each)
                losses = method.losses(each.train(), batch, stage)
                before = {name: tensor.clone() for name, tensor in _state(each).items()}
                method.losses(each, batch, stage)
                same = _same(before, _state(each))
                require(same, "losses changes the network: change it in after_step, with what is carried there")
                method.after_step(each, 1, 2, losses.carried)
        require(same_state(one, other), "its hooks change two equal networks differently: draw nothing in them")


def _state(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's state without the running statistics of batch norm, which a training step changes."""
    norms = [f"{name}." for name, module in network.named_modules() if isinstance(module, _BatchNorm)]
    return {name: each for name, each in network.state_dict().items() if not name.startswith(tuple(norms) or "\0")}


def check_it_exports_every_tensor(subject: Subject) -> None:
    """The encoder is complete, the decoder complete or empty; both follow the network and can be saved."""
    method = subject.method()
    network = fresh_network(method, 0)
    before = [dict(part) for part in method.initialisation(network)]
    before = [{name: tensor.clone() for name, tensor in part.items()} for part in before]
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.add_(1)
    after = method.initialisation(network)
    for name, tensor in {**after[0], **after[1]}.items():
        own = not torch.equal(tensor, {**before[0], **before[1]}[name])
        require(own, f"the exported {name} does not follow the network: export what was trained")
    _require_loads(subject, *after)
    with tempfile.TemporaryDirectory() as folder:
        save_initialisation(Path(folder), *after)
        again = load_initialisation(Path(folder))
    for written, read in zip(after, again, strict=True):
        require(written.keys() == read.keys(), "what is written and read again has other tensors")


def _require_loads(subject: Subject, first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    network = subject.config.chosen_network
    classifier = task_model(network, "classification")
    report = load_into(classifier.backbone, first, {}, need_decoder=False)
    require(not report.missing, f"the encoder lacks {', '.join(report.missing[:3])}")
    require(not report.unused, f"the encoder holds {', '.join(report.unused[:3])}, which no backbone has")
    if second:
        segmenter = task_model(network, "segmentation")
        whole = load_into(segmenter.backbone, first, second, need_decoder=True)
        require(not whole.missing, f"the decoder lacks {', '.join(whole.missing[:3])}; export all of it or nothing")


def check_what_it_restores_is_an_image(subject: Subject) -> None:
    """Restored images have the shape of the inputs and are finite float32 in [0, 1]."""
    method = subject.method()
    network, batch = fresh_network(method, 0).eval(), subject.batch(method)
    with torch.no_grad():
        restored = method.restored(network, batch.inputs)
    if restored is None:
        return
    same = restored.shape == batch.inputs.shape
    require(same, f"restored images are {tuple(restored.shape)}, their inputs {tuple(batch.inputs.shape)}")
    _require_image(restored, "restored images")


def tensors_of(batch: Batch) -> dict[str, Tensor]:
    """Return the tensors of a batch by name."""
    views = {f"view {number}": view for number, view in enumerate(batch.views, start=2)}
    return {"inputs": batch.inputs, "targets": batch.targets, "labels": batch.labels, **batch.answers, **views}


def same_state(one: nn.Module, other: nn.Module) -> bool:
    """Return whether the state of two networks is equal bit for bit."""
    return _same(one.state_dict(), other.state_dict())


def _require_image(image: Tensor, what: str) -> None:
    require(image.dtype == torch.float32, f"{what} must be float32, not {image.dtype}")
    require(bool(torch.isfinite(image).all()), f"{what} hold NaN or infinity")
    low, high = float(image.min()), float(image.max())
    require(low >= 0 and high <= 1, f"{what} must be in [0, 1], not in [{low:.3g}, {high:.3g}]: clamp them")


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two sets of tensors are equal bit for bit; NaN equals NaN."""
    if one.keys() != other.keys():
        return False
    pairs = ((tensor, other[name]) for name, tensor in one.items())
    return all(a.shape == b.shape and a.dtype == b.dtype and _equal(a, b) for a, b in pairs)


def _equal(one: Tensor, other: Tensor) -> bool:
    return bool(((one == other) | ((one != one) & (other != other))).all())
