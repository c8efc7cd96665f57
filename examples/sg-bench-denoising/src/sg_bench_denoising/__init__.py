"""A worked example of a pretraining method for sg-bench in a package of its own, found by its entry point."""

from sg_bench.registry import Entry

METHOD = Entry(
    "sg_bench_denoising.config:DenoisingConfig",
    "sg_bench_denoising.method:Denoising",
    "restores images from Gaussian noise and from noise that grows with the signal",
)
