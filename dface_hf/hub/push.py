"""Push folders to the Hub: one commit each, none where nothing has changed, and one line where it fails."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, get_session, hf_hub_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,
    LocalTokenNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

# Seconds without a byte from the server; the client itself would wait for ever.
SILENCE = 120.0


class PushError(ValueError):
    """Something was not published; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Args:
        repo_id: With its owner.
        url: Of the repository, or of the pull request.
        commit: SHA that the revision is at.
        changed: Whether a commit was made.
    """

    repo_id: str
    url: str
    commit: str
    changed: bool


@dataclass(frozen=True)
class Target:
    """Where a folder goes.

    Args:
        repo_id: `owner/name`, or `name` of one's own.
        repo_type: model, dataset or space.
        private: Make the repository private; one that is public already is refused.
        revision: Branch; made where it does not exist.
        create_pr: Open a pull request instead of writing to the branch.
    """

    repo_id: str
    repo_type: str = "model"
    private: bool = False
    revision: str | None = None
    create_pr: bool = False

    @property
    def label(self) -> str:
        """What messages call it: kind and name, of a model the name alone."""
        return self.repo_id if self.repo_type == "model" else f"{self.repo_type} {self.repo_id}"


def check_target(target: Target, model_type: str | None = None) -> Target:
    """Find out, without changing anything, whether a push can succeed: token, rights, name.

    Args:
        target: Where to push.
        model_type: Of the model; a repository that holds another kind of model is refused.

    Returns:
        The target with the owner in its `repo_id`.

    Raises:
        PushError: No token, a wrong one, one without the right to write; a name that is taken.
    """
    if target.create_pr and target.revision:
        raise PushError("give either --revision or --create-pr: pull requests are made to the main branch")
    with telling(target):
        target = _with_owner(target, HfApi().whoami())
        found = _existing(target)
        if found is not None:
            if target.private and found.private is False:
                raise PushError(f"{target.label} is public already: push without --private, or to a new name")
            if model_type is not None:
                _check_model_type(target, found, model_type)
        return target


def push_folder(
    folder: str | Path,
    target: Target,
    message: str,
    replaced: Sequence[str] = (),
    again: str | Path | None = None,
) -> Pushed:
    """Publish a folder as one commit; what the repository has already is not sent again.

    Args:
        folder: What to publish, all of it; `staging` makes such folders.
        target: Where to, from `check_target`.
        message: Of the commit.
        replaced: Patterns of files that are removed from the repository unless they are in the folder.
        again: Folder that an error message calls safe; default `folder`.

    Returns:
        What was done.

    Raises:
        PushError: Anything that went wrong, as one line; a push that is repeated goes on where it stopped.
    """
    api = HfApi()
    with telling(target, again or folder):
        before = _start(api, target)
        info = api.upload_folder(
            folder_path=str(folder),
            repo_id=target.repo_id,
            repo_type=target.repo_type,
            revision=target.revision,
            create_pr=target.create_pr,
            commit_message=message,
            delete_patterns=list(replaced) or None,
        )
    page = f"{api.endpoint}/{'' if target.repo_type == 'model' else target.repo_type + 's/'}{target.repo_id}"
    return Pushed(target.repo_id, info.pr_url or page, info.oid, info.oid != before)


def _start(api: HfApi, target: Target) -> str:
    """Make repository and branch where they are missing; return the SHA that the commit will follow."""
    where = dict(repo_id=target.repo_id, repo_type=target.repo_type)
    if _existing(target) is None:
        sdk = "gradio" if target.repo_type == "space" else None
        api.create_repo(**where, private=target.private or None, space_sdk=sdk)
    try:
        return api.repo_info(**where, revision=target.revision).sha
    except RevisionNotFoundError:
        api.create_branch(**where, branch=target.revision, exist_ok=True)
        return api.repo_info(**where, revision=target.revision).sha


def _existing(target: Target):
    try:
        return HfApi().repo_info(target.repo_id, repo_type=target.repo_type)
    except RepositoryNotFoundError:
        return None


def _with_owner(target: Target, user: dict) -> Target:
    """Check that the token may write there; a pull request needs no right to."""
    token = user.get("auth", {}).get("accessToken") or {}
    if token.get("role") == "read":
        raise PushError(
            f"the token of {user['name']} may only read; make one with write access at "
            f"{constants.ENDPOINT}/settings/tokens and run `hf auth login`"
        )
    owner, _, name = target.repo_id.rpartition("/")
    owner = owner or user["name"]
    own = [user["name"], *(org["name"] for org in user.get("orgs", []))]
    if owner not in own and not target.create_pr:
        raise PushError(
            f"{user['name']} has no right to write to {owner}/{name}; owners you can write to: "
            f"{', '.join(own)}; --create-pr proposes the change to its owner"
        )
    return Target(f"{owner}/{name}", *list(vars(target).values())[1:])


def _check_model_type(target: Target, found, model_type: str) -> None:
    """Refuse to overwrite somebody's other model that has the same name."""
    if "config.json" not in [sibling.rfilename for sibling in found.siblings or ()]:
        return
    try:
        path = hf_hub_download(target.repo_id, "config.json", revision=found.sha)
        held = json.loads(Path(path).read_text(encoding="utf-8")).get("model_type")
    except (RemoteEntryNotFoundError, json.JSONDecodeError):
        return
    if held not in (None, model_type):
        raise PushError(
            f"{target.label}: the name is taken by a {held!r} model, this one is {model_type!r}; "
            "choose another name"
        )


@contextmanager
def telling(target: Target, folder: str | Path | None = None) -> Iterator[None]:
    """Bound how long the server may be silent, and turn whatever goes wrong into one line.

    Args:
        target: What the line names.
        folder: What is being published, to say that nothing of it is lost.

    Raises:
        PushError: Instead of the errors of the network, the server and `huggingface_hub`.
    """
    session = get_session()
    patience, session.timeout = session.timeout, _patience()
    try:
        yield
    except PushError:
        raise
    except Exception as error:  # noqa: BLE001 - uploading threads wrap errors in whatever they like
        line = _explain(error, target)
        if line is None:
            raise
        safe = "" if folder is None else f"; {folder} is untouched: push it again to go on"
        raise PushError(line + safe) from error
    finally:
        session.timeout = patience


def _patience() -> float:
    return float(os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT") or SILENCE)


def _explain(error: Exception, target: Target) -> str | None:
    """One line for an error of the Hub or of the way there; None for any other."""
    hub = constants.ENDPOINT
    for cause in _causes(error):
        if isinstance(cause, LocalTokenNotFoundError):
            return f"no token for {hub}: run `hf auth login`, or set HF_TOKEN to one with write access"
        if isinstance(cause, HfHubHTTPError):
            return _explain_answer(cause, target)
        if isinstance(cause, json.JSONDecodeError):
            return f"{hub} answered with something that is no JSON: it, or a proxy before it, is out of order"
        if isinstance(cause, HTTPError | TimeoutError | ConnectionError):
            if "Timeout" in type(cause).__name__:
                return f"{hub} was silent for {_patience():g} s; pushing to {target.label} stopped there"
            return f"no connection to {hub} ({_first_line(cause)}); pushing to {target.label} stopped there"
    if isinstance(error, RuntimeError | OSError):  # of the storage's own client, of the disk
        return f"{target.label} was not pushed: {_first_line(error)}"
    return None


def _explain_answer(error: HfHubHTTPError, target: Target) -> str:
    hub, status = constants.ENDPOINT, error.response.status_code
    told = error.server_message or error.response.headers.get("X-Error-Message") or ""
    said = f"{status}: {' '.join(told.split())[:200]}" if told else str(status)
    if status == 401:
        return (
            f"{hub} refuses the token ({said}): make one with write access at {hub}/settings/tokens and run "
            "`hf auth login`, or set HF_TOKEN"
        )
    if status == 403:
        return (
            f"no right to write to {target.label} ({said}): ask its owner, propose the change with "
            "--create-pr, or choose another name"
        )
    if status == 409:
        return f"{target.label}: the name is taken ({said}); choose another name"
    if status >= 500:
        return f"{hub} is out of order ({said})"
    return f"{hub} refuses the push to {target.label} ({said})"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
