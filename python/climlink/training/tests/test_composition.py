"""How a training configuration is put together: recipe, file, settings; and what is refused."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from pydantic import Field
from typer.testing import CliRunner

from climlink.architectures import register_architecture, registry
from climlink.architectures.configuration import ArchitectureConfiguration
from climlink.cli.main import app
from climlink.config import ConfigError, load_config, merged
from climlink.training.composition import compose, load_training, word
from climlink.training.config import TrainingConfig
from climlink.wrappers.column_emulator import ColumnEmulator

SMALL = """\
# Settings of this test.
recipe: plain
store: stores/sample.zarr
architecture: {name: wide, configuration: {preset: small}}
optimizer: {learning_rate: 1.0e-3}
epochs: 12
batch_size: 128
"""
PLAIN = "# Nothing but a weight.\nloss: {scalar_weight: 3.0, weight_of: {ptend_t: 2.0}}\n"
SURE = """\
# Another loss, and a part of the network.
batch_size: 64
architecture: {configuration: {confidence: true}}
loss: {scalar_weight: 4.0, weight_of: {ptend_u: 1.5}, host_outputs: [ptend_q0002, ptend_q0003]}
"""


class _Wide(ArchitectureConfiguration):
    width: int = Field(description="of every layer")
    confidence: bool = False
    presets: ClassVar[Any] = {"standard": {"width": 9}, "small": {"width": 3}}


class _Deep(ArchitectureConfiguration):
    depth: int = Field(description="layers")
    confidence: bool = False
    presets: ClassVar[Any] = {
        "standard": {"depth": 4},
        "published": {"depth": 8},
        "small": {"depth": 2},
        "odd": {"depth": 1},
    }


class _Single(ArchitectureConfiguration):
    presets: ClassVar[Any] = {"standard": {}}


@pytest.fixture(autouse=True)
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that stands for sim_configs/; the current directory is empty, and networks
    `wide`, `deep` and `single` are registered.
    """
    root = tmp_path / "sim_configs"
    files = {
        "training/small.yaml": SMALL,
        "training/published.yaml": SMALL.replace("small", "published"),
        "recipes/plain.yaml": PLAIN,
        "recipes/sure.yaml": SURE,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr("climlink.installation._configurations_root", lambda: root)
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))
    for name, configuration in (("wide", _Wide), ("deep", _Deep), ("single", _Single)):
        network = type(name, (ColumnEmulator,), {"__module__": f"test.{name}"})
        register_architecture(name, network, configuration)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return root


def _made(*words: str, config: str | None = None) -> TrainingConfig:
    return compose(config, map(word, words)).config


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["train", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_settings_win_over_the_file_and_the_file_over_the_recipe() -> None:
    made = compose(None, map(word, ["recipe=sure", "seed=43", "loss.weight_of.ptend_t=7"]))
    config = made.config
    assert config.batch_size == 128  # the file's, not the recipe's 64
    assert config.loss.scalar_weight == 4.0  # the recipe's, not the default
    assert config.loss.weight_of == {"ptend_u": 1.5, "ptend_t": 7.0}
    assert config.seed == 43
    assert config.optimizer.learning_rate == 1e-3
    assert config.optimizer.weight_decay == TrainingConfig.model_fields[
        "optimizer"
    ].get_default(call_default_factory=True).weight_decay  # fmt: skip
    assert config.from_recipe == "sure"
    assert config.name == "wide_sure_small_seed43"
    assert config.run_directory == Path("runs/wide_sure_small_seed43")
    sources = {
        "batch_size": "training small",
        "loss.scalar_weight": "recipes sure",
        "loss.weight_of.ptend_t": "loss.weight_of.ptend_t=7",
        "seed": "seed=43",
        "pruned_levels": None,
    }
    assert {k: made.source(k.split(".")) for k in sources} == sources


def test_lists_are_replaced() -> None:
    assert _made("recipe=sure", "loss.host_outputs=[ptend_q0002]").loss.host_outputs == [
        "ptend_q0002"
    ]


def test_python_and_the_command_line_make_the_same() -> None:
    words = ["architecture=deep", "recipe=sure", "data=a.zarr", "loss.scalar_weight=2e0"]
    given = {"architecture": "deep", "recipe": "sure", "data": "a.zarr", "loss.scalar_weight": 2.0}
    assert load_training(None, given) == _made(*words)
    nested = {"architecture": {"name": "deep"}, "recipe": "sure", "store": "a.zarr"}
    assert load_training("small", nested | {"loss": {"scalar_weight": 2.0}}) == _made(*words)


def test_another_network_takes_over_the_preset_alone() -> None:
    Path("mine.yaml").write_text(SMALL.replace("small", "small, width: 5"), encoding="utf-8")
    assert _made(config="mine.yaml").architecture.configuration == {"preset": "small", "width": 5}
    other = _made("architecture=deep", "recipe=sure", config="mine.yaml")
    # the recipe's part of the network stays: it says nothing of `wide`
    assert other.architecture.configuration == {"preset": "small", "confidence": True}
    assert other.resolved().architecture.configuration["depth"] == 2
    assert other.name == "deep_sure_small_seed7"
    # a preset of the file that the network does not have is left out; one that is asked for is not
    assert _made("architecture=single").architecture.configuration == {}
    assert _made("architecture=single").name == "single_plain_standard_seed7"
    with pytest.raises(ConfigError, match=r"'single' has no preset 'small'.*known: standard"):
        _made("architecture=single", "preset=small")


def test_the_order_of_settings_does_not_matter() -> None:
    words = ["architecture.configuration.depth=5", "architecture=deep", "preset=odd", "seed=3"]
    Path("mine.yaml").write_text(SMALL, encoding="utf-8")
    made = [_made(*order, config="mine.yaml") for order in itertools.permutations(words)]
    assert all(one == made[0] for one in made)
    assert made[0].architecture.configuration == {"preset": "odd", "depth": 5}


def test_what_belongs_to_a_name_goes_with_it() -> None:
    base = {"optimizer": {"name": "AdamW", "rate": 1.0, "arguments": {"betas": [0.9, 0.99]}}}
    assert merged(base, {"optimizer": {"name": "SGD"}}) == {
        "optimizer": {"name": "SGD", "rate": 1.0}
    }
    assert merged(base, {"optimizer": {"name": "AdamW", "rate": 2.0}})["optimizer"]["arguments"]
    assert merged(base, {"optimizer": {"rate": 2.0}})["optimizer"]["arguments"]
    # arguments without a name are those of the default class
    del base["optimizer"]["name"]
    assert merged(base, {"optimizer": {"name": "SGD"}}) == {
        "optimizer": {"name": "SGD", "rate": 1.0}
    }


def test_a_preset_chooses_settings_and_network() -> None:
    published = _made("preset=published", "architecture=deep")
    assert (published.store, published.name) == (
        Path("stores/sample.zarr"),
        "deep_plain_published_seed7",
    )
    assert published.resolved().architecture.configuration["depth"] == 8
    # with a file, the file's settings stay
    Path("mine.yaml").write_text(SMALL.replace("12", "5"), encoding="utf-8")
    mine = _made("preset=odd", "architecture=deep", config="mine.yaml")
    assert (mine.epochs, mine.resolved().architecture.configuration["depth"]) == (5, 1)


def test_a_recipe_of_ones_own_and_none() -> None:
    Path("my_recipe.yaml").write_text("batch_size: 9\npruned_levels: 3\n", encoding="utf-8")
    own = _made("recipe=my_recipe.yaml")
    assert (own.pruned_levels, own.batch_size, own.from_recipe) == (3, 128, "my_recipe.yaml")
    assert own.name == "wide_my_recipe_small_seed7"
    none = _made("recipe=null")
    assert (none.from_recipe, none.loss.scalar_weight) == (None, 1.0)
    assert none.name == "wide_small_seed7"


def test_values_are_yaml() -> None:
    made = _made(
        "optimizer.learning_rate=1e-4", "gradient_clip=null", "loss={scalar_weight: 2}",
        "name=mine", "validation.source=cut",
    )  # fmt: skip
    assert (made.optimizer.learning_rate, made.gradient_clip, made.loss.scalar_weight) == (
        1e-4,
        None,
        2.0,
    )
    assert (made.run_directory, made.validation.source) == (Path("runs/mine"), "cut")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["recipe=pain"], r"no recipe 'pain'; shipped: plain, sure; .*did you mean 'plain'"),
        (["architecture=wido"], "unknown architecture 'wido'; did you mean 'wide'"),
        (["preset=smal"], "no settings for the preset 'smal'; did you mean 'small'"),
        (["lose.delta=1"], r"lose\.delta=1: unknown key 'lose'; did you mean 'loss'"),
        (["learning_rate=1"], r"did you mean optimizer\.learning_rate\?"),
        (
            ["loss.scaler_weight=1"],
            r"scaler_weight=1: loss\.scaler_weight: unknown key; did you mean 'scalar_weight'",
        ),
        (["batch_size=0"], "batch_size=0: batch_size: .*greater than or equal to 1, got 0"),
        (["architecture.configuration.widht=1"], "unknown key 'widht'; did you mean 'width'"),
        (["seed=[1"], r"seed=\[1, line 1: not valid YAML"),
        (["data=a", "store=b"], "data=a and store=b: store is given twice"),
        (["seed"], "'seed': expected key=value, such as seed=43"),
        (["recipe=3"], "recipe: expected a name or a file, got 3"),
    ],
)
def test_wrong_settings_are_named(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _made(*words)


def test_a_fault_is_told_where_it_stands(shipped: Path) -> None:
    bad = shipped / "recipes" / "bad.yaml"
    bad.write_text("# Bad.\nloss:\n  scalar_weight: -1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad\.yaml, line 3: loss\.scalar_weight: "):
        _made("recipe=bad")
    # what the file or a setting replaces is no fault of the recipe
    assert _made("recipe=bad", "loss.scalar_weight=1").loss.scalar_weight == 1.0
    bad.write_text("recipe: plain\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad\.yaml, line 1: a recipe cannot be made from"):
        _made("recipe=bad")
    Path("mine.yaml").write_text(SMALL.replace("epochs", "epoch"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml, line 6: epoch: unknown key"):
        _made("seed=1", config="mine.yaml")
    Path("mine.yaml").write_text("architecture: {name: wide}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml, line 1: store: this key is required"):
        _made("seed=1", config="mine.yaml")


def test_a_configuration_made_from_a_recipe_takes_no_other() -> None:
    made = compose(None, [word("recipe=sure")])
    Path("resolved.yaml").write_text(made.text(), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"recipe plain: .*made from recipe sure already"):
        _made("recipe=plain", config="resolved.yaml")
    with pytest.raises(ConfigError, match="made from recipe sure already"):
        load_training(made.config, {"recipe": "plain"})
    assert load_training(made.config, {"seed": 9}).loss == made.config.loss


def test_the_printed_configuration_trains_the_same() -> None:
    words = ["architecture=deep", "recipe=sure", "seed=43"]
    code, printed = _run(*words, "--print-config")
    assert code == 0
    Path("printed.yaml").write_text(printed, encoding="utf-8")
    again = load_config("printed.yaml", TrainingConfig)
    assert again == _made(*words).resolved()
    lines = printed.splitlines()
    assert lines[0] == (
        "# made of, later over earlier: climlink's defaults; recipes sure; training small; "
        "architecture=deep; recipe=sure; seed=43"
    )
    assert "  scalar_weight: 4.0  # recipes sure" in lines
    assert "    depth: 2  # preset small" in lines
    assert "seed: 43  # seed=43" in lines
    assert "epochs: 12  # training small" in lines
    assert not Path("runs").exists()
    as_json = json.loads(_run(*words, "--print-config", "--json")[1])
    assert as_json == yaml.safe_load(printed) == again.model_dump(mode="json")


def test_settings_after_set_and_options_are_the_same_words() -> None:
    printed = [
        _run(*arguments, "--print-config", "--json")[1]
        for arguments in (
            ("seed=3", "epochs=2", "data=a.zarr"),
            ("small", "--set", "seed=3", "--epochs", "2", "--store", "a.zarr"),
            ("--seed", "3", "small", "epochs=2", "--set", "data=a.zarr"),
        )
    ]
    assert printed[0] == printed[1] == printed[2]
    assert json.loads(printed[0])["seed"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected CONFIG, settings such as architecture=unet, or --matrix"),
        (["small", "other"], "'other' is neither the first nor a setting"),
        (["small", "--list"], "--list needs --matrix"),
        (["small", "--jobs", "2"], "--jobs needs --matrix"),
        (["small", "--json"], "--json goes with"),
        (["small", "--matrix", "x"], "--matrix and CONFIG exclude each other"),
        (["--matrix", "x", "--overwrite"], "--matrix and --overwrite exclude each other"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str) -> None:
    code, told = _run(*arguments)
    assert code == 2
    assert message in " ".join(told.replace("│", " ").split())


def test_without_data_the_message_says_what_to_give() -> None:
    with pytest.raises(ConfigError, match=r"no data=STORE was given.* stores/sample\.zarr, is not"):
        _run("architecture=deep")


def test_a_path_with_an_equals_sign_is_a_path() -> None:
    Path("a=b").mkdir()
    Path("a=b/mine.yaml").write_text(SMALL, encoding="utf-8")
    assert json.loads(_run("./a=b/mine.yaml", "--print-config", "--json")[1])["epochs"] == 12
