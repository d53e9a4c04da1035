!> The parts of the spectral dynamics against closed forms: transform, winds, vertical operators and the semi-implicit solver.
program test_aqua_spectral
  use aqua_constants, only: dry_air_gas, earth_radius, gravity, kappa, r8
  use aqua_grid, only: gaussian_grid, make_grid
  use aqua_grid_tendencies, only: grid_tendencies, grid_workspace
  use aqua_levels, only: hybrid_levels, interface_pressure
  use aqua_semi_implicit, only: semi_implicit
  use aqua_test_support, only: check, check_close, climsim_levels, random_numbers
  use aqua_transform, only: spectral_transform
  use aqua_vertical, only: column_geometry, column_pressures, geopotential, linear_operators, make_linear
  use aqua_winds, only: curl_and_divergence, fill_synthesis
  implicit none (type, external)

  interface
    !> Eigenvalues of a general matrix (LAPACK).
    subroutine dgeev(jobvl, jobvr, n, a, lda, wr, wi, vl, ldvl, vr, ldvr, work, lwork, info)
      import :: r8
      implicit none (type, external)
      character, intent(in) :: jobvl, jobvr
      integer, intent(in) :: n, lda, ldvl, ldvr, lwork
      real(r8), intent(inout) :: a(lda, *)
      real(r8), intent(out) :: wr(*), wi(*), vl(ldvl, *), vr(ldvr, *), work(*)
      integer, intent(out) :: info
    end subroutine dgeev
  end interface

  real(r8), parameter :: reference_k = 300.0_r8, reference_pa = 1.0e5_r8, dt = 1200.0_r8
  integer, parameter :: truncations(3) = [10, 21, 42]
  type(hybrid_levels) :: levels
  integer :: i

  levels = climsim_levels()
  do i = 1, size(truncations)
    call round_trip(truncations(i))
    call harmonics(truncations(i))
    call winds_round_trip(truncations(i))
  end do
  call solid_rotation()
  call hydrostatics()
  call gravity_wave_speeds()
  call solver_residual()
  call linearization()

contains

  function transform_of(truncation) result(transform)
    integer, intent(in) :: truncation
    type(spectral_transform) :: transform
    type(gaussian_grid) :: grid
    character(len=:), allocatable :: error

    call make_grid(truncation, grid, error)
    call check(len(error) == 0, error)
    call transform%initialize(grid)
  end function transform_of

  !> Random coefficients [row, 2, coefficient] within the truncation; those of m = 0 are real.
  function random_spectra(transform, n_row) result(spectra)
    type(spectral_transform), intent(inout) :: transform
    integer, intent(in) :: n_row
    real(r8) :: spectra(n_row, 2, transform%n_coefficient)
    integer :: c

    spectra = reshape(random_numbers(size(spectra), 11), shape(spectra))
    do c = 1, transform%n_coefficient
      if (transform%total(c) > transform%grid%truncation) spectra(:, :, c) = 0.0_r8
      if (transform%zonal(c) == 0) spectra(:, 2, c) = 0.0_r8
    end do
  end function random_spectra

  !> Spectral to grid and back; one row alone gives the same as among others.
  subroutine round_trip(truncation)
    integer, intent(in) :: truncation
    integer, parameter :: n_row = 7
    type(spectral_transform) :: transform
    real(r8), allocatable :: spectra(:, :, :), back(:, :, :), field(:, :), alone(:, :)

    transform = transform_of(truncation)
    spectra = random_spectra(transform, n_row)
    allocate (back, mold=spectra)
    allocate (field(n_row, transform%grid%n_column), alone(1, transform%grid%n_column))
    call transform%synthesize(spectra, field)
    call transform%analyze(field, back)
    call check(maxval(abs(back - spectra)) < 1.0e-13_r8, 'transform: round trip')
    call transform%synthesize(spectra(3:3, :, :), alone)
    call check(maxval(abs(alone(1, :) - field(3, :))) < 1.0e-12_r8, 'transform: one row alone')
  end subroutine round_trip

  !> Coefficients of fields known in closed form: 2, sqrt(3) sin(lat), and sqrt(3/2) cos(lat) (cos(lon) - sin(lon)).
  subroutine harmonics(truncation)
    integer, intent(in) :: truncation
    type(spectral_transform) :: transform
    real(r8), allocatable :: spectra(:, :, :), field(:, :), expected(:, :)
    integer :: i, j, column

    transform = transform_of(truncation)
    allocate (spectra(3, 2, transform%n_coefficient), source=0.0_r8)
    allocate (field(3, transform%grid%n_column), expected(3, transform%grid%n_column))
    spectra(1, 1, 1) = 2.0_r8
    spectra(2, 1, 2) = 1.0_r8
    spectra(3, :, transform%first(1)) = 0.5_r8
    do j = 1, transform%grid%n_lat
      do i = 1, transform%grid%n_lon
        column = i + (j - 1) * transform%grid%n_lon
        associate (latitude => transform%grid%latitude(j), longitude => transform%grid%longitude(i))
          expected(:, column) = [2.0_r8, sqrt(3.0_r8) * sin(latitude), &
                                 sqrt(1.5_r8) * cos(latitude) * (cos(longitude) - sin(longitude))]
        end associate
      end do
    end do
    call transform%synthesize(spectra, field)
    call check(maxval(abs(field - expected)) < 1.0e-14_r8 * 10.0_r8, 'transform: harmonics in closed form')
  end subroutine harmonics

  !> A state for the synthesis: vorticity and divergence of one level, T and ln ps.
  subroutine synthesize_state(transform, state, work)
    type(spectral_transform), intent(inout) :: transform
    real(r8), intent(in) :: state(:, :, :)
    type(grid_workspace), intent(inout) :: work

    call fill_synthesis(transform, state, work%spectra)
    call transform%synthesize(work%spectra, work%fields)
  end subroutine synthesize_state

  !> Vorticity and divergence to winds and back.
  subroutine winds_round_trip(truncation)
    integer, intent(in) :: truncation
    type(spectral_transform) :: transform
    type(hybrid_levels) :: one_level
    type(grid_workspace) :: work
    real(r8), allocatable :: state(:, :, :), components(:, :), spectra(:, :, :), curl(:, :, :), divergence(:, :, :)
    integer :: column, c

    transform = transform_of(truncation)
    one_level%n_level = 1
    call work%allocate_for(transform, one_level)
    state = random_spectra(transform, 4)
    state(:2, :, 1) = 0.0_r8
    call synthesize_state(transform, state, work)
    allocate (components(2, transform%grid%n_column), spectra(2, 2, transform%n_coefficient))
    allocate (curl(1, 2, transform%n_coefficient), divergence(1, 2, transform%n_coefficient))
    do column = 1, transform%grid%n_column
      ! From u cos(lat) to u / cos(lat).
      components(:, column) = work%fields(:2, column) / cos(transform%grid%latitude((column - 1) / transform%grid%n_lon + 1))**2
    end do
    call transform%analyze(components, spectra)
    call curl_and_divergence(transform, spectra(:1, :, :), spectra(2:, :, :), curl, divergence)
    do c = 1, transform%n_coefficient
      if (transform%total(c) > truncation) cycle
      call check(maxval(abs(curl(1, :, c) - state(1, :, c))) < 1.0e-13_r8 * real(truncation, r8), 'winds: vorticity')
      call check(maxval(abs(divergence(1, :, c) - state(2, :, c))) < 1.0e-13_r8 * real(truncation, r8), 'winds: divergence')
    end do
  end subroutine winds_round_trip

  !> Vorticity 2 u0 / a sin(lat) is the wind u0 cos(lat); divergence 2 v0 / a sin(lat) is v = -v0 cos(lat). The gradient of
  !! ln ps = sin(lat) is cos(lat) northward.
  subroutine solid_rotation()
    type(spectral_transform) :: transform
    type(hybrid_levels) :: one_level
    type(grid_workspace) :: work
    real(r8), allocatable :: state(:, :, :)
    real(r8), parameter :: u0 = 20.0_r8, v0 = 3.0_r8
    real(r8) :: cosine
    integer :: column

    transform = transform_of(10)
    one_level%n_level = 1
    call work%allocate_for(transform, one_level)
    allocate (state(4, 2, transform%n_coefficient), source=0.0_r8)
    state(1, 1, 2) = 2.0_r8 * u0 / earth_radius / sqrt(3.0_r8)
    state(2, 1, 2) = 2.0_r8 * v0 / earth_radius / sqrt(3.0_r8)
    state(4, 1, 2) = 1.0_r8 / sqrt(3.0_r8)
    call synthesize_state(transform, state, work)
    do column = 1, transform%grid%n_column
      cosine = cos(transform%grid%latitude((column - 1) / transform%grid%n_lon + 1))
      call check_close(work%fields(1, column), u0 * cosine**2, 1.0e-13_r8 * u0, 'winds: solid rotation')
      call check_close(work%fields(2, column), -v0 * cosine**2, 1.0e-13_r8 * u0, 'winds: flow between the poles')
      call check_close(work%fields(8, column), cosine**2, 1.0e-13_r8, 'winds: gradient')
    end do
  end subroutine solid_rotation

  !> The thickness of an isothermal atmosphere is exact at interfaces, and its pressure gradient the same on all levels (the
  !! requirement behind eq. 3.17 of Simmons and Burridge 1981).
  subroutine hydrostatics()
    type(column_geometry) :: geometry
    real(r8), parameter :: ps = 98765.0_r8, change = 1.0_r8
    real(r8), dimension(levels%n_level) :: phi, lower, upper, slope, t
    real(r8) :: p(levels%n_level + 1)
    integer :: k

    t = reference_k
    call column_pressures(levels, ps, geometry)
    p = interface_pressure(levels, ps)
    phi = geopotential(geometry, 100.0_r8, t)
    do k = 1, levels%n_level
      call check(phi(k) > 100.0_r8 + dry_air_gas * reference_k * log(ps / p(k + 1)) .and. &
                 phi(k) < 100.0_r8 + dry_air_gas * reference_k * log(ps / p(k)), 'geopotential between the interfaces')
    end do
    call check_close(phi(1) / gravity, (100.0_r8 + dry_air_gas * reference_k * (log(ps / p(2)) + geometry%alpha(1))) / gravity, &
                     1.0e-9_r8, 'geopotential of the top level')
    ! Isothermal: phi + R T gradient ln ps has no horizontal variation, to the second order of the change in ps.
    call column_pressures(levels, ps - change, geometry)
    lower = geopotential(geometry, 0.0_r8, t)
    call column_pressures(levels, ps + change, geometry)
    upper = geopotential(geometry, 0.0_r8, t)
    call column_pressures(levels, ps, geometry)
    slope = (upper - lower) / log((ps + change) / (ps - change))
    call check(maxval(abs(slope + dry_air_gas * reference_k * (geometry%gradient - 1.0_r8))) < 1.0e-3_r8, &
               'pressure gradient of an isothermal atmosphere')
  end subroutine hydrostatics

  function reference_operators() result(linear)
    type(linear_operators) :: linear

    call make_linear(levels, reference_k, reference_pa, linear)
  end function reference_operators

  !> Gravity waves about the reference state: all speeds are real. The external mode is near Lamb's, sqrt(R T / (1 - kappa)).
  subroutine gravity_wave_speeds()
    type(linear_operators) :: linear
    real(r8), parameter :: expected(5) = [346.0_r8, 253.0_r8, 185.0_r8, 139.0_r8, 109.0_r8]
    real(r8), allocatable :: waves(:, :), real_part(:), imaginary(:), work(:)
    real(r8) :: left(1, 1), right(1, 1), speed
    integer :: n, mode, info, at

    n = levels%n_level
    linear = reference_operators()
    waves = matmul(linear%gamma, linear%tau) + dry_air_gas * reference_k * spread(linear%nu, 1, n)
    allocate (real_part(n), imaginary(n), work(8 * n))
    call dgeev('N', 'N', n, waves, n, real_part, imaginary, left, 1, right, 1, work, 8 * n, info)
    call check(info == 0, 'eigenvalues of gravity waves')
    call check(all(real_part > 0.0_r8) .and. maxval(abs(imaginary)) < 1.0e-6_r8, 'gravity waves: speeds are not real')
    do mode = 1, size(expected)
      at = maxloc(real_part, dim=1)
      speed = sqrt(real_part(at))
      call check_close(speed, expected(mode), 0.6_r8, 'gravity waves: speed')
      if (mode == 1) call check_close(speed, sqrt(dry_air_gas * reference_k / (1.0_r8 - kappa)), 3.0_r8, 'gravity waves: Lamb wave')
      real_part(at) = 0.0_r8
    end do
  end subroutine gravity_wave_speeds

  !> A state [3 level + 1, 2, coefficient] of the size of small waves.
  function small_state(transform) result(state)
    type(spectral_transform), intent(inout) :: transform
    real(r8) :: state(3 * levels%n_level + 1, 2, transform%n_coefficient)
    integer :: l

    l = levels%n_level
    state = random_spectra(transform, 3 * l + 1)
    state(:2 * l, :, :) = 1.0e-9_r8 * state(:2 * l, :, :)
    state(:2 * l, :, 1) = 0.0_r8
    state(2 * l + 1:3 * l, :, :) = 1.0e-3_r8 * state(2 * l + 1:3 * l, :, :)
    state(3 * l + 1, :, :) = 1.0e-6_r8 * state(3 * l + 1, :, :)
  end function small_state

  !> What the solver returns satisfies X - dt L X = the right-hand side.
  subroutine solver_residual()
    type(spectral_transform) :: transform
    type(semi_implicit) :: waves
    real(r8), allocatable :: given(:, :, :), solution(:, :, :), minus_linear(:, :, :), error(:, :, :)
    character(len=:), allocatable :: failure
    integer :: l

    l = levels%n_level
    transform = transform_of(21)
    call waves%initialize(reference_operators(), 21, dt, failure)
    call check(len(failure) == 0, failure)
    allocate (given, source=small_state(transform))
    allocate (solution, source=given)
    call waves%solve(transform, solution)
    allocate (minus_linear, mold=given)
    minus_linear = 0.0_r8
    call waves%subtract_linear(transform, solution, minus_linear)
    error = abs(solution + dt * minus_linear - given)
    call check(maxval(error(:l, :, :)) <= 0.0_r8, 'semi-implicit: vorticity takes no part')
    call check(maxval(error(l + 1:2 * l, :, :)) < 1.0e-10_r8 * maxval(abs(dt * minus_linear(l + 1:2 * l, :, :))), &
               'semi-implicit: divergence')
    call check(maxval(error(2 * l + 1:3 * l, :, :)) < 1.0e-12_r8 * maxval(abs(given(2 * l + 1:3 * l, :, :))), &
               'semi-implicit: temperature')
    call check(maxval(error(3 * l + 1, :, :)) < 1.0e-12_r8 * maxval(abs(given(3 * l + 1, :, :))), 'semi-implicit: ln ps')
  end subroutine solver_residual

  !> Near the reference state at rest the tendencies of the grid are the linear operators', up to squares of the perturbation. The
  !! waves have no wind for the tendency of divergence (the Coriolis force is not in L), and only wind for the others.
  subroutine linearization()
    type(spectral_transform) :: transform
    real(r8), allocatable :: state(:, :, :), residual(:, :, :), linear(:, :, :)
    integer :: l

    l = levels%n_level
    transform = transform_of(10)
    allocate (state, source=small_state(transform))
    state(:2 * l, :, :) = 0.0_r8
    call tendencies_less_linear(transform, state, residual, linear)
    call check(maxval(abs(residual(l + 1:2 * l, :, :))) < 1.0e-4_r8 * maxval(abs(linear(l + 1:2 * l, :, :))), &
               'linearization: divergence')
    state = small_state(transform)
    state(:l, :, :) = 0.0_r8
    state(2 * l + 1:, :, :) = 0.0_r8
    call tendencies_less_linear(transform, state, residual, linear)
    call check(maxval(abs(residual(2 * l + 1:3 * l, :, :))) < 1.0e-4_r8 * maxval(abs(linear(2 * l + 1:3 * l, :, :))), &
               'linearization: temperature')
    call check(maxval(abs(residual(3 * l + 1, :, :))) < 1.0e-4_r8 * maxval(abs(linear(3 * l + 1, :, :))), 'linearization: ln ps')
  end subroutine linearization

  !> For a perturbation of the reference state: tendencies of the grid without the linear terms, and minus the linear terms.
  subroutine tendencies_less_linear(transform, perturbation, residual, minus_linear)
    type(spectral_transform), intent(inout) :: transform
    real(r8), intent(in) :: perturbation(:, :, :)
    real(r8), allocatable, intent(out) :: residual(:, :, :), minus_linear(:, :, :)
    type(semi_implicit) :: waves
    type(grid_workspace) :: work
    real(r8), allocatable :: state(:, :, :), nothing(:, :), omega(:, :)
    character(len=:), allocatable :: failure
    integer :: l, c

    l = levels%n_level
    call waves%initialize(reference_operators(), transform%grid%truncation, dt, failure)
    call work%allocate_for(transform, levels)
    state = perturbation
    state(2 * l + 1:3 * l, 1, 1) = state(2 * l + 1:3 * l, 1, 1) + reference_k
    state(3 * l + 1, 1, 1) = state(3 * l + 1, 1, 1) + log(reference_pa)
    call synthesize_state(transform, state, work)
    allocate (nothing(l, transform%grid%n_column), source=0.0_r8)
    allocate (residual, mold=state)
    allocate (omega, mold=nothing)
    call grid_tendencies(transform, levels, work, reference_k, nothing, nothing(1, :), residual, omega)
    minus_linear = 0.0_r8 * perturbation
    call waves%subtract_linear(transform, perturbation, minus_linear)
    residual = residual + minus_linear
    do c = 1, transform%n_coefficient
      if (transform%total(c) > transform%grid%truncation) residual(:, :, c) = 0.0_r8
    end do
  end subroutine tendencies_less_linear

end program test_aqua_spectral
