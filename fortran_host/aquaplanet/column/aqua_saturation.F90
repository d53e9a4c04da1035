!> Saturation of water vapour with ClimSim's formulas, so that relative humidity means the same in
!! the physics and in an emulator.
module aqua_saturation
  use aqua_constants, only: dry_air_gas, latent_fusion, latent_vaporization, r8, water_vapor_gas
  implicit none (type, external)
  private

  public :: liquid_fraction, saturation_vapor_pressure, saturation_specific_humidity, &
            saturation_with_slope, condensation_heat

  !> Ends of the ramp between ice and liquid [K].
  real(r8), parameter, public :: freezing = 273.16_r8, all_ice = 253.16_r8
  real(r8), parameter :: gas_ratio = dry_air_gas / water_vapor_gas

  !> Flatau, Walko and Cotton (1992, J. Appl. Meteorol. 31, 1507), table 4: vapour pressure in hPa
  !! by powers of T - 273.16 K.
  real(r8), parameter :: liquid(0:8) = [6.11239921_r8, 0.443987641_r8, 0.142986287e-1_r8, &
    0.264847430e-3_r8, 0.302950461e-5_r8, 0.206739458e-7_r8, 0.640689451e-10_r8, &
    -0.952447341e-13_r8, -0.976195544e-15_r8]
  real(r8), parameter :: ice(0:8) = [6.11147274_r8, 0.503160820_r8, 0.188439774e-1_r8, &
    0.420895665e-3_r8, 0.615021634e-5_r8, 0.602588177e-7_r8, 0.385852041e-9_r8, &
    0.146898966e-11_r8, 0.252751365e-14_r8]

contains

  !> Share of liquid in cloud by temperature: 0 below 253.16 K, 1 above 273.16 K.
  elemental function liquid_fraction(t) result(fraction)
    real(r8), intent(in) :: t        !! [K]
    real(r8) :: fraction

    fraction = min(max((t - all_ice) / (freezing - all_ice), 0.0_r8), 1.0_r8)
  end function liquid_fraction

  !> Heat of condensation by temperature, with the same ramp from vaporization to sublimation
  !! [J/kg].
  elemental function condensation_heat(t) result(heat)
    real(r8), intent(in) :: t
    real(r8) :: heat

    heat = latent_vaporization + (1.0_r8 - liquid_fraction(t)) * latent_fusion
  end function condensation_heat

  !> Saturation vapour pressure [Pa] over liquid, ice, or by the ramp between.
  elemental function saturation_vapor_pressure(t) result(pressure)
    real(r8), intent(in) :: t
    real(r8) :: pressure
    real(r8) :: omega

    omega = liquid_fraction(t)
    pressure = 0.0_r8
    if (omega > 0.0_r8) pressure = omega * over_liquid(t)
    if (omega < 1.0_r8) pressure = pressure + (1.0_r8 - omega) * over_ice(t)
  end function saturation_vapor_pressure

  elemental function over_liquid(t) result(pressure)
    real(r8), intent(in) :: t
    real(r8) :: pressure

    pressure = 100.0_r8 * powers(liquid, max(-80.0_r8, t - 273.16_r8))
  end function over_liquid

  !> The polynomial is good above 185 K; below, a parabola continues it and stays positive.
  elemental function over_ice(t) result(pressure)
    real(r8), intent(in) :: t
    real(r8) :: pressure
    real(r8) :: d

    if (t > 273.15_r8) then
      pressure = over_liquid(t)
    else if (t > 185.0_r8) then
      pressure = 100.0_r8 * powers(ice, t - 273.16_r8)
    else
      d = max(-100.0_r8, t - 273.16_r8)
      pressure = 100.0_r8 * (0.00763685_r8 + d * (0.000151069_r8 + d * 7.48215e-7_r8))
    end if
  end function over_ice

  pure function powers(coefficient, x) result(total)
    real(r8), intent(in) :: coefficient(0:8)
    real(r8), intent(in) :: x
    real(r8) :: total
    integer :: i

    total = coefficient(8)
    do i = 7, 0, -1
      total = coefficient(i) + x * total
    end do
  end function powers

  !> Saturation specific humidity as ClimSim has it, R es / (Rv p) [kg/kg], capped where es exceeds
  !! the pressure.
  elemental function saturation_specific_humidity(t, pressure) result(q)
    real(r8), intent(in) :: t                  !! [K]
    real(r8), intent(in) :: pressure           !! [Pa]
    real(r8) :: q
    real(r8) :: vapor

    vapor = saturation_vapor_pressure(t)
    q = gas_ratio * vapor / max(pressure, vapor)
  end function saturation_specific_humidity

  !> Saturation specific humidity, the heat of condensation, and the slope dq/dT by Clausius and
  !! Clapeyron [1/K].
  elemental subroutine saturation_with_slope(t, pressure, q, heat, slope)
    real(r8), intent(in) :: t
    real(r8), intent(in) :: pressure
    real(r8), intent(out) :: q
    real(r8), intent(out) :: heat
    real(r8), intent(out) :: slope

    q = saturation_specific_humidity(t, pressure)
    heat = condensation_heat(t)
    slope = heat * q / (water_vapor_gas * t**2)
  end subroutine saturation_with_slope

end module aqua_saturation
