# sg-bench for machines with NVIDIA GPUs. From the root of the checkout:
#   docker build -f ray_configs/docker/cuda.Dockerfile -t registry.example.org/sg-bench:ray2.60.0-cuda .
# Every package is pinned by constraints.txt. No token and no data are in the image; Ray's token authentication is on.

FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE constraints.txt ./
COPY sg_bench sg_bench
COPY tasks tasks
COPY results/published results/published
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# PyPI's wheels of PyTorch bring CUDA, cuDNN and NCCL with them; only the driver is the node's.
RUN python -m venv /opt/sg-bench \
 && /opt/sg-bench/bin/pip install --no-cache-dir -c constraints.txt '.[cluster,s3]'

FROM python:3.11-slim-bookworm
# rsync: `ray up` copies files into the container; wget: KubeRay's probes; gcc: `training.compile`.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --no-install-recommends -y gcc libc6-dev rsync wget \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 ray
COPY --from=build --chown=1000:1000 /opt/sg-bench /opt/sg-bench
ENV PATH=/opt/sg-bench/bin:$PATH \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_VISIBLE_DEVICES=all \
    PYTHONUNBUFFERED=1 \
    RAY_AUTH_MODE=token \
    RAY_USAGE_STATS_ENABLED=0
USER 1000
WORKDIR /home/ray
CMD ["sg-bench", "--help"]
