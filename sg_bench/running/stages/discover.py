"""Self-discovery: from the latents of a corpus to patterns with pseudo-labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from sg_bench.data.cubes import resized
from sg_bench.data.store import Store
from sg_bench.discovery.patterns import Reference, at_random, draw_references, draw_windows, nearest
from sg_bench.discovery.store import write_patterns
from sg_bench.methods.autoencoder import latent, latent_encoder
from sg_bench.methods.configs import AutoencoderConfig
from sg_bench.networks.weights import load_initialisation, load_into
from sg_bench.planning import is_built
from sg_bench.recipes import DiscoveryRecipe, PretrainingRecipe
from sg_bench.running.environment import compute_device
from sg_bench.running.stages.parts import corpus_ids
from sg_bench.training.draws import Purpose, generator
from sg_bench.training.loop import ProgressCallback
from sg_bench.training.precision import configure_arithmetic
from sg_bench.training.pretraining import on_device
from sg_bench.workspace import Workspace


def discover(recipe: DiscoveryRecipe, workspace: Workspace, progress: ProgressCallback) -> None:
    """Find the patterns of a corpus and cut them in all neighbouring patients."""
    if is_built(workspace, recipe):
        return
    store, train_ids, validation_ids = corpus_ids(recipe.corpus, workspace)
    settings = recipe.settings
    latents = _latents(recipe.autoencoder, workspace, store, train_ids + validation_ids) if recipe.autoencoder else {}

    def ranked(reference: Reference, validation: bool) -> list[str]:
        ids = validation_ids if validation else train_ids
        if recipe.autoencoder:
            return nearest(latents, reference.id, ids)
        order = generator(settings.seed, Purpose.DISCOVERY, 2 + validation, reference.label)
        return at_random(reference.id, ids, order)

    shapes = {case.id: case.shape for case in store.cases}
    parts, places = (train_ids, validation_ids), generator(settings.seed, Purpose.DISCOVERY)
    references = draw_references(settings, parts, shapes, store.image, places)
    rng = generator(settings.seed, Purpose.DISCOVERY, 1)
    windows = draw_windows(settings, references, ranked, shapes, rng)
    with workspace.building("patterns", recipe.key) as folder:
        write_patterns(folder, references, windows, store.image, settings.crops.cube)
    progress(1, 1)


def _latents(
    recipe: PretrainingRecipe, workspace: Workspace, store: Store, ids: list[str]
) -> dict[str, np.ndarray[Any, Any]]:
    """Return each volume's latent, by the trained auto-encoder of `recipe`."""
    config = recipe.config
    assert isinstance(config, AutoencoderConfig)
    encoder, decoder = load_initialisation(workspace.path("initialisations", recipe.key))
    network = latent_encoder(config)
    load_into(network, encoder, decoder, need_decoder=False)
    device = compute_device()
    configure_arithmetic(config.training)
    network.to(device).eval()
    return {id_: latent(network, on_device(resized(store.image(id_), config.shape)[None], device)) for id_ in ids}
