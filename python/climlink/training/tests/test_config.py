"""The training configuration from outside: defaults, refusals, overrides, and the configurations
that climlink ships.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from climlink.config import ConfigError, load_config, parse_config
from climlink.training.config import TrainingConfig, default_constraints
from climlink.training.optimizer_config import ScheduleConfig
from climlink.training.schedule import rate_factor

_SHIPPED = sorted((Path(__file__).parents[4] / "sim_configs" / "training").glob("*.yaml"))
_MINIMAL = "name: a\nstore: s.zarr\nepochs: 4\narchitecture: {name: mlp}\n"


def _parse(text: str) -> TrainingConfig:
    return parse_config(text, TrainingConfig, origin="train.yaml")


def test_defaults_are_the_documented_ones() -> None:
    config = _parse(_MINIMAL)
    assert (config.input_set, config.network_output_set, config.pruned_levels, config.seed) == (
        "host_v2_q",
        "net308",
        15,
        7,
    )
    assert config.run_directory == Path("runs/a")
    names = [c.name for c in config.constraints]
    assert names[0] == "prune"
    assert names[-1] == "net_shortwave_closure"
    assert "output_mask" not in names
    assert len(default_constraints()) == 8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch: 3\n", ["line 5", "epoch", "'epochs'"]),
        ("batch_size: 0\n", ["batch_size", "greater than or equal to 1", "got 0"]),
        (
            "network_input_set: net_v2\n",
            ["unknown variable set 'net_v2'", "did you mean 'net_v2_mc'"],
        ),
        (
            "input_set: mmf368\n",
            ["line 5: input_set", "ptend_t", "output_set 'mmf368'", "the truth would be an input"],
        ),
        (
            "input_set: net_multirep\n",
            ["line 5: input_set", "state_t@variable", "representations are made in the graph"],
        ),
        ("variables: absent.yaml\n", ["absent.yaml", "cannot be read"]),
        (
            "architecture: {name: mine, file: absent.py}\n",
            ["absent.py", "of architecture 'mine'", "cannot be read"],
        ),
        ("loss: {weight_of: {ptend_t: 0.0}}\n", ["weight_of", "positive", "ptend_t"]),
        ("loss: {host_outputs: [ptend_qn]}\n", ["host_outputs", "ptend_q0002", "ptend_qn"]),
        ("loss: {huber_delta_of: {ptend_x: 1.0}}\n", ["huber_delta_of", "ptend_x"]),
        ("optimizer: {learning_rate: -1.0}\n", ["optimizer.learning_rate", "greater than 0"]),
        ("architecture: {name: unet, configuration: {preset: huge}}\n", ["no preset 'huge'"]),
        ("name: ../a\n", ["name", "pattern"]),
    ],
)
def test_a_wrong_key_or_value_is_named(text: str, words: list[str]) -> None:
    key = text.split(":")[0]
    base = "".join(
        line for line in _MINIMAL.splitlines(keepends=True) if not line.startswith(f"{key}:")
    )
    with pytest.raises(ConfigError) as caught:
        _parse(base + text)
    for word in words:
        assert word in str(caught.value)


def test_overrides_merge_key_by_key_and_are_checked() -> None:
    config = _parse(_MINIMAL).overridden({"epochs": 9, "optimizer": {"learning_rate": 0.5}})
    assert (config.epochs, config.optimizer.learning_rate, config.optimizer.weight_decay) == (
        9,
        0.5,
        0.01,
    )
    with pytest.raises(ConfigError, match=r"override of optimizer\.rate"):
        config.overridden({"optimizer": {"rate": 1.0}})


def test_resolving_replaces_the_preset_and_is_stable() -> None:
    config = _parse(_MINIMAL).resolved()
    assert config.architecture.configuration["hidden"] == [768, 640, 512, 640, 640]
    assert config.resolved() == config
    assert TrainingConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("path", _SHIPPED, ids=lambda p: p.stem)
def test_shipped_configurations_load(path: Path) -> None:
    config = load_config(path, TrainingConfig)
    assert config.resolved().architecture.configuration
    assert config.name == path.stem


def test_the_expected_configurations_are_shipped() -> None:
    assert {p.stem for p in _SHIPPED} >= {
        "mlp",
        "unet_small",
        "unet_published",
        "quickstart",
        "quickstart_aquaplanet",
    }


def _factors(total: int, steps_per_epoch: int, **fields: Any) -> list[float]:
    config = ScheduleConfig(**fields)
    return [rate_factor(config, step, total, steps_per_epoch) for step in range(total)]


def test_cosine_rises_linearly_then_falls_to_its_end() -> None:
    factors = _factors(100, 10, kind="cosine", warmup_fraction=0.1, final_factor=1e-3)
    assert factors[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert factors[10] == pytest.approx(1.0)
    assert all(a > b for a, b in itertools.pairwise(factors[10:]))
    assert factors[-1] == pytest.approx(1e-3)


def test_one_cycle_starts_low_and_peaks_after_the_warm_up() -> None:
    factors = _factors(200, 10, kind="one_cycle", warmup_fraction=0.3, initial_factor=0.04)
    assert factors[0] == pytest.approx(0.04)
    assert factors.index(max(factors)) == 60
    assert max(factors) == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(1e-3)


def test_step_is_the_published_staircase() -> None:
    factors = _factors(120, 10, kind="step", step_epochs=3, step_factor=0.05)
    assert factors[0] == factors[29] == 1.0
    assert factors[30] == pytest.approx(0.05)
    assert factors[-1] == pytest.approx(0.05**3)


def test_one_batch_in_all_is_no_division_by_zero() -> None:
    for kind in ("cosine", "one_cycle", "step", "constant"):
        assert _factors(1, 1, kind=kind)[0] > 0
