!> Rates of damping against their formulas, the vertical filter against the cosines that are its
!! eigenvectors on layers of one mass, and what it conserves on any. The first argument is the file
!! of levels.
program test_aqua_damping
  use aqua_constants, only: pi, r8, seconds_per_day
  use aqua_damping, only: damping_rates
  use aqua_dynamics_settings, only: dynamics_settings
  use aqua_levels, only: hybrid_levels, interface_pressure, make_levels, midpoint_pressure
  use aqua_test_support, only: check, check_close, climsim_levels
  implicit none (type, external)

  integer, parameter :: truncation = 10
  real(r8), parameter :: ps = 1.0e5_r8, leap = 2400.0_r8
  !> A few tens of roundings of numbers of size 1.
  real(r8), parameter :: round = 1.0e-14_r8

  call rates_by_level_and_scale()
  call unequal_layers()
  call cosines()
  call conserves()
  call none()

contains

  !> Below diffusion_top_pa waves have the one rate and the zonal mean none; the top level has the
  !! other for both; wind has the drag besides.
  subroutine rates_by_level_and_scale()
    type(damping_rates) :: damping
    type(hybrid_levels) :: levels
    type(dynamics_settings) :: settings
    real(r8), allocatable :: p(:)
    real(r8) :: low, top, half
    integer :: n_level

    levels = climsim_levels()
    n_level = levels%n_level
    p = midpoint_pressure(levels, ps)
    settings = dynamics_settings(diffusion_time_d=8.0_r8, diffusion_top_time_d=0.5_r8, &
                                 diffusion_top_pa=1.0e4_r8, sponge_time_d=0.25_r8)
    call damping%initialize(levels, settings, truncation, ps)
    low = 1.0_r8 / (8.0_r8 * seconds_per_day)
    top = 1.0_r8 / (0.5_r8 * seconds_per_day)
    associate (heat => damping%temperature, wind => damping%wind)
      call check_close(heat(n_level, truncation, 2) / low, 1.0_r8, round, 'waves below')
      call check_close(heat(n_level, truncation, 1), 0.0_r8, 0.0_r8, 'zonal mean below')
      call check_close(heat(1, truncation, 2) / top, 1.0_r8, round, 'waves on the top level')
      call check_close(heat(1, truncation, 1) / top, 1.0_r8, round, 'zonal mean there')
      half = (5.0_r8 * 6.0_r8 / (10.0_r8 * 11.0_r8))**4
      call check_close(heat(n_level, 5, 2) / (half * low), 1.0_r8, round, 'order 8')
      call check_close((wind(1, 3, 1) - heat(1, 3, 1)) * 0.25_r8 * seconds_per_day, 1.0_r8, round, &
                       'drag on the top level')
      call check_close((wind(4, 3, 1) - heat(4, 3, 1)) * 0.25_r8 * seconds_per_day, &
                       squared(settings%sponge_top_pa, p), round, 'drag aloft')
      call check_close(heat(4, truncation, 1) / top, squared(1.0e4_r8, p), round, &
                       'zonal mean aloft')
      call check(all(abs(wind(:, :, 2) - heat(:, :, 2)) <= 0.0_r8 &
                     .or. spread(p, 2, truncation + 2) < settings%sponge_top_pa), 'drag below')
    end associate
    settings%diffusion_zonal_mean = .true.
    call damping%initialize(levels, settings, truncation, ps)
    call check(all(abs(damping%temperature(:, :, 1) - damping%temperature(:, :, 2)) <= 0.0_r8), &
               'the zonal mean as the waves')
  end subroutine rates_by_level_and_scale

  !> The square of the fourth level's height above top in ln p, relative to the top level's.
  pure function squared(top, p)
    real(r8), intent(in) :: top, p(:)
    real(r8) :: squared

    squared = ((log(top) - log(p(4))) / (log(top) - log(p(1))))**2
  end function squared

  !> Two layers whose masses have the ratio r: winds 1 and -r keep 1 / (1 + leap rate ((1 + r) /
  !! 4)^2) of themselves.
  subroutine unequal_layers()
    type(damping_rates) :: damping
    type(hybrid_levels) :: levels
    character(len=:), allocatable :: error
    real(r8), parameter :: r = 0.25_r8
    real(r8) :: wave(2), kept

    call make_levels([0.2_r8, 0.0_r8, 0.0_r8], [0.0_r8, 0.36_r8, 1.0_r8], ps, levels, error)
    call check(len(error) == 0, error)
    call damping%initialize(levels, dynamics_settings(vertical_noise_time_d=0.1_r8), truncation, ps)
    call damping%set_leap(leap)
    wave = [1.0_r8, -r]
    kept = 1.0_r8 / (1.0_r8 + leap * ((1.0_r8 + r) / 4.0_r8)**2 / (0.1_r8 * seconds_per_day))
    call check_close(maxval(abs(matmul(damping%filter, wave) - kept * wave)), 0.0_r8, round, &
                     'filter of two unequal layers')
  end subroutine unequal_layers

  !> cos(pi j (k - 1/2) / n) keeps 1 / (1 + leap rate sin^4(pi j / (2 n))) of itself.
  subroutine cosines()
    integer, parameter :: n = 12
    type(damping_rates) :: damping
    type(hybrid_levels) :: levels
    character(len=:), allocatable :: error
    real(r8) :: wave(n), kept, rate
    integer :: j, k

    call make_levels([(0.1_r8 * real(n - k, r8) / real(n, r8), k = 0, n)], &
                     [(real(k, r8) / real(n, r8), k = 0, n)], ps, levels, error)
    call check(len(error) == 0, error)
    call damping%initialize(levels, dynamics_settings(vertical_noise_time_d=0.1_r8), truncation, ps)
    call damping%set_leap(0.5_r8 * leap)               ! the first step's; the next is another
    call damping%set_leap(leap)
    rate = 1.0_r8 / (0.1_r8 * seconds_per_day)
    do j = 0, n - 1
      wave = [(cos(pi * real(j, r8) * (real(k, r8) - 0.5_r8) / real(n, r8)), k = 1, n)]
      kept = 1.0_r8 / (1.0_r8 + leap * rate * sin(pi * real(j, r8) / real(2 * n, r8))**4)
      call check_close(maxval(abs(matmul(damping%filter, wave) - kept * wave)), 0.0_r8, round, &
                       'filter of a cosine')
    end do
  end subroutine cosines

  !> On the levels of ClimSim a constant wind stays, momentum is kept, and no wind grows.
  subroutine conserves()
    type(damping_rates) :: damping
    type(hybrid_levels) :: levels
    integer, parameter :: n = 60
    real(r8) :: p(n + 1), mass(n), wind(n), filtered(n)
    integer :: k

    levels = climsim_levels()
    p = interface_pressure(levels, ps)
    mass = (p(2:) - p(:n)) / ps
    call damping%initialize(levels, dynamics_settings(), truncation, ps)
    call damping%set_leap(leap)
    wind = [(1.0_r8, k = 1, n)]
    call check_close(maxval(abs(matmul(damping%filter, wind) - wind)), 0.0_r8, round, &
                     'filter of a constant')
    wind = [(real((-1)**k, r8) + sin(real(k, r8)), k = 1, n)]
    filtered = matmul(damping%filter, wind)
    call check_close(sum(mass * filtered), sum(mass * wind), round, 'momentum')
    call check(sum(mass * filtered**2) < sum(mass * wind**2), 'energy')
  end subroutine conserves

  !> Without a time there is no filter.
  subroutine none()
    type(damping_rates) :: damping

    call damping%initialize(climsim_levels(), dynamics_settings(vertical_noise_time_d=0.0_r8), &
                            truncation, ps)
    call damping%set_leap(leap)
    call check(.not. allocated(damping%filter), 'no filter')
  end subroutine none

end program test_aqua_damping
