!> Prescribed trace gases: ozone by Green's profile, methane and nitrous oxide falling off in the
!! stratosphere. The coefficients were fitted to the annual means of ClimSim's low-resolution
!! columns; radiation and emulator inputs share these profiles.
module aqua_gases
  use aqua_constants, only: gravity, r8
  implicit none (type, external)
  private

  public :: gas_profiles

  real(r8), parameter :: dobson = 2.1415e-5_r8           !! Ozone of one Dobson unit [kg/m2].
  real(r8), parameter :: scale_height = 7.0_r8           !! Of pressure, for Green's height [km].
  real(r8), parameter :: loss_pressure = 39.0_r8         !! Photochemical loss makes ozone fall off
                                                         !! above this pressure [Pa].
  real(r8), parameter :: tropospheric = 4.8e-8_r8        !! Ozone everywhere [kg/kg].
  !> Far below the fall-off; at 1000 hPa 0.93e-6, 0.46e-6.
  real(r8), parameter :: most_ch4 = 9.99e-7_r8, most_n2o = 4.91e-7_r8

contains

  !> Mass mixing ratios [level] in kg/kg at pressures [level] in Pa.
  !!
  !! Ozone: Green (1964, Appl. Opt. 3, 203), column above height h: a (1 + exp(-b/c)) / (1 +
  !! exp((h - b)/c)), with a [DU], b and c [km] depending on latitude (as Lacis and Hansen 1974, who
  !! take b = 20, c = 5), plus a tropospheric background.
  pure subroutine gas_profiles(pressure, latitude, ozone, ch4, n2o)
    real(r8), intent(in) :: pressure(:)
    real(r8), intent(in) :: latitude                     !! [radians]
    real(r8), intent(out) :: ozone(:), ch4(:), n2o(:)
    real(r8) :: polar, a, b, c, e, density, log_p
    integer :: k

    polar = sin(latitude)**2
    a = 218.0_r8 + 133.0_r8 * polar
    b = 29.24_r8 - 7.80_r8 * polar
    c = 3.83_r8 + 1.42_r8 * polar
    do k = 1, size(pressure)
      log_p = log(pressure(k))
      e = exp((scale_height * (log(1.0e5_r8) - log_p) - b) / c)
      density = a * dobson / c * (1.0_r8 + exp(-b / c)) * e / (1.0_r8 + e)**2  ! kg/m2 per km
      ozone(k) = density * gravity * scale_height / pressure(k) / (1.0_r8 &
        + loss_pressure / pressure(k)) + tropospheric
      ch4(k) = most_ch4 / (1.0_r8 + sqrt(587.0_r8 / pressure(k)))
      n2o(k) = most_n2o / (1.0_r8 + exp(0.616_r8 * (log(1646.0_r8) - log_p)))
    end do
  end subroutine gas_profiles

end module aqua_gases
