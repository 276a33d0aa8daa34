"""Giving a student away: its folder, model card included, as a repository on the hub."""

from pathlib import Path

from pkt_eval.errors import ConfigError, PrerequisiteError, StoreError


def check_push(repository: str) -> None:
    """Look at what can be known before the work: the name, and whether anybody is logged in.

    Args:
        repository: ``ORG/NAME``.

    Raises:
        ConfigError: It is no such name.
        PrerequisiteError: No token of the hub is known here.
    """
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # though its docs name it

    try:
        validate_repo_id(repository)
    except HFValidationError:
        repository_is_one = False
    else:
        repository_is_one = repository.count("/") == 1
    if not repository_is_one:
        raise ConfigError(f"--push {repository[:100]!r} is no name on the hub: it is ORG/NAME, e.g. acme/qwen-seeking")
    if not get_token():
        raise PrerequisiteError("--push needs a token of the hub: `hf auth login`, or HF_TOKEN in the environment")


def push(folder: Path, repository: str) -> str:
    """Upload a saved student; a repository that is new is private, one that is there stays as it is.

    Args:
        folder: Of the student.
        repository: ``ORG/NAME``.

    Returns:
        Its address.

    Raises:
        StoreError: The hub did not take it; the folder is as it was.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        address = api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="A student of PKT-Eval")
    except (HfHubHTTPError, OSError) as error:
        said = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise StoreError(f"{folder} is written, but {repository} could not be pushed: {said}") from None
    return str(address)
