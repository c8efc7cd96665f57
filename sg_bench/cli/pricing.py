"""Prints the price of a plan, and what fits into a budget."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from sg_bench.cli.plan import KINDS
from sg_bench.errors import UsageError

if TYPE_CHECKING:
    from sg_bench.cli.selection import Selection
    from sg_bench.planning import Machines, Portion, Price


def machines_of(
    selection: Selection, *, hardware: str, jobs: int | None, cpus: int | None, gpus: int | None, nodes: int
) -> Machines:
    """Return the machines that the options describe; by default this one.

    Raises:
        UsageError: nothing was measured on that hardware.
    """
    from sg_bench import machine
    from sg_bench.planning import Machines, hardware_name, measured_hardware

    own = machine.gpu_names()
    name = hardware_name(machine.hardware())
    if hardware:
        known = measured_hardware(selection.workspace)
        found = [each for each in known if hardware.lower() in each.lower()]
        if len(found) != 1:
            problem = "matches several" if found else "was not measured"
            hint = f"Known: {'; '.join(found or known) or 'nothing'}. sg-bench plan --measure measures a machine"
            raise UsageError(f"--hardware {hardware!r} {problem}", hint=hint)
        name, own = found[0], []
    cores = cpus or machine.available_cores()
    count = gpus if gpus is not None else len(own)
    return Machines(name, jobs or cores, cores, count or None, nodes)


def print_price(selection: Selection, suite: str, found: Price) -> None:
    """Print device hours, wall time, disk and network, or how to measure them."""
    from sg_bench.planning import shown_duration

    name, machines = selection.plan.suite.name, found.machines
    if not found.jobs and not found.unknown:
        typer.echo(
            "\nNothing to compute" + (" with these data" if any(c.missing for c in selection.plan.cells) else "")
        )
        return
    measure = f"sg-bench plan --suite {suite} --measure"
    if not found.jobs:
        typer.echo(f"\nPrice unknown: nothing of {name} was measured on {machines.hardware}. To measure: {measure}")
        return
    finished = sum(each.basis == "finished" for each in found.jobs)
    typer.echo(
        f"\nPrice on {machines.hardware}: {len(found.jobs) - finished} jobs by measurement, {finished} by what equal "
        "jobs took"
    )
    for kind, title in KINDS.items():
        jobs = found.of_kind(kind)
        if jobs:
            least, most = sum(each.seconds for each in jobs), sum(each.most_seconds for each in jobs)
            typer.echo(f"{title:<17} {len(jobs):>5} jobs {_range(least, most)}")
    typer.echo(f"{'device time':<17} {_range(found.device_seconds, found.most_device_seconds)}")
    typer.echo(f"{'processor time':<17} {shown_duration(found.processor_seconds)}")
    on = f"{machines.slots} processes" + (f" and {machines.cards} GPUs" if machines.cards else "")
    typer.echo(f"{'wall time':<17} {_range(found.seconds, found.most_seconds)} with {on}")
    _print_volume(selection, found)
    open_ended = [each for each in found.jobs if each.most_seconds > 1.001 * each.seconds]
    if open_ended:
        typer.echo(
            f"{len(open_ended)} trainings end when the validation loss no longer falls: the lower number is for the "
            "case that it never falls, the upper one for all epochs"
        )
    if found.unknown:
        first = found.unknown[0].title
        typer.echo(f"Without a price: {len(found.unknown)} jobs, first {first}. To measure: {measure}")


def _print_volume(selection: Selection, found: Price) -> None:
    """Print the bytes that go to the disk and over the network."""
    from sg_bench.planning import shown_bytes

    disk = found.disk()
    parts = ", ".join(f"{name} {shown_bytes(count)}" for name, count in disk.items() if count)
    root = next(path for path in (selection.workspace.root, *selection.workspace.root.parents) if path.exists())
    free = shutil.disk_usage(root).free
    typer.echo(f"{'disk':<17} {shown_bytes(sum(disk.values()))} ({parts}); {shown_bytes(free)} are free")
    if sum(disk.values()) > free:
        typer.echo("The disk is too small for this: free space, or name another workspace with --work")
    if found.machines.nodes > 1:
        to_node, back = network_bytes(found)
        nodes = f"each of {found.machines.nodes} nodes"
        typer.echo(f"{'network':<17} up to {shown_bytes(to_node)} to {nodes}, {shown_bytes(back)} back")


def network_bytes(found: Price) -> tuple[float, float]:
    """Return the bytes that a node fetches at most, which has all jobs need of what is computed, and those written."""
    disk = found.disk()
    inputs = sum(count for name, count in disk.items() if name in ("stores", "patterns", "initialisations"))
    return inputs, sum(disk.values())


def print_budget(suite: str, found: Price, order: Sequence[Portion], hours: float) -> None:
    """Print which portions of the cells fit into a budget, in order, and which do not."""
    from sg_bench.planning import shown_duration

    fitting = [each for each in order if each.fits]
    count = sum(len(each.cells) for each in fitting)
    total = sum(len(each.cells) for each in order)
    typer.echo(f"\nBudget of {hours:g} h with {found.machines.slots} processes: {count} of {total} cells fit")
    for number, each in enumerate(fitting, start=1):
        typer.echo(f"{number:>3}. {_portion(each)}, {shown_duration(each.seconds)} more")
    rest = [each for each in order if not each.fits]
    if rest:
        typer.echo("Does not fit:")
        for each in rest:
            typer.echo(f"     {_portion(each)}, {shown_duration(each.seconds)} more")
    if found.unknown:
        typer.echo(f"{len(found.unknown)} jobs have no price and are not in this list")
    if fitting and rest:
        typer.echo(f"To compute the first: {_command(suite, fitting[0])}")


def _portion(each: Portion) -> str:
    seeds = f"{each.pretraining_seed}/{each.fine_tuning_seed}"
    return f"{each.task}, seeds {seeds}: {len(each.cells)} cells"


def _command(suite: str, each: Portion) -> str:
    return (
        f"sg-bench run --suite {suite} --tasks '{each.task}' --seeds {each.fine_tuning_seed} "
        f"--pretraining-seeds {each.pretraining_seed}"
    )


def price_json(found: Price, order: Sequence[Portion], hours: float | None) -> dict[str, Any]:
    """Return the price for programs; docs/json.md describes the fields."""
    machines = found.machines
    described = {
        "hardware": machines.hardware,
        "processes": machines.slots,
        "cpus": machines.cores,
        "gpus": machines.cards or 0,
        "nodes": machines.nodes,
    }
    to_node, back = network_bytes(found) if machines.nodes > 1 else (0.0, 0.0)
    content: dict[str, Any] = {
        "machines": described,
        "price": {
            "jobs": len(found.jobs),
            "without_price": len(found.unknown),
            "device_seconds": _rounded(found.device_seconds, found.most_device_seconds),
            "processor_seconds": round(found.processor_seconds, 3),
            "wall_seconds": _rounded(found.seconds, found.most_seconds),
            "disk_bytes": {name: round(count) for name, count in found.disk().items()},
            "network_bytes": {"to_each_node": round(to_node), "back": round(back)},
        },
    }
    if hours is not None:
        rows = [
            {
                "task": each.task,
                "pretraining_seed": each.pretraining_seed,
                "fine_tuning_seed": each.fine_tuning_seed,
                "methods": [cell.method for cell in each.cells],
                "seconds": round(each.seconds, 3),
                "fits": each.fits,
            }
            for each in order
        ]
        content["budget"] = {"hours": hours, "portions": rows}
    return content


def _rounded(least: float, most: float) -> dict[str, float]:
    return {"least": round(least, 3), "most": round(most, 3)}


def _range(least: float, most: float) -> str:
    from sg_bench.planning import shown_duration

    low, high = shown_duration(least), shown_duration(most)
    return f"about {low}" if low == high else f"{low} to {high}"
