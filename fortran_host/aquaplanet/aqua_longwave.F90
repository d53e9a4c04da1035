!> Longwave radiation of a column without scattering: five bands of the Planck function, each with a few absorption coefficients
!! (k-distribution), by vapour, carbon dioxide, ozone and cloud. An idealized set: strengths are of the order of band models (Goody
!! and Yung 1989, Atmospheric Radiation, chapter 4), tuned on radiative-convective equilibrium.
module aqua_longwave
  use aqua_constants, only: gravity, r8, stefan_boltzmann
  implicit none (type, external)
  private

  public :: longwave, band_fractions, n_band

  integer, parameter :: n_band = 5       ! strong vapour, weak vapour, carbon dioxide, window, ozone
  integer, parameter :: n_term = 9
  integer, parameter :: n_edge = 8
  !> Wavenumbers [1/cm] between which the bands lie, and the band above each edge.
  real(r8), parameter :: edges(n_edge) = [0.0_r8, 340.0_r8, 540.0_r8, 800.0_r8, 980.0_r8, 1080.0_r8, 1200.0_r8, 1380.0_r8]
  integer, parameter :: band_above(n_edge) = [1, 2, 3, 4, 5, 4, 2, 1]

  integer, parameter :: term_band(n_term) = [1, 1, 2, 2, 3, 3, 3, 4, 5]
  real(r8), parameter :: term_weight(n_term) = [0.5_r8, 0.5_r8, 0.5_r8, 0.5_r8, 0.2_r8, 0.3_r8, 0.5_r8, 1.0_r8, 1.0_r8]
  !> Absorption by vapour, carbon dioxide and ozone [m2/kg].
  real(r8), parameter :: vapor(n_term) = [15.0_r8, 1.0_r8, 0.3_r8, 0.03_r8, 0.05_r8, 0.05_r8, 0.05_r8, 0.001_r8, 0.001_r8]
  real(r8), parameter :: carbon(n_term) = [0.0_r8, 0.0_r8, 0.0_r8, 0.0_r8, 4.0_r8, 1.5_r8, 0.15_r8, 0.0_r8, 0.0_r8]
  real(r8), parameter :: ozone_strength(n_term) = [0.0_r8, 0.0_r8, 0.0_r8, 0.0_r8, 0.0_r8, 0.0_r8, 0.0_r8, 0.0_r8, 60.0_r8]
  !> The continuum of vapour by itself [m2/kg per share of vapour pressure in 1000 hPa].
  real(r8), parameter :: continuum(n_term) = [0.0_r8, 0.0_r8, 0.0_r8, 0.4_r8, 0.4_r8, 0.4_r8, 0.4_r8, 0.4_r8, 0.4_r8]
  real(r8), parameter :: diffusivity = 1.66_r8               !! Elsasser's factor for hemispheric fluxes.
  real(r8), parameter :: liquid_absorption = 90.0_r8, ice_absorption = 50.0_r8     !! [m2/kg]
  real(r8), parameter :: carbon_mass_ratio = 44.01_r8 / 28.966_r8
  real(r8), parameter :: reference_pressure = 1.0e5_r8

  !> Share of black-body emission at h c nu / (k T) above x, on an even grid of x (Chang and Rhee 1984, Int. Commun. Heat Mass
  !! Transf. 11, 451).
  real(r8), parameter :: second_radiation_constant = 1.438777_r8      ! [cm K]
  real(r8), parameter :: x_step = 0.05_r8
  integer, parameter :: n_x = 500
  integer :: i_x
  real(r8), parameter :: x_grid(0:n_x) = [(real(i_x, r8) * x_step, i_x = 0, n_x)]
  real(r8), parameter :: series_norm = 0.15398973382026504_r8         ! 15 / pi^4
  !> Of the series by exp(-n x), eight terms hold to 1e-8 above 2; below it, the power series does.
  real(r8), parameter :: far(0:n_x) = series_norm * ( &
    exp(-x_grid) * (x_grid**3 / 1 + 3.0_r8 * x_grid**2 / 1 + 6.0_r8 * x_grid / 1 + 6.0_r8 / 1) &
    + exp(-2 * x_grid) * (x_grid**3 / 2 + 3.0_r8 * x_grid**2 / 4 + 6.0_r8 * x_grid / 8 + 6.0_r8 / 16) &
    + exp(-3 * x_grid) * (x_grid**3 / 3 + 3.0_r8 * x_grid**2 / 9 + 6.0_r8 * x_grid / 27 + 6.0_r8 / 81) &
    + exp(-4 * x_grid) * (x_grid**3 / 4 + 3.0_r8 * x_grid**2 / 16 + 6.0_r8 * x_grid / 64 + 6.0_r8 / 256) &
    + exp(-5 * x_grid) * (x_grid**3 / 5 + 3.0_r8 * x_grid**2 / 25 + 6.0_r8 * x_grid / 125 + 6.0_r8 / 625) &
    + exp(-6 * x_grid) * (x_grid**3 / 6 + 3.0_r8 * x_grid**2 / 36 + 6.0_r8 * x_grid / 216 + 6.0_r8 / 1296) &
    + exp(-7 * x_grid) * (x_grid**3 / 7 + 3.0_r8 * x_grid**2 / 49 + 6.0_r8 * x_grid / 343 + 6.0_r8 / 2401) &
    + exp(-8 * x_grid) * (x_grid**3 / 8 + 3.0_r8 * x_grid**2 / 64 + 6.0_r8 * x_grid / 512 + 6.0_r8 / 4096))
  real(r8), parameter :: near(0:n_x) = 1.0_r8 - series_norm * x_grid**3 * (1.0_r8 / 3.0_r8 - x_grid / 8.0_r8 + x_grid**2 / 60.0_r8 &
    - x_grid**4 / 5040.0_r8 + x_grid**6 / 272160.0_r8 - x_grid**8 / 13305600.0_r8)
  real(r8), parameter :: share_above(0:n_x) = merge(near, far, x_grid < 2.0_r8)

contains

  !> Share of every band in black-body radiation at a temperature.
  pure function band_fractions(t) result(fraction)
    real(r8), intent(in) :: t                    !! [K]
    real(r8) :: fraction(n_band)
    real(r8) :: above(n_edge + 1), x
    integer :: i, at

    above(1) = 1.0_r8
    above(n_edge + 1) = 0.0_r8
    do i = 2, n_edge
      x = min(second_radiation_constant * edges(i) / (t * x_step), real(n_x, r8) - 1.0_r8)
      at = int(x)
      above(i) = share_above(at) + (x - real(at, r8)) * (share_above(at + 1) - share_above(at))
    end do
    fraction = 0.0_r8
    do i = 1, n_edge
      fraction(band_above(i)) = fraction(band_above(i)) + above(i) - above(i + 1)
    end do
  end function band_fractions

  !> heating [level] in W/m2 per layer, and the fluxes at both ends in W/m2.
  pure subroutine longwave(t, q, p_mid, dp, ozone, liquid, ice, co2_ppm, surface_emission, heating, down_surface, up_top)
    real(r8), intent(in) :: t(:), q(:), p_mid(:), dp(:), ozone(:)      !! [level]
    real(r8), intent(in) :: liquid(:), ice(:)                          !! Cloud water that radiates [level], kg/m2
    real(r8), intent(in) :: co2_ppm
    real(r8), intent(in) :: surface_emission                           !! [W/m2]
    real(r8), intent(out) :: heating(:)
    real(r8), intent(out) :: down_surface, up_top
    real(r8) :: emitted(n_band, size(t)), passed(size(t)), surface(n_band), mass, vapor_pressure, down, up
    real(r8) :: fixed(size(t), 5)
    integer :: k, n, term

    n = size(t)
    do k = 1, n
      emitted(:, k) = band_fractions(t(k)) * stefan_boltzmann * t(k)**4
      mass = diffusivity * dp(k) / gravity
      vapor_pressure = q(k) * p_mid(k) / (0.622_r8 + 0.378_r8 * q(k)) / reference_pressure
      fixed(k, :) = [mass * q(k) * p_mid(k) / reference_pressure, mass * q(k) * vapor_pressure, &
                     mass * co2_ppm * 1.0e-6_r8 * carbon_mass_ratio, mass * ozone(k), &
                     diffusivity * (liquid_absorption * liquid(k) + ice_absorption * ice(k))]
    end do
    surface = band_fractions((surface_emission / stefan_boltzmann)**0.25_r8) * surface_emission
    heating = 0.0_r8
    down_surface = 0.0_r8
    up_top = 0.0_r8
    do term = 1, n_term
      passed = exp(-(vapor(term) * fixed(:, 1) + continuum(term) * fixed(:, 2) + carbon(term) * fixed(:, 3) &
                     + ozone_strength(term) * fixed(:, 4) + fixed(:, 5)))
      down = 0.0_r8
      do k = 1, n
        associate (gained => (1.0_r8 - passed(k)) * (emitted(term_band(term), k) - down))
          heating(k) = heating(k) - term_weight(term) * gained
          down = down + gained
        end associate
      end do
      down_surface = down_surface + term_weight(term) * down
      up = surface(term_band(term))
      do k = n, 1, -1
        associate (gained => (1.0_r8 - passed(k)) * (emitted(term_band(term), k) - up))
          heating(k) = heating(k) - term_weight(term) * gained
          up = up + gained
        end associate
      end do
      up_top = up_top + term_weight(term) * up
    end do
  end subroutine longwave

end module aqua_longwave
