!> The reference physics as a whole, and the host's own surface fluxes and boundary layer, against
!! closed forms and in equilibrium. The first argument is the file of levels.
program test_aqua_physics
  use aqua_boundary_layer, only: surface_and_boundary_layer
  use aqua_column_physics, only: reference_physics
  use aqua_column_types, only: allocate_outputs, column_inputs, column_outputs
  use aqua_constants, only: dry_air_gas, gravity, heat_capacity, latent_fusion, &
                            latent_vaporization, r8, stefan_boltzmann, water_density, &
                            water_vapor_gas
  use aqua_gases, only: gas_profiles
  use aqua_levels, only: hybrid_levels, interface_pressure, midpoint_pressure
  use aqua_physics_settings, only: physics_parameters
  use aqua_saturation, only: liquid_fraction
  use aqua_surface, only: ocean_albedo, surface_humidity
  use aqua_test_support, only: allocate_inputs, check, check_close, climsim_levels, &
                               random_numbers, sounding
  implicit none (type, external)

  integer, parameter :: n = 60
  real(r8), parameter :: ps = 1.0e5_r8, dt = 1200.0_r8
  type(hybrid_levels) :: levels
  type(physics_parameters) :: parameters
  real(r8), dimension(n) :: p_mid, dp, mass
  real(r8) :: p_int(n + 1)

  levels = climsim_levels()
  p_int = interface_pressure(levels, ps)
  p_mid = midpoint_pressure(levels, ps)
  dp = p_int(2:) - p_int(:n)
  mass = dp / gravity
  call check_boundary_layer()
  call check_physics_budgets()
  call check_equilibrium()

contains

  !> The budgets of the module's first lines; equilibrium with the sea stays; fluxes have the sign
  !! of the differences.
  subroutine check_boundary_layer()
    real(r8), dimension(n) :: t, q, u, v, d_t, d_q, d_u, d_v
    real(r8) :: lhflx, shflx, taux, tauy, sst, change
    integer :: seed

    do seed = 2, 40, 2
      call sounding(p_mid, 285.0_r8 + real(seed, r8) / 4.0_r8, 0.7_r8, seed, t, q)
      u = 15.0_r8 * random_numbers(n, seed + 100)
      v = 15.0_r8 * random_numbers(n, seed + 101)
      sst = t(n) + 5.0_r8 * (real(mod(seed, 5), r8) - 1.5_r8)
      call surface_and_boundary_layer(t, q, u, v, p_mid, p_int, dp, sst, dt, d_t, d_q, d_u, d_v, &
                                      lhflx, shflx, taux, tauy)
      change = sum(mass * (heat_capacity * d_t + latent_vaporization * d_q &
                           + (u + 0.5_r8 * d_u) * d_u + (v + 0.5_r8 * d_v) * d_v))
      call check_close(change / dt, shflx + lhflx, 1.0e-9_r8, 'energy of the boundary layer')
      call check_close(sum(mass * d_q) / dt, lhflx / latent_vaporization, 1.0e-15_r8, &
                       'vapour of the boundary layer')
      call check_close(sum(mass * d_u) / dt, taux, 1.0e-12_r8, 'momentum of the boundary layer')
      call check(taux * (u(n) + d_u(n)) <= 0.0_r8 .and. tauy * (v(n) + d_v(n)) <= 0.0_r8, &
                 'the sea drives the wind')
      call check(maxval(abs(d_t(:30))) <= 0.0_r8, 'the boundary layer reaches the stratosphere')
      call check(all(q + d_q >= 0.0_r8), 'negative vapour in the boundary layer')
    end do
    u = 0.0_r8
    v = 0.0_r8
    sst = 290.0_r8
    call neutral(sst, t)
    q = surface_humidity(sst, ps)
    call surface_and_boundary_layer(t, q, u, v, p_mid, p_int, dp, sst, dt, d_t, d_q, d_u, d_v, &
                                    lhflx, shflx, taux, tauy)
    call check_close(abs(lhflx) + abs(taux) + abs(tauy), 0.0_r8, 1.0e-9_r8, &
                     'fluxes in equilibrium with the sea')
    call check_close(shflx, 0.0_r8, 0.01_r8, 'sensible heat in equilibrium with the sea')
    call check_close(maxval(abs(d_t)), 0.0_r8, 1.0e-3_r8, 'temperature in equilibrium with the sea')
  end subroutine check_boundary_layer

  !> Static energy cp T + g z as that of the sea, up to 2 km, with the vapour of the sea.
  subroutine neutral(sst, t)
    real(r8), intent(in) :: sst
    real(r8), intent(out) :: t(n)
    real(r8) :: z, virtual
    integer :: k, sweep

    t = sst
    z = 0.0_r8
    virtual = 1.0_r8 + (water_vapor_gas / dry_air_gas - 1.0_r8) * surface_humidity(sst, ps)
    do k = n, 1, -1
      if (z > 2.0e3_r8) exit
      do sweep = 1, 20
        t(k) = sst - gravity / heat_capacity * (z + dry_air_gas * t(k) * virtual / gravity &
                                                * log(p_int(k + 1) / p_mid(k)))
      end do
      z = z + dry_air_gas * t(k) * virtual / gravity * log(p_int(k + 1) / p_int(k))
    end do
  end subroutine neutral

  !> Fills a column of the sea at the equator.
  subroutine fill(seed, coszrs, column)
    integer, intent(in) :: seed
    real(r8), intent(in) :: coszrs
    type(column_inputs), intent(inout) :: column

    call sounding(p_mid, 299.0_r8, 0.85_r8, seed, column%t, column%q)
    column%qc = 0.0_r8
    column%qi = 0.0_r8
    where (p_mid > 2.0e4_r8 .and. p_mid < 9.0e4_r8)
      column%qc = 1.0e-4_r8 * liquid_fraction(column%t)
      column%qi = 1.0e-4_r8 - column%qc
    end where
    if (seed > 0) column%u = 20.0_r8 * random_numbers(n, seed + 2)
    column%v = 0.0_r8
    column%p_mid = p_mid
    column%p_int = p_int
    column%dp = dp
    column%ps = ps
    call gas_profiles(p_mid, 0.0_r8, column%ozone, column%ch4, column%n2o)
    column%coszrs = coszrs
    column%solin = 1361.0_r8 * coszrs
    call ocean_albedo(coszrs, column%asdir, column%asdif)
    column%aldir = column%asdir
    column%aldif = column%asdif
    column%lwup = stefan_boltzmann * 300.0_r8**4
  end subroutine fill

  !> Energy changes by radiation at both ends and by snow, water by precipitation, and all outputs
  !! are what ClimSim's are.
  subroutine check_physics_budgets()
    type(column_inputs) :: column
    type(column_outputs) :: made
    real(r8) :: energy, water
    integer :: seed

    call allocate_inputs(n, column)
    call allocate_outputs(n, made)
    do seed = 2, 80, 2
      call fill(seed, max(0.0_r8, real(mod(seed, 20) - 6, r8) / 12.0_r8), column)
      call reference_physics(parameters, column, dt, made)
      energy = sum(mass * (heat_capacity * made%dtdt + latent_vaporization * made%dqdt &
                           - latent_fusion * made%dqidt &
                           + (column%u + 0.5_r8 * dt * made%dudt) * made%dudt &
                           + (column%v + 0.5_r8 * dt * made%dvdt) * made%dvdt))
      water = sum(mass * (made%dqdt + made%dqcdt + made%dqidt))
      call check_close(energy, made%fsnt - made%flut - (made%netsw + made%flwds - column%lwup) &
                       + latent_fusion * water_density * made%precsc, 1.0e-7_r8, &
                       'energy of the reference physics')
      call check_close(water, -water_density * made%precc, 1.0e-13_r8, &
                       'water of the reference physics')
      call check_close(made%netsw, made%sols * (1.0_r8 - column%asdir) &
                       + made%soll * (1.0_r8 - column%aldir) &
                       + made%solsd * (1.0_r8 - column%asdif) &
                       + made%solld * (1.0_r8 - column%aldif), 1.0e-9_r8, 'NETSW')
      call check(made%precsc <= made%precc .and. made%precsc >= 0.0_r8, &
                 'snow is more than all precipitation')
      call check(minval([column%q + dt * made%dqdt, column%qc + dt * made%dqcdt, &
                         column%qi + dt * made%dqidt]) > -1.0e-18_r8, &
                 'negative water after the reference physics')
      if (column%coszrs <= 0.0_r8) call check(max(made%netsw, made%sols, made%soll, made%solsd, &
                                                  made%solld, made%fsnt) <= 0.0_r8, &
                                              'sunlight at night')
    end do
  end subroutine check_physics_budgets

  !> Radiative-convective equilibrium over a sea of 300 K: rain balances evaporation, the
  !! troposphere is near its moist adiabat, and column water, cloud and fluxes are those of the
  !! tropics.
  subroutine check_equilibrium()
    integer, parameter :: days = 150, averaged = 50, per_day = 72
    type(column_inputs) :: column
    type(column_outputs) :: made
    real(r8), dimension(n) :: d_t, d_q, d_u, d_v
    real(r8) :: rain, evaporation, outgoing, lhflx, shflx, taux, tauy
    integer :: step, k

    call allocate_inputs(n, column)
    call allocate_outputs(n, made)
    call fill(0, 0.6_r8, column)
    column%solin = 409.6_r8                                  ! the mean of a day at the equator
    rain = 0.0_r8
    evaporation = 0.0_r8
    outgoing = 0.0_r8
    do step = 1, days * per_day
      column%u = 5.0_r8
      column%v = 0.0_r8
      call reference_physics(parameters, column, dt, made)
      column%t = column%t + dt * made%dtdt
      column%q = max(column%q + dt * made%dqdt, 0.0_r8)
      column%qc = max(column%qc + dt * made%dqcdt, 0.0_r8)
      column%qi = max(column%qi + dt * made%dqidt, 0.0_r8)
      call surface_and_boundary_layer(column%t, column%q, column%u, column%v, p_mid, p_int, dp, &
                                      300.0_r8, dt, d_t, d_q, d_u, d_v, lhflx, shflx, taux, tauy)
      column%t = column%t + d_t
      column%q = column%q + d_q
      if (step <= (days - averaged) * per_day) cycle
      rain = rain + 8.64e7_r8 * made%precc / real(averaged * per_day, r8)
      evaporation = evaporation &
        + 86400.0_r8 * lhflx / latent_vaporization / real(averaged * per_day, r8)
      outgoing = outgoing + made%flut / real(averaged * per_day, r8)
    end do
    k = minloc(abs(p_mid - 5.0e4_r8), dim=1)
    print '(4(a,f8.3))', 'equilibrium: rain ', rain, ' evaporation ', evaporation, ' outgoing ', &
      outgoing, ' T500 ', column%t(k)
    call check_close(rain / evaporation, 1.0_r8, 0.03_r8, 'rain over evaporation in equilibrium')
    call check(rain > 2.0_r8 .and. rain < 7.0_r8, 'rain in equilibrium')
    call check(outgoing > 190.0_r8 .and. outgoing < 260.0_r8, &
               'outgoing longwave radiation in equilibrium')
    column%qc = 0.0_r8
    column%qi = 0.0_r8
    call reference_physics(parameters, column, dt, made)
    call check_close(made%flut, 270.0_r8, 12.0_r8, 'the same without cloud')
    call check_close(column%t(k), 268.0_r8, 5.0_r8, 'temperature at 500 hPa in equilibrium')
    call check_close(sum(mass * column%q), 50.0_r8, 12.0_r8, 'column water in equilibrium')
    call check(minval(column%t) > 170.0_r8 .and. maxval(column%t) < 301.0_r8, &
               'temperatures in equilibrium')
  end subroutine check_equilibrium

end program test_aqua_physics
