"""Self-discovery: from the latents of a corpus to patterns with pseudo-labels."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import key_of
from sg_bench.data.cubes import resized
from sg_bench.discovery.patterns import Ranking, Reference, at_random, draw_references, draw_windows
from sg_bench.discovery.store import INDEX, PatternWriter, create_patterns, finish_patterns
from sg_bench.methods.autoencoder import latent, latent_encoder
from sg_bench.methods.configs import AutoencoderConfig
from sg_bench.networks.weights import load_into
from sg_bench.planning import is_built
from sg_bench.recipes import DiscoveryRecipe, PretrainingRecipe
from sg_bench.running.environment import compute_device
from sg_bench.running.stages.inputs import read_initialisation
from sg_bench.running.stages.parts import corpus_ids
from sg_bench.training.draws import Purpose, generator
from sg_bench.training.loop import ProgressCallback
from sg_bench.training.precision import configure_arithmetic
from sg_bench.training.pretraining import on_device
from sg_bench.workspace import Workspace, replace_folder, restore_folder, write_atomic

DIGEST_BYTES = 32
"""Of a SHA-256, at the end of the file of a portion's latents."""
PORTION = {2: 256, 3: 8}
"""Films, and volumes, that are encoded or cut between two savings: so much is lost at most when a process is killed."""


@dataclass(frozen=True)
class Share:
    """Every `count`-th portion of a discovery's cases, from number `index` on, to be encoded or cut by one process."""

    step: Literal["encode", "cut"]
    index: int
    count: int


def discover(recipe: DiscoveryRecipe, workspace: Workspace, progress: ProgressCallback) -> None:
    """Find the patterns of a corpus and cut them in all neighbouring patients, as far as shares have not done it."""
    if is_built(workspace, recipe):
        return
    final, discovery = workspace.path("patterns", recipe.key), Discovery(recipe, workspace, progress)
    for step in steps(recipe):
        discovery.work(Share(step, 0, 1))
    finish_patterns(discovery.folder)
    restore_folder(final)
    replace_folder(discovery.folder, final)
    for saved in (path for step in steps(recipe) for path in final.glob(f"{step}-*")):
        saved.unlink()
    shutil.rmtree(workspace.partial("patterns", recipe.key))
    progress(1, 1)


def discover_share(recipe: DiscoveryRecipe, workspace: Workspace, share: Share, progress: ProgressCallback) -> None:
    """Encode or cut some cases of an unfinished discovery. Hold its lock, so that it is not finished meanwhile."""
    if not is_built(workspace, recipe):
        Discovery(recipe, workspace, progress).work(share)


def steps(recipe: DiscoveryRecipe) -> tuple[Literal["encode", "cut"], ...]:
    """Return the steps of a discovery; each needs all cases of the one before."""
    return ("encode", "cut") if recipe.autoencoder else ("cut",)


class Discovery:
    """A discovery in work. Its cases are in portions, and each portion is saved by itself, so that nothing is lost.

    Args:
        recipe: its auto-encoder and store are finished.
        workspace: of the results.
        progress: is given the number of portions that are done, by whatever process, and of all.
    """

    def __init__(self, recipe: DiscoveryRecipe, workspace: Workspace, progress: ProgressCallback) -> None:
        self.recipe, self.workspace, self.progress = recipe, workspace, progress
        self.store, *self.parts = corpus_ids(recipe.corpus, workspace)
        ids, size = [id_ for part in self.parts for id_ in part], PORTION[recipe.settings.dimension]
        self.portions = [ids[first : first + size] for first in range(0, len(ids), size)]
        # A store may gain cases between two runs: what was done for others must not be taken up again.
        content = key_of([[id_, self.store[id_].image_digest] for id_ in ids])
        self.folder = workspace.partial("patterns", recipe.key) / content[:16]
        self.folder.mkdir(parents=True, exist_ok=True)

    def work(self, share: Share) -> None:
        """Encode or cut the portions of a share that are not done."""
        own = range(share.index, len(self.portions), share.count)
        if numbers := [number for number in own if not self._saved(share.step, number).is_file()]:
            work = self._encoder() if share.step == "encode" else self._cutter()
            for number in numbers:
                write_atomic(self._saved(share.step, number), work(self.portions[number]))
                self._report()

    def _encoder(self) -> Callable[[list[str]], bytes]:
        """Return a function from ids to the .npy file of their latents (n, 16 * width), with its SHA-256 after it."""
        assert self.recipe.autoencoder is not None
        network, config, device = _trained_encoder(self.recipe.autoencoder, self.workspace)

        def encode(ids: list[str]) -> bytes:
            images = (resized(self.store.image(id_), config.shape) for id_ in ids)
            latents = [latent(network, on_device(image[None], device)) for image in images]
            buffer = io.BytesIO()
            np.save(buffer, np.stack(latents), allow_pickle=False)
            return buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest()

        return encode

    def _cutter(self) -> Callable[[list[str]], bytes]:
        """Return a function that cuts the windows of some ids; the first process chooses them for all."""
        with self.workspace.lock(f"{self.recipe.key}.windows"):
            if not (self.folder / INDEX).is_file():
                self._choose()
        writer = PatternWriter(self.folder)

        def cut(ids: list[str]) -> bytes:
            writer.cut(ids, self.store.image)
            return b""

        return cut

    def _choose(self) -> None:
        """Draw the references and the windows of all patterns, and write their index."""
        settings, shapes = self.recipe.settings, {case.id: case.shape for case in self.store.cases}
        parts, places = (self.parts[0], self.parts[1]), generator(settings.seed, Purpose.DISCOVERY)
        references = draw_references(settings, parts, shapes, self.store.image, places)
        rng = generator(settings.seed, Purpose.DISCOVERY, 1)
        windows = draw_windows(settings, references, self._ranked(), shapes, rng)
        create_patterns(self.folder, references, windows, settings.crops.cube)

    def _ranked(self) -> Callable[[Reference, bool], list[str]]:
        """Return the function that orders the training or validation ids for a reference."""
        seed, parts = self.recipe.settings.seed, self.parts
        if self.recipe.autoencoder:
            latents = self._latents()
            rankings = [Ranking(latents, part) for part in parts]
            return lambda reference, validation: rankings[validation].nearest(latents[reference.id], reference.id)

        def at_random_from(reference: Reference, validation: bool) -> list[str]:
            order = generator(seed, Purpose.DISCOVERY, 2 + validation, reference.label)
            return at_random(reference.id, parts[validation], order)

        return at_random_from

    def _latents(self) -> dict[str, NDArray[np.float32]]:
        """Return the saved latents of all cases; a portion that is damaged is set aside and encoded again."""
        saved = [self._read_latents(number) for number in range(len(self.portions))]
        return {
            id_: row for ids, rows in zip(self.portions, saved, strict=True) for id_, row in zip(ids, rows, strict=True)
        }

    def _read_latents(self, number: int) -> NDArray[np.float32]:
        path = self._saved("encode", number)
        raw = path.read_bytes()
        if hashlib.sha256(raw[:-DIGEST_BYTES]).digest() != raw[-DIGEST_BYTES:]:
            name = path.relative_to(self.workspace.path("patterns"))
            self.workspace.set_aside("patterns", str(name))
            write_atomic(path, self._encoder()(self.portions[number]))
            raw = path.read_bytes()
        latents: NDArray[np.float32] = np.load(io.BytesIO(raw), allow_pickle=False)
        return latents

    def _saved(self, step: str, number: int) -> Path:
        """Return the file of a portion that is done: its latents, or nothing if its windows are cut."""
        return self.folder / f"{step}-{number:05}"

    def _report(self) -> None:
        done = sum(1 for step in steps(self.recipe) for _ in self.folder.glob(f"{step}-*"))
        self.progress(done, len(steps(self.recipe)) * len(self.portions))


def _trained_encoder(recipe: PretrainingRecipe, workspace: Workspace) -> tuple[Any, AutoencoderConfig, Any]:
    """Return the trained encoder of `recipe`, its configuration and the device it is on."""
    config, device = recipe.config, compute_device()
    assert isinstance(config, AutoencoderConfig)
    encoder, decoder, _ = read_initialisation(recipe, workspace)
    network = latent_encoder(config)
    load_into(network, encoder, decoder, need_decoder=False)
    configure_arithmetic(config.training)
    return network.to(device).eval(), config, device
