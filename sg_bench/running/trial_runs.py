"""Trial runs: short real runs of each kind of job on a few cases, by which `plan --measure` knows its costs."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sg_bench.config import CropRule, Stage
from sg_bench.data.cubes import ArrayCubes, Cubes, random_crops, resized, whole_volumes
from sg_bench.data.identity import stable_hash
from sg_bench.data.prepare import prepare
from sg_bench.data.store import Store, finish, write_case
from sg_bench.discovery.patterns import at_random, draw_references, draw_windows
from sg_bench.discovery.store import write_patterns
from sg_bench.errors import DataError, SgBenchError
from sg_bench.evaluation.columns import with_truth
from sg_bench.evaluation.inference import predict
from sg_bench.evaluation.predictions import Predictions
from sg_bench.evaluation.scoring import Scoring, score_predictions
from sg_bench.ledger import Ledger
from sg_bench.methods.autoencoder import latent, latent_encoder
from sg_bench.methods.base import Crops, Method, Patterns, WholeVolumes
from sg_bench.methods.configs import AutoencoderConfig
from sg_bench.networks.build import task_model
from sg_bench.networks.heads import LinearSegmenter
from sg_bench.networks.weights import save_initialisation, split_state
from sg_bench.planning import Measurement, TypedJob, is_built, open_source
from sg_bench.recipes import CellRecipe, DiscoveryRecipe, PretrainingRecipe, StoreRecipe
from sg_bench.registry import METHODS
from sg_bench.running.environment import compute_device, describe_environment
from sg_bench.running.stages.probe import frozen_encoder
from sg_bench.training.draws import Purpose, generator
from sg_bench.training.features import image_features, training_crops, voxel_features
from sg_bench.training.fine_tuning import FineTuning, input_channels, task_network
from sg_bench.training.loop import calibrate, evaluating, train
from sg_bench.training.pretraining import Pretraining, fresh_network, on_device
from sg_bench.workspace import Workspace

MOST_CASES = 6
"""Cases that are prepared to measure a store."""
LEAST_CASES = 2
PREPARING_SECONDS = 10.0
"""No further case is prepared after so long."""
TRAINING_SECONDS = 2.0
"""About so long are the steps that are measured of one stage."""
MOST_STEPS = 20
WARM_STEPS = 2
EPOCHS = 2
TESTED = 2
"""Cases that are tested."""
PATTERN_CUBES = 64
"""Cubes that stand for patterns, of which a trial run has none."""


@dataclass(frozen=True)
class _Pace:
    """What the steps of a training took."""

    step: float
    """Seconds of a step."""
    between: float
    """Seconds between two epochs, above a step: the validation."""
    seconds: float
    """Of the whole training."""
    curves: list[dict[str, Any]]


def measure_store(job: TypedJob[StoreRecipe], workspace: Workspace, scratch: Workspace) -> Measurement:
    """Prepare a few cases of a store into `scratch`; they are spread over the data set."""
    source = open_source(job.recipe.source, job.recipe.config, job.root, job.recipe.source)
    cases = source.scan()
    chosen = [cases[round(place)] for place in np.linspace(0, len(cases) - 1, min(MOST_CASES, len(cases)))]
    folder = scratch.path("stores", job.key)
    folder.mkdir(parents=True, exist_ok=True)
    began, processor, done, first = time.perf_counter(), time.process_time(), list[str](), 0.0
    for case in chosen:
        if len(done) > LEAST_CASES and time.perf_counter() - began > PREPARING_SECONDS:
            break
        with suppress(DataError):
            write_case(folder, case, prepare(source.load(case), job.recipe.preparation, name=case.id))
            done.append(case.id)
            first = first or time.perf_counter() - began
    if not done:
        raise DataError(f"none of {len(chosen)} cases could be prepared", hint="See sg-bench data check")
    seconds, used = time.perf_counter() - began, time.process_time() - processor
    each = (seconds - first) / (len(done) - 1) if len(done) > 1 else seconds
    finish(folder, job.recipe.key_content(), done)
    return Measurement(
        case_seconds=each,
        first_seconds=max(0.0, first - each),
        processor_share=used / seconds,
        case_bytes=_size(folder) / len(done),
    )


def measure_cell(recipe: CellRecipe, workspace: Workspace, scratch: Workspace) -> Measurement:
    """Fine-tune a few steps on a few cases, and test on two of them; twice, as the first time imports and compiles."""
    store = _store(recipe.store, workspace, scratch)
    if recipe.task.probe:
        return _features(recipe, store)
    began = time.perf_counter()
    warm = _cell(recipe, store, scratch, WARM_STEPS, tested=1)
    first = time.perf_counter() - began
    found = _cell(recipe, store, scratch, _steps(warm.step_seconds), tested=TESTED)
    validation = found.epoch_seconds + found.sample_seconds * found.validation_samples  # of one case
    epochs = EPOCHS * (WARM_STEPS * found.step_seconds + validation)
    return replace(found, first_seconds=max(0.0, first - found.job_seconds - found.case_seconds - epochs))


def _cell(recipe: CellRecipe, store: Store, scratch: Workspace, steps: int, *, tested: int) -> Measurement:
    watch, device, seed = _Watch(), compute_device(), recipe.fine_tuning_seed
    task, ids = recipe.task, with_truth(store, recipe.task, store.ids)
    choice = recipe.initialisation.config.chosen_network
    model = task_model(choice, task.kind, outputs=task.outputs, frozen=task.frozen)
    network, _ = task_network(task, choice, *split_state(model.backbone), seed, channels=input_channels(store))
    learner = FineTuning(task, network, store, ids, ids[:1], seed, device)
    if task.frozen:
        calibrate(learner, task.training, seed)
    pace = _train(learner, steps)
    with evaluating(learner, task.training, seed):
        began = time.perf_counter()
        predictions = predict(task, network, store, ids[:tested], device)
        testing = time.perf_counter() - began
    path = scratch.path("predictions", "trial.npz")
    predictions.save(path)
    _score(recipe, predictions, pace.curves, scratch)
    seconds, share = watch.read()
    samples = learner.samples("validation")
    return Measurement(
        job_seconds=max(0.0, seconds - pace.seconds - testing),
        step_seconds=pace.step,
        epoch_seconds=0.0 if samples else pace.between,
        sample_seconds=pace.between / samples if samples else 0.0,
        case_seconds=testing / min(tested, len(ids)),
        processor_share=share,
        train_samples=learner.samples("train") / len(ids),
        validation_samples=float(samples),
        case_bytes=path.stat().st_size / min(tested, len(ids)),
        record_bytes=_size(scratch.root / "ledger"),
    )


def _features(recipe: CellRecipe, store: Store) -> Measurement:
    """Compute the features of a few cases; for a segmentation, predict them too, which costs more."""
    watch, device, task = _Watch(), compute_device(), recipe.task
    choice, ids = recipe.initialisation.config.chosen_network, with_truth(store, task, store.ids)[:TESTED]
    state = split_state(task_model(choice, "classification").backbone)
    encoder, _ = frozen_encoder(recipe, (*state, ""), input_channels(store), device)
    began = time.perf_counter()
    crops = training_crops(task, store, ids)
    if task.kind != "segmentation":
        image_features(task, encoder, store, crops, device)
    else:
        voxel_features(task, encoder, store, crops, device)
        predict(task, LinearSegmenter(encoder).to(device).eval(), store, ids, device)
    each = (time.perf_counter() - began) / len(ids)
    seconds, share = watch.read()
    return Measurement(
        job_seconds=max(0.0, seconds - each * len(ids)), case_seconds=each, first_seconds=each, processor_share=share
    )


def _score(recipe: CellRecipe, predictions: Predictions, curves: list[dict[str, Any]], scratch: Workspace) -> None:
    """Score predictions, and write a record like that of a cell."""
    rows: list[dict[str, Any]] = []
    with suppress(SgBenchError, ValueError):  # of few cases, all may be of one class
        _, rows = score_predictions(Scoring.of(recipe.task.key_content()), predictions)
    record = {"key": "0" * 64, "status": "done", "recipe": recipe.key_content(), "metrics": {}, "outputs": {}}
    tables = {"cases": [{**row, "patient": row["case"]} for row in rows], "curves": curves, "error": None}
    shutil.rmtree(scratch.root / "ledger", ignore_errors=True)
    Ledger(Workspace(scratch.root / "ledger")).put({**record, **tables, "ran": describe_environment()})


def measure_pretraining(recipe: PretrainingRecipe, workspace: Workspace, scratch: Workspace) -> Measurement:
    """Pretrain a few steps of each stage on cubes of a few cases; only build the network where nothing is trained."""
    watch, began = _Watch(), time.perf_counter()
    method: Method = METHODS.load(recipe.method)(recipe.config, recipe.classes)
    folder = scratch.path("initialisations", "trial")
    folder.mkdir(parents=True, exist_ok=True)
    _built(method, recipe.seed, folder)
    first = time.perf_counter() - began
    began = time.perf_counter()
    network = _built(method, recipe.seed, folder)
    seconds = time.perf_counter() - began
    stages = method.stages() if recipe.corpus else []
    trained = Measurement()
    if recipe.corpus and stages:
        store = _store(recipe.corpus.store, workspace, scratch)
        trained = _pretrained(method, network, stages, recipe, store)
    return replace(
        trained,
        job_seconds=seconds,
        first_seconds=trained.first_seconds + max(0.0, first - seconds),
        processor_share=watch.read()[1],
        job_bytes=float(_size(folder)),
    )


def _built(method: Method, seed: int, folder: Path) -> torch.nn.Module:
    """Return a method's network, after writing its initialisation."""
    network = fresh_network(method, seed)
    save_initialisation(folder, *method.initialisation(network))
    return network


def _pretrained(
    method: Method, network: torch.nn.Module, stages: list[Stage], recipe: PretrainingRecipe, store: Store
) -> Measurement:
    """Return the costs of cutting and training."""
    began = time.perf_counter()
    cubes = _cubes(method, recipe, store)
    cutting = time.perf_counter() - began
    few = range(min(len(cubes), max(stage.training.at_once for stage in stages)))
    held = ArrayCubes(cubes.images(few), cubes.labels(few))
    learner = Pretraining(method, network, cubes, held, compute_device())
    total, step, between, first = 0, 0.0, 0.0, 0.0
    for stage in stages:
        learner.stages = [stage]
        warm = _train(learner, WARM_STEPS)
        learner.stages = [stage]
        pace, epochs = _train(learner, _steps(warm.step)), max(1, stage.training.epochs)
        total, step, between = total + epochs, step + epochs * pace.step, between + epochs * pace.between
        first += max(0.0, warm.seconds - EPOCHS * (WARM_STEPS * pace.step + pace.between))
    learner.stages = stages
    return Measurement(
        step_seconds=step / total,
        sample_seconds=between / total / len(few),
        case_seconds=0.0 if isinstance(method.sampling(), Patterns) else cutting / len(store),
        first_seconds=first,
        train_samples=len(cubes) / len(store),
    )


def measure_discovery(recipe: DiscoveryRecipe, workspace: Workspace, scratch: Workspace) -> Measurement:
    """Encode a few cases, and cut patterns that are shared at random."""
    watch, device = _Watch(), compute_device()
    store = _store(recipe.corpus.store, workspace, scratch)
    encoding = 0.0
    if recipe.autoencoder:
        config = recipe.autoencoder.config
        assert isinstance(config, AutoencoderConfig)
        network = latent_encoder(config).to(device).eval()
        latent(network, on_device(resized(store.image(store.ids[0]), config.shape)[None], device))
        began = time.perf_counter()
        for id_ in store.ids:
            latent(network, on_device(resized(store.image(id_), config.shape)[None], device))
        encoding = time.perf_counter() - began
    began, count = time.perf_counter(), len(store)
    settings = recipe.settings.model_copy(update={"classes": min(count, recipe.settings.classes)})
    shapes, rng = {case.id: case.shape for case in store.cases}, generator(settings.seed, Purpose.DISCOVERY)
    parts = (store.ids, store.ids)
    references = draw_references(settings, parts, shapes, store.image, rng)
    windows = draw_windows(settings, references, lambda r, _: at_random(r.id, store.ids, rng), shapes, rng)
    folder = scratch.path("patterns", "trial")
    folder.mkdir(parents=True, exist_ok=True)
    write_patterns(folder, references, windows, store.image, settings.crops.cube)
    cutting = time.perf_counter() - began
    return Measurement(
        case_seconds=encoding / count,
        window_seconds=cutting / len(windows),
        processor_share=watch.read()[1],
        case_bytes=_size(folder) / len(windows),
    )


class _Watch:
    """Wall and processor time since it was made."""

    def __init__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Return the seconds so far, and the processor seconds in each of them."""
        seconds = time.perf_counter() - self.wall
        return seconds, (time.process_time() - self.processor) / seconds


def _train(learner: Any, steps: int) -> _Pace:
    """Train two epochs of so many steps in the learner's only stage, and return what they took."""
    (stage,) = learner.stages
    length = {"epochs": EPOCHS, "steps_per_epoch": steps, "steps": None, "patience": None}
    learner.stages = [stage.model_copy(update={"training": stage.training.model_copy(update=length)})]
    ticks: list[float] = []

    def tick(done: int, total: int | None) -> None:
        if learner.device.type == "cuda":
            torch.cuda.synchronize()
        ticks.append(time.perf_counter())

    began = time.perf_counter()
    curves = train(learner, seed=0, progress=tick)
    seconds = time.perf_counter() - began
    inside = (ticks[steps - 1] - ticks[0] + ticks[-1] - ticks[steps]) / (2 * (steps - 1))
    return _Pace(inside, max(0.0, ticks[steps] - ticks[steps - 1] - inside), seconds, curves)


def _steps(step_seconds: float) -> int:
    """Return how many steps of an epoch to measure."""
    return max(WARM_STEPS, min(MOST_STEPS, int(TRAINING_SECONDS / EPOCHS / max(step_seconds, 1e-4))))


def _cubes(method: Method, recipe: PretrainingRecipe, store: Store) -> Cubes:
    """Return the cubes that a method trains on; patterns are replaced by random crops of their size."""
    sampling = method.sampling()
    if isinstance(sampling, WholeVolumes):
        return whole_volumes(store, store.ids, sampling.shape)
    if isinstance(sampling, Crops):
        return _crops(store, sampling.rule, sampling.per_volume)
    assert recipe.patterns is not None
    each = -(-PATTERN_CUBES // len(store))
    images = _crops(store, recipe.patterns.settings.crops, each)
    return ArrayCubes(images.images(range(len(images))), np.arange(len(images)) % recipe.classes)


def _crops(store: Store, rule: CropRule, per_volume: int) -> Cubes:
    rngs = {id_: generator(0, Purpose.PLACES, stable_hash(id_)) for id_ in store.ids}
    return random_crops(store, store.ids, rule, per_volume, rngs)


def _store(recipe: StoreRecipe, workspace: Workspace, scratch: Workspace) -> Store:
    """Return the finished store of a recipe with a few of its cases, or the one that a trial run made.

    Raises:
        DataError: there is neither, as no case could be prepared.
    """
    place = workspace if is_built(workspace, recipe) else scratch
    store = Store.open(place.path("stores", recipe.key))
    few = [store.cases[round(number)] for number in np.linspace(0, len(store) - 1, min(MOST_CASES, len(store)))]
    return Store(store.path, store.recipe, few, digest=store.digest)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
