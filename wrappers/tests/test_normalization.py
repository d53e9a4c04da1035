"""Normalization against closed forms in numpy on synthetic statistics."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from climlink.wrappers.errors import ContractError
from climlink.wrappers.manifest import NormalizationConfig
from climlink.wrappers.normalization import Normalization, Scaling, output_scale
from climlink.wrappers.statistics import Statistics, VariableStatistics
from climlink.wrappers.variable_sets import VariableSet, variable_set
from climlink.wrappers.variables import variable

L = 6
PRUNED = 2
OUTPUTS = variable_set("net308", L)


def build(
    make, network: str = "net_v2_mc", statistics: Statistics | None = None, **choices
) -> Normalization:
    config = NormalizationConfig(**choices)
    return Normalization(variable_set(network, L), OUTPUTS, config, PRUNED).fit(
        statistics or make.statistics(L)
    )


def changed(statistics: Statistics, name: str, **moments) -> Statistics:
    """Return statistics with some moments of one variable replaced by float64 vectors."""
    new = {
        k: torch.as_tensor(v, dtype=torch.float64).expand(statistics[name].width).clone()
        for k, v in moments.items()
    }
    return dataclasses.replace(
        statistics,
        variables={**statistics.variables, name: dataclasses.replace(statistics[name], **new)},
    )


def field(normalization: Normalization, network: str, name: str, values) -> np.ndarray:
    """Return the normalized values of one variable when it holds ``values`` and every other one
    zero.
    """
    s = variable_set(network, L)
    values = torch.as_tensor(np.asarray(values), dtype=torch.float64)
    rows = torch.zeros(values.shape[0], s.width, dtype=torch.float64)
    rows[:, s.slice(name)] = values
    return normalization(rows)[:, s.slice(name)].numpy()


def moments(make, name: str) -> tuple[np.ndarray, ...]:
    s = make.statistics(L)[name]
    return tuple(getattr(s, m).numpy() for m in ("mean", "std", "minimum", "maximum"))


def test_moments_scheme_is_the_standard_score(make) -> None:
    x = np.random.default_rng(0).normal(250.0, 20.0, (5, L))
    mean, std, _, _ = moments(make, "state_t")
    np.testing.assert_allclose(
        field(build(make), "net_v2_mc", "state_t", x), (x - mean) / std, rtol=2e-7, atol=1e-7
    )


def test_range_scheme_is_the_published_one(make) -> None:
    n = build(make, scheme="range")
    rng = np.random.default_rng(1)
    for name, centred in (
        ("state_u", True),
        ("state_ps", True),
        ("pbuf_SOLIN", False),
        ("pbuf_LHFLX", False),
        ("pbuf_SHFLX", False),
    ):
        mean, _, low, high = moments(make, name)
        x = rng.normal(size=(4, mean.size)) * 100.0
        np.testing.assert_allclose(
            field(n, "net_v2_mc", name, x),
            (x - mean * centred) / (high - low),
            rtol=3e-7,
            err_msg=name,
        )
    for name in ("liq_partition", "cam_in_ICEFRAC", "cam_in_OCNFRAC", "cam_in_LANDFRAC"):
        x = rng.uniform(size=(4, moments(make, name)[0].size))
        np.testing.assert_allclose(field(n, "net_v2_mc", name, x), x, rtol=1e-7, err_msg=name)
    assert field(n, "net_v2_mc", "state_rh", [[-0.1, 0.0, 0.5, 1.2, 1.3, 9.0]]).tolist() == [
        [0.0, 0.0, 0.5, float(np.float32(1.2)), float(np.float32(1.2)), float(np.float32(1.2))]
    ]


@pytest.mark.parametrize("scheme", ["range", "moments"])
def test_an_input_that_does_not_vary_enters_as_exactly_zero(make, scheme: str) -> None:
    value = 9.99e-7
    noise = 1e-8 * value  # far below float32 rounding
    low, high = [value] * 3 + [0.0] * 3, [value] * 3 + [2e-6] * 3
    std = [0.0, noise, noise, 1e-7, 1e-7, 1e-7]
    statistics = changed(
        make.statistics(L), "pbuf_CH4", mean=value, std=std, minimum=low, maximum=high
    )
    got = field(
        build(make, statistics=statistics, scheme=scheme),
        "net_v2_mc",
        "pbuf_CH4",
        np.full((2, L), 1.5e-6),
    )
    assert np.array_equal(got[:, :3], np.zeros((2, 3)))
    assert (got[:, 3:] > 0.1).all()


def test_a_constant_with_zero_mean_of_rounding_noise_counts_as_constant(make) -> None:
    statistics = changed(
        make.statistics(L), "state_v", mean=0.0, std=1e-9, minimum=-10.0, maximum=10.0
    )
    assert not field(
        build(make, statistics=statistics), "net_v2_mc", "state_v", np.ones((1, L))
    ).any()


@pytest.mark.parametrize("name", ["state_q0002", "state_q0002@log", "state_q0002@step"])
def test_water_that_hardly_exists_enters_as_zero(name: str) -> None:
    """Spreads of 1e-36 kg/kg, as liquid has aloft, would make 1e24 of a host's 1e-12 kg/kg."""
    inputs = VariableSet("water", (variable(name),), {"level": 3})
    outputs = VariableSet("out", (variable("ptend_t"),), {"level": 3})
    std = torch.tensor([1e-36, 0.9e-12, 1.1e-12], dtype=torch.float64)
    zero = torch.zeros(3, dtype=torch.float64)
    s = VariableStatistics(zero, std, zero, 5.0 * std)
    entries = {"state_q0002": s, "state_q0002@step": s, "ptend_t": s}
    statistics = Statistics(entries, {}, source="numbers")
    n = Normalization(inputs, outputs, NormalizationConfig(), 0).fit(statistics)
    first, second, third = n(torch.full((1, 3), 1.1e-12, dtype=torch.float64))[0].tolist()
    assert (first, second) == (0.0, 0.0)
    assert third == pytest.approx(math.log(2.0) if name.endswith("log") else 1.0)


@pytest.mark.parametrize("largest", ["mean", "minimum", "maximum"])
@pytest.mark.parametrize(("share", "varies"), [(0.9e-6, False), (1.1e-6, True)])
def test_variation_begins_at_a_millionth_of_the_largest_moment(
    make,
    largest: str,
    share: float,
    varies: bool,
) -> None:
    large = -1e3 if largest == "minimum" else 1e3
    given = {"mean": 0.5, "minimum": -1.0, "maximum": 1.0, "std": share * 1e3} | {largest: large}
    statistics = changed(make.statistics(L), "state_v", **given)
    x = np.full((1, L), given["mean"] + 3 * given["std"])
    got = field(build(make, statistics=statistics), "net_v2_mc", "state_v", x)
    np.testing.assert_allclose(got, 3.0 if varies else 0.0, rtol=1e-6)


def test_snow_fill_as_a_flag_and_as_published(make) -> None:
    filled = np.array([[0.0], [0.3], [9.9e19], [1e20], [1e30], [float(np.float32(1e30))]])
    assert field(build(make), "net_v2_mc", "cam_in_SNOWHICE", filled).ravel().tolist() == [
        0,
        0,
        0,
        1,
        1,
        1,
    ]
    published = field(
        build(make, fill_policy="published"), "net_v2_mc", "cam_in_SNOWHICE", filled
    ).ravel()
    np.testing.assert_allclose(published[[0, 1, 4, 5]], [-0.887, -0.887, 0.113, 0.113], atol=1e-3)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["state_t", "state_rh", "state_qn", "cam_in_SNOWHICE", "state_ps"])
@pytest.mark.parametrize("scheme", ["range", "moments"])
def test_nonfinite_inputs_propagate_or_become_zero_as_declared(
    make, bad: float, name: str, scheme: str
) -> None:
    s = variable_set("net_v2_mc", L)
    rows = torch.ones(2, s.width, dtype=torch.float64)
    at = s.slice(name).stop - 1
    rows[1, at] = bad
    through = build(make, scheme=scheme)(rows)
    assert torch.isfinite(through[0]).all()
    assert not torch.isfinite(through[1, at]), (
        "a non-finite input must not come out as an ordinary number"
    )
    assert torch.isfinite(torch.cat([through[1, :at], through[1, at + 1 :]])).all()
    zeroed = build(make, scheme=scheme, nonfinite_policy="zero")(rows)
    assert torch.isfinite(zeroed).all()
    if name in ("state_t", "state_ps"):
        assert zeroed[1, at] == 0.0


def test_cloud_transform_is_its_closed_form_on_all_magnitudes(make) -> None:
    statistics = make.statistics(L)
    lam = np.array([1e7, 1e7, 1e7, 5e5, 2.78e4, 1e7])
    statistics.cloud_lambda["state_qn"] = torch.from_numpy(lam)
    n = build(make, statistics=statistics)
    for q in (0.0, 1e-14, 1e-9, 1e-7, 1e-5, 1e-3, 1.0):
        got = field(n, "net_v2_mc", "state_qn", np.full((1, L), q))
        expected = np.array([-math.expm1(-v * q) for v in lam])
        np.testing.assert_allclose(got[0, PRUNED:], expected[PRUNED:], rtol=1e-7)
        assert not got[0, :PRUNED].any(), "cloud on pruned levels is hidden from the network"


def test_small_negative_cloud_enters_as_none(make) -> None:
    statistics = make.statistics(L)
    statistics.cloud_lambda["state_qn"] = torch.full((L,), 1e7, dtype=torch.float64)
    got = field(
        build(make, statistics=statistics),
        "net_v2_mc",
        "state_qn",
        np.array([[-1e-20] * L, [-1e-5] * L]),
    )
    assert np.array_equal(got, np.zeros((2, L)))


def test_three_representations(make) -> None:
    """Standard score per level, per variable over all levels, and a signed logarithm anchored at
    the minimum of the standard score.
    """
    n = build(make, "net_multirep", cloud_transform=False)
    rng = np.random.default_rng(3)
    for name in ("state_t", "state_rh", "state_u", "pbuf_ozone"):
        mean, std, low, _ = moments(make, name)
        x = mean + std * rng.normal(size=(7, L)) * 3.0
        z = (x - mean) / std
        np.testing.assert_allclose(field(n, "net_multirep", name, x), z, rtol=3e-7, atol=1e-6)
        pooled = np.sqrt(np.mean(std**2 + mean**2) - np.mean(mean) ** 2)
        np.testing.assert_allclose(
            field(n, "net_multirep", f"{name}@variable", x),
            (x - np.mean(mean)) / pooled,
            rtol=1e-6,
            atol=1e-6,
        )
        d = z - (low - mean) / std
        expected = np.where(d >= 0.0, np.log(1.0 + np.abs(d)), -np.log(1.0 + np.abs(d)))
        np.testing.assert_allclose(
            field(n, "net_multirep", f"{name}@log", x), expected, rtol=1e-6, atol=1e-6
        )
        assert np.abs(field(n, "net_multirep", f"{name}@log", low[None])).max() < 1e-6
    lp = rng.uniform(size=(2, L))
    np.testing.assert_allclose(field(n, "net_multirep", "liq_partition", lp), lp, rtol=1e-7)


def test_per_variable_moments_are_those_of_all_samples_together(make) -> None:
    sample = np.random.default_rng(5).normal(
        np.linspace(-20.0, 40.0, L), np.linspace(1.0, 9.0, L), (4000, L)
    )
    statistics = changed(
        make.statistics(L),
        "state_u",
        mean=sample.mean(0),
        std=sample.std(0),
        minimum=sample.min(0),
        maximum=sample.max(0),
    )
    n = build(make, "net_multirep", statistics=statistics, cloud_transform=False)
    got = field(n, "net_multirep", "state_u@variable", sample[:50])
    np.testing.assert_allclose(
        got, (sample[:50] - sample.mean()) / sample.std(), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize(
    "name", ["state_t_prvphy", "tm_state_q0001_prvphy", "state_t_dyn", "tm_state_u_dyn"]
)
def test_lagged_inputs(make, name: str) -> None:
    mean, std, low, high = moments(make, name)
    spread = std if name.endswith("_prvphy") else high - low
    x = np.stack([low * 5, (low + high) / 2, high * 5, high])
    clipped = field(build(make, "net_v6_mc"), "net_v6_mc", name, x)
    np.testing.assert_allclose(
        clipped[:, PRUNED:], (np.clip(x, low, high) / spread)[:, PRUNED:], rtol=1e-6
    )
    free = field(build(make, "net_v6_mc", lagged_clip="none"), "net_v6_mc", name, x)
    np.testing.assert_allclose(free[:, PRUNED:], (x / spread)[:, PRUNED:], rtol=1e-6)
    assert not clipped[:, :PRUNED].any()
    assert not free[:, :PRUNED].any()
    assert mean.any(), "lagged inputs are not centred; a zero mean would not show it"


@pytest.mark.parametrize("name", ["state_t_prvphy", "state_t_dyn"])
def test_published_lagged_inputs_are_neither_clipped_nor_hidden(make, name: str) -> None:
    _, std, low, high = moments(make, name)
    spread = std if name.endswith("_prvphy") else high - low
    x = np.stack([low * 5, high * 500])
    got = field(build(make, "net_v6_mc", lagged_clip="published"), "net_v6_mc", name, x)
    np.testing.assert_allclose(got, x / spread, rtol=1e-6)


def _bent(z: np.ndarray, limit: float) -> np.ndarray:
    beyond = limit + limit * np.tanh((np.abs(z) - limit) / limit)
    return np.where(np.abs(z) <= limit, z, np.sign(z) * beyond)


def test_soft_clip_bends_without_a_kink_and_hard_clip_cuts(make) -> None:
    mean, std, _, _ = moments(make, "state_t")
    z = np.array([0.0, 3.999, 4.0, -4.001, 5.0, -6.0, 9.0, -40.0, 1e6])[:, None] * np.ones(L)
    x = mean + std * z

    def got(**choices) -> np.ndarray:
        return field(build(make, **choices), "net_v2_mc", "state_t", x)

    # mean + std z - mean loses the last digits of z to the mean
    np.testing.assert_allclose(got(soft_clip=4.0), _bent(z, 4.0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got(hard_clip=5.5), np.clip(z, -5.5, 5.5), rtol=1e-5, atol=1e-6)
    both = np.clip(_bent(z, 4.0), -5.5, 5.5)
    np.testing.assert_allclose(got(soft_clip=4.0, hard_clip=5.5), both, rtol=1e-5, atol=1e-6)
    assert np.abs(got(soft_clip=4.0)).max() == 8.0
    fine = 4.0 + np.linspace(-1e-3, 1e-3, 401)
    slopes = np.diff(_bent(fine, 4.0)) / np.diff(fine)
    assert np.abs(slopes - 1.0).max() < 1e-6  # the reference itself has no kink


def test_clips_leave_carried_state_alone_and_need_normalized_inputs() -> None:
    names = (variable("state_t"), dataclasses.replace(variable("state_u"), role="carried"))
    inputs = VariableSet("carrying", names, {"level": 1})
    outputs = VariableSet("out", (variable("ptend_t"),), {"level": 1})
    config = NormalizationConfig(scheme="given", soft_clip=2.0, hard_clip=3.0)
    normalization = Normalization(inputs, outputs, config, 0).give(Scaling())
    got = normalization(torch.tensor([[1e3, 1e3]], dtype=torch.float64))
    assert got.tolist() == [[3.0, 1e3]]
    for choice in ("soft_clip", "hard_clip"):
        with pytest.raises(ValidationError, match="act on normalized inputs"):
            NormalizationConfig(scheme="none", **{choice: 1.0})
        with pytest.raises(ValidationError, match="greater than 0"):
            NormalizationConfig(**{choice: 0.0})


def test_a_fitted_clip_is_replaced_by_the_next_fit(make) -> None:
    n = build(make, "net_v6_mc", hard_clip=50.0)
    first = n.digest()
    wider = changed(make.statistics(L), "state_t_dyn", minimum=-1.0, maximum=1.0)
    assert n.fit(wider).digest() != first
    assert n.fit(make.statistics(L)).digest() == first


@pytest.mark.parametrize(
    ("scheme", "choice", "clipped"),
    [("range", "range", True), ("moments", "range", False), ("moments", "always", True),
     ("range", "never", False)],
)  # fmt: skip
def test_relative_humidity_is_clipped_in_every_encoding(
    make, scheme: str, choice: str, clipped: bool
) -> None:
    n = build(make, "net_multirep", scheme=scheme, humidity_clip=choice)
    for name in ("state_rh", "state_rh@variable", "state_rh@log"):
        values = [[v] * L for v in (-0.5, 0.0, 0.7, 1.2, 1.9)]
        low, zero, inside, limit, high = field(n, "net_multirep", name, values)
        assert np.array_equal(low, zero) == clipped
        assert np.array_equal(high, limit) == clipped
        assert (zero < inside).all()
        assert (inside < limit).all()


def test_hidden_cloud_is_hidden_in_every_encoding(make) -> None:
    encodings = ("state_qn", "state_qn@variable", "state_qn@log")
    q = np.full((1, L), 3e-5)
    for hidden in (True, False):
        n = build(make, "net_multirep", cloud_transform=hidden)
        for name in encodings:
            got = field(n, "net_multirep", name, q)
            assert (not got[:, :PRUNED].any()) == hidden, name
            assert got[:, PRUNED:].all(), name


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_published_anchor_divides_by_the_mean(make, sign: float) -> None:
    statistics = changed(
        make.statistics(L), "state_v", mean=sign * 0.5, std=7.0, minimum=-40.0, maximum=60.0
    )
    s = variable_set("net_multirep", L)
    anchors = {
        choice: build(make, "net_multirep", statistics, log_anchor=choice).log_anchor[
            s.slice("state_v@log")
        ]
        for choice in ("minimum", "published")
    }
    extreme = -40.0 if sign > 0 else 60.0
    np.testing.assert_allclose(anchors["minimum"], (-40.0 - sign * 0.5) / 7.0)
    np.testing.assert_allclose(anchors["published"], (extreme - sign * 0.5) / (sign * 0.5))


def test_output_scales_have_the_published_floors(make) -> None:
    statistics = make.statistics(L)
    for name in ("ptend_q0001", "ptend_qn", "ptend_u", "ptend_v"):
        statistics = changed(statistics, name, std=[0.0, 1e-15, 2.9e-10, 4e-10, 9e-7, 2e-6])
    scale = OUTPUTS.unpack(output_scale(OUTPUTS, statistics)[None])
    for name in ("ptend_q0001", "ptend_qn"):
        assert scale[name][0].tolist() == [3e-10, 3e-10, 3e-10, 4e-10, 9e-7, 2e-6]
    for name in ("ptend_u", "ptend_v"):
        assert scale[name][0].tolist() == [1e-6] * 5 + [2e-6]
    assert torch.equal(scale["ptend_t"][0], statistics["ptend_t"].std)
    assert torch.equal(scale["cam_out_PRECC"], statistics["cam_out_PRECC"].std)
    assert torch.equal(
        build(make, statistics=statistics).output_scale, output_scale(OUTPUTS, statistics)
    )


@pytest.mark.parametrize("center", ["zero", "mean"])
def test_denormalize_is_scale_times_y_plus_center_and_has_an_inverse(make, center: str) -> None:
    n, s = build(make, output_center=center), make.statistics(L)
    y = torch.from_numpy(np.random.default_rng(0).normal(size=(4, OUTPUTS.width))).float()
    std = np.concatenate([np.maximum(s[v.name].std.numpy(), 0.0) for v in OUTPUTS.variables])
    mean = np.concatenate([s[v.name].mean.numpy() for v in OUTPUTS.variables]) * (center == "mean")
    got = n.denormalize(y)
    assert got.dtype == torch.float64
    np.testing.assert_allclose(got.numpy(), y.double().numpy() * std + mean, rtol=1e-14)
    np.testing.assert_allclose(n.normalize_outputs(got).numpy(), y.numpy(), rtol=1e-6, atol=1e-7)
    single = build(make, output_center=center, denormalize_float64=False).denormalize(y)
    expected = y.numpy() * std.astype(np.float32) + mean.astype(np.float32)
    np.testing.assert_array_equal(single.numpy(), expected.astype(np.float64))
    assert not torch.equal(single, got)


def test_digest_changes_with_every_buffer(make) -> None:
    n = build(make, "net_v6_mc")
    digests = {n.digest()}
    assert n.digest() == build(make, "net_v6_mc").digest()
    buffers = dict(n.named_buffers())
    for value in buffers.values():
        at = value.numel() - 1
        before = value[at].clone()
        value[at] = (
            ~before
            if value.dtype == torch.bool
            else torch.nextafter(torch.where(before.isinf(), 1.0, before), before + 1e9)
        )
        digests.add(n.digest())
        value[at] = before
    assert len(digests) == 1 + len(buffers)
    assert n.digest() in digests


@pytest.mark.parametrize(
    ("network", "name", "moment", "choices"),
    [
        ("net_v2_mc", "state_t", "std", {}),
        ("net_v2_mc", "state_t", "mean", {}),
        ("net_v2_mc", "state_ps", "maximum", {"scheme": "range"}),
        ("net_v2_mc", "pbuf_SOLIN", "minimum", {"scheme": "range"}),
        ("net_multirep", "state_u", "minimum", {}),
        ("net_multirep", "state_u", "std", {}),
        ("net_v6_mc", "state_t_prvphy", "std", {}),
        ("net_v6_mc", "state_t_dyn", "maximum", {}),
        ("net_v6_mc", "state_t_prvphy", "minimum", {}),
        ("net_v2_mc", "ptend_qn", "std", {}),
        ("net_v2_mc", "ptend_qn", "mean", {"output_center": "mean"}),
    ],
)
def test_missing_statistics_are_refused(
    make, network: str, name: str, moment: str, choices: dict
) -> None:
    """A NaN spread must never pass for "does not vary"."""
    statistics = changed(make.statistics(L), name, **{moment: math.nan})
    with pytest.raises(ContractError, match="synthetic numbers"):
        build(make, network, statistics, **choices)


def test_absent_variables_and_lambda_are_refused(make) -> None:
    s = make.statistics(L)
    without = dataclasses.replace(
        s, variables={k: v for k, v in s.variables.items() if k != "state_rh"}
    )
    with pytest.raises(ContractError, match=r"do not hold 'state_rh'.*did you mean"):
        build(make, statistics=without)
    with pytest.raises(ContractError, match="cloud lambda of state_qn"):
        build(make, statistics=dataclasses.replace(s, cloud_lambda={}))
    assert (
        build(
            make, statistics=dataclasses.replace(s, cloud_lambda={}), cloud_transform=False
        ).has_cloud
        is False
    )


def test_more_pruned_levels_than_levels_are_refused() -> None:
    with pytest.raises(ContractError, match="cannot prune 7 of 6 levels"):
        Normalization(variable_set("net_v2_mc", L), OUTPUTS, NormalizationConfig(), 7)


def test_statistics_check_their_own_shape_and_digest(make) -> None:
    one = torch.ones(3, dtype=torch.float64)
    with pytest.raises(ContractError, match=r"std must be float64 \[3\], got float32 \[3\]"):
        VariableStatistics(one, one.float(), one, one)
    with pytest.raises(ContractError, match=r"maximum must be float64 \[3\], got float64 \[2\]"):
        VariableStatistics(one, one, one, one[:2])
    s = make.statistics(L)
    moved = changed(s, "state_t", mean=torch.nextafter(s["state_t"].mean, s["state_t"].mean + 1))
    assert s.digest == make.statistics(L).digest
    assert len(s.digest) == 64
    assert s.digest != moved.digest
