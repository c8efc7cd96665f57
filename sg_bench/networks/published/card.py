"""The model card of exported weights, in Markdown: loading, method, pretraining data, licence and scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import yaml
from torch import Tensor

from sg_bench.config import SpatialDims, key_of
from sg_bench.networks.configs import MEDICALNET, SWIN_UNETR, MedicalNetNetworkConfig, NetworkChoice, papers_network
from sg_bench.networks.published.catalogue import CATALOGUE
from sg_bench.registry import SOURCES

INPUTS = {
    2: "(B, {}, X, Y, 1): grey values in [0, 1], columns before rows; {}",
    3: "(B, {}, X, Y, Z): grey values in [0, 1], axes to the right, to the front and upwards; {}",
}


def model_card(
    recipe: Mapping[str, Any],
    key: str,
    record: Mapping[str, Any],
    state: Mapping[str, Tensor],
    file_format: str,
    file: str,
    cells: Iterable[Mapping[str, Any]],
) -> str:
    """Return the model card of an exported initialisation.

    Args:
        recipe: of the initialisation.
        key: of the initialisation.
        record: of the initialisation in the workspace.
        state: the tensors of the file.
        file_format: of the file.
        file: its name, without a folder.
        cells: finished records; the scores of those with this initialisation are summarised.
    """
    total = sum(math.prod(tensor.shape) for tensor in state.values() if tensor.is_floating_point())
    numbers = f"{total:,}".replace(",", " ")
    parts = [
        f"# {recipe['method']}, pretraining seed {recipe['seed']}",
        f"`{file}`: {len(state)} tensors, {numbers} numbers, format {file_format}.",
        f"Initialisation `{key}`, content `{record['outputs']['initialisation']}`.",
        f"## Load it\n\n```python\n{snippet(recipe, state, file_format, file)}\n```",
        f"Input: {_input(recipe)}.",
        f"## Data\n\n{_data(recipe)}",
        f"## Contamination\n\n{_contamination(recipe)}",
        f"## Licence\n\n{_licence(recipe)}",
        f"## Measured\n\n{_measured(key, cells)}",
        f"## Method\n\n```yaml\n{yaml.safe_dump(dict(recipe['config']), sort_keys=True).rstrip()}\n```",
        "## Tensors\n\n```\n" + "\n".join(f"{name} {tuple(tensor.shape)}" for name, tensor in state.items()) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def snippet(recipe: Mapping[str, Any], state: Mapping[str, Tensor], file_format: str, file: str) -> str:
    """Return the Python lines that load the file, to be run in its folder."""
    decoder = any(name.startswith(("up_tr", "decoder.")) for name in state)
    if choice := _choice(recipe):
        return _registered(choice, decoder, file_format, file)
    if file_format == "monai" and _dimension(recipe) == 2:
        return _monai(recipe, file)
    network = _network(recipe, decoder=decoder)
    imports = [f"from sg_bench.networks import {network.partition('(')[0]}"]
    if file_format == "safetensors":
        imports += ["from safetensors.torch import load_file"]
        load = f'network.load_state_dict(load_file("{file}"))'
    elif file_format == "monai":
        imports += ["import torch"]
        load = f'network.load_state_dict(torch.load("{file}", weights_only=True))'
    else:
        imports = ["from pathlib import Path", f"{imports[0]}, read_into"]
        decoder = "Encoder" not in network and "MedicalNet(" not in network
        load = f'print(read_into(network, Path("{file}"), "{_architecture(recipe)}", decoder={decoder}))'
    return "\n".join([*sorted(imports, reverse=True), "", f"network = {network}", load])


def _registered(choice: NetworkChoice, decoder: bool, file_format: str, file: str) -> str:
    """Return the lines for a network of the registry; MONAI itself loads a SwinUNETR in its format."""
    config = choice.config.key_content()
    if file_format == "monai" and choice.name == SWIN_UNETR:
        return _monai_swin_unetr(config, decoder, file)
    build = "unet" if decoder else "encoder"
    imports = [f"from sg_bench.networks.build import {build}", "from sg_bench.networks.configs import NetworkChoice"]
    if file_format == "safetensors":
        imports, load = ["from safetensors.torch import load_file", *imports], f'load_file("{file}")'
    else:
        part = '["state_dict"]' if file_format == "official" else ""
        imports, load = ["import torch", *imports], f'torch.load("{file}", weights_only=True){part}'
    made = f'NetworkChoice(name="{choice.name}", config={config!r})'
    return "\n".join([*imports, "", f"network = {build}({made})", f"network.load_state_dict({load})"])


def _monai_swin_unetr(config: Mapping[str, Any], decoder: bool, file: str) -> str:
    strict = "" if decoder else ", strict=False"
    return "\n".join(
        [
            "import torch",
            "from monai.networks.nets.swin_unetr import SwinUNETR",
            "",
            f"network = SwinUNETR({config['in_channels']}, 1, feature_size={config['feature_size']},",
            f"                    depths={config['depths']}, num_heads={config['heads']},",
            f"                    window_size={config['window']}, use_v2={config['use_v2']},",
            f"                    spatial_dims={config['dimension']})",
            f'network.load_state_dict(torch.load("{file}", weights_only=True){strict})',
        ]
    )


def _monai(recipe: Mapping[str, Any], file: str) -> str:
    first = 2 * recipe["config"]["width"]
    return "\n".join(
        [
            "import torch",
            "from monai.networks.nets.resnet import ResNet",
            "",
            "# Images (B, 3, X, Y): the grey image repeated, normalised with ImageNet's mean and standard deviation.",
            f'network = ResNet("basic", [2, 2, 2, 2], {[first, 2 * first, 4 * first, 8 * first]}, spatial_dims=2,',
            '                 n_input_channels=3, conv1_t_stride=2, feed_forward=False, shortcut_type="B",',
            "                 bias_downsample=False)",
            f'network.load_state_dict(torch.load("{file}", weights_only=True))',
        ]
    )


def _network(recipe: Mapping[str, Any], *, decoder: bool) -> str:
    """Return the call that builds the network of these tensors."""
    architecture, width = _architecture(recipe), recipe["config"]["width"]
    if architecture.startswith("medicalnet"):
        return f"MedicalNet({architecture.removeprefix('medicalnet')})"
    return f"{'UNet' if decoder else 'Encoder'}{_dimension(recipe)}D({width})"


def _choice(recipe: Mapping[str, Any]) -> NetworkChoice | None:
    """Return the network of an initialisation; None for the papers' and published ones."""
    given = recipe["config"].get("network")
    return NetworkChoice.model_validate(given) if given else None


def network_of(recipe: Mapping[str, Any]) -> NetworkChoice:
    """Return the network of an initialisation's recipe."""
    architecture = _architecture(recipe)
    if choice := _choice(recipe):
        return choice
    if depth := architecture.removeprefix(MEDICALNET) if architecture.startswith(MEDICALNET) else "":
        config = MedicalNetNetworkConfig.model_validate({"depth": int(depth)})
        return NetworkChoice(name=MEDICALNET, config=config)
    return papers_network(2 if _dimension(recipe) == 2 else 3, recipe["config"]["width"])


def _input(recipe: Mapping[str, Any]) -> str:
    dimension: SpatialDims = 2 if _dimension(recipe) == 2 else 3
    config = (_choice(recipe) or papers_network(dimension)).config
    used = config.multiple[:dimension]
    multiples = str(used[0]) if len(set(used)) == 1 else " x ".join(map(str, used))
    sides = "sides" if dimension == 3 else "X and Y"
    return INPUTS[dimension].format(config.in_channels, f"{sides} multiples of {multiples}")


def _architecture(recipe: Mapping[str, Any]) -> str:
    return str(recipe["config"].get("architecture") or ("resnet18" if _dimension(recipe) == 2 else "unet3d"))


def _dimension(recipe: Mapping[str, Any]) -> int:
    return int(recipe["config"].get("dimension", 3))


def pretraining_data(recipe: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the name of the pretraining data, and the registered sources that read them."""
    config = recipe["config"]
    if config.get("seen"):
        return config["seen"]["corpus"], list(config["seen"]["sources"])
    store = (recipe["corpus"] or {}).get("store")
    if store is None:
        return "none: random weights", []
    about = SOURCES.load(store["source"]).about
    return about.title if about else store["source"], [store["source"]]


def _data(recipe: Mapping[str, Any]) -> str:
    config = recipe["config"]
    if config.get("seen"):
        entry = CATALOGUE.get(config["weights"])
        if entry is None:
            return f"{config['seen']['corpus']}, as declared for `{config['weights']}`, SHA-256 `{config['sha256']}`."
        return f"{entry.seen}. Published as `{entry.file}`, SHA-256 `{config['sha256']}`. {entry.citation}."
    store = (recipe["corpus"] or {}).get("store")
    if store is None:
        return "None: the weights are random."
    cases = store["manifest"]["cases"]
    about = SOURCES.load(store["source"]).about
    return f"{about.title if about else store['source']}: {cases} images, source `{store['source']}`, of which the " + (
        f"split `{key_of(recipe['corpus'])[:12]}` selected the training images."
    )


def _contamination(recipe: Mapping[str, Any]) -> str:
    config = recipe["config"]
    if config.get("seen"):
        names = ", ".join(f"`{source}`" for source in config["seen"]["sources"])
        groups = ", ".join(config["seen"]["groups"])
        known = f" Sources with these images: {names}{f' ({groups})' if groups else ''}." if names else ""
        return f"Do not test on its pretraining data, {config['seen']['corpus']}.{known}"
    if recipe["corpus"] is None:
        return "None: it was trained on no images."
    source = recipe["corpus"]["store"]["source"]
    return f"Do not test on images of `{source}` that it was trained on, or on other images of the same patients."


def _licence(recipe: Mapping[str, Any]) -> str:
    config = recipe["config"]
    if config.get("seen"):
        entry = CATALOGUE.get(config["weights"])
        licence = entry.licence if entry else "As declared when the file was added; see `sg-bench weights list`"
        return f"{licence}. The export does not change it."
    if recipe["corpus"] is None:
        return "None is attached by sg-bench."
    about = SOURCES.load(recipe["corpus"]["store"]["source"]).about
    licence = about.licence if about else "unknown; ask their owner"
    return f"None is attached by sg-bench. The licence of the data: {licence}."


@dataclass(frozen=True)
class MeanScore:
    """The mean of a task's headline over the fine-tunings of an initialisation."""

    task: str
    kind: str
    key: str
    """First digits of the task's key."""
    metric: str
    mean: float
    count: int


def mean_scores(key: str, cells: Iterable[Mapping[str, Any]]) -> list[MeanScore]:
    """Return the scores of an initialisation in finished records, by task."""
    scores: dict[tuple[str, str, str, str], list[float]] = {}
    for record in cells:
        recipe = record["recipe"]
        if record["status"] != "done" or key_of(recipe["initialisation"]) != key:
            continue
        score = record["metrics"].get(record["headline"])
        task = recipe["task"]
        place = (task["name"], str(task.get("kind", "")), key_of(task)[:6], str(record["headline"]))
        scores.setdefault(place, []).extend([] if score is None else [float(score)])
    return [MeanScore(*place, fmean(found), len(found)) for place, found in sorted(scores.items()) if found]


def _measured(key: str, cells: Iterable[Mapping[str, Any]]) -> str:
    scores = mean_scores(key, cells)
    if not scores:
        return "The ledger has no scores with these weights."
    lines = [
        f"| {each.task} (`{each.key}`) | {each.metric} | {100 * each.mean:.2f} | {each.count} |" for each in scores
    ]
    return "\n".join(["| task | metric | mean, % | fine-tunings |", "| :--- | :--- | ---: | ---: |", *lines])
