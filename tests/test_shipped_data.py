"""Shipped trainings on columns of the embedded model: spread over months after its spin-up and over
all times of day, tested weeks later, and free of a rule that the model contradicts.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from climlink.data.split import SPLIT_NAMES, Split, read_split
from climlink.data.stamp import SECONDS_PER_DAY, Stamp
from climlink.installation import configurations
from climlink.online.aquaplanet import AquaplanetConfig
from climlink.online.case import load_case
from climlink.training.composition import load_training

SPIN_UP, SPREAD = 30.0, 60.0  # days: trained on days 30 to 44 a package lost its skill by day 122
GAP = 14.0  # days: a column of the stratosphere relaxes in weeks and is the same column before that
CONTRADICTED = "stratospheric_water"  # deletes ice that the model's own physics makes
_MADE = re.compile(r"climlink data prepare (\S+)/climsim --out \S+ --split (\S+)")


def sampling_cases() -> dict[str, AquaplanetConfig]:
    """Return the shipped cases of the embedded model that leave pairs, by name."""
    embedded = [
        n
        for n, path in configurations("cases").items()
        if yaml.safe_load(path.read_text(encoding="utf-8"))["host"] == "aquaplanet"
    ]
    cases = {n: load_case(n) for n in embedded if n != "aquaplanet_hybrid"}
    return {
        n: c
        for n, c in cases.items()
        if isinstance(c, AquaplanetConfig) and c.pairs.every_steps > 0
    }


def embedded_trainings() -> dict[str, tuple[str, str]]:
    """Return the shipped trainings on pairs of shipped cases: case and split by training."""
    outputs = {
        yaml.safe_load(configurations("cases")[n].read_text(encoding="utf-8"))["output"]: n
        for n in sampling_cases()
    }
    found = {}
    for name, path in configurations("training").items():
        text = path.read_text(encoding="utf-8")
        made = _MADE.search(text.replace("\n#", ""))
        if made is not None and made[1] in outputs:
            found[name] = (outputs[made[1]], made[2])
        elif "`climlink quickstart` makes the store" in text:
            found[name] = ("quickstart", "quickstart")
    return found


def stamps_of(case: AquaplanetConfig) -> list[Stamp]:
    """Return the stamps of the pairs that a case leaves: those of the ends of their steps."""
    first, stop = case.steps(case.pairs.from_day) + 1, case.steps(case.days) + 1
    start = Stamp.parse(case.start)
    steps = range(first, stop, case.pairs.every_steps)
    return [start.plus(round(step * case.time_step_s)) for step in steps]


def faults(case: AquaplanetConfig, split: Split) -> set[str]:
    """Return what is wrong with the times of a training, in words."""
    stamps = stamps_of(case)
    parts: dict[str, list[Stamp]] = {name: [] for name in SPLIT_NAMES}
    for stamp, code in zip(stamps, split.assign(stamps), strict=True):
        parts[SPLIT_NAMES[code]].append(stamp)
    train, test, later = parts["train"], parts["test"], parts["later"]

    def days(first: Stamp, last: Stamp) -> float:
        return last.since(first) / SECONDS_PER_DAY

    daily = int(SECONDS_PER_DAY / case.time_step_s)
    wrong = {
        "spin-up": days(Stamp.parse(case.start), train[0]) < SPIN_UP,
        "spread": days(train[0], train[-1]) < SPREAD,
        "gap": days(train[-1], test[0]) < GAP,
        "times of day": len({s.second for s in train}) < daily,
        "later": bool(later) and days(test[-1], later[0]) < GAP,
    }
    return {what for what, found in wrong.items() if found}


def test_every_case_that_leaves_pairs_is_trained_on() -> None:
    assert {case for case, _ in embedded_trainings().values()} == set(sampling_cases())
    assert set(embedded_trainings()) == {"quickstart_aquaplanet", "aquaplanet_mlp"}


@pytest.mark.parametrize("name", sorted(embedded_trainings()))
def test_a_shipped_training_is_spread_out_and_tested_weeks_later(name: str) -> None:
    case, split = embedded_trainings()[name]
    assert faults(sampling_cases()[case], read_split(split)) == set()
    rules = [c.name for c in load_training(configurations("training")[name]).every_constraint]
    assert CONTRADICTED not in rules
    assert "positivity" in rules


def test_clim_sim_trainings_keep_the_rule_of_their_host() -> None:
    others = configurations("training").keys() - embedded_trainings().keys()
    kept = load_training(configurations("training")["unet_small"]).every_constraint
    assert CONTRADICTED in [c.name for c in kept]
    for name in others:
        given = yaml.safe_load(configurations("training")[name].read_text(encoding="utf-8"))
        assert CONTRADICTED not in given.get("without_constraints", []), name


def test_the_science_case_trains_on_a_year_from_day_200_on() -> None:
    case, split = sampling_cases()["aquaplanet"], read_split("aquaplanet")
    stamps = stamps_of(case)
    codes = split.assign(stamps)
    found = {n: [s for s, c in zip(stamps, codes, strict=True) if SPLIT_NAMES[c] == n]
             for n in SPLIT_NAMES}  # fmt: skip
    train, later = found["train"], found["later"]
    assert train[0].since(Stamp.parse(case.start)) >= 200 * SECONDS_PER_DAY
    sampling = case.pairs.every_steps * case.time_step_s
    # The first pair after the year may lie up to one sampling interval behind it.
    assert train[-1].since(train[0]) > 365 * SECONDS_PER_DAY - sampling
    assert {s.month for s in train} == set(range(1, 13))
    assert len(later) > 20


@pytest.mark.parametrize(
    ("case", "split", "fault"),
    [
        ({"pairs": {"every_steps": 61, "from_day": 10}}, {"train": [10, 101]}, {"spin-up"}),
        ({"pairs": {"every_steps": 5, "from_day": 40}}, {"train": [40, 60]}, {"spread"}),
        ({}, {"test": [108, 115]}, {"gap"}),
        ({"pairs": {"every_steps": 36, "from_day": 40}}, {}, {"times of day"}),
        ({"pairs": {"every_steps": 64, "from_day": 40}}, {}, {"times of day"}),
        ({}, {"test": [115, 122], "later": [124, 131]}, {"later"}),
    ],
    ids=["spin-up", "spread", "gap", "noon", "every third hour", "later"],
)
def test_the_guard_sees_what_is_wrong(
    case: dict[str, Any], split: dict[str, list[int]], fault: set[str]
) -> None:
    shipped = sampling_cases()["quickstart"]
    start = Stamp.parse(shipped.start)
    whole = {"train": [40, 100], "test": [122, 131], **split}
    ranges = {
        name: [{k: str(start.plus(d * SECONDS_PER_DAY))[:10] for k, d in
                zip(("start", "end"), bounds, strict=True)}]
        for name, bounds in whole.items()
    }  # fmt: skip
    changed = AquaplanetConfig.model_validate({**shipped.model_dump(mode="json"), **case})
    assert faults(changed, Split.model_validate({"remainder": "unused", **ranges})) == fault
