!> The forcing of Held and Suarez (1994, Bull. Amer. Meteor. Soc. 75, 1825) for tests of dry
!! dynamics.
module aqua_held_suarez
  use aqua_constants, only: kappa, r8, seconds_per_day
  use aqua_levels, only: hybrid_levels, midpoint_pressure
  implicit none (type, external)
  private

  public :: held_suarez_tendencies

  real(r8), parameter :: drag_rate = 1.0_r8 / seconds_per_day                  !! [1/s]
  real(r8), parameter :: free_rate = 1.0_r8 / (40.0_r8 * seconds_per_day)      !! [1/s]
  real(r8), parameter :: surface_rate = 1.0_r8 / (4.0_r8 * seconds_per_day)    !! [1/s]
  real(r8), parameter :: boundary_sigma = 0.7_r8
  real(r8), parameter :: meridional_k = 60.0_r8
  real(r8), parameter :: vertical_k = 10.0_r8

contains

  !> Tendencies [level] of wind [m/s2] and temperature [K/s] of one column.
  pure subroutine held_suarez_tendencies(levels, latitude, ps, u, v, t, dudt, dvdt, dtdt)
    type(hybrid_levels), intent(in) :: levels
    real(r8), intent(in) :: latitude                       !! [rad]
    real(r8), intent(in) :: ps                             !! [Pa]
    real(r8), intent(in) :: u(:), v(:), t(:)               !! [level]
    real(r8), intent(out) :: dudt(:), dvdt(:), dtdt(:)
    real(r8), dimension(levels%n_level) :: p, depth, rate, equilibrium

    p = midpoint_pressure(levels, ps)
    depth = max(0.0_r8, (p / ps - boundary_sigma) / (1.0_r8 - boundary_sigma))
    rate = free_rate + (surface_rate - free_rate) * depth * cos(latitude)**4
    equilibrium = (315.0_r8 - meridional_k * sin(latitude)**2 - vertical_k * log(p / levels%p0) &
                   * cos(latitude)**2) &
                  * (p / levels%p0)**kappa
    dudt = -drag_rate * depth * u
    dvdt = -drag_rate * depth * v
    dtdt = -rate * (t - max(200.0_r8, equilibrium))
  end subroutine held_suarez_tendencies

end module aqua_held_suarez
