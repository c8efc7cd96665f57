"""What the nodes of a cluster have and see: GPUs, the workspace, and the code that they would run."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import ray
from ray import cloudpickle
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sg_bench.errors import SgBenchError, UsageError
from sg_bench.running.cluster import node_description
from sg_bench.running.failures import first_line
from sg_bench.running.markers import MARKER_VARIABLE
from sg_bench.running.packing import Card, list_cards
from sg_bench.workspace import Workspace, write_atomic
from sg_bench.workspace.objects import Objects

CARDS_TIMEOUT = 120.0
"""Seconds for the nodes of a cluster to list their GPUs."""
NODES_TIMEOUT = 120.0
"""Seconds for the nodes of a cluster to say what they have and see."""
LEAST_SHM_MIB, LEAST_DISK_MIB = 256, 1024
"""Below these, Ray spills objects to the disk, and stores and weights may not fit."""
MARKERS = ".nodes-"
"""Beginning of the folders of the workspace by which nodes show that they see it."""
SHARE = "Give --work a folder that all nodes share under the same path, or a URL as s3://bucket/folder"
INSTALL = "Install the same on every node, or send it along with --ship-code"


class NodeCheck(NamedTuple):
    """One thing that was checked on one node."""

    what: str
    """As "node 2 of 3: workspace"."""
    ok: bool
    found: str
    fix: str
    """What to do, "" where nothing is wrong."""


@dataclass(frozen=True)
class NodeView:
    """What a node answered; a node that did not answer has only a problem."""

    name: str
    """As "node 2 of 3"; the head is the first."""
    resources: Mapping[str, float]
    answer: Mapping[str, Any] = field(default_factory=dict)
    """From `node_description.describe_node`."""
    returned: bool = False
    """Whether the driver sees what the node wrote into the workspace."""
    problem: str = ""
    """Why the node gave no answer."""


def check_nodes(workspace: Workspace, *, machines: bool = False) -> list[NodeCheck]:
    """Return the checks of every node of the cluster that this process is connected to; raises nothing.

    Args:
        workspace: that all nodes must see.
        machines: also describe each machine, and check its memory for shared objects and its disk.
    """
    try:
        views, value = node_views(workspace)
    except (OSError, RuntimeError, ValueError, RayError, SgBenchError) as error:
        return [
            NodeCheck(
                "nodes", False, first_line(error), "See that the cluster runs and that the workspace can be written"
            )
        ]
    here = node_description.describe_code()
    return [
        check
        for view in views
        for check in (
            [answer_check(view)]
            if view.problem
            else [
                *([machine_check(view)] if machines else []),
                *code_checks(view, here),
                workspace_check(view, value, workspace.shown),
            ]
        )
    ]


def require_nodes(workspace: Workspace) -> None:
    """Refuse a cluster whose nodes do not all see this workspace and have this code.

    Raises:
        UsageError: names the nodes and what to do.
    """
    bad = [check for check in check_nodes(workspace) if not check.ok]
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise UsageError(f"{bad[0].what}: {bad[0].found}{more}", hint=bad[0].fix)


def node_views(workspace: Workspace) -> tuple[list[NodeView], str]:
    """Ask every node what it has and sees; return the answers, and the value of the marker that they were to read.

    A node that is lost meanwhile gives no answer and is left out: the run does not need it.

    Raises:
        OSError: the workspace cannot be written.
    """
    nodes = alive_nodes()
    with _marker(workspace) as (name, value, read):
        folder = "" if workspace.remote else str(workspace.root / name)
        answers = ask_nodes(nodes, node_description.describe_node, folder, timeout=NODES_TIMEOUT)
        if workspace.remote:
            trips = ask_nodes(nodes, storage_round_trip, workspace.remote.url, name, timeout=NODES_TIMEOUT)
            answers = [_joined_answer(answer, trip) for answer, trip in zip(answers, trips, strict=True)]
        alive = {node["NodeID"] for node in alive_nodes()}
        return [
            NodeView(
                f"node {number} of {len(nodes)}",
                node["Resources"],
                {} if isinstance(answer, str) else answer,
                not isinstance(answer, str) and _returned(read, answer["written"]),
                answer if isinstance(answer, str) else "",
            )
            for number, (node, answer) in enumerate(zip(nodes, answers, strict=True), 1)
            if node["NodeID"] in alive or not isinstance(answer, str)
        ], value


def storage_round_trip(url: str, name: str) -> dict[str, str]:
    """Return what this process reads of the marker `name` at a URL, and the name of a file that it wrote next to it."""
    objects, own = Objects(url), secrets.token_hex(16)
    answer = {"seen": "", "written": "", "problem": ""}
    try:
        answer["seen"] = objects.read(f"{name}/driver").decode()
        objects.upload(f"{name}/{own}", own.encode())
    except (OSError, SgBenchError, ImportError) as error:
        return answer | {"problem": first_line(error)}
    return answer | {"written": own}


def _joined_answer(answer: Any, trip: Any) -> Any:
    """Return a node's description with its round trip through remote storage; a node without sg-bench made none."""
    if isinstance(answer, str):
        return answer
    return answer | (trip if isinstance(trip, dict) else {"problem": trip})


def answer_check(view: NodeView) -> NodeCheck:
    """Return the check of a node that gave no answer."""
    fix = "Look at `ray status` and at the logs of that node, then run the same command again"
    return NodeCheck(f"{view.name}: answer", False, view.problem, fix)


def workspace_check(view: NodeView, value: str, root: str) -> NodeCheck:
    """Return whether a node sees the workspace of this process, and this process what that node writes into it."""
    what, seen = f"{view.name}: workspace", view.answer.get("seen", "")
    if not seen:
        return NodeCheck(what, False, f"does not see {root} ({view.answer.get('problem')})", SHARE)
    if seen != value:
        return NodeCheck(what, False, f"sees another folder at {root}", SHARE)
    if not view.answer.get("written"):
        return NodeCheck(what, False, f"cannot write to {root}", "Make it writable there for the user who runs Ray")
    if not view.returned:
        return NodeCheck(what, False, f"what it writes to {root} does not arrive here", SHARE)
    return NodeCheck(what, True, "reads and writes it", "")


def machine_check(view: NodeView) -> NodeCheck:
    """Return what a node has, and whether its /dev/shm and its disk are large enough."""
    free = {name: view.answer.get(f"{name}_mib") for name in ("memory", "shm", "disk")}
    amounts = [f"{amount / 1024:.1f} GiB of {name} free" for name, amount in free.items() if amount is not None]
    counts = [f"{view.resources.get(name, 0):g} {name}s" for name in ("CPU", "GPU")]
    found = ", ".join([f"Python {view.answer.get('python')}", *counts, *amounts])
    fix = ""
    if free["shm"] is not None and free["shm"] < LEAST_SHM_MIB:
        fix = "Give containers more /dev/shm: --shm-size=2g, or a volume in memory there"
    elif free["disk"] is not None and free["disk"] < LEAST_DISK_MIB:
        fix = "Remove what is not needed there"
    return NodeCheck(f"{view.name}: machine", not fix, found, fix)


def code_checks(view: NodeView, here: Mapping[str, str]) -> list[NodeCheck]:
    """Return for sg-bench and each plugin that is installed here whether a node has the same version and sources."""
    there: Mapping[str, str] = view.answer.get("code", {})
    return [_code_check(view.name, name, mine, there.get(name)) for name, mine in here.items()]


def _code_check(node: str, name: str, here: str, there: str | None) -> NodeCheck:
    label = "sg-bench" if name == node_description.PACKAGE else name
    what = f"{node}: {label}"
    if there == here:
        return NodeCheck(what, True, f"{here.split()[0]}, the same code", "")
    if there is None:
        return NodeCheck(what, False, f"has no {label}; here it is {here.split()[0]}", INSTALL)
    if there.split()[0] == here.split()[0]:
        return NodeCheck(what, False, f"has {there.split()[0]} with other source files than here", INSTALL)
    return NodeCheck(what, False, f"has {there.split()[0]}; here it is {here.split()[0]}", INSTALL)


def alive_nodes() -> list[dict[str, Any]]:
    """Return the living nodes as Ray describes them, the head first, always in the same order."""
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    return sorted(nodes, key=lambda node: ("node:__internal_head__" not in node["Resources"], node["NodeID"]))


def ask_nodes(nodes: Sequence[Mapping[str, Any]], function: Any, *arguments: Any, timeout: float) -> list[Any]:
    """Call a function on each node, without resources; return its results, or for a node that fails why, as a str."""
    cloudpickle.register_pickle_by_value(node_description)  # type: ignore[no-untyped-call] # a node may lack this package
    task: Any = ray.remote(num_cpus=0, max_retries=0)(function)
    places = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    asked = [task.options(scheduling_strategy=place).remote(*arguments) for place in places]
    done, _ = ray.wait(asked, num_returns=len(asked), timeout=timeout) if asked else ([], [])
    return [_result(each) if each in done else f"no answer within {timeout:.0f} s" for each in asked]


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayError as error:
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        return lines[-1].strip() if lines else type(error).__name__


def cluster_cards() -> list[Card]:
    """Return the GPUs of all nodes, or [] if a node does not answer: jobs then have a GPU each."""
    nodes = [node for node in alive_nodes() if node["Resources"].get("GPU")]
    answers = ask_nodes(nodes, list_cards, timeout=CARDS_TIMEOUT)
    return [] if any(isinstance(each, str) for each in answers) else [card for cards in answers for card in cards]


@contextmanager
def run_marker(workspace: Workspace) -> Iterator[dict[str, str]]:
    """Yield the environment by which workers on nodes that join later know the workspace; see `running.markers`."""
    if workspace.remote:
        yield {}
        return
    with _marker(workspace) as (name, value, _):
        yield {MARKER_VARIABLE: f"{value} {workspace.root / name / 'driver'}"}


@contextmanager
def _marker(workspace: Workspace) -> Iterator[tuple[str, str, Callable[[str], bytes]]]:
    """Yield the name of a new folder in the workspace, the random text in its file `driver`, and a reader of files."""
    name, value = f"{MARKERS}{secrets.token_hex(8)}", secrets.token_hex(16)
    if workspace.remote is None:
        folder = workspace.root / name
        write_atomic(folder / "driver", value)
        try:
            yield name, value, lambda file: (folder / file).read_bytes()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    objects = workspace.remote.objects
    objects.upload(f"{name}/driver", value.encode())
    try:
        yield name, value, lambda file: objects.read(f"{name}/{file}")
    finally:
        with contextlib.suppress(OSError):
            for each in objects.files(name):
                objects.remove(f"{name}/{each}")


def _returned(read: Callable[[str], bytes], name: str) -> bool:
    """Return whether the file that a node wrote is here."""
    try:
        return bool(name) and read(name).decode() == name
    except (OSError, ValueError):
        return False
