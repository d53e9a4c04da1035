!> The reference physics: what an emulator of the embedded model replaces. A pure function of one
!! column; no memory between calls.
module aqua_column_physics
  use aqua_column_types, only: column_inputs, column_outputs
  use aqua_condensation, only: cloud_fraction_of, condense, precipitate, settle_phase
  use aqua_constants, only: gravity, heat_capacity, latent_fusion, r8, water_density
  use aqua_convection, only: convect, mix_momentum
  use aqua_longwave, only: longwave
  use aqua_physics_settings, only: physics_parameters
  use aqua_shortwave, only: shortwave, shortwave_result
  implicit none (type, external)
  private

  public :: reference_physics, freeze_convective, total_cover

  !> Share of snow in convective precipitation by the temperature of the lowest level: 1 below, 0
  !! above [K], as in ClimSim's files.
  real(r8), parameter :: all_snow = 268.0_r8, all_rain = 281.0_r8
  real(r8), parameter :: gram = 1.0e3_r8               !! [g/kg]
  real(r8), parameter :: liquid_absorption = 90.3_r8   !! Of longwave radiation (Stephens 1978, J.
                                                       !! Atmos. Sci. 35, 2123) [m2/kg]

contains

  !> All tendencies and fluxes of one column over dt [s]: radiation, convection, condensation,
  !! precipitation, one after the other.
  pure subroutine reference_physics(parameters, inputs, dt, outputs)
    type(physics_parameters), intent(in) :: parameters
    type(column_inputs), intent(in) :: inputs
    real(r8), intent(in) :: dt
    type(column_outputs), intent(inout) :: outputs
    real(r8), dimension(size(inputs%t)) :: t, q, liquid, ice, u, v, heating
    real(r8) :: convective, rain, snow, frozen, before, base_vapor
    integer :: top

    t = inputs%t
    q = inputs%q
    liquid = inputs%qc
    ice = inputs%qi
    u = inputs%u
    v = inputs%v
    call radiate(parameters, inputs, outputs, heating)
    t = t + dt * heating * gravity / (heat_capacity * inputs%dp)
    base_vapor = q(size(q))
    before = sum(liquid * inputs%dp) + sum(ice * inputs%dp)
    call convect(parameters, inputs%p_mid, inputs%dp, dt, t, q, liquid, ice, convective, top)
    before = (sum(liquid * inputs%dp) + sum(ice * inputs%dp) - before) / gravity
    call mix_momentum(parameters%convective_momentum, convective + before, base_vapor, inputs%dp, &
                      top, t, u, v)
    call condense(parameters%critical_humidity, inputs%p_mid, t, q, liquid, ice, outputs%cloud)
    call precipitate(parameters, inputs%p_mid, inputs%dp, dt, outputs%cloud, t, q, liquid, ice, &
                     rain, snow)
    call freeze_convective(inputs%dp, convective, top, t, frozen)
    call settle_phase(t, liquid, ice)

    outputs%dtdt = (t - inputs%t) / dt
    outputs%dqdt = (q - inputs%q) / dt
    outputs%dqcdt = (liquid - inputs%qc) / dt
    outputs%dqidt = (ice - inputs%qi) / dt
    outputs%dudt = (u - inputs%u) / dt
    outputs%dvdt = (v - inputs%v) / dt
    outputs%precl = (rain + snow) / (water_density * dt)
    outputs%precc = (convective + rain + snow) / (water_density * dt)
    outputs%precsc = (frozen + snow) / (water_density * dt)
  end subroutine reference_physics

  !> Radiative heating [level] in W/m2 per layer, of the state at the start, and the fluxes at both
  !! ends.
  pure subroutine radiate(parameters, inputs, outputs, heating)
    type(physics_parameters), intent(in) :: parameters
    type(column_inputs), intent(in) :: inputs
    type(column_outputs), intent(inout) :: outputs
    real(r8), intent(out) :: heating(:)
    real(r8), dimension(size(heating)) :: cloud, liquid, ice, by_sun, filled
    type(shortwave_result) :: sun
    real(r8) :: cover

    cloud = cloud_fraction_of(parameters%cloud_content, parameters%cloud_content_power, &
                              inputs%p_mid, inputs%t, inputs%qc, inputs%qi)
    cover = total_cover(cloud)
    ! All water is in the covered part. There a layer fills the share cloud / cover, and its water
    ! counts by the square root of that (Kiehl et al. 1996, NCAR/TN-420).
    filled = 0.0_r8
    if (cover > 0.0_r8) filled = parameters%cloud_uniformity * sqrt(cloud / cover) / cover
    liquid = filled * inputs%qc * inputs%dp / gravity
    ice = filled * inputs%qi * inputs%dp / gravity
    ! Crystals absorb longwave radiation, and scatter and absorb sunlight, after Ebert and Curry
    ! (1992, J. Geophys. Res. 97, 3831).
    call longwave(inputs%t, inputs%q, inputs%p_mid, inputs%dp, inputs%ozone, parameters%co2_ppm, &
                  cover, liquid_absorption * liquid &
                  + gram * (0.005_r8 + 1.0_r8 / parameters%ice_radius_um) * ice, inputs%lwup, &
                  heating, outputs%flwds, outputs%flut)
    outputs%flns = inputs%lwup - outputs%flwds
    if (inputs%coszrs > 0.0_r8 .and. inputs%solin > 0.0_r8) then
      ! Optical depth 3/2 water path / (density radius) of droplets.
      call shortwave(inputs%solin, inputs%coszrs, [inputs%asdir, inputs%aldir], &
                     [inputs%asdif, inputs%aldif], inputs%p_mid, inputs%dp, inputs%q, &
                     inputs%ozone, cover, 1.5_r8 * gram * liquid / parameters%liquid_radius_um, &
                     (0.003448_r8 + 2.431_r8 / parameters%ice_radius_um) * gram * ice, by_sun, sun)
      heating = heating + by_sun
    end if
    outputs%sols = sun%direct(1)
    outputs%soll = sun%direct(2)
    outputs%solsd = sun%diffuse(1)
    outputs%solld = sun%diffuse(2)
    outputs%netsw = outputs%sols * (1.0_r8 - inputs%asdir) &
                    + outputs%soll * (1.0_r8 - inputs%aldir) &
                    + outputs%solsd * (1.0_r8 - inputs%asdif) &
                    + outputs%solld * (1.0_r8 - inputs%aldif)
    outputs%fsnt = sun%net_top
  end subroutine radiate

  !> Share of the column under cloud: neighbours overlap as far as they can, layers with clear ones
  !! between them at random (Geleyn and Hollingsworth 1979, Contrib. Atmos. Phys. 52, 1).
  pure function total_cover(cloud) result(cover)
    real(r8), intent(in) :: cloud(:)                 !! Fraction [level]
    real(r8) :: cover
    real(r8) :: clear, above
    integer :: k

    clear = 1.0_r8
    above = 0.0_r8
    do k = 1, size(cloud)
      if (above < 1.0_r8) clear = clear * (1.0_r8 - max(cloud(k), above)) / (1.0_r8 - above)
      above = cloud(k)
    end do
    cover = 1.0_r8 - clear
  end function total_cover

  !> The part of convective precipitation that reaches the surface as snow [kg/m2] froze on its way:
  !! the heat goes evenly to the layers that convect.
  pure subroutine freeze_convective(dp, convective, top, t, frozen)
    real(r8), intent(in) :: dp(:), convective
    integer, intent(in) :: top                     !! Highest convecting level
    real(r8), intent(inout) :: t(:)
    real(r8), intent(out) :: frozen

    frozen = convective * min(1.0_r8, max(0.0_r8, (all_rain - t(size(t))) / (all_rain - all_snow)))
    if (frozen > 0.0_r8) t(top:) = t(top:) + latent_fusion * frozen &
      * gravity / (heat_capacity * sum(dp(top:)))
  end subroutine freeze_convective

end module aqua_column_physics
