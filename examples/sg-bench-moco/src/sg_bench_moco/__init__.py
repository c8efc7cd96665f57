"""Momentum contrast as a method for sg-bench in a package of its own, found by its entry point."""

from sg_bench.registry import Entry

METHOD = Entry(
    "sg_bench_moco.config:MoCoConfig",
    "sg_bench_moco.method:MoCo",
    "finds the key of the same image among those of a queue",
)
