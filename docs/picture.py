"""Draw the image of the README from a workspace in which the demo was run.

Usage: python docs/picture.py WORKSPACE OUT.png
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray

mpl.use("Agg")
from matplotlib import pyplot as plt

from sg_bench.methods.base import Method
from sg_bench.networks.unet import YNet3D
from sg_bench.networks.weights import load_initialisation, load_into
from sg_bench.registry import METHODS
from sg_bench.transforms.base import as_tensors
from sg_bench.transforms.streams import RandomStreams
from sg_bench.workspace import Workspace, read_json

PATIENTS = 8


def main(work: str, out: str) -> None:
    """Draw two patterns in eight patients each, and below them cubes that Semantic Genesis restores."""
    workspace = Workspace(work)
    folder = next(path for path in sorted(workspace.path("patterns").iterdir()) if path.is_dir())
    figure, axes = plt.subplots(5, PATIENTS, figsize=(PATIENTS * 1.25, 5 * 1.3), squeeze=False)
    for row, label in enumerate(richest(folder)):
        for axis, cube in zip(axes[row], pattern(folder, label), strict=False):
            show(axis, cube)
        axes[row, 0].set_ylabel(f"pattern {label + 1}\n8 patients", fontsize=7)
    inputs, targets, restored = restoration(workspace, folder)
    for row, (name, images) in enumerate((("corrupted", inputs), ("restored", restored), ("target", targets)), start=2):
        for axis, image in zip(axes[row], images, strict=False):
            show(axis, image)
        axes[row, 0].set_ylabel(name, fontsize=7)
    figure.tight_layout(pad=0.4)
    figure.savefig(out, dpi=110)


def richest(folder: Path) -> list[int]:
    """Return the two classes with the largest variation in their reference cubes, which show recognisable edges."""
    classes = len(read_json(folder / "index.json")["references"])
    return sorted(range(classes), key=lambda label: -float(np.std(pattern(folder, label)[0].astype(np.float32))))[:2]


def pattern(folder: Path, label: int) -> list[NDArray[Any]]:
    """Return the native-scale cubes of a class, nearest patient first."""
    windows = read_json(folder / "index.json")["windows"]
    cubes = np.load(folder / "cubes.npy", mmap_mode="r", allow_pickle=False)
    size = list(cubes.shape[1:])
    rows = [row for row, w in enumerate(windows) if w["label"] == label and not w["validation"] and w["size"] == size]
    first = {windows[row]["id"]: row for row in reversed(rows)}
    return [cubes[row] for row in sorted(first.values())][:PATIENTS]


def restoration(workspace: Workspace, folder: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return (inputs, targets, restored), each (8, x, y, z), of the first cubes of eight patterns."""
    record_path = next(
        path
        for path in sorted(workspace.path("initialisations").glob("*/record.json"))
        if read_json(path)["recipe"]["method"] == "semantic_genesis"
    )
    recipe = read_json(record_path)["recipe"]
    config, classes = recipe["config"], recipe["patterns"]["settings"]["classes"]
    method: Method = METHODS.load("semantic_genesis")(METHODS.config("semantic_genesis")(**config), classes)
    network = YNet3D(config["width"], classes)
    load_into(network, *load_initialisation(record_path.parent), need_decoder=True)
    network.eval()
    cubes = np.stack([pattern(folder, label)[0] for label in range(PATIENTS)]).astype(np.float32)
    x, y, z = cubes.shape[1:]
    params = as_tensors(method.sample_params(RandomStreams(range(PATIENTS)), (x, y, z)))
    batch = method.make_batch(torch.from_numpy(cubes)[:, None], torch.zeros(PATIENTS, dtype=torch.int64), params)
    with torch.no_grad():
        restored = torch.sigmoid(network.decode(network.features(batch.inputs)))
    return batch.inputs[:, 0].numpy(), batch.targets[:, 0].numpy(), restored[:, 0].numpy()


def show(axis: Any, cube: NDArray[Any]) -> None:
    """Draw a cube's middle axial slice, the patient's front at the top."""
    axis.imshow(np.asarray(cube[:, :, cube.shape[2] // 2], np.float32).T, origin="lower", cmap="gray", vmin=0, vmax=1)
    axis.set_xticks([])
    axis.set_yticks([])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(sys.argv[1], sys.argv[2])
