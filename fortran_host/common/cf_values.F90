!> What the numbers of a netCDF variable mean by its attributes: packed values are unpacked in
!! real64. Values that are marked as missing, that were never written, or that lie outside the
!! variable's own limits are refused, with the place of the first.
!!
!! Source: CF conventions 1.11, sections 2.5.1 and 8.1; netCDF User's Guide, appendix A "Attribute
!! Conventions". climlink.data.netcdf does the same in Python.
module cf_values
  use, intrinsic :: iso_fortran_env, only: real32, real64
  use netcdf, only: nf90_byte, nf90_double, nf90_fill_double, nf90_fill_float, nf90_fill_int, &
                    nf90_fill_short, nf90_float, nf90_get_att, nf90_inquire_attribute, &
                    nf90_inquire_variable, nf90_int, nf90_noerr, nf90_short, nf90_ushort
  use netcdf_files, only: netcdf_file, problem
  implicit none (type, external)
  private

  public :: is_packed, apply_attributes

  character(len=*), parameter :: packing(2) = [character(len=12) :: 'scale_factor', 'add_offset']
  character(len=*), parameter :: marks(2) = [character(len=13) :: '_FillValue', 'missing_value']
  character(len=*), parameter :: limits(3) = &
    [character(len=11) :: 'valid_range', 'valid_min', 'valid_max']

  !> Numbers of one attribute; none if the variable has no such attribute.
  type :: numbers
    real(real64), allocatable :: values(:)
    integer :: kind_of_number = -1
  end type numbers

  !> A variable of a file, and what a message says of its two indices.
  type, extends(netcdf_file) :: subject
    integer :: variable = -1
    integer :: kind_of_number = -1      !! Of the stored values.
    character(len=:), allocatable :: name
    character(len=8) :: axes(2) = ''    !! '' for an index that does not count.
    integer :: first = 1                !! What the first index starts from in the file.
  end type subject

contains

  !> Whether integers stand for other numbers.
  function is_packed(file, variable) result(yes)
    class(netcdf_file), intent(in) :: file
    integer, intent(in) :: variable
    logical :: yes
    integer :: i

    yes = any([(nf90_inquire_attribute(file%id, variable, trim(packing(i))) == nf90_noerr, &
                i = 1, size(packing))])
  end function is_packed

  !> Turns stored values into those that are meant. Values from flag_from on are a flag of the
  !! variable: of them only those that were never written are refused. Values that are not finite
  !! are left to who uses them.
  subroutine apply_attributes(file, variable, name, axes, first, values, error, flag_from)
    class(netcdf_file), intent(in) :: file
    integer, intent(in) :: variable
    character(len=*), intent(in) :: name
    character(len=*), intent(in) :: axes(2)    !! What the indices count in a message; '': nothing.
    integer, intent(in) :: first               !! Place in the file of the first index 1, from 1.
    real(real64), intent(inout) :: values(:, :)
    character(len=:), allocatable, intent(out) :: error
    real(real64), intent(in), optional :: flag_from
    real(real64) :: stored(size(values, 1), size(values, 2))
    logical, dimension(size(values, 1), size(values, 2)) :: usable, bad
    type(subject) :: about
    type(numbers) :: found
    logical :: of_stored
    integer :: i

    about%path = file%path
    about%id = file%id
    about%variable = variable
    about%name = name
    about%axes = axes
    about%first = first
    error = problem(file%path, &
                    nf90_inquire_variable(file%id, variable, xtype=about%kind_of_number), name)
    if (len(error) == 0) call widen_unsigned(about, values)
    stored = values
    if (len(error) == 0) call unpack(about, values, error)
    if (len(error) > 0) return
    bad = never_written(about, stored)
    call refuse(about, stored, bad, &
                'are netCDF''s default fill value: nothing was written there', error)
    usable = .true.
    if (present(flag_from)) usable = .not. values >= flag_from
    do i = 1, size(marks)
      if (len(error) == 0) call read_numbers(about, trim(marks(i)), found, error)
      if (len(error) > 0) return
      bad = is_marked(stored, about%kind_of_number, found) .and. usable
      call refuse(about, stored, bad, 'equal its ' // trim(marks(i)), error)
    end do
    do i = 1, size(limits)
      if (len(error) == 0) call read_numbers(about, trim(limits(i)), found, error)
      if (len(error) > 0) return
      ! A limit of the stored type limits what is stored, any other what it stands for.
      of_stored = is_float(found%kind_of_number) .eqv. is_float(about%kind_of_number)
      bad = is_beyond(merge(stored, values, of_stored), trim(limits(i)), found) .and. usable
      call refuse(about, stored, bad, 'lie outside its ' // trim(limits(i)), error)
    end do
  end subroutine apply_attributes

  !> Classic files have no unsigned integers: _Unsigned = "true" says that negative ones are large.
  subroutine widen_unsigned(about, values)
    type(subject), intent(in) :: about
    real(real64), intent(inout) :: values(:, :)
    character(len=8) :: text
    integer :: length, bits

    if (nf90_inquire_attribute(about%id, about%variable, '_Unsigned', len=length) &
        /= nf90_noerr) return
    text = ''
    if (length > len(text)) return
    if (nf90_get_att(about%id, about%variable, '_Unsigned', text) /= nf90_noerr) return
    if (text(:4) /= 'true' .and. text(:4) /= 'True') return
    bits = 0
    if (about%kind_of_number == nf90_byte) bits = 8
    if (about%kind_of_number == nf90_short) bits = 16
    if (about%kind_of_number == nf90_int) bits = 32
    where (values < 0.0_real64 .and. bits > 0) values = values + 2.0_real64**bits
  end subroutine widen_unsigned

  subroutine unpack(about, values, error)
    type(subject), intent(in) :: about
    real(real64), intent(inout) :: values(:, :)
    character(len=:), allocatable, intent(out) :: error
    type(numbers) :: scale, offset

    call read_numbers(about, trim(packing(1)), scale, error)
    if (len(error) == 0) call read_numbers(about, trim(packing(2)), offset, error)
    if (len(error) > 0) return
    if (size(scale%values) > 0) values = values * scale%values(1)
    if (size(offset%values) > 0) values = values + offset%values(1)
  end subroutine unpack

  !> Reads an attribute; one that is text, or has too few numbers, is an error.
  subroutine read_numbers(about, attribute, found, error)
    type(subject), intent(in) :: about
    character(len=*), intent(in) :: attribute
    type(numbers), intent(out) :: found
    character(len=:), allocatable, intent(out) :: error
    integer :: length

    error = ''
    length = 0
    if (nf90_inquire_attribute(about%id, about%variable, attribute, xtype=found%kind_of_number, &
                               len=length) /= nf90_noerr) length = 0
    allocate (found%values(length))
    if (length == 0) return
    error = problem(about%path, nf90_get_att(about%id, about%variable, attribute, found%values), &
                    about%name // ': ' // attribute)
    if (len(error) == 0 .and. attribute == 'valid_range' .and. length /= 2) then
      error = about%path // ': ' // about%name // ': valid_range has not two numbers'
    end if
  end subroutine read_numbers

  !> Where the default fill value stands; integers with a _FillValue, and bytes, have none.
  function never_written(about, stored) result(found)
    type(subject), intent(in) :: about
    real(real64), intent(in) :: stored(:, :)
    logical :: found(size(stored, 1), size(stored, 2))
    real(real64) :: fill

    found = .false.
    if (about%kind_of_number == nf90_double) then
      fill = nf90_fill_double
    else if (about%kind_of_number == nf90_float) then
      fill = real(nf90_fill_float, real64)
    else if (nf90_inquire_attribute(about%id, about%variable, '_FillValue') == nf90_noerr) then
      return
    else if (about%kind_of_number == nf90_int) then
      fill = real(nf90_fill_int, real64)
    else if (about%kind_of_number == nf90_short) then
      fill = real(nf90_fill_short, real64)
    else if (about%kind_of_number == nf90_ushort) then
      fill = 65535.0_real64
    else
      return
    end if
    found = are_equal(stored, fill, 0.0_real64)
  end function never_written

  !> Where the stored values are one of the marks, in the narrower of two floating-point types.
  pure function is_marked(stored, kind_of_number, found) result(marked)
    real(real64), intent(in) :: stored(:, :)
    integer, intent(in) :: kind_of_number
    type(numbers), intent(in) :: found
    logical :: marked(size(stored, 1), size(stored, 2))
    real(real64) :: tolerance
    integer :: i

    tolerance = 0.0_real64
    if (found%kind_of_number == nf90_float .and. kind_of_number == nf90_double) then
      tolerance = real(epsilon(1.0_real32), real64)
    end if
    marked = .false.
    do i = 1, size(found%values)
      marked = marked .or. are_equal(stored, found%values(i), tolerance * abs(found%values(i)))
    end do
  end function is_marked

  pure elemental function are_equal(a, b, tolerance) result(yes)
    real(real64), intent(in) :: a, b, tolerance
    logical :: yes

    yes = abs(a - b) <= tolerance
  end function are_equal

  pure function is_beyond(values, limit, found) result(beyond)
    real(real64), intent(in) :: values(:, :)
    character(len=*), intent(in) :: limit
    type(numbers), intent(in) :: found
    logical :: beyond(size(values, 1), size(values, 2))

    beyond = .false.
    if (size(found%values) == 0) return
    if (limit /= 'valid_max') beyond = values < found%values(1)
    if (limit /= 'valid_min') beyond = beyond .or. values > found%values(size(found%values))
  end function is_beyond

  pure function is_float(kind_of_number) result(yes)
    integer, intent(in) :: kind_of_number
    logical :: yes

    yes = kind_of_number == nf90_double .or. kind_of_number == nf90_float
  end function is_float

  !> Says how many values are bad and which is the first, by the first index, then the second, both
  !! counted from 1.
  subroutine refuse(about, stored, bad, why, error)
    type(subject), intent(in) :: about
    real(real64), intent(in) :: stored(:, :)
    logical, intent(in) :: bad(:, :)
    character(len=*), intent(in) :: why
    character(len=:), allocatable, intent(inout) :: error
    character(len=24) :: number
    character(len=:), allocatable :: place
    integer :: at(2), i

    error = ''
    if (.not. any(bad)) return
    at(1) = findloc(any(bad, dim=2), .true., dim=1)
    at(2) = findloc(bad(at(1), :), .true., dim=1)
    write (number, '(i0)') count(bad)
    error = about%path // ': ' // about%name // ': ' // trim(number) // ' value(s) ' // why // &
            ', the first ('
    write (number, '(1p,g0.7)') stored(at(1), at(2))
    error = error // trim(adjustl(number)) // ')'
    place = ''
    do i = 1, size(at)
      if (len_trim(about%axes(i)) == 0) cycle
      write (number, '(1x,i0)') at(i) + merge(about%first - 1, 0, i == 1)
      place = place // ', ' // trim(about%axes(i)) // trim(number)
    end do
    if (len(place) > 0) error = error // ' in ' // place(3:) // ' (counted from 1)'
  end subroutine refuse

end module cf_values
