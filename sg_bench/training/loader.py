"""Batches made ahead of time: threads prepare the next ones while the network trains on the present one.

What is in a batch depends on its draws alone, so neither the number of threads nor their speed changes a result. The
loops over voxels and NumPy's and torch's arithmetic release the GIL; on a GPU, copies overlap with the computation.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor

from sg_bench.machine import available_cores
from sg_bench.networks.memory import channels_last

Draws = TypeVar("Draws")
MAX_GPU_THREADS = 8
"""Threads that prepare batches for one GPU at most."""


def loader_threads(device: torch.device, cores: int | None = None) -> int:
    """Return the number of threads that prepare batches: one on a CPU, which they share with the training itself."""
    if device.type != "cuda":
        return 1
    return max(1, min(MAX_GPU_THREADS, (cores or available_cores()) - 1))


class Loader:
    """Threads that make batches on the CPU and copy them to the device, in order.

    Args:
        device: where the batches are used.
        threads: how many batches are made at the same time; None for `loader_threads`.
    """

    def __init__(self, device: torch.device, threads: int | None = None) -> None:
        self.device = device
        self.threads = threads or loader_threads(device)
        self._pool = ThreadPoolExecutor(self.threads, "loader", initializer=torch.set_num_threads, initargs=(1,))
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def batches(self, make: Callable[[Draws], Any], draws: Iterable[Draws]) -> Iterator[Any]:
        """Yield `make(each)` for each of `draws`, on the device.

        An error of `make` is raised where its batch would come. Closing the iterator waits for batches under way.
        """
        waiting: deque[Future[tuple[Any, torch.cuda.Event | None]]] = deque()
        rest = iter(draws)
        try:
            for each in islice(rest, self.threads + 1):
                waiting.append(self._pool.submit(self._prepare, make, each))
            while waiting:
                batch, copied = waiting.popleft().result()
                for each in islice(rest, 1):
                    waiting.append(self._pool.submit(self._prepare, make, each))
                yield self._received(batch, copied)
        finally:
            for future in waiting:
                if not future.cancel():
                    future.exception()

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _prepare(self, make: Callable[[Draws], Any], draws: Draws) -> tuple[Any, torch.cuda.Event | None]:
        """Return a batch on the device, and what to wait for before it is used."""
        batch = make(draws)
        if self._stream is None:
            return batch, None
        with torch.cuda.stream(self._stream):
            batch = map_tensors(lambda tensor: _copied(tensor, self.device), batch)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record(self._stream)
        return batch, copied

    def _received(self, batch: Any, copied: torch.cuda.Event | None) -> Any:
        if copied is not None:
            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(copied)
            map_tensors(lambda tensor: tensor.record_stream(stream), batch)
        return batch


def map_tensors(function: Callable[[Tensor], Any], batch: Any) -> Any:
    """Return `batch` with `function` applied to each tensor of its fields, dictionaries and sequences."""
    if isinstance(batch, Tensor):
        return function(batch)
    if isinstance(batch, dict):
        return {key: map_tensors(function, value) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch)(map_tensors(function, value) for value in batch)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
        return dataclasses.replace(batch, **{name: map_tensors(function, value) for name, value in fields.items()})
    return batch


def to_device(batch: Any, device: torch.device) -> Any:
    """Return a batch on `device`, images with channels last."""
    return map_tensors(lambda tensor: channels_last(tensor.to(device)), batch)


def _copied(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a GPU; the copy may still be under way."""
    return channels_last(tensor.pin_memory().to(device, non_blocking=True))
