!> The host's own part after the emulated one: surface fluxes and boundary-layer mixing, implicit in
!! time, closed in energy.
!!
!! Budget over a step of dt, exact to rounding, with masses m = dp/g:
!!   sum m (cp dT + Lv dq + d(u2 + v2)/2) = (SHFLX + LHFLX) dt,   sum m dq = LHFLX dt / Lv,
!!   sum m du = TAUX dt.
module aqua_boundary_layer
  use aqua_constants, only: dry_air_gas, gravity, heat_capacity, karman, latent_vaporization, r8, &
                            virtual_factor
  use aqua_surface, only: exchange_rate, friction_velocity, surface_humidity
  implicit none (type, external)
  private

  public :: surface_and_boundary_layer

  real(r8), parameter :: depth = 1500.0_r8          !! Of the mixed layer [m].

contains

  !> Increments over dt [level] and surface fluxes. Level 1 is the model top.
  !!
  !! Mixing by the profile K = karman u* z (1 - z/h)^2 (Troen and Mahrt 1986, Boundary-Layer
  !! Meteorol. 37, 129, neutral form) with a fixed depth h; bulk fluxes are solved together with the
  !! mixing, so that a thin lowest layer is no limit to the time step.
  pure subroutine surface_and_boundary_layer(t, q, u, v, p_mid, p_int, dp, sst, dt, d_t, d_q, d_u, &
                                             d_v, lhflx, shflx, taux, tauy)
    real(r8), intent(in) :: t(:)                    !! Temperature [K]
    real(r8), intent(in) :: q(:)                    !! Vapour [kg/kg]
    real(r8), intent(in) :: u(:), v(:)              !! Wind [m/s]
    real(r8), intent(in) :: p_mid(:)                !! [Pa]
    real(r8), intent(in) :: p_int(:)                !! [level + 1], Pa
    real(r8), intent(in) :: dp(:)                   !! [Pa]
    real(r8), intent(in) :: sst                     !! [K]
    real(r8), intent(in) :: dt                      !! [s]
    real(r8), intent(out) :: d_t(:), d_q(:)         !! [K], [kg/kg]
    real(r8), intent(out) :: d_u(:), d_v(:)         !! [m/s]
    real(r8), intent(out) :: lhflx, shflx           !! Latent and sensible heat flux, upward [W/m2]
    real(r8), intent(out) :: taux, tauy             !! Stress on the atmosphere [N/m2]
    real(r8), dimension(size(t)) :: mass, exchange, s, heat
    real(r8) :: rate, evaporation
    integer :: n, top

    n = size(t)
    d_t = 0.0_r8
    d_q = 0.0_r8
    d_u = 0.0_r8
    d_v = 0.0_r8
    heat = 0.0_r8
    mass = dp / gravity
    rate = exchange_rate(t(n), q(n), u(n), v(n), p_mid(n))
    call mixing_profile(t, q, p_mid, p_int, friction_velocity(u(n), v(n)), exchange, s, top)
    call mix(mass(top:), exchange(top:), rate, dt, u(top:), 0.0_r8, d_u(top:), taux)
    call mix(mass(top:), exchange(top:), rate, dt, v(top:), 0.0_r8, d_v(top:), tauy)
    call mix(mass(top:), exchange(top:), rate, dt, q(top:), surface_humidity(sst, p_int(n + 1)), &
             d_q(top:), evaporation)
    ! Static energy relative to the surface: heights stay as they are during the step, so that cp
    ! dT = ds.
    call mix(mass(top:), exchange(top:), rate, dt, s(top:), heat_capacity * sst, d_t(top:), shflx)
    d_t(top:) = d_t(top:) / heat_capacity
    lhflx = latent_vaporization * evaporation
    call add_friction(mass(top:), dt, u(top:), d_u(top:), taux, heat(top:))
    call add_friction(mass(top:), dt, v(top:), d_v(top:), tauy, heat(top:))
    d_t(top:) = d_t(top:) + heat(top:) / (heat_capacity * mass(top:))
  end subroutine surface_and_boundary_layer

  !> Exchange of air between level k and k + 1 [kg/m2/s], static energy cp T + g z [J/kg], and the
  !! highest level that mixes.
  pure subroutine mixing_profile(t, q, p_mid, p_int, friction, exchange, s, top)
    real(r8), intent(in) :: t(:), q(:), p_mid(:), p_int(:)
    real(r8), intent(in) :: friction                 !! Friction velocity [m/s]
    real(r8), intent(out) :: exchange(:), s(:)
    integer, intent(out) :: top
    real(r8) :: virtual, height, z_mid, z_below, z_above, density
    integer :: k

    exchange = 0.0_r8
    s = 0.0_r8
    height = 0.0_r8
    z_below = 0.0_r8                                 ! of the midpoint below
    do k = size(t), 1, -1
      top = k
      virtual = t(k) * (1.0_r8 + virtual_factor * q(k))
      z_mid = height + dry_air_gas * virtual / gravity * log(p_int(k + 1) / p_mid(k))
      z_above = height + dry_air_gas * virtual / gravity * log(p_int(k + 1) / p_int(k))
      s(k) = heat_capacity * t(k) + gravity * z_mid
      if (k < size(t)) then
        density = p_int(k + 1) / (dry_air_gas * virtual)
        exchange(k) = density * karman * friction * height * (1.0_r8 - height / depth)**2 / (z_mid &
          - z_below)
      end if
      z_below = z_mid
      height = z_above
      if (height >= depth) exit
    end do
  end subroutine mixing_profile

  !> Implicit mixing of x with exchange through the lower face of each level and with a surface
  !! value: increments and the flux from the surface (units of x times kg/m2/s). Tridiagonal
  !! elimination from the top down (Thomas).
  pure subroutine mix(mass, exchange, rate, dt, x, x_surface, increment, flux)
    real(r8), intent(in) :: mass(:), exchange(:)     !! exchange of the lowest level is not used
    real(r8), intent(in) :: rate                     !! With the surface [kg/m2/s].
    real(r8), intent(in) :: dt, x(:), x_surface
    real(r8), intent(out) :: increment(:), flux
    real(r8), dimension(size(x)) :: ratio, source
    real(r8) :: above, below, pivot, driving
    integer :: k, n

    ! Solved for the increments: m d/dt = E(k) (x(k+1) - x(k)) + E(k-1) (x(k-1) - x(k)) with x + d
    ! for x.
    n = size(x)
    above = 0.0_r8
    do k = 1, n
      below = rate
      if (k < n) below = exchange(k)
      driving = below * (x_surface - x(k))
      if (k < n) driving = below * (x(k + 1) - x(k))
      if (k > 1) driving = driving + above * (x(k - 1) - x(k))
      pivot = mass(k) / dt + above + below
      if (k > 1) then
        pivot = pivot - above * ratio(k - 1)
        driving = driving + above * source(k - 1)
      end if
      ratio(k) = below / pivot
      source(k) = driving / pivot
      above = below
    end do
    increment(n) = source(n)
    do k = n - 1, 1, -1
      increment(k) = source(k) + ratio(k) * increment(k + 1)
    end do
    flux = rate * (x_surface - (x(n) + increment(n)))
  end subroutine mix

  !> Adds to heat [J/m2] of each level the kinetic energy of one wind component that mixing and drag
  !! took from the column: what each face took, with winds half way through the step, goes to the
  !! levels on its two sides; what the surface took, to the lowest.
  pure subroutine add_friction(mass, dt, x, increment, stress, heat)
    real(r8), intent(in) :: mass(:), dt, x(:), increment(:)
    real(r8), intent(in) :: stress                   !! Of the surface on the atmosphere.
    real(r8), intent(inout) :: heat(:)
    real(r8) :: middle, middle_below, flux, lost
    integer :: k, n

    n = size(x)
    flux = 0.0_r8  ! momentum that came up through the lower face of level k, over the step
    do k = 1, n - 1
      flux = flux + mass(k) * increment(k)
      middle = x(k) + 0.5_r8 * increment(k)
      middle_below = x(k + 1) + 0.5_r8 * increment(k + 1)
      lost = flux * (middle_below - middle)
      heat(k) = heat(k) + 0.5_r8 * lost
      heat(k + 1) = heat(k + 1) + 0.5_r8 * lost
    end do
    heat(n) = heat(n) - stress * dt * (x(n) + 0.5_r8 * increment(n))
  end subroutine add_friction

end module aqua_boundary_layer
