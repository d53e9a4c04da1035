"""Packages to a stand-in hub and back: the card, the digest, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.evaluation.summary import OfflineSummary, PackageSummary, write_json
from climlink.hub.card import CardFacts, model_card
from climlink.hub.errors import ChecksumError, HubError
from climlink.hub.publish import fetch_package, publish, require_verified
from climlink.packages.read import PackageError
from climlink.packages.verify import RouteResult, Verification
from climlink.wrappers.manifest import ImportedEntry

if TYPE_CHECKING:
    from climlink.packages.read import EmulatorPackage

FACTS = CardFacts("me/linear", "apache-2.0")
REPOSITORY = "models/me/linear"


@pytest.fixture
def token(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.tokens.add("secret")
    monkeypatch.setenv("HF_TOKEN", "secret")


def _run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [*map(str, arguments)])


def _summary(package: EmulatorPackage, sha256: str | None = None) -> OfflineSummary:
    about = PackageSummary.of(package)
    return OfflineSummary(
        package=about if sha256 is None else about.model_copy(update={"sha256": sha256}),
        store="climsim.zarr",
        store_digest="ab" * 32,
        split="test",
        rows=1234,
        metrics={
            "r2.ptend_t": 0.67891234,
            "rmse.ptend_t": 3e-5,
            "bias.ptend_t": -1.5e-6,
            "r2.cam_out_PRECC": None,
            "leap.score": 0.5,
        },
    )


@pytest.mark.usefixtures("token")
def test_a_package_comes_back_byte_for_byte(
    hub: Any,
    linear_package: EmulatorPackage,
    tmp_path: Path,
) -> None:
    command = ("publish", linear_package.path, "me/linear", "--license", "apache-2.0")
    result = _run(*command, "--unverified")
    assert result.exit_code == 0, result.output
    assert hub.repositories[REPOSITORY].private
    content = linear_package.path.read_bytes()
    files = hub.files(REPOSITORY)
    assert files.keys() == {"README.md", "climlink.json", "wrap_model.pt"}
    assert files["wrap_model.pt"] == content
    about = json.loads(files["climlink.json"])
    assert (about["sha256"], about["package"]) == (linear_package.digest, "wrap_model.pt")

    pinned = re.search(r"climlink (fetch \S+ --sha256 [0-9a-f]{64})", result.output)
    assert pinned is not None
    out = tmp_path / "new" / "model.pt"
    result = _run(*pinned[1].split(), "-o", out)
    assert result.exit_code == 0, result.output
    assert out.read_bytes() == content
    assert [p.name for p in out.parent.iterdir()] == ["model.pt"]
    again = fetch_package("hf://me/linear", out)  # already here
    assert again.digest == linear_package.digest
    assert len(hub.asked("/cdn/")) == 1


@pytest.mark.long
@pytest.mark.usefixtures("token")
def test_a_package_is_verified_and_published(hub: Any, linear_package: EmulatorPackage) -> None:
    result = _run("publish", linear_package.path, "me/linear", "--license", "apache-2.0")
    assert result.exit_code == 0, result.output
    assert hub.files(REPOSITORY)["wrap_model.pt"] == linear_package.path.read_bytes()


@pytest.mark.usefixtures("token")
def test_who_may_see_it_is_never_changed_by_the_way(
    hub: Any,
    linear_package: EmulatorPackage,
) -> None:
    hub.add(REPOSITORY, {})
    with pytest.raises(HubError, match=r"exists and is public, wanted is private.*say --public"):
        publish(linear_package, FACTS)
    assert not hub.asked("batch", "POST")
    done = publish(linear_package, FACTS, public=True)
    assert (done.private, done.commit) == (False, hub.repositories[REPOSITORY].main)
    hub.repositories[REPOSITORY].private = True
    with pytest.raises(HubError, match="exists and is private, wanted is public"):
        publish(linear_package, FACTS, public=True)


def test_publishing_needs_a_token(hub: Any, linear_package: EmulatorPackage) -> None:
    with pytest.raises(HubError, match=r"refused .status 401..*log in with `hf auth login`"):
        publish(linear_package, FACTS)
    assert not hub.repositories


@pytest.mark.usefixtures("token")
def test_what_fails_while_it_is_uploaded_is_told(
    hub: Any,
    linear_package: EmulatorPackage,
    waits: list[float],
) -> None:
    hub.refuse("/upload/", 403)
    with pytest.raises(HubError, match=r"publishing to me/linear: .*refused .status 403."):
        publish(linear_package, FACTS)
    hub.faults.clear()
    hub.refuse("/commit/", 500)
    with pytest.raises(HubError, match="failed with status 500"):
        publish(linear_package, FACTS)
    hub.faults.clear()
    with pytest.raises(HubError, match=r"Invalid metadata in README.md.*\n.*license"):
        publish(linear_package, CardFacts("me/linear", "beerware-42"))
    assert not hub.repositories[REPOSITORY].commits


@pytest.mark.usefixtures("token")
def test_what_the_hub_holds_afterwards_is_compared(
    hub: Any,
    linear_package: EmulatorPackage,
) -> None:
    def swap(handler: Any) -> bool:
        if "/commit/" in handler.path:
            hub.objects[linear_package.digest] = b"another file"
        return False

    hub.faults.append(swap)
    with pytest.raises(ChecksumError, match=f"stated is SHA-256 {linear_package.digest}"):
        publish(linear_package, FACTS)


def test_a_package_that_does_not_verify_is_not_published(
    hub: Any, linear_package: EmulatorPackage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    routes = (
        RouteResult("python_eager", {"ptend_t": 1e-9}, 1e-6),
        RouteResult("pybind", {"ptend_t": 0.25}, 1e-6),
        RouteResult("c", {}, 1e-6, error="no such route"),
        RouteResult("fortran_mpi", {}, 1e-6, missing="built without Fortran"),
    )
    found = Verification("x", routes, {})
    monkeypatch.setattr("climlink.packages.verify.verify", lambda *a, **k: found)
    told = r"pybind: differs by 2\.5e-01, tolerance 1\.0e-06; c: no such route\. .*--unverified"
    with pytest.raises(HubError, match=told):
        require_verified(linear_package)
    command = ("publish", linear_package.path, "me/linear", "--license", "apache-2.0")
    assert _run(*command).exit_code == 1
    assert not hub.requests
    assert _run(*command, "--dry-run", "--unverified").exit_code == 0
    unequal = Verification("x", routes[:1], {"pybind": 0, "c": 3})
    monkeypatch.setattr("climlink.packages.verify.verify", lambda *a, **k: unequal)
    with pytest.raises(HubError, match="differ in bits"):
        require_verified(linear_package)


def test_dry_run_shows_the_card_or_writes_all_of_it(
    hub: Any,
    linear_package: EmulatorPackage,
    tmp_path: Path,
) -> None:
    command = ("publish", linear_package.path, "me/linear", "--license", "cc-by-4.0", "--dry-run")
    shown = _run(*command, "--unverified")
    assert shown.exit_code == 0, shown.output
    written = _run(*command, "--unverified", "-o", tmp_path / "all")
    assert written.exit_code == 0, written.output
    files = {p.name: p.read_bytes() for p in (tmp_path / "all").iterdir()}
    assert files.keys() == {"README.md", "climlink.json", "wrap_model.pt"}
    assert files["README.md"].decode() == shown.stdout
    assert files["wrap_model.pt"] == linear_package.path.read_bytes()
    assert not hub.requests
    assert _run(*command[:-1], "--unverified", "-o", tmp_path).exit_code == 2


def test_the_card_says_what_the_manifest_says(linear_package: EmulatorPackage) -> None:
    ranges = {"state_t": [[180.0, 210.5] * 30, [250.0, 312.25] * 30]}
    m = linear_package.manifest.model_copy(update={"training_ranges": ranges})
    card = model_card(replace(linear_package, manifest=m), FACTS)
    _, metadata, text = card.split("---\n", 2)
    assert yaml.safe_load(metadata) == {
        "license": "apache-2.0",
        "library_name": "climlink",
        "tags": ["climlink", "climate", "emulator", "parameterization", "torchscript"],
    }
    assert m.architecture is not None
    for line in (
        "# linear\\_host\\_v2\\_q\n",
        "**A package is code.**",
        "| input row | 557 values, set `host_v2_q` |\n",
        "| dimensions | level 60 |\n",
        "| time step | 1200 s |\n",
        f"| network | `linear`, {m.architecture.trainable_parameters:,} trainable parameters |\n",
        f"| training data | store with digest `{m.provenance.data_digest}` |\n",
        "`positivity`",
        f"| SHA-256 | `{linear_package.digest}` |\n",
        f'Emulator("wrap_model.pt", pinned_sha256="{linear_package.digest}")',
        "climlink fetch me/linear --output wrap_model.pt",
        "None were given. `climlink evaluate offline wrap_model.pt --data STORE` makes them.",
        "| cam\\_out\\_PRECC | m/s |  | 1 | ",
    ):
        assert line in text
    assert "\n| state\\_t | K | level | 60 | air temperature | 180 to 312.2 |\n" in text
    assert "\n| state\\_u | m/s | level | 60 | " in text
    states = [v for v in m.inputs.variables if v.name.startswith("state_")]
    assert text.count("\n| state\\_") == len(states)
    # Fortran's lines end at 132 characters, and the digest is one token
    assert max(map(len, re.findall(r"```fortran\n(.*?)```", text, re.S)[0].splitlines())) <= 132


def test_the_code_in_the_card_opens_this_package_and_no_other(
    linear_package: EmulatorPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = model_card(linear_package, FACTS)
    code = re.findall(r"```python\n(.*?)```", card, re.S)[0]
    shutil.copyfile(linear_package.path, tmp_path / "wrap_model.pt")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"x": linear_package.golden_inputs}
    exec(code, names)
    assert names["y"].shape == linear_package.golden_outputs.shape
    digest = linear_package.digest
    wrong = code.replace(digest, digest[::-1])
    with pytest.raises(RuntimeError, match="SHA-256"):
        exec(wrong, names)


def test_scores_on_the_card_are_those_of_this_package(
    linear_package: EmulatorPackage,
    tmp_path: Path,
) -> None:
    write_json(_summary(linear_package).model_dump(mode="json"), tmp_path / "summary.json")
    command = ("publish", linear_package.path, "me/x", "--license", "cc-by-4.0", "--dry-run")
    options = ("--unverified", "--evaluation", tmp_path)
    result = _run(*command, *options)
    assert result.exit_code == 0, result.output
    assert "on 1234 rows of the split test\nof the store with digest `abab" in result.stdout
    assert "| ptend\\_t | 0.6789 | 3e-05 | -1.5e-06 |\n" in result.stdout
    assert "| cam\\_out\\_PRECC | – | – | – |\n" in result.stdout
    other = _summary(linear_package, sha256="0" * 64).model_dump(mode="json")
    write_json(other, tmp_path / "summary.json")
    result = _run(*command, *options)
    assert result.exit_code == 1
    assert f"scores of the package {'0' * 64}, not of" in str(result.exception)


def test_a_card_of_little_known_says_so(linear_package: EmulatorPackage) -> None:
    m = linear_package.manifest
    odd = {"name": "a|b", "units": "<b>K</b>", "long_name": "x\n\n# y", "role": "confidence"}
    last = m.outputs.variables[-1].model_copy(update=odd)
    imported = ImportedEntry(
        file="old`.pt",
        sha256="0" * 64,
        parameter_count=1,
        golden_source="synthetic",
        input_copied=False,
        host_postprocessing="none",
        findings=["mixes | columns"],
    )
    unknown = ("hybrid", "time_step_s", "architecture", "normalization", "constraints")
    changes: dict[str, Any] = dict.fromkeys((*unknown, "pruned_levels")) | {
        "outputs": m.outputs.model_copy(update={"set": "own`|set", "variables": [last]}),
        "provenance": m.provenance.model_copy(update={"data_digest": None, "seed": None}),
        "imported": imported,
    }
    card = model_card(replace(linear_package, manifest=m.model_copy(update=changes)), FACTS)
    assert "\n| a\\|b | \\<b\\>K\\</b\\> |  | 1 | x # y (confidence) |\n" in card
    assert f"| output row | {m.n_output} values, set `own set` |\n" in card
    assert "| imported from | `old .pt` |" in card
    assert "Known is only what the import measured.\n  mixes \\| columns" in card
    assert "What it was trained on is not recorded" in card
    assert "ranges of its training data are not recorded" in card
    for label in ("vertical grid", "time step |", "network |", "| None", "seed", "constraints"):
        assert label not in card
    with pytest.raises(HubError, match="no license identifier"):
        CardFacts("me/x", "All rights: mine")


def _published(hub: Any, package: EmulatorPackage, **changes: Any) -> bytes:
    content = package.path.read_bytes()
    about = {"package": "wrap_model.pt", "sha256": package.digest} | changes
    hub.add(REPOSITORY, {"wrap_model.pt": content, "climlink.json": json.dumps(about).encode()})
    return content


def test_a_package_that_is_not_the_stated_one_is_not_fetched(
    hub: Any,
    linear_package: EmulatorPackage,
    tmp_path: Path,
) -> None:
    out = tmp_path / "wrap_model.pt"
    _published(hub, linear_package, sha256="0" * 64)
    with pytest.raises(ChecksumError, match=f"sha256 {linear_package.digest}, stated is SHA-256 0"):
        fetch_package("me/linear", out)
    _published(hub, linear_package)
    with pytest.raises(ChecksumError, match=f"pinned is {'1' * 64}"):
        fetch_package("me/linear", out, pinned_sha256="1" * 64)
    assert not hub.asked("/cdn/")
    blocks = hub.body
    hub.body = lambda name, start, content: blocks(
        name,
        start,
        content if name == "climlink.json" else bytes(len(content)),
    )
    with pytest.raises(ChecksumError, match="twice came"):
        fetch_package("me/linear", out)
    assert list(tmp_path.iterdir()) == [tmp_path / "hf"] or not list(tmp_path.glob("*wrap*"))


def test_what_is_no_published_package_is_not_fetched(
    hub: Any,
    linear_package: EmulatorPackage,
    tmp_path: Path,
) -> None:
    out = tmp_path / "wrap_model.pt"
    hub.add(REPOSITORY, {"model.pt": b"x"})
    with pytest.raises(HubError, match=r"has no climlink\.json: expected what `climlink publish`"):
        fetch_package("me/linear", out)
    for content, message in (
        (b"no JSON", "Expecting value"),
        (b"[]", "expected an object, found list"),
        (b'{"package": "wrap_model.pt", "sha256": "abc"}', "states no SHA-256: 'abc'"),
        (b'{"package": "../x.pt", "sha256": "abc"}', r"has no \.\./x\.pt"),
        (b" " * 70_000, "has 70000 bytes, which is too long"),
    ):
        hub.add(REPOSITORY, {"wrap_model.pt": b"x", "climlink.json": content})
        with pytest.raises(HubError, match=message):
            fetch_package("me/linear", out)
    fake = b"not a zip" * 100
    digest = hashlib.sha256(fake).hexdigest()
    about = {"package": "wrap_model.pt", "sha256": digest}
    hub.add(REPOSITORY, {"wrap_model.pt": fake, "climlink.json": json.dumps(about).encode()})
    with pytest.raises(PackageError):
        fetch_package("me/linear", out)
    assert not list(tmp_path.glob("*wrap*"))
    assert not list(tmp_path.glob(".*"))


def test_a_file_in_its_place_is_kept_unless_it_may_go(
    hub: Any,
    linear_package: EmulatorPackage,
    tmp_path: Path,
) -> None:
    content = _published(hub, linear_package)
    out = tmp_path / "wrap_model.pt"
    out.write_bytes(b"mine")
    with pytest.raises(HubError, match=r"there is another file .*replace it with --overwrite"):
        fetch_package("me/linear", out)
    assert out.read_bytes() == b"mine"
    assert _run("fetch", "me/linear", "-o", out, "--overwrite").exit_code == 0
    assert out.read_bytes() == content


def test_an_old_revision_is_fetched_by_its_name(
    hub: Any,
    linear_package: EmulatorPackage,
    tmp_path: Path,
) -> None:
    _published(hub, linear_package)
    old = hub.repositories[REPOSITORY].main
    hub.add(REPOSITORY, {"README.md": b"withdrawn"})
    package = fetch_package(f"hf://me/linear@{old}", tmp_path / "old.pt")
    assert package.digest == linear_package.digest
    with pytest.raises(HubError, match=r"has no climlink\.json"):
        fetch_package("me/linear", tmp_path / "new.pt")
    with pytest.raises(HubError, match="no such revision"):
        fetch_package("me/linear@v9", tmp_path / "none.pt")
