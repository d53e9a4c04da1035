!> One value by hand for every closure of cloud and precipitation: numbers are written out here, as
!! the sources named in the
!! modules have them, and not taken from the modules.
program test_aqua_closures
  use aqua_column_physics, only: freeze_convective, total_cover
  use aqua_condensation, only: cloud_fraction_of, condense, precipitate
  use aqua_constants, only: r8
  use aqua_physics_settings, only: physics_parameters
  use aqua_saturation, only: liquid_fraction, saturation_specific_humidity
  use aqua_test_support, only: check, check_close, check_value
  implicit none (type, external)

  real(r8), parameter :: content = 2.0e-4_r8, power = 0.4_r8   !! Of cloud in radiation.
  ! E3SM's
  real(r8), parameter :: g = 9.80616_r8, cp = 1004.64_r8, lv = 2.501e6_r8, lf = 3.337e5_r8
  real(r8), parameter :: rd = 8314.46759_r8 / 28.966_r8, rv = 8314.46759_r8 / 18.016_r8
  real(r8), parameter :: dt = 1200.0_r8
  ! Share of a value: the gas constants above have nine digits.
  real(r8), parameter :: exact = 1.0e-7_r8

  call check_condensation()
  call check_cloud_of_radiation()
  call check_overlap()
  call check_autoconversion()
  call check_falling_ice()
  call check_evaporation()
  call check_melting()
  call check_convective_snow()

contains

  !> Heat of condensation [J/kg], from sublimation at 253.16 K to vaporization at 273.16 K.
  pure function heat_at(t) result(heat)
    real(r8), intent(in) :: t
    real(r8) :: heat

    heat = lv + lf * min(1.0_r8, max(0.0_r8, (273.16_r8 - t) / 20.0_r8))
  end function heat_at

  !> 1 + L dqs/dT / cp, by Clausius and Clapeyron.
  pure function damping_at(t, p) result(factor)
    real(r8), intent(in) :: t, p
    real(r8) :: factor

    factor = 1.0_r8 + heat_at(t)**2 * saturation_specific_humidity(t, p) / (cp * rv * t**2)
  end function damping_at

  !> Total water spread evenly by a fifth of saturation about its mean, which is off saturation by
  !! x of that: none below x = -1, a
  !! part (1 + x) / 2 within, all above 1; its water is (1 + x)^2 / 4, then x. Liquid, mixed and
  !! ice cloud.
  subroutine check_condensation()
    real(r8), parameter :: p = 8.0e4_r8, cold(3) = [285.0_r8, 258.16_r8, 240.0_r8], &
        liquid_share(3) = [1.0_r8, 0.25_r8, 0.0_r8]
    real(r8), parameter :: off(4) = [-1.01_r8, -0.5_r8, 0.5_r8, 2.0_r8]
    real(r8), parameter :: part(4) = [0.0_r8, 0.25_r8, 0.75_r8, 1.0_r8], water(4) = [0.0_r8, &
        0.0625_r8, 0.5625_r8, 2.0_r8]
    real(r8) :: t, q, liquid, ice, cloud, saturation, condensed
    integer :: i, j

    do i = 1, size(cold)
      do j = 1, size(off)
        t = cold(i)
        saturation = saturation_specific_humidity(t, p)
        q = saturation * (1.0_r8 + 0.2_r8 * off(j))
        liquid = 0.0_r8
        ice = 0.0_r8
        call condense(0.8_r8, p, t, q, liquid, ice, cloud)
        condensed = water(j) * 0.2_r8 * saturation / damping_at(cold(i), p)
        call check_close(cloud, part(j), 1.0e-12_r8, 'condensation: fraction')
        call check_close(liquid, liquid_share(i) * condensed, exact * condensed, &
            'condensation: liquid')
        call check_close(ice, (1.0_r8 - liquid_share(i)) * condensed, exact * condensed, &
            'condensation: ice')
        call check_value(t, cold(i) + (lv * (liquid + ice) + lf * ice) / cp, &
            'condensation: temperature')
      end do
    end do
    call condense_again(285.0_r8, 3.0e-4_r8, 0.0_r8)
    call condense_again(240.0_r8, 0.0_r8, 3.0e-5_r8)
    call condense_aloft(999.0_r8, 0.0_r8)
    call condense_aloft(1001.0_r8, 1.0_r8)
  end subroutine check_condensation

  !> Air that already holds cloud, warmer by its heat, becomes what the same air without cloud does.
  subroutine condense_again(cold, liquid_before, ice_before)
    real(r8), intent(in) :: cold, liquid_before, ice_before
    real(r8), parameter :: p = 8.0e4_r8
    real(r8) :: t(2), q(2), liquid(2), ice(2), cloud(2)

    liquid = [0.0_r8, liquid_before]
    ice = [0.0_r8, ice_before]
    q = 1.05_r8 * saturation_specific_humidity(cold, p) - liquid - ice
    t = cold + (lv * (liquid + ice) + lf * ice) / cp
    call condense(0.8_r8, p, t, q, liquid, ice, cloud)
    call check_value(cloud(2), cloud(1), 'condensation from cloud: fraction')
    call check_value(liquid(2) + ice(2), liquid(1) + ice(1), 'condensation from cloud: water')
    call check_value(t(2), t(1), 'condensation from cloud: temperature')
  end subroutine condense_again

  !> Supersaturated air about 10 hPa, above which no cloud forms and what is there evaporates.
  subroutine condense_aloft(p, expected)
    real(r8), intent(in) :: p, expected
    real(r8) :: t, q, liquid, ice, cloud

    t = 200.0_r8
    q = 2.0_r8 * saturation_specific_humidity(t, p)
    liquid = 0.0_r8
    ice = 1.0e-7_r8
    call condense(0.8_r8, p, t, q, liquid, ice, cloud)
    call check_close(cloud, expected, 0.0_r8, 'condensation: 10 hPa')
    call check((ice > 0.0_r8) .eqv. (expected > 0.0_r8), 'condensation: ice at 10 hPa')
  end subroutine condense_aloft

  !> Radiation sees condensate over what a full layer holds, which follows saturation by a power,
  !! and none below 1e-8 kg/kg.
  subroutine check_cloud_of_radiation()
    real(r8), parameter :: p = 8.0e4_r8, t = 285.0_r8
    real(r8) :: full

    full = content * (saturation_specific_humidity(t, p) / 1.0e-3_r8)**power
    call check_value(seen_fraction(p, t, 0.16_r8 * full, 0.09_r8 * full), 0.25_r8, &
        'cloud of radiation')
    call check_value(seen_fraction(p, t, 1.1_r8 * full, 0.0_r8), 1.0_r8, 'cloud of radiation: all')
    call check_value(seen_fraction(p, t, 0.0_r8, 1.1e-8_r8), 1.1e-8_r8 / full, &
        'cloud of radiation: least')
    call check_close(seen_fraction(p, t, 0.0_r8, 0.9e-8_r8), 0.0_r8, 0.0_r8, &
        'cloud of radiation: none')
    call check_close(seen_fraction(999.0_r8, 200.0_r8, 0.0_r8, 1.0e-6_r8), 0.0_r8, 0.0_r8, &
        'cloud of radiation: 10 hPa')
    call check(seen_fraction(1001.0_r8, 200.0_r8, 0.0_r8, 1.0e-6_r8) > 0.0_r8, &
        'cloud of radiation: below 10 hPa')
    call check_value(liquid_fraction(258.16_r8), 0.25_r8, 'liquid a quarter up the ramp')
    call check_value(liquid_fraction(268.16_r8), 0.75_r8, 'liquid three quarters up the ramp')
  end subroutine check_cloud_of_radiation

  !> Cloud of radiation with the numbers of its test.
  elemental function seen_fraction(p, t, liquid, ice)
    real(r8), intent(in) :: p, t, liquid, ice
    real(r8) :: seen_fraction

    seen_fraction = cloud_fraction_of(content, power, p, t, liquid, ice)
  end function seen_fraction

  !> Neighbours overlap whole, layers apart at random.
  subroutine check_overlap()
    call check_value(total_cover([0.3_r8, 0.3_r8]), 0.3_r8, 'overlap of neighbours')
    call check_value(total_cover([0.3_r8, 0.0_r8, 0.3_r8]), 0.51_r8, 'overlap of layers apart')
    call check_value(total_cover([0.2_r8, 0.5_r8, 0.0_r8, 0.3_r8]), 0.65_r8, &
        'overlap of both kinds')
    call check_value(total_cover([0.5_r8, 0.2_r8, 0.4_r8]), 1.0_r8 - 0.5_r8 * 0.6_r8 / 0.8_r8, &
        'overlap of three neighbours')
    call check_value(total_cover([0.1_r8, 1.0_r8, 0.2_r8]), 1.0_r8, 'overlap with a full layer')
  end subroutine check_overlap

  !> One level with saturated air, so that nothing evaporates, below freezing or above, so that
  !! nothing melts.
  subroutine fall(t, p, dp, cloud, liquid, ice, rain, snow)
    real(r8), intent(in) :: t, p, dp, cloud
    real(r8), intent(inout) :: liquid, ice
    real(r8), intent(out) :: rain, snow
    type(physics_parameters) :: parameters
    real(r8) :: warmth(1), vapor(1), drops(1), crystals(1)

    parameters%rain_time_s = 3600.0_r8
    parameters%rain_threshold = 3.0e-4_r8
    parameters%ice_fall_speed = 0.8_r8
    warmth = t
    vapor = 1.1_r8 * saturation_specific_humidity(t, p)
    drops = liquid
    crystals = ice
    call precipitate(parameters, [p], [dp], dt, [cloud], warmth, vapor, drops, crystals, rain, snow)
    liquid = drops(1)
    ice = crystals(1)
    call check_close(warmth(1), t, 0.0_r8, 'fall: temperature')
  end subroutine fall

  !> At the threshold within cloud 1 - 1/e of the full rate acts; a cloud fills at least a
  !! twentieth of its layer.
  subroutine check_autoconversion()
    real(r8), parameter :: rate = (1.0_r8 - exp(-1.0_r8)) / 3600.0_r8, twice = (1.0_r8 &
        - exp(-4.0_r8)) / 3600.0_r8
    real(r8), parameter :: cloud(3) = [0.5_r8, 0.01_r8, 0.25_r8], water(3) = [1.5e-4_r8, &
        1.5e-5_r8, 1.5e-4_r8]
    real(r8), parameter :: rates(3) = [rate, rate, twice]
    real(r8) :: liquid, ice, rain, snow
    integer :: i

    do i = 1, size(cloud)
      liquid = water(i)
      ice = 0.0_r8
      call fall(280.0_r8, 9.0e4_r8, 1.0e4_r8, cloud(i), liquid, ice, rain, snow)
      call check_value(liquid, water(i) * exp(-dt * rates(i)), 'autoconversion: cloud')
      call check_value(rain, 1.0e4_r8 / g * water(i) * (1.0_r8 - exp(-dt * rates(i))), &
          'autoconversion: rain')
      call check_close(snow, 0.0_r8, 0.0_r8, 'autoconversion: snow')
    end do
  end subroutine check_autoconversion

  !> Speed 0.8 m/s (density of ice in cloud / 1 g/m3)^0.16, through a layer of constant density.
  subroutine check_falling_ice()
    real(r8), parameter :: t = 230.0_r8, p = 3.0e4_r8, dp = 2.0e4_r8, cloud(2) = [0.4_r8, &
        0.02_r8], inside(2) = [0.4_r8, 0.05_r8]
    real(r8) :: liquid, ice, rain, snow, density, left
    integer :: i

    density = p / (rd * t)
    do i = 1, size(cloud)
      liquid = 0.0_r8
      ice = 1.0e-4_r8
      call fall(t, p, dp, cloud(i), liquid, ice, rain, snow)
      left = exp(-dt * 0.8_r8 * (density * 1.0e-4_r8 / inside(i) / 1.0e-3_r8)**0.16_r8 * density &
          * g / dp)
      call check_value(ice, 1.0e-4_r8 * left, 'falling ice: left')
      call check_value(snow, dp / g * 1.0e-4_r8 * (1.0_r8 - left), 'falling ice: snow')
      call check_close(rain, 0.0_r8, 0.0_r8, 'falling ice: rain')
    end do
  end subroutine check_falling_ice

  !> A level whose cloud falls through a level of its own below: p 8e4 and 9e4 Pa, saturated above.
  !! water falls in [kg/m2], of which
  !! rain and snow are left; t and q are those of the level below.
  subroutine fall_through(strength, above_k, dp, cloud, t, q, water, rain, snow)
    real(r8), intent(in) :: strength, above_k, dp(2), cloud
    real(r8), intent(inout) :: t, q
    real(r8), intent(out) :: water, rain, snow
    type(physics_parameters) :: parameters
    real(r8), parameter :: p(2) = [8.0e4_r8, 9.0e4_r8]
    real(r8) :: warmth(2), vapor(2), liquid(2), ice(2), given

    parameters%rain_evaporation = strength
    warmth = [above_k, t]
    vapor = [1.1_r8 * saturation_specific_humidity(above_k, p(1)), q]
    liquid = [1.0e-3_r8 * liquid_fraction(above_k), 0.0_r8]
    ice = [1.0e-3_r8 - liquid(1), 0.0_r8]
    given = 1.0e-3_r8
    call precipitate(parameters, p, dp, dt, [1.0_r8, cloud], warmth, vapor, liquid, ice, rain, snow)
    water = dp(1) / g * (given - liquid(1) - ice(1))
    t = warmth(2)
    q = vapor(2)
  end subroutine fall_through

  !> k (1 - RH) sqrt(P) in the clear part, k = 1e-5 (Sundqvist 1988); at most to half way to
  !! saturation; at most all that falls.
  subroutine check_evaporation()
    real(r8), parameter :: cold = 250.0_r8
    real(r8) :: t, q, saturation, water, rain, snow, gained, start

    saturation = saturation_specific_humidity(285.0_r8, 9.0e4_r8)
    t = 285.0_r8
    q = 0.9_r8 * saturation
    call fall_through(0.7_r8, 285.0_r8, [1.0e4_r8, 2.0e3_r8], 0.25_r8, t, q, water, rain, snow)
    gained = 0.7_r8 * 1.0e-5_r8 * 0.1_r8 * sqrt(water / dt) * dt * 0.75_r8
    call check_value(q - 0.9_r8 * saturation, gained, 'evaporation')
    call check_value(285.0_r8 - t, lv / cp * gained, 'evaporation: cooling')
    call check_value(rain, water - 2.0e3_r8 / g * gained, 'evaporation: rain')
    t = 285.0_r8
    q = 0.9_r8 * saturation
    call fall_through(1.0e4_r8, 285.0_r8, [1.0e4_r8, 2.0e3_r8], 0.25_r8, t, q, water, rain, snow)
    call check_value(q - 0.9_r8 * saturation, 0.05_r8 * saturation / damping_at(285.0_r8, &
        9.0e4_r8), 'evaporation: half way')
    t = 285.0_r8
    q = 0.9_r8 * saturation
    call fall_through(1.0e4_r8, 285.0_r8, [10.0_r8, 2.0e3_r8], 0.25_r8, t, q, water, rain, snow)
    call check_value(q - 0.9_r8 * saturation, water * g / 2.0e3_r8, 'evaporation: all')
    call check_close(rain, 0.0_r8, exact * water, 'evaporation: rain left of none')
    t = cold
    q = 0.9_r8 * saturation_specific_humidity(cold, 9.0e4_r8)
    start = q
    call fall_through(0.7_r8, cold, [1.0e4_r8, 2.0e3_r8], 0.25_r8, t, q, water, rain, snow)
    gained = 0.7_r8 * 1.0e-5_r8 * 0.1_r8 * sqrt(water / dt) * dt * 0.75_r8
    call check_value(q - start, gained, 'sublimation')
    call check_value(cold - t, (lv + lf) / cp * gained, 'sublimation: cooling')
    call check_value(snow, water - 2.0e3_r8 / g * gained, 'sublimation: snow')
    call check_shares()
  end subroutine check_evaporation

  !> Where rain and snow fall together, each loses the same share of itself.
  subroutine check_shares()
    real(r8), parameter :: mixed = 258.16_r8, strength(2) = [0.0_r8, 3.0_r8]
    real(r8) :: t, q, water, rain(2), snow(2)
    integer :: i

    do i = 1, 2
      t = mixed
      q = 0.5_r8 * saturation_specific_humidity(mixed, 9.0e4_r8)
      call fall_through(strength(i), mixed, [1.0e4_r8, 5.0e3_r8], 0.0_r8, t, q, water, rain(i), &
                        snow(i))
    end do
    call check(rain(1) > 1.0e-3_r8 .and. snow(2) < 0.999_r8 * snow(1), &
               'evaporation: of rain and snow')
    call check_value(rain(2) / rain(1), snow(2) / snow(1), 'evaporation: shares of rain and snow')
  end subroutine check_shares

  !> Snow melts above 273.16 K until the air is there.
  subroutine check_melting()
    real(r8) :: t, q, water, rain, snow, melted

    t = 275.16_r8
    q = 1.1_r8 * saturation_specific_humidity(t, 9.0e4_r8)
    call fall_through(1.0_r8, 250.0_r8, [1.0e2_r8, 1.0e4_r8], 0.0_r8, t, q, water, rain, snow)
    call check(water > 1.0e-4_r8, 'melting: no snow')
    call check_value(rain, water, 'melting: all')
    call check_value(275.16_r8 - t, lf * water * g / (cp * 1.0e4_r8), 'melting: cooling')
    t = 275.16_r8
    call fall_through(1.0_r8, 250.0_r8, [1.0e4_r8, 1.0e2_r8], 0.0_r8, t, q, water, rain, snow)
    melted = cp * 2.0_r8 * 1.0e2_r8 / g / lf
    call check_value(rain, melted, 'melting: a part')
    call check_value(snow, water - melted, 'melting: what stays snow')
    call check_close(t, 273.16_r8, 1.0e-9_r8, 'melting: to the melting point')
    t = 273.06_r8
    q = 1.1_r8 * saturation_specific_humidity(t, 9.0e4_r8)
    call fall_through(1.0_r8, 250.0_r8, [1.0e4_r8, 1.0e2_r8], 0.0_r8, t, q, water, rain, snow)
    call check_value(snow, water, 'melting: below freezing')
  end subroutine check_melting

  !> Convective precipitation is snow below 268 K at the lowest level, rain above 281 K; freezing
  !! warms where convection was.
  subroutine check_convective_snow()
    real(r8), parameter :: lowest(4) = [267.9_r8, 271.25_r8, 277.75_r8, 281.1_r8], &
        share(4) = [1.0_r8, 0.75_r8, 0.25_r8, 0.0_r8]
    real(r8), parameter :: dp(4) = [1.0e3_r8, 2.0e3_r8, 3.0e3_r8, 5.0e3_r8]
    real(r8) :: t(4), frozen
    integer :: i

    do i = 1, size(lowest)
      t = [200.0_r8, 250.0_r8, 260.0_r8, lowest(i)]
      call freeze_convective(dp, 0.4_r8, 3, t, frozen)
      call check_value(frozen, 0.4_r8 * share(i), 'convective snow')
      call check_close(t(2), 250.0_r8, 0.0_r8, 'convective snow: above convection')
      call check_value(t(3), 260.0_r8 + lf * 0.4_r8 * share(i) * g / (cp * 8.0e3_r8), &
          'convective snow: warming')
      call check_value(t(4) - lowest(i), t(3) - 260.0_r8, 'convective snow: even warming')
    end do
  end subroutine check_convective_snow

end program test_aqua_closures
