"""How much processor time it takes to prepare a case, against only decoding its file to an array with the same library.

Prepared is all of it: reading with its checks, the new grid, digests, fingerprint and writing into the store.
`SG_BENCH_REAL_DATA` names the folder of real images; without it only the synthetic scan and film are measured.
"""

from __future__ import annotations

import gzip
import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from sg_bench.config import Preparation
from sg_bench.data.prepare import prepare
from sg_bench.data.sources.base import Case, Study, film_affine
from sg_bench.data.sources.films import read_png
from sg_bench.data.sources.headers import data_files
from sg_bench.data.sources.volumes import read_volume
from sg_bench.data.store import write_case

REAL = Path(os.environ.get("SG_BENCH_REAL_DATA", "../shared/real_data"))
SCANS = {
    "synthetic.nii.gz": "",
    "liver.nii.gz": "liver_ct/volume-0.nii.gz",
    "brain.nii.gz": "brats/TCGA-DU-7294/TCGA-DU-7294_t1.nii.gz",
    "luna16.zraw": "luna16/subset0/1.3.6.1.4.1.14519.5.2.1.6279.6001.170706757615202213033480003264.mhd",
    "luna16.raw": "luna16/subset0/1.3.6.1.4.1.14519.5.2.1.6279.6001.179049373636438705059720603192.mhd",
}
GRIDS: dict[str, dict[str, Any]] = {"native": {}, "1mm": {"spacing": (1, 1, 1)}, "256": {"shape": (256, 256, None)}}
FILMS = {"synthetic.png": "", "film.png": "L", "film_rgba.png": "RGBA"}
ROUNDS = 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a synthetic CT, 512 x 512 x 64, and a film, 1024 x 1024, that pack about as real ones do."""
    folder = tmp_path_factory.mktemp("synthetic")
    write_scan(folder / "synthetic.nii.gz", 64)
    film = noise((1, 1024, 1024), 0)[0] // 8 + np.add.outer(np.arange(1024), np.arange(1024)) // 16 + 40
    Image.fromarray(np.clip(film, 0, 255).astype(np.uint8)).save(folder / "synthetic.png")
    return folder


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", SCANS)
def test_a_scan(benchmark: BenchmarkFixture, folder: Path, tmp_path: Path, name: str, grid: str) -> None:
    path = real(SCANS[name]) if SCANS[name] else folder / name
    decode = decoded_nifti if name.endswith(".gz") else decoded_metaimage
    preparation = Preparation.model_validate({"intensity": "minmax" if "brain" in name else "hu", **GRIDS[grid]})
    compare(benchmark, lambda: decode(path), written(tmp_path, lambda: prepared_scan(path, preparation)))


@pytest.mark.parametrize("name", FILMS)
def test_a_film(benchmark: BenchmarkFixture, folder: Path, tmp_path: Path, name: str) -> None:
    path = real_film(FILMS[name]) if FILMS[name] else folder / name
    preparation = Preparation(shape=(256, 256, None), clip=(0, 255))

    def prepared() -> tuple[Case, Any]:
        return Case(name, name, path), prepare(Study(read_png(path), film_affine()), preparation)

    compare(benchmark, lambda: np.asarray(Image.open(path)), written(tmp_path, prepared))


@pytest.mark.parametrize("grid", ["native", "1mm"])
def test_the_memory_of_a_large_ct(benchmark: BenchmarkFixture, tmp_path: Path, grid: str) -> None:
    """512 x 512 x 600, in a process of its own."""
    if not benchmark.enabled:
        pytest.skip("a large scan is only measured, with --benchmark-only")
    write_scan(tmp_path / "large.nii.gz", 600)
    with processes(1) as pool:
        arguments = (tmp_path / "large.nii.gz", GRIDS[grid], tmp_path / "store")
        benchmark.pedantic(lambda: pool.submit(prepare_one, *arguments).result(), rounds=1)
        peak = pool.submit(peak_megabytes).result()
    report(benchmark, peak_megabytes=round(peak))


def test_two_processes(benchmark: BenchmarkFixture, folder: Path, tmp_path: Path) -> None:
    """Processor seconds a case in one process and in two at once: with enough cores, time is shared by their number."""
    numbers, seconds = count(), {}
    for workers in (1, 2):
        with processes(workers) as pool:

            def work(cases: int, pool: ProcessPoolExecutor = pool) -> float:
                jobs = [
                    pool.submit(prepare_one, folder / "synthetic.nii.gz", GRIDS["1mm"], tmp_path / str(next(numbers)))
                    for _ in range(cases)
                ]
                return sum(job.result() for job in jobs)

            work(2 * workers)  # starts the processes, imports
            started = time.perf_counter()
            cases = 6 if benchmark.enabled else 1
            processor = benchmark.pedantic(work, (cases,), rounds=1) if workers == 2 else work(cases)
            seconds[workers] = (processor or 0.0) / cases, (time.perf_counter() - started) / cases
    if benchmark.enabled:
        report(
            benchmark,
            processor_seconds_a_case={workers: round(each[0], 3) for workers, each in seconds.items()},
            wall_seconds_a_case={workers: round(each[1], 3) for workers, each in seconds.items()},
        )


def compare(benchmark: BenchmarkFixture, decode: Callable[[], object], work: Callable[[], object]) -> None:
    """Measure both in turn, and print the ratio of their least processor times."""
    decode()
    work()  # imports and compiles
    benchmark.pedantic(work, rounds=1)
    if benchmark.enabled:
        decoding, preparing = (
            min(each) for each in zip(*((timed(decode), timed(work)) for _ in range(ROUNDS)), strict=True)
        )
        report(
            benchmark,
            decoding_ms=round(1000 * decoding, 1),
            preparing_ms=round(1000 * preparing, 1),
            ratio=round(preparing / decoding, 2),
        )


def report(benchmark: BenchmarkFixture, **figures: object) -> None:
    benchmark.extra_info.update(figures)
    print("\n", benchmark.name, *(f"{name} {figure}" for name, figure in figures.items()))


def timed(work: Callable[[], object]) -> float:
    """Return the processor seconds of `work`."""
    started = time.process_time()
    work()
    return time.process_time() - started


def decoded_nifti(path: Path) -> NDArray[Any]:
    image: Any = nib.load(path)
    return np.asarray(image.dataobj)


def decoded_metaimage(path: Path) -> NDArray[Any]:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def prepared_scan(path: Path, preparation: Preparation) -> tuple[Case, Any]:
    image, affine = read_volume(path)
    return Case("scan", "scan", path, extra=tuple(data_files(path, []))), prepare(Study(image, affine), preparation)


def written(folder: Path, prepared: Callable[[], tuple[Case, Any]]) -> Callable[[], None]:
    """Return a function that prepares a case and writes it into a folder, each time as another case."""
    numbers = count()

    def work() -> None:
        case, content = prepared()
        write_case(folder, replace(case, id=f"{case.id} {next(numbers)}"), content)

    return work


def prepare_one(path: Path, grid: dict[str, Any], store: Path) -> float:
    """Prepare a scan into `store` and return the processor seconds."""
    return timed(written(store, lambda: prepared_scan(path, Preparation.model_validate(grid))))


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def processes(number: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(number, mp_context=multiprocessing.get_context("spawn"))


def write_scan(path: Path, depth: int) -> None:
    """Write a gzipped CT of int16; a deep one repeats its first 64 slices."""
    slices: Iterator[NDArray[np.int16]] = (noise((1, 512, 512), z % 64) * 2 - 600 for z in range(depth))
    image = nib.Nifti1Image(np.empty((512, 512, depth), np.int16), np.diag([-0.7, -0.7, 1.25, 1]))
    image.header["vox_offset"] = 352
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(image.header.binaryblock + b"\0" * 4)
        for each in slices:
            file.write(each.tobytes())


def noise(shape: tuple[int, ...], seed: int) -> NDArray[np.int16]:
    return np.random.default_rng(seed).normal(0, 20, shape).astype(np.int16)


def real(name: str) -> Path:
    if not (REAL / name).is_file():
        pytest.skip(f"no real image {REAL / name}: set SG_BENCH_REAL_DATA to a folder that holds it")
    return REAL / name


def real_film(mode: str) -> Path:
    """Return the first film of 1024 x 1024 pixels stored in this mode."""
    for path in sorted((REAL / "nih_cxr14").rglob("*.png")):
        with Image.open(path) as image:
            if (image.mode, image.size) == (mode, (1024, 1024)):
                return path
    pytest.skip(f"no real film in {REAL / 'nih_cxr14'}: set SG_BENCH_REAL_DATA to a folder that holds it")
