!> One leap of the dynamics against its closed form: the filter of Williams (2009), implicit
!! hyperdiffusion and drag aloft on a single
!! zonal harmonic. The first argument is the file of levels.
program test_aqua_leap
  use aqua_constants, only: r8, seconds_per_day
  use aqua_dynamics, only: dynamical_core
  use aqua_dynamics_settings, only: dynamics_settings
  use aqua_grid, only: gaussian_grid, make_grid
  use aqua_initial, only: initial_state
  use aqua_levels, only: hybrid_levels, midpoint_pressure
  use aqua_test_support, only: check, check_close, climsim_levels
  implicit none (type, external)

  integer, parameter :: truncation = 10, n_step = 5
  !> So short that rotation and gravity waves change a wind of 1 m/s by (f dt)^2 = 2e-8 and a
  !! temperature of 1 K by less than 1e-5.
  real(r8), parameter :: dt = 1.0_r8
  real(r8), parameter :: still = 1.0e-6_r8, warm = 1.0e-5_r8
  real(r8), parameter :: diffusion_s = 0.8_r8, sponge_s = 2.0_r8, sponge_pa = 100.0_r8
  type(hybrid_levels) :: levels

  levels = climsim_levels()
  call check_harmonic(10, 8, 0.2_r8, 0.6_r8)
  call check_harmonic(7, 8, 0.1_r8, 0.53_r8)
  call check_harmonic(7, 4, 0.1_r8, 1.0_r8)

contains

  !> The harmonic of a total wavenumber, in wind and then in temperature, over some leaps.
  subroutine check_harmonic(n, order, nu, alpha)
    integer, intent(in) :: n, order
    real(r8), intent(in) :: nu, alpha
    type(dynamical_core) :: core
    type(dynamics_settings) :: settings
    real(r8), allocatable :: none(:, :), wind(:, :), warmth(:, :), t(:, :)
    real(r8) :: rate, drag, p(levels%n_level), expected
    integer :: step, k

    rate = (real(n * (n + 1), r8) / real(truncation * (truncation + 1), r8))**(order / 2) &
        / diffusion_s
    p = midpoint_pressure(levels, 1.0e5_r8)
    settings = dynamics_settings(time_step_s=dt, diffusion_order=order, &
        diffusion_time_d=diffusion_s / seconds_per_day, diffusion_zonal_mean=.true., &
        diffusion_top_time_d=diffusion_s / seconds_per_day, vertical_noise_time_d=0.0_r8, &
                                 sponge_top_pa=sponge_pa, sponge_time_d=sponge_s &
                                     / seconds_per_day, filter_nu=nu, &
                                 filter_alpha=alpha)
    call start(settings, core)
    call make_fields(core%grid, n, wind, warmth)
    allocate (none, source=0.0_r8 * wind)
    allocate (t, source=core%t)
    call core%add_increments(wind, none, none)
    do step = 1, n_step
      call core%step(none)
      do k = 1, levels%n_level
        drag = 0.0_r8
        if (p(k) < sponge_pa) drag = (log(sponge_pa / p(k)) / log(sponge_pa / p(1)))**2 / sponge_s
        expected = after(step, rate + drag, nu, alpha)
        call check_close(maxval(abs(core%u(k, :) - expected * wind(k, :))), 0.0_r8, still &
            * maxval(abs(wind)), 'leap: wind')
      end do
    end do
    call start(settings, core)
    call core%add_increments(none, none, warmth)
    do step = 1, n_step
      call core%step(none)
      expected = after(step, rate, nu, alpha)
      call check_close(maxval(abs(core%t - t - expected * warmth)), 0.0_r8, warm, &
          'leap: temperature')
    end do
  end subroutine check_harmonic

  !> What is left of 1 after some steps of x' = -rate x, backward in time over each leap. The first
  !! step is half a leap without filter.
  pure function after(steps, rate, nu, alpha) result(newest)
    integer, intent(in) :: steps
    real(r8), intent(in) :: rate, nu, alpha
    real(r8) :: newest
    real(r8) :: oldest, middle, curvature
    integer :: i

    oldest = 1.0_r8
    newest = 1.0_r8 / (1.0_r8 + dt * rate)
    do i = 2, steps
      middle = newest
      newest = oldest / (1.0_r8 + 2.0_r8 * dt * rate)
      curvature = oldest - 2.0_r8 * middle + newest
      oldest = middle + 0.5_r8 * nu * alpha * curvature
      newest = newest - 0.5_r8 * nu * (1.0_r8 - alpha) * curvature
    end do
  end function after

  subroutine start(settings, core)
    type(dynamics_settings), intent(in) :: settings
    type(dynamical_core), intent(out) :: core
    type(gaussian_grid) :: grid
    real(r8), allocatable :: u(:, :), v(:, :), t(:, :), ps(:), geopotential(:)
    character(len=:), allocatable :: error

    call make_grid(truncation, grid, error)
    call check(len(error) == 0, error)
    call core%initialize(grid, levels, settings, error)
    call check(len(error) == 0, error)
    allocate (u(levels%n_level, grid%n_column), ps(grid%n_column), geopotential(grid%n_column))
    allocate (v, t, mold=u)
    call initial_state('rest_isothermal', grid, levels, 1, 0.0_r8, u, v, t, ps, geopotential, error)
    call check(len(error) == 0, error)
    call core%set_state(u, v, t, ps, geopotential)
  end subroutine start

  !> A zonal wind whose vorticity is the Legendre polynomial of degree n, cos(latitude) P'(sin
  !! latitude), and P itself, both of
  !! size 1 and the same on all levels.
  subroutine make_fields(grid, n, wind, warmth)
    type(gaussian_grid), intent(in) :: grid
    integer, intent(in) :: n
    real(r8), allocatable, intent(out) :: wind(:, :), warmth(:, :)
    real(r8) :: p(0:n), mu
    integer :: column, i

    allocate (wind(levels%n_level, grid%n_column), warmth(levels%n_level, grid%n_column))
    do column = 1, grid%n_column
      mu = sin(grid%latitude((column - 1) / grid%n_lon + 1))
      p(0) = 1.0_r8
      p(1) = mu
      do i = 2, n
        p(i) = (real(2 * i - 1, r8) * mu * p(i - 1) - real(i - 1, r8) * p(i - 2)) / real(i, r8)
      end do
      wind(:, column) = real(n, r8) * (p(n - 1) - mu * p(n)) / sqrt(1.0_r8 - mu**2)
      warmth(:, column) = p(n)
    end do
    wind = wind / maxval(abs(wind))
  end subroutine make_fields

end program test_aqua_leap
