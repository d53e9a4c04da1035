"""Architectures of one's own: registered, from a file, from an installed project; clashes and
faults are named.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import climlink
from climlink.architectures import (
    ArchitectureConfiguration,
    ArchitectureError,
    ColumnEmulator,
    ColumnShape,
    build,
    find,
    registry,
)
from climlink.architectures.linear import Linear, LinearConfiguration
from climlink.architectures.mlp import MLP, MLPConfiguration
from climlink.cli.main import app

SHAPE = ColumnShape(
    profile_inputs=2, scalar_inputs=1, profile_outputs=1, scalar_outputs=1, level_count=3
)
NETWORK = """
from climlink import register_architecture
from climlink.architectures.linear import Linear, LinearConfiguration

@register_architecture("NAME", configuration=LinearConfiguration)
class Own(Linear):
    \"\"\"A network of NAME.\"\"\"
"""


@pytest.fixture(autouse=True)
def _empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {})
    monkeypatch.setattr(registry, "_FILES", {})


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function (project, architecture, source) that installs a project of one module; the
    module's path is returned.
    """
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def make(project: str, architecture: str, source: str) -> Path:
        module = project.replace("-", "_")
        (site / f"{module}.py").write_text(source, encoding="utf-8")
        record = site / f"{module}-2.1.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project}\nVersion: 2.1\n", encoding="utf-8"
        )
        (record / "entry_points.txt").write_text(
            f"[climlink.architectures]\n{architecture} = {module}\n", encoding="utf-8"
        )
        monkeypatch.delitem(sys.modules, module, raising=False)
        return site / f"{module}.py"

    return make


def _own(name: str) -> str:
    return NETWORK.replace("NAME", name)


def test_a_class_is_registered_by_call_and_by_decorator() -> None:
    class Called(Linear):
        pass

    assert climlink.register_architecture("called", Called, LinearConfiguration) is Called

    @climlink.register_architecture("plain")
    class Plain(ColumnEmulator):
        def __init__(self, shape: ColumnShape, configuration: ArchitectureConfiguration) -> None:
            super().__init__(shape)

    assert isinstance(build("called", {}, SHAPE), Called)
    assert isinstance(build("plain", {}, SHAPE), Plain)
    with pytest.raises(ArchitectureError, match="'plain': unknown key 'width'"):
        build("plain", {"width": 3}, SHAPE)


def test_a_name_that_is_taken_is_refused_naming_both() -> None:
    with pytest.raises(
        ArchitectureError,
        match=r"two architectures are named 'unet': UNet of climlink itself and Linear of module",
    ):
        climlink.register_architecture("unet", Linear, LinearConfiguration)
    climlink.register_architecture("mine", Linear, LinearConfiguration)
    climlink.register_architecture("mine", Linear, LinearConfiguration)
    with pytest.raises(
        ArchitectureError,
        match=r"two architectures are named 'mine': Linear of module .*linear.Linear and MLP of",
    ):
        climlink.register_architecture("mine", MLP, MLPConfiguration)
    assert find("mine").network is Linear


@pytest.mark.parametrize(
    ("name", "network", "configuration", "message"),
    [
        ("a b", Linear, LinearConfiguration, "'a b': a name is letters"),
        (
            "mine",
            torch.nn.Linear,
            LinearConfiguration,
            "its network must be a subclass of ColumnEmulator or RowNetwork, got .*Linear",
        ),
        (
            "mine",
            lambda shape, c: Linear(shape, c),
            LinearConfiguration,
            "its network must be a subclass",
        ),
        ("mine", Linear, dict, "its configuration must be a subclass of ArchitectureConfiguration"),
    ],
)
def test_what_is_no_architecture_is_refused(
    name: str, network: object, configuration: object, message: str
) -> None:
    with pytest.raises(ArchitectureError, match=message):
        climlink.register_architecture(name, network, configuration)  # type: ignore[call-overload]


def test_an_installed_project_is_loaded_only_when_its_name_is_asked_for(
    install: Callable[..., Path],
) -> None:
    install("own-networks", "mine", _own("mine"))
    assert "mine" in registry.known_names()
    build("linear", {}, SHAPE)
    assert "own_networks" not in sys.modules
    assert type(build("mine", {}, SHAPE)).__module__ == "own_networks"
    assert (find("mine").origin.kind, find("mine").origin.where) == (
        "plug_in",
        "own-networks 2.1 (own_networks)",
    )
    with pytest.raises(ArchitectureError, match="unknown architecture 'mini'; did you mean 'mine'"):
        find("mini")


def test_a_project_whose_module_was_imported_before_is_found(install: Callable[..., Path]) -> None:
    install("own-networks", "mine", _own("mine"))
    __import__("own_networks")
    assert find("mine").network.__name__ == "Own"


def test_two_projects_of_one_name_are_refused_naming_both(install: Callable[..., Path]) -> None:
    install("first-networks", "mine", _own("mine"))
    install("second-networks", "mine", _own("mine"))
    with pytest.raises(
        ArchitectureError,
        match=r"named 'mine', of .*first-networks 2.1 .*second-networks 2.1 .*uninstall one",
    ):
        find("mine")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "import nothing_of_this_name\n",
            r"ModuleNotFoundError: No module named 'nothing_of_this_name' \(.*broken_networks.py, "
            r"line 1\)",
        ),
        (
            _own("mine") + "\nraise SystemExit(3)\n",
            r"SystemExit: 3 \(.*broken_networks.py, line 9\)",
        ),
        ("def broken(:\n", r"SyntaxError: .*broken_networks.py, line 1\)"),
        (_own("other"), "registered no architecture 'mine' \\(but other\\)"),
        (
            _own("mlp"),
            "two architectures are named 'mlp': MLP of climlink itself and Own of plug-in "
            "broken-networks 2.1",
        ),
    ],
)
def test_a_broken_project_is_named_and_breaks_no_other(
    install: Callable[..., Path], source: str, message: str
) -> None:
    install("broken-networks", "mine", source)
    install("good-networks", "good", _own("good"))
    for _ in range(2):  # what a failed import leaves behind does not count
        with pytest.raises(ArchitectureError, match=message) as caught:
            find("mine")
        assert "broken-networks 2.1" in str(caught.value)
    found, problems = registry.every_architecture()
    assert {"linear", "mlp", "unet", "good"} <= {a.name for a in found}
    assert list(problems) == ["mine"]


def test_a_project_that_takes_a_built_in_name_is_told_and_not_used(
    install: Callable[..., Path],
) -> None:
    install("own-networks", "unet", _own("unet"))
    _, problems = registry.every_architecture()
    assert (
        "named 'unet': climlink's own, which is used, and that of own-networks 2.1"
        in problems["unet"]
    )
    assert find("unet").origin.kind == "built_in"


def test_the_command_line_lists_architectures(install: Callable[..., Path]) -> None:
    install("good-networks", "good", _own("good"))
    install("broken-networks", "bad", "raise RuntimeError('[bold] out of order')\n")
    listed = json.loads(CliRunner().invoke(app, ["configs", "architectures", "--json"]).output)[
        "architectures"
    ]
    assert listed["good"] == {
        "purpose": "A network of good",
        "origin": "plug-in good-networks 2.1 (good_networks)",
    }
    assert "RuntimeError: [bold] out of order" in listed["bad"]["problem"]
    assert listed["linear"]["origin"] == "climlink itself"
    shown = CliRunner().invoke(app, ["configs"]).output
    assert "good" in shown
    assert "[bold] out of order" in " ".join(shown.replace("│", " ").split())
    assert "good" in CliRunner().invoke(app, ["train", "--help"]).output
    one = CliRunner().invoke(app, ["configs", "architectures", "mlp"]).output
    assert "    # hidden: width of each hidden layer\n" in one


def test_files_are_namespaces_of_their_own(tmp_path: Path) -> None:
    first, second = tmp_path / "a.py", tmp_path / "b.py"
    first.write_text(_own("mine"), encoding="utf-8")
    second.write_text(
        _own("mine").replace("Own", "Other") + "\n" + _own("more").replace("Own", "More"),
        encoding="utf-8",
    )
    assert find("mine", first).network.__name__ == "Own"
    assert find("mine", second).network.__name__ == "Other"
    assert find("more", second).network.__name__ == "More"
    assert find("mine", first).origin.where == str(first)
    assert "mine" not in registry.known_names()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "a.py",
        "b.py",
    ]  # nothing compiled is left beside them
    with pytest.raises(
        ArchitectureError,
        match=r"a.py registers no architecture 'mien'; did you mean 'mine'\?; it registers mine",
    ):
        find("mien", first)
    first.write_text(_own("changed"), encoding="utf-8")
    assert find("changed", first).name == "changed"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "nets.py: the file of architecture 'mine' cannot be read: No such file"),
        (
            "x = 1\n1/0\n",
            r"nets.py cannot be loaded: ZeroDivisionError: division by zero \(.*nets.py, line 2\)",
        ),
        ("x = (\n", r"nets.py cannot be loaded: SyntaxError: .* \(.*nets.py, line 1\)"),
        ("\0", "nets.py cannot be loaded: (SyntaxError|ValueError)"),
        (_own("unet"), "nets.py cannot be loaded: two architectures are named 'unet'"),
    ],
)
def test_a_file_that_does_not_fit_is_named(
    tmp_path: Path, source: str | None, message: str
) -> None:
    if source is not None:
        (tmp_path / "nets.py").write_text(source, encoding="utf-8")
    with pytest.raises(ArchitectureError, match=message):
        find("mine", tmp_path / "nets.py")


def test_a_network_that_cannot_be_built_is_told_with_its_line(tmp_path: Path) -> None:
    source = (
        _own("mine") + "    def __init__(self, shape, configuration):\n        self.a = undefined\n"
    )
    (tmp_path / "nets.py").write_text(source, encoding="utf-8")
    with pytest.raises(
        ArchitectureError,
        match=r"'mine' of file .*nets.py cannot be built: NameError: .*'undefined'.*nets.py, line "
        r"9\)",
    ):
        find("mine", tmp_path / "nets.py").build({}, SHAPE)
