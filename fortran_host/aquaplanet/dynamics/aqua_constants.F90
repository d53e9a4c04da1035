!> Physical constants of the embedded climate model, with the values of E3SM (shr_const_mod), so
!! that what it writes means the same.
module aqua_constants
  use, intrinsic :: iso_fortran_env, only: real64
  implicit none (type, external)
  private

  integer, parameter, public :: r8 = real64

  real(r8), parameter, public :: pi = 3.14159265358979323846_r8
  real(r8), parameter, public :: gravity = 9.80616_r8              !! [m/s2]
  real(r8), parameter, public :: earth_radius = 6.37122e6_r8       !! [m]
  real(r8), parameter, public :: seconds_per_day = 86400.0_r8
  !> [rad/s], sidereal day of 86164 s
  real(r8), parameter, public :: earth_rotation = 2.0_r8 * pi / 86164.0_r8
  !> [J/kg/K], 287.04
  real(r8), parameter, public :: dry_air_gas = 6.02214e26_r8 * 1.38065e-23_r8 / 28.966_r8
  !> [J/kg/K], 461.50
  real(r8), parameter, public :: water_vapor_gas = 6.02214e26_r8 * 1.38065e-23_r8 / 18.016_r8
  real(r8), parameter, public :: heat_capacity = 1.00464e3_r8   !! Of dry air at constant pressure
                                                                !! [J/kg/K]
  real(r8), parameter, public :: latent_vaporization = 2.501e6_r8  !! [J/kg]
  real(r8), parameter, public :: latent_fusion = 3.337e5_r8     !! [J/kg]
  real(r8), parameter, public :: stefan_boltzmann = 5.67e-8_r8  !! [W/m2/K4]
  real(r8), parameter, public :: karman = 0.4_r8
  real(r8), parameter, public :: water_density = 1.0e3_r8       !! Of liquid water, for
                                                                !! precipitation in m/s [kg/m3]
  !> Tv = T (1 + virtual_factor q)
  real(r8), parameter, public :: virtual_factor = water_vapor_gas / dry_air_gas - 1.0_r8
  real(r8), parameter, public :: kappa = dry_air_gas / heat_capacity

  !> Among the tracers.
  integer, parameter, public :: i_vapor = 1, i_liquid = 2, i_ice = 3, n_tracer = 3

end module aqua_constants
