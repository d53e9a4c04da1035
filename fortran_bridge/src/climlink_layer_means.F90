!> Columns of layer means: their profiles, averages of these over other layers, and the borrowing of
!! mass between layers. Layers go top down, edges increase.
!!
!! In a layer the profile is linear, with the slope of Colella and Woodward (1984, J. Comput. Phys.
!! 54, eqs. 1.7 and 1.8), which holds the layer's ends between the means of its neighbours (van Leer
!! 1977, J. Comput. Phys. 23); the first and the last layer are constant. That is of second order
!! where the profile is smooth and has no extreme.
module climlink_layer_means
  use, intrinsic :: iso_fortran_env, only: real64
  implicit none (type, external)
  private

  public :: limited_rise, average_shared, borrow

contains

  !> How much a column's profile rises from the top to the bottom of each layer.
  pure subroutine limited_rise(edges, values, rise)
    real(real64), intent(in) :: edges(:)        !! [level + 1]
    real(real64), intent(in) :: values(:)       !! [level]
    real(real64), intent(out) :: rise(:)        !! [level]
    real(real64) :: up, here, down, above, below, centred
    integer :: k

    rise = 0.0_real64
    do k = 2, size(values) - 1
      above = values(k) - values(k - 1)
      below = values(k + 1) - values(k)
      if ((above > 0.0_real64) .neqv. (below > 0.0_real64)) cycle
      up = edges(k) - edges(k - 1)
      here = edges(k + 1) - edges(k)
      down = edges(k + 2) - edges(k + 1)
      centred = here / (up + here + down) * ((2.0_real64 * up + here) / (here + down) * below &
                                             + (here + 2.0_real64 * down) / (up + here) * above)
      rise(k) = sign(min(abs(centred), 2.0_real64 * abs(above), 2.0_real64 * abs(below)), above)
    end do
  end subroutine limited_rise

  !> Means of a column over what each layer between targets shares with it; 0 where that is nothing.
  pure subroutine average_shared(edges, values, rise, targets, means)
    real(real64), intent(in) :: edges(:)              !! [level + 1]
    real(real64), intent(in) :: values(:), rise(:)    !! [level]
    real(real64), intent(in) :: targets(:)            !! [target level + 1]
    real(real64), intent(out) :: means(:)             !! [target level]
    real(real64) :: top, bottom, part, first, low, high, shared, deviation
    integer :: j, k, start

    means = 0.0_real64
    start = 1
    do k = 1, size(means)
      shared = 0.0_real64
      do j = start, size(values)
        top = max(edges(j), targets(k))
        bottom = min(edges(j + 1), targets(k + 1))
        if (edges(j) >= targets(k + 1)) exit
        start = j
        if (bottom <= top) cycle
        part = part_mean(edges, values, rise(j), j, top, bottom)
        if (shared > 0.0_real64) then
          low = min(low, part)
          high = max(high, part)
        else
          first = part
          low = part
          high = part
          deviation = 0.0_real64
        end if
        ! Sums of deviations, so that a constant stays what it is.
        deviation = deviation + (bottom - top) * (part - first)
        shared = shared + (bottom - top)
      end do
      if (.not. shared > 0.0_real64) cycle
      means(k) = first
      if (high > low) means(k) = min(max(first + deviation / shared, low), high)
    end do
  end subroutine average_shared

  !> Mean of layer j between two pressures in it, held between its neighbours against rounding.
  pure function part_mean(edges, values, rise, j, top, bottom) result(mean)
    real(real64), intent(in) :: edges(:), values(:), rise, top, bottom
    integer, intent(in) :: j
    real(real64) :: mean
    integer :: near(2)

    mean = values(j)
    if (top <= edges(j) .and. bottom >= edges(j + 1)) return
    near = [max(j - 1, 1), min(j + 1, size(values))]
    mean = mean + rise * (0.5_real64 * ((top - edges(j)) - (edges(j + 1) - bottom)) &
                          / (edges(j + 1) - edges(j)))
    mean = min(max(mean, minval(values(near(1):near(2)))), maxval(values(near(1):near(2))))
  end function part_mean

  !> Keeps q + dt * tendency from falling below min(q, 0): a layer that lost too much borrows from
  !! the next one below, then from the lowest layer upward. The sum of tendency * thickness stays;
  !! what the column does not have is left to the lowest layer.
  pure subroutine borrow(thickness, q, dt, tendency)
    real(real64), intent(in) :: thickness(:)       !! [level], [Pa]
    real(real64), intent(in) :: q(:)               !! [level], [kg/kg]
    real(real64), intent(in) :: dt                 !! [s]
    real(real64), intent(inout) :: tendency(:)     !! [level], [kg/kg/s]
    integer :: k

    do k = 1, size(q) - 1
      call lend(thickness, q, dt, tendency, k, k + 1)
    end do
    do k = size(q), 2, -1
      call lend(thickness, q, dt, tendency, k, k - 1)
    end do
    do k = 1, size(q) - 1
      call lend(thickness, q, dt, tendency, k, k + 1)
    end do
  end subroutine borrow

  !> Gives a layer what it falls short by.
  pure subroutine lend(thickness, q, dt, tendency, layer, lender)
    real(real64), intent(in) :: thickness(:), q(:), dt
    real(real64), intent(inout) :: tendency(:)
    integer, intent(in) :: layer, lender
    real(real64) :: least

    if (q(layer) + dt * tendency(layer) >= min(q(layer), 0.0_real64)) return
    ! A little above -q/dt: q + dt * least is not negative by rounding.
    least = -(max(q(layer), 0.0_real64) / dt) * (1.0_real64 - 2.0_real64 * epsilon(dt))
    tendency(lender) = tendency(lender) &
      - (least - tendency(layer)) * (thickness(layer) / thickness(lender))
    tendency(layer) = least
  end subroutine lend

end module climlink_layer_means
