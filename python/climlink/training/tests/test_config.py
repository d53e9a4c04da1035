"""The training configuration from outside: defaults, refusals, overrides, and the configurations
that climlink ships.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from climlink.config import ConfigError, parse_config
from climlink.training.composition import PRESETS, load_training
from climlink.training.config import TrainingConfig, default_constraints

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
        ("loss: {delta_of: {ptend_x: 1.0}}\n", ["delta_of", "ptend_x"]),
        ("optimizer: {learning_rate: -1.0}\n", ["optimizer.learning_rate", "greater than 0"]),
        ("architecture: {name: unet, configuration: {preset: huge}}\n", ["no preset 'huge'"]),
        ("name: ../a\n", ["name", "pattern"]),
        ("schedule: {name: StepRL}\n", ["line 5: schedule", "StepRL", "did you mean 'StepLR'"]),
        ("schedule: {name: StepLR}\n", ["line 5: schedule", "step_size"]),
        ("schedule: {arguments: {eta: 1.0}}\n", ["no argument 'eta'", "'eta_min'"]),
        ("schedule: {name: OneCycleLR}\n", ["OneCycleLR rises itself", "warmup_fraction: 0"]),
        ("schedule: {name: null, arguments: {gamma: 1.0}}\n", ["takes no arguments"]),
        (
            "schedule: {name: ReduceLROnPlateau, interval: epoch}\n",
            ["line 5: schedule", "held-out times", "cut or store"],
        ),
        ("optimizer: {name: adamw}\n", ["optimizer", "did you mean 'AdamW'", "Muon"]),
        ("optimizer: {arguments: {beta: 1.0}}\n", ["no argument 'beta'", "'betas'"]),
        ("optimizer: {arguments: {betas: [2.0, 0.9]}}\n", ["Invalid beta parameter"]),
        ("optimizer: {arguments: {lr: 2.0}}\n", ["set by learning_rate"]),
        ("averaging: {kind: emma}\n", ["line 5: averaging.kind", "'ema'"]),
        ("stages: [{name: a}, {name: a}]\n", ["stages[1].name", "two stages"]),
        ("stages: [{name: a, start_from: best}]\n", ["stages[0].start_from", "no stage is before"]),
        (
            "stages: [{name: a}, {name: b, start_from: best}]\n",
            ["stages[1].start_from", "validation.source is none"],
        ),
        (
            "stages: [{name: a, loss: {weight_of: {ptend_x: 1.0}}}]\n",
            ["line 5: stages[0].loss.weight_of", "ptend_x"],
        ),
        ("stages: [{name: a, epoch: 1}]\n", ["stages[0].epoch", "'epochs'"]),
        ("precision: bf16\n", ["line 5: precision", "bf16-mixed"]),
        (
            "precision: bf16-true\naveraging: {kind: ema}\n",
            ["averaging", "float32", "bf16-mixed"],
        ),
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
    config = load_training(_parse(_MINIMAL), {"epochs": 9, "optimizer": {"learning_rate": 0.5}})
    assert (config.epochs, config.optimizer.learning_rate, config.optimizer.weight_decay) == (
        9,
        0.5,
        0.01,
    )
    with pytest.raises(ConfigError, match=r"optimizer\.rate: unknown key"):
        load_training(config, {"optimizer": {"rate": 1.0}})


def test_resolving_replaces_the_preset_and_is_stable() -> None:
    config = _parse(_MINIMAL).resolved()
    assert config.architecture.configuration["hidden"] == [768, 640, 512, 640, 640]
    assert config.resolved() == config
    assert TrainingConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("path", _SHIPPED, ids=lambda p: p.stem)
def test_shipped_configurations_load(path: Path) -> None:
    config = load_training(path)
    assert config.resolved().architecture.configuration
    of_its_parts = f"unet_standard_{path.stem}_seed7"
    assert config.name == (of_its_parts if path.stem in PRESETS else path.stem)


def test_the_expected_configurations_are_shipped() -> None:
    assert {p.stem for p in _SHIPPED} >= {
        "mlp",
        "unet_small",
        "published",
        "small",
        "tiny",
        "quickstart",
        "quickstart_aquaplanet",
        "aquaplanet_mlp",
    }


def test_a_stage_has_the_run_s_keys_under_its_own() -> None:
    config = _parse(
        _MINIMAL
        + """
loss: {delta: 2.0, scalar_weight: 5.0}
schedule: {arguments: {eta_min: 1.0e-6}}
gradient_clip: 1.0
stages:
- {name: far, epochs: 3, loss: {kind: mae}}
- {name: near, batch_size: 8, schedule: {name: StepLR, arguments: {step_size: 2}},
   gradient_clip: null}
"""
    )
    far, near = config.stage(0), config.stage(1)
    assert (far.epochs, near.epochs) == (3, 4)
    assert (far.loss.kind, far.loss.delta, far.loss.scalar_weight) == ("mae", 2.0, 5.0)
    assert near.loss == config.loss
    assert far.schedule == config.schedule
    # Arguments of another schedule mean nothing to this one.
    assert near.schedule.arguments == {"step_size": 2}
    assert (far.batch_size, near.batch_size) == (config.batch_size, 8)
    assert (far.gradient_clip, near.gradient_clip) == (1.0, None)
    assert config.stage_names == ["far", "near"]
    resolved = config.resolved()
    assert resolved.resolved() == resolved
    again = TrainingConfig.model_validate(resolved.model_dump(mode="json"))
    assert again == resolved
    assert [again.stage(n) for n in (0, 1)] == [resolved.stage(n) for n in (0, 1)]
    # What the run says later reaches the stages that leave it out, and no others.
    later = load_training(config, {"batch_size": 16})
    assert [later.stage(n).batch_size for n in (0, 1)] == [16, 8]
