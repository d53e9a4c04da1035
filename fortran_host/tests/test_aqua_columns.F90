!> Convection, mixing of momentum, condensation and precipitation of the embedded model against
!! closed forms. The first argument is the file of levels.
program test_aqua_columns
  use aqua_condensation, only: cloud_fraction_of, condense, precipitate, settle_phase
  use aqua_constants, only: dry_air_gas, gravity, heat_capacity, latent_fusion, &
                            latent_vaporization, r8, water_vapor_gas
  use aqua_convection, only: convect, mix_momentum
  use aqua_levels, only: hybrid_levels, interface_pressure, midpoint_pressure
  use aqua_physics_settings, only: physics_parameters
  use aqua_saturation, only: liquid_fraction, saturation_specific_humidity
  use aqua_test_support, only: check, check_close, climsim_levels, random_numbers, sounding
  implicit none (type, external)

  integer, parameter :: n = 60
  real(r8), parameter :: ps = 1.0e5_r8, dt = 1200.0_r8
  real(r8), parameter :: joules = 1.0e-6_r8           !! Rounding of sums of 1e9 J/m2 over 60 levels
  real(r8), parameter :: water_kg = 1.0e-12_r8        !! Rounding of sums of 50 kg/m2
  type(hybrid_levels) :: levels
  type(physics_parameters) :: parameters
  real(r8), dimension(n) :: p_mid, dp, mass
  real(r8) :: p_int(n + 1)

  levels = climsim_levels()
  p_int = interface_pressure(levels, ps)
  p_mid = midpoint_pressure(levels, ps)
  dp = p_int(2:) - p_int(:n)
  mass = dp / gravity
  call check_deep_convection()
  call check_no_convection()
  call check_shallow_convection()
  call check_momentum()
  call check_condensation()
  call check_phase()
  call check_precipitation()

contains

  pure function enthalpy(t, q, ice)
    real(r8), intent(in) :: t(n), q(n), ice(n)
    real(r8) :: enthalpy

    enthalpy = sum(mass * (heat_capacity * t + latent_vaporization * q - latent_fusion * ice))
  end function enthalpy

  !> Enthalpy and water are kept; the reference is the pseudo-adiabat, here integrated in small
  !! steps.
  subroutine check_deep_convection()
    real(r8), dimension(n) :: t, q, liquid, ice
    real(r8) :: before, water, rain, rained, warmth, p, vapor, shift
    type(physics_parameters) :: at_once
    integer :: seed, top, k, step
    integer, parameter :: fine = 200

    rained = 0.0_r8
    do seed = 0, 40, 2
      call sounding(p_mid, 300.0_r8, 0.9_r8, seed, t, q)
      liquid = 0.0_r8
      ice = 0.0_r8
      before = enthalpy(t, q, ice)
      water = sum(mass * q)
      call convect(parameters, p_mid, dp, dt, t, q, liquid, ice, rain, top)
      call check_close(enthalpy(t, q, ice), before, joules * 1.0e3_r8, 'enthalpy in convection')
      call check_close(sum(mass * (q + liquid + ice)) + rain, water, water_kg * 100.0_r8, &
                       'water in convection')
      call check(minval(liquid) >= 0.0_r8 .and. minval(ice) >= 0.0_r8 .and. rain >= 0.0_r8, &
                 'negative water in convection')
      rained = max(rained, rain)
    end do
    call check(rained > 0.01_r8, 'no convection rains')

    ! At once: up to one shift of all levels, temperature is that of the parcel, and vapour has its
    ! share of saturation there.
    at_once%convection_time_s = 1.0_r8
    at_once%convection_humidity = 0.5_r8
    call sounding(p_mid, 296.0_r8, 0.9_r8, 0, t, q)
    ! the parcel condenses from the start
    q(n) = 1.0001_r8 * saturation_specific_humidity(t(n), p_mid(n))
    warmth = t(n)
    p = p_mid(n)
    vapor = q(n)
    call convect(at_once, p_mid, dp, dt, t, q, liquid, ice, rain, top)
    call check(rain > 0.0_r8, 'convection at once is not deep')
    shift = t(n) - warmth
    do k = n - 1, minloc(abs(p_mid - 6.0e4_r8), dim=1), -1
      do step = 1, fine
        call lift(warmth, vapor, p, (p_mid(k) / p_mid(k + 1))**(1.0_r8 / real(fine, r8)))
      end do
      ! Two stages of a level are within a tenth of a degree of many small ones.
      call check_close(t(k) - shift, warmth, 0.15_r8, 'temperature after convection at once')
      call check_close(q(k) / saturation_specific_humidity(t(k) - shift, p_mid(k)), &
                       at_once%convection_humidity, 1.0e-9_r8, &
                       'relative humidity after convection at once')
    end do
  end subroutine check_deep_convection

  !> A small step of a parcel to pressure p ratio.
  pure subroutine lift(t, vapor, p, ratio)
    real(r8), intent(inout) :: t, p
    real(r8), intent(in) :: vapor, ratio
    real(r8) :: saturation, slope

    saturation = saturation_specific_humidity(t, p)
    slope = dry_air_gas * t / heat_capacity
    if (vapor > saturation) slope = (dry_air_gas * t + latent_vaporization * saturation) &
                                    / (heat_capacity + latent_vaporization**2 &
                                       * saturation / (water_vapor_gas * t**2))
    t = t + slope * log(ratio)
    p = p * ratio
  end subroutine lift

  !> Stable air and dry air stay as they are, to the bit.
  subroutine check_no_convection()
    real(r8), dimension(n) :: t, q, liquid, ice, old
    real(r8) :: rain
    integer :: top

    call sounding(p_mid, 280.0_r8, 0.5_r8, 0, t, q)
    t = max(t, 285.0_r8 * (p_mid / ps)**0.05_r8)
    liquid = 0.0_r8
    ice = 0.0_r8
    old = t
    call convect(parameters, p_mid, dp, dt, t, q, liquid, ice, rain, top)
    call check(top == n + 1 .and. rain <= 0.0_r8 .and. maxval(abs(t - old)) <= 0.0_r8, &
               'stable air convects')
    call sounding(p_mid, 300.0_r8, 0.0_r8, 0, t, q)
    q = 0.0_r8
    old = t
    call convect(parameters, p_mid, dp, dt, t, q, liquid, ice, rain, top)
    call check(rain <= 0.0_r8 .and. maxval(abs(t - old)) <= 0.0_r8, 'air without vapour rains')
  end subroutine check_no_convection

  !> Moist below and dry above: vapour goes up, nothing rains, both budgets close.
  subroutine check_shallow_convection()
    real(r8), dimension(n) :: t, q, liquid, ice, old
    real(r8) :: before, rain
    integer :: top

    call sounding(p_mid, 300.0_r8, 0.85_r8, 0, t, q)
    where (p_mid < 8.5e4_r8) q = 0.1_r8 * q
    liquid = 0.0_r8
    ice = 0.0_r8
    old = q
    before = enthalpy(t, q, ice)
    call convect(parameters, p_mid, dp, dt, t, q, liquid, ice, rain, top)
    call check(top <= n .and. rain <= 0.0_r8, 'shallow convection rains, or there is none')
    call check(any(q > old) .and. any(q < old), 'shallow convection moves no vapour')
    call check_close(sum(mass * q), sum(mass * old), water_kg * 100.0_r8, &
                     'vapour in shallow convection')
    call check_close(enthalpy(t, q, ice), before, joules * 1.0e3_r8, &
                     'enthalpy in shallow convection')
  end subroutine check_shallow_convection

  !> Momentum is kept and kinetic energy becomes heat; without rain nothing moves.
  subroutine check_momentum()
    real(r8), dimension(n) :: t, u, v, old_u, old_v, old_t
    real(r8) :: change

    t = 280.0_r8
    u = 20.0_r8 * random_numbers(n, 5)
    v = 20.0_r8 * random_numbers(n, 6)
    old_u = u
    old_v = v
    old_t = t
    call mix_momentum(0.3_r8, 0.2_r8, 0.015_r8, dp, 25, t, u, v)
    call check_close(sum(mass * u), sum(mass * old_u), 1.0e-8_r8, 'eastward momentum in convection')
    call check_close(sum(mass * v), sum(mass * old_v), 1.0e-8_r8, &
                     'northward momentum in convection')
    change = sum(mass * (heat_capacity * (t - old_t) &
                         + 0.5_r8 * (u**2 + v**2 - old_u**2 - old_v**2)))
    call check_close(change, 0.0_r8, joules * 1.0e2_r8, 'energy in momentum mixing')
    call check(maxval(abs(u(25:) - sum(mass(25:) * u(25:)) / sum(mass(25:)))) < &
               maxval(abs(old_u(25:) - sum(mass(25:) * u(25:)) / sum(mass(25:)))), &
               'mixing does not mix')
    call check(maxval(abs(u(:24) - old_u(:24))) <= 0.0_r8, 'wind changes above convection')
    old_u = u
    call mix_momentum(0.3_r8, 0.0_r8, 0.015_r8, dp, 25, t, u, v)
    call check(maxval(abs(u - old_u)) <= 0.0_r8, 'wind is mixed without rain')
  end subroutine check_momentum

  !> An even distribution of total water: half cloud at saturation of the mean, with a quarter of
  !! the half width as cloud water; all cloud beyond, none below. Enthalpy and water are kept;
  !! radiation finds the same fraction from the cloud.
  subroutine check_condensation()
    real(r8), parameter :: critical = 0.8_r8, p = 8.0e4_r8
    real(r8) :: t, q, liquid, ice, cloud, before, saturation, total, width
    integer :: i

    t = 285.0_r8
    saturation = saturation_specific_humidity(t, p)
    q = saturation
    liquid = 0.0_r8
    ice = 0.0_r8
    call condense(critical, p, t, q, liquid, ice, cloud)
    call check_close(cloud, 0.5_r8, 1.0e-12_r8, 'cloud where the mean is saturated')
    width = 0.25_r8 * (1.0_r8 - critical) * saturation &
            / (1.0_r8 + latent_vaporization**2 / heat_capacity &
               * saturation / (water_vapor_gas * 285.0_r8**2))
    call check_close(liquid, width, 1.0e-9_r8, 'cloud water where the mean is saturated')
    ! Within this cloud the condensate is half of that where all is cloud, four widths.
    call check_close(cloud_fraction_of(2.0_r8 * width, 0.0_r8, p, t, liquid, ice), cloud, &
                     1.0e-9_r8, 'fraction that radiation sees')
    do i = 1, 30
      t = 230.0_r8 + 2.0_r8 * real(i, r8)
      saturation = saturation_specific_humidity(t, p)
      q = saturation * (0.5_r8 + 0.02_r8 * real(i, r8))
      liquid = 0.1_r8 * saturation * liquid_fraction(t)
      ice = 0.1_r8 * saturation - liquid
      total = q + liquid + ice
      before = heat_capacity * t + latent_vaporization * q - latent_fusion * ice
      call condense(critical, p, t, q, liquid, ice, cloud)
      call check_close(q + liquid + ice, total, 1.0e-15_r8, 'water in condensation')
      call check_close(heat_capacity * t + latent_vaporization * q - latent_fusion * ice, before, &
                       1.0e-8_r8, 'enthalpy in condensation')
      call check(min(q, liquid, ice) >= 0.0_r8 .and. cloud >= 0.0_r8 .and. cloud <= 1.0_r8, &
                 'condensation out of bounds')
      if (cloud <= 0.0_r8) call check(liquid + ice <= 0.0_r8, 'cloud water outside of cloud')
      ! One Newton step of Clausius and Clapeyron: within five percent where a fifth is in excess.
      if (cloud >= 1.0_r8) call check_close(q / saturation_specific_humidity(t, p), 1.0_r8, &
                                            0.05_r8, 'vapour in full cloud')
    end do
  end subroutine check_condensation

  !> Ice and liquid follow from temperature, and enthalpy is kept.
  subroutine check_phase()
    real(r8) :: t, liquid, ice, before
    integer :: i

    do i = 0, 60
      t = 240.0_r8 + real(i, r8)
      liquid = 2.0e-3_r8
      ice = 1.0e-3_r8
      before = heat_capacity * t - latent_fusion * ice
      call settle_phase(t, liquid, ice)
      call check_close(liquid + ice, 3.0e-3_r8, 1.0e-17_r8, 'cloud in change of phase')
      call check_close(heat_capacity * t - latent_fusion * ice, before, 1.0e-9_r8, &
                       'enthalpy in change of phase')
      call check_close(liquid, 3.0e-3_r8 * liquid_fraction(t), 1.0e-12_r8, 'liquid by temperature')
    end do
  end subroutine check_phase

  !> What falls comes out of the column, snow with its heat of fusion; in warm air snow melts, and
  !! dry air takes rain up.
  subroutine check_precipitation()
    real(r8), dimension(n) :: t, q, liquid, ice, cloud
    real(r8) :: rain, snow, before, water, humid
    integer :: seed

    do seed = 0, 20, 2
      call sounding(p_mid, 270.0_r8 + 2.0_r8 * real(seed, r8), 0.8_r8, seed, t, q)
      cloud = merge(0.6_r8, 0.0_r8, p_mid > 2.0e4_r8 .and. p_mid < 8.0e4_r8)
      liquid = 4.0e-4_r8 * cloud * liquid_fraction(t)
      ice = 2.0e-4_r8 * cloud * (1.0_r8 - liquid_fraction(t))
      before = enthalpy(t, q, ice)
      water = sum(mass * (q + liquid + ice))
      call precipitate(parameters, p_mid, dp, dt, cloud, t, q, liquid, ice, rain, snow)
      call check_close(sum(mass * (q + liquid + ice)) + rain + snow, water, water_kg * 100.0_r8, &
                       'water in precipitation')
      call check_close(enthalpy(t, q, ice) - latent_fusion * snow, before, joules * 1.0e3_r8, &
                       'enthalpy in precipitation')
      call check(min(minval(q), minval(liquid), minval(ice), rain, snow) >= 0.0_r8, &
                 'negative water in precipitation')
      if (t(n) > 278.0_r8) call check(snow <= 0.0_r8, 'snow reaches a warm sea')
    end do
    call sounding(p_mid, 300.0_r8, 0.9_r8, 0, t, q)
    cloud = merge(0.5_r8, 0.0_r8, p_mid > 5.0e4_r8 .and. p_mid < 6.0e4_r8)
    liquid = 1.0e-3_r8 * cloud
    ice = 0.0_r8
    call precipitate(parameters, p_mid, dp, dt, cloud, t, q, liquid, ice, humid, snow)
    call sounding(p_mid, 300.0_r8, 0.2_r8, 0, t, q)
    liquid = 1.0e-3_r8 * cloud
    ice = 0.0_r8
    call precipitate(parameters, p_mid, dp, dt, cloud, t, q, liquid, ice, rain, snow)
    call check(rain < humid, 'dry air takes no rain up')
  end subroutine check_precipitation

end program test_aqua_columns
