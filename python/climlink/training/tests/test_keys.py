"""docs/training-keys.md: what the models say, and all of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from climlink.architectures.registry import every_architecture
from climlink.cli.main import app
from climlink.training.composition import load_training
from climlink.training.config import TrainingConfig
from climlink.training.keys import every_key
from climlink.training.matrix_config import MatrixConfig

_PAGE = Path(__file__).parents[4] / "docs" / "training-keys.md"


def _printed(*arguments: str) -> str:
    return CliRunner().invoke(app, ["configs", *arguments, "--keys"]).output


def test_the_committed_page_is_what_the_command_prints() -> None:
    page = _PAGE.read_text(encoding="utf-8")
    (command,) = re.findall(r"`climlink configs (\w+) --keys > docs/training-keys.md`", page)
    assert _printed(command) == page, "make it again with the command that it names"
    assert "--keys goes with training" in " ".join(_printed("cases").split())


def test_every_key_of_a_run_stands_on_the_page() -> None:
    known = {key.dotted for key in every_key(TrainingConfig)}
    page = _PAGE.read_text(encoding="utf-8")
    for name in ("unet_small", "mlp"):
        for key, value in load_training(name).model_dump().items():
            inside = value if isinstance(value, dict) and key in _nested() else {}
            for dotted in [key, *(f"{key}.{k}" for k in inside)]:
                assert dotted in known
                assert f"| `{dotted}` |" in page


def _nested() -> set[str]:
    fields = TrainingConfig.model_fields.items()
    return {k for k, f in fields if isinstance(f.annotation, type)
            if issubclass(f.annotation, BaseModel)}  # fmt: skip


def test_every_network_stands_on_the_page_with_its_presets() -> None:
    page = _PAGE.read_text(encoding="utf-8")
    built_in = [a for a in every_architecture()[0] if a.origin.kind == "built_in"]
    assert len(built_in) >= 3
    for architecture in built_in:
        presets = ", ".join(f"`{p}`" for p in architecture.configuration.presets)
        assert f"## `{architecture.name}`: {presets}\n" in page


@pytest.mark.parametrize("model", [TrainingConfig, MatrixConfig])
def test_every_key_says_what_it_is_for(model: type[BaseModel]) -> None:
    """By a description of its own, that of its model, or by the keys in it."""
    for key in every_key(model):
        of_model = f"``{key.keys[-1]}``" in (key.model.__doc__ or "")
        assert key.meaning or of_model or key.models, key.dotted


def test_values_and_defaults_are_told() -> None:
    by_name = {key.dotted: key for key in every_key(MatrixConfig)}
    told = {name: (key.values, key.default) for name, key in by_name.items()}
    assert told["config"] == ("text or null", "null")
    assert told["folder"] == ("path", '"runs"')
    assert told["blocks"] == ("list of mapping", "required")
    assert told["slurm.minutes"] == ("integer ≥ 1", "720")
    assert told["slurm.memory_gib"] == ("integer ≥ 1 or null", "null")
    assert told["exceptions.N.when"] == ("mapping of text to any value", "required")
