!> Notices truncated netCDF files of the classic formats (CDF-1, 2 and 5): the netCDF library reads
!! zeros beyond their end and says nothing. The header tells where each variable lies; the file must
!! reach as far. Format: the netCDF User's Guide, "File Format Specifications". HDF5-based files are
!! left to the library, which notices by itself.
module classic_netcdf
  use, intrinsic :: iso_fortran_env, only: int64, int8
  implicit none (type, external)
  private

  public :: check_length, set_record_count

  !> Bytes of one value of the types 1 (byte) to 11 (unsigned 64-bit integer).
  integer, parameter :: type_bytes(11) = [1, 1, 2, 4, 4, 8, 1, 2, 4, 8, 8]

  !> A place in the header.
  type :: header_reader
    integer :: unit = -1
    integer(int64) :: position = 1    !! Of the next byte, from 1.
    integer :: count_bytes = 4        !! Width of counts: 8 in CDF-5.
    integer :: offset_bytes = 8       !! Width of file positions: 4 in CDF-1.
    logical :: failed = .false.       !! The file ended within the header, or it makes no sense.
  end type header_reader

contains

  !> error is '' if the file reaches as far as its header says.
  subroutine check_length(path, error)
    character(len=*), intent(in) :: path
    character(len=:), allocatable, intent(out) :: error
    type(header_reader) :: header
    integer(int64) :: needed, found
    integer :: failed, version
    character(len=120) :: text

    error = ''
    open (newunit=header%unit, file=path, access='stream', form='unformatted', status='old', &
          action='read', iostat=failed)
    if (failed /= 0) return
    if (int(next(header, 3)) == ichar('C') * 65536 + ichar('D') * 256 + ichar('F')) then
      version = int(next(header, 1))
      if (version == 5) header%count_bytes = 8
      if (version == 1) header%offset_bytes = 4
      needed = end_of_data(header)
      inquire (unit=header%unit, size=found)
      if (header%failed .or. found < needed) then
        write (text, '(2(a,i0),a)') 'the file is truncated: it has ', found, &
          ' bytes, its header needs ', needed, ' or more'
        error = path // ': ' // trim(text)
      end if
    end if
    close (header%unit)
  end subroutine check_length

  !> Gives a CDF-5 file that is not open the number of records that are whole, after writing one
  !! more has failed: the library counts a record as soon as its first value is written.
  subroutine set_record_count(path, n_record, done)
    character(len=*), intent(in) :: path
    integer, intent(in) :: n_record
    logical, intent(out) :: done
    ! after the four bytes of the format; most significant first
    integer, parameter :: position = 5, n_byte = 8
    integer :: unit, failed, i

    open (newunit=unit, file=path, access='stream', form='unformatted', status='old', &
          action='readwrite', iostat=failed)
    done = failed == 0
    if (.not. done) return
    write (unit, pos=position, &
           iostat=failed) [(char(ibits(int(n_record, int64), 8 * (n_byte - i), 8)), i = 1, n_byte)]
    done = failed == 0
    close (unit, iostat=failed)
    done = done .and. failed == 0
  end subroutine set_record_count

  !> Position after the last byte of the last variable without a record dimension.
  function end_of_data(header) result(position)
    type(header_reader), intent(inout) :: header
    integer(int64) :: position
    integer(int64), allocatable :: lengths(:)
    integer(int64) :: i, n_variable

    call skip(header, int(header%count_bytes, int64))    ! number of records
    call read_dimensions(header, lengths)
    call skip_attributes(header)
    position = header%position - 1_int64
    call skip(header, 4_int64)                           ! tag of the variable list
    n_variable = next(header, header%count_bytes)
    do i = 1, n_variable
      position = max(position, end_of_variable(header, lengths))
      if (header%failed) return
    end do
  end function end_of_data

  subroutine read_dimensions(header, lengths)
    type(header_reader), intent(inout) :: header
    integer(int64), allocatable, intent(out) :: lengths(:)
    integer(int64) :: i, n

    call skip(header, 4_int64)
    n = next(header, header%count_bytes)
    allocate (lengths(0))
    do i = 1, n
      call skip_text(header)
      lengths = [lengths, next(header, header%count_bytes)]
      if (header%failed) return
    end do
  end subroutine read_dimensions

  !> Reads one entry of the variable list; 0 for variables along the record dimension, whose length
  !! is 0 in the header.
  function end_of_variable(header, lengths) result(position)
    type(header_reader), intent(inout) :: header
    integer(int64), intent(in) :: lengths(:)
    integer(int64) :: position
    integer(int64) :: n_value, begin, i, n_dimension, dimension_id
    integer :: kind_of_number

    call skip_text(header)
    n_dimension = next(header, header%count_bytes)
    n_value = 1
    do i = 1, n_dimension
      dimension_id = next(header, header%count_bytes) + 1_int64
      if (dimension_id > size(lengths)) header%failed = .true.
      if (header%failed) exit
      n_value = n_value * lengths(dimension_id)
    end do
    call skip_attributes(header)
    kind_of_number = type_of_values(header)
    call skip(header, int(header%count_bytes, int64))    ! the size rounded up
    begin = next(header, header%offset_bytes)
    position = 0
    if (n_value > 0 .and. .not. header%failed) position = begin &
      + n_value * type_bytes(kind_of_number)
  end function end_of_variable

  subroutine skip_attributes(header)
    type(header_reader), intent(inout) :: header
    integer(int64) :: i, n, n_value
    integer :: kind_of_number

    call skip(header, 4_int64)
    n = next(header, header%count_bytes)
    do i = 1, n
      call skip_text(header)
      kind_of_number = type_of_values(header)
      n_value = next(header, header%count_bytes)
      call skip(header, padded(n_value * type_bytes(kind_of_number)))
      if (header%failed) return
    end do
  end subroutine skip_attributes

  function type_of_values(header) result(kind_of_number)
    type(header_reader), intent(inout) :: header
    integer :: kind_of_number

    kind_of_number = int(next(header, 4))
    if (kind_of_number >= 1 .and. kind_of_number <= size(type_bytes)) return
    header%failed = .true.
    kind_of_number = 1
  end function type_of_values

  subroutine skip_text(header)
    type(header_reader), intent(inout) :: header

    call skip(header, padded(next(header, header%count_bytes)))
  end subroutine skip_text

  subroutine skip(header, n_byte)
    type(header_reader), intent(inout) :: header
    integer(int64), intent(in) :: n_byte

    header%position = header%position + n_byte
  end subroutine skip

  !> The next unsigned number of n_byte bytes, most significant first; 0 after a failure.
  function next(header, n_byte) result(number)
    type(header_reader), intent(inout) :: header
    integer, intent(in) :: n_byte
    integer(int64) :: number
    integer(int8) :: bytes(n_byte)
    integer :: i, failed

    number = 0
    if (header%failed) return
    read (header%unit, pos=header%position, iostat=failed) bytes
    header%failed = failed /= 0
    if (header%failed) return
    header%position = header%position + n_byte
    do i = 1, n_byte
      number = ior(ishft(number, 8), iand(int(bytes(i), int64), 255_int64))
    end do
  end function next

  !> Rounded up to a multiple of 4 bytes, as the header is laid out.
  pure function padded(n_byte) result(n)
    integer(int64), intent(in) :: n_byte
    integer(int64) :: n

    n = (n_byte + 3_int64) / 4_int64 * 4_int64
  end function padded

end module classic_netcdf
