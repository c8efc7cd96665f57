"""What each kind of job does: the same functions run in this process, in worker processes and on Ray.

Every job leaves its whole result in the workspace under its key, or nothing but what lets it be resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sg_bench.config import Preparation, key_of
from sg_bench.data.cubes import Cubes, pattern_cubes, random_crops, resized, whole_volumes
from sg_bench.data.identity import stable_hash
from sg_bench.data.sources.base import Case
from sg_bench.data.store import Store, finish, has_case, noted_skips, skip_case, skipped_cases, write_case
from sg_bench.discovery.patterns import Reference, at_random, draw_references, draw_windows, nearest
from sg_bench.discovery.settings import DiscoverySettings
from sg_bench.discovery.store import write_patterns
from sg_bench.errors import DataError
from sg_bench.ledger import Ledger
from sg_bench.methods.autoencoder import latent, latent_encoder
from sg_bench.methods.base import Method, Patterns, WholeVolumes
from sg_bench.networks.published.files import read_weights
from sg_bench.networks.weights import load_initialisation, load_into, save_initialisation
from sg_bench.planning import Job, Recipe, is_built, open_source, store_recipe
from sg_bench.registry import METHODS, SOURCES
from sg_bench.running.cells import compute_cell
from sg_bench.running.environment import Stopwatch, compute_device, configure_torch, describe_environment
from sg_bench.running.failures import Failure, failed_record
from sg_bench.running.parts import corpus_ids
from sg_bench.training.checkpoints import clear_state
from sg_bench.training.draws import Purpose, generator
from sg_bench.training.loop import train
from sg_bench.training.pretraining import Pretraining, fresh_network, on_device, restoration_examples
from sg_bench.training.ranks import World
from sg_bench.workspace import Workspace, write_json

Report = Callable[[int, int | None], None]


def execute(job: Job, workspace: Workspace, report: Report, world: World | None = None) -> None:
    """Compute `job` into the workspace; return at once if it is there already."""
    configure_torch()
    work = {"store": _store, "initialisation": _initialisation, "patterns": _patterns, "cell": _cell}[job.kind]
    world = world or World()
    with workspace.lock(job.key) if world.rank == 0 else nullcontext():
        world.barrier()  # every rank must see the same: done by another run meanwhile, or not
        work(job, workspace, report, world)


def attempt(job: Job, workspace: Workspace, report: Report, cases: Sequence[Case] = ()) -> Failure | None:
    """Execute `job`, or prepare only some of its cases; return what went wrong, recorded if it is a cell."""
    try:
        if cases:
            with workspace.lock(job.key, shared=True):  # nobody may finish the store in the middle of a case
                prepare_cases(job, workspace, cases)
        else:
            execute(job, workspace, report)
    except Exception as error:
        failure = Failure.of(error)
        if job.kind == "cell":
            Ledger(workspace).put(failed_record(job, failure, [workspace.root]))
        return failure
    return None


def prepare_cases(job: Job, workspace: Workspace, cases: Sequence[Case], *, retry: bool = True) -> None:
    """Prepare some cases of a store that is being built, or those of a finished one that it does without.

    A case that cannot be used is noted with the reason, and the others go on. Finished cases are passed over, and
    without `retry` noted ones too. Hold the store's lock: nobody may finish it meanwhile.
    """
    from sg_bench.data.prepare import prepare

    built = is_built(workspace, job)
    folder = workspace.path("stores", job.key) if built else workspace.partial("stores", job.key)
    folder.mkdir(parents=True, exist_ok=True)
    passed = set() if retry else noted_skips(folder).keys()
    left = {skipped.id for skipped in skipped_cases(folder)} if built else {case.id for case in cases}
    preparation, source = Preparation(**job.recipe["preparation"]), _source(job)
    for case in cases:
        if case.id not in left - passed or has_case(folder, case.id):
            continue
        try:
            write_case(folder, case, prepare(source.load(case), preparation, name=case.id))
        except DataError as error:
            skip_case(folder, case, _from_root(str(error), job.root))


def _from_root(text: str, root: Path | None) -> str:
    """Return `text` with files named from the data set's folder: an index must not tell where data lie."""
    return text.replace(f"{root}/", "") if root else text


def cases_of(job: Job) -> list[Case]:
    """Return the cases of a store's source.

    Raises:
        DataError: the source has changed since the plan was made.
    """
    source = _source(job)
    if store_recipe(job.recipe["source"], source, Preparation(**job.recipe["preparation"])) != job.recipe:
        raise DataError(f"{job.title}: the files have changed since the plan was made", hint="Run the command again")
    return list(source.scan())


def _source(job: Job) -> Any:
    name = job.recipe["source"]
    return open_source(name, SOURCES.config(name)(**job.recipe["config"]), job.root, name)


def _store(job: Job, workspace: Workspace, report: Report, world: World) -> None:
    final = workspace.path("stores", job.key)
    built = is_built(workspace, job)
    if built and not skipped_cases(final):
        return
    cases = cases_of(job)
    with nullcontext(final) if built else workspace.building("stores", job.key) as folder:
        prepare_cases(job, workspace, cases, retry=False)
        if not built or noted_skips(folder).keys() != {skipped.id for skipped in skipped_cases(folder)}:
            finish(folder, job.recipe, [case.id for case in cases])
    report(len(cases), len(cases))


def _initialisation(job: Job, workspace: Workspace, report: Report, world: World) -> None:
    if is_built(workspace, job):
        return
    watch = Stopwatch()
    name, device = job.recipe["method"], compute_device()
    method: Method = METHODS.load(name)(METHODS.config(name)(**job.recipe["config"]), _classes(job.recipe))
    network = fresh_network(method, job.recipe["seed"])
    loaded = method.prepare_network(network, partial(read_weights, workspace))
    folder = workspace.partial("initialisations", job.key)
    curves, examples = [], {}
    if method.stages():
        train_cubes, validation_cubes = _cubes(method, job, workspace)
        learner = Pretraining(method, network, train_cubes, validation_cubes, device)
        curves = train(learner, seed=job.recipe["seed"], folder=folder, world=world, progress=report)
        examples = restoration_examples(learner, job.recipe["seed"]) if world.rank == 0 else {}
    world.barrier()
    if world.rank > 0:
        return
    with workspace.building("initialisations", job.key) as folder:
        digest = save_initialisation(folder, *method.initialisation(network))
        clear_state(folder)
        if examples:
            np.savez_compressed(folder / "examples.npz", allow_pickle=False, **examples)
        ran = {**describe_environment(), **watch.read(), "world_size": world.size}
        outputs = {"initialisation": digest}
        write_json(
            folder / "record.json",
            {
                "schema": 1,
                "key": job.key,
                "recipe": job.recipe,
                "curves": curves,
                "ran": ran,
                "outputs": outputs,
                **({"loaded": loaded} if loaded else {}),
            },
        )


def _classes(recipe: Recipe) -> int:
    return int(recipe["patterns"]["settings"]["classes"]) if recipe["patterns"] else 0


def _cubes(method: Method, job: Job, workspace: Workspace) -> tuple[Cubes, Cubes]:
    """Return the training and validation cubes that `method` asks for."""
    sampling = method.sampling()
    if isinstance(sampling, Patterns):
        folder = workspace.path("patterns", key_of(job.recipe["patterns"]))
        found = pattern_cubes(folder, validation=False)
        if sampling.permuted:
            found = found.permuted(generator(job.recipe["seed"], Purpose.LABELS))
        return found, pattern_cubes(folder, validation=True)
    store, train_ids, validation_ids = corpus_ids(job.recipe["corpus"], workspace)
    if isinstance(sampling, WholeVolumes):
        return whole_volumes(store, train_ids, sampling.shape), whole_volumes(store, validation_ids, sampling.shape)
    seed = job.recipe["seed"]
    rngs = {id_: generator(seed, Purpose.PLACES, stable_hash(id_)) for id_ in train_ids + validation_ids}
    cut = partial(random_crops, store, rule=sampling.rule, per_volume=sampling.per_volume, rngs=rngs)
    return cut(ids=train_ids), cut(ids=validation_ids)


def _patterns(job: Job, workspace: Workspace, report: Report, world: World) -> None:
    if is_built(workspace, job):
        return
    store, train_ids, validation_ids = corpus_ids(job.recipe["corpus"], workspace)
    settings = DiscoverySettings(**job.recipe["settings"])
    by_latent = settings.neighbours_by == "latent"
    latents = _latents(job, workspace, store, train_ids + validation_ids) if by_latent else {}

    def ranked(reference: Reference, validation: bool) -> list[str]:
        ids = validation_ids if validation else train_ids
        order = generator(settings.seed, Purpose.DISCOVERY, 2 + validation, reference.label)
        return nearest(latents, reference.id, ids) if by_latent else at_random(reference.id, ids, order)

    shapes = {case.id: case.shape for case in store.cases}
    parts, places = (train_ids, validation_ids), generator(settings.seed, Purpose.DISCOVERY)
    references = draw_references(settings, parts, shapes, store.image, places)
    rng = generator(settings.seed, Purpose.DISCOVERY, 1)
    windows = draw_windows(settings, references, ranked, shapes, rng)
    with workspace.building("patterns", job.key) as folder:
        write_patterns(folder, references, windows, store.image, settings.crops.cube)
    report(1, 1)


def _latents(job: Job, workspace: Workspace, store: Store, ids: list[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Return each volume's latent, by the auto-encoder of the job's recipe."""
    recipe = job.recipe["autoencoder"]
    encoder, decoder = load_initialisation(workspace.path("initialisations", key_of(recipe)))
    network = latent_encoder(recipe["config"])
    load_into(network, encoder, decoder, need_decoder=False)
    device = compute_device()
    network.to(device).eval()
    shape = recipe["config"]["shape"]
    return {id_: latent(network, on_device(resized(store.image(id_), shape)[None], device)) for id_ in ids}


def _cell(job: Job, workspace: Workspace, report: Report, world: World) -> None:
    ledger = Ledger(workspace)
    if ledger.done(job.key):
        return
    ledger.put(compute_cell(job, workspace, report))
