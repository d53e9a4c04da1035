!> States that a case may begin with.
module aqua_initial
  use, intrinsic :: iso_fortran_env, only: int64
  use aqua_constants, only: dry_air_gas, earth_radius, earth_rotation, gravity, kappa, pi, r8, &
                            virtual_factor
  use aqua_grid, only: gaussian_grid
  use aqua_levels, only: hybrid_levels, interface_pressure, midpoint_pressure
  use aqua_saturation, only: saturation_specific_humidity
  implicit none (type, external)
  private

  public :: initial_state, initial_vapor, perturb

  real(r8), parameter :: rest_pressure = 1.0e5_r8  !! [Pa]
  real(r8), parameter :: isothermal_k = 280.0_r8
  real(r8), parameter :: adiabatic_theta_k = 290.0_r8
  real(r8), parameter :: coldest_k = 200.0_r8   !! The adiabat ends here, far above the troposphere.

  !> Jablonowski and Williamson (2006, Q. J. R. Meteorol. Soc. 132, 2943).
  real(r8), parameter :: jet_speed = 35.0_r8               !! u0 [m/s]
  real(r8), parameter :: jet_eta = 0.252_r8                !! eta0
  real(r8), parameter :: tropopause_eta = 0.2_r8           !! eta_t
  real(r8), parameter :: wave_surface_k = 288.0_r8         !! T0
  real(r8), parameter :: wave_lapse_rate = 0.005_r8        !! Gamma [K/m]
  real(r8), parameter :: stratospheric_k = 4.8e5_r8        !! Delta T
  real(r8), parameter :: gust_speed = 1.0_r8               !! u_p [m/s]

contains

  !> The state named by initial, with random perturbations of temperature of at most perturbation_k,
  !! the same for any number of ranks.
  subroutine initial_state(initial, grid, levels, seed, perturbation_k, u, v, t, ps, &
                           surface_geopotential, error)
    character(len=*), intent(in) :: initial                    !! moist, rest_isothermal,
                                                               !! rest_adiabatic or baroclinic_wave
    type(gaussian_grid), intent(in) :: grid
    type(hybrid_levels), intent(in) :: levels
    integer, intent(in) :: seed
    real(r8), intent(in) :: perturbation_k                     !! [K]; not for baroclinic_wave,
                                                               !! whose perturbation is a gust
    real(r8), intent(out) :: u(:, :), v(:, :), t(:, :)         !! [level, column]
    real(r8), intent(out) :: ps(:), surface_geopotential(:)    !! [column]
    character(len=:), allocatable, intent(out) :: error
    real(r8) :: latitude
    integer :: column

    error = ''
    u = 0.0_r8
    v = 0.0_r8
    ps = rest_pressure
    surface_geopotential = 0.0_r8
    do column = 1, grid%n_column
      latitude = grid%column_latitude(column)
      select case (initial)
      case ('moist')
        t(:, column) = moist_temperature(midpoint_pressure(levels, rest_pressure), latitude)
        u(:, column) = balanced_wind(levels, latitude)
      case ('rest_isothermal')
        t(:, column) = isothermal_k
      case ('rest_adiabatic')
        t(:, column) = max(coldest_k, &
                           adiabatic_theta_k &
                           * (midpoint_pressure(levels, rest_pressure) / rest_pressure)**kappa)
      case ('baroclinic_wave')
        call wave_column(levels%hyam + levels%hybm, latitude, &
                         grid%column_longitude(column), u(:, column), t(:, column), &
                         surface_geopotential(column))
      case default
        error = "there is no initial state '" // initial &
          // "': choose moist, rest_isothermal, rest_adiabatic or baroclinic_wave"
        return
      end select
      if (initial /= 'baroclinic_wave') call perturb(seed, column, perturbation_k, t(:, column))
    end do
  end subroutine initial_state

  !> A tropospheric lapse rate of 6.5 K/km over a surface like that of Neale and Hoskins (2000), an
  !! isothermal lower stratosphere, and a warm stratopause. The contrast grows with the fourth power
  !! of the sine of latitude: with the second the balanced wind over the equator would be 36 m/s.
  pure function moist_temperature(p, latitude) result(t)
    real(r8), intent(in) :: p(:)                               !! [level], Pa
    real(r8), intent(in) :: latitude
    real(r8) :: t(size(p))
    real(r8), parameter :: lapse_rate = 0.0065_r8, warmest = 298.0_r8, contrast = 45.0_r8
    real(r8), parameter :: lower = 205.0_r8, stratopause = 250.0_r8, stratopause_pa = 100.0_r8, &
                           base_pa = 5.0e3_r8

    t = (warmest - contrast * sin(latitude)**4) &
      * (p / rest_pressure)**(dry_air_gas * lapse_rate / gravity)
    t = max(t, lower + (stratopause - lower) * min(1.0_r8, &
      max(0.0_r8, log(base_pa / p) / log(base_pa / stratopause_pa))))
  end function moist_temperature

  !> Vapour at 60 % of saturation below 100 hPa, and little above [kg/kg]: a start from dry air
  !! rains only after days.
  elemental function initial_vapor(t, p) result(q)
    real(r8), intent(in) :: t
    real(r8), intent(in) :: p                                  !! [Pa]
    real(r8) :: q
    real(r8), parameter :: humidity = 0.6_r8, top_pa = 1.0e4_r8, stratospheric = 3.0e-6_r8

    q = stratospheric
    if (p >= top_pa) q = max(stratospheric, humidity * saturation_specific_humidity(t, p))
  end function initial_vapor

  !> The zonal wind [level] in gradient balance with the moist start: from rest, truncations above
  !! T10 adjust by waves that reach 216 m/s and 338 K on the way. tan(latitude) u^2 / a + f u = -1/a
  !! dPhi/dlatitude (Holton 2004, An Introduction to Dynamic Meteorology, 3.2), surface pressure is
  !! uniform.
  pure function balanced_wind(levels, latitude) result(u)
    type(hybrid_levels), intent(in) :: levels
    real(r8), intent(in) :: latitude
    real(r8) :: u(levels%n_level)
    real(r8), parameter :: step = 1.0e-4_r8                    !! Of latitude
    real(r8) :: slope(levels%n_level), coriolis, curvature

    slope = (moist_geopotential(levels, latitude + step) &
             - moist_geopotential(levels, latitude - step)) / (2.0_r8 * step * earth_radius)
    coriolis = 2.0_r8 * earth_rotation * sin(latitude)
    curvature = tan(latitude) / earth_radius
    u = -2.0_r8 * slope / (coriolis + sign(1.0_r8, coriolis) &
                           * sqrt(max(0.0_r8, coriolis**2 - 4.0_r8 * curvature * slope)))
  end function balanced_wind

  !> Geopotential of levels of the moist start [m2/s2].
  pure function moist_geopotential(levels, latitude) result(geopotential)
    type(hybrid_levels), intent(in) :: levels
    real(r8), intent(in) :: latitude
    real(r8) :: geopotential(levels%n_level)
    real(r8) :: p(levels%n_level), bounds(levels%n_level + 1), t(levels%n_level)
    real(r8) :: below
    integer :: k

    p = midpoint_pressure(levels, rest_pressure)
    bounds = interface_pressure(levels, rest_pressure)
    t = moist_temperature(p, latitude)
    t = dry_air_gas * t * (1.0_r8 + virtual_factor * initial_vapor(t, p))
    below = 0.0_r8
    do k = levels%n_level, 1, -1
      geopotential(k) = below + t(k) * log(bounds(k + 1) / p(k))
      if (k > 1) below = below + t(k) * log(bounds(k + 1) / bounds(k))
    end do
  end function moist_geopotential

  !> Adds noise from a hash of seed, column and level (splitmix, as in Steele, Lea and Flood 2014),
  !! so that no order of calls matters.
  pure subroutine perturb(seed, column, amplitude, t)
    integer, intent(in) :: seed, column
    real(r8), intent(in) :: amplitude                          !! [K]
    real(r8), intent(inout) :: t(:)
    integer(int64), parameter :: mask = 2147483647_int64       ! 31 bits: products stay within 64
    integer(int64) :: state
    integer :: k, round

    do k = 1, size(t)
      state = iand(int(seed, int64) * 1000003_int64 + int(column, int64) * 10007_int64 &
                   + int(k, int64), mask)
      do round = 1, 3
        state = iand(ieor(state, ishft(state, -15)) * 741103597_int64, mask)
      end do
      t(k) = t(k) + amplitude * (2.0_r8 * real(state, r8) / real(mask, r8) - 1.0_r8)
    end do
  end subroutine perturb

  !> Equations 2 to 7 and 10 of Jablonowski and Williamson (2006).
  pure subroutine wave_column(eta, latitude, longitude, u, t, surface_geopotential)
    real(r8), intent(in) :: eta(:)                             !! [level]
    real(r8), intent(in) :: latitude, longitude
    real(r8), intent(out) :: u(:), t(:), surface_geopotential
    real(r8), parameter :: gust_latitude = 2.0_r8 * pi / 9.0_r8, gust_longitude = pi / 9.0_r8, &
                           gust_radius = earth_radius / 10.0_r8
    real(r8), dimension(size(eta)) :: angle
    real(r8) :: of_wind, of_rotation, surface, closeness, distance

    angle = (eta - jet_eta) * pi / 2.0_r8
    of_wind = -2.0_r8 * sin(latitude)**6 * (cos(latitude)**2 + 1.0_r8 / 3.0_r8) + 10.0_r8 / 63.0_r8
    of_rotation = (1.6_r8 * cos(latitude)**3 * (sin(latitude)**2 + 2.0_r8 / 3.0_r8) - pi / 4.0_r8) &
      * earth_radius * earth_rotation
    closeness = sin(gust_latitude) * sin(latitude) + cos(gust_latitude) * cos(latitude) &
      * cos(longitude - gust_longitude)
    distance = earth_radius * acos(max(-1.0_r8, min(1.0_r8, closeness)))
    u = jet_speed * cos(angle)**1.5_r8 * sin(2.0_r8 * latitude)**2 &
      + gust_speed * exp(-(distance / gust_radius)**2)
    t = wave_surface_k * eta**(dry_air_gas * wave_lapse_rate / gravity)
    where (eta < tropopause_eta) t = t + stratospheric_k * (tropopause_eta - eta)**5
    t = t + 0.75_r8 * eta * pi * jet_speed / dry_air_gas * sin(angle) * sqrt(cos(angle)) &
        * (of_wind * 2.0_r8 * jet_speed * cos(angle)**1.5_r8 + of_rotation)
    surface = jet_speed * cos((1.0_r8 - jet_eta) * pi / 2.0_r8)**1.5_r8
    surface_geopotential = surface * (of_wind * surface + of_rotation)
  end subroutine wave_column

end module aqua_initial
