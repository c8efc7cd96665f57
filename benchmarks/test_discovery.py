"""How fast self-discovery is at the papers' size, on synthetic images, against the plain way.

The plain way follows the description of the published procedure: for each reference a loop over all patients compares
latents one by one; then for each of its neighbours the volume is loaded, and each crop is cut and resized.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from scipy import ndimage

from sg_bench.config import Preparation, Shape, SpatialDims, Split
from sg_bench.data.cubes import resized
from sg_bench.data.prepare import PreparedCase
from sg_bench.data.sources.base import Case
from sg_bench.data.store import Store, finish, write_case
from sg_bench.digests import write_sealed
from sg_bench.discovery.patterns import Ranking, Reference, Window, draw_references, draw_windows
from sg_bench.discovery.settings import DiscoverySettings
from sg_bench.discovery.store import PatternWriter, create_patterns
from sg_bench.methods.autoencoder import latent, latent_encoder
from sg_bench.methods.configs import AutoencoderConfig
from sg_bench.networks.weights import save_initialisation
from sg_bench.planning import Job
from sg_bench.recipes import CorpusRecipe, DiscoveryRecipe, Manifest, PretrainingRecipe, StoreRecipe
from sg_bench.registry import SOURCES
from sg_bench.running.local import WorkerProcesses
from sg_bench.running.schedule import Unit
from sg_bench.running.stages.discover import Share
from sg_bench.running.stages.dispatch import execute
from sg_bench.training.pretraining import on_device
from sg_bench.workspace import Workspace

WIDTH, LATENT = 32, 512
"""Of the papers' encoder, and of what it gives: 16 times the width."""


@dataclass(frozen=True)
class Corpus:
    """A corpus of the papers."""

    dimension: SpatialDims
    train: int
    validation: int
    shape: Shape

    @property
    def settings(self) -> DiscoverySettings:
        """Return the papers' numbers of patterns and neighbours."""
        return DiscoverySettings(dimension=self.dimension)

    @property
    def patients(self) -> int:
        """Return how often a patient's crops are cut, for all patterns."""
        own = self.settings
        return own.classes * (own.neighbours + own.validation_neighbours)


CORPORA = {"ct": Corpus(3, 445, 178, (512, 512, 300)), "films": Corpus(2, 68_000, 7_708, (512, 512, 1))}


@pytest.mark.parametrize("name", CORPORA)
def test_neighbours(benchmark: BenchmarkFixture, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Order all patients for each reference."""
    corpus, draw = CORPORA[name], np.random.default_rng(0)
    ids = [f"p{number:05}" for number in range(corpus.train + corpus.validation)]
    latents = dict(zip(ids, draw.random((len(ids), LATENT), np.float32), strict=True))
    references = ids[: corpus.settings.classes]

    def ours() -> list[list[str]]:
        ranking = Ranking(latents, ids)
        return [ranking.nearest(latents[reference], reference) for reference in references]

    found, seconds = measured(benchmark, ours)
    plain, plain_seconds = timed(lambda: [plain_neighbours(latents, reference) for reference in references[:3]])
    assert found[:3] == plain
    report(benchmark, capsys, f"neighbours of {name}", seconds, plain_seconds * len(references) / 3)


@pytest.mark.parametrize("name", CORPORA)
def test_choice(benchmark: BenchmarkFixture, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Draw references and windows, write their index, and read it again."""
    corpus = CORPORA[name]
    ids = [f"p{number:05}" for number in range(corpus.train + corpus.validation)]
    parts, shapes = (ids[: corpus.train], ids[corpus.train :]), dict.fromkeys(ids, corpus.shape)
    air = np.broadcast_to(np.float16(0.1), corpus.shape)
    draw = np.random.default_rng(0)

    def ours() -> int:
        references = draw_references(corpus.settings, parts, shapes, lambda id_: air, draw)
        windows = draw_windows(corpus.settings, references, lambda _, held_out: parts[held_out], shapes, draw)
        create_patterns(tmp_path, references, windows, corpus.settings.crops.cube)
        return len(PatternWriter(tmp_path).windows)

    windows, seconds = measured(benchmark, ours)
    report(benchmark, capsys, f"choice of {windows} windows of {name}", seconds)


@pytest.mark.parametrize("name", CORPORA)
def test_cutting(benchmark: BenchmarkFixture, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cut and resize the crops of some patients, in one process; the figures printed are for all of the papers'."""
    torch.set_num_threads(1)
    corpus = CORPORA[name]
    patients = {"ct": 6, "films": 60}[name]
    store = write_store(tmp_path / "store", corpus.shape, patients)
    settings = corpus.settings.model_copy(update={"classes": 4, "neighbours": patients})
    references, windows = chosen(settings, store)

    def ours() -> None:
        writer.cut(store.ids, store.image)

    create_patterns(tmp_path, references, windows, settings.crops.cube)
    writer = PatternWriter(tmp_path)
    ours()  # compiles
    _, seconds = measured(benchmark, ours)
    paths = {id_: str(store.image(id_).filename) for id_ in store.ids}
    _, loading = timed(lambda: plain_cut(windows, lambda id_: np.load(paths[id_]), settings, tmp_path / "plain.npy"))
    held = {id_: np.load(path) for id_, path in paths.items()}
    _, cutting = timed(lambda: plain_cut(windows, held.__getitem__, settings, tmp_path / "plain.npy"))
    whole = corpus.patients / (len(references) * patients)
    report(benchmark, capsys, f"crops of {name}", seconds * whole, loading * whole)
    report(benchmark, capsys, f"crops of {name}, volumes held in memory", seconds * whole, cutting * whole)


def test_encoding_one_ct(benchmark: BenchmarkFixture, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Resize one CT to the network's shape and encode it, at the papers' size."""
    torch.set_num_threads(1)
    store, config = write_store(tmp_path / "store", CORPORA["ct"].shape, 1), AutoencoderConfig()
    network, volume = latent_encoder(config).eval(), store.image(store.ids[0])
    resized(volume, config.shape)  # compiles
    small, resizing = timed(lambda: resized(volume, config.shape))
    _, seconds = measured(benchmark, lambda: latent(network, on_device(small[None], torch.device("cpu"))))
    factors = [new / old for new, old in zip(config.shape, volume.shape, strict=True)]
    _, plain = timed(lambda: ndimage.zoom(np.load(str(volume.filename)).astype(np.float64), factors, order=1))
    report(benchmark, capsys, "resizing one CT", resizing, plain)
    report(benchmark, capsys, "encoding one CT", seconds)


def test_two_processes(benchmark: BenchmarkFixture, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Encode volumes in two processes instead of one; wall time, so only a quiet machine tells."""
    walls = {}
    for processes in (1, 2):
        workspace, job = discovery(tmp_path / str(processes), (96, 96, 64), patients=32, width=4)
        backend = WorkerProcesses(workspace, processes)
        warm = [backend.submit(Unit(job, share=Share("encode", 4, 5))) for _ in range(processes)]  # imports torch
        assert [each.result() for each in warm] == [None] * processes
        started = time.perf_counter()
        shares = [backend.submit(Unit(job, share=Share("encode", n, processes))) for n in range(processes)]
        assert [each.result() for each in shares] == [None] * processes
        walls[processes] = time.perf_counter() - started
        backend.close()
    measured(benchmark, lambda: None)
    report(benchmark, capsys, "encoding in two processes", walls[2], walls[1])


def test_memory(benchmark: BenchmarkFixture, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a whole discovery on CTs of 512 x 512 x 600 with the papers' network and cubes, in a process of its own."""
    command = [sys.executable, __file__, str(tmp_path)]
    done, _ = measured(benchmark, lambda: subprocess.run(command, capture_output=True, text=True, check=True))
    benchmark.extra_info["peak_mib"] = peak = float(done.stdout.split()[-1])
    with capsys.disabled():
        print(f"\npeak memory above the store: {peak:.0f} MiB, Python and torch included")


def plain_neighbours(latents: dict[str, NDArray[np.float32]], reference: str) -> list[str]:
    """Return all ids from nearest to farthest, comparing latents one by one."""
    distances = {}
    for id_, other in latents.items():
        distances[id_] = np.linalg.norm(other - latents[reference])
    return sorted(distances, key=distances.__getitem__)


def plain_cut(
    windows: Sequence[Window], load: Callable[[str], NDArray[Any]], settings: DiscoverySettings, path: Path
) -> None:
    """Cut all crops pattern by pattern and patient by patient, resize them by SciPy, and save them as one array."""
    cube, crops = settings.crops.cube, []
    for _, patterns in groupby(windows, key=lambda window: window.label):
        for id_, own in groupby(patterns, key=lambda window: window.id):
            volume = load(id_)
            for window in own:
                (x, y, z), (dx, dy, dz) = window.start, window.size
                crop = volume[x : x + dx, y : y + dy, z : z + dz].astype(np.float64)
                factors = [new / old for new, old in zip(cube, window.size, strict=True)]
                crops.append(ndimage.zoom(crop, factors, order=1) if window.size != cube else crop)
    np.save(path, np.array(crops))


def measured(benchmark: BenchmarkFixture, work: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of `work` and its processor seconds, measured once."""
    found: tuple[Any, float] = benchmark.pedantic(lambda: timed(work), rounds=1)  # type: ignore[no-untyped-call]
    return found


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of `work` and its processor seconds."""
    started = time.process_time()
    found = work()
    return found, time.process_time() - started


def report(
    benchmark: BenchmarkFixture,
    capsys: pytest.CaptureFixture[str],
    what: str,
    seconds: float,
    plain: float | None = None,
) -> None:
    """Print seconds, and their ratio to those of the plain way."""
    line = f"{what}: {seconds:.2f} s"
    benchmark.extra_info[what] = round(seconds, 3)
    if plain is not None:
        line += f", the plain way {plain:.2f} s: {plain / seconds:.1f} times faster"
        benchmark.extra_info[f"{what}, times faster"] = round(plain / seconds, 1)
    with capsys.disabled():
        print(f"\n{line}")


def write_store(folder: Path, shape: Shape, patients: int, recipe: Any = None) -> Store:
    """Write volumes of noise below the threshold of air."""
    draw = np.random.default_rng(0)
    for number in range(patients):
        image = (0.4 * draw.random(shape, np.float32)).astype(np.float16)
        write_case(folder, Case(f"p{number:03}", f"p{number:03}"), PreparedCase(image, (1, 1, 1), np.eye(4), None, []))
    finish(folder, recipe, [f"p{number:03}" for number in range(patients)])
    return Store.open(folder)


def chosen(settings: DiscoverySettings, store: Store) -> tuple[list[Reference], list[Window]]:
    """Return references and windows in which every volume is a neighbour of each pattern, in any order."""
    shapes, draw = {case.id: case.shape for case in store.cases}, np.random.default_rng(0)
    references = draw_references(settings, (store.ids, []), shapes, store.image, draw)

    def ranked(reference: Reference, held_out: bool) -> list[str]:
        return [] if held_out else draw.permutation(store.ids).tolist()

    return references, draw_windows(settings, references, ranked, shapes, draw)


def discovery(root: Path, shape: Shape, *, patients: int, width: int, **settings: Any) -> tuple[Workspace, Job]:
    """Return a workspace with a store of noise and an untrained auto-encoder, and the discovery that uses them."""
    workspace = Workspace(root)
    manifest, config = Manifest(cases=patients, sha256="0"), SOURCES.config("folder")()
    recipe = StoreRecipe(source="folder", config=config, manifest=manifest, preparation=Preparation())
    corpus = CorpusRecipe(store=recipe, split=Split(train=0.5, validation=0.5))
    write_store(workspace.path("stores", recipe.key), shape, patients, recipe.key_content())
    encoder = AutoencoderConfig(width=width)
    pretraining = PretrainingRecipe(method="autoencoder", config=encoder, corpus=corpus, seed=0)
    folder = workspace.path("initialisations", pretraining.key)
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    digest = save_initialisation(folder, latent_encoder(encoder).state_dict(), {})
    record = {"schema": 2, "recipe": pretraining.key_content(), "outputs": {"initialisation": digest}}
    write_sealed(folder / "record.json", record)
    own = DiscoverySettings(**settings)
    return workspace, Job(DiscoveryRecipe(settings=own, corpus=corpus, autoencoder=pretraining), (), "discover")


def peak_mib(root: Path) -> float:
    """Return the most memory of a discovery that no file backs, in MiB."""
    workspace, job = discovery(root, (512, 512, 600), patients=2, width=WIDTH, classes=1, neighbours=1)
    peak, ended = 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.005):
            lines = Path("/proc/self/status").read_text().splitlines()
            peak = max(peak, sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem"))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    execute(job, workspace, lambda done, total: None)
    ended.set()
    watcher.join()
    return peak / 1024


if __name__ == "__main__":
    print(peak_mib(Path(sys.argv[1])))
