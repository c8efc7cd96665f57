# sg-bench and all that it runs on, for machines without a GPU or, with DEVICE=cuda, with NVIDIA GPUs:
#   docker build -t registry.example.org/sg-bench:ray2.60.0-cpu .
#   docker build --build-arg DEVICE=cuda -t registry.example.org/sg-bench:ray2.60.0-cuda .
# Every package is pinned by constraints.txt. No token and no data are in the image; Ray's token authentication is on.
ARG DEVICE=cpu

FROM python:3.11-slim-bookworm AS build
ARG DEVICE
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE constraints.txt ./
COPY sg_bench sg_bench
COPY tasks tasks
COPY results/published results/published
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# The wheels of PyTorch's own index for CPUs are without CUDA, and so gigabytes smaller. PyPI's bring CUDA, cuDNN and
# NCCL with them; only the driver is the node's.
RUN python -m venv /opt/sg-bench \
 && case "${DEVICE}" in \
      cpu) /opt/sg-bench/bin/pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu \
             "$(grep '^torch==' constraints.txt)+cpu" ;; \
      cuda) ;; \
      *) echo "DEVICE=${DEVICE}: write cpu or cuda" >&2; exit 1 ;; \
    esac \
 && /opt/sg-bench/bin/pip install --no-cache-dir -c constraints.txt '.[cluster,s3]'

FROM python:3.11-slim-bookworm AS cpu
# rsync: `ray up` copies files into the container; wget: KubeRay's probes.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --no-install-recommends -y rsync wget \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 ray
ENV PATH=/opt/sg-bench/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RAY_AUTH_MODE=token \
    RAY_USAGE_STATS_ENABLED=0

FROM cpu AS cuda
# gcc: `training.compile`.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --no-install-recommends -y gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_VISIBLE_DEVICES=all

FROM ${DEVICE}
COPY --from=build --chown=1000:1000 /opt/sg-bench /opt/sg-bench
USER 1000
WORKDIR /home/ray
CMD ["sg-bench", "--help"]
