!> What takes scales from the dynamics that they cannot carry: hyperdiffusion of winds and
!! temperature, Rayleigh drag on winds near the lid, and a filter of winds that alternate from level
!! to level.
module aqua_damping
  use aqua_blas, only: dgesv
  use aqua_constants, only: r8, seconds_per_day
  use aqua_dynamics_settings, only: dynamics_settings
  use aqua_levels, only: hybrid_levels, interface_pressure, midpoint_pressure
  implicit none (type, external)
  private

  public :: damping_rates

  type :: damping_rates
    !> 1/s, [level, n, 1: zonal mean, 2: waves]
    real(r8), allocatable :: wind(:, :, :), temperature(:, :, :)
    real(r8), allocatable, private :: noise(:, :)    !! Rate of the vertical filter times its
                                                     !! operator [level, level], 1/s
    real(r8), allocatable :: filter(:, :)            !! Of a leap [level, level], if any
    real(r8), private :: filtered_leap = 0.0_r8      !! [s]
  contains
    procedure :: initialize, set_leap
  end type damping_rates

contains

  !> Rates by level, total wavenumber and kind of coefficient.
  !!
  !! Hyperdiffusion of waves has the rate of diffusion_time_d below diffusion_top_pa and grows to
  !! that of diffusion_top_time_d on the top level, where that is the faster one. Of the zonal
  !! mean it takes the part of the top only, unless diffusion_zonal_mean is set: at low truncation
  !! it would push the jets' flanks and the equator by a metre per second and day, as no eddies do.
  subroutine initialize(self, levels, settings, n_trunc, pressure)
    class(damping_rates), intent(out) :: self
    type(hybrid_levels), intent(in) :: levels
    type(dynamics_settings), intent(in) :: settings
    integer, intent(in) :: n_trunc
    real(r8), intent(in) :: pressure             !! At the surface, of the levels' places [Pa]
    real(r8), dimension(levels%n_level) :: p, drag, share, waves, zonal_mean
    real(r8) :: below, top, scale
    integer :: n

    p = midpoint_pressure(levels, pressure)
    drag = share_above(settings%sponge_top_pa, p) / (settings%sponge_time_d * seconds_per_day)
    share = share_above(settings%diffusion_top_pa, p)
    below = 1.0_r8 / (settings%diffusion_time_d * seconds_per_day)
    top = 1.0_r8 / (settings%diffusion_top_time_d * seconds_per_day)
    waves = below + share * max(0.0_r8, top - below)
    zonal_mean = share * top
    if (settings%diffusion_zonal_mean) zonal_mean = waves
    allocate (self%temperature(levels%n_level, 0:n_trunc + 1, 2))
    do n = 0, n_trunc + 1
      scale = (real(n * (n + 1), r8) / real(n_trunc * (n_trunc + 1), r8)) &
        **(settings%diffusion_order / 2)
      self%temperature(:, n, 1) = scale * zonal_mean
      self%temperature(:, n, 2) = scale * waves
    end do
    allocate (self%wind, source=self%temperature)
    do n = 0, n_trunc + 1
      self%wind(:, n, :) = self%wind(:, n, :) + spread(drag, 2, 2)
    end do
    if (settings%vertical_noise_time_d > 0.0_r8) then
      self%noise = alternation(levels, pressure) / (settings%vertical_noise_time_d &
                                                    * seconds_per_day)
    end if
  end subroutine initialize

  !> (ln(top / p) / ln(top / p_1))^2 above top, 0 below.
  pure function share_above(top, p) result(share)
    real(r8), intent(in) :: top                  !! [Pa]
    real(r8), intent(in) :: p(:)                 !! [level], Pa
    real(r8) :: share(size(p))

    share = 0.0_r8
    where (p < top) share = (log(top / p) / log(top / p(1)))**2
  end function share_above

  !> The square of the second difference over levels, scaled so that a profile that alternates from
  !! level to level has eigenvalue 1. Between layers of unequal mass the lighter one decides, and
  !! what one layer loses the other gains: the operator conserves momentum.
  function alternation(levels, pressure) result(operator)
    type(hybrid_levels), intent(in) :: levels
    real(r8), intent(in) :: pressure
    real(r8), allocatable :: operator(:, :)
    real(r8) :: p(levels%n_level + 1), mass(levels%n_level), exchange
    real(r8) :: second(levels%n_level, levels%n_level)
    integer :: k

    p = interface_pressure(levels, pressure)
    mass = p(2:) - p(:levels%n_level)
    second = 0.0_r8
    do k = 1, levels%n_level - 1
      exchange = 0.25_r8 * min(mass(k), mass(k + 1))
      second(k, k) = second(k, k) + exchange / mass(k)
      second(k, k + 1) = second(k, k + 1) - exchange / mass(k)
      second(k + 1, k + 1) = second(k + 1, k + 1) + exchange / mass(k + 1)
      second(k + 1, k) = second(k + 1, k) - exchange / mass(k + 1)
    end do
    operator = matmul(second, second)
  end function alternation

  !> The vertical filter of a leap of this length [s], implicit.
  subroutine set_leap(self, leap)
    class(damping_rates), intent(inout) :: self
    real(r8), intent(in) :: leap
    real(r8), allocatable :: matrix(:, :)
    integer, allocatable :: pivots(:)
    integer :: k, n, info

    if (.not. allocated(self%noise) .or. abs(self%filtered_leap - leap) <= 0.0_r8) return
    n = size(self%noise, 1)
    matrix = leap * self%noise
    self%filter = 0.0_r8 * matrix
    do k = 1, n
      matrix(k, k) = matrix(k, k) + 1.0_r8
      self%filter(k, k) = 1.0_r8
    end do
    allocate (pivots(n))
    call dgesv(n, n, matrix, n, pivots, self%filter, n, info)
    self%filtered_leap = leap
  end subroutine set_leap

end module aqua_damping
