!> Radiation by hand: columns of one or two layers, whose fluxes have a closed form, with the
!! fitted strengths written out again; gases
!! at the pressures where their profiles are simple; the sun on Kepler's orbit; the water that
!! radiation sees in cloud. The first
!! argument is the file of levels.
program test_aqua_optics
  use aqua_column_physics, only: reference_physics, total_cover
  use aqua_column_types, only: allocate_outputs, column_inputs, column_outputs
  use aqua_condensation, only: cloud_fraction_of
  use aqua_constants, only: pi, r8
  use aqua_gases, only: gas_profiles
  use aqua_levels, only: hybrid_levels, interface_pressure, midpoint_pressure
  use aqua_longwave, only: band_fractions, longwave, n_band, n_term
  use aqua_physics_settings, only: physics_parameters
  use aqua_shortwave, only: shortwave, shortwave_result
  use aqua_sun, only: solar_declination
  use aqua_test_support, only: allocate_inputs, check, check_close, check_value, climsim_levels, &
                               sounding
  implicit none (type, external)

  real(r8), parameter :: g = 9.80616_r8, solin = 1000.0_r8
  real(r8), parameter :: exact = 1.0e-9_r8     !! Share of a value; both sides have the same form.
  real(r8), parameter :: near_infrared(5) = [0.3282_r8, 0.1285_r8, 0.0445_r8, 0.0271_r8, 0.0114_r8]
  real(r8), parameter :: vapor_strength(5) = [0.0_r8, 0.0424_r8, 0.582_r8, 3.66_r8, 12.7_r8]
  real(r8), parameter :: mixed_strength(5) = [0.0_r8, 1.17e-8_r8, 1.19e-7_r8, 7.25e-5_r8, &
      1.24e-4_r8]
  real(r8), parameter :: floors(5) = [0.0_r8, 0.0052_r8, 0.0054_r8, 0.137_r8, 0.961_r8]

  call check_gases()
  call check_orbit()
  call check_longwave()
  call check_near_infrared()
  call check_ultraviolet()
  call check_thin_cloud()
  call check_cloud_water()

contains

  !> Ozone where Green's exponential is 1, at three latitudes; methane and nitrous oxide at half of
  !! their most, and beyond.
  subroutine check_gases()
    real(r8), parameter :: polar(3) = [0.0_r8, 0.25_r8, 1.0_r8]
    real(r8) :: ozone(2), ch4(2), n2o(2), a, b, c, p
    integer :: i

    do i = 1, size(polar)
      a = 218.0_r8 + 133.0_r8 * polar(i)
      b = 29.24_r8 - 7.80_r8 * polar(i)
      c = 3.83_r8 + 1.42_r8 * polar(i)
      p = 1.0e5_r8 * exp(-b / 7.0_r8)
      call gas_profiles([p, p], asin(sqrt(polar(i))), ozone, ch4, n2o)
      call check_value(ozone(1), a * 2.1415e-5_r8 / c * (1.0_r8 + exp(-b / c)) / 4.0_r8 * g &
          * 7.0_r8 / (p + 39.0_r8) + 4.8e-8_r8, &
            'ozone', exact)
    end do
    call gas_profiles([587.0_r8, 2348.0_r8], 0.0_r8, ozone, ch4, n2o)
    call check_value(ch4(1), 0.5_r8 * 9.99e-7_r8, 'methane at half of its most', exact)
    call check_value(ch4(2), 9.99e-7_r8 / 1.5_r8, 'methane at four times that pressure', exact)
    call gas_profiles([1646.0_r8, 1646.0_r8 * exp(1.0_r8)], 0.0_r8, ozone, ch4, n2o)
    call check_value(n2o(1), 0.5_r8 * 4.91e-7_r8, 'nitrous oxide at half of its most', exact)
    call check_value(n2o(2), 4.91e-7_r8 / (1.0_r8 + exp(-0.616_r8)), &
        'nitrous oxide at e times that pressure', exact)
  end subroutine check_gases

  !> Kepler's equation on the orbit of 1990, from the vernal equinox at day 80.5. Berger's series
  !! leaves out the fourth power of the
  !! eccentricity, 8e-8.
  subroutine check_orbit()
    real(r8), parameter :: e = 0.016708_r8, series = 1.0e-6_r8
    real(r8) :: from_perihelion, mean, eccentric, truth, declination, factor, day
    integer :: i, sweep

    from_perihelion = 2.0_r8 * pi - (102.7_r8 + 180.0_r8) * pi &
        / 180.0_r8      ! true anomaly at the equinox
    eccentric = 2.0_r8 * atan(sqrt((1.0_r8 - e) / (1.0_r8 + e)) * tan(0.5_r8 * from_perihelion))
    mean = eccentric - e * sin(eccentric)
    do i = 0, 11
      day = 80.5_r8 + 30.0_r8 * real(i, r8)
      eccentric = mean + 2.0_r8 * pi * 30.0_r8 * real(i, r8) / 365.0_r8
      associate (wanted => mean + 2.0_r8 * pi * 30.0_r8 * real(i, r8) / 365.0_r8)
        do sweep = 1, 20
          eccentric = wanted + e * sin(eccentric)
        end do
      end associate
      truth = 2.0_r8 * atan2(sqrt(1.0_r8 + e) * sin(0.5_r8 * eccentric), sqrt(1.0_r8 - e) &
          * cos(0.5_r8 * eccentric))
      call solar_declination(day, declination, factor)
      call check_close(declination, asin(sin(23.4411_r8 * pi / 180.0_r8) * sin(truth &
          - from_perihelion)), series, 'declination')
      call check_close(factor, (1.0_r8 - e * cos(eccentric))**(-2), series, 'distance of the sun')
    end do
  end subroutine check_orbit

  !> Two layers of unlike temperature, with every gas, cloud over all of it, and a warm surface.
  subroutine check_longwave()
    real(r8), parameter :: t(2) = [240.0_r8, 270.0_r8], q(2) = [1.0e-3_r8, 6.0e-3_r8], &
        p(2) = [3.0e4_r8, 8.0e4_r8]
    real(r8), parameter :: dp(2) = [1.0e4_r8, 2.0e4_r8], ozone(2) = [1.0e-5_r8, 1.0e-7_r8], &
        emission = 420.0_r8
    real(r8), parameter :: cloud(2) = [0.0_r8, 0.2_r8]
    real(r8) :: heating(2), down, up, expected_down, expected_up

    call longwave(t, q, p, dp, ozone, 734.0_r8, 0.0_r8, cloud, emission, heating, down, up)
    call two_layers(t, q, p, dp, ozone, 2.0_r8, [0.0_r8, 0.0_r8], emission, expected_down, &
        expected_up)
    call check_value(down, expected_down, 'longwave down at the surface', exact)
    call check_value(up, expected_up, 'longwave out at the top', exact)
    call longwave(t, q, p, dp, ozone, 734.0_r8, 1.0_r8, cloud, emission, heating, down, up)
    call two_layers(t, q, p, dp, ozone, 2.0_r8, cloud, emission, expected_down, expected_up)
    call check_value(down, expected_down, 'longwave down under cloud', exact)
    call check_value(up, expected_up, 'longwave out above cloud', exact)
  end subroutine check_longwave

  !> Fluxes at both ends, term by term; carbon is the factor on carbon dioxide.
  subroutine two_layers(t, q, p, dp, ozone, carbon, cloud, emission, down, up)
    real(r8), intent(in), dimension(2) :: t, q, p, dp, ozone, cloud
    real(r8), intent(in) :: carbon, emission
    real(r8), intent(out) :: down, up
    integer, parameter :: band(n_term) = [1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 4, 4, 5, 5]
    real(r8), parameter :: weight(n_term) = [0.420_r8, 0.313_r8, 0.267_r8, 0.369_r8, 0.431_r8, &
        0.137_r8, 0.043_r8, 0.0146_r8, &
      0.0054_r8, 0.310_r8, 0.690_r8, 0.756_r8, 0.244_r8, 0.415_r8, 0.585_r8]
    real(r8), parameter :: by_vapor(n_term) = [0.488_r8, 6.28_r8, 6.29_r8, 2.02e-3_r8, &
        7.88e-3_r8, 0.02_r8, 0.02_r8, 0.02_r8, &
      0.02_r8, 4.75e-4_r8, 4.32e-4_r8, 5.11e-4_r8, 5.87e-3_r8, 0.156_r8, 2.32_r8]
    real(r8), parameter :: by_air(n_term) = [0.0_r8, 0.0_r8, 0.0_r8, 8.32e-5_r8, 2.90e-3_r8, &
        0.0830_r8, 0.770_r8, 30.0_r8, &
      5.07_r8, 0.0_r8, 0.0_r8, 0.0_r8, 0.0_r8, 8.40e-7_r8, 2.97e-6_r8]
    real(r8), parameter :: by_ozone(n_term) = [spread(0.0_r8, 1, 11), 9.30_r8, 287.0_r8, 0.0_r8, &
        0.0_r8]
    real(r8), parameter :: lowest(n_term) = [0.0167_r8, 0.0619_r8, 3.17_r8, 3.43e-3_r8, &
        1.04e-3_r8, 1.95e-4_r8, 6.53e-5_r8, &
      3.01e-4_r8, 0.0301_r8, 2.97e-3_r8, 2.93e-3_r8, 3.20e-3_r8, 2.56_r8, 3.50e-3_r8, 1.91e-3_r8]
    real(r8), parameter :: of_itself(n_band) = [2.37_r8, 3.60_r8, 1.03_r8, 0.145_r8, 0.0368_r8]
    real(r8) :: depth(2), passed(2), middle(n_band, 2), edge(n_band, 3), surface(n_band), &
        share(2), between
    integer :: term, k

    between = t(1) + (t(2) - t(1)) * dp(1) / sum(dp)
    middle = reshape([black(t(1)), black(t(2))], [n_band, 2])
    edge = reshape([black(t(1)), black(between), black(t(2) + 0.5_r8 * (t(2) - t(1)))], [n_band, 3])
    surface = black((emission / 5.67e-8_r8)**0.25_r8)
    down = 0.0_r8
    up = 0.0_r8
    do term = 1, n_term
      do k = 1, 2
        associate (air => 1.66_r8 * dp(k) / g, relative => p(k) / 1.0e5_r8)
          depth(k) = 1.66_r8 * cloud(k) + air * (relative + lowest(term)) &
                     * (by_vapor(term) * q(k) + by_air(term) * merge(carbon, 1.0_r8, &
                         band(term) == 2) + by_ozone(term) * ozone(k)) &
                     + of_itself(band(term)) * air * q(k)**2 / 0.622_r8 * relative &
                         * exp(1800.0_r8 * (1.0_r8 / t(k) - 1.0_r8 / 296.0_r8))
        end associate
      end do
      passed = exp(-depth)
      share = 0.278_r8 * depth / (1.0_r8 + 0.278_r8 * depth)
      associate (b => band(term), w => weight(term))
        down = down + w * ((1.0_r8 - passed(1)) * passed(2) * (middle(b, 1) + share(1) &
            * (edge(b, 2) - middle(b, 1))) &
                           + (1.0_r8 - passed(2)) * (middle(b, 2) + share(2) * (edge(b, 3) &
                               - middle(b, 2))))
        up = up + w * (surface(b) * product(passed) &
                       + (1.0_r8 - passed(2)) * passed(1) * (middle(b, 2) + share(2) * (edge(b, &
                           2) - middle(b, 2))) &
                       + (1.0_r8 - passed(1)) * (middle(b, 1) + share(1) * (edge(b, 1) &
                           - middle(b, 1))))
      end associate
    end do
  end subroutine two_layers

  !> Black-body emission by band [W/m2].
  pure function black(t) result(emission)
    real(r8), intent(in) :: t
    real(r8) :: emission(n_band)

    emission = band_fractions(t) * 5.67e-8_r8 * t**4
  end function black

  !> Beer's law for every term of the near infrared; light that a white surface throws back goes up
  !! along sqrt(3) of the vertical.
  subroutine check_near_infrared()
    real(r8), parameter :: p(2) = [3.0e4_r8, 8.0e4_r8], dp(2) = [2.0e4_r8, 3.0e4_r8], &
        q(2) = [1.0e-3_r8, 8.0e-3_r8]
    real(r8), parameter :: cosine = 0.5_r8, nothing(2) = 0.0_r8, thin(2) = 1.0e-3_r8, &
        steam(2) = [1.0e4_r8, 3.0e4_r8]
    type(shortwave_result) :: sun
    real(r8) :: heating(2), expected, depth, share
    integer :: i

    call shortwave(solin, cosine, nothing, nothing, p, dp, q, nothing, 0.0_r8, nothing, nothing, &
        heating, sun)
    expected = 0.0_r8
    do i = 1, 5
      depth = sum((vapor_strength(i) * q + mixed_strength(i)) * dp / g * (p / 1.0e5_r8 + floors(i)))
      expected = expected + near_infrared(i) * exp(-depth / cosine)
    end do
    call check_value(sun%direct(2), solin * expected, 'near infrared through air', exact)
    ! So little air that it does not scatter; what oxygen would absorb stays in the visible, which
    !! the surface absorbs.
    call shortwave(solin, cosine, [0.0_r8, 1.0_r8], [0.0_r8, 1.0_r8], p, thin, steam, nothing, &
        0.0_r8, nothing, nothing, heating, sun)
    share = 0.4603_r8
    do i = 1, 5
      depth = sum((vapor_strength(i) * steam + mixed_strength(i)) * thin / g * (p / 1.0e5_r8 &
          + floors(i)))
      share = share + near_infrared(i) * (1.0_r8 - exp(-depth * (1.0_r8 / cosine + sqrt(3.0_r8))))
    end do
    call check_value(sun%net_top, solin * share, 'near infrared over a white surface', 1.0e-7_r8)
  end subroutine check_near_infrared

  !> Ozone by Lacis and Hansen's eq. 9 and 10 and in the visible; oxygen at the top.
  subroutine check_ultraviolet()
    real(r8), parameter :: cosine = 0.4_r8, black(2) = 0.0_r8, cm = 0.3_r8, dp = 1.0e-3_r8
    type(shortwave_result) :: sun
    real(r8) :: heating(1), slant, x, share, mixed
    integer :: i

    slant = 35.0_r8 / sqrt(1224.0_r8 * cosine**2 + 1.0_r8)
    x = slant * cm
    share = 1.082_r8 * x / (1.0_r8 + 138.6_r8 * x)**0.805_r8 + 0.0658_r8 * x / (1.0_r8 &
        + (103.6_r8 * x)**3)
    call shortwave(solin, cosine, black, black, [1.0e3_r8], [dp], [0.0_r8], [cm * 2.1415e-2_r8 &
        * g / dp], 0.0_r8, [0.0_r8], &
                   [0.0_r8], heating, sun)
    ! Air of 1e-3 Pa absorbs and scatters some 1e-6.
    call check_value(heating(1), solin * (share + (0.4603_r8 - share) * (1.0_r8 - exp(-0.0604_r8 &
        * cm / cosine))), &
                     'heating by ozone', 1.0e-5_r8)
    call shortwave(solin, cosine, black, black, [50.0_r8], [100.0_r8], [0.0_r8], [0.0_r8], &
        0.0_r8, [0.0_r8], [0.0_r8], heating, sun)
    mixed = 0.0003_r8 * (1.0_r8 - exp(-0.096_r8 * slant * 100.0_r8 / g))
    do i = 1, 5
      mixed = mixed + near_infrared(i) * (1.0_r8 - exp(-mixed_strength(i) * 100.0_r8 / g &
          * (5.0e-4_r8 + floors(i)) / cosine))
    end do
    call check_value(heating(1), solin * mixed, 'heating by oxygen and mixed gases', 1.0e-5_r8)
  end subroutine check_ultraviolet

  !> Cloud of depth 1e-4 over a black surface: to first order every term of the near infrared loses
  !! (1 - albedo) depth / cosine to the cloud, and the beam all but the scattering into the forward
  !! peak, asymmetry^2.
  subroutine check_thin_cloud()
    real(r8), parameter :: cosine = 0.5_r8, black(2) = 0.0_r8, depth = 1.0e-4_r8, &
        first_order = 1.0e-3_r8
    real(r8), parameter :: by_droplets(5) = [2.8e-4_r8, 0.015_r8, 0.015_r8, 0.29_r8, 0.29_r8]
    real(r8), parameter :: by_crystals(5) = [6.0e-4_r8, 0.048_r8, 0.048_r8, 0.47_r8, 0.47_r8]
    type(shortwave_result) :: sun
    real(r8) :: heating(1)

    call shortwave(solin, cosine, black, black, [5.0e4_r8], [1.0e-4_r8], [0.0_r8], [0.0_r8], &
        1.0_r8, [depth], [0.0_r8], heating, sun)
    call check_value(heating(1), solin * sum(near_infrared * by_droplets) * depth / cosine, &
        'absorption by droplets', first_order)
    call check_value(1.0_r8 - sun%direct(2) / (solin * 0.5397_r8), (1.0_r8 - (1.0_r8 &
        - sum(near_infrared * by_droplets) / 0.5397_r8) * 0.85_r8**2) * depth / cosine, &
                     'beam through droplets', first_order)
    call shortwave(solin, cosine, black, black, [5.0e4_r8], [1.0e-4_r8], [0.0_r8], [0.0_r8], &
        1.0_r8, [0.0_r8], [depth], heating, sun)
    call check_value(heating(1), solin * sum(near_infrared * by_crystals) * depth / cosine, &
        'absorption by crystals', first_order)
    call check_value(1.0_r8 - sun%direct(2) / (solin * 0.5397_r8), (1.0_r8 - (1.0_r8 &
        - sum(near_infrared * by_crystals) / 0.5397_r8) * 0.78_r8**2) * depth / cosine, &
                     'beam through crystals', first_order)
  end subroutine check_thin_cloud

  !> Two layers of cloud of unlike fraction with clear air between: radiation of the physics is
  !! that of the water of each, times the
  !! square root of its share of the cover, over the cover.
  subroutine check_cloud_water()
    integer, parameter :: n = 60, high = 35, low = 50
    type(hybrid_levels) :: levels
    type(physics_parameters) :: parameters
    type(column_inputs) :: column
    type(column_outputs) :: made
    type(shortwave_result) :: sun
    real(r8), dimension(n) :: cloud, liquid, ice, heating
    real(r8) :: cover, down, up

    parameters%liquid_radius_um = 10.0_r8
    parameters%ice_radius_um = 40.0_r8
    parameters%cloud_uniformity = 0.8_r8
    parameters%cloud_content = 1.0e-4_r8
    parameters%cloud_content_power = 0.3_r8
    levels = climsim_levels()
    call allocate_inputs(n, column)
    call allocate_outputs(n, made)
    column%ps = 1.0e5_r8
    column%p_int = interface_pressure(levels, column%ps)
    column%p_mid = midpoint_pressure(levels, column%ps)
    column%dp = column%p_int(2:) - column%p_int(:n)
    call sounding(column%p_mid, 295.0_r8, 0.5_r8, 0, column%t, column%q)
    call gas_profiles(column%p_mid, 0.5_r8, column%ozone, column%ch4, column%n2o)
    column%qi(high) = 2.0e-5_r8
    column%qc(low) = 3.0e-5_r8
    column%coszrs = 0.6_r8
    column%solin = 800.0_r8
    column%asdir = 0.05_r8
    column%asdif = 0.07_r8
    column%aldir = 0.2_r8
    column%aldif = 0.3_r8
    column%lwup = 430.0_r8
    call reference_physics(parameters, column, 1200.0_r8, made)
    cloud = cloud_fraction_of(1.0e-4_r8, 0.3_r8, column%p_mid, column%t, column%qc, column%qi)
    cover = total_cover(cloud)
    call check(cloud(high) > 0.1_r8 .and. cloud(low) > 0.1_r8 .and. abs(cloud(high) &
        - cloud(low)) > 0.01_r8 .and. cover < 0.9_r8, &
               'cloud water: fractions')
    liquid = 0.8_r8 * sqrt(cloud / cover) / cover * column%qc * column%dp / g
    ice = 0.8_r8 * sqrt(cloud / cover) / cover * column%qi * column%dp / g
    call longwave(column%t, column%q, column%p_mid, column%dp, column%ozone, 367.0_r8, cover, &
                  90.3_r8 * liquid + 1.0e3_r8 * (0.005_r8 + 1.0_r8 / 40.0_r8) * ice, &
                      column%lwup, heating, down, up)
    call check_value(made%flut, up, 'cloud water: out at the top', exact)
    call check_value(made%flwds, down, 'cloud water: longwave at the surface', exact)
    call check_value(made%flns, column%lwup - down, 'cloud water: net longwave at the surface', &
                     exact)
    call shortwave(column%solin, column%coszrs, [0.05_r8, 0.2_r8], [0.07_r8, 0.3_r8], &
        column%p_mid, column%dp, column%q, &
                   column%ozone, cover, 1.5e3_r8 * liquid / 10.0_r8, 1.0e3_r8 * (0.003448_r8 &
                       + 2.431_r8 / 40.0_r8) * ice, heating, sun)
    call check_value(made%sols, sun%direct(1), 'cloud water: direct visible', exact)
    call check_value(made%soll, sun%direct(2), 'cloud water: direct near infrared', exact)
    call check_value(made%solsd, sun%diffuse(1), 'cloud water: diffuse visible', exact)
    call check_value(made%solld, sun%diffuse(2), 'cloud water: diffuse near infrared', exact)
    call check_value(made%fsnt, sun%net_top, 'cloud water: sunlight absorbed', exact)
    ! Stable cold air does not convect: all that falls is snow, and of large scale.
    call sounding(column%p_mid, 250.0_r8, 0.95_r8, 0, column%t, column%q)
    column%t = 250.0_r8
    column%qi(55:) = 2.0e-4_r8
    call reference_physics(parameters, column, 1200.0_r8, made)
    call check(made%precl > 0.0_r8, 'cloud water: nothing falls')
    call check_value(made%precl, made%precc, 'cloud water: precipitation of large scale', exact)
    call check_value(made%precsc, made%precc, 'cloud water: snow', exact)
  end subroutine check_cloud_water

end program test_aqua_optics
