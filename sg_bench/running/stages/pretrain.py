"""Pretraining: from a method and a corpus to an initialisation."""

from __future__ import annotations

from functools import partial

from sg_bench.data.cubes import Cubes, pattern_cubes, random_crops, whole_volumes
from sg_bench.data.identity import stable_hash
from sg_bench.data.store import Store
from sg_bench.digests import write_npz, write_sealed
from sg_bench.errors import DataError
from sg_bench.methods.base import Method, Patterns, WholeVolumes
from sg_bench.networks.published.files import read_weights
from sg_bench.networks.weights import save_initialisation
from sg_bench.planning import is_built
from sg_bench.recipes import PretrainingRecipe
from sg_bench.registry import METHODS
from sg_bench.running.environment import Stopwatch, compute_device, describe_environment
from sg_bench.running.stages.parts import corpus_ids
from sg_bench.training.checkpoints import clear_state
from sg_bench.training.draws import Purpose, generator
from sg_bench.training.fine_tuning import input_channels
from sg_bench.training.gradients import StepMemory
from sg_bench.training.loop import ProgressCallback, train
from sg_bench.training.pretraining import Pretraining, fresh_network, restoration_examples
from sg_bench.training.ranks import World
from sg_bench.workspace import Workspace


def pretrain(recipe: PretrainingRecipe, workspace: Workspace, progress: ProgressCallback, world: World) -> None:
    """Pretrain a method, or read its published weights; rank 0 writes the initialisation with its record.

    Rank 0 decides whether that is done already, and reads the checkpoint, for all ranks.
    """
    if world.decide(partial(is_built, workspace, recipe)):
        return
    watch = Stopwatch()
    method: Method = METHODS.load(recipe.method)(recipe.config, recipe.classes)
    network = fresh_network(method, recipe.seed)
    loaded = method.prepare_network(network, partial(read_weights, workspace))
    curves, examples, memory, world_sizes = [], {}, StepMemory(), list[int]()
    if method.stages():
        learner = Pretraining(method, network, *pretraining_cubes(method, recipe, workspace), compute_device())
        folder = workspace.partial("initialisations", recipe.key)
        curves = train(
            learner,
            seed=recipe.seed,
            folder=folder,
            world=world,
            progress=progress,
            memory=memory,
            world_sizes=world_sizes,
        )
        examples = restoration_examples(learner, recipe.seed) if world.rank == 0 else {}
    if world.rank > 0:
        return
    with workspace.building("initialisations", recipe.key) as folder:
        digest = save_initialisation(folder, *method.initialisation(network))
        clear_state(folder)
        outputs = {"initialisation": digest}
        if examples:
            outputs["examples"] = write_npz(folder / "examples.npz", examples)
        record = {
            "schema": 2,
            "key": recipe.key,
            "recipe": recipe.key_content(),
            "curves": curves,
            "ran": {
                **describe_environment(),
                **watch.read(),
                **memory.describe(),
                "world_size": world.size,
                "world_sizes": world_sizes,
            },
            "outputs": outputs,
        }
        write_sealed(folder / "record.json", record | ({"loaded": loaded} if loaded else {}))


def pretraining_cubes(method: Method, recipe: PretrainingRecipe, workspace: Workspace) -> tuple[Cubes, Cubes]:
    """Return the training and validation cubes of `method`."""
    sampling = method.sampling()
    if isinstance(sampling, Patterns):
        assert recipe.patterns is not None
        folder = workspace.path("patterns", recipe.patterns.key)
        found = pattern_cubes(folder, validation=False)
        if sampling.permuted:
            found = found.permuted(generator(recipe.seed, Purpose.LABELS))
        return found, pattern_cubes(folder, validation=True)
    assert recipe.corpus is not None
    store, train_ids, validation_ids = corpus_ids(recipe.corpus, workspace)
    _check_channels(store, recipe.corpus.store.channels)
    if isinstance(sampling, WholeVolumes):
        return whole_volumes(store, train_ids, sampling.shape), whole_volumes(store, validation_ids, sampling.shape)
    rngs = {id_: generator(recipe.seed, Purpose.PLACES, stable_hash(id_)) for id_ in train_ids + validation_ids}
    cut = partial(random_crops, store, rule=sampling.rule, per_volume=sampling.per_volume, rngs=rngs)
    return cut(ids=train_ids), cut(ids=validation_ids)


def _check_channels(store: Store, planned: int) -> None:
    """Check that a corpus has the channels for which the network was planned.

    Raises:
        DataError: it has others.
    """
    found = input_channels(store)
    if found != planned:
        raise DataError(
            f"the images of the corpus have {found} channels, not {planned} as planned",
            hint="Name all channels in `channels` of the source, in their order",
        )
