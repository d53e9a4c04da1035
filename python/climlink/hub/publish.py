"""Packages to the hub with a model card, and back with their digest checked."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climlink.data.files import (
    make_folder,
    read_json,
    refusals,
    replacing,
    require_writable,
    sha256_file,
)
from climlink.hub.card import CARD_FILE, PACKAGE_FILE, CardFacts, model_card
from climlink.hub.errors import ChecksumError, HubError, told
from climlink.hub.repository import RemoteFile, Repository, quiet, require_id
from climlink.hub.transfer import Report, fetch_file, fetch_files

if TYPE_CHECKING:
    from climlink.packages.read import EmulatorPackage

METADATA_FILE = "climlink.json"
"""Beside the package in its repository: its file name and its SHA-256."""

_METADATA_BYTES = 1 << 16
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Published:
    """Where a package is on the hub."""

    repo_id: str
    commit: str
    url: str
    private: bool


def require_verified(
    package: EmulatorPackage,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Raise HubError unless the package passes `climlink verify` here."""
    from climlink.packages.verify import verify

    result = verify(package, progress=progress)
    if result.passed:
        return
    failed = [
        f"{r.route}: {r.error or f'differs by {r.max_difference:.1e}, tolerance {r.tolerance:.1e}'}"
        for r in result.routes
        if r.passed is False
    ] or ["the Runtime's routes differ in bits"]
    raise HubError(
        f"{package.path} does not pass `climlink verify`: {'; '.join(failed)}. Mend it, or publish "
        "it as it is with --unverified (its users will see the same)"
    )


def package_files(package: EmulatorPackage, facts: CardFacts) -> dict[str, bytes | Path]:
    """Return what a repository gets, by name: card, metadata, and the package itself."""
    manifest = package.manifest
    about = {
        "package": PACKAGE_FILE,
        "sha256": package.digest,
        "name": manifest.name,
        "schema_version": manifest.schema_version,
        "climlink_version": manifest.provenance.climlink_version,
    }
    return {
        CARD_FILE: model_card(package, facts).encode(),
        METADATA_FILE: (json.dumps(about, indent=1) + "\n").encode(),
        PACKAGE_FILE: package.path,
    }


def write_folder(files: dict[str, bytes | Path], folder: Path) -> None:
    """Write what would be published into a folder."""
    make_folder(folder)
    for name, content in files.items():
        with replacing(folder / name) as beside:
            if isinstance(content, Path):
                shutil.copyfile(content, beside)
            else:
                beside.write_bytes(content)


def publish(package: EmulatorPackage, facts: CardFacts, *, public: bool = False) -> Published:
    """Put a package with its card into a repository, made where it is missing, in one commit.

    Raises HubError where the hub refuses, the repository is private and should be public or the
    reverse, or the hub holds another file afterwards.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    require_id(facts.repo_id)
    files = package_files(package, facts)
    api = HfApi(library_name="climlink")
    with quiet(), told(f"publishing to {facts.repo_id}", api.endpoint):
        url = api.create_repo(facts.repo_id, private=not public, exist_ok=True)
        _require_visibility(Repository.open(facts.repo_id, "model"), public)
        with package.path.open("rb") as stream:  # a stream goes by HTTP, as the tests try it
            contents = {n: stream if isinstance(c, Path) else c for n, c in files.items()}
            operations = [CommitOperationAdd(n, c) for n, c in contents.items()]
            message = f"{package.manifest.name}, SHA-256 {package.digest[:16]}"
            done = api.create_commit(facts.repo_id, operations, commit_message=message)
        there = Repository.open(facts.repo_id, "model", done.oid)
        _require_digest(_listed(there, PACKAGE_FILE), package.digest, there)
    return Published(facts.repo_id, there.commit, str(url), there.private)


def fetch_package(
    reference: str,
    output: Path,
    *,
    pinned_sha256: str | None = None,
    overwrite: bool = False,
    progress: Report | None = None,
) -> EmulatorPackage:
    """Return the published package ``OWNER/NAME[@REVISION]`` (also with hf://) as a file.

    Its SHA-256 must be the one that its repository states and, where given, the pinned one, and
    it must read as a package, before it gets its name. A file that is there already is kept;
    another one in its place is refused unless ``overwrite``. Raises HubError, PackageError,
    FileError.
    """
    from climlink.packages.read import EmulatorPackage

    require_writable(output)
    repo_id, _, revision = reference.removeprefix("hf://").partition("@")
    with quiet():
        repository = Repository.open(repo_id, "model", revision or None)
        file = _stated(repository)
        digest = file.checksum.digest
        if pinned_sha256 is not None and digest != pinned_sha256.lower():
            raise ChecksumError(
                f"{repository} has a package with SHA-256 {digest}, pinned is {pinned_sha256}: "
                "it is not the package that was tested; give the revision with @REVISION"
            )
        if _is_here(output, digest, overwrite):
            return EmulatorPackage.read(output, pinned_sha256)
        fetch_files(
            repository,
            {file: output},
            workers=1,
            progress=progress,
            accept=EmulatorPackage.read,
        )
    return EmulatorPackage.read(output, digest)


def _is_here(output: Path, digest: str, overwrite: bool) -> bool:
    """Say whether the file is there; HubError if another one is."""
    with refusals(output):
        if not output.exists():
            return False
        found = sha256_file(output)
    if found != digest and not overwrite:
        raise HubError(
            f"{output}: there is another file (SHA-256 {found}, to come is {digest}); name another "
            "place with --output, or replace it with --overwrite"
        )
    return found == digest


def _stated(repository: Repository) -> RemoteFile:
    """Return the package of a repository; ChecksumError if it is not the one its metadata state."""
    about = _metadata(repository)
    file = _listed(repository, str(about.get("package")))
    stated = str(about.get("sha256"))
    if not _SHA256.fullmatch(stated):
        raise HubError(f"{METADATA_FILE} of {repository} states no SHA-256: {stated!r}")
    _require_digest(file, stated, repository)
    return file


def _metadata(repository: Repository) -> dict[str, Any]:
    """Return what climlink.json says, of a file small enough to be one and of its checksum."""
    file = _listed(repository, METADATA_FILE)
    if file.size > _METADATA_BYTES:
        raise HubError(f"{METADATA_FILE} of {repository} has {file.size} bytes, which is too long")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / METADATA_FILE
        fetch_file(repository, file, path)
        try:
            return read_json(path)
        except ValueError as error:
            raise HubError(f"{METADATA_FILE} of {repository}: {error}") from error


def _listed(repository: Repository, name: str) -> RemoteFile:
    found = [f for f in repository.list_folder()[1] if f.path == name]
    if not found:
        raise HubError(
            f"{repository} has no {name}: expected what `climlink publish` makes; a TorchScript "
            "file of another origin becomes a package with `climlink import`"
        )
    return found[0]


def _require_digest(file: RemoteFile, digest: str, repository: Repository) -> None:
    if (file.checksum.algorithm, file.checksum.digest) != ("sha256", digest):
        raise ChecksumError(
            f"{file.path} of {repository}: the hub holds a file with {file.checksum.algorithm} "
            f"{file.checksum.digest}, stated is SHA-256 {digest}: do not use it"
        )


def _require_visibility(repository: Repository, public: bool) -> None:
    if repository.private == public:
        now, wanted = ("private", "public") if public else ("public", "private")
        hint = "" if public else ", or say --public"
        raise HubError(
            f"{repository.id} exists and is {now}, wanted is {wanted}. Nothing was uploaded: "
            f"change that in its settings on the hub{hint}, or name another repository"
        )
