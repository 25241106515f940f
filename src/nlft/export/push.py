"""The push step: an adapter or a model, with its card, to the Hugging Face hub; a dry run unless it is told to upload."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from nlft.adapter import copy_adapter, read_told, write_card
from nlft.adapter.record import CARD, SETTINGS, name_base, open_modes
from nlft.errors import ConfigError, DataError, EndpointError
from nlft.export.config import PushSettings
from nlft.export.step import scores_of
from nlft.progress import Outcome


def run(settings: PushSettings, folder: Path, repo: str) -> Outcome:
    """Upload what a folder hands over to the repository `repo` (owner/name), or show what would be uploaded.

    The folder stays as it is. The key is the hub's own (`HF_TOKEN`, or `hf auth login`).

    Raises:
        DataError: for a folder that neither `nlft train` nor `nlft export` wrote.
        ConfigError: for a name that is no repository's, or without the base model's hub id.
        EndpointError: if the hub refuses.
    """
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", repo, re.ASCII):
        raise ConfigError(f'"{repo}" is no name of a repository', remedy="give OWNER/NAME, as in my-name/my-adapter")
    told = read_told(folder) if folder.is_dir() else None
    if told is None or not (folder / SETTINGS).is_file():
        remedy = "give a folder that `nlft train` or `nlft export` wrote"
        raise DataError("this folder has no record of its training", file=folder, remedy=remedy)
    base = settings.base_model or told.base_model
    if "/" not in base:
        raise ConfigError(
            f'the record knows the base model by the name of a folder only: "{base}"',
            file=folder / SETTINGS,
            remedy="give its hub id with --base-model",
        )
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary)
        copy_adapter(folder, staged)
        if (staged / "adapter_config.json").is_file():
            name_base(staged / "adapter_config.json", base)
        scores = scores_of(map(Path, settings.evaluation))
        write_card(staged, repo=repo, base_model=base, license=settings.license, scores=scores)
        if settings.data is not None:
            if not Path(settings.data).is_file():
                raise DataError("no such file", file=settings.data, remedy="check --data")
            shutil.copyfile(settings.data, staged / Path(settings.data).name)
        open_modes(staged)
        if settings.upload:
            return Outcome(_upload(staged, repo, private=not settings.public))
        files = "\n".join(f"{path.stat().st_size:>12,}  {path.name}" for path in sorted(staged.iterdir()))
        card = (staged / CARD).read_text(encoding="utf-8")
    return Outcome(f"{files}\n\n{card}\ndry run: nothing was uploaded to {repo}; add --upload")


def _upload(staged: Path, repo: str, *, private: bool) -> str:
    from huggingface_hub import HfApi

    api = HfApi(library_name="nlft")
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repo, folder_path=staged, commit_message="Upload with nlft")
    except Exception as error:  # of the hub's client, of its HTTP library, or of the network
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise EndpointError(
            f"the hub did not take {repo}: {first}",
            remedy="set HF_TOKEN to a key that may write there, and check the name",
        ) from error
    return f"uploaded: {commit.commit_url}"
