!> Saturation of water vapour over the phases of this model's cloud, with the formulas that an
!! emulator's relative humidity has.
module aqua_saturation
  use aqua_constants, only: dry_air_gas, latent_fusion, latent_vaporization, r8, water_vapor_gas
  use climlink_humidity, only: saturation_vapor_pressure
  implicit none (type, external)
  private

  public :: liquid_fraction, saturation_specific_humidity, saturation_with_slope, condensation_heat

  !> Ends of the ramp between ice and liquid [K].
  real(r8), parameter, public :: freezing = 273.16_r8, all_ice = 253.16_r8
  real(r8), parameter :: gas_ratio = dry_air_gas / water_vapor_gas

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

  !> Saturation specific humidity as ClimSim has it, R es / (Rv p) [kg/kg], capped where es exceeds
  !! the pressure.
  elemental function saturation_specific_humidity(t, pressure) result(q)
    real(r8), intent(in) :: t                  !! [K]
    real(r8), intent(in) :: pressure           !! [Pa]
    real(r8) :: q
    real(r8) :: vapor

    vapor = saturation_vapor_pressure(t, liquid_fraction(t))
    q = gas_ratio * vapor / max(pressure, vapor)
  end function saturation_specific_humidity

  !> Saturation specific humidity, the heat of condensation, and the slope dq/dT by Clausius and
  !! Clapeyron [1/K].
  elemental subroutine saturation_with_slope(t, pressure, q, heat, slope)
    real(r8), intent(in) :: t, pressure
    real(r8), intent(out) :: q, heat, slope

    q = saturation_specific_humidity(t, pressure)
    heat = condensation_heat(t)
    slope = heat * q / (water_vapor_gas * t**2)
  end subroutine saturation_with_slope

end module aqua_saturation
