!> The sea under the atmosphere: prescribed temperature, albedo, and bulk exchange coefficients.
module aqua_surface
  use aqua_constants, only: dry_air_gas, pi, r8, virtual_factor
  use aqua_saturation, only: saturation_specific_humidity
  implicit none (type, external)
  private

  public :: sea_surface_temperature, ocean_albedo, exchange_rate, friction_velocity, &
            surface_humidity

  real(r8), parameter :: zero_celsius = 273.15_r8
  real(r8), parameter :: exchange_coefficient = 1.3e-3_r8  !! Of heat, vapour and momentum over sea.
  real(r8), parameter :: gust = 1.0_r8                     !! Least wind at the surface [m/s].
  real(r8), parameter :: salinity_factor = 0.98_r8         !! Vapour pressure over sea water
                                                           !! relative to fresh water.

contains

  !> The QOBS sea surface temperature [K] of Neale and Hoskins (2000, Atmos. Sci. Lett. 1, 101);
  !! latitude in radians.
  elemental function sea_surface_temperature(latitude) result(sst)
    real(r8), intent(in) :: latitude
    real(r8) :: sst
    real(r8) :: s

    sst = zero_celsius
    if (abs(latitude) >= pi / 3.0_r8) return
    s = sin(1.5_r8 * latitude)**2
    sst = zero_celsius + 0.5_r8 * 27.0_r8 * (2.0_r8 - s - s**2)
  end function sea_surface_temperature

  !> Albedo of open sea for direct and diffuse light, the same in the visible and the near infrared
  !! (Briegleb et al. 1986, J. Climate Appl. Meteorol. 25, 214, as in E3SM); 1 at night, as E3SM has
  !! it.
  elemental subroutine ocean_albedo(coszrs, direct, diffuse)
    real(r8), intent(in) :: coszrs
    real(r8), intent(out) :: direct, diffuse

    direct = 1.0_r8
    diffuse = 1.0_r8
    if (coszrs <= 0.0_r8) return
    direct = 0.026_r8 / (coszrs**1.7_r8 + 0.065_r8) &
      + 0.15_r8 * (coszrs - 0.1_r8) * (coszrs - 0.5_r8) * (coszrs - 1.0_r8)
    diffuse = 0.06_r8
  end subroutine ocean_albedo

  !> Air exchanged with the surface by the bulk formula [kg/m2/s]: density times coefficient times
  !! wind.
  elemental function exchange_rate(t, q, u, v, pressure) result(rate)
    real(r8), intent(in) :: t, q, u, v         !! Of the lowest level.
    real(r8), intent(in) :: pressure           !! [Pa]
    real(r8) :: rate

    rate = exchange_coefficient * pressure / (dry_air_gas * t * (1.0_r8 + virtual_factor * q)) &
      * sqrt(u**2 + v**2 + gust**2)
  end function exchange_rate

  !> Square root of the stress over density [m/s] that goes with the bulk formula.
  elemental function friction_velocity(u, v)
    real(r8), intent(in) :: u, v               !! Of the lowest level.
    real(r8) :: friction_velocity

    friction_velocity = sqrt(exchange_coefficient * (u**2 + v**2 + gust**2))
  end function friction_velocity

  !> Specific humidity of air in equilibrium with the sea.
  elemental function surface_humidity(sst, ps) result(q)
    real(r8), intent(in) :: sst
    real(r8), intent(in) :: ps                 !! [Pa]
    real(r8) :: q

    q = salinity_factor * saturation_specific_humidity(sst, ps)
  end function surface_humidity

end module aqua_surface
