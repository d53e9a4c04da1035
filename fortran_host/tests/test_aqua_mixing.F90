!> One value by hand for convection, mixing of wind and the boundary layer: numbers are written out
!! here, as the sources named in the
!! modules have them, and not taken from the modules. The first argument is the file of levels.
program test_aqua_mixing
  use aqua_boundary_layer, only: surface_and_boundary_layer
  use aqua_column_physics, only: reference_physics
  use aqua_column_types, only: allocate_outputs, column_inputs, column_outputs
  use aqua_constants, only: r8
  use aqua_convection, only: convect, mix_momentum
  use aqua_levels, only: hybrid_levels, interface_pressure, midpoint_pressure
  use aqua_physics_settings, only: physics_parameters
  use aqua_saturation, only: liquid_fraction, saturation_specific_humidity
  use aqua_surface, only: ocean_albedo
  use aqua_test_support, only: allocate_inputs, check, check_close, check_value, climsim_levels, &
                               sounding
  implicit none (type, external)

  ! E3SM's
  real(r8), parameter :: g = 9.80616_r8, cp = 1004.64_r8, lv = 2.501e6_r8, lf = 3.337e5_r8
  real(r8), parameter :: rd = 8314.46759_r8 / 28.966_r8, rv = 8314.46759_r8 / 18.016_r8
  integer, parameter :: n = 60
  real(r8), parameter :: dt = 1200.0_r8
  ! Share of a value: the gas constants above have nine digits.
  real(r8), parameter :: exact = 1.0e-7_r8

  call check_convection()
  call check_shallow_convection()
  call check_momentum()
  call check_overturning()
  call check_boundary_layer()

contains

  !> The levels of ClimSim at 1000 hPa with a tropical sounding of a surface temperature and a
  !! humidity, without cloud.
  subroutine tropics(humidity, p_mid, dp, t, q)
    real(r8), intent(in) :: humidity
    real(r8), dimension(n), intent(out) :: p_mid, dp, t, q
    type(hybrid_levels) :: levels
    real(r8) :: p_int(n + 1)

    levels = climsim_levels()
    p_int = interface_pressure(levels, 1.0e5_r8)
    p_mid = midpoint_pressure(levels, 1.0e5_r8)
    dp = p_int(2:) - p_int(:n)
    call sounding(p_mid, 300.0_r8, humidity, 0, t, q)
  end subroutine tropics

  !> 1 - exp(-dt / time) of what convection at once would do, a part of the rain as cloud in the
  !! upper half of its air, nothing above
  !! 50 hPa. The column is colder aloft than any parcel.
  subroutine check_convection()
    type(physics_parameters) :: parameters, at_once
    real(r8), dimension(n) :: p_mid, dp, t, q, dried, other, liquid, ice, cloud, warm
    real(r8) :: rain, whole
    integer :: top, last

    call tropics(0.9_r8, p_mid, dp, t, q)
    where (p_mid < 2.0e4_r8) t = 150.0_r8
    dried = q
    other = q
    liquid = 0.0_r8 * q
    ice = liquid
    warm = t
    at_once%convection_time_s = 1.0_r8
    at_once%convection_humidity = 0.3_r8                    ! so dry that all rains
    at_once%detrained_fraction = 0.0_r8
    call convect(at_once, p_mid, dp, dt, warm, dried, liquid, ice, whole, top)
    call check(whole > 1.0_r8, 'convection: no rain')
    call check(p_mid(top) >= 5.0e3_r8 .and. p_mid(top - 1) < 5.0e3_r8, 'convection: highest level')
    call check_parcel(p_mid, q(n), t(n), warm - (warm(n) - t(n)))
    parameters%convection_time_s = 3600.0_r8
    parameters%convection_humidity = 0.3_r8
    parameters%detrained_fraction = 0.3_r8
    call convect(parameters, p_mid, dp, dt, t, other, liquid, ice, rain, top)
    call check(maxval(abs(other - q - (1.0_r8 - exp(-1.0_r8 / 3.0_r8)) * (dried - q))) &
        < 1.0e-12_r8, 'convection: drying')
    call check_value(rain, 0.7_r8 * (1.0_r8 - exp(-1.0_r8 / 3.0_r8)) * whole, 'convection: rain')
    cloud = liquid + ice
    call check_value(sum(cloud * dp) / g, rain * 0.3_r8 / 0.7_r8, 'convection: cloud')
    last = maxloc(cloud, dim=1, back=.true.)
    call check(abs(cloud(last) - cloud(top)) <= 0.0_r8 .and. maxval(cloud) <= cloud(top), &
        'convection: even cloud')
    associate (half => 0.5_r8 * sum(dp(top:)))
      call check(sum(dp(top:last)) <= half .and. sum(dp(top:last + 1)) > half, &
          'convection: cloud in the upper half')
    end associate
    call check(maxval(abs(ice - cloud * (1.0_r8 - liquid_fraction(t - lf / cp &
        * ice)))) < 1.0e-15_r8, 'convection: ice')
    call check(maxval(liquid) > 0.0_r8 .and. maxval(ice) > 0.0_r8, 'convection: one phase only')
  end subroutine check_convection

  !> The parcel cools by the dry adiabat to the last level where its vapour is not saturated, then
  !! by one step of the midpoint rule along dT / dln p = (R T + L q) / (cp + L^2 q / (Rv T^2)).
  subroutine check_parcel(p, vapor, base_k, parcel)
    real(r8), intent(in) :: p(n), vapor, base_k, parcel(n)
    real(r8) :: dry(n), step, middle
    integer :: k

    dry = base_k * (p / p(n))**(rd / cp)
    k = n
    do while (vapor < saturation_specific_humidity(dry(k), p(k)))
      call check_value(parcel(k), dry(k), 'convection: parcel that is dry')
      k = k - 1
    end do
    call check(k < n - 1, 'convection: the parcel is saturated from the start')
    step = log(p(k) / p(k + 1))
    middle = dry(k + 1) + 0.5_r8 * step * moist_lapse(dry(k + 1), p(k + 1))
    middle = dry(k + 1) + step * moist_lapse(middle, sqrt(p(k) * p(k + 1)))
    call check_value(parcel(k), middle, 'convection: parcel that condenses')
  end subroutine check_parcel

  pure function moist_lapse(t, p) result(slope)
    real(r8), intent(in) :: t, p
    real(r8) :: slope

    associate (q => saturation_specific_humidity(t, p))
      slope = (rd * t + lv * q) / (cp + lv**2 * q / (rv * t**2))
    end associate
  end function moist_lapse

  !> Without rain, levels that gain vapour get their share of saturation on the parcel's adiabat;
  !! those that lose it lose the same part
  !! of what they would. The parcel is the temperature after convection at once, but for one shift
  !! of all levels.
  subroutine check_shallow_convection()
    type(physics_parameters) :: at_once
    real(r8), dimension(n) :: p_mid, dp, t, q, old, liquid, ice, reference
    real(r8), allocatable :: share(:)
    real(r8) :: rain, shift
    integer :: top

    call tropics(0.85_r8, p_mid, dp, t, q)
    where (p_mid < 8.5e4_r8) q = 0.1_r8 * q
    old = q
    shift = t(n)
    liquid = 0.0_r8 * q
    ice = liquid
    at_once%convection_time_s = 1.0_r8
    at_once%convection_humidity = 0.8_r8
    call convect(at_once, p_mid, dp, dt, t, q, liquid, ice, rain, top)
    call check(top < n .and. rain < 1.0e-12_r8, 'shallow convection: none')
    shift = t(n) - shift
    reference = 0.8_r8 * saturation_specific_humidity(t - shift, p_mid)
    allocate (share, source=(q(top:) - old(top:)) / (reference(top:) - old(top:)))
    call check(any(q(top:) > old(top:)) .and. any(q(top:) < old(top:)), &
        'shallow convection: vapour goes one way')
    call check(all(abs(share - merge(1.0_r8, minval(share), q(top:) > old(top:))) < 1.0e-6_r8), &
        'shallow convection: shares')
    call check(minval(share) > 0.0_r8 .and. minval(share) < 1.0_r8, 'shallow convection: drying')
  end subroutine check_shallow_convection

  !> Wind goes to its mean by 1 - exp(-strength rain / (base vapour x mass)); less vapour than 1e-4
  !! kg/kg counts as that.
  subroutine check_momentum()
    real(r8), parameter :: dp(3) = [1.0e4_r8, 2.0e4_r8, 3.0e4_r8], base(2) = [0.015_r8, 1.0e-5_r8]
    real(r8), parameter :: counted(2) = [0.015_r8, 1.0e-4_r8]
    real(r8) :: t(3), u(3), v(3), left
    integer :: i

    do i = 1, size(base)
      t = 280.0_r8
      u = [7.0_r8, 20.0_r8, 10.0_r8]
      v = [0.0_r8, -5.0_r8, 0.0_r8]
      call mix_momentum(0.3_r8, 0.4_r8, base(i), dp, 2, t, u, v)
      left = exp(-0.3_r8 * 0.4_r8 / (counted(i) * 5.0e4_r8 / g))
      call check_value(u(2) - 14.0_r8, left * 6.0_r8, 'convective wind')
      call check_value(v(3) + 2.0_r8, left * 2.0_r8, 'convective wind to the north')
      ! Kinetic energy of both components about the mean, 1/2 x 2/5 x 3/5 x difference^2.
      call check_value(t(3) - 280.0_r8, 0.12_r8 * (10.0_r8**2 + 5.0_r8**2) * (1.0_r8 - left**2) &
          / cp, 'convective wind: heat')
      call check_close(abs(u(1) - 7.0_r8) + abs(t(1) - 280.0_r8), 0.0_r8, 0.0_r8, &
          'convective wind: above convection')
    end do
  end subroutine check_momentum

  !> The physics mixes wind by all that convection condenses, rain and the cloud it leaves.
  subroutine check_overturning()
    type(physics_parameters) :: parameters
    type(column_inputs) :: column
    type(column_outputs) :: made
    real(r8), dimension(n) :: after, weight
    real(r8) :: condensed, mean, left
    integer :: top

    call allocate_inputs(n, column)
    call allocate_outputs(n, made)
    call tropics(0.9_r8, column%p_mid, column%dp, column%t, column%q)
    column%u = 20.0_r8 * (1.0_r8 - column%p_mid / 1.0e5_r8)
    column%p_int = [0.0_r8, column%p_mid]                            ! of no account to this
    column%lwup = 450.0_r8
    parameters%convection_humidity = 0.3_r8
    parameters%detrained_fraction = 0.4_r8
    parameters%convective_momentum = 0.5_r8
    call reference_physics(parameters, column, dt, made)
    condensed = (made%precc - made%precl) * 1.0e3_r8 * dt / 0.6_r8
    call check(condensed > 0.01_r8, 'overturning: no convection')
    top = findloc(abs(made%dudt) > 0.0_r8, .true., dim=1)
    weight = column%dp / sum(column%dp(top:))
    mean = sum(weight(top:) * column%u(top:))
    left = exp(-0.5_r8 * condensed / column%q(n) / (sum(column%dp(top:)) / g))
    after = column%u + dt * made%dudt
    call check(maxval(abs(after(top:) - mean - left * (column%u(top:) - mean))) < 1.0e-6_r8, &
               'overturning: wind')
  end subroutine check_overturning

  !> Three levels, the second of which holds the top of the layer of 1500 m: at the face below it K
  !! is 0.4 u* z (1 - z/h)^2. Bulk fluxes with 1.3e-3 and a gust of 1 m/s, the sea's vapour at 98 %,
  !! all implicit in time. The level above stays as it is.
  subroutine check_boundary_layer()
    real(r8), parameter :: t(2) = [284.0_r8, 290.0_r8], q(2) = [4.0e-3_r8, 8.0e-3_r8]
    real(r8), parameter :: u(2) = [12.0_r8, 6.0_r8], v(2) = [2.0_r8, -3.0_r8], sst = 293.0_r8
    real(r8), parameter :: p_int(3) = [8.0e4_r8, 9.4e4_r8, 1.0e5_r8]
    real(r8), parameter :: p_mid(2) = [8.7e4_r8, 9.7e4_r8], p_all(4) = [6.0e4_r8, p_int]
    real(r8), parameter :: all_t(3) = [270.0_r8, t], all_q(3) = [1.0e-3_r8, q]
    real(r8), dimension(3) :: d_t, d_q, d_u, d_v
    real(r8), dimension(2) :: virtual, mass, z, energy, x, heat
    real(r8) :: lhflx, shflx, taux, tauy, wind, rate, exchange, face, lost, flux, direct, diffuse

    mass = (p_int(2:) - p_int(:2)) / g
    virtual = t * (1.0_r8 + (rv / rd - 1.0_r8) * q)
    wind = sqrt(u(2)**2 + v(2)**2 + 1.0_r8)
    rate = 1.3e-3_r8 * p_mid(2) / (rd * virtual(2)) * wind
    face = rd * virtual(2) / g * log(p_int(3) / p_int(2))
    z(1) = face + rd * virtual(1) / g * log(p_int(2) / p_mid(1))
    z(2) = rd * virtual(2) / g * log(p_int(3) / p_mid(2))
    exchange = p_int(2) / (rd * virtual(1)) / (z(1) - z(2)) &
               * 0.4_r8 * sqrt(1.3e-3_r8) * wind * face * (1.0_r8 - face / 1500.0_r8)**2
    call surface_and_boundary_layer(all_t, all_q, [30.0_r8, u], [5.0_r8, v], &
                                    [7.0e4_r8, p_mid], p_all, p_all(2:) - p_all(:3), sst, dt, d_t, &
                                    d_q, d_u, d_v, lhflx, shflx, taux, tauy)
    call check(maxval(abs([d_t(1), d_q(1), d_u(1), d_v(1)])) <= 0.0_r8, 'boundary layer: above')
    x = mixed(mass, exchange, rate, q, 0.98_r8 * saturation_specific_humidity(sst, p_int(3)), flux)
    call check(maxval(abs(d_q(2:) - x)) < exact * maxval(abs(x)), 'boundary layer: vapour')
    call check_value(lhflx, lv * flux, 'boundary layer: latent heat flux')
    x = mixed(mass, exchange, rate, u, 0.0_r8, flux)
    call check(maxval(abs(d_u(2:) - x)) < exact * maxval(abs(x)), 'boundary layer: wind')
    call check_value(taux, flux, 'boundary layer: stress')
    ! Half of what the face took from the wind to each side, what the sea took to the lower level.
    lost = mass(1) * x(1) * (u(2) + 0.5_r8 * x(2) - u(1) - 0.5_r8 * x(1))
    heat = [0.5_r8 * lost, 0.5_r8 * lost - flux * dt * (u(2) + 0.5_r8 * x(2))]
    x = mixed(mass, exchange, rate, v, 0.0_r8, flux)
    call check_value(tauy, flux, 'boundary layer: stress to the north')
    lost = mass(1) * x(1) * (v(2) + 0.5_r8 * x(2) - v(1) - 0.5_r8 * x(1))
    heat = heat + [0.5_r8 * lost, 0.5_r8 * lost - flux * dt * (v(2) + 0.5_r8 * x(2))]
    energy = cp * t + g * z
    x = mixed(mass, exchange, rate, energy, cp * sst, flux)
    call check_value(shflx, flux, 'boundary layer: sensible heat flux')
    x = (x + heat / mass) / cp
    call check(maxval(abs(d_t(2:) - x)) < exact * maxval(abs(x)), 'boundary layer: temperature')
    call ocean_albedo(0.3_r8, direct, diffuse)
    call check_value(direct, 0.026_r8 / (0.3_r8**1.7_r8 + 0.065_r8) + 0.15_r8 * 0.2_r8 * 0.2_r8 &
        * 0.7_r8, 'albedo of the sea')
  end subroutine check_boundary_layer

  !> Increments of both levels by Cramer's rule, and the flux from the surface after the step.
  function mixed(mass, exchange, rate, x, surface, flux) result(change)
    real(r8), intent(in) :: mass(2), exchange, rate, x(2), surface
    real(r8), intent(out) :: flux
    real(r8) :: change(2)
    real(r8) :: upper, lower, forced(2)

    upper = mass(1) / dt + exchange
    lower = mass(2) / dt + exchange + rate
    forced = [exchange * (x(2) - x(1)), exchange * (x(1) - x(2)) + rate * (surface - x(2))]
    change = [forced(1) * lower + exchange * forced(2), upper * forced(2) + exchange &
        * forced(1)] / (upper * lower - exchange**2)
    flux = rate * (surface - x(2) - change(2))
  end function mixed

end program test_aqua_mixing
