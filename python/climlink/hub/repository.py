"""One repository of the hub at one commit: its folders, its files, and their bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from climlink.hub.errors import HubError, told
from climlink.provenance import climlink_version

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Kind = Literal["dataset", "model"]

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Checksum:
    """What the hub states of a file: the SHA-256 of large files, git's SHA-1 of small ones."""

    algorithm: Literal["sha256", "git-sha1"]
    digest: str

    def of(self, path: Path) -> str:
        """Return the checksum of a file on disk, lower-case hexadecimal."""
        if self.algorithm == "sha256":
            state = hashlib.sha256()
        else:  # git hashes a header with the size, then the content
            state = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                state.update(block)
        return state.hexdigest()


@dataclass(frozen=True, order=True)
class RemoteFile:
    """A file of a repository: path in it, size in bytes, checksum."""

    path: str
    size: int
    checksum: Checksum

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Repository:
    """A repository at the commit that ``revision`` meant when it was opened."""

    api: HfApi
    id: str
    kind: Kind
    commit: str
    private: bool

    def __str__(self) -> str:
        return f"{self.id} at {self.commit[:12]}"

    @classmethod
    def open(cls, repo_id: str, kind: Kind, revision: str | None = None) -> Repository:
        """Ask the hub which commit ``revision`` (default: main) is; HubError where it says no."""
        from huggingface_hub import HfApi

        require_id(repo_id)
        api = HfApi(library_name="climlink")
        revision = revision or "main"
        url = f"{api.endpoint}/api/{kind}s/{repo_id}/revision/{quote(revision, safe='')}"
        with told(f"{repo_id}, revision {revision}", api.endpoint):
            # Only these: by default the hub lists every file, and ClimSim has 400,000.
            about = _get(api, url, {"expand[]": ["sha", "private"]}).json()
            return cls(api, repo_id, kind, str(about["sha"]), bool(about["private"]))

    def list_folder(self, path: str = "") -> tuple[list[str], list[RemoteFile]]:
        """Return the folders (paths) and files directly in a folder, each sorted."""
        folders, files = [], []
        url = f"{self.api.endpoint}/api/{self.kind}s/{self.id}/tree/{self.commit}/{quote(path)}"
        page: str | None = url.rstrip("/")
        with told(f"{self}, folder {path or '/'}", self.api.endpoint):
            while page is not None:
                answer = _get(self.api, page)
                for entry in answer.json():
                    if entry["type"] == "directory":
                        folders.append(_safe(entry["path"]))
                    else:
                        files.append(_remote_file(entry))
                page = answer.links.get("next", {}).get("url")
        return sorted(folders), sorted(files)

    @contextmanager
    def stream(self, file: RemoteFile, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Yield the position at which the answer begins (``start`` or 0), and its blocks.

        Raises HubError for a refusal, the library's HTTPError where the connection breaks.
        """
        from huggingface_hub import constants, hf_hub_url
        from huggingface_hub.utils import hf_raise_for_status, http_stream_backoff

        url = hf_hub_url(
            self.id,
            file.path,
            repo_type=self.kind,
            revision=self.commit,
            endpoint=self.api.endpoint,
        )
        headers = _headers(self.api) | {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with http_stream_backoff(
            "GET",
            url,
            headers=headers,
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
            retry_on_exceptions=(),  # also of the block below, where a connection is made anew
        ) as answer:
            hf_raise_for_status(answer)
            begins = start if answer.status_code == 206 else 0
            yield begins, answer.iter_bytes()  # as they come: a break then loses little


def require_id(repo_id: str) -> None:
    """Raise HubError unless the text can name a repository."""
    if not _ID.fullmatch(repo_id):
        raise HubError(f"{repo_id!r} names no repository of the hub; expected OWNER/NAME")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library from writing to standard error: what matters is raised or shown by us."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
        logging,
    )

    bars, verbosity = not are_progress_bars_disabled(), logging.get_verbosity()
    disable_progress_bars()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            enable_progress_bars()


def _headers(api: HfApi) -> dict[str, Any]:
    from huggingface_hub.utils import build_hf_headers

    version = climlink_version()
    return build_hf_headers(token=api.token, library_name="climlink", library_version=version)


def _get(api: HfApi, url: str, params: dict[str, Any] | None = None) -> Any:
    """Return the answer to a question, asked again while the hub is busy.

    Not by the library's own functions: they wait for a silent network without end.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import hf_raise_for_status, http_backoff

    timeout_s = constants.HF_HUB_DOWNLOAD_TIMEOUT
    answer = http_backoff("GET", url, params=params, headers=_headers(api), timeout=timeout_s)
    hf_raise_for_status(answer)
    return answer


def _remote_file(entry: dict[str, Any]) -> RemoteFile:
    large = entry.get("lfs")
    checksum = Checksum("sha256", large["oid"]) if large else Checksum("git-sha1", entry["oid"])
    return RemoteFile(_safe(entry["path"]), int(entry["size"]), checksum)


def _safe(path: str) -> str:
    """Return a path of the hub's listing; ValueError for one that would lead out of a folder."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or {"..", "."} & set(path.split("/")) or "\0" in path:
        raise ValueError(f"the listing has the path {path!r}, which leads out of its folder")
    return path
