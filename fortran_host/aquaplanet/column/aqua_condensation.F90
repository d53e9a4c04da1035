!> Cloud of resolved ascent. Total water varies evenly within a layer, so cloud begins below
!! saturation of the mean (Smith 1990, Q. J. R. Meteorol. Soc. 116, 435, with an even distribution
!! as in Le Treut and Li 1991, Clim. Dyn. 5, 175). Dense liquid turns to rain (Sundqvist, Berge and
!! Kristjansson 1989, Mon. Wea. Rev. 117, 1641), ice falls out (Heymsfield and Donner 1990, J.
!! Atmos. Sci. 47, 1865), and what falls evaporates in dry air and melts in warm air.
module aqua_condensation
  use aqua_constants, only: dry_air_gas, gravity, heat_capacity, latent_fusion, &
                            latent_vaporization, r8
  use aqua_physics_settings, only: physics_parameters
  use aqua_saturation, only: all_ice, condensation_heat, freezing, liquid_fraction, &
                             saturation_specific_humidity, saturation_with_slope
  implicit none (type, external)
  private

  public :: condense, precipitate, settle_phase, cloud_fraction_of

  real(r8), parameter :: highest = 1.0e3_r8            !! No cloud forms at lower pressure [Pa];
                                                       !! what is there evaporates.
  real(r8), parameter :: smallest = 1.0e-12_r8         !! Cloud that is none [kg/kg]
  real(r8), parameter :: evaporation_coefficient = 1.0e-5_r8   !! Sundqvist (1988): E = k (1 - RH)
                                                               !! sqrt(P), P in kg/m2/s, E in 1/s

contains

  !> Puts the water of every level in equilibrium: t, q, liquid and ice are updated, cloud is its
  !! fraction. Enthalpy is kept exactly.
  elemental subroutine condense(critical_humidity, p, t, q, liquid, ice, cloud)
    real(r8), intent(in) :: critical_humidity
    real(r8), intent(in) :: p                          !! [Pa]
    real(r8), intent(inout) :: t                       !! [K]
    real(r8), intent(inout) :: q, liquid, ice          !! [kg/kg]
    real(r8), intent(out) :: cloud
    real(r8) :: total, cold, saturation, heat, slope, factor, excess, width, condensed, enthalpy, &
                warm

    cloud = 0.0_r8
    condensed = 0.0_r8
    total = q + liquid + ice
    enthalpy = heat_capacity * t + latent_vaporization * q - latent_fusion * ice
    warm = liquid_fraction(t)
    if (p > highest) then
      cold = t - condensation_heat(t) / heat_capacity * (liquid + ice)
      call saturation_with_slope(cold, p, saturation, heat, slope)
      factor = 1.0_r8 / (1.0_r8 + heat / heat_capacity * slope)
      excess = factor * (total - saturation)
      width = factor * (1.0_r8 - critical_humidity) * saturation
      if (excess >= width) then
        cloud = 1.0_r8
        condensed = excess
      else if (excess > -width) then
        cloud = (excess + width) / (2.0_r8 * width)
        condensed = (excess + width)**2 / (4.0_r8 * width)
      end if
      condensed = min(condensed, total)
    end if
    liquid = warm * condensed
    ice = condensed - liquid
    q = total - condensed
    t = (enthalpy - latent_vaporization * q + latent_fusion * ice) / heat_capacity
  end subroutine condense

  !> Gives cloud the phase of its temperature, liquid_fraction, with the heat that this takes or
  !! gives: both hold at once, which on a linear ramp is one equation for temperature. So ice and
  !! liquid follow from temperature and total cloud, as in E3SM's own microphysics of one moment
  !! (Khairoutdinov and Randall 2003, J. Atmos. Sci. 60, 607).
  elemental subroutine settle_phase(t, liquid, ice)
    real(r8), intent(inout) :: t                       !! [K]
    real(r8), intent(inout) :: liquid, ice             !! [kg/kg]
    real(r8), parameter :: width = freezing - all_ice
    real(r8) :: total, melted, middle

    total = liquid + ice
    melted = t - latent_fusion / heat_capacity * ice   ! temperature if all were liquid
    middle = (melted + latent_fusion / heat_capacity * total * (1.0_r8 + all_ice / width)) &
             / (1.0_r8 + latent_fusion / heat_capacity * total / width)
    ice = total * (1.0_r8 - liquid_fraction(middle))
    liquid = total - ice
    t = melted + latent_fusion / heat_capacity * ice
  end subroutine settle_phase

  !> Cloud fraction of the state as it is, for radiation: the layer's condensate over that within
  !! cloud, which is content where saturation is 1 g/kg and grows by a power of saturation.
  elemental function cloud_fraction_of(content, power, p, t, liquid, ice) result(cloud)
    real(r8), intent(in) :: content                    !! [kg/kg]
    real(r8), intent(in) :: power
    real(r8), intent(in) :: p, t, liquid, ice
    real(r8) :: cloud

    cloud = 0.0_r8
    if (p <= highest .or. liquid + ice < 1.0e-8_r8) return
    cloud = min(1.0_r8, (liquid + ice) &
                / (content * (1.0e3_r8 * saturation_specific_humidity(t, p))**power))
  end function cloud_fraction_of

  !> Turns cloud to rain and snow and lets them fall. t, q, liquid and ice are updated; rain and
  !! snow reach the surface [kg/m2].
  pure subroutine precipitate(parameters, p, dp, dt, cloud, t, q, liquid, ice, rain, snow)
    type(physics_parameters), intent(in) :: parameters
    real(r8), intent(in) :: p(:), dp(:), dt, cloud(:)
    real(r8), intent(inout) :: t(:), q(:), liquid(:), ice(:)
    real(r8), intent(out) :: rain, snow
    real(r8) :: mass, made, density, speed, share
    integer :: k

    rain = 0.0_r8
    snow = 0.0_r8
    do k = 1, size(t)
      mass = dp(k) / gravity
      if (liquid(k) > smallest) then
        share = min(liquid(k) / max(cloud(k), 0.05_r8) / parameters%rain_threshold, 10.0_r8)
        made = liquid(k) * (1.0_r8 - exp(-dt / parameters%rain_time_s * (1.0_r8 - exp(-share**2))))
        liquid(k) = liquid(k) - made
        rain = rain + mass * made
      end if
      if (ice(k) > smallest) then
        density = p(k) / (dry_air_gas * t(k))
        speed = parameters%ice_fall_speed &
          * (density * ice(k) / max(cloud(k), 0.05_r8) / 1.0e-3_r8)**0.16_r8
        made = ice(k) * (1.0_r8 - exp(-dt * speed * density * gravity / dp(k)))
        ice(k) = ice(k) - made
        snow = snow + mass * made
      end if
      call evaporate(parameters%rain_evaporation, p(k), mass, dt, cloud(k), t(k), q(k), rain, snow)
      call melt(mass, t(k), rain, snow)
    end do
  end subroutine precipitate

  !> Evaporation of what falls into the clear part of a layer, at most to saturation at half of the
  !! difference.
  elemental subroutine evaporate(strength, p, mass, dt, cloud, t, q, rain, snow)
    real(r8), intent(in) :: strength, p, mass, dt, cloud
    real(r8), intent(inout) :: t, q, rain, snow
    real(r8) :: falling, saturation, heat, slope, gained, of_snow

    falling = rain + snow
    if (falling <= 0.0_r8 .or. p <= highest) return
    call saturation_with_slope(t, p, saturation, heat, slope)
    if (q >= saturation) return
    gained = strength * evaporation_coefficient * (1.0_r8 - q / saturation) * sqrt(falling / dt) &
      * dt * (1.0_r8 - cloud)
    gained = min(gained, 0.5_r8 * (saturation - q) / (1.0_r8 + heat / heat_capacity * slope), &
                 falling / mass)
    of_snow = gained * snow / falling
    q = q + gained
    t = t - (latent_vaporization * gained + latent_fusion * of_snow) / heat_capacity
    rain = max(rain - mass * (gained - of_snow), 0.0_r8)
    snow = max(snow - mass * of_snow, 0.0_r8)
  end subroutine evaporate

  !> Snow melts in air above freezing, at most until that air is at the melting point.
  elemental subroutine melt(mass, t, rain, snow)
    real(r8), intent(in) :: mass
    real(r8), intent(inout) :: t, rain, snow
    real(r8) :: melted

    if (snow <= 0.0_r8 .or. t <= freezing) return
    melted = min(snow, heat_capacity * (t - freezing) * mass / latent_fusion)
    t = t - latent_fusion * melted / (heat_capacity * mass)
    rain = rain + melted
    snow = snow - melted
  end subroutine melt

end module aqua_condensation
