!> Conservative transport along one line of cells, in mass: the tracer that crosses a face is what
!! lies within the crossing mass of air upstream of it, by the piecewise parabolic method (Colella
!! and Woodward 1984, J. Comput. Phys. 54, 174). A crossing mass may span many cells, so there is no
!! limit on the Courant number (Lin and Rood 1996, Mon. Wea. Rev. 124, 2046). One routine serves
!! longitude, latitude and the vertical.
module aqua_remap
  use aqua_constants, only: r8
  implicit none (type, external)
  private

  public :: advance_line

  integer, parameter, public :: n_tracer = 3         !! Vapour, cloud liquid and cloud ice.

contains

  !> Moves tracers along a line. Air crosses from cell i to i + 1 (from the last to the first of a
  !! periodic line; the last face of a closed line is a wall, its flux 0). mass and q are updated.
  !! failed is true if a cell would lose all of its air.
  pure subroutine advance_line(n, periodic, crossing, mass, q, failed)
    integer, intent(in) :: n               !! Cells
    logical, intent(in) :: periodic
    real(r8), intent(in) :: crossing(n)    !! [face], in the units of mass, positive toward higher i
    real(r8), intent(inout) :: mass(n)     !! [cell]
    real(r8), intent(inout) :: q(n_tracer, n)  !! [tracer, cell], mixing ratio
    logical, intent(out) :: failed
    real(r8) :: left(n_tracer, n), right(n_tracer, n), flux(n_tracer, 0:n)
    real(r8) :: content(n_tracer), new_mass
    integer :: i

    call edge_values(n, periodic, q, left, right)
    do i = 1, n
      flux(:, i) = carried(n, i, periodic, crossing(i), mass, q, left, right)
    end do
    flux(:, 0) = flux(:, n)
    failed = .false.
    do i = 1, n
      content = q(:, i) * mass(i) + flux(:, i - 1) - flux(:, i)
      new_mass = mass(i) + crossing(merge(n, i - 1, i == 1)) - crossing(i)
      failed = failed .or. .not. new_mass > 0.0_r8
      mass(i) = new_mass
      ! Rounding leaves at most a few units in the last place below zero where all of a tracer has
      ! left.
      q(:, i) = max(content / new_mass, 0.0_r8)
    end do
  end subroutine advance_line

  !> Tracer carried through face i by a crossing mass of air.
  pure function carried(n, i, periodic, crossing, mass, q, left, right) result(flux)
    integer, intent(in) :: n, i
    logical, intent(in) :: periodic
    real(r8), intent(in) :: crossing, mass(n)
    real(r8), intent(in), dimension(n_tracer, n) :: q, left, right
    real(r8) :: flux(n_tracer)
    real(r8) :: remaining, taken, x
    integer :: cell

    flux = 0.0_r8
    remaining = abs(crossing)
    cell = merge(i, i + 1, crossing > 0.0_r8)
    do while (remaining > 0.0_r8)
      if (cell < 1 .or. cell > n) then
        if (.not. periodic) exit
        cell = merge(n, 1, cell < 1)
      end if
      taken = min(remaining, mass(cell))
      x = taken / mass(cell)
      if (crossing > 0.0_r8) then
        flux = flux + taken * (right(:, cell) - 0.5_r8 * x * (right(:, cell) - left(:, cell) &
               - (1.0_r8 - 2.0_r8 / 3.0_r8 * x) * (6.0_r8 * q(:, cell) &
                                                   - 3.0_r8 * (left(:, cell) + right(:, cell)))))
        cell = cell - 1
      else
        flux = flux - taken * (left(:, cell) + 0.5_r8 * x * (right(:, cell) - left(:, cell) &
               + (1.0_r8 - 2.0_r8 / 3.0_r8 * x) * (6.0_r8 * q(:, cell) &
                                                   - 3.0_r8 * (left(:, cell) + right(:, cell)))))
        cell = cell + 1
      end if
      remaining = remaining - taken
    end do
  end function carried

  !> Monotone parabolas: edge values of fourth order, kept between the neighbours' means (Colella
  !! and Woodward 1984, eq. 1.6 on an even line and 1.10). The first and last cell of a closed line
  !! are constant toward the wall.
  pure subroutine edge_values(n, periodic, q, left, right)
    integer, intent(in) :: n
    logical, intent(in) :: periodic
    real(r8), intent(in) :: q(n_tracer, n)
    real(r8), intent(out), dimension(n_tracer, n) :: left, right
    real(r8), dimension(n_tracer) :: edge, below, above
    integer :: i, next

    do i = 1, n
      next = i + 1
      if (i == n) next = 1
      if (i == n .and. .not. periodic) then
        right(:, i) = q(:, i)
        left(:, 1) = q(:, 1)
        exit
      end if
      below = q(:, merge(i - 1, merge(n, 1, periodic), i > 1))
      above = q(:, merge(next + 1, merge(1, n, periodic), next < n))
      edge = 7.0_r8 / 12.0_r8 * (q(:, i) + q(:, next)) - 1.0_r8 / 12.0_r8 * (below + above)
      edge = max(min(q(:, i), q(:, next)), min(max(q(:, i), q(:, next)), edge))
      right(:, i) = edge
      left(:, next) = edge
    end do
    do i = 1, n
      call make_monotone(q(:, i), left(:, i), right(:, i))
    end do
  end subroutine edge_values

  elemental subroutine make_monotone(q, left, right)
    real(r8), intent(in) :: q
    real(r8), intent(inout) :: left, right
    real(r8) :: jump, bend

    jump = right - left
    bend = 6.0_r8 * (q - 0.5_r8 * (left + right))
    if ((right - q) * (q - left) <= 0.0_r8) then
      left = q
      right = q
    else if (jump * bend > jump**2) then
      left = 3.0_r8 * q - 2.0_r8 * right
    else if (jump * bend < -jump**2) then
      right = 3.0_r8 * q - 2.0_r8 * left
    end if
  end subroutine make_monotone

end module aqua_remap
