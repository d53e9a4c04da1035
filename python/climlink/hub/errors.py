"""Errors of the hub: what the library and the network report, told as what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from climlink.wrappers.errors import ClimlinkError

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
_GO_ON = "repeat the command to go on: what was fetched is kept"


class HubError(ClimlinkError):
    """The hub cannot be reached, refuses, or sent something else than it promised."""


class ChecksumError(HubError):
    """A file that came from the hub is not the one that the hub lists."""


@contextmanager
def told(what: str, endpoint: str) -> Iterator[None]:
    """Raise what fails while ``what`` is asked of the hub at ``endpoint`` as a HubError."""
    try:
        yield
    except ClimlinkError:
        raise
    except Exception as error:
        reason = _reason(error, endpoint)
        if reason is None:
            raise
        raise HubError(f"{what}: {reason}") from error


def _reason(error: BaseException | None, endpoint: str) -> str | None:
    """Return why it failed and what to do; None for what neither hub nor network had a part in."""
    from huggingface_hub import errors as library

    if isinstance(error, library.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it to use the hub"
    if isinstance(error, library.HfHubHTTPError):
        return _refusal(error, endpoint)
    if isinstance(error, library.HTTPError):
        return (
            f"{endpoint} cannot be reached ({error or type(error).__name__}); look at network, "
            f"proxy (HTTPS_PROXY) and HF_ENDPOINT, and {_GO_ON}"
        )
    if isinstance(error, RuntimeError):  # the library's, around what failed in its threads
        return _reason(error.__cause__, endpoint)
    if isinstance(error, ValueError | KeyError | TypeError):  # no JSON: a proxy's page
        return f"{endpoint} refused it, or did not answer as the hub does: {error}"
    return None


def _refusal(error: HfHubHTTPError, endpoint: str) -> str:
    """Return what the hub's status means, and what to do."""
    from huggingface_hub import errors as library

    status = error.response.status_code
    said = f" ({error.server_message})" if error.server_message else ""
    if isinstance(error, library.GatedRepoError):
        return f"the repository is gated{said}: accept its terms on its page, then {_LOG_IN}"
    if isinstance(error, library.RevisionNotFoundError):
        return f"the repository has no such revision{said}: give a branch, a tag or a commit of it"
    if isinstance(error, library.EntryNotFoundError):
        return f"the repository has no such file or folder at this revision{said}"
    if isinstance(error, library.RepositoryNotFoundError):
        none = f"{endpoint} has no such repository, or it is private{said}"
        return f"{none}: look at its name (OWNER/NAME), or {_LOG_IN}"
    if status in (401, 403):
        return f"{endpoint} refused (status {status}){said}: {_LOG_IN}, with a token that may"
    if status == 429:
        many = f"{endpoint} has had too many requests (status 429){said}"
        return f"{many}: wait some minutes, then {_GO_ON}"
    if status >= 500:
        return f"{endpoint} failed with status {status}{said}, several times: later, {_GO_ON}"
    return f"{endpoint} answered with status {status}{said}"
