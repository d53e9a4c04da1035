"""Own variables and sets: what a file gives, what clashes with the shipped ones, and where a file
is wrong.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from climlink.wrappers.catalogue import SHIPPED, Catalogue, read_catalogue
from climlink.wrappers.errors import ClimlinkError, ContractError
from climlink.wrappers.variable_sets import variable_set, variable_set_names
from climlink.wrappers.variables import Variable, variable
from climlink.wrappers.yaml_file import ConfigError

OWN = """
dims: {layer: 4, lat: 32, lon: 64}
variables:
  soil_t: {units: K, long_name: soil temperature, dims: [layer], range: [150, 1e3]}
  canopy: {units: kg/m2}
  orography: {units: m, dims: [lat, lon]}
  state_t: {units: kelvin, long_name: mine, dims: [level]}
sets:
  soil: [soil_t, canopy]
  land: ["*soil", state_t, "*climsim_v2_kaggle_rest", soil_t@log]
  climsim_v2_kaggle_rest: [state_ps]
  climsim_v2: ["*climsim_v2_copy"]
  climsim_v2_copy: [state_t, state_q0001, state_q0002, state_q0003, state_u, state_v, "*surface",
                    pbuf_ozone, pbuf_CH4, pbuf_N2O]
  surface: [state_ps, pbuf_SOLIN, pbuf_LHFLX, pbuf_SHFLX, pbuf_TAUX, pbuf_TAUY, pbuf_COSZRS,
            cam_in_ALDIF, cam_in_ALDIR, cam_in_ASDIF, cam_in_ASDIR, cam_in_LWUP, cam_in_ICEFRAC,
            cam_in_LANDFRAC, cam_in_OCNFRAC, cam_in_SNOWHICE, cam_in_SNOWHLAND]
"""


def _read(folder: Path, text: str) -> Catalogue:
    path = folder / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return read_catalogue(path)


def test_own_and_shipped_variables_stand_in_one_set(tmp_path: Path) -> None:
    catalogue = _read(tmp_path, OWN)
    land = catalogue.variable_set("land", 7)
    assert land.names == ("soil_t", "canopy", "state_t", "state_ps", "soil_t@log")
    assert [land.width_of(n) for n in land.names] == [4, 1, 7, 1, 4]
    assert dict(land.sizes) == {"level": 7, "layer": 4}
    soil = land["soil_t"]
    assert (soil.units, soil.long_name, soil.dims, soil.plausible) == (
        "K",
        "soil temperature",
        ("layer",),
        (150.0, 1000.0),
    )
    assert land["state_t"] == variable(
        "state_t"
    )  # the same unit in other words is the same variable
    assert catalogue.variable("orography").dims == ("lat", "lon")


def test_shipped_sets_are_found_too(tmp_path: Path) -> None:
    for catalogue in (SHIPPED, _read(tmp_path, OWN)):
        for name in variable_set_names():
            assert catalogue.variable_set(name, 9) == variable_set(name, 9)


def test_python_gives_what_yaml_gives(tmp_path: Path) -> None:
    depth = Variable("depth", "m", "snow depth", ("layer",), plausible=(0.0, 9.0))
    made = Catalogue((depth,), {"snow": ("depth", "state_ps")}, {"layer": 3})
    text = (
        "dims: {layer: 3}\nsets: {snow: [depth, state_ps]}\n"
        "variables: {depth: {units: m, long_name: snow depth, dims: [layer], range: [0, 9]}}\n"
    )
    assert _read(tmp_path, text).variable_set("snow", 5) == made.variable_set("snow", 5)
    with pytest.raises(
        ContractError,
        match=r"variables.state_ps: climlink ships state_ps in 'Pa' over \[\], this one is in "
        r"'hPa' over \[\]",
    ):
        Catalogue((Variable("state_ps", "hPa"),))


WRONG = {
    "other units": (
        "variables:\n  state_ps: {units: hPa}\n",
        2,
        "climlink ships state_ps in 'Pa' over [], this one is in 'hPa' over []",
    ),
    "other width": (
        "variables:\n  a: {units: K}\n  state_t: {units: K}\n",
        3,
        "ships state_t in 'K' over [level], this one is in 'K' over []",
    ),
    "other lag": (
        "variables:\n  state_ps: {units: Pa, lag: 1}\n",
        2,
        "this one is in 'Pa' over [], lag 1",
    ),
    "shipped set": (
        "sets:\n  mmf368: [ptend_t]\n",
        2,
        "climlink ships a set 'mmf368' of other variables (ptend_t, ptend_q0001",
    ),
    "unknown dimension": (
        "dims: {layer: 2}\nvariables:\n  a: {units: K, dims: [layers]}\n",
        3,
        "unknown dimension 'layers'; did you mean 'layer'",
    ),
    "vertical size": ("dims:\n  level: 60\n", 2, "'level' is the vertical dimension"),
    "doubled dimension": (
        "variables:\n  a: {units: K, dims: [level, level]}\n",
        2,
        "at most 3 dims, none twice",
    ),
    "bare range": (
        "variables:\n  a: {units: K, range: [5, 5]}\n",
        2,
        "range must be [smallest, largest], got [5.0, 5.0]",
    ),
    "unknown member": (
        "sets:\n  s: [state_ps]\n  t:\n  - state_tt\n",
        3,
        "unknown variable 'state_tt'; did you mean 'state_t'",
    ),
    "unknown set": (
        'sets:\n  s: ["*host_v2"]\n',
        2,
        "unknown set '*host_v2'; did you mean 'host_v2_",
    ),
    "doubled member": ('sets:\n  s: ["*mmf368", ptend_t]\n', 2, "'ptend_t' stands twice"),
    "set inside itself": ('sets:\n  s: ["*t"]\n  t: ["*s"]\n', 2, "inside itself: s -> t -> s"),
    "empty set": ("sets:\n  s: []\n", 2, "at least one variable"),
    "reserved name": ("variables:\n  start: {units: '1'}\n", 2, "not 'start'"),
    "representation": ("variables:\n  a@log: {units: '1'}\n", 2, "a name is letters"),
    "unknown key": (
        "variables:\n  a:\n    unit: K\n",
        3,
        "unknown key; did you mean 'units'?; known keys: dims, lag, long_name, range, units",
    ),
    "unknown section": ("sets: {}\nvariable: {}\n", 2, "unknown key; did you mean 'variables'"),
    "doubled key": (
        "variables:\n  a: {units: K}\n  a: {units: Pa}\n",
        3,
        "the key 'a' stands twice",
    ),
    "no units": (
        "variables:\n  a: {long_name: x}\n",
        2,
        "variables.a.units: this key is required and missing",
    ),
    "size of nothing": ("dims: {layer: 0}\n", 1, "greater than or equal to 1"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, what: str) -> None:
    text, line, message = WRONG[what]
    with pytest.raises(ConfigError, match=rf"own.yaml, line {line}: .*{re.escape(message)}"):
        _read(tmp_path, text)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        _read(tmp_path, "variables:\n  state_ps: {units: hPa}\nsets:\n  s: [nothing]\n")
    assert len(str(caught.value).splitlines()) == 2


def test_unknown_sets_are_refused_with_the_near_ones(tmp_path: Path) -> None:
    catalogue = _read(tmp_path, OWN)
    with pytest.raises(ContractError, match=r"unknown variable set 'lend'; did you mean 'land'"):
        catalogue.variable_set("lend")
    with pytest.raises(ClimlinkError, match="cannot be read"):
        read_catalogue(tmp_path / "absent.yaml")


def test_a_meaning_with_a_comma_is_read_whole() -> None:
    assert variable("pbuf_LHFLX").long_name == "surface latent heat flux, positive upward"
    assert variable("cam_out_PRECSC").long_name == "snowfall rate, water equivalent"
