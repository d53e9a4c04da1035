!> Packed rows of float32 in raw files: [row, width] in C order, which is [width, row] here.
module raw_rows
  use, intrinsic :: iso_fortran_env, only: int64, real32
  implicit none (type, external)
  private

  public :: rows_of_rank, check_size, read_rows, write_rows

  integer, parameter :: bytes_per_value = 4

contains

  !> The contiguous share of one rank: counts differ by at most one, and ranks may have none.
  pure subroutine rows_of_rank(n_row, rank, n_rank, first, count)
    integer, intent(in) :: n_row
    integer, intent(in) :: rank      !! From 0.
    integer, intent(in) :: n_rank
    integer, intent(out) :: first    !! First row of this rank, from 1.
    integer, intent(out) :: count
    integer :: extra

    extra = mod(n_row, n_rank)
    count = n_row / n_rank + merge(1, 0, rank < extra)
    first = rank * (n_row / n_rank) + min(rank, extra) + 1
  end subroutine rows_of_rank

  !> error is '' if the file holds exactly n_row rows of this width.
  subroutine check_size(path, width, n_row, error)
    character(len=*), intent(in) :: path
    integer, intent(in) :: width, n_row
    character(len=:), allocatable, intent(out) :: error
    integer(int64) :: found, expected
    character(len=160) :: text

    error = ''
    expected = int(width, int64) * n_row * bytes_per_value
    inquire (file=path, size=found)
    if (found == expected) return
    if (found < 0) then
      error = path // ': there is no such file'
      return
    end if
    write (text, '(4(i0,a))') found, ' bytes; expected ', expected, ' for ', n_row, ' rows of ', &
      width, ' float32 values'
    error = path // ': the file has ' // trim(text)
  end subroutine check_size

  !> Reads rows first .. first+size(rows, 2)-1.
  subroutine read_rows(path, first, rows, error)
    character(len=*), intent(in) :: path
    integer, intent(in) :: first
    real(real32), contiguous, intent(out) :: rows(:, :)         !! [width, row]
    character(len=:), allocatable, intent(out) :: error
    character(len=256) :: message
    integer(int64) :: position
    integer :: unit, failed

    error = ''
    if (size(rows) == 0) return
    position = 1_int64 + int(first - 1, int64) * size(rows, 1) * bytes_per_value
    open (newunit=unit, file=path, access='stream', form='unformatted', status='old', &
          action='read', iostat=failed, iomsg=message)
    if (failed == 0) read (unit, pos=position, iostat=failed, iomsg=message) rows
    if (failed /= 0) error = path // ': ' // trim(message)
    if (failed == 0) close (unit)
  end subroutine read_rows

  !> Appends rows to a file opened for stream output.
  subroutine write_rows(unit, rows, error)
    integer, intent(in) :: unit
    real(real32), contiguous, intent(in) :: rows(:, :)          !! [width, row]
    character(len=:), allocatable, intent(out) :: error
    character(len=256) :: message
    integer :: failed

    error = ''
    write (unit, iostat=failed, iomsg=message) rows
    if (failed /= 0) error = trim(message)
  end subroutine write_rows

end module raw_rows
