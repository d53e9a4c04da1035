!> The vertical differences, the semi-implicit solver and the tendencies of the grid against closed
!! forms and each other.
program test_aqua_vertical
  use aqua_constants, only: dry_air_gas, gravity, heat_capacity, kappa, r8
  use aqua_grid_tendencies, only: grid_tendencies, grid_workspace
  use aqua_levels, only: hybrid_levels, interface_pressure
  use aqua_semi_implicit, only: semi_implicit
  use aqua_test_support, only: check, check_close, climsim_levels, random_spectra, &
                               synthesize_state, transform_of
  use aqua_transform, only: spectral_transform
  use aqua_vertical, only: column_geometry, column_pressures, geopotential, linear_operators, &
                           make_linear
  implicit none (type, external)

  interface
    !> Eigenvalues of a general matrix (LAPACK).
    subroutine dgeev(jobvl, jobvr, n, a, lda, wr, wi, vl, ldvl, vr, ldvr, work, lwork, info)
      import :: r8
      implicit none (type, external)
      character, intent(in) :: jobvl, jobvr
      integer, intent(in) :: n, lda, ldvl, ldvr, lwork
      real(r8), intent(inout) :: a(lda, n)
      real(r8), intent(out) :: wr(n), wi(n), vl(ldvl, ldvl), vr(ldvr, ldvr), work(lwork)
      integer, intent(out) :: info
    end subroutine dgeev
  end interface

  real(r8), parameter :: reference_k = 300.0_r8, reference_pa = 1.0e5_r8, dt = 1200.0_r8
  type(hybrid_levels) :: levels

  levels = climsim_levels()
  call hydrostatics()
  call gravity_wave_speeds()
  call solver_residual()
  call linearization()
  call conservation()

contains

  !> The thickness of an isothermal atmosphere is exact at interfaces, and its pressure gradient the
  !! same on all levels (the requirement behind eq. 3.17 of Simmons and Burridge 1981).
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
                 phi(k) < 100.0_r8 + dry_air_gas * reference_k * log(ps / p(k)), &
                 'geopotential between the interfaces')
    end do
    call check_close(phi(1) / gravity, &
                     (100.0_r8 + dry_air_gas * reference_k * (log(ps / p(2)) &
                     + geometry%alpha(1))) / gravity, 1.0e-9_r8, 'geopotential of the top level')
    ! Isothermal: phi + R T gradient ln ps has no horizontal variation, to the second order of the
    ! change in ps.
    call column_pressures(levels, ps - change, geometry)
    lower = geopotential(geometry, 0.0_r8, t)
    call column_pressures(levels, ps + change, geometry)
    upper = geopotential(geometry, 0.0_r8, t)
    call column_pressures(levels, ps, geometry)
    slope = (upper - lower) / log((ps + change) / (ps - change))
    call check(maxval(abs(slope + dry_air_gas * reference_k * (geometry%gradient - 1.0_r8))) &
               < 1.0e-3_r8, 'pressure gradient of an isothermal atmosphere')
  end subroutine hydrostatics

  function reference_operators() result(linear)
    type(linear_operators) :: linear

    call make_linear(levels, reference_k, reference_pa, linear)
  end function reference_operators

  !> Gravity waves about the reference state: all speeds are real. The external mode is near Lamb's,
  !! sqrt(R T / (1 - kappa)).
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
    call check(all(real_part > 0.0_r8) .and. maxval(abs(imaginary)) < 1.0e-6_r8, &
               'gravity waves: speeds are not real')
    do mode = 1, size(expected)
      at = maxloc(real_part, dim=1)
      speed = sqrt(real_part(at))
      call check_close(speed, expected(mode), 0.6_r8, 'gravity waves: speed')
      if (mode == 1) call check_close(speed, sqrt(dry_air_gas * reference_k / (1.0_r8 - kappa)), &
                                      3.0_r8, 'gravity waves: Lamb wave')
      real_part(at) = 0.0_r8
    end do
  end subroutine gravity_wave_speeds

  !> A state [3 level + 1, 2, coefficient] of the size of small waves.
  function small_state(transform) result(state)
    type(spectral_transform), intent(in) :: transform
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
    real(r8), allocatable :: given(:, :, :), solution(:, :, :), minus_linear(:, :, :), &
                             error(:, :, :)
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
    call check(maxval(error(l + 1:2 * l, :, :)) &
               < 1.0e-10_r8 * maxval(abs(dt * minus_linear(l + 1:2 * l, :, :))), &
               'semi-implicit: divergence')
    call check(maxval(error(2 * l + 1:3 * l, :, :)) &
               < 1.0e-12_r8 * maxval(abs(given(2 * l + 1:3 * l, :, :))), &
               'semi-implicit: temperature')
    call check(maxval(error(3 * l + 1, :, :)) < 1.0e-12_r8 * maxval(abs(given(3 * l + 1, :, :))), &
               'semi-implicit: ln ps')
  end subroutine solver_residual

  !> Near the reference state at rest the tendencies of the grid are the linear operators', up to
  !! squares of the perturbation. The waves have no wind for the tendency of divergence (the
  !! Coriolis force is not in L), and only wind for the others.
  subroutine linearization()
    type(spectral_transform) :: transform
    real(r8), allocatable :: state(:, :, :), residual(:, :, :), linear(:, :, :)
    integer :: l

    l = levels%n_level
    transform = transform_of(10)
    allocate (state, source=small_state(transform))
    state(:2 * l, :, :) = 0.0_r8
    call tendencies_less_linear(transform, state, residual, linear)
    call check(maxval(abs(residual(l + 1:2 * l, :, :))) &
               < 1.0e-4_r8 * maxval(abs(linear(l + 1:2 * l, :, :))), 'linearization: divergence')
    state = small_state(transform)
    state(:l, :, :) = 0.0_r8
    state(2 * l + 1:, :, :) = 0.0_r8
    call tendencies_less_linear(transform, state, residual, linear)
    call check(maxval(abs(residual(2 * l + 1:3 * l, :, :))) &
               < 1.0e-4_r8 * maxval(abs(linear(2 * l + 1:3 * l, :, :))), &
               'linearization: temperature')
    call check(maxval(abs(residual(3 * l + 1, :, :))) &
               < 1.0e-4_r8 * maxval(abs(linear(3 * l + 1, :, :))), 'linearization: ln ps')
  end subroutine linearization

  !> For a perturbation of the reference state: tendencies of the grid without the linear terms, and
  !! minus the linear terms.
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
    call grid_tendencies(transform, levels, work, reference_k, nothing, nothing(1, :), residual, &
                         omega)
    minus_linear = 0.0_r8 * perturbation
    call waves%subtract_linear(transform, perturbation, minus_linear)
    residual = residual + minus_linear
    do c = 1, transform%n_coefficient
      if (transform%total(c) > transform%grid%truncation) residual(:, :, c) = 0.0_r8
    end do
  end subroutine tendencies_less_linear

  !> The tendencies of smooth fields conserve mass and energy, over mountains as well: the point of
  !! the vertical differences of Simmons and Burridge (1981, section 2). Fields of degree 3 at most
  !! leave next to nothing beyond the truncation.
  subroutine conservation()
    type(spectral_transform) :: transform
    type(grid_workspace) :: work, change
    real(r8), allocatable :: state(:, :, :), tendency(:, :, :), vapor(:, :), omega(:, :), surface(:)
    real(r8) :: mass(2), energy(2), column_mass, column_energy
    integer :: l, c, column

    l = levels%n_level
    transform = transform_of(42)
    call work%allocate_for(transform, levels)
    call change%allocate_for(transform, levels)
    allocate (state, source=smooth_state(transform))
    call synthesize_state(transform, state, work)
    allocate (surface(transform%grid%n_column))
    surface = 1000.0_r8 * (work%fields(5 * l + 1, :) - log(reference_pa)) / 0.01_r8
    allocate (vapor(l, transform%grid%n_column), omega(l, transform%grid%n_column), source=0.0_r8)
    allocate (tendency, mold=state)
    call grid_tendencies(transform, levels, work, reference_k, vapor, surface, tendency, omega)
    do c = 1, transform%n_coefficient
      if (transform%total(c) > transform%grid%truncation) tendency(:, :, c) = 0.0_r8
    end do
    call synthesize_state(transform, tendency, change)
    mass = 0.0_r8
    energy = 0.0_r8
    do column = 1, transform%grid%n_column
      call column_changes(work%fields(:, column), change%fields(:, column), surface(column), &
                          cos(transform%grid%latitude((column - 1) / transform%grid%n_lon + 1)), &
                          column_mass, column_energy)
      mass = mass + transform%grid%area(column) * [column_mass, abs(column_mass)]
      energy = energy + transform%grid%area(column) * [column_energy, abs(column_energy)]
    end do
    call check(abs(mass(1)) < 1.0e-13_r8 * mass(2), 'tendencies: mass')
    call check(abs(energy(1)) < 1.0e-13_r8 * energy(2), 'tendencies: energy')
  end subroutine conservation

  !> Winds of some 10 m/s, temperatures that vary by some 10 K over the globe and more in the
  !! vertical.
  function smooth_state(transform) result(state)
    type(spectral_transform), intent(in) :: transform
    real(r8) :: state(3 * levels%n_level + 1, 2, transform%n_coefficient)
    integer :: l, c, k

    l = levels%n_level
    state = random_spectra(transform, 3 * l + 1)
    do c = 1, transform%n_coefficient
      if (transform%total(c) > 3) state(:, :, c) = 0.0_r8
    end do
    state(:2 * l, :, :) = 3.0e-6_r8 * state(:2 * l, :, :)
    state(:2 * l, :, 1) = 0.0_r8
    state(2 * l + 1:3 * l, :, :) = 3.0_r8 * state(2 * l + 1:3 * l, :, :)
    state(2 * l + 1:3 * l, 1, 1) = state(2 * l + 1:3 * l, 1, 1) &
      + [(220.0_r8 + real(k, r8), k = 1, l)]
    state(3 * l + 1, :, :) = 0.01_r8 * state(3 * l + 1, :, :)
    state(3 * l + 1, 1, 1) = log(reference_pa)
  end function smooth_state

  !> Tendencies of the mass [Pa/s] and the energy [J/kg Pa/s] of a column: of (V^2 / 2 + cp T) dp
  !! and phi_s ps.
  subroutine column_changes(f, change, surface, cosine, mass, energy)
    real(r8), intent(in) :: f(:), change(:)          !! As of fill_synthesis: of the state, and of
                                                     !! its tendency
    real(r8), intent(in) :: surface, cosine
    real(r8), intent(out) :: mass, energy
    real(r8), dimension(levels%n_level) :: dp, specific, growth
    real(r8) :: ps, p(levels%n_level + 1)
    integer :: l

    l = levels%n_level
    ps = exp(f(5 * l + 1))
    mass = ps * change(5 * l + 1)
    p = interface_pressure(levels, ps)
    dp = p(2:) - p(:l)
    specific = 0.5_r8 * (f(:l)**2 + f(l + 1:2 * l)**2) / cosine**2 &
      + heat_capacity * f(4 * l + 1:5 * l)
    growth = (f(:l) * change(:l) + f(l + 1:2 * l) * change(l + 1:2 * l)) / cosine**2 &
      + heat_capacity * change(4 * l + 1:5 * l)
    energy = sum(growth * dp + specific * (levels%hybi(2:) - levels%hybi(:l)) * mass) &
      + surface * mass
  end subroutine column_changes

end program test_aqua_vertical
