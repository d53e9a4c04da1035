!> Relative humidity as a host that sends it computes it by itself, and pressure of midpoints, in
!! real64.
module climlink_humidity
  use, intrinsic :: iso_fortran_env, only: real32, real64
  implicit none (type, external)
  private

  public :: saturation_vapor_pressure, relative_humidity, relative_humidity_legacy, &
            pressure_at_midpoints

  real(real64), parameter :: pascal_per_hectopascal = 100.0_real64
  !> [J/kg/K], as rounded in the published formula.
  real(real64), parameter :: gas_constant_dry_air = 287.0_real64
  real(real64), parameter :: gas_constant_vapor = 461.0_real64  !! [J/kg/K], as rounded in the
                                                                !! published formula.
  !> What the formula is made of: polynomials in the temperature above the triple point [hPa], and
  !! temperatures [K].
  type :: saturation_formula
    real(real64) :: liquid(0:8), ice(0:8), cold_ice(0:2), triple_point, freezing_point
    real(real64) :: all_ice_below, mixed_range
  end type saturation_formula

  real(real64), parameter :: coldest_polynomial_ice = 185.0_real64  !! [K]
  real(real64), parameter :: triple_point = 273.16_real64           !! [K]
  real(real64), parameter :: freezing_point = 273.15_real64         !! [K]
  real(real64), parameter :: all_ice_below = 253.16_real64          !! [K]

  !> Saturation over liquid water [hPa], powers 0 to 8 of the temperature above the triple point.
  real(real64), parameter :: liquid_coefficients(0:8) = [ &
    6.11239921_real64, 0.443987641_real64, 0.142986287e-1_real64, 0.264847430e-3_real64, &
    0.302950461e-5_real64, 0.206739458e-7_real64, 0.640689451e-10_real64, -0.952447341e-13_real64, &
    -0.976195544e-15_real64]
  !> Saturation over ice [hPa], powers 0 to 8.
  real(real64), parameter :: ice_coefficients(0:8) = [ &
    6.11147274_real64, 0.503160820_real64, 0.188439774e-1_real64, 0.420895665e-3_real64, &
    0.615021634e-5_real64, 0.602588177e-7_real64, 0.385852041e-9_real64, 0.146898966e-11_real64, &
    0.252751365e-14_real64]
  !> Saturation over very cold ice [hPa], powers 0 to 2.
  real(real64), parameter :: cold_ice_coefficients(0:2) = [0.00763685_real64, 0.000151069_real64, &
    7.48215e-7_real64]

  type(saturation_formula), parameter :: exact = saturation_formula( &
    liquid_coefficients, ice_coefficients, cold_ice_coefficients, triple_point, freezing_point, &
    all_ice_below, 20.0_real64)

  !> The same numbers rounded to single precision, as the host code of the published coupling has
  !! them: its literals have no kind.
  type(saturation_formula), parameter :: rounded = saturation_formula( &
    real(real(liquid_coefficients, real32), real64), &
    real(real(ice_coefficients, real32), real64), &
    real(real(cold_ice_coefficients, real32), real64), real(real(triple_point, real32), real64), &
    real(real(freezing_point, real32), real64), real(real(all_ice_below, real32), real64), &
    real(real(triple_point, real32), real64) - real(real(all_ice_below, real32), real64))

contains

  !> Saturation vapour pressure [Pa] over liquid, ice, or a mixture of both.
  elemental function saturation_vapor_pressure(temperature, liquid) result(pressure)
    real(real64), intent(in) :: temperature          !! [K]
    real(real64), intent(in), optional :: liquid     !! Share of liquid, 0 to 1. Default: by
                                                     !! temperature, all below 253.16 K being ice,
                                                     !! all above 273.16 K liquid.
    real(real64) :: pressure

    pressure = saturation(exact, temperature, liquid)
  end function saturation_vapor_pressure

  !> Relative humidity [1]; specific humidity stands for the mixing ratio, as in the published data.
  elemental function relative_humidity(temperature, specific_humidity, pressure) result(humidity)
    real(real64), intent(in) :: temperature          !! [K]
    real(real64), intent(in) :: specific_humidity    !! [kg/kg]
    real(real64), intent(in) :: pressure             !! [Pa]
    real(real64) :: humidity
    real(real64) :: saturated                        !! [kg/kg]

    saturated = gas_constant_dry_air &
      * saturation_vapor_pressure(temperature) / (gas_constant_vapor * pressure)
    humidity = specific_humidity / saturated
  end function relative_humidity

  !> The same with the coefficients and the order of operations of the published coupling's host
  !! code, for networks that ran with it: 1e-4 off at 220 K, 0.4 % at 200 K, 9 % at 185 K.
  elemental function relative_humidity_legacy(temperature, specific_humidity, pressure) &
    result(humidity)
    real(real64), intent(in) :: temperature          !! [K]
    real(real64), intent(in) :: specific_humidity    !! [kg/kg]
    real(real64), intent(in) :: pressure             !! [Pa]
    real(real64) :: humidity

    humidity = gas_constant_vapor * pressure * specific_humidity &
               / (gas_constant_dry_air * saturation(rounded, temperature))
  end function relative_humidity_legacy

  !> Pressure [Pa] at level midpoints, [column, level].
  pure function pressure_at_midpoints(reference_pressure, hyam, hybm, surface_pressure) &
    result(pressure)
    real(real64), intent(in) :: reference_pressure     !! P0 [Pa]
    real(real64), intent(in) :: hyam(:)                !! [level]
    real(real64), intent(in) :: hybm(:)                !! [level]
    real(real64), intent(in) :: surface_pressure(:)    !! [column], [Pa]
    real(real64) :: pressure(size(surface_pressure), size(hyam))
    integer :: level

    do level = 1, size(hyam)
      pressure(:, level) = reference_pressure * hyam(level) + hybm(level) * surface_pressure
    end do
  end function pressure_at_midpoints

  !> Saturation vapour pressure [Pa] with the numbers of one formula.
  elemental function saturation(formula, temperature, liquid) result(pressure)
    type(saturation_formula), intent(in) :: formula
    real(real64), intent(in) :: temperature          !! [K]
    real(real64), intent(in), optional :: liquid     !! Share; default: by temperature.
    real(real64) :: pressure
    real(real64) :: share

    if (present(liquid)) then
      share = liquid
    else
      share = min(max((temperature - formula%all_ice_below) / formula%mixed_range, 0.0_real64), &
                  1.0_real64)
    end if
    pressure = 0.0_real64
    if (share > 0.0_real64) pressure = share * over_liquid(formula, temperature)
    if (share < 1.0_real64) then
      pressure = pressure + (1.0_real64 - share) * over_ice(formula, temperature)
    end if
  end function saturation

  pure function over_liquid(formula, temperature) result(pressure)
    type(saturation_formula), intent(in) :: formula
    real(real64), intent(in) :: temperature
    real(real64) :: pressure

    pressure = pascal_per_hectopascal &
               * polynomial(formula%liquid, max(-80.0_real64, temperature - formula%triple_point))
  end function over_liquid

  pure function over_ice(formula, temperature) result(pressure)
    type(saturation_formula), intent(in) :: formula
    real(real64), intent(in) :: temperature
    real(real64) :: pressure
    real(real64) :: distance

    distance = temperature - formula%triple_point
    if (temperature > formula%freezing_point) then
      pressure = over_liquid(formula, temperature)
    else if (temperature > coldest_polynomial_ice) then
      pressure = pascal_per_hectopascal * polynomial(formula%ice, distance)
    else
      pressure = pascal_per_hectopascal * polynomial(formula%cold_ice, &
                                                     max(-100.0_real64, distance))
    end if
  end function over_ice

  pure function polynomial(coefficients, x) result(value)
    real(real64), intent(in) :: coefficients(0:), x
    real(real64) :: value
    integer :: power

    value = coefficients(ubound(coefficients, 1))
    do power = ubound(coefficients, 1) - 1, 0, -1
      value = coefficients(power) + x * value
    end do
  end function polynomial

end module climlink_humidity
