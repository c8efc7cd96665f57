"""Stopping a run: Ctrl-C or SIGTERM drops what runs, records nothing, and ends this process within seconds."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
"""Exit codes after Ctrl-C and after SIGTERM."""
GRACE_SECONDS = 4.0
"""After so long this process ends whatever it is doing; the processes that it has started end with it."""
MESSAGE = "Interrupted. Nothing finished is lost: the same command continues from here."


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let Ctrl-C end the block with KeyboardInterrupt, and SIGTERM with SystemExit; later signals change nothing."""
    signals: list[int] = []
    if threading.current_thread() is threading.main_thread():
        signals = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    earlier = {number: signal.signal(number, _stop) for number in signals}
    try:
        with _noticed_at_once(signals):
            yield
    finally:
        if not _stopping.is_set():
            for number, handler in earlier.items():
                signal.signal(number, handler)


@contextmanager
def _noticed_at_once(signals: Collection[int]) -> Iterator[None]:
    """Limit the time after a signal also where the main thread is in a call that does not return.

    Python runs handlers in the main thread, between its own instructions: never while that waits inside of Ray for a
    server that is gone.
    """
    if not signals:
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    earlier = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_limit_signals, args=(reader, signals), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(earlier)
        writer.close()


def _limit_signals(reader: socket.socket, signals: Collection[int]) -> None:
    with reader:
        while numbers := reader.recv(16):
            for number in numbers:
                if number in signals:
                    _limit(number)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a signal that comes during the block take effect at its end, so that no process is started and forgotten."""
    _waiting.clear()
    _uninterrupted.set()
    try:
        yield
    finally:
        _uninterrupted.clear()
    if _waiting:
        _raise(_waiting.pop())


_stopping, _limited, _printed, _uninterrupted = (threading.Event() for _ in range(4))
_waiting: list[int] = []


def _stop(number: int, frame: FrameType | None) -> None:
    if _stopping.is_set():
        return
    _stopping.set()
    _limit(number)
    if _uninterrupted.is_set():
        _waiting.append(number)
    else:
        _raise(number)


def _limit(number: int) -> None:
    """End this process in GRACE_SECONDS, whatever it does then."""
    if not _limited.is_set():
        _limited.set()
        threading.excepthook = _unprinted
        timer = threading.Timer(GRACE_SECONDS, _give_up, (128 + number,))
        timer.daemon = True
        timer.start()


def _unprinted(error: threading.ExceptHookArgs) -> None:
    """Print nothing: a pool's thread may fail over processes that were just ended on purpose."""


def stopping() -> bool:
    """Return whether a signal has come that ends the run."""
    return _limited.is_set()


def _raise(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def end_interrupted(code: int) -> NoReturn:
    """Print that the run was interrupted, and end this process without waiting for threads or unloading modules."""
    _print_message()
    util: Any = sys.modules.get("multiprocessing.util")
    if util:
        util._run_finalizers(0)  # removes the semaphores of process pools, as at the end of any process
    os._exit(code)


def _give_up(code: int) -> None:
    _print_message()
    os._exit(code)


def _print_message() -> None:
    if not _printed.is_set():
        _printed.set()
        with suppress(OSError, ValueError):  # the reader of a pipe may have ended by the same signal
            sys.stdout.flush()
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{MESSAGE}\n")
            sys.stderr.flush()
