!> Winds and gradients in spectral space, through (1 - mu^2) dP(n)/dmu = (n + 1) eps(n) P(n-1) - n
!! eps(n+1) P(n+1), mu the sine of latitude (e.g. Machenhauer 1979, GARP Publications 17).
module aqua_winds
  use aqua_constants, only: earth_radius, r8
  use aqua_transform, only: spectral_transform
  implicit none (type, external)
  private

  public :: fill_synthesis, curl_of, divergence_of

contains

  !> What the grid needs of a state (vorticity, divergence, T, ln ps): u cos(lat), v cos(lat),
  !! vorticity, divergence, T by level; then ln ps and its derivatives by longitude and, times 1 -
  !! mu^2, by mu.
  subroutine fill_synthesis(transform, state, spectra)
    class(spectral_transform), intent(in) :: transform
    real(r8), intent(in) :: state(:, :, :)           !! [3 level + 1, 2, coefficient]
    real(r8), intent(out) :: spectra(:, :, :)        !! [5 level + 3, 2, coefficient]
    integer :: c, l

    l = (size(state, 1) - 1) / 3
    do c = 1, transform%n_coefficient
      call wind_from_state(transform, c, l, state, spectra(:2 * l, :, c))
      spectra(2 * l + 1:5 * l + 1, :, c) = state(:, :, c)
      spectra(5 * l + 2, 1, c) = -real(transform%zonal(c), r8) * state(3 * l + 1, 2, c)
      spectra(5 * l + 2, 2, c) = real(transform%zonal(c), r8) * state(3 * l + 1, 1, c)
      spectra(5 * l + 3, :, c) = sum_of_neighbours(transform, c, state(3 * l + 1:3 * l + 1, :, :), &
                                                   1)
    end do
  end subroutine fill_synthesis

  !> The coefficient of (1 - mu^2) df/dmu of a one-row field.
  pure function sum_of_neighbours(transform, c, field, row) result(derivative)
    class(spectral_transform), intent(in) :: transform
    integer, intent(in) :: c
    real(r8), intent(in) :: field(:, :, :)
    integer, intent(in) :: row
    real(r8) :: derivative(2)
    integer :: n

    n = transform%total(c)
    derivative = 0.0_r8
    if (n < transform%grid%truncation) derivative = real(n + 2, r8) * transform%epsilon(c + 1) &
      * field(row, :, c + 1)
    if (n > transform%zonal(c)) derivative = derivative - real(n - 1, r8) * transform%epsilon(c) &
      * field(row, :, c - 1)
  end function sum_of_neighbours

  !> u cos(lat) and v cos(lat) [2 level, 2] of one coefficient, from stream function and velocity
  !! potential.
  pure subroutine wind_from_state(transform, c, l, state, wind)
    class(spectral_transform), intent(in) :: transform
    integer, intent(in) :: c, l
    real(r8), intent(in) :: state(:, :, :)
    real(r8), intent(out) :: wind(:, :)
    real(r8) :: factor
    integer :: n

    n = transform%total(c)
    wind = 0.0_r8
    if (n > 0 .and. n <= transform%grid%truncation) then
      ! i m chi and i m psi, with chi and psi = -a^2 / (n (n+1)) times divergence and vorticity.
      factor = -earth_radius * real(transform%zonal(c), r8) / real(n * (n + 1), r8)
      wind(:l, 1) = -factor * state(l + 1:2 * l, 2, c)
      wind(:l, 2) = factor * state(l + 1:2 * l, 1, c)
      wind(l + 1:, 1) = -factor * state(:l, 2, c)
      wind(l + 1:, 2) = factor * state(:l, 1, c)
    end if
    if (n < transform%grid%truncation) then
      ! (n + 2) eps(n+1) psi(n+1)
      factor = -earth_radius * transform%epsilon(c + 1) / real(n + 1, r8)
      wind(:l, :) = wind(:l, :) - factor * state(:l, :, c + 1)
      wind(l + 1:, :) = wind(l + 1:, :) + factor * state(l + 1:2 * l, :, c + 1)
    end if
    if (n > transform%zonal(c) .and. n > 1) then
      ! (n - 1) eps(n) psi(n-1)
      factor = -earth_radius * transform%epsilon(c) / real(n, r8)
      wind(:l, :) = wind(:l, :) + factor * state(:l, :, c - 1)
      wind(l + 1:, :) = wind(l + 1:, :) - factor * state(l + 1:2 * l, :, c - 1)
    end if
  end subroutine wind_from_state

  !> Divergence [row, 2, coefficient] of vectors whose components divided by cos(lat) were analyzed.
  !! A product with dP/dmu was integrated by parts.
  subroutine divergence_of(transform, east, north, divergence)
    class(spectral_transform), intent(in) :: transform
    real(r8), intent(in) :: east(:, :, :), north(:, :, :)
    real(r8), intent(out) :: divergence(:, :, :)
    real(r8) :: im, up, down
    integer :: c, below, above

    do c = 1, transform%n_coefficient
      call factors(transform, c, im, up, down, below, above)
      divergence(:, 1, c) = -im * east(:, 2, c) - down * north(:, 1, below) &
        + up * north(:, 1, above)
      divergence(:, 2, c) = im * east(:, 1, c) - down * north(:, 2, below) + up * north(:, 2, above)
    end do
  end subroutine divergence_of

  !> The curl, likewise: the divergence of the vectors turned by a right angle.
  subroutine curl_of(transform, east, north, curl)
    class(spectral_transform), intent(in) :: transform
    real(r8), intent(in) :: east(:, :, :), north(:, :, :)
    real(r8), intent(out) :: curl(:, :, :)

    call divergence_of(transform, north, -east, curl)
  end subroutine curl_of

  !> Factors of derivatives of coefficient c [1/m]: m, n eps(n+1) and (n + 1) eps(n), with the
  !! coefficients of degree n - 1 and n + 1 where the latter two are not 0.
  pure subroutine factors(transform, c, im, up, down, below, above)
    class(spectral_transform), intent(in) :: transform
    integer, intent(in) :: c
    real(r8), intent(out) :: im, up, down
    integer, intent(out) :: below, above
    integer :: n

    n = transform%total(c)
    below = max(c - 1, 1)
    above = min(c + 1, transform%n_coefficient)
    im = real(transform%zonal(c), r8) / earth_radius
    up = 0.0_r8
    down = 0.0_r8
    if (n <= transform%grid%truncation) up = real(n, r8) * transform%epsilon(above) / earth_radius
    if (n > transform%zonal(c)) down = real(n + 1, r8) * transform%epsilon(c) / earth_radius
  end subroutine factors

end module aqua_winds
