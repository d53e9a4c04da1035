!> Sunlight in a column: delta-Eddington layers joined by adding (Briegleb 1992, J. Geophys. Res.
!! 97, 7603). The visible is scattered by air and cloud and absorbed by ozone; the near infrared is
!! absorbed by vapour and well-mixed gases in a k-distribution as that of Lacis and Hansen (1974, J.
!! Atmos. Sci. 31, 118), with strengths that grow with pressure from a floor. Ozone in the
!! ultraviolet (Lacis and Hansen, eq. 9 and 10) and oxygen take their share of the direct beam
!! before. The strengths were fitted to heating rates of 677 nearly cloudless columns of ClimSim's
!! low-resolution data by day (docs/embedded_model.md).
module aqua_shortwave
  use aqua_constants, only: gravity, r8
  implicit none (type, external)
  private

  public :: shortwave, shortwave_result, term_weight

  integer, parameter :: n_term = 6
  integer, parameter :: visible = 1                !! The term; the others are near infrared.
  !> Shares of sunlight: the visible, then the near infrared by strength of absorption. Oxygen above
  !! the stratopause has the rest.
  real(r8), parameter :: term_weight(n_term) = [0.4600_r8, 0.3282_r8, 0.1285_r8, 0.0445_r8, &
    0.0271_r8, 0.0114_r8]
  real(r8), parameter, public :: oxygen_weight = 0.0003_r8
  !> Absorption at 1000 hPa by vapour, and by well-mixed gases per mass of air [m2/kg].
  real(r8), parameter :: vapor_absorption(n_term) = [0.0_r8, 0.0_r8, 0.0424_r8, 0.582_r8, 3.66_r8, &
    12.7_r8]
  real(r8), parameter :: mixed_absorption(n_term) = [0.0_r8, 0.0_r8, 1.17e-8_r8, 1.19e-7_r8, &
    7.25e-5_r8, 1.24e-4_r8]
  !> Floor of the growth with pressure [1000 hPa].
  real(r8), parameter :: floor_pressure(n_term) = [0.0_r8, 0.0_r8, 0.0052_r8, 0.0054_r8, 0.137_r8, &
    0.961_r8]
  real(r8), parameter :: oxygen_absorption = 0.096_r8          !! [m2/kg of air]
  real(r8), parameter :: visible_ozone = 0.0604_r8             !! Absorption in the visible [1 / cm
                                                               !! NTP of ozone]
  real(r8), parameter :: rayleigh_depth = 0.125_r8              !! Of the atmosphere in the visible,
                                                                !! at 1000 hPa.
  real(r8), parameter :: reference_pressure = 1.0e5_r8
  real(r8), parameter :: largest_albedo = 0.999999_r8       !! Keeps the conservative limit regular.
  !> Single-scattering albedos by term, and asymmetry, of droplets of 12 and crystals of 35 um
  !! (Slingo 1989, J. Atmos. Sci. 46, 1419; Ebert and Curry 1992, J. Geophys. Res. 97, 3831). The
  !! shares of the terms are those of their bands: 0.69 to 1.19 um the first of the near infrared,
  !! to 2.38 um the next two, beyond it the others.
  real(r8), parameter :: liquid_albedo(n_term) = [0.999999_r8, 0.99972_r8, 0.985_r8, 0.985_r8, &
    0.71_r8, 0.71_r8]
  real(r8), parameter :: ice_albedo(n_term) = [0.999999_r8, 0.9994_r8, 0.952_r8, 0.952_r8, &
    0.53_r8, 0.53_r8]
  real(r8), parameter :: liquid_asymmetry = 0.85_r8, ice_asymmetry = 0.78_r8
  real(r8), parameter :: diffuse_path = sqrt(3.0_r8)           !! Of diffuse light in the Eddington
                                                               !! approximation [vertical].
  real(r8), parameter :: used_up = 40.0_r8                     !! Depth beyond which what is left is
                                                               !! lost in rounding.
  real(r8), parameter :: ozone_cm = 1.0_r8 / 2.1415e-2_r8      !! cm NTP of 1 kg/m2 of ozone

  !> Fluxes in W/m2.
  type :: shortwave_result
    real(r8) :: direct(2) = 0.0_r8          !! Down at the surface, visible and near infrared.
    real(r8) :: diffuse(2) = 0.0_r8
    real(r8) :: net_surface = 0.0_r8        !! Absorbed by the surface.
    real(r8) :: net_top = 0.0_r8            !! Absorbed by all.
  end type shortwave_result

  !> One layer: reflection and transmission of direct and diffuse light, and what passes of the
  !! direct beam untouched.
  type :: layer
    real(r8) :: reflect_direct, transmit_direct, reflect, transmit, beam
  end type layer

contains

  !> heating [level] in W/m2 per layer. Call by day only. A part of the column is covered by cloud;
  !! the rest is clear.
  pure subroutine shortwave(solin, coszrs, albedo_direct, albedo_diffuse, p_mid, dp, vapor, ozone, &
                            cover, liquid_depth, ice_depth, heating, result)
    real(r8), intent(in) :: solin                        !! Down at the top [W/m2]
    real(r8), intent(in) :: coszrs                       !! Cosine of the zenith angle, above 0
    real(r8), intent(in) :: albedo_direct(2), albedo_diffuse(2)      !! Visible and near infrared
    real(r8), intent(in) :: p_mid(:), dp(:)           !! [level], Pa
    real(r8), intent(in) :: vapor(:), ozone(:)        !! [level], kg/kg
    real(r8), intent(in) :: cover                     !! Share of the column that is covered, 0 to 1
    real(r8), intent(in) :: liquid_depth(:), ice_depth(:)       !! Optical depths of cloud in the
                                                                !! covered part [level]
    real(r8), intent(out) :: heating(:)
    type(shortwave_result), intent(out) :: result
    real(r8), dimension(size(dp)) :: before, cloud_depth, gas_depth, passed_beam, passed
    real(r8) :: net(size(dp) + 1), incoming
    type(layer) :: layers(size(dp))
    integer :: term, band, n, k

    n = size(dp)
    cloud_depth = liquid_depth + ice_depth
    call absorption_before(solin, coszrs, dp, ozone, before)
    heating = before
    do term = 1, n_term
      net = 0.0_r8
      incoming = term_weight(term) * solin
      if (term == visible) then
        band = 1
        incoming = incoming - (sum(before) - oxygen_weight * solin)
        gas_depth = visible_ozone * ozone_cm * ozone * dp / gravity
        do k = 1, n
          layers(k) = make_layer(term, coszrs, rayleigh_depth * dp(k) / reference_pressure, &
                                 gas_depth(k), 0.0_r8, 0.0_r8)
        end do
        call add_layers(layers, (1.0_r8 - cover) * incoming, albedo_direct(band), &
                        albedo_diffuse(band), net, result%direct(band), result%diffuse(band))
      else
        band = 2
        gas_depth = (vapor_absorption(term) * vapor + mixed_absorption(term)) * dp / gravity &
                    * (p_mid / reference_pressure + floor_pressure(term))
        passed_beam = exp(-min(gas_depth / coszrs, used_up))
        passed = exp(-min(diffuse_path * gas_depth, used_up))
        call absorb(passed_beam, passed, (1.0_r8 - cover) * incoming, albedo_direct(band), net, &
                    result%direct(band))
        do k = 1, n
          layers(k) = layer(0.0_r8, passed_beam(k), 0.0_r8, passed(k), passed_beam(k))
        end do
      end if
      if (cover > 0.0_r8) then
        do k = 1, n
          if (cloud_depth(k) <= 0.0_r8) cycle
          layers(k) = make_layer(term, coszrs, &
                                 merge(rayleigh_depth * dp(k) / reference_pressure, 0.0_r8, term &
                                       == visible), gas_depth(k), liquid_depth(k), ice_depth(k))
        end do
        call add_layers(layers, cover * incoming, albedo_direct(band), albedo_diffuse(band), net, &
                        result%direct(band), result%diffuse(band))
      end if
      heating = heating + net(:n) - net(2:)
      result%net_top = result%net_top + net(1)
    end do
    result%net_top = result%net_top + sum(before)
    result%net_surface = sum(result%direct * (1.0_r8 - albedo_direct) &
                             + result%diffuse * (1.0_r8 - albedo_diffuse))
  end subroutine shortwave

  !> Net downward flux at interfaces [W/m2] and direct light at the surface, added to what is there,
  !! where nothing scatters: the beam goes down, what the surface throws back goes up.
  pure subroutine absorb(passed_beam, passed, incoming, albedo_direct, net, direct)
    real(r8), intent(in) :: passed_beam(:), passed(:)    !! Share of direct and of diffuse light
                                                         !! that passes a layer [level]
    real(r8), intent(in) :: incoming, albedo_direct
    real(r8), intent(inout) :: net(:), direct
    real(r8) :: flux
    integer :: k, n

    n = size(passed)
    flux = incoming
    do k = 1, n
      net(k) = net(k) + flux
      flux = flux * passed_beam(k)
    end do
    direct = direct + flux
    net(n + 1) = net(n + 1) + flux
    flux = albedo_direct * flux
    net(n + 1) = net(n + 1) - flux
    do k = n, 1, -1
      flux = flux * passed(k)
      net(k) = net(k) - flux
    end do
  end subroutine absorb

  !> Light of the direct beam absorbed by ozone in the ultraviolet and by oxygen, in every layer
  !! [W/m2]. Oxygen's share is used up by the surface.
  pure subroutine absorption_before(solin, coszrs, dp, ozone, absorbed)
    real(r8), intent(in) :: solin, coszrs, dp(:), ozone(:)
    real(r8), intent(out) :: absorbed(:)
    real(r8) :: path, above, share, slant, air
    integer :: k

    slant = 35.0_r8 / sqrt(1224.0_r8 * coszrs**2 + 1.0_r8)
    path = 0.0_r8
    air = 0.0_r8
    above = 0.0_r8
    do k = 1, size(dp)
      path = path + slant * ozone_cm * ozone(k) * dp(k) / gravity
      air = air + slant * dp(k) / gravity
      share = 1.082_r8 * path / (1.0_r8 + 138.6_r8 * path)**0.805_r8 &
              + 0.0658_r8 * path / (1.0_r8 + (103.6_r8 * path)**3) &
              + oxygen_weight * (1.0_r8 - exp(-min(oxygen_absorption * air, used_up)))
      absorbed(k) = solin * (share - above)
      above = share
    end do
  end subroutine absorption_before

  !> Scattering and absorption of a layer, delta-scaled (Joseph, Wiscombe and Weinman 1976, J.
  !! Atmos. Sci. 33, 2452).
  pure function make_layer(term, coszrs, rayleigh, gas_depth, liquid_depth, ice_depth) result(made)
    integer, intent(in) :: term
    real(r8), intent(in) :: coszrs
    real(r8), intent(in) :: rayleigh                     !! Depth of scattering by air
    real(r8), intent(in) :: gas_depth                    !! Depth of absorption by gases
    real(r8), intent(in) :: liquid_depth, ice_depth
    type(layer) :: made
    real(r8) :: depth, scattered, forward, albedo, asymmetry

    depth = gas_depth + rayleigh + liquid_depth + ice_depth
    if (depth < 1.0e-9_r8) then
      made = layer(0.0_r8, 1.0_r8, 0.0_r8, 1.0_r8, 1.0_r8)
      return
    end if
    scattered = rayleigh + liquid_albedo(term) * liquid_depth + ice_albedo(term) * ice_depth
    albedo = min(scattered / depth, largest_albedo)
    asymmetry = (liquid_asymmetry * liquid_albedo(term) * liquid_depth &
                 + ice_asymmetry * ice_albedo(term) * ice_depth) &
                / max(scattered, tiny(1.0_r8))
    forward = asymmetry**2
    depth = (1.0_r8 - albedo * forward) * depth
    albedo = (1.0_r8 - forward) * albedo / (1.0_r8 - albedo * forward)
    asymmetry = asymmetry / (1.0_r8 + asymmetry)
    made = eddington_layer(depth, albedo, asymmetry, coszrs)
  end function make_layer

  !> The Eddington solution of a homogeneous layer (Briegleb 1992, eq. 3 to 10).
  pure function eddington_layer(depth, albedo, asymmetry, coszrs) result(made)
    real(r8), intent(in) :: depth, albedo, asymmetry, coszrs
    type(layer) :: made
    real(r8) :: lambda, u, alpha, gamma, below, norm, rise, cosine, resonance

    if (albedo < 1.0e-6_r8) then
      ! Nothing scatters.
      made%beam = exp(-min(depth / coszrs, used_up))
      lambda = exp(-min(diffuse_path * depth, used_up))
      made = layer(0.0_r8, made%beam, 0.0_r8, lambda, made%beam)
      return
    end if
    lambda = sqrt(3.0_r8 * (1.0_r8 - albedo) * (1.0_r8 - albedo * asymmetry))
    ! Where the beam fades as diffuse light does, the solution is a limit: the sun stands a little
    ! aside, beam and all.
    cosine = coszrs
    if (abs(1.0_r8 - (lambda * cosine)**2) < 1.0e-6_r8) cosine = (1.0_r8 - 1.0e-6_r8) * coszrs
    resonance = 1.0_r8 - (lambda * cosine)**2
    made%beam = exp(-min(depth / cosine, used_up))
    u = 1.5_r8 * (1.0_r8 - albedo * asymmetry) / lambda
    alpha = 0.75_r8 * albedo * cosine * (1.0_r8 + asymmetry * (1.0_r8 - albedo)) / resonance
    gamma = 0.5_r8 * albedo * (1.0_r8 + 3.0_r8 * asymmetry * (1.0_r8 - albedo) &
                               * cosine**2) / resonance
    rise = exp(min(lambda * depth, 50.0_r8))
    below = 1.0_r8 / rise
    norm = (u + 1.0_r8)**2 * rise - (u - 1.0_r8)**2 * below
    made%reflect = (u + 1.0_r8) * (u - 1.0_r8) * (rise - below) / norm
    made%transmit = 4.0_r8 * u / norm
    made%reflect_direct = (alpha - gamma) * made%transmit * made%beam &
      + (alpha + gamma) * made%reflect - (alpha - gamma)
    made%transmit_direct = (alpha + gamma) * made%transmit + (alpha - gamma) * made%reflect &
                           * made%beam &
                           - (alpha + gamma - 1.0_r8) * made%beam
    ! What is scattered is part of what the beam lost. Where more is absorbed than scattered the
    ! approximation reflects less than nothing; the direct light above needs it so.
    made%reflect = max(made%reflect, 0.0_r8)
    made%reflect_direct = min(max(made%reflect_direct, 0.0_r8), 1.0_r8 - made%beam)
    made%transmit_direct = max(min(made%transmit_direct, 1.0_r8 - made%reflect_direct), made%beam)
  end function eddington_layer

  !> Net downward flux at interfaces [W/m2], direct and diffuse light at the surface; all are added
  !! to what is there (Briegleb 1992, eq. 11 to 15).
  pure subroutine add_layers(layers, incoming, albedo_direct, albedo_diffuse, net, direct, diffuse)
    type(layer), intent(in) :: layers(:)
    real(r8), intent(in) :: incoming, albedo_direct, albedo_diffuse
    real(r8), intent(inout) :: net(:), direct, diffuse
    real(r8), dimension(size(layers) + 1) :: beam, scattered, from_above, below_direct, below
    real(r8) :: bounce, down, up            !! Down and up: diffuse light
    integer :: k, n

    n = size(layers)
    beam(1) = 1.0_r8
    scattered(1) = 0.0_r8
    from_above(1) = 0.0_r8
    do k = 1, n
      associate (l => layers(k))
        bounce = l%transmit / (1.0_r8 - from_above(k) * l%reflect)
        scattered(k + 1) = beam(k) * (l%transmit_direct - l%beam) &
          + (scattered(k) + beam(k) * l%reflect_direct * from_above(k)) * bounce
        from_above(k + 1) = l%reflect + l%transmit * from_above(k) * bounce
        beam(k + 1) = beam(k) * l%beam
      end associate
    end do
    below_direct(n + 1) = albedo_direct
    below(n + 1) = albedo_diffuse
    do k = n, 1, -1
      associate (l => layers(k))
        bounce = l%transmit / (1.0_r8 - l%reflect * below(k + 1))
        below_direct(k) = l%reflect_direct + ((l%transmit_direct - l%beam) * below(k + 1) &
                                              + l%beam * below_direct(k + 1)) * bounce
        below(k) = l%reflect + l%transmit * below(k + 1) * bounce
      end associate
    end do
    do k = 1, n + 1
      bounce = 1.0_r8 / (1.0_r8 - from_above(k) * below(k))
      up = (beam(k) * below_direct(k) + scattered(k) * below(k)) * bounce
      down = (scattered(k) + beam(k) * below_direct(k) * from_above(k)) * bounce
      net(k) = net(k) + incoming * (beam(k) + down - up)
    end do
    direct = direct + incoming * beam(n + 1)
    diffuse = diffuse + incoming * down
  end subroutine add_layers

end module aqua_shortwave
