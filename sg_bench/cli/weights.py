"""`sg-bench weights`: list, fetch, add and check published weights, and export initialisations."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer

from sg_bench.cli import options
from sg_bench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sg_bench.networks.published.catalogue import PublishedWeights
    from sg_bench.networks.published.export import WeightsFormat
    from sg_bench.networks.published.files import LicenceAcceptance, StoredWeights
    from sg_bench.networks.published.own_files import OwnWeights
    from sg_bench.workspace import Workspace

WeightsName = Annotated[str, typer.Argument(help="Published weights: see sg-bench weights list.")]
Yes = Annotated[bool, typer.Option("--yes", help="Accept the licence, which is printed.")]

LISTED = {"licence": "licence", "from": "url", "has seen": "corpus"}

app = typer.Typer(
    help="Published weights to start from, and the export of trained ones.",
    epilog="Exit codes: 0 success, 1 failed, 2 wrong usage, 3 file missing, damaged or not what it should be.",
    no_args_is_help=True,
)


class ExportFormat(StrEnum):
    """The formats of an exported file."""

    SAFETENSORS = "safetensors"
    OFFICIAL = "official"
    MONAI = "monai"
    HUB = "hub"


@app.command("list")
def list_weights(work: options.Work = None, as_json: options.Json = False) -> None:
    """List the published weights: architecture, licence, address, training data, and the copy in the workspace.

    Examples: sg-bench weights list; sg-bench weights list --work s3://bucket/work --json
    """
    from sg_bench.networks.published.catalogue import CATALOGUE
    from sg_bench.networks.published.files import all_stored
    from sg_bench.networks.published.own_files import KNOWN, own_weights

    files, own_files = all_stored(_workspace(work)), own_weights(_workspace(work))
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "title": f"{weights.title} ({weights.dimension}D): {weights.size}",
            "licence": weights.licence,
            "from": weights.url,
            "has seen": weights.seen,
            "here": list(map(_description, files[name])),
        }
        for name, weights in CATALOGUE.items()
    ]
    for name in sorted(KNOWN.keys() - own_files.keys()):
        known = KNOWN[name]
        rows.append({"name": name, "title": known["size"], **{what: known[key] for what, key in LISTED.items()}})
        rows[-1]["here"] = []
    rows += [_own_row(name, each) for name, own in own_files.items() for each in own]
    if as_json:
        typer.echo(options.json_text({"weights": [{key.replace(" ", "_"): row[key] for key in row} for row in rows]}))
        return
    for row in rows:
        facts = [f"{what}: {row[what]}" for what in LISTED if what in row]
        typer.echo("\n  ".join([row["name"], row["title"], *facts, f"here: {'; '.join(row['here']) or 'no'}"]))


def _own_row(name: str, own: OwnWeights) -> dict[str, Any]:
    record = own.record
    title = f"your own, network {record['network']['name']}: {record['coverage']}"
    row = {"name": name, "title": title, "licence": record["licence"], "has seen": record["corpus"]}
    return {**row, "here": [own.sha256]}


@app.command("fetch")
def fetch(name: WeightsName, work: options.Work = None, yes: Yes = False, as_json: options.Json = False) -> None:
    """Download published weights into the workspace, once; the first download pins their SHA-256.

    Examples: sg-bench weights fetch imagenet; sg-bench weights fetch medicalnet_resnet18 --yes
    """
    from sg_bench.networks.published.catalogue import published_weights
    from sg_bench.networks.published.files import fetch, pin_of
    from sg_bench.workspace import push_weights

    weights, workspace = published_weights(name), _workspace(work)
    agreed = _agreement(weights, workspace, yes=yes)
    pinned = pin_of(weights, workspace)
    kept = fetch(weights, workspace, agreed=agreed)
    push_weights(workspace, weights.name)
    printed = options.Printed(as_json=as_json)
    printed.line(f"{name}: {_description(kept)}, {'as pinned before' if pinned else 'pinned from now on'}")
    printed.end(**_facts(kept), pinned_before=bool(pinned))


@app.command("add")
def add(
    name: WeightsName,
    path: Annotated[Path, typer.Argument(help="The file, or a folder of weights export --to hub.")],
    sha256: Annotated[str, typer.Option("--sha256", help="Its expected SHA-256.")] = "",
    network: Annotated[
        str, typer.Option("--network", help="Your own file: its network, as vit or '{name: vit, patch: 8}'.")
    ] = "",
    map_: Annotated[
        Path | None, typer.Option("--map", help="Your own file: YAML of patterns of names and replacements.")
    ] = None,
    licence: Annotated[str, typer.Option("--licence", help="Your own file: its licence.")] = "",
    corpus: Annotated[str, typer.Option("--corpus", help="Your own file: name of its pretraining data.")] = "",
    source: Annotated[
        list[str] | None, typer.Option("--source", help="Your own file: a source that reads these data; repeatable.")
    ] = None,
    work: options.Work = None,
    yes: Yes = False,
    as_json: options.Json = False,
) -> None:
    """Copy a file of published weights, or with --network one of your own, into the workspace, after checking it.

    Examples: sg-bench weights add transvw_published TransVW_chest_ct.pt --yes;
    sg-bench weights add mine best.pth --network resenc_unet --licence CC-BY-4.0 --corpus "our CT"
    """
    from sg_bench.networks.published.files import checked_sha256
    from sg_bench.networks.published.own_files import KNOWN, check_own_name

    declared = {"licence": licence, "corpus": corpus, "sources": source or []}
    about = {"--licence": licence, "--corpus": corpus, "--source": source}
    sha256, printed = checked_sha256(sha256), options.Printed(as_json=as_json)
    if path.is_dir():
        why = f"{path} is a folder, which names its network and digests"
        _refuse({"--sha256": sha256, "--network": network, "--map": map_}, why)
        _add_folder(name, path, declared, _workspace(work), printed)
    if name in KNOWN and not network:
        _refuse(about, f"what {name} was trained on is known")
        known = {key: KNOWN[name][key] for key in ("licence", "corpus", "sources")}
        _add_own(name, path, KNOWN[name]["network"], map_, known, _workspace(work), printed, sha256)
    if network:
        check_own_name(name)
        _add_own(name, path, network, map_, declared, _workspace(work), printed, sha256)
    from sg_bench.networks.published.catalogue import published_weights
    from sg_bench.networks.published.files import add
    from sg_bench.workspace import push_weights

    weights = published_weights(name)
    _refuse({**about, "--map": map_}, f"{name} are published weights, of which these are known")
    workspace = _workspace(work)
    kept = add(weights, path, workspace, agreed=_agreement(weights, workspace, yes=yes), sha256=sha256)
    push_weights(workspace, weights.name)
    printed.line(f"{name}: {_description(kept)}")
    if not weights.sha256_start:
        typer.echo("Unverified: its authors state no SHA-256, so tables print it as unverified", err=True)
    printed.end(**_facts(kept), verified=bool(weights.sha256_start))


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="A torch or safetensors file.")],
    as_: Annotated[str, typer.Option("--as", metavar="NAME", help="The published weights to compare it with.")] = "",
    as_json: options.Json = False,
) -> None:
    """Print how the tensors of a file match its network; no code in the file is run.

    Examples: sg-bench weights check mine.pt; sg-bench weights check resnet_18_23dataset.pth --as medicalnet_resnet18
    """
    from sg_bench.networks.published.catalogue import published_weights
    from sg_bench.networks.published.fitting import check_complete, examine
    from sg_bench.workspace import file_digest

    weights = published_weights(as_) if as_ else None
    report = examine(file, weights, sha256=weights.sha256_start if weights else "")
    network = f"{report.architecture}, width {report.width}" if report.has_width else report.architecture
    if as_json:
        tensors = {what: list(names) for what, names in report.lists.items()}
        found = {"network": report.architecture, "sha256": file_digest(file), "coverage": str(report)}
        typer.echo(options.json_text({"file": str(file), **found, "tensors": tensors}))
    else:
        typer.echo(f"{file}: {network}; SHA-256 {file_digest(file)}")
        typer.echo(str(report))
    for what, names in report.lists.items():
        if names and not as_json:
            typer.echo(_named(what, names))
    whole = (weights is not None and weights.decoder) or 0 < report.decoder[0] < report.decoder[1]
    check_complete(report, decoder=whole, shown=str(file))


@app.command("export")
def export(
    initialisation: Annotated[str, typer.Argument(help="A key, its first digits, or METHOD/SEED.")],
    out: Annotated[Path, typer.Argument(help="The file to write, with a card next to it; --to hub: the folder.")],
    to: Annotated[
        ExportFormat,
        typer.Option("--to", help="safetensors, the papers' torch file, MONAI's, or the Hub's folder."),
    ] = ExportFormat.SAFETENSORS,
    licence: Annotated[
        str, typer.Option("--licence", help="--to hub: licence of the weights, such as cc-by-4.0.")
    ] = "",
    work: options.Work = None,
    as_json: options.Json = False,
) -> None:
    """Export an initialisation of the workspace to a file, with a card of its data, method, licence and scores.

    Examples: sg-bench weights export semantic_genesis/0 sg.safetensors; sg-bench weights export 3f2a9c1d sg.pt
    --to official; sg-bench weights export semantic_genesis/0 sg --to hub --licence cc-by-4.0
    """
    from sg_bench.ledger import Ledger
    from sg_bench.networks.published.export import export, find_initialisation

    workspace, printed = _workspace(work), options.Printed(as_json=as_json)
    found = find_initialisation(workspace, initialisation)
    recipe = found.record["recipe"]
    about, title = {name: recipe[name] for name in ("method", "seed")}, f"{recipe['method']} of seed {recipe['seed']}"
    if to is ExportFormat.HUB:
        from sg_bench.networks.published.hub import export_folder

        export_folder(found, out, Ledger(workspace).finished(), licence)
        printed.line(f"{title} in the folder {out}")
        printed.end(**about, folder=str(out))
    if licence:
        raise UsageError("--licence is for --to hub", hint="Leave it out, or add --to hub")
    card = export(found, cast("WeightsFormat", to.value), out, Ledger(workspace).finished())
    printed.line(f"{title} in {out}, card {card}")
    printed.end(**about, file=str(out), card=str(card))


@app.command("push")
def push(
    folder: Annotated[Path, typer.Argument(help="A folder written by weights export --to hub.")],
    to: Annotated[str, typer.Option("--to", metavar="USER/NAME", help="The model repository.")],
    private: Annotated[bool, typer.Option("--private", help="Make it private, if it does not exist.")] = False,
    as_json: options.Json = False,
) -> None:
    """Upload an exported folder to the Hugging Face Hub; needs the extra `hub`, and HF_TOKEN or a login.

    Examples: sg-bench weights push sg --to me/semantic-genesis-unet3d; sg-bench weights push sg --to lab/sg --private
    """
    from sg_bench.networks.published.folders import push

    printed, address = options.Printed(as_json=as_json), push(folder, to, private=private)
    printed.line(address)
    printed.end(repository=to, address=address)


def _refuse(options: dict[str, Any], why: str) -> None:
    """Refuse options that would have no effect.

    Raises:
        UsageError: one of them is given.
    """
    if given := [name for name, value in options.items() if value]:
        raise UsageError(f"{' and '.join(given)} would have no effect: {why}", hint="Leave out what has none")


def _add_own(
    name: str,
    path: Path,
    network: str,
    map_: Path | None,
    declared: dict[str, Any],
    workspace: Workspace,
    printed: options.Printed,
    sha256: str = "",
) -> NoReturn:
    """Rename, check and keep a user's own file, and print how it covers its network."""
    import yaml

    from sg_bench.networks.configs import NetworkChoice
    from sg_bench.networks.published.own import add_own, read_map
    from sg_bench.networks.published.own_files import KNOWN
    from sg_bench.registry import NETWORKS, SOURCES
    from sg_bench.tasks import validated
    from sg_bench.workspace import push_weights

    if not declared["licence"] or not declared["corpus"]:
        raise UsageError(
            "your own file needs --licence and --corpus: results with it name both",
            hint="Write --licence unknown --corpus unknown if you do not know",
        )
    for source in declared["sources"]:
        SOURCES.config(source)
    given = yaml.safe_load(network)
    settings = {"name": given} if isinstance(given, str) else dict(given)
    chosen = settings.pop("name", "")
    config = validated(NETWORKS.config(chosen), settings, f"--network {chosen}")
    choice = NetworkChoice(name=chosen, plugin=NETWORKS.plugin(chosen), config=config)
    rules = read_map(map_) if map_ else None
    kept, coverage = add_own(name, path, choice, workspace, declared, rules, sha256=sha256)
    push_weights(workspace, name)
    printed.line(f"{name}: {kept.sha256}, {coverage}")
    for what, names in coverage.lists().items():
        if names:
            printed.line(_named(what, names))
    use = name if name in KNOWN else f"{{name: checkpoint, label: {name}, config: {{weights: {name}}}}}"
    printed.line(f"Use it in a suite as {use}")
    tensors = {what: list(names) for what, names in coverage.lists().items()}
    printed.end(name=name, sha256=kept.sha256, coverage=str(coverage), tensors=tensors, use=use)


def _named(what: str, names: Sequence[str], most: int = 6) -> str:
    """Return "unused: a, b, c, and 3 more"."""
    return f"{what}: {', '.join(names[:most])}{f', and {len(names) - most} more' if len(names) > most else ''}"


def _add_folder(
    name: str, folder: Path, declared: dict[str, Any], workspace: Workspace, printed: options.Printed
) -> NoReturn:
    """Keep the weights of an exported folder; what is declared replaces what the folder says."""
    import json

    from sg_bench.networks.published.hub import read_folder
    from sg_bench.networks.published.own_files import check_own_name

    check_own_name(name)
    found = read_folder(folder)
    given = {key: value for key, value in declared.items() if value}
    _add_own(name, found.weights, json.dumps(found.network), None, {**found.declared, **given}, workspace, printed)


def _workspace(work: str | None) -> Workspace:
    from sg_bench.cli.selection import opened

    return opened(work)


def _description(file: StoredWeights) -> str:
    return f"{file.sha256}, {file.record['bytes'] / 1e6:.1f} MB"


def _facts(file: StoredWeights) -> dict[str, Any]:
    return {"name": file.record["name"], "sha256": file.sha256, "bytes": file.record["bytes"]}


def _agreement(weights: PublishedWeights, workspace: Workspace, *, yes: bool) -> LicenceAcceptance:
    """Print the licence and return how it was accepted.

    Raises:
        UsageError: it was not accepted, or there is no terminal to ask on.
    """
    from sg_bench.networks.published.files import accepted

    typer.echo(f"Licence of {weights.name}: {weights.licence}", err=True)
    typer.echo(f"Has seen: {weights.seen}", err=True)
    before = accepted(weights, workspace)
    if yes or before:
        return before or "--yes"
    if not sys.stdin.isatty():
        raise UsageError("the licence is not accepted", hint="Read it, then add --yes")
    typer.echo("Type yes to accept it: ", err=True, nl=False)
    if sys.stdin.readline().strip().lower() != "yes":
        raise UsageError("the licence is not accepted, so nothing was done", hint="Type yes, or add --yes")
    return "typed"
