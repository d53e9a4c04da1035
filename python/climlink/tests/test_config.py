"""The strict YAML loader: what it reads, and what its refusals say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from climlink.config import ConfigError, StrictModel, load_config, parse_config


class Optimizer(StrictModel):
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: float = 0.0


class Training(StrictModel):
    epochs: int
    optimizer: Optimizer = Optimizer()
    stages: tuple[Optimizer, ...] = ()
    start: str = ""


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, Training, origin="run.yaml")
    return str(caught.value)


def test_reads_exponents_as_numbers_and_dates_as_text() -> None:
    config = parse_config("epochs: 3\nstart: 0008-01-14\noptimizer: {learning_rate: 1e-4, weight_decay: 2.}\n", Training, "run.yaml")
    assert config.optimizer.learning_rate == 1e-4
    assert config.optimizer.weight_decay == 2.0
    assert config.start == "0008-01-14"


def test_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("epochs: 12\n")
    assert load_config(path, Training).epochs == 12


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: the configuration cannot be read: No such file"):
        load_config(tmp_path / "absent.yaml", Training)


def test_unknown_key_names_file_line_path_and_near_key() -> None:
    message = refusal("epochs: 3\noptimizer:\n  learning_rat: 0.1\n")
    assert message.startswith("run.yaml, line 3: optimizer.learning_rat: unknown key; did you mean 'learning_rate'")
    assert "weight_decay" in message


def test_unknown_key_inside_a_list() -> None:
    message = refusal("epochs: 3\nstages:\n  - learning_rate: 0.1\n  - weight_decy: 0.1\n")
    assert "line 4: stages[1].weight_decy: unknown key; did you mean 'weight_decay'" in message


def test_wrong_value_says_expected_and_got() -> None:
    message = refusal("epochs: three\n")
    assert "run.yaml, line 1: epochs:" in message
    assert "valid integer" in message
    assert "'three'" in message


def test_missing_key_is_named() -> None:
    assert "epochs: this key is required" in refusal("start: x\n")


def test_every_problem_is_listed() -> None:
    message = refusal("epochs: 1\noptimizer: {learning_rate: -1}\nunheard: 2\n")
    assert "optimizer.learning_rate" in message
    assert "unheard" in message


def test_duplicate_key_is_refused_with_its_line() -> None:
    message = refusal("epochs: 3\nstart: a\nepochs: 4\n")
    assert "'epochs' stands twice" in message
    assert "line 3" in message


def test_broken_yaml_and_empty_file() -> None:
    assert "not valid YAML" in refusal("epochs: [1\n")
    assert "expected a mapping" in refusal("")
    assert "expected a mapping" in refusal("- 1\n")
