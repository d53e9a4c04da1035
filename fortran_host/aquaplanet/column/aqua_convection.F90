!> Simplified Betts-Miller convection (Frierson 2007, J. Atmos. Sci. 64, 1959): where a parcel
!! lifted from the lowest level is buoyant, temperature relaxes to its moist adiabat and vapour to a
!! fixed relative humidity on it. Deep convection rains; where too little vapour is left for rain,
!! convection is shallow and only stirs. Part of the condensate stays behind as cloud, and wind is
!! mixed.
module aqua_convection
  use aqua_constants, only: dry_air_gas, gravity, heat_capacity, kappa, latent_fusion, &
                            latent_vaporization, r8, water_vapor_gas
  use aqua_physics_settings, only: physics_parameters
  use aqua_saturation, only: liquid_fraction, saturation_specific_humidity
  implicit none (type, external)
  private

  public :: convect, mix_momentum

  real(r8), parameter :: highest = 5.0e3_r8       !! Convection ends below this pressure [Pa].

contains

  !> One step of convection; t, q, liquid and ice are updated [level]. rain is what falls [kg/m2]
  !! and top the highest convecting level, size(t) + 1 without convection.
  pure subroutine convect(parameters, p_mid, dp, dt, t, q, liquid, ice, rain, top)
    type(physics_parameters), intent(in) :: parameters
    real(r8), intent(in) :: p_mid(:), dp(:)             !! [Pa]
    real(r8), intent(in) :: dt                          !! [s]
    real(r8), intent(inout) :: t(:)                     !! [K]
    real(r8), intent(inout) :: q(:), liquid(:), ice(:)  !! [kg/kg]
    real(r8), intent(out) :: rain
    integer, intent(out) :: top
    real(r8), dimension(size(t)) :: adiabat, warming, moistening, mass
    real(r8) :: share, drying, available
    integer :: n

    n = size(t)
    rain = 0.0_r8
    mass = dp / gravity
    call lift_parcel(p_mid, t, q, adiabat, top)
    if (top > n) return
    share = 1.0_r8 - exp(-dt / parameters%convection_time_s)
    warming = 0.0_r8
    moistening = 0.0_r8
    warming(top:) = share * (adiabat(top:) - t(top:))
    moistening(top:) = share &
      * (parameters%convection_humidity * saturation_specific_humidity(adiabat(top:), p_mid(top:)) &
         - q(top:))
    drying = -sum(mass(top:) * moistening(top:))
    available = sum(mass(top:) * warming(top:))
    if (available <= 0.0_r8) then
      top = n + 1
      return
    end if
    if (drying <= 0.0_r8) call make_shallow(mass, top, warming, moistening)
    if (top > n) return
    rain = max(-sum(mass(top:) * moistening(top:)), 0.0_r8)
    ! The reference profile is shifted so that warming is what condensation gives.
    warming(top:) = warming(top:) + (latent_vaporization * rain / heat_capacity &
                                     - sum(mass(top:) * warming(top:))) / sum(mass(top:))
    t = t + warming
    q = q + moistening
    call detrain(parameters%detrained_fraction, mass, top, t, liquid, ice, rain)
  end subroutine convect

  !> Temperature of a parcel from the lowest level [level], and the level where it stops to be
  !! warmer than the air around, size(t) + 1 if it never is. Dry below condensation, then
  !! pseudo-adiabatic, dT / dln p = (R T + L qs) / (cp + L^2 qs / (Rv T^2)).
  pure subroutine lift_parcel(p_mid, t, q, adiabat, top)
    real(r8), intent(in) :: p_mid(:), t(:), q(:)
    real(r8), intent(out) :: adiabat(:)
    integer, intent(out) :: top
    real(r8) :: vapor, middle
    logical :: saturated
    integer :: k, n

    n = size(t)
    adiabat = t
    top = n + 1
    vapor = q(n)
    saturated = vapor >= saturation_specific_humidity(t(n), p_mid(n))
    do k = n - 1, 1, -1
      if (p_mid(k) < highest) exit
      if (.not. saturated) then
        adiabat(k) = adiabat(k + 1) * (p_mid(k) / p_mid(k + 1))**kappa
        saturated = vapor >= saturation_specific_humidity(adiabat(k), p_mid(k))
      end if
      if (saturated) then
        associate (thickness => log(p_mid(k) / p_mid(k + 1)))
          middle = adiabat(k + 1) + 0.5_r8 * thickness * lapse(adiabat(k + 1), p_mid(k + 1))
          adiabat(k) = adiabat(k + 1) + thickness * lapse(middle, sqrt(p_mid(k) * p_mid(k + 1)))
        end associate
        if (adiabat(k) > t(k)) then
          top = k
        else if (top <= n) then
          exit
        end if
      end if
    end do
    if (top <= n) adiabat(n) = t(n)
  end subroutine lift_parcel

  !> dT / dln p of a saturated parcel [K].
  pure function lapse(t, p) result(slope)
    real(r8), intent(in) :: t, p
    real(r8) :: slope
    real(r8) :: vapor

    vapor = saturation_specific_humidity(t, p)
    slope = (dry_air_gas * t + latent_vaporization * vapor) &
            / (heat_capacity + latent_vaporization**2 * vapor / (water_vapor_gas * t**2))
  end function lapse

  !> Lowers the top to where vapour is only moved, without rain: the highest level down to which
  !! drying and moistening balance.
  pure subroutine make_shallow(mass, top, warming, moistening)
    real(r8), intent(in) :: mass(:)
    integer, intent(inout) :: top
    real(r8), intent(inout) :: warming(:), moistening(:)
    real(r8) :: drying
    integer :: k, n

    n = size(mass)
    drying = -sum(mass(top:) * moistening(top:))
    do k = top, n
      if (drying >= 0.0_r8) exit
      drying = drying + mass(k) * moistening(k)
      warming(k) = 0.0_r8
      moistening(k) = 0.0_r8
    end do
    top = k
    if (top > n .or. drying < 0.0_r8) then
      top = n + 1
      return
    end if
    ! What is left of drying is taken out of the drying levels in proportion, so that nothing rains.
    associate (dry => sum(mass(top:) * max(-moistening(top:), 0.0_r8)))
      if (dry > 0.0_r8) moistening(top:) = &
        moistening(top:) + drying / dry * max(-moistening(top:), 0.0_r8)
    end associate
  end subroutine make_shallow

  !> Leaves a part of the rain as cloud in the upper half of the convecting layer, liquid or ice by
  !! temperature; freezing warms.
  pure subroutine detrain(fraction, mass, top, t, liquid, ice, rain)
    real(r8), intent(in) :: fraction, mass(:)
    integer, intent(in) :: top
    real(r8), intent(inout) :: t(:), liquid(:), ice(:), rain
    real(r8) :: above, whole, kept, cold
    integer :: k, last

    if (rain <= 0.0_r8) return
    whole = sum(mass(top:))
    above = 0.0_r8
    last = top
    do k = top, size(mass)
      if (above + mass(k) > 0.5_r8 * whole) exit
      above = above + mass(k)
      last = k
    end do
    kept = fraction * rain / sum(mass(top:last))
    do k = top, last
      cold = 1.0_r8 - liquid_fraction(t(k))
      liquid(k) = liquid(k) + (1.0_r8 - cold) * kept
      ice(k) = ice(k) + cold * kept
      t(k) = t(k) + latent_fusion / heat_capacity * cold * kept
    end do
    rain = (1.0_r8 - fraction) * rain
  end subroutine detrain

  !> Mixes wind in the convecting layer toward its mean, as fast as the air that carries the rain's
  !! vapour overturns it; the kinetic energy that goes is returned as heat. Momentum is kept.
  pure subroutine mix_momentum(strength, condensed, base_vapor, dp, top, t, u, v)
    real(r8), intent(in) :: strength                    !! Relative to the overturning
    real(r8), intent(in) :: condensed                   !! By convection in this step [kg/m2]
    real(r8), intent(in) :: base_vapor                  !! Of the lowest level [kg/kg]
    real(r8), intent(in) :: dp(:)
    integer, intent(in) :: top
    real(r8), intent(inout) :: t(:), u(:), v(:)
    real(r8) :: mass(size(t)), whole, mean_u, mean_v, share, kinetic

    if (top > size(t) .or. condensed <= 0.0_r8) return
    mass = dp / gravity
    whole = sum(mass(top:))
    mean_u = sum(mass(top:) * u(top:)) / whole
    mean_v = sum(mass(top:) * v(top:)) / whole
    share = 1.0_r8 - exp(-strength * condensed / max(base_vapor, 1.0e-4_r8) / whole)
    kinetic = 0.5_r8 * sum(mass(top:) * (u(top:)**2 + v(top:)**2))
    u(top:) = u(top:) + share * (mean_u - u(top:))
    v(top:) = v(top:) + share * (mean_v - v(top:))
    kinetic = kinetic - 0.5_r8 * sum(mass(top:) * (u(top:)**2 + v(top:)**2))
    t(top:) = t(top:) + kinetic / (heat_capacity * whole)
  end subroutine mix_momentum

end module aqua_convection
