"""Ctrl-C and SIGTERM end a run once, and within seconds even if something does not let go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

RUN = """
import os, signal, sys, time
from sg_bench.running import interrupts

interrupts.GRACE_SECONDS = 0.2
signal.signal(signal.SIGINT, signal.default_int_handler)
number = signal.Signals(int(sys.argv[1]))
try:
    with interrupts.stopped_by_signals():
        os.kill(os.getpid(), number)
        time.sleep(9)
except BaseException as stop:
    print(type(stop).__name__, getattr(stop, "code", ""), flush=True)
    os.kill(os.getpid(), number)  # impatience changes nothing
    if sys.argv[2] == "stuck":
        time.sleep(9)
interrupts.end_interrupted(128 + number)
"""


@pytest.mark.parametrize("how", ["willing", "stuck"])
@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "SystemExit 143")]
)
def test_a_signal_ends_the_run_with_its_code_and_one_line(number: signal.Signals, raised: str, how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(int(number)), how], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 128 + number
    assert done.stdout.strip() == raised
    assert done.stderr == "Interrupted. Nothing finished is lost: the same command continues from here.\n"


@pytest.mark.parametrize("how", ["willing", "stuck"])
def test_it_ends_with_its_code_where_nobody_reads_what_it_prints_any_more(how: str) -> None:
    command = [sys.executable, "-c", RUN, str(int(signal.SIGTERM)), how]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=writing, check=False, timeout=8)
    os.close(writing)
    assert done.returncode == 143


STUCK = """
import ctypes, os, signal, threading
from sg_bench.running import interrupts

interrupts.GRACE_SECONDS = 0.2
locked, library = ctypes.create_string_buffer(256), ctypes.CDLL(None)
library.pthread_mutex_lock(locked)
with interrupts.stopped_by_signals():
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    library.pthread_mutex_lock(locked)  # for ever, and no handler of Python's runs meanwhile
"""


def test_a_signal_ends_a_run_whose_main_thread_waits_where_python_sees_no_signals() -> None:
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 143
    assert done.stderr.startswith("Interrupted. ")


def test_signals_are_as_before_after_a_run() -> None:
    code = """
import signal
from sg_bench.running.interrupts import stopped_by_signals
before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
with stopped_by_signals():
    pass
assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
