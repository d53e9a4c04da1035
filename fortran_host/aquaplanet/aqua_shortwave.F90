!> Sunlight in a column: delta-Eddington layers joined by adding (Briegleb 1992, J. Geophys. Res. 97, 7603). The visible scatters by
!! air and cloud; the near infrared is absorbed by vapour in the k-distribution of Lacis and Hansen (1974, J. Atmos. Sci. 31, 118),
!! of which the weakest terms are joined. Ozone takes its share of the direct beam before (Lacis and Hansen, eq. 8 to 11).
module aqua_shortwave
  use aqua_constants, only: gravity, r8
  implicit none (type, external)
  private

  public :: shortwave, shortwave_result, term_weight

  integer, parameter :: n_term = 6
  integer, parameter :: visible = 1
  !> Shares of sunlight: the visible, then the near infrared by strength of absorption.
  real(r8), parameter :: term_weight(n_term) = [0.48_r8, 0.1670_r8, 0.2141_r8, 0.0584_r8, 0.0335_r8, 0.0470_r8]
  !> Absorption by vapour at 1000 hPa [m2/kg], a tenth of Lacis and Hansen's cm2/g.
  real(r8), parameter :: vapor_absorption(n_term) = [0.0_r8, 4.0e-6_r8, 2.4e-3_r8, 3.77e-2_r8, 0.195_r8, 2.5_r8]
  real(r8), parameter :: rayleigh_depth = 0.14_r8              !! Of the atmosphere in the visible, at 1000 hPa.
  real(r8), parameter :: reference_pressure = 1.0e5_r8
  real(r8), parameter :: largest_albedo = 0.999999_r8          !! Keeps the conservative limit regular.
  !> Single-scattering albedos in the visible and near infrared, and asymmetry, of droplets and crystals (Slingo 1989, J. Atmos.
  !! Sci. 46, 1419; Ebert and Curry 1992, J. Geophys. Res. 97, 3831; rounded band means).
  real(r8), parameter :: liquid_albedo(2) = [0.999999_r8, 0.990_r8], ice_albedo(2) = [0.999999_r8, 0.985_r8]
  real(r8), parameter :: liquid_asymmetry = 0.85_r8, ice_asymmetry = 0.78_r8
  real(r8), parameter :: ozone_cm = 1.0_r8 / 2.1415e-2_r8      !! cm NTP of 1 kg/m2 of ozone

  !> Fluxes in W/m2.
  type :: shortwave_result
    real(r8) :: direct(2) = 0.0_r8          !! Down at the surface, visible and near infrared.
    real(r8) :: diffuse(2) = 0.0_r8
    real(r8) :: net_surface = 0.0_r8        !! Absorbed by the surface.
    real(r8) :: net_top = 0.0_r8            !! Absorbed by all.
  end type shortwave_result

  !> One layer: reflection and transmission of direct and diffuse light, and what passes of the direct beam untouched.
  type :: layer
    real(r8) :: reflect_direct, transmit_direct, reflect, transmit, beam
  end type layer

contains

  !> heating [level] in W/m2 per layer. Call by day only.
  pure subroutine shortwave(solin, coszrs, albedo_direct, albedo_diffuse, p_mid, dp, vapor, ozone, liquid_depth, ice_depth, &
                            heating, result)
    real(r8), intent(in) :: solin                        !! Down at the top [W/m2]
    real(r8), intent(in) :: coszrs                       !! Cosine of the zenith angle, above 0
    real(r8), intent(in) :: albedo_direct(2), albedo_diffuse(2)      !! Visible and near infrared
    real(r8), intent(in) :: p_mid(:), dp(:)              !! [level], Pa
    real(r8), intent(in) :: vapor(:), ozone(:)           !! [level], kg/kg
    real(r8), intent(in) :: liquid_depth(:), ice_depth(:)            !! Optical depths of cloud [level]
    real(r8), intent(out) :: heating(:)
    type(shortwave_result), intent(out) :: result
    real(r8) :: net(size(dp) + 1), incoming, by_ozone(size(dp))
    type(layer) :: layers(size(dp))
    integer :: term, band, n, k

    n = size(dp)
    call ozone_absorption(solin, coszrs, dp, ozone, by_ozone)
    heating = by_ozone
    do term = 1, n_term
      band = merge(1, 2, term == visible)
      incoming = term_weight(term) * solin
      if (term == visible) incoming = incoming - sum(by_ozone)
      do k = 1, n
        layers(k) = make_layer(term, band, coszrs, p_mid(k), dp(k), vapor(k), liquid_depth(k), ice_depth(k))
      end do
      call add_layers(layers, incoming, albedo_direct(band), albedo_diffuse(band), net, result%direct(band), result%diffuse(band))
      heating = heating + net(:n) - net(2:)
      result%net_top = result%net_top + net(1)
    end do
    result%net_top = result%net_top + sum(by_ozone)
    result%net_surface = sum(result%direct * (1.0_r8 - albedo_direct) + result%diffuse * (1.0_r8 - albedo_diffuse))
  end subroutine shortwave

  !> Light absorbed by ozone in every layer from the direct beam [W/m2].
  pure subroutine ozone_absorption(solin, coszrs, dp, ozone, absorbed)
    real(r8), intent(in) :: solin, coszrs, dp(:), ozone(:)
    real(r8), intent(out) :: absorbed(:)
    real(r8) :: path, above, share, slant
    integer :: k

    slant = 35.0_r8 / sqrt(1224.0_r8 * coszrs**2 + 1.0_r8)
    path = 0.0_r8
    above = 0.0_r8
    do k = 1, size(dp)
      path = path + slant * ozone_cm * ozone(k) * dp(k) / gravity
      share = 0.02118_r8 * path / (1.0_r8 + 0.042_r8 * path + 0.000323_r8 * path**2) &
              + 1.082_r8 * path / (1.0_r8 + 138.6_r8 * path)**0.805_r8 + 0.0658_r8 * path / (1.0_r8 + (103.6_r8 * path)**3)
      absorbed(k) = solin * (share - above)
      above = share
    end do
  end subroutine ozone_absorption

  !> Scattering and absorption of a layer, delta-scaled (Joseph, Wiscombe and Weinman 1976, J. Atmos. Sci. 33, 2452).
  pure function make_layer(term, band, coszrs, p_mid, dp, vapor, liquid_depth, ice_depth) result(made)
    integer, intent(in) :: term, band
    real(r8), intent(in) :: coszrs, p_mid, dp, vapor, liquid_depth, ice_depth
    type(layer) :: made
    real(r8) :: depth, scattered, forward, albedo, asymmetry, rayleigh

    rayleigh = 0.0_r8
    if (term == visible) rayleigh = rayleigh_depth * dp / reference_pressure
    depth = rayleigh + liquid_depth + ice_depth + vapor_absorption(term) * vapor * dp / gravity * p_mid / reference_pressure
    if (depth < 1.0e-9_r8) then
      made = layer(0.0_r8, 1.0_r8, 0.0_r8, 1.0_r8, 1.0_r8)
      return
    end if
    scattered = rayleigh + liquid_albedo(band) * liquid_depth + ice_albedo(band) * ice_depth
    albedo = min(scattered / depth, largest_albedo)
    asymmetry = (liquid_asymmetry * liquid_albedo(band) * liquid_depth + ice_asymmetry * ice_albedo(band) * ice_depth) &
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
    real(r8) :: lambda, u, alpha, gamma, below, norm, rise, resonance

    made%beam = exp(-depth / coszrs)
    if (albedo < 1.0e-6_r8) then
      ! Nothing scatters: diffuse light passes at the mean angle of the Eddington approximation.
      lambda = exp(-sqrt(3.0_r8) * depth)
      made = layer(0.0_r8, made%beam, 0.0_r8, lambda, made%beam)
      return
    end if
    lambda = sqrt(3.0_r8 * (1.0_r8 - albedo) * (1.0_r8 - albedo * asymmetry))
    resonance = 1.0_r8 - (lambda * coszrs)**2
    if (abs(resonance) < 1.0e-6_r8) resonance = 1.0e-6_r8
    u = 1.5_r8 * (1.0_r8 - albedo * asymmetry) / lambda
    alpha = 0.75_r8 * albedo * coszrs * (1.0_r8 + asymmetry * (1.0_r8 - albedo)) / resonance
    gamma = 0.5_r8 * albedo * (1.0_r8 + 3.0_r8 * asymmetry * (1.0_r8 - albedo) * coszrs**2) / resonance
    rise = exp(min(lambda * depth, 50.0_r8))
    below = 1.0_r8 / rise
    norm = (u + 1.0_r8)**2 * rise - (u - 1.0_r8)**2 * below
    made%reflect = (u + 1.0_r8) * (u - 1.0_r8) * (rise - below) / norm
    made%transmit = 4.0_r8 * u / norm
    made%reflect_direct = (alpha - gamma) * made%transmit * made%beam + (alpha + gamma) * made%reflect - (alpha - gamma)
    made%transmit_direct = (alpha + gamma) * made%transmit + (alpha - gamma) * made%reflect * made%beam &
                           - (alpha + gamma - 1.0_r8) * made%beam
    made%reflect_direct = min(max(made%reflect_direct, 0.0_r8), 1.0_r8)
    made%transmit_direct = min(max(made%transmit_direct, made%beam), 1.0_r8 - made%reflect_direct)
  end function eddington_layer

  !> Net downward flux at interfaces [W/m2]; direct and diffuse light at the surface are added to what is there (Briegleb 1992, eq.
  !! 11 to 15).
  pure subroutine add_layers(layers, incoming, albedo_direct, albedo_diffuse, net, direct, diffuse)
    type(layer), intent(in) :: layers(:)
    real(r8), intent(in) :: incoming, albedo_direct, albedo_diffuse
    real(r8), intent(out) :: net(:)
    real(r8), intent(inout) :: direct, diffuse
    real(r8), dimension(size(layers) + 1) :: beam, total, from_above, below_direct, below
    real(r8) :: bounce, down, up
    integer :: k, n

    n = size(layers)
    beam(1) = 1.0_r8
    total(1) = 1.0_r8
    from_above(1) = 0.0_r8
    do k = 1, n
      associate (l => layers(k))
        bounce = l%transmit / (1.0_r8 - from_above(k) * l%reflect)
        total(k + 1) = beam(k) * l%transmit_direct + (total(k) - beam(k) + beam(k) * l%reflect_direct * from_above(k)) * bounce
        from_above(k + 1) = l%reflect + l%transmit * from_above(k) * bounce
        beam(k + 1) = beam(k) * l%beam
      end associate
    end do
    below_direct(n + 1) = albedo_direct
    below(n + 1) = albedo_diffuse
    do k = n, 1, -1
      associate (l => layers(k))
        bounce = l%transmit / (1.0_r8 - l%reflect * below(k + 1))
        below_direct(k) = l%reflect_direct + ((l%transmit_direct - l%beam) * below(k + 1) + l%beam * below_direct(k + 1)) * bounce
        below(k) = l%reflect + l%transmit * below(k + 1) * bounce
      end associate
    end do
    do k = 1, n + 1
      bounce = 1.0_r8 / (1.0_r8 - from_above(k) * below(k))
      up = (beam(k) * below_direct(k) + (total(k) - beam(k)) * below(k)) * bounce
      down = beam(k) + (total(k) - beam(k) + beam(k) * below_direct(k) * from_above(k)) * bounce
      net(k) = incoming * (down - up)
    end do
    direct = direct + incoming * beam(n + 1)
    diffuse = diffuse + incoming * (down - beam(n + 1))
  end subroutine add_layers

end module aqua_shortwave
