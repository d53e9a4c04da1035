!> Transport of tracers on the sphere against closed forms, on any number of ranks. The first
!! argument is the file of levels.
program test_aqua_transport
  use aqua_constants, only: earth_radius, pi, r8
  use aqua_grid, only: gaussian_grid, make_grid
  use aqua_levels, only: hybrid_levels, interface_pressure
  use aqua_remap, only: n_tracer
  use aqua_test_support, only: check, check_close, climsim_levels, random_numbers
  use aqua_transport, only: tracer_transport
  use host_parallel, only: end_parallel, maxima_over_ranks, start_parallel
  implicit none (type, external)

  real(r8), parameter :: p0 = 1.0e5_r8, day = 86400.0_r8
  type(hybrid_levels) :: levels
  type(gaussian_grid) :: grid
  type(tracer_transport) :: transport

  call start_parallel('test_aqua_transport')
  levels = climsim_levels()
  call set_up(10)
  call check_any_wind()
  call check_refusal()
  call check_bell(0.5_r8 * pi, 0.38_r8)
  call check_bell(0.0_r8, 0.25_r8)
  call set_up(21)
  call check_bell(0.5_r8 * pi, 0.13_r8)
  call end_parallel()

contains

  subroutine set_up(truncation)
    integer, intent(in) :: truncation
    character(len=:), allocatable :: error

    call make_grid(truncation, grid, error)
    call check(len(error) == 0, error)
    transport = tracer_transport()
    call transport%initialize(grid, levels)
  end subroutine set_up

  !> Of every tracer, over the sphere and all levels, per a^2 / g.
  function content(tracers, ps) result(total)
    real(r8), intent(in) :: tracers(:, :, :), ps(:)
    real(r8) :: total(n_tracer)
    real(r8) :: p(levels%n_level + 1)
    integer :: column, k

    total = 0.0_r8
    do column = 1, grid%n_column
      p = interface_pressure(levels, ps(column))
      do k = 1, levels%n_level
        total = total + tracers(:, k, column) * (p(k + 1) - p(k)) * grid%area(column)
      end do
    end do
  end function content

  !> Random winds and pressures that have nothing to do with each other: what there is of a tracer
  !! stays, a constant stays the same, nothing becomes negative, all ranks agree to the bit.
  subroutine check_any_wind()
    real(r8), allocatable :: u(:, :), v(:, :), tracers(:, :, :), ps(:, :)
    real(r8) :: before(n_tracer), after(n_tracer), largest(1)
    character(len=:), allocatable :: error
    integer :: step, l

    l = levels%n_level
    ps = p0 + 500.0_r8 * reshape(random_numbers(2 * grid%n_column, 3), [grid%n_column, 2])
    call keep_mean(ps(:, 1))
    call keep_mean(ps(:, 2))
    u = 40.0_r8 * reshape(random_numbers(l * grid%n_column, 4), [l, grid%n_column])
    v = 10.0_r8 * reshape(random_numbers(l * grid%n_column, 5), [l, grid%n_column])
    allocate (tracers(n_tracer, l, grid%n_column))
    tracers(1, :, :) = 1.0_r8
    tracers(2, :, :) = max(0.0_r8, &
                           reshape(random_numbers(l * grid%n_column, 6), [l, grid%n_column]))
    tracers(3, :, :) = 0.0_r8
    tracers(3, 40, 100) = 1.0_r8                ! all in one cell
    do step = 1, 12
      before = content(tracers, ps(:, 1 + modulo(step, 2)))
      call transport%advect(u, v, ps(:, 1 + modulo(step, 2)), u, v, ps(:, 2 - modulo(step, 2)), &
                            1200.0_r8, step, tracers, error)
      call check(len(error) == 0, error)
      after = content(tracers, ps(:, 2 - modulo(step, 2)))
      ! Sums of 30720 cells round by some 1e-14 of the whole.
      call check(maxval(abs(after - before) / before) < 1.0e-13_r8, &
                 'transport does not keep what there is of a tracer')
      call check(maxval(abs(tracers(1, :, :) - 1.0_r8)) < 1.0e-11_r8, &
                 'a constant does not stay one')
      call check(minval(tracers) >= 0.0_r8, 'a tracer becomes negative')
    end do
    largest = [sum(tracers(2, :, :))]
    call maxima_over_ranks(largest)
    call check(abs(largest(1) - sum(tracers(2, :, :))) <= 0.0_r8, 'ranks differ')
  end subroutine check_any_wind

  !> The sphere's mean as p0: no wind makes air.
  subroutine keep_mean(ps)
    real(r8), intent(inout) :: ps(:)

    ps = ps - sum(ps * grid%area) / sum(grid%area) + p0
  end subroutine keep_mean

  !> More wind than a cell has air is an error on all ranks, and names the level.
  subroutine check_refusal()
    real(r8), allocatable :: u(:, :), v(:, :), tracers(:, :, :), ps(:)
    character(len=:), allocatable :: error

    allocate (u(levels%n_level, grid%n_column), v(levels%n_level, grid%n_column), &
              ps(grid%n_column), tracers(n_tracer, levels%n_level, grid%n_column))
    ps = p0
    tracers = 1.0_r8
    u = 0.0_r8
    v = 0.0_r8
    u(60, 40) = 5.0e3_r8
    call transport%advect(u, v, ps, u, v, ps, 1200.0_r8, 2, tracers, error)
    call check(index(error, 'level 60 ') > 0, 'too much wind is not refused by level: ' // error)
  end subroutine check_refusal

  !> A cosine bell once around the sphere in 12 days, along the equator or over the poles (test 1 of
  !! Williamson et al. 1992, J. Comput. Phys. 102, 211), where the Courant number of the meridians
  !! at the poles is beyond 1. What there is of it stays, nothing overshoots, it comes back to where
  !! it was, with an error not above that seen when the scheme was written.
  subroutine check_bell(tilt, largest_error)
    real(r8), intent(in) :: tilt, largest_error
    integer, parameter :: steps = 144
    real(r8), allocatable :: u(:, :), v(:, :), tracers(:, :, :), start(:), ps(:)
    real(r8) :: speed, dt, before(n_tracer), after(n_tracer), error_norm
    character(len=:), allocatable :: error
    integer :: i, j, column, step, l

    l = levels%n_level
    allocate (u(l, grid%n_column), v(l, grid%n_column), tracers(n_tracer, l, grid%n_column), &
              start(grid%n_column), ps(grid%n_column))
    ps = p0
    dt = 12.0_r8 * day / real(steps, r8)
    speed = 2.0_r8 * pi * earth_radius / (12.0_r8 * day)
    do j = 1, grid%n_lat
      do i = 1, grid%n_lon
        column = i + (j - 1) * grid%n_lon
        associate (lon => grid%longitude(i), lat => grid%latitude(j))
          u(:, column) = speed * (cos(lat) * cos(tilt) + sin(lat) * cos(lon) * sin(tilt))
          v(:, column) = -speed * sin(lon) * sin(tilt)
          start(column) = bell(lon, lat)
        end associate
      end do
    end do
    tracers = spread(spread(start, 1, l), 1, n_tracer)
    before = content(tracers, ps)
    do step = 1, steps
      call transport%advect(u, v, ps, u, v, ps, dt, step, tracers, error)
      call check(len(error) == 0, error)
    end do
    after = content(tracers, ps)
    call check(maxval(abs(after - before) / before) < 1.0e-12_r8, &
               'the bell does not keep its content')
    call check(minval(tracers) >= 0.0_r8 .and. maxval(tracers) < 1.02_r8, 'the bell overshoots')
    call check(maxval(abs(tracers(1, :, :) - tracers(3, :, :))) <= 0.0_r8, &
               'tracers that are alike differ')
    error_norm = sqrt(sum(grid%area * (tracers(1, 30, :) - start)**2) / sum(grid%area * start**2))
    column = maxloc(tracers(1, 30, :), dim=1)
    print '(a,i0,4(a,f6.3))', 'T', grid%truncation, ' tilt ', tilt, ' error ', error_norm, &
      ' top ', tracers(1, 30, column), ' where there was ', start(column)
    call check(error_norm < largest_error, 'the bell comes back another')
    column = maxloc(tracers(1, 30, :), dim=1)
    call check(start(column) > 0.5_r8, 'the bell comes back elsewhere')
  end subroutine check_bell

  !> A bell of radius 0.8 a about the equator at 90 E: wide enough for T10.
  pure function bell(longitude, latitude)
    real(r8), intent(in) :: longitude, latitude
    real(r8) :: bell
    real(r8), parameter :: radius = 0.8_r8
    real(r8) :: distance

    distance = acos(min(1.0_r8, max(-1.0_r8, cos(latitude) * sin(longitude))))
    bell = 0.0_r8
    if (distance < radius) bell = 0.5_r8 * (1.0_r8 + cos(pi * distance / radius))
  end function bell

end program test_aqua_transport
