"""The strict YAML loader: what it reads, and what its refusals say."""

from __future__ import annotations

import os
import threading
import tracemalloc
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from climlink.config import ConfigError, StrictModel, load_config, parse_config
from climlink.data.store import StoreConfig
from climlink.online.aquaplanet import AquaplanetConfig
from climlink.online.replay import ReplayConfig
from climlink.wrappers.strict_yaml import MAX_DEPTH, MAX_REPEATED


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
    config = parse_config(
        "epochs: 3\nstart: 0008-01-14\noptimizer: {learning_rate: 1e-4, weight_decay: 2.}\n",
        Training,
        "run.yaml",
    )
    assert config.optimizer.learning_rate == 1e-4
    assert config.optimizer.weight_decay == 2.0
    assert config.start == "0008-01-14"


def test_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("epochs: 12\n")
    assert load_config(path, Training).epochs == 12


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"absent\.yaml: the configuration cannot be read: No such file"
    ):
        load_config(tmp_path / "absent.yaml", Training)


def test_unknown_key_names_file_line_path_and_near_key() -> None:
    message = refusal("epochs: 3\noptimizer:\n  learning_rat: 0.1\n")
    assert message.startswith(
        "run.yaml, line 3: optimizer.learning_rat: unknown key; did you mean 'learning_rate'"
    )
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


def bomb(levels: int, width: int, first: str, repeat: str) -> str:
    """Return a document whose aliases stand for width ** levels values; ``repeat`` is how a level
    holds the one before.
    """
    lines = [f"x0: &x0 {first}"]
    lines += [
        f"x{n}: &x{n} {repeat.format(','.join([f'*x{n - 1}'] * width))}" for n in range(1, levels)
    ]
    return "\n".join(lines) + "\n"


STRANGE = {
    "list as key": ("epochs: 1\n? [1, 2]\n: 3\n", 2, "a key must be a name or a number"),
    "mapping as key": ("? {a: 1}\n: 3\n", 1, "a key must be a name or a number"),
    "key of a set": ("epochs: !!set {[1]: 1}\n", 1, "a key must be a name or a number"),
    "word as integer": ("start: a\nepochs: !!int abc\n", 2, "'abc' is not of type int"),
    "nothing as integer": ("epochs: !!int ''\n", 1, "'' is not of type int"),
    "word as float": ("epochs: !!float abc\n", 1, "'abc' is not of type float"),
    "word as truth": ("epochs: !!bool abc\n", 1, "'abc' is not of type bool"),
    "word as time": ("epochs: !!timestamp abc\n", 1, "'abc' is not of type timestamp"),
    "5,000 digits": (f"epochs: {'9' * 5000}\n", 1, "a number of 5000 characters"),
    "5,000 hexadecimal digits": (f"epochs: 0x{'f' * 5000}\n", 1, "a number of 5002 characters"),
    "more than 64 bits": ("epochs: 9223372036854775808\n", 1, "does not fit 64 bits"),
    "smaller than a normal number": (
        "optimizer:\n  weight_decay: 1.0e-320\n",
        2,
        "too small for 64 bits",
    ),
    "smaller than any number": ("epochs: 1e-400\n", 1, "too small for 64 bits"),
    "5,000 deep": (f"epochs: {'[' * 5000}\n", 1, "nested more than 64 levels deep"),
    "deep in lines": (
        "".join(f"{' ' * n}a:\n" for n in range(100)),
        64,
        "nested more than 64 levels deep",
    ),
    "deep by aliases": (bomb(100, 1, "[1]", "[{}]"), 63, "nested more than 64 levels deep"),
    "bomb of lists": (
        bomb(9, 9, "[1,1,1,1,1,1,1,1,1]", "[{}]"),
        5,
        "aliases repeat more than 10000 values",
    ),
    "bomb of merges": (
        bomb(9, 9, "{a: 1, b: 2}", "{{<<: [{}]}}"),
        5,
        "aliases repeat more than 10000 values",
    ),
    "list in itself": ("epochs: &me [*me]\n", 1, "stands inside what it names"),
    "unknown alias": ("epochs: *you\n", 1, "undefined alias 'you'"),
    "Python object": (
        "a: 1\nepochs: !!python/object/apply:os.getcwd []\n",
        2,
        "could not determine a constructor",
    ),
    "NUL in text": ('start: "a\\0b"\n', 1, "NUL"),
    "control character": ("epochs: 1\nstart: \x01\n", 2, "not allowed"),
    "two documents": ("epochs: 1\n---\nepochs: 2\n", 2, "single document"),
}


@pytest.mark.parametrize(("text", "line", "problem"), STRANGE.values(), ids=STRANGE)
def test_a_strange_file_is_refused_with_its_line(text: str, line: int, problem: str) -> None:
    message = refusal(text)
    assert message.startswith(f"run.yaml, line {line}: ")
    assert problem in message


@pytest.mark.parametrize("name", ["bomb of lists", "bomb of merges"])
def test_a_bomb_takes_little_memory(name: str) -> None:
    tracemalloc.start()
    try:
        refusal(STRANGE[name][0])
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 16 << 20  # bytes, for what stands for 3e8 values


def test_what_is_just_within_the_bounds_is_read() -> None:
    class Anything(StrictModel):
        x: object = None
        y: object = None

    deep = MAX_DEPTH - 2  # the mapping and the number are levels too
    nested = parse_config(f"x: {'[' * deep}1{']' * deep}", Anything, "run.yaml").x
    for _ in range(deep):
        assert isinstance(nested, list)
        nested = nested[0]
    assert nested == 1
    shared = ",".join("1" * (MAX_REPEATED - 1))  # with the list itself as many as may be repeated
    read = parse_config(f"x: &x [{shared}]\ny: *x\n", Anything, "run.yaml")
    assert read.x == read.y == [1] * (MAX_REPEATED - 1)
    numbers = "{a: 9223372036854775807, b: 2.3e-308, c: 0.0e-999, d: 24:00:00, e: 0x1f}"
    values = {"a": 2**63 - 1, "b": 2.3e-308, "c": 0.0, "d": "24:00:00", "e": 31}
    assert parse_config(f"x: {numbers}", Anything, "run.yaml").x == values
    merged = parse_config("x: &base {a: 1, b: 2}\ny: {<<: *base, b: 3}\n", Anything, "run.yaml")
    assert merged.y == {"a": 1, "b": 3}


def test_a_pipe_is_read_and_an_endless_file_is_not(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(
        target=pipe.write_text, args=("epochs: 5\n",), kwargs={"encoding": "utf-8"}
    )
    writer.start()
    assert load_config(pipe, Training).epochs == 5
    writer.join()
    with pytest.raises(ConfigError, match="/dev/zero: expected a configuration of at most 16 MiB"):
        load_config("/dev/zero", Training)


def test_bytes_that_are_no_utf8_are_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "latin1.yaml"
    path.write_bytes("epochs: 1\nstart: début\n".encode("latin-1"))
    with pytest.raises(
        ConfigError, match=r"latin1\.yaml, line 2: expected UTF-8 text, but byte 18"
    ):
        load_config(path, Training)


@pytest.mark.parametrize("step", ["1e-300", "9e-4", "1.1e9", "0.0", "-1200.0"])
@pytest.mark.parametrize(
    ("model", "rest"),
    [
        (StoreConfig, ""),
        (ReplayConfig, "host: replay\npackage: a.pt\ndata: d\noutput: o\n"),
        (AquaplanetConfig, "host: aquaplanet\ndays: 1\noutput: o\n"),
    ],
)
def test_a_time_step_without_sense_is_refused(
    model: type[StrictModel], rest: str, step: str
) -> None:
    with pytest.raises(ConfigError, match=r"run\.yaml, line \d: time_step_s: "):
        parse_config(f"{rest}time_step_s: {step}\n", model, "run.yaml")
    assert parse_config(f"{rest}time_step_s: 1200.0\n", model, "run.yaml")


def test_more_steps_than_the_model_counts_are_refused() -> None:
    case = "host: aquaplanet\noutput: o\ntime_step_s: 1200.0\n"
    most = (2**31 - 1) // 72  # whole days of 72 steps
    assert parse_config(f"{case}days: {most}\n", AquaplanetConfig, "run.yaml").days == most
    for key in ("days", "restart_every_days"):
        text = case + ("" if key == "days" else "days: 1\n") + f"{key}: {most + 1}\n"
        with pytest.raises(ConfigError, match=r"are 2\.15e\+09 time steps, more than"):
            parse_config(text, AquaplanetConfig, "run.yaml")
    with pytest.raises(ConfigError, match="more than"):
        parse_config(f"{case}days: 1e308\n", AquaplanetConfig, "run.yaml")
