"""The file of many runs: what it expands to, and what is refused."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml

from climlink.architectures import find
from climlink.config import ConfigError, load_config
from climlink.installation import configurations
from climlink.training.composition import compose, word
from climlink.training.config import TrainingConfig
from climlink.training.matrix_config import Matrix, MatrixConfig, load_matrix

PRESET = next(iter(find("linear").configuration.presets))
BASE = """\
store: a.zarr
architecture: {name: mlp, configuration: {preset: small}}
epochs: 2
"""
MATRIX = """\
config: base.yaml
folder: many
settings: {optimizer: {learning_rate: 0.5}}
blocks:
  - axes: {recipe: [one.yaml, two.yaml], seed: [7, 43]}
  - axes: {architecture: [linear], recipe: [one.yaml], batch_size: [8, 16]}
    settings: {epochs: 3, preset: PRESET}
exceptions:
  - when: {recipe: two.yaml, seed: [43, 44]}
    set: {data: b.zarr, optimizer.learning_rate: 0.25}
""".replace("PRESET", PRESET)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the current directory one with a training file, two recipes and a matrix."""
    monkeypatch.chdir(tmp_path)
    files = {
        "base.yaml": BASE,
        "one.yaml": "pruned_levels: 1\n",
        "two.yaml": "pruned_levels: 2\n",
        "matrix.yaml": MATRIX,
    }
    for name, text in files.items():
        Path(name).write_text(text, encoding="utf-8")


def _load(*words: str, text: str = MATRIX) -> Matrix:
    Path("matrix.yaml").write_text(text, encoding="utf-8")
    return load_matrix("matrix.yaml", [word(w) for w in words])


def test_axes_by_settings_with_exceptions() -> None:
    runs = {run.name: run for run in _load().runs}
    assert list(runs) == [
        "mlp_one_small_seed7",
        "mlp_one_small_seed43",
        "mlp_two_small_seed7",
        "mlp_two_small_seed43",
        f"linear_one_{PRESET}_seed7_batchsize8",
        f"linear_one_{PRESET}_seed7_batchsize16",
    ]
    told = {
        name: (str(r.config.store), r.config.optimizer.learning_rate, r.config.epochs,
               r.config.pruned_levels, r.config.seed)
        for name, r in runs.items()
    }  # fmt: skip
    assert told["mlp_one_small_seed43"] == ("a.zarr", 0.5, 2, 1, 43)
    assert told["mlp_two_small_seed7"] == ("a.zarr", 0.5, 2, 2, 7)
    assert told["mlp_two_small_seed43"] == ("b.zarr", 0.25, 2, 2, 43)
    assert told[f"linear_one_{PRESET}_seed7_batchsize16"] == ("a.zarr", 0.5, 3, 1, 7)
    assert runs[f"linear_one_{PRESET}_seed7_batchsize16"].config.batch_size == 16
    run = runs["mlp_two_small_seed43"]
    assert (run.directory, run.jobs) == (
        Path("many/mlp_two_small_seed43"),
        Path("many/jobs/mlp_two_small_seed43"),
    )


def test_a_run_is_what_the_same_words_make_alone() -> None:
    run = next(r for r in _load().runs if r.name == "mlp_two_small_seed43")
    words = ["recipe=two.yaml", "seed=43", "data=b.zarr", "optimizer.learning_rate=0.25",
             "output=many/mlp_two_small_seed43"]  # fmt: skip
    assert run.config == compose("base.yaml", map(word, words)).config
    Path("printed.yaml").write_text(run.text, encoding="utf-8")
    assert load_config("printed.yaml", TrainingConfig) == run.config.resolved()
    assert "store: b.zarr  # matrix: store" in run.text.splitlines()


def test_words_with_the_key_of_an_axis_choose_and_others_are_for_all() -> None:
    chosen = _load("seed=43", "epochs=9", "data=c.zarr").runs
    assert [r.name for r in chosen] == ["mlp_one_small_seed43", "mlp_two_small_seed43"]
    assert {(r.config.epochs, str(r.config.store)) for r in chosen} == {(9, "c.zarr")}
    assert len(_load("batch_size=[8, 16]").runs) == 2
    with pytest.raises(ConfigError, match=r"recipe=on\.yaml: .*did you mean 'one\.yaml'"):
        _load("recipe=on.yaml")


def test_blocks_may_meet_in_a_run() -> None:
    meeting = "blocks: [{axes: {seed: [7, 43]}}, {axes: {seed: [43, 1024]}}]\nconfig: base.yaml\n"
    assert [r.config.seed for r in _load(text=meeting).runs] == [7, 43, 1024]


def test_values_without_a_short_text_are_counted() -> None:
    text = "config: base.yaml\nblocks: [{axes: {loss.host_outputs: [[], [ptend_q0002]]}}]\n"
    assert [r.name for r in _load(text=text).runs] == [
        "mlp_small_seed7_hostoutputs1",
        "mlp_small_seed7_hostoutputs2",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("batch_size:", "batchsize:", r"axes: unknown key 'batchsize'; did you mean 'batch_size'"),
        ("recipe: two.yaml,", "recipe: too.yaml,", r"exceptions\[0\]: no run has recipe too\.yaml; "
         r"did you mean 'two\.yaml'.*there are one\.yaml, two\.yaml"),
        ("[43, 44]", "44", r"exceptions\[0\]: no run has seed 44"),
        ("when: {recipe: two.yaml, seed: [43, 44]}", "when: {recipe: two.yaml, batch_size: 8}",
         r"exceptions\[0\]: no run has .* together"),
        ("axes: {recipe", "axs: {recipe", "unknown key; did you mean 'axes'"),
        ("[linear]", "[linaer]", "unknown architecture 'linaer'; did you mean 'linear'"),
        ("[linear]", "[]", "architecture: List should have at least 1 item"),
        ("epochs: 3", "epochs: 0", "matrix: epochs: epochs: .*greater than or equal to 1"),
        ("config: base.yaml", "config: bas.yaml", r"bas\.yaml: the configuration cannot be read"),
        ("    settings: {epochs: 3, preset: PRESET}",
         "    settings: {epochs: 3, preset: PRESET}\n"
         "  - axes: {architecture: [linear], recipe: [one.yaml], batch_size: [8]}\n"
         "    settings: {epochs: 4, preset: PRESET}",
         "two runs would be called linear_one_PRESET_seed7_batchsize8; they differ in epochs"),
    ],
)  # fmt: skip
def test_faults_of_the_file_are_named(old: str, new: str, message: str) -> None:
    old, new, message = (text.replace("PRESET", PRESET) for text in (old, new, message))
    assert MATRIX.count(old) == 1
    with pytest.raises(ConfigError, match=message):
        _load(text=MATRIX.replace(old, new))


def test_the_shipped_ensembles_hold_what_they_say() -> None:
    read = {n: load_config(p, MatrixConfig) for n, p in configurations("ensembles").items()}
    published = read["published90"]
    (axes,) = (block.axes for block in published.blocks)
    assert len(list(itertools.product(*axes.values()))) == 90
    assert axes["seed"] == [7, 43, 1024]
    assert (len(axes["architecture"]), len(axes["recipe"])) == (6, 5)
    small = [block.axes for block in read["climsim_small"].blocks]
    runs = {run for block in small for run in itertools.product(*block.values())}
    assert len(runs) == 6 * 3 + 3 * 3
    assert not any("v6" in run for run in runs)


def test_the_published_runs_differ_where_they_are_meant_to() -> None:
    settings = yaml.safe_load(configurations("training")["published"].read_text(encoding="utf-8"))
    assert (settings["epochs"], settings["batch_size"], settings["validation"]) == (
        12,
        4096,
        {"source": "store"},
    )
    optimizer, schedule = settings["optimizer"], settings["schedule"]
    assert (optimizer["learning_rate"], optimizer["weight_decay"], optimizer["decayed"]) == (
        1e-4,
        0.01,
        "all",
    )
    assert schedule["arguments"] == {"step_size": 3, "gamma": 0.05}
