!> Sun, gases, saturation and radiation of the embedded model against closed forms. The first
!! argument is the file of levels.
program test_aqua_radiation
  use aqua_constants, only: gravity, heat_capacity, pi, r8, seconds_per_day, stefan_boltzmann
  use aqua_gases, only: gas_profiles
  use aqua_grid, only: gaussian_grid, make_grid
  use aqua_levels, only: hybrid_levels, interface_pressure, midpoint_pressure
  use aqua_longwave, only: band_fractions, longwave, n_band
  use aqua_saturation, only: condensation_heat, liquid_fraction, saturation_specific_humidity, &
                             saturation_with_slope
  use aqua_shortwave, only: oxygen_weight, shortwave, shortwave_result, term_weight
  use aqua_sun, only: solar_constant, solar_declination, solar_geometry
  use aqua_surface, only: ocean_albedo, sea_surface_temperature
  use aqua_test_support, only: check, check_close, climsim_levels
  use climlink_humidity, only: relative_humidity
  implicit none (type, external)

  integer, parameter :: n = 60
  real(r8), parameter :: degree = pi / 180.0_r8
  real(r8), parameter :: ps = 1.0e5_r8, solin = 1000.0_r8, co2_ppm = 367.0_r8
  real(r8), parameter :: exact = 1.0e-9_r8                !! For fluxes of some hundred W/m2.
  type(hybrid_levels) :: levels
  real(r8), dimension(n) :: p_mid, dp, zero, t, q, ozone, ch4, n2o

  levels = climsim_levels()
  p_mid = midpoint_pressure(levels, ps)
  associate (p => interface_pressure(levels, ps))
    dp = p(2:) - p(:n)
  end associate
  zero = 0.0_r8
  t = max(205.0_r8, 297.0_r8 * (p_mid / ps)**0.19_r8)
  where (p_mid < 1.0e4_r8) t = 205.0_r8 + 55.0_r8 * exp(-(log(p_mid / 1.0e2_r8) / 3.0_r8)**2)
  q = merge(0.7_r8 * saturation_specific_humidity(t, p_mid), 3.0e-6_r8, p_mid > 1.0e4_r8)
  call gas_profiles(p_mid, 0.0_r8, ozone, ch4, n2o)
  call check_orbit()
  call check_daylight()
  call check_surface()
  call check_gases()
  call check_saturation()
  call check_planck()
  call check_isothermal_air()
  call check_transparent_and_opaque_air()
  call check_longwave_of_the_tropics()
  call check_clear_sky()
  call check_cloud_of_pure_scattering()
  call check_shortwave_budget()
  call check_light_at_the_surface()
  call check_resonance()

contains

  !> The year has 365 days; perihelion and aphelion bound the sunlight, the obliquity the
  !! declination.
  subroutine check_orbit()
    integer, parameter :: per_day = 10
    real(r8) :: declination(365 * per_day), factor(365 * per_day), day(365 * per_day), one, again
    integer :: i

    day = [(1.0_r8 + real(i, r8) / real(per_day, r8), i = 0, 365 * per_day - 1)]
    call solar_declination(day, declination, factor)
    call check_close(maxval(declination), 23.4411_r8 * degree, 1.0e-6_r8, &
                     'declination at the summer solstice')
    call check_close(minval(declination), -23.4411_r8 * degree, 1.0e-6_r8, &
                     'declination at the winter solstice')
    call check_close(day(maxloc(declination, dim=1)), 173.0_r8, 1.5_r8, &
                     'day of the summer solstice')
    call check_close(maxval(factor), (1.0_r8 - 0.016708_r8)**(-2), 1.0e-6_r8, &
                     'sunlight at perihelion')
    call check_close(minval(factor), (1.0_r8 + 0.016708_r8)**(-2), 1.0e-6_r8, &
                     'sunlight at aphelion')
    call check_close(day(maxloc(factor, dim=1)), 3.5_r8, 2.0_r8, 'day of perihelion')
    call solar_declination(80.5_r8, one, again)
    call check_close(one, 0.0_r8, 1.0e-5_r8, 'declination at the vernal equinox')
  end subroutine check_orbit

  !> Noon and midnight; the sphere intercepts a quarter of the beam.
  subroutine check_daylight()
    type(gaussian_grid) :: grid
    character(len=:), allocatable :: error
    real(r8) :: cosine, incoming, declination, factor, mean
    integer :: i, j

    call solar_declination(80.5_r8, declination, factor)
    call solar_geometry(80.5_r8, 0.0_r8, 0.0_r8, cosine, incoming)
    call check_close(cosine, 1.0_r8, exact, 'the sun at noon of the equinox')
    call check_close(incoming, solar_constant * factor, 1.0e-5_r8, &
                     'sunlight at noon of the equinox')
    call solar_geometry(80.5_r8, 0.0_r8, pi, cosine, incoming)
    call check(max(abs(cosine), abs(incoming)) <= 0.0_r8, 'there is sun at midnight')
    call solar_geometry(80.75_r8, 60.0_r8 * degree, -90.0_r8 * degree, cosine, incoming)
    call check_close(cosine, 0.5_r8, 3.0e-3_r8, 'noon at 90 W, six hours after that at Greenwich')

    call make_grid(42, grid, error)
    mean = 0.0_r8
    do j = 1, grid%n_lat
      do i = 1, grid%n_lon
        call solar_geometry(173.0_r8, grid%latitude(j), grid%longitude(i), cosine, incoming)
        mean = mean + grid%area(1 + (j - 1) * grid%n_lon) * incoming / (4.0_r8 * pi)
      end do
    end do
    call solar_declination(173.0_r8, declination, factor)
    call check_close(mean, 0.25_r8 * solar_constant * factor, 0.5_r8, 'sunlight on the sphere')
  end subroutine check_daylight

  subroutine check_surface()
    real(r8) :: direct, diffuse

    call check_close(sea_surface_temperature(0.0_r8), 300.15_r8, exact, &
                     'sea surface temperature at the equator')
    call check_close(sea_surface_temperature(-30.0_r8 * degree), 273.15_r8 + 13.5_r8 * 1.25_r8, &
                     exact, 'the same at 30 S')
    call check_close(sea_surface_temperature(70.0_r8 * degree), 273.15_r8, exact, &
                     'the same at 70 N')
    call ocean_albedo(0.0_r8, direct, diffuse)
    call check(abs(direct - 1.0_r8) + abs(diffuse - 1.0_r8) <= 0.0_r8, 'albedos at night are not 1')
    call ocean_albedo(1.0_r8, direct, diffuse)
    call check_close(direct, 0.026_r8 / 1.065_r8, exact, 'albedo below the sun')
    call check_close(diffuse, 0.06_r8, exact, 'albedo for diffuse light')
  end subroutine check_surface

  !> A column of ozone as observed, most of it near 10 hPa; methane and nitrous oxide of ClimSim at
  !! the surface.
  subroutine check_gases()
    real(r8) :: polar(n)

    call check_close(sum(ozone * dp) / gravity / 2.1415e-5_r8, 235.0_r8, 20.0_r8, &
                     'ozone at the equator in Dobson units')
    call check_close(maxval(ozone), 1.6e-5_r8, 3.0e-6_r8, 'largest ozone')
    call check_close(p_mid(maxloc(ozone, dim=1)), 850.0_r8, 400.0_r8, &
                     'pressure of the largest ozone')
    call check_close(ch4(n), 9.3e-7_r8, 3.0e-8_r8, 'methane at the surface')
    call check_close(n2o(n), 4.6e-7_r8, 3.0e-8_r8, 'nitrous oxide at the surface')
    call gas_profiles(p_mid, pi / 2.0_r8, polar, ch4, n2o)
    call check_close(sum(polar * dp) / gravity / 2.1415e-5_r8, 350.0_r8, 20.0_r8, &
                     'ozone at the pole in Dobson units')
  end subroutine check_gases

  !> As the hosts of climlink have it, but for the rounded gas constants there; the slope against
  !! differences away from the ramp.
  subroutine check_saturation()
    real(r8), parameter :: rounded = (287.0_r8 / 461.0_r8) / (287.0423_r8 / 461.5046_r8)
    real(r8) :: temperature, saturation, heat, slope, above, below
    integer :: i

    do i = 0, 150
      temperature = 180.0_r8 + real(i, r8)
      saturation = saturation_specific_humidity(temperature, 5.0e4_r8)
      call check_close(relative_humidity(temperature, saturation, 5.0e4_r8) * rounded, 1.0_r8, &
                       1.0e-5_r8, 'relative humidity')
      if (temperature > 200.0_r8 .and. temperature < 250.0_r8 .or. temperature > 275.0_r8) then
        call saturation_with_slope(temperature, 5.0e4_r8, saturation, heat, slope)
        above = saturation_specific_humidity(temperature + 0.01_r8, 5.0e4_r8)
        below = saturation_specific_humidity(temperature - 0.01_r8, 5.0e4_r8)
        call check_close((above - below) / 0.02_r8 / slope, 1.0_r8, 0.06_r8, &
                         'Clausius and Clapeyron')
      end if
    end do
    call check(saturation_specific_humidity(300.0_r8, 10.0_r8) < 0.6221_r8, &
               'saturation is not capped where pressure is low')
    call check_close(liquid_fraction(263.16_r8), 0.5_r8, exact, 'liquid half way down the ramp')
    call check_close(condensation_heat(240.0_r8) - condensation_heat(280.0_r8), 3.337e5_r8, exact, &
                     'heat of fusion')
  end subroutine check_saturation

  !> The bands hold all of a black body's radiation; the window that which Simpson's rule finds
  !! there.
  subroutine check_planck()
    real(r8), parameter :: c2 = 1.438777_r8
    real(r8) :: fraction(n_band), temperature, x, quadrature
    integer :: i, j
    integer, parameter :: n_point = 400

    do i = 0, 20
      temperature = 150.0_r8 + 10.0_r8 * real(i, r8)
      fraction = band_fractions(temperature)
      call check_close(sum(fraction), 1.0_r8, 1.0e-14_r8, 'sum of the shares of all bands')
      call check(all(fraction > 0.0_r8), 'a band without radiation')
      quadrature = 0.0_r8
      do j = 0, n_point
        x = c2 * (980.0_r8 + 100.0_r8 * real(j, r8) / real(n_point, r8)) / temperature
        quadrature = quadrature + merge(1.0_r8, merge(2.0_r8, 4.0_r8, mod(j, 2) == 0), j == 0 &
                                        .or. j == n_point) &
                     * x**3 / (exp(x) - 1.0_r8)
      end do
      quadrature = quadrature * 15.0_r8 / pi**4 * c2 &
        * 100.0_r8 / temperature / real(3 * n_point, r8)
      call check_close(minval(abs(fraction - quadrature)), 0.0_r8, 2.0e-4_r8, &
                       'share of 980 to 1080 cm-1 by quadrature')
    end do
  end subroutine check_planck

  !> Nothing warms or cools in a cavity of one temperature.
  subroutine check_isothermal_air()
    real(r8) :: heating(n), down, up, black

    black = stefan_boltzmann * 260.0_r8**4
    call longwave(spread(260.0_r8, 1, n), q, p_mid, dp, ozone, co2_ppm, 0.4_r8, zero + 0.1_r8, &
                  black, heating, down, up)
    call check_close(up, black, exact, 'flux out of isothermal air over a surface as warm')
    call check(down > 0.5_r8 * black .and. down <= black, &
               'flux down at the surface of isothermal air')
    call check_close(sum(heating), black - down - up, exact, 'longwave budget of isothermal air')
  end subroutine check_isothermal_air

  !> Without absorbers the surface radiates to space; dense cloud is black on both sides.
  subroutine check_transparent_and_opaque_air()
    real(r8) :: heating(n), down, up, lwup

    lwup = stefan_boltzmann * 300.0_r8**4
    call longwave(t, zero, p_mid, 1.0e-20_r8 * dp, zero, co2_ppm, 0.0_r8, zero, lwup, heating, &
                  down, up)
    call check_close(up, lwup, exact, 'flux out through transparent air')
    call check_close(down, 0.0_r8, exact, 'flux down from transparent air')
    call check(maxval(abs(heating)) < exact, 'transparent air is heated')
    call longwave(t, q, p_mid, dp, ozone, co2_ppm, 1.0_r8, zero + 1.0e12_r8, lwup, heating, down, &
                  up)
    call check_close(up, stefan_boltzmann * t(1)**4, 1.0e-6_r8, 'flux out of black cloud')
    call check_close(down, stefan_boltzmann * (1.5_r8 * t(n) - 0.5_r8 * t(n - 1))**4, 1.0e-6_r8, &
                     'flux down from black cloud')
  end subroutine check_transparent_and_opaque_air

  !> A tropical column: fluxes, cooling of the troposphere and of the stratopause, forcing by
  !! doubled carbon dioxide, by vapour and by cloud have sign and size of the real ones.
  subroutine check_longwave_of_the_tropics()
    real(r8) :: heating(n), down, up, other(n), down_other, up_other, lwup, rate(n)

    lwup = stefan_boltzmann * 300.0_r8**4
    call longwave(t, q, p_mid, dp, ozone, co2_ppm, 0.0_r8, zero, lwup, heating, down, up)
    call check_close(sum(heating), lwup - down - up, exact, 'longwave budget of the tropics')
    call check_close(up, 275.0_r8, 30.0_r8, 'flux out in the tropics')
    call check_close(sum(q * dp) / gravity, 45.0_r8, 10.0_r8, 'vapour in the tropics')
    ! Dilley and O'Brien (1998, Q. J. R. Meteorol. Soc. 124, 1391), from air temperature and column
    ! water; good to some 10 W/m2.
    call check_close(down, 59.38_r8 + 113.7_r8 * (t(n) / 273.16_r8)**6 &
                     + 96.96_r8 * sqrt(sum(q * dp) / gravity / 25.0_r8), 15.0_r8, &
                     'flux down in the tropics')
    rate = heating * gravity / (dp * heat_capacity) * seconds_per_day
    call check_close(sum(rate * dp, mask=p_mid > 3.0e4_r8) / sum(dp, mask=p_mid > 3.0e4_r8), &
                     -2.0_r8, 0.6_r8, 'cooling, K/day')
    call check_close(minval(rate, mask=p_mid < 1.0e3_r8), -9.0_r8, 5.0_r8, &
                     'cooling of the stratopause, K/day')
    call longwave(t, q, p_mid, dp, ozone, 2.0_r8 * co2_ppm, 0.0_r8, zero, lwup, other, down_other, &
                  up_other)
    call check_close(up - up_other, 3.0_r8, 2.5_r8, 'forcing by doubled carbon dioxide at the top')
    call check(down_other > down, 'doubled carbon dioxide takes from the flux down')
    call longwave(t, 1.1_r8 * q, p_mid, dp, ozone, co2_ppm, 0.0_r8, zero, lwup, other, down_other, &
                  up_other)
    call check(up_other < up .and. down_other > down, 'vapour is no greenhouse gas')
    call longwave(t, q, p_mid, dp, ozone, co2_ppm, 1.0_r8, &
                  merge(1.0_r8, 0.0_r8, abs(p_mid - 2.5e4_r8) < 3.0e3_r8), lwup, other, &
                  down_other, up_other)
    call check(up_other < up - 50.0_r8, 'high cloud lets the flux out')
    call check(down_other >= down .and. down_other < down + 20.0_r8, &
               'high cloud at the surface of the tropics')
    call longwave(t, q, p_mid, dp, ozone, co2_ppm, 0.25_r8, &
                  merge(1.0_r8, 0.0_r8, abs(p_mid - 2.5e4_r8) < 3.0e3_r8), lwup, heating, &
                  other(1), other(2))
    call check_close(other(2), 0.75_r8 * up + 0.25_r8 * up_other, exact, &
                     'flux out above a quarter of cloud')
  end subroutine check_longwave_of_the_tropics

  !> Without cloud, ozone and vapour only air scatters, and only the visible: the beam follows
  !! Beer's law, all else is conserved.
  subroutine check_clear_sky()
    real(r8), parameter :: cosine = 0.6_r8, rayleigh = 0.125_r8
    type(shortwave_result) :: sun
    real(r8) :: heating(n), black(2)

    call check_close(sum(term_weight) + oxygen_weight, 1.0_r8, 1.0e-12_r8, 'shares of sunlight')
    black = 0.0_r8
    call shortwave(solin, cosine, black, black, p_mid, dp, zero, zero, 0.0_r8, zero, zero, &
                   heating, sun)
    call check_close(sun%direct(1), &
                     term_weight(1) * solin * exp(-rayleigh * sum(dp) / 1.0e5_r8 / cosine), &
                     1.0e-3_r8, 'direct visible light in clear air')
    call check_close(sun%direct(2) + sum(heating), solin * (1.0_r8 - term_weight(1)), 1.0e-3_r8, &
                     'near infrared in air alone')
    call check_close(sun%diffuse(2), 0.0_r8, exact, 'diffuse near infrared in clear air')
    call check(sun%diffuse(1) > 0.4_r8 * (term_weight(1) * solin - sun%direct(1)), &
               'air scatters less than half down')
    call check_close(sum(heating), 0.025_r8 * solin, 0.015_r8 * solin, &
                     'heating by well-mixed gases')
    call shortwave(solin, cosine, black, black, p_mid, dp, zero, ozone, 0.0_r8, zero, zero, &
                   heating, sun)
    call check(all(heating >= 0.0_r8) .and. p_mid(maxloc(heating / dp, dim=1)) < 3.0e2_r8, &
               'ozone heats elsewhere')
    call check_close(maxval(heating / dp) * gravity / heat_capacity * seconds_per_day, 35.0_r8, &
                     20.0_r8, 'heating by ozone, K/day')
  end subroutine check_clear_sky

  !> Conservative cloud over a black surface against the delta-Eddington solution of one layer
  !! (Joseph, Wiscombe and Weinman 1976): T = (2/3 + mu + (2/3 - mu) exp(-tau/mu)) / (4/3 + (1 - g)
  !! tau). Many layers give what one does.
  subroutine check_cloud_of_pure_scattering()
    real(r8), parameter :: cosine = 0.7_r8, depth = 12.0_r8, g = 0.85_r8
    real(r8), parameter :: scaled = (1.0_r8 - g**2) * depth, scaled_g = g / (1.0_r8 + g), &
                           third2 = 2.0_r8 / 3.0_r8
    type(shortwave_result) :: sun
    real(r8) :: heating(n), black(2), expected, thin(n)

    black = 0.0_r8
    thin = 1.0e-6_r8                       ! air too thin to scatter
    expected = (third2 + cosine + (third2 - cosine) * exp(-scaled / cosine)) / (2.0_r8 * third2 &
      + (1.0_r8 - scaled_g) * scaled)
    call shortwave(solin, cosine, black, black, p_mid, thin, zero, zero, 1.0_r8, &
                   zero + depth / real(n, r8), zero, heating, sun)
    call check_close((sun%direct(1) + sun%diffuse(1)) / (term_weight(1) * solin), expected, &
                     1.0e-3_r8, 'visible light through cloud')
    ! Without air, what oxygen would absorb stays in the visible.
    call check_close(sun%direct(1) / ((term_weight(1) + oxygen_weight) * solin), &
                     exp(-scaled / cosine), 1.0e-6_r8, 'direct light through cloud')
  end subroutine check_cloud_of_pure_scattering

  !> What comes in is absorbed by air or surface or goes out, for any cloud, sun and surface; a
  !! white surface absorbs nothing.
  subroutine check_shortwave_budget()
    type(shortwave_result) :: sun
    real(r8) :: heating(n), liquid(n), ice(n), cosine, direct(2), diffuse(2), cover
    integer :: i, j

    do i = 1, 40
      cosine = 0.001_r8 + 0.999_r8 * real(i - 1, r8) / 39.0_r8
      do j = 0, 3
        cover = real(j, r8) / 3.0_r8
        direct = [0.2_r8, 0.3_r8] * real(j, r8)
        diffuse = [0.3_r8, 0.1_r8] * real(j, r8)
        liquid = merge(0.5_r8 * real(j, r8), 0.0_r8, p_mid > 7.0e4_r8 .and. p_mid < 9.0e4_r8)
        ice = merge(0.01_r8 * real(i * j, r8), 0.0_r8, p_mid > 2.0e4_r8 .and. p_mid < 4.0e4_r8)
        call shortwave(solin * cosine, cosine, direct, diffuse, p_mid, dp, q, ozone, cover, &
                       liquid, ice, heating, sun)
        call check_close(sum(heating) + sun%net_surface, sun%net_top, exact, 'shortwave budget')
        call check_close(sum(sun%direct * (1.0_r8 - direct) + sun%diffuse * (1.0_r8 - diffuse)), &
                         sun%net_surface, exact, 'light absorbed by the surface')
        call check(sun%net_top >= 0.0_r8 .and. sun%net_top <= solin * cosine, &
                   'more light is absorbed than comes in')
        call check(all(sun%direct >= 0.0_r8) .and. all(sun%diffuse >= 0.0_r8), &
                   'negative light at the surface')
        call check(minval(heating / dp) * gravity / heat_capacity * seconds_per_day > -0.1_r8, &
                   'sunlight cools')
      end do
    end do
    direct = 1.0_r8
    diffuse = 1.0_r8
    call shortwave(solin, 0.5_r8, direct, diffuse, p_mid, dp, q, ozone, cover, liquid, ice, &
                   heating, sun)
    call check_close(sun%net_surface, 0.0_r8, exact, 'light absorbed by a white surface')
  end subroutine check_shortwave_budget

  !> No part of the light at the surface is negative, and its parts make what the surface takes:
  !! random columns from thin air to dense cloud, the sun low or high, or where the beam fades as
  !! fast as diffuse light in some layer of ozone and air.
  subroutine check_light_at_the_surface()
    integer, parameter :: n_column = 4000
    type(shortwave_result) :: sun
    real(r8) :: r(10), noise(n, 4), albedo, cosine, heating(n), liquid(n), ice(n), gas(n), air(n)
    integer :: i, k

    air = 0.125_r8 * dp / 1.0e5_r8
    call random_seed_of(1)
    do i = 1, n_column
      call random_number(r)
      call random_number(noise)
      liquid = merge(10.0_r8**(6.0_r8 * noise(:, 1) - 4.0_r8), 0.0_r8, noise(:, 2) < r(8))
      ice = merge(10.0_r8**(6.0_r8 * noise(:, 3) - 4.0_r8), 0.0_r8, noise(:, 4) < r(9))
      cosine = merge(10.0_r8**(-4.0_r8 * r(5)), r(5), r(6) < 0.5_r8)
      k = 1 + int(r(7) * real(n, r8))
      gas = 0.0604_r8 / 2.1415e-2_r8 * ozone * dp / gravity
      albedo = air(k) / (air(k) + gas(k))
      if (mod(i, 2) == 0 .and. albedo < 0.66_r8) cosine = 1.0_r8 / sqrt(3.0_r8 * (1.0_r8 - albedo))
      call shortwave(solin * cosine, cosine, r(1:2), r(3:4), p_mid, dp, q, ozone, r(10), liquid, &
                     ice, heating, sun)
      call check(all(sun%direct >= 0.0_r8) .and. all(sun%diffuse >= 0.0_r8), &
                 'negative light at the surface of a random column')
      call check_close(sum(sun%direct * (1.0_r8 - r(1:2)) + sun%diffuse * (1.0_r8 - r(3:4))), &
                       sun%net_top - sum(heating), exact, 'light that a random surface absorbs')
    end do
  end subroutine check_light_at_the_surface

  !> A layer of ozone and air, over black: diffuse visible light does not jump where the beam fades
  !! as diffuse light does, and its slope there is that of both sides.
  subroutine check_resonance()
    real(r8), parameter :: pressure = 1.0e4_r8, thick = 1.0e4_r8, air = 0.125_r8 * 0.1_r8
    real(r8), parameter :: aside(5) = [-1.0e-3_r8, -1.0e-7_r8, 0.0_r8, 1.0e-7_r8, 1.0e-3_r8]
    real(r8) :: albedo, cosine, mixing, heating(1), diffuse(5)
    type(shortwave_result) :: sun
    integer :: i, j

    do j = 1, 6
      albedo = 0.1_r8 * real(j, r8)
      cosine = 1.0_r8 / sqrt(3.0_r8 * (1.0_r8 - albedo))
      mixing = air * (1.0_r8 / albedo - 1.0_r8) * 2.1415e-2_r8 / 0.0604_r8 * gravity / thick
      do i = 1, size(aside)
        call shortwave(solin, cosine * (1.0_r8 + aside(i)), [0.0_r8, 0.0_r8], [0.0_r8, 0.0_r8], &
                       [pressure], [thick], [0.0_r8], [mixing], 0.0_r8, [0.0_r8], [0.0_r8], &
                       heating, sun)
        diffuse(i) = sun%diffuse(1)
      end do
      call check(diffuse(3) > 0.0_r8, 'no diffuse light at the resonance')
      ! The mean of both sides misses by the curvature, a millionth.
      do i = 2, 4
        call check_close(diffuse(i) / (0.5_r8 * (diffuse(1) + diffuse(5))), 1.0_r8, 1.0e-5_r8, &
                         'diffuse light at the resonance')
      end do
    end do
  end subroutine check_resonance

  !> The same numbers in every run.
  subroutine random_seed_of(first)
    integer, intent(in) :: first
    integer :: n_seed, i

    call random_seed(size=n_seed)
    call random_seed(put=[(first + 7919 * i, i = 1, n_seed)])
  end subroutine random_seed_of

end program test_aqua_radiation
