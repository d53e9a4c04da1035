!> Where the sun stands: the orbit of 1990 by Berger's (1978, J. Atmos. Sci. 35, 2362) formulas as
!! in E3SM's shr_orb_mod.
module aqua_sun
  use aqua_constants, only: pi, r8
  implicit none (type, external)
  private

  public :: solar_geometry, solar_declination

  real(r8), parameter, public :: solar_constant = 1360.9_r8   !! At the mean distance [W/m2].
  real(r8), parameter :: radian = pi / 180.0_r8
  real(r8), parameter :: eccentricity = 0.016708_r8
  real(r8), parameter :: obliquity = 23.4411_r8 * radian
  !> Longitude of perihelion from the moving vernal equinox.
  real(r8), parameter :: perihelion = (102.7_r8 + 180.0_r8) * radian
  real(r8), parameter :: equinox_day = 80.5_r8                !! Calendar day of the vernal equinox.
  real(r8), parameter :: year_days = 365.0_r8
  real(r8), parameter :: beta = sqrt(1.0_r8 - eccentricity**2)

  !> Mean longitude at the vernal equinox (Berger 1978, eq. 7).
  real(r8), parameter :: equinox_longitude = 2.0_r8 * ( &
    (0.5_r8 * eccentricity + 0.125_r8 * eccentricity**3) * (1.0_r8 + beta) * sin(perihelion) &
    - 0.25_r8 * eccentricity**2 * (0.5_r8 + beta) * sin(2.0_r8 * perihelion) &
    + 0.125_r8 * eccentricity**3 * (1.0_r8 / 3.0_r8 + beta) * sin(3.0_r8 * perihelion))

contains

  !> Declination [radians] and the sunlight relative to that at the mean distance, on a calendar day
  !! of a 365-day year (1.0 is 1 January, 0 UTC).
  elemental subroutine solar_declination(calendar_day, declination, distance_factor)
    real(r8), intent(in) :: calendar_day
    real(r8), intent(out) :: declination, distance_factor
    real(r8) :: mean_longitude, anomaly, longitude

    mean_longitude = equinox_longitude + (calendar_day - equinox_day) * 2.0_r8 * pi / year_days
    anomaly = mean_longitude - perihelion
    ! Berger's eq. 6 for the true longitude.
    longitude = mean_longitude + eccentricity * (2.0_r8 * sin(anomaly) &
                                                 + eccentricity * (1.25_r8 * sin(2.0_r8 * anomaly) &
                + eccentricity * (13.0_r8 / 12.0_r8 * sin(3.0_r8 * anomaly) &
                                  - 0.25_r8 * sin(anomaly))))
    declination = asin(sin(obliquity) * sin(longitude))
    distance_factor = ((1.0_r8 + eccentricity * cos(longitude - perihelion)) / (1.0_r8 &
      - eccentricity**2))**2
  end subroutine solar_declination

  !> The cosine of the solar zenith angle (0 at night) at that very moment, and the sunlight on a
  !! horizontal plane at the top of the atmosphere.
  elemental subroutine solar_geometry(calendar_day, latitude, longitude, coszrs, solin)
    real(r8), intent(in) :: calendar_day        !! 1.0 is 1 January, 0 UTC
    real(r8), intent(in) :: latitude            !! [radians]
    real(r8), intent(in) :: longitude           !! [radians east]
    real(r8), intent(out) :: coszrs
    real(r8), intent(out) :: solin              !! [W/m2]
    real(r8) :: declination, distance_factor

    call solar_declination(calendar_day, declination, distance_factor)
    coszrs = sin(latitude) * sin(declination) &
             - cos(latitude) * cos(declination) &
             * cos(2.0_r8 * pi * (calendar_day - aint(calendar_day)) + longitude)
    coszrs = max(coszrs, 0.0_r8)
    solin = solar_constant * distance_factor * coszrs
  end subroutine solar_geometry

end module aqua_sun
