!> The dynamical core as its users see it: rest, balance, mass, strength of the physics, restarts,
!! forcings, refusals.
program test_aqua_dynamics
  use aqua_constants, only: pi, r8, seconds_per_day
  use aqua_dynamics, only: dynamical_core
  use aqua_dynamics_settings, only: dynamics_settings
  use aqua_grid, only: gaussian_grid, make_grid
  use aqua_held_suarez, only: held_suarez_tendencies
  use aqua_initial, only: initial_state, initial_vapor
  use aqua_levels, only: hybrid_levels, make_levels, midpoint_pressure
  use aqua_test_support, only: check, check_close, climsim_levels, random_numbers
  implicit none (type, external)

  integer, parameter :: steps_per_day = 72
  type(hybrid_levels) :: levels

  levels = climsim_levels()
  call rest('rest_isothermal', 10, 5)
  call rest('rest_adiabatic', 10, 5)
  call rest('rest_adiabatic', 21, 1)
  call baroclinic_wave()
  call variants()
  call physics_strength()
  call increments()
  call virtual_temperature()
  call restarts()
  call held_suarez_closed_forms()
  call held_suarez_run()
  call moist_balance()
  call initial_states()
  call refusals()

contains

  !> A core in one of the initial states; settings are the default ones unless given.
  subroutine start(truncation, initial, core, settings)
    integer, intent(in) :: truncation
    character(len=*), intent(in) :: initial
    type(dynamical_core), intent(out) :: core
    type(dynamics_settings), intent(in), optional :: settings
    type(dynamics_settings) :: chosen
    type(gaussian_grid) :: grid
    real(r8), allocatable :: u(:, :), v(:, :), t(:, :), ps(:), geopotential(:)
    character(len=:), allocatable :: error

    call make_grid(truncation, grid, error)
    call check(len(error) == 0, error)
    if (present(settings)) chosen = settings
    call core%initialize(grid, levels, chosen, error)
    call check(len(error) == 0, error)
    allocate (u(levels%n_level, grid%n_column), ps(grid%n_column), geopotential(grid%n_column))
    allocate (v, t, mold=u)
    call initial_state(initial, grid, levels, 7, 0.0_r8, u, v, t, ps, geopotential, error)
    call check(len(error) == 0, error)
    call core%set_state(u, v, t, ps, geopotential)
  end subroutine start

  !> Zeros [level, column].
  function dry(core) result(vapor)
    type(dynamical_core), intent(in) :: core
    real(r8) :: vapor(levels%n_level, core%grid%n_column)

    vapor = 0.0_r8
  end function dry

  subroutine advance(core, n_step)
    type(dynamical_core), intent(inout) :: core
    integer, intent(in) :: n_step
    integer :: i

    do i = 1, n_step
      call core%step(dry(core))
    end do
  end subroutine advance

  pure function mean_pressure(core) result(mean)
    type(dynamical_core), intent(in) :: core
    real(r8) :: mean

    mean = sum(core%grid%area * core%ps) / (4.0_r8 * pi)
  end function mean_pressure

  !> An atmosphere whose temperature depends on pressure alone stays at rest.
  subroutine rest(initial, truncation, n_day)
    character(len=*), intent(in) :: initial
    integer, intent(in) :: truncation, n_day
    type(dynamical_core) :: core
    character(len=80) :: text

    call start(truncation, initial, core)
    call advance(core, n_day * steps_per_day)
    write (text, '(a,es9.2,a)') initial // ': wind of ', &
      max(maxval(abs(core%u)), maxval(abs(core%v))), ' m/s'
    call check(max(maxval(abs(core%u)), maxval(abs(core%v))) < 1.0e-9_r8, trim(text))
    call check(maxval(core%ps) - minval(core%ps) < 1.0e-6_r8, initial // ': surface pressure')
    call check(maxval(abs(core%omega)) < 1.0e-10_r8, initial // ': omega')
  end subroutine rest

  !> The state of Jablonowski and Williamson (2006) is nearly balanced, over its own orography: in a
  !! day the jet stays, surface pressure moves by the wave of a small gust only, and mass is kept to
  !! the last bits.
  subroutine baroclinic_wave()
    type(dynamical_core) :: core
    integer, parameter :: below_sponge = 11      ! from 10 hPa down
    real(r8), allocatable :: u(:, :)
    real(r8) :: mass

    call start(21, 'baroclinic_wave', core)
    mass = mean_pressure(core)
    call check_close(mass, 1.0e5_r8, 1.0e-7_r8, 'wave: first mean pressure')
    call check_close(maxval(core%u), 35.0_r8, 1.0_r8, 'wave: jet')
    allocate (u, source=core%u)
    call advance(core, steps_per_day)
    call check_close(mean_pressure(core), mass, 2.0e-14_r8 * mass * real(steps_per_day, r8), &
                     'wave: mass')
    call check(maxval(abs(core%ps - 1.0e5_r8)) < 50.0_r8, &
               'wave: surface pressure moves by more than 0.5 hPa in a day')
    associate (change => maxval(abs(core%u(below_sponge:, :) - u(below_sponge:, :))))
      call check(change < 1.0_r8, 'wave: the wind changes by more than the gust in a day')
      call check(change > 1.0e-2_r8, 'wave: nothing moves')
    end associate
  end subroutine baroclinic_wave

  !> Four days of the wave do not hang on the time step, on the temperature of the semi-implicit
  !! terms, or on hybrid levels: extremes of the wind below the sponge stay within 1 m/s.
  subroutine variants()
    type(hybrid_levels) :: hybrid
    character(len=:), allocatable :: error
    real(r8) :: expected(4)

    expected = extremes(dynamics_settings())
    call check(expected(1) > 30.0_r8, 'variants: no jet')
    call check(maxval(abs(extremes(dynamics_settings(time_step_s=600.0_r8)) - expected)) < 1.0_r8, &
               'variants: half the time step')
    call check(maxval(abs(extremes(dynamics_settings(time_step_s=2400.0_r8)) - expected)) &
               < 1.0_r8, 'variants: twice the time step')
    call check(maxval(abs(extremes(dynamics_settings(reference_temperature_k=350.0_r8)) &
                          - expected)) < 1.0_r8, &
               'variants: reference temperature')
    hybrid = levels
    call make_levels(0.0_r8 * hybrid%hyai, hybrid%hyai + hybrid%hybi, hybrid%p0, levels, error)
    call check(len(error) == 0, error)
    call check(maxval(abs(extremes(dynamics_settings()) - expected)) < 1.0_r8, &
               'variants: sigma levels')
    levels = hybrid
  end subroutine variants

  !> Largest and smallest u and v [m/s] below 10 hPa after four days of the wave.
  function extremes(settings)
    type(dynamics_settings), intent(in) :: settings
    real(r8) :: extremes(4)
    integer, parameter :: below_sponge = 11
    type(dynamical_core) :: core

    call start(10, 'baroclinic_wave', core, settings)
    call advance(core, nint(4.0_r8 * seconds_per_day / settings%time_step_s))
    associate (u => core%u(below_sponge:, :), v => core%v(below_sponge:, :))
      extremes = [maxval(u), minval(u), maxval(v), minval(v)]
    end associate
  end function extremes

  !> Cooling by 1 K/day cools by 1 K in a day, and a uniform warming is added whole: increments act
  !! on both time levels.
  subroutine physics_strength()
    type(dynamical_core) :: core
    real(r8), allocatable :: none(:, :), cooling(:, :), t(:, :)
    integer :: i

    call start(10, 'rest_isothermal', core)
    allocate (none, source=dry(core))
    allocate (t, source=core%t)
    allocate (cooling, source=none - 1.0_r8 / real(steps_per_day, r8))
    do i = 1, steps_per_day
      call core%step(none)
      call core%add_increments(none, none, cooling)
    end do
    call check(maxval(abs(core%t - t + 1.0_r8)) < 1.0e-10_r8, 'physics: cooling by 1 K/day')
    do i = 1, steps_per_day
      call core%step(none)
      call core%add_uniform_temperature(1.0_r8 / real(steps_per_day, r8))
    end do
    call check(maxval(abs(core%t - t)) < 1.0e-10_r8, 'physics: uniform warming by 1 K/day')
    call core%step(none)
    call check(maxval(abs(core%t - t)) < 1.0e-10_r8, 'physics: uniform warming, a step later')
  end subroutine physics_strength

  !> Increments within the truncation arrive as they are: a solid rotation and a field of
  !! temperature of degree 2.
  subroutine increments()
    type(dynamical_core) :: core
    real(r8), allocatable :: none(:, :), du(:, :), dt(:, :), t(:, :)
    integer :: j, column

    call start(10, 'rest_adiabatic', core)
    allocate (none, du, dt, source=dry(core))
    allocate (t, source=core%t)
    do column = 1, core%grid%n_column
      j = (column - 1) / core%grid%n_lon + 1
      du(:, column) = 3.0_r8 * cos(core%grid%latitude(j))
      dt(:, column) = sin(core%grid%latitude(j))**2
    end do
    call core%add_increments(du, none, dt)
    call check(maxval(abs(core%u - du)) < 1.0e-12_r8, 'increments: u')
    call check(maxval(abs(core%v)) < 1.0e-12_r8, 'increments: v')
    call check(maxval(abs(core%t - t - dt)) < 1.0e-11_r8, 'increments: temperature')
  end subroutine increments

  !> Vapour acts through Tv = T (1 + 0.608 q): a moist column among drier ones is light, and air
  !! flows toward it below.
  subroutine virtual_temperature()
    type(dynamical_core) :: core
    real(r8), allocatable :: vapor(:, :), warm(:, :), v_moist(:, :), none(:, :)
    integer :: column

    call start(10, 'rest_isothermal', core)
    allocate (none, vapor, warm, source=dry(core))
    do column = 1, core%grid%n_column
      vapor(:, column) = 1.0e-4_r8 * cos(core%grid%latitude((column - 1) / core%grid%n_lon + 1))**2
    end do
    warm = core%t * vapor * 0.6078_r8
    call core%step(vapor)
    allocate (v_moist, source=core%v)
    call start(10, 'rest_isothermal', core)
    call core%add_increments(none, none, warm)
    call core%step(none)
    call check(maxval(abs(v_moist - core%v)) < 1.0e-2_r8 * maxval(abs(core%v)), &
               'virtual temperature: force')
    call check(maxval(abs(core%v)) > 1.0e-4_r8, 'virtual temperature: nothing moves')
  end subroutine virtual_temperature

  !> A core started from another's packed state goes on with the same bits, also from before the
  !! first step, and after a change of temperature that the other has not synthesized.
  subroutine restarts()
    type(dynamical_core) :: core, other
    real(r8), allocatable :: noise(:, :), none(:, :)
    integer :: n_before

    call start(10, 'rest_isothermal', core)
    allocate (none, source=dry(core))
    allocate (noise, source=reshape(random_numbers(size(none), 5), shape(none)))
    do n_before = 0, 4, 2
      call start(10, 'baroclinic_wave', core)
      call start(10, 'rest_isothermal', other)
      call other%set_state(none, none, other%t, 0.9_r8 * other%ps, other%surface_geopotential)
      call advance(core, n_before)
      call core%add_increments(noise, -noise, none)
      call core%add_uniform_temperature(0.1_r8)
      call other%unpack_state(core%packed_state())
      call check(other%n_step == n_before, 'restart: number of steps')
      call advance(core, 3)
      call advance(other, 3)
      call check(all(abs(core%u - other%u) <= 0.0_r8) .and. all(abs(core%v - other%v) <= 0.0_r8), &
                 'restart: winds')
      call check(all(abs(core%t - other%t) <= 0.0_r8) &
                 .and. all(abs(core%ps - other%ps) <= 0.0_r8), 'restart: mass and heat')
      call check(all(abs(core%u_start - other%u_start) <= 0.0_r8) &
                 .and. all(abs(core%v_start - other%v_start) <= 0.0_r8) &
                 .and. all(abs(core%ps_start - other%ps_start) <= 0.0_r8), &
                 'restart: start of the step')
      call check(all(abs(core%omega - other%omega) <= 0.0_r8), 'restart: omega')
      call check(all(abs(core%surface_geopotential - other%surface_geopotential) <= 0.0_r8), &
                 'restart: surface')
    end do
  end subroutine restarts

  !> Held and Suarez (1994): relaxation to 315 K at the equator's surface in 4 days, none of drag
  !! above sigma = 0.7, 200 K aloft in 40 days.
  subroutine held_suarez_closed_forms()
    real(r8), dimension(60) :: u, t, p, dudt, dvdt, dtdt
    real(r8), parameter :: ps = 1.0e5_r8
    real(r8) :: depth, equilibrium

    u = 10.0_r8
    t = 250.0_r8
    p = midpoint_pressure(levels, ps)
    call held_suarez_tendencies(levels, 0.0_r8, ps, u, -u, t, dudt, dvdt, dtdt)
    call check_close(dtdt(1) * 40.0_r8 * seconds_per_day, -50.0_r8, 1.0e-9_r8, &
                     'Held-Suarez: stratosphere')
    call check(maxval(abs(dudt(:size(p)) + dvdt)) <= 0.0_r8, 'Held-Suarez: drag on both components')
    call check(all(abs(pack(dudt, p < 0.7_r8 * ps)) <= 0.0_r8), 'Held-Suarez: no drag aloft')
    depth = (p(60) / ps - 0.7_r8) / 0.3_r8
    call check_close(dudt(60) * seconds_per_day, -10.0_r8 * depth, 1.0e-9_r8, 'Held-Suarez: drag')
    equilibrium = (315.0_r8 - 10.0_r8 * log(p(60) / ps)) * (p(60) / ps)**(2.0_r8 / 7.0_r8)
    call check_close(dtdt(60) * seconds_per_day, &
                     (equilibrium - 250.0_r8) * (0.025_r8 + 0.225_r8 * depth), 1.0e-3_r8, &
                     'Held-Suarez: warming at the surface')
    call held_suarez_tendencies(levels, pi / 3.0_r8, ps, u, -u, t, dudt, dvdt, dtdt)
    equilibrium = (270.0_r8 - 2.5_r8 * log(p(60) / ps)) * (p(60) / ps)**(2.0_r8 / 7.0_r8)
    call check_close(dtdt(60) * seconds_per_day, &
                     (equilibrium - 250.0_r8) * (0.025_r8 + 0.225_r8 * depth / 16.0_r8), &
                     1.0e-3_r8, 'Held-Suarez: warming at 60 degrees')
  end subroutine held_suarez_closed_forms

  !> Ten forced days from the moist start: everything stays in bounds and mass is kept.
  subroutine held_suarez_run()
    type(dynamical_core) :: core
    real(r8), allocatable :: du(:, :), dv(:, :), dt(:, :)
    real(r8) :: mass
    integer :: i, column

    call start(10, 'moist', core)
    mass = mean_pressure(core)
    allocate (du, dv, dt, source=dry(core))
    do i = 1, 10 * steps_per_day
      call core%step(dry(core))
      do column = 1, core%grid%n_column
        call held_suarez_tendencies(levels, &
                                    core%grid%latitude((column - 1) / core%grid%n_lon + 1), &
                                    core%ps(column), core%u(:, column), core%v(:, column), &
                                    core%t(:, column), du(:, column), dv(:, column), dt(:, column))
      end do
      call core%add_increments(1200.0_r8 * du, 1200.0_r8 * dv, 1200.0_r8 * dt)
    end do
    call check(all(core%t > 150.0_r8 .and. core%t < 330.0_r8), 'Held-Suarez: temperature')
    call check(maxval(core%u) > 10.0_r8 .and. maxval(abs(core%u)) < 100.0_r8, 'Held-Suarez: wind')
    call check_close(mean_pressure(core), mass, 1.0e-13_r8 * mass, 'Held-Suarez: mass')
  end subroutine held_suarez_run

  !> Half a day at T21 leaves the moist start nearly alone; the drag aloft moves some air there.
  !! From rest the wind across the parallels reaches 13 m/s below 100 hPa and 84 m/s above.
  subroutine moist_balance()
    integer, parameter :: n_lower = 30                 ! below 100 hPa
    type(dynamical_core) :: balanced, resting
    real(r8), allocatable :: vapor(:, :)
    real(r8) :: p(levels%n_level)
    integer :: i, column

    call start(21, 'moist', balanced)
    call start(21, 'moist', resting)
    call resting%set_state(0.0_r8 * balanced%u, balanced%v, balanced%t, balanced%ps, &
                           balanced%surface_geopotential)
    allocate (vapor, source=dry(balanced))
    p = midpoint_pressure(levels, 1.0e5_r8)
    do column = 1, balanced%grid%n_column
      vapor(:, column) = initial_vapor(balanced%t(:, column), p)
    end do
    do i = 1, steps_per_day / 2
      call balanced%step(vapor)
      call resting%step(vapor)
    end do
    associate (lower => levels%n_level - n_lower + 1)
      call check(maxval(abs(balanced%v(lower:, :))) < 0.2_r8, 'moist start: balance below 100 hPa')
      call check(maxval(abs(resting%v(lower:, :))) > 5.0_r8, 'rest: no balance below 100 hPa')
    end associate
    call check(maxval(abs(balanced%v)) < 10.0_r8, 'moist start: balance aloft')
    call check(maxval(abs(resting%v)) > 30.0_r8, 'rest: no balance aloft')
  end subroutine moist_balance

  !> The noise depends on seed, column and level alone, and stays within its amplitude.
  subroutine initial_states()
    type(gaussian_grid) :: grid
    real(r8), allocatable, dimension(:, :) :: u, v, smooth, noisy, other
    real(r8), allocatable :: ps(:), geopotential(:)
    character(len=:), allocatable :: error

    call make_grid(10, grid, error)
    allocate (u(levels%n_level, grid%n_column), ps(grid%n_column), geopotential(grid%n_column))
    allocate (v, smooth, noisy, other, mold=u)
    call initial_state('moist', grid, levels, 1, 0.0_r8, u, v, smooth, ps, geopotential, error)
    call initial_state('moist', grid, levels, 1, 0.5_r8, u, v, noisy, ps, geopotential, error)
    call initial_state('moist', grid, levels, 2, 0.5_r8, u, v, other, ps, geopotential, error)
    call check(all(abs(noisy - smooth) <= 0.5_r8), 'noise: amplitude')
    call check_close(sum(noisy - smooth) / real(size(noisy), r8), 0.0_r8, 0.01_r8, 'noise: mean')
    call check_close(sum((noisy - smooth)**2) / real(size(noisy), r8), 0.25_r8 / 3.0_r8, 0.005_r8, &
                     'noise: variance')
    call check_close(sum((noisy - smooth) * (other - smooth)) / real(size(noisy), r8), 0.0_r8, &
                     0.005_r8, 'noise: other seeds')
    noisy = noisy - smooth
    call check_close(sum(noisy(2:, :) * noisy(:59, :)) / real(size(noisy), r8), 0.0_r8, 0.005_r8, &
                     'noise: neighbouring levels')
    call check_close(sum(noisy(:, 2:) * noisy(:, :511)) / real(size(noisy), r8), 0.0_r8, 0.005_r8, &
                     'noise: neighbouring columns')
    call initial_state('rest', grid, levels, 1, 0.0_r8, u, v, smooth, ps, geopotential, error)
    call check(index(error, "no initial state 'rest'") > 0, 'initial states: unknown name')
  end subroutine initial_states

  subroutine refusals()
    call refused(dynamics_settings(diffusion_order=3), 'diffusion_order must be even')
    call refused(dynamics_settings(time_step_s=0.0_r8), 'must be positive')
    call refused(dynamics_settings(filter_alpha=0.4_r8), 'filter_alpha')
  end subroutine refusals

  subroutine refused(settings, message)
    type(dynamics_settings), intent(in) :: settings
    character(len=*), intent(in) :: message
    type(dynamical_core) :: core
    type(gaussian_grid) :: grid
    character(len=:), allocatable :: error

    call make_grid(10, grid, error)
    call core%initialize(grid, levels, settings, error)
    call check(index(error, message) > 0, 'expected "' // message // '", got "' // error // '"')
  end subroutine refused

end program test_aqua_dynamics
