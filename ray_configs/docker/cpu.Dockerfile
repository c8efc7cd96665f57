# sg-bench for machines without a GPU. From the root of the checkout:
#   docker build -f ray_configs/docker/cpu.Dockerfile -t registry.example.org/sg-bench:ray2.60.0-cpu .
# Every package is pinned by constraints.txt. No token and no data are in the image; Ray's token authentication is on.

FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE constraints.txt ./
COPY sg_bench sg_bench
COPY tasks tasks
COPY results/published results/published
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# The wheels of PyTorch's own index for CPUs are without CUDA, and so gigabytes smaller.
RUN python -m venv /opt/sg-bench \
 && /opt/sg-bench/bin/pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu \
      "$(grep '^torch==' constraints.txt)+cpu" \
 && /opt/sg-bench/bin/pip install --no-cache-dir -c constraints.txt '.[cluster,s3]'

FROM python:3.11-slim-bookworm
# rsync: `ray up` copies files into the container; wget: KubeRay's probes.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --no-install-recommends -y rsync wget \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 ray
COPY --from=build --chown=1000:1000 /opt/sg-bench /opt/sg-bench
ENV PATH=/opt/sg-bench/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RAY_AUTH_MODE=token \
    RAY_USAGE_STATS_ENABLED=0
USER 1000
WORKDIR /home/ray
CMD ["sg-bench", "--help"]
