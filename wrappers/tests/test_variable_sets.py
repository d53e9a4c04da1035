"""Variable sets against the published widths and index ranges, and their packing against plain
concatenation.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from climlink.wrappers.errors import ContractError
from climlink.wrappers.variable_sets import VariableSet, variable_set, variable_set_names
from climlink.wrappers.variables import variable, variable_names

# The ranges below are literal on purpose: they are the published layouts, written down
# independently of the sets.
WIDTHS = {
    "host_v2_q": (557, 9, 17, 540),
    "host_v2_rh": (557, 9, 17, 540),
    "host_v4_q": (1525, 25, 25, 1500),
    "host_v4_rh": (1525, 25, 25, 1500),
    "host_v6_q": (1519, 25, 19, 1500),
    "host_v6_rh": (1519, 25, 19, 1500),
    "climsim_v2": (557, 9, 17, 360),
    "climsim_v2_kaggle": (556, 9, 16, 360),
    "net_v2_mc": (557, 9, 17, 540),
    "net_multirep": (1517, 25, 17, 1500),
    "net_v6_mc": (1399, 23, 19, 1380),
    # the competition's nine profiles and seventeen scalars, with: RH and twice six differences; two
    # times six differences; nothing; wind speed, three times; RH, differences, three fields, six
    # logarithms, buoyancy and two fluxes
    "net_leap_diff": (22 * 60 + 17, 22, 17, 22 * 60),
    "net_leap_lags": (21 * 60 + 17, 21, 17, 21 * 60),
    "net_leap_log": (557, 9, 17, 540),
    "net_leap_three": (30 * 60 + 17, 30, 17, 30 * 60),
    "net_leap_rich": (32 * 60 + 19, 32, 19, 32 * 60),
}
OUTPUT_WIDTHS = {"mmf368": (368, 6, 8), "net308": (308, 5, 8), "net368": (368, 6, 8)}
# fmt: off
SURFACE = ["state_ps", "pbuf_SOLIN", "pbuf_LHFLX", "pbuf_SHFLX", "pbuf_TAUX", "pbuf_TAUY",
           "pbuf_COSZRS", "cam_in_ALDIF", "cam_in_ALDIR", "cam_in_ASDIF", "cam_in_ASDIR",
           "cam_in_LWUP", "cam_in_ICEFRAC", "cam_in_LANDFRAC", "cam_in_OCNFRAC", "cam_in_SNOWHICE",
           "cam_in_SNOWHLAND"]
# fmt: on
OUTPUT_SURFACE = [
    f"cam_out_{n}" for n in ["NETSW", "FLWDS", "PRECSC", "PRECC", "SOLS", "SOLL", "SOLSD", "SOLLD"]
]
STARTS = {
    "host_v2_rh": {"state_t": 0, "state_rh": 60, "state_q0002": 120, "state_q0003": 180,
                   "state_u": 240, "state_v": 300, "pbuf_ozone": 360, "pbuf_CH4": 420,
                   "pbuf_N2O": 480},
    "host_v2_q": {"state_t": 0, "state_q0001": 60, "state_q0002": 120, "state_q0003": 180},
    "net_v2_mc": {"state_rh": 60, "state_qn": 120, "liq_partition": 180, "state_u": 240,
                  "state_v": 300, "pbuf_N2O": 480},
    "host_v4_rh": {"state_t_dyn": 360, "state_q0_dyn": 420, "state_u_dyn": 480,
                   "tm_state_t_dyn": 540, "tm_state_u_dyn": 660, "state_t_prvphy": 720,
                   "state_q0001_prvphy": 780, "state_q0002_prvphy": 840, "state_q0003_prvphy": 900,
                   "state_u_prvphy": 960, "tm_state_t_prvphy": 1020, "tm_state_q0001_prvphy": 1080,
                   "tm_state_q0002_prvphy": 1140, "tm_state_q0003_prvphy": 1200,
                   "tm_state_u_prvphy": 1260, "pbuf_ozone": 1320, "state_ps": 1500,
                   "tm_state_ps": 1517, "tm_pbuf_SOLIN": 1518, "tm_pbuf_LHFLX": 1519,
                   "tm_pbuf_SHFLX": 1520, "tm_pbuf_COSZRS": 1521, "clat": 1522, "slat": 1523,
                   "icol": 1524},
    "host_v6_rh": {"tm_state_u_prvphy": 1260, "pbuf_ozone": 1320, "cam_in_SNOWHLAND": 1516,
                   "clat": 1517, "slat": 1518},
    "net_v6_mc": {"state_qn": 120, "liq_partition": 180, "state_qn_prvphy": 840,
                  "state_u_prvphy": 900, "tm_state_t_prvphy": 960, "tm_state_q0001_prvphy": 1020,
                  "tm_state_qn_prvphy": 1080, "tm_state_u_prvphy": 1140, "pbuf_ozone": 1200,
                  "state_ps": 1380, "clat": 1397, "slat": 1398},
    "net_multirep": {"state_t": 0, "liq_partition": 180, "pbuf_N2O": 480, "state_t@variable": 540,
                     "pbuf_N2O@variable": 960, "state_t@log": 1020, "pbuf_N2O@log": 1440,
                     "state_ps": 1500},
    "climsim_v2": {"state_q0001": 60, "state_v": 300, "state_ps": 360, "cam_in_SNOWHLAND": 376,
                   "pbuf_ozone": 377, "pbuf_N2O": 497},
    "mmf368": {"ptend_t": 0, "ptend_q0001": 60, "ptend_q0002": 120, "ptend_q0003": 180,
               "ptend_u": 240, "ptend_v": 300},
    "net308": {"ptend_t": 0, "ptend_q0001": 60, "ptend_qn": 120, "ptend_u": 180, "ptend_v": 240},
    "net368": {"ptend_t": 0, "ptend_q0001": 60, "ptend_q0002": 120, "ptend_q0003": 180,
               "ptend_u": 240, "ptend_v": 300},
    "net_leap_diff": {"state_q0001": 60, "pbuf_N2O": 480, "state_rh": 540, "state_t@step": 600,
                      "state_v@step": 900, "state_t@second_step": 960},
    "net_leap_three": {"wind_speed": 540, "state_t@variable": 600, "wind_speed@variable": 1140,
                       "state_t@log": 1200, "pbuf_ozone@log": 1560, "wind_speed@log": 1740},
}  # fmt: skip


@pytest.mark.parametrize("name", WIDTHS)
def test_input_sets_have_the_published_totals(name: str) -> None:
    s = variable_set(name)
    assert (s.width, len(s.profiles), len(s.scalars), s.offset("state_ps")) == WIDTHS[name]


@pytest.mark.parametrize("name", OUTPUT_WIDTHS)
def test_output_sets_have_the_published_totals(name: str) -> None:
    s = variable_set(name)
    assert (s.width, len(s.profiles), len(s.scalars)) == OUTPUT_WIDTHS[name]


@pytest.mark.parametrize("name", STARTS)
def test_variables_start_where_the_published_layouts_put_them(name: str) -> None:
    s = variable_set(name)
    assert {n: s.offset(n) for n in STARTS[name]} == STARTS[name]


@pytest.mark.parametrize(
    ("name", "start"),
    [("host_v2_q", 540), ("host_v4_q", 1500), ("host_v6_q", 1500), ("net_v6_mc", 1380)],
)
def test_surface_scalars_keep_their_common_order(name: str, start: int) -> None:
    s = variable_set(name)
    assert [s.offset(n) for n in SURFACE] == list(range(start, start + 17))


@pytest.mark.parametrize(("name", "start"), [("mmf368", 360), ("net308", 300), ("net368", 360)])
def test_surface_outputs_come_last(name: str, start: int) -> None:
    s = variable_set(name)
    assert [s.offset(n) for n in OUTPUT_SURFACE] == list(range(start, start + 8))


def test_q_and_rh_sets_differ_in_humidity_only() -> None:
    for version in ("v2", "v4", "v6"):
        q, rh = variable_set(f"host_{version}_q"), variable_set(f"host_{version}_rh")
        assert [(a, b) for a, b in zip(q.names, rh.names, strict=True) if a != b] == [
            ("state_q0001", "state_rh")
        ]


def test_climsim_order_is_not_the_host_order() -> None:
    host, own = variable_set("host_v2_q"), variable_set("climsim_v2")
    assert sorted(host.names) == sorted(own.names)
    assert host.width == own.width
    assert host != own
    assert host.layout() != own.layout()
    rows = torch.arange(2 * host.width, dtype=torch.float64).reshape(2, -1)
    moved = host.pack(own.unpack(rows))
    assert not torch.equal(moved, rows)
    assert torch.equal(moved[:, 540:557], rows[:, 360:377])


def test_every_set_names_catalogued_variables_with_units() -> None:
    for name in variable_set_names():
        assert all(
            v.units and v.long_name and v.dims in (("level",), ())
            for v in variable_set(name).variables
        )


def test_lags() -> None:
    lags = {
        "state_t": 0,
        "state_t_dyn": 0,
        "tm_state_t_dyn": 1,
        "state_t_prvphy": 1,
        "tm_state_t_prvphy": 2,
        "tm_state_ps": 1,
    }
    assert {n: variable(n).lag for n in lags} == lags


def test_unknown_names_are_answered_with_near_ones() -> None:
    with pytest.raises(ContractError, match="state_q0001"):
        variable("state_q001")
    with pytest.raises(ContractError, match="host_v2_q"):
        variable_set("hostv2_q")
    with pytest.raises(
        ContractError,
        match=r"'cam_in_SNOWHICE' is not in set 'climsim_v2_kaggle'; did you mean "
        r"'cam_in_SNOWHLAND'",
    ):
        variable_set("climsim_v2_kaggle").offset("cam_in_SNOWHICE")
    with pytest.raises(ContractError, match="variable"):
        variable("state_t@variabel")
    with pytest.raises(ContractError, match="unknown representation"):
        variable("state_t@")


def test_a_set_refuses_duplicates_and_no_levels() -> None:
    with pytest.raises(ContractError, match=r"'state_t' stands twice in set 'mine'"):
        VariableSet("mine", (variable("state_t"), variable("state_ps"), variable("state_t")))
    with pytest.raises(ContractError, match="at least 1, got level=0"):
        variable_set("host_v2_q", 0)


def _named(s: VariableSet, batch: int, seed: int = 0) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    shapes = {v.name: (batch, s.level_count) if v.is_profile else (batch,) for v in s.variables}
    return {n: torch.from_numpy(rng.normal(size=shape)) for n, shape in shapes.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("ptend_u"), r"missing \['ptend_u'\]"),
        (lambda d: d.update(ptend_w=d["ptend_u"]), r"unknown \['ptend_w'\].*did you mean"),
        (
            lambda d: d.update(ptend_u=d["ptend_u"][:, :59]),
            r"ptend_u must have shape \[batch, 60\], got \[3, 59\]",
        ),
        (
            lambda d: d.update(ptend_u=d["ptend_u"][0]),
            r"ptend_u must have shape \[batch, 60\], got \[60\]",
        ),
        (
            lambda d: d.update(cam_out_PRECC=d["ptend_u"]),
            r"cam_out_PRECC must have shape \[batch, 1\], got \[3, 60\]",
        ),
        (
            lambda d: d.update(cam_out_PRECC=d["cam_out_PRECC"][:2]),
            r"differ in their number of columns: \[2, 3\]",
        ),
        (
            lambda d: d.update(ptend_v=d["ptend_v"].float()),
            r"differ in their type.*\['float32', 'float64'\]",
        ),
    ],
)
def test_pack_refuses_what_does_not_fit(change, message: str) -> None:
    values = _named(variable_set("mmf368"), 3)
    change(values)
    with pytest.raises(ContractError, match=message):
        variable_set("mmf368").pack(values)


def test_unpack_refuses_wrong_rows() -> None:
    for rows in (torch.zeros(2, 367), torch.zeros(368), torch.zeros(1, 2, 368)):
        with pytest.raises(ContractError, match=r"\[batch, 368\]"):
            variable_set("mmf368").unpack(rows)


_names = st.lists(st.sampled_from(variable_names()), min_size=1, max_size=12, unique=True)


@settings(max_examples=60, deadline=None)
@given(
    names=_names, level_count=st.integers(1, 9), batch=st.integers(0, 4), seed=st.integers(0, 99)
)
def test_pack_is_concatenation_and_unpack_its_inverse(
    names: list[str], level_count: int, batch: int, seed: int
) -> None:
    s = VariableSet("any", tuple(variable(n) for n in names), {"level": level_count})
    values = _named(s, batch, seed)
    rows = s.pack(values)
    expected = np.concatenate(
        [
            values[n].numpy().reshape(batch, level_count if values[n].ndim == 2 else 1)
            for n in names
        ],
        axis=1,
    )
    assert np.array_equal(rows.numpy(), expected)
    back = s.unpack(rows)
    assert list(back) == names
    assert all(torch.equal(back[n], values[n]) for n in names)
    assert torch.equal(s.pack(back), rows)


@settings(max_examples=60, deadline=None)
@given(names=_names, level_count=st.integers(1, 99))
def test_offsets_fill_the_row_without_gaps(names: list[str], level_count: int) -> None:
    s = VariableSet("any", tuple(variable(n) for n in names), {"level": level_count})
    position = 0
    for n in names:
        width = level_count if variable(n).is_profile else 1
        assert (s.offset(n), s.width_of(n), s.slice(n)) == (
            position,
            width,
            slice(position, position + width),
        )
        position += width
    assert position == s.width == s.layout().width


@pytest.mark.parametrize("name", [*WIDTHS, *OUTPUT_WIDTHS])
@pytest.mark.parametrize("level_count", [1, 26, 72])
def test_sets_hold_for_any_number_of_levels(name: str, level_count: int) -> None:
    published = variable_set(name)
    s = variable_set(name, level_count)
    assert s.names == published.names
    assert s.width == len(s.profiles) * level_count + len(s.scalars)
