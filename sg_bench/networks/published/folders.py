"""Exported folders, their digests, and their upload to the Hugging Face Hub; free of torch.

The token is read by `huggingface_hub`, from `HF_TOKEN` or its login, and is neither printed nor written.
"""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from sg_bench.errors import DataError, SgBenchError, UsageError
from sg_bench.workspace import file_digest

WEIGHTS, CONFIG, CARD, SUMS = "model.safetensors", "config.json", "README.md", "SHA256SUMS"
HUB = "https://huggingface.co"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def check_digests(folder: Path) -> list[str]:
    """Return the names of an exported folder's files, after comparing them with its digests.

    Raises:
        DataError: a file is missing or changed.
    """
    hint = "Export it again by sg-bench weights export INITIALISATION FOLDER --to hub"
    if not (folder / SUMS).is_file():
        raise DataError(f"{folder}: it has no {SUMS}, so it is not an exported folder", hint=hint)
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    digests = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if digests.keys() != {WEIGHTS, CONFIG, CARD}:
        raise DataError(f"{folder / SUMS}: it must list {WEIGHTS}, {CONFIG} and {CARD}", hint=hint)
    for name, digest in digests.items():
        if not (folder / name).is_file():
            raise DataError(f"{folder / name}: no such file", hint=hint)
        if file_digest(folder / name) != digest:
            raise DataError(f"{folder / name}: it has changed since it was exported", hint=hint)
    return [*digests, SUMS]


def push(folder: Path, repository: str, *, private: bool = False) -> str:
    """Upload an exported folder, and nothing else in it, to a model repository; return the address of the commit.

    Args:
        folder: written by `export_folder`.
        repository: USER/NAME; it is made unless it exists.
        private: make it private, if it is made.

    Raises:
        UsageError: the name is not one, or the extra, the token or a safe address is missing.
        DataError: a file is missing or changed, or the Hub cannot be reached or refuses.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", repository):
        raise UsageError(f"'{repository}' is no repository", hint="Write --to USER/NAME")
    names = check_digests(folder)
    endpoint = _endpoint()
    if find_spec("huggingface_hub") is None:
        raise UsageError("weights push needs huggingface_hub", hint='pip install "sg-bench[hub]"')
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if not token:
        raise UsageError("there is no token of the Hub", hint="Set HF_TOKEN, or type hf auth login")
    try:
        api = HfApi(endpoint=endpoint, token=token)
        api.create_repo(repository, private=private, exist_ok=True)
        message = "Add weights exported by sg-bench"
        done = api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=names, commit_message=message)
        return str(done.commit_url)
    except SgBenchError:
        raise
    except Exception as error:  # those of the library and of its HTTP client, which share no class
        cause = " ".join(str(error).split()).replace(token, "***")[:300] or type(error).__name__
        hint = "Check the network, the repository and the rights of the token"
        raise DataError(f"{repository} at {endpoint}: not uploaded: {cause}", hint=hint) from None


def _endpoint() -> str:
    """Return the address of the Hub; a token must not travel unencrypted except to this machine."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
    parts = urlsplit(endpoint)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return endpoint
    raise UsageError(f"HF_ENDPOINT is {endpoint}, which would show the token to others", hint="Use https://")
