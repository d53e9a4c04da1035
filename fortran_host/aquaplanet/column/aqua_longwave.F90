!> Longwave radiation of a column without scattering: five bands of the Planck function, each with a
!! few absorption coefficients (k-distribution), by vapour, carbon dioxide, ozone, methane with
!! nitrous oxide, and cloud. The form is that of band models (Goody and Yung 1989, Atmospheric
!! Radiation, chapter 4): absorption by lines grows with pressure down to a floor, that by the
!! continuum of vapour with its pressure and with cold. Shares and strengths were fitted to heating
!! rates and surface fluxes of 335 nearly cloudless columns of ClimSim's low-resolution data
!! (docs/embedded_model.md).
module aqua_longwave
  use aqua_constants, only: gravity, r8, stefan_boltzmann
  implicit none (type, external)
  private

  public :: longwave, band_fractions, n_band, term_weight, n_term

  ! rotation of vapour, carbon dioxide, window, ozone, vibration of vapour
  integer, parameter :: n_band = 5
  integer, parameter :: n_term = 15
  integer, parameter :: n_edge = 6
  !> Wavenumbers [1/cm] between which the bands lie, and the band above each edge.
  real(r8), parameter :: edges(n_edge) = [0.0_r8, 540.0_r8, 800.0_r8, 980.0_r8, 1080.0_r8, &
    1200.0_r8]
  integer, parameter :: band_above(n_edge) = [1, 2, 3, 4, 3, 5]

  integer, parameter :: term_band(n_term) = [1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 4, 4, 5, 5]
  !> Share of its band that a term stands for.
  real(r8), parameter :: term_weight(n_term) = [ &
    0.420_r8, 0.313_r8, 0.267_r8, 0.369_r8, 0.431_r8, 0.137_r8, 0.043_r8, 0.0146_r8, 0.0054_r8, &
    0.310_r8, 0.690_r8, 0.756_r8, 0.244_r8, 0.415_r8, 0.585_r8]
  !> Absorption by lines at 1000 hPa [m2/kg]: of vapour, of well-mixed gases per mass of air (carbon
  !! dioxide in band 2, methane and nitrous oxide in band 5), of ozone.
  real(r8), parameter :: vapor(n_term) = [ &
    0.488_r8, 6.28_r8, 6.29_r8, 2.02e-3_r8, 7.88e-3_r8, 0.0200_r8, 0.0200_r8, 0.0200_r8, &
    0.0200_r8, 4.75e-4_r8, 4.32e-4_r8, 5.11e-4_r8, 5.87e-3_r8, 0.156_r8, 2.32_r8]
  real(r8), parameter :: mixed(n_term) = [ &
    0.0_r8, 0.0_r8, 0.0_r8, 8.32e-5_r8, 2.90e-3_r8, 0.0830_r8, 0.770_r8, 30.0_r8, 5.07_r8, 0.0_r8, &
    0.0_r8, 0.0_r8, 0.0_r8, 8.40e-7_r8, 2.97e-6_r8]
  real(r8), parameter :: ozone_strength(n_term) = [ &
    0.0_r8, 0.0_r8, 0.0_r8, 0.0_r8, 0.0_r8, 0.0_r8, 0.0_r8, 0.0_r8, 0.0_r8, 0.0_r8, 0.0_r8, &
    9.30_r8, 287.0_r8, 0.0_r8, 0.0_r8]
  !> Floor of the growth with pressure [1000 hPa]: lines that are wide, or narrow no further.
  real(r8), parameter :: floor_pressure(n_term) = [ &
    0.0167_r8, 0.0619_r8, 3.17_r8, 3.43e-3_r8, 1.04e-3_r8, 1.95e-4_r8, 6.53e-5_r8, 3.01e-4_r8, &
    0.0301_r8, 2.97e-3_r8, 2.93e-3_r8, 3.20e-3_r8, 2.56_r8, 3.50e-3_r8, 1.91e-3_r8]
  !> Continuum of vapour by band [m2/kg per 1000 hPa of vapour pressure, at 296 K]; it grows by
  !! exp(1800 (1/T - 1/296)).
  real(r8), parameter :: continuum(n_band) = [2.37_r8, 3.60_r8, 1.03_r8, 0.145_r8, 0.0368_r8]
  real(r8), parameter :: continuum_slope = 1800.0_r8, continuum_temperature = 296.0_r8       ! [K]
  real(r8), parameter :: reference_co2_ppm = 367.0_r8   !! At which the strengths hold.
  real(r8), parameter :: diffusivity = 1.66_r8          !! Elsasser's factor for hemispheric fluxes.
  !> Pade coefficient of the source of a layer between that of its middle and that of the edge that
  !! light leaves through (Clough, Iacono and Moncet 1992, J. Geophys. Res. 97, 15761).
  real(r8), parameter :: toward_edge = 0.278_r8
  real(r8), parameter :: reference_pressure = 1.0e5_r8
  real(r8), parameter :: opaque = 40.0_r8          !! Depth beyond which what passes is lost in
                                                   !! rounding; exp is slow far beyond.

  !> Share of black-body emission at h c nu / (k T) above x, on an even grid of x (Chang and Rhee
  !! 1984, Int. Commun. Heat Mass Transf. 11, 451).
  real(r8), parameter :: second_radiation_constant = 1.438777_r8      ! [cm K]
  real(r8), parameter :: x_step = 0.05_r8
  integer, parameter :: n_x = 500
  integer :: i_x
  real(r8), parameter :: x_grid(0:n_x) = [(real(i_x, r8) * x_step, i_x = 0, n_x)]
  real(r8), parameter :: series_norm = 0.15398973382026504_r8         ! 15 / pi^4
  !> Of the series by exp(-n x), eight terms hold to 1e-8 above 2; below it, the power series does.
  real(r8), parameter :: far(0:n_x) = series_norm * ( &
    exp(-x_grid) * (x_grid**3 / 1 + 3.0_r8 * x_grid**2 / 1 + 6.0_r8 * x_grid / 1 + 6.0_r8 / 1) &
    + exp(-2 * x_grid) * (x_grid**3 / 2 + 3.0_r8 * x_grid**2 / 4 + 6.0_r8 * x_grid / 8 &
                          + 6.0_r8 / 16) &
    + exp(-3 * x_grid) * (x_grid**3 / 3 + 3.0_r8 * x_grid**2 / 9 + 6.0_r8 * x_grid / 27 &
                          + 6.0_r8 / 81) &
    + exp(-4 * x_grid) * (x_grid**3 / 4 + 3.0_r8 * x_grid**2 / 16 + 6.0_r8 * x_grid / 64 &
                          + 6.0_r8 / 256) &
    + exp(-5 * x_grid) * (x_grid**3 / 5 + 3.0_r8 * x_grid**2 / 25 + 6.0_r8 * x_grid / 125 &
                          + 6.0_r8 / 625) &
    + exp(-6 * x_grid) * (x_grid**3 / 6 + 3.0_r8 * x_grid**2 / 36 + 6.0_r8 * x_grid / 216 &
                          + 6.0_r8 / 1296) &
    + exp(-7 * x_grid) * (x_grid**3 / 7 + 3.0_r8 * x_grid**2 / 49 + 6.0_r8 * x_grid / 343 &
                          + 6.0_r8 / 2401) &
    + exp(-8 * x_grid) * (x_grid**3 / 8 + 3.0_r8 * x_grid**2 / 64 + 6.0_r8 * x_grid / 512 &
                          + 6.0_r8 / 4096))
  real(r8), parameter :: near(0:n_x) = 1.0_r8 - series_norm * x_grid**3 * (1.0_r8 / 3.0_r8 &
    - x_grid / 8.0_r8 + x_grid**2 / 60.0_r8 &
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

  !> heating [level] in W/m2 per layer, and the fluxes at both ends in W/m2. A part of the column is
  !! covered by cloud; the rest is clear.
  pure subroutine longwave(t, q, p_mid, dp, ozone, co2_ppm, cover, cloud_depth, surface_emission, &
                           heating, down_surface, up_top)
    real(r8), intent(in) :: t(:), q(:), p_mid(:), dp(:), ozone(:)  !! [level]
    real(r8), intent(in) :: co2_ppm
    real(r8), intent(in) :: cover             !! Share of the column that is covered, 0 to 1
    real(r8), intent(in) :: cloud_depth(:)    !! Vertical depth of cloud in the covered part [level]
    real(r8), intent(in) :: surface_emission  !! [W/m2]
    real(r8), intent(out) :: heating(:), down_surface, up_top
    real(r8), dimension(n_term, size(t)) :: depth, absorbed, downward, upward
    real(r8) :: emitted(n_band, size(t)), at_edge(n_band, size(t) + 1), surface(n_band)
    integer :: k, n

    n = size(t)
    call emissions(t, dp, emitted, at_edge)
    surface = band_fractions((surface_emission / stefan_boltzmann)**0.25_r8) * surface_emission
    do k = 1, n
      call gas_depths(t(k), q(k), p_mid(k), dp(k), ozone(k), co2_ppm, depth(:, k))
      call layer_properties(depth(:, k), emitted(:, k), at_edge(:, k:k + 1), absorbed(:, k), &
                            downward(:, k), upward(:, k))
    end do
    heating = 0.0_r8
    down_surface = 0.0_r8
    up_top = 0.0_r8
    call exchange(1.0_r8 - cover, absorbed, downward, upward, term_weight * surface(term_band), &
                  heating, down_surface, up_top)
    if (cover <= 0.0_r8) return
    do k = 1, n
      if (cloud_depth(k) <= 0.0_r8) cycle
      depth(:, k) = depth(:, k) + diffusivity * cloud_depth(k)
      call layer_properties(depth(:, k), emitted(:, k), at_edge(:, k:k + 1), absorbed(:, k), &
                            downward(:, k), upward(:, k))
    end do
    call exchange(cover, absorbed, downward, upward, term_weight * surface(term_band), heating, &
                  down_surface, up_top)
  end subroutine longwave

  !> Light down and up through the layers, times share, added to heating and to the fluxes at both
  !! ends.
  pure subroutine exchange(share, absorbed, downward, upward, surface, heating, down_surface, &
                           up_top)
    real(r8), intent(in) :: share
    real(r8), intent(in) :: absorbed(:, :), downward(:, :), upward(:, :)   !! [term, level]
    real(r8), intent(in) :: surface(n_term)                                !! What the surface emits
    real(r8), intent(inout) :: heating(:), down_surface, up_top
    real(r8) :: flux(n_term), gained(n_term)
    integer :: k, n

    n = size(heating)
    flux = 0.0_r8
    do k = 1, n
      gained = absorbed(:, k) * (downward(:, k) - flux)
      flux = flux + gained
      heating(k) = heating(k) - share * sum(gained)
    end do
    down_surface = down_surface + share * sum(flux)
    flux = surface
    do k = n, 1, -1
      gained = absorbed(:, k) * (upward(:, k) - flux)
      flux = flux + gained
      heating(k) = heating(k) - share * sum(gained)
    end do
    up_top = up_top + share * sum(flux)
  end subroutine exchange

  !> What part of light a layer absorbs, and what it would emit down and up if it were black:
  !! between the emission of its middle and that of the edge through which light leaves.
  pure subroutine layer_properties(depth, middle, edges_of_layer, absorbed, downward, upward)
    real(r8), intent(in) :: depth(n_term), middle(n_band), edges_of_layer(n_band, 2)
    real(r8), intent(out) :: absorbed(n_term), downward(n_term), upward(n_term)
    real(r8) :: share(n_term), norm(n_term)

    absorbed = 1.0_r8 - exp(-min(depth, opaque))
    share = toward_edge * depth
    norm = term_weight / (1.0_r8 + share)
    downward = norm * (middle(term_band) + share * edges_of_layer(term_band, 2))
    upward = norm * (middle(term_band) + share * edges_of_layer(term_band, 1))
  end subroutine layer_properties

  !> Black-body emission by band [W/m2] of the middles of layers and of the edges between them,
  !! whose temperatures are interpolated in pressure.
  pure subroutine emissions(t, dp, emitted, at_edge)
    real(r8), intent(in) :: t(:), dp(:)
    real(r8), intent(out) :: emitted(:, :), at_edge(:, :)
    real(r8) :: edge
    integer :: k, n

    n = size(t)
    do k = 1, n
      emitted(:, k) = band_fractions(t(k)) * stefan_boltzmann * t(k)**4
      if (k < n) then
        edge = t(k) + (t(k + 1) - t(k)) * dp(k) / (dp(k) + dp(k + 1))
      else
        edge = t(n) + 0.5_r8 * (t(n) - t(n - 1))
      end if
      at_edge(:, k + 1) = band_fractions(edge) * stefan_boltzmann * edge**4
    end do
    at_edge(:, 1) = emitted(:, 1)
  end subroutine emissions

  !> Depth of a layer by its gases for diffuse light [term].
  pure subroutine gas_depths(t, q, p, dp, ozone, co2_ppm, depth)
    real(r8), intent(in) :: t, q, p, dp, ozone, co2_ppm
    real(r8), intent(out) :: depth(n_term)
    real(r8) :: air, self_broadened, relative, mixed_gas(n_band)

    air = diffusivity * dp / gravity
    relative = p / reference_pressure
    self_broadened = air * q * q / 0.622_r8 * relative &
      * exp(continuum_slope * (1.0_r8 / t - 1.0_r8 / continuum_temperature))
    mixed_gas = air
    mixed_gas(2) = air * co2_ppm / reference_co2_ppm
    depth = (vapor * air * q + mixed * mixed_gas(term_band) + ozone_strength * air * ozone) &
            * (relative + floor_pressure) &
            + continuum(term_band) * self_broadened
  end subroutine gas_depths

end module aqua_longwave
