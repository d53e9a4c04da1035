!> The variables of a package as the C interface lists them.
module climlink_variables
  use, intrinsic :: iso_c_binding, only: c_f_pointer, c_int, c_int32_t, c_int64_t, c_ptr
  use climlink_c_api, only: c_text, climlink_variable_c, climlink_variable_count_c, &
                            climlink_variable_dims_c, climlink_variable_role_c
  use climlink_errors, only: climlink_ok
  implicit none (type, external)
  private

  public :: climlink_variable, read_variables, no_variable, position_of, beyond_columns

  integer, parameter, public :: name_length = 256

  !> One entry of the manifest's lists of inputs and outputs.
  type :: climlink_variable
    character(len=:), allocatable :: name, units
    character(len=:), allocatable :: role                    !! value, confidence, carried or start
    integer :: width = 0                                     !! Values per sample.
    integer, allocatable :: sizes(:)                         !! Of its dims; none for one value.
    character(len=name_length), allocatable :: dims(:)       !! Their names, the last one fastest in
                                                             !! a row.
  end type climlink_variable

contains

  !> All inputs or outputs, in the package's order.
  function read_variables(handle, list) result(variables)
    type(c_ptr), intent(in) :: handle                        !! An opened package.
    integer(c_int), intent(in) :: list                       !! c_role_input or c_role_output.
    type(climlink_variable), allocatable :: variables(:)
    integer(c_int32_t) :: count, at
    integer(c_int64_t) :: total_width

    count = 0
    if (climlink_variable_count_c(handle, list, count, total_width) /= climlink_ok) count = 0
    allocate (variables(count))
    do at = 1, count
      call read_variable(handle, list, at - 1_c_int32_t, variables(at))
    end do
  end function read_variables

  subroutine read_variable(handle, list, at, entry)
    type(c_ptr), intent(in) :: handle
    integer(c_int), intent(in) :: list
    integer(c_int32_t), intent(in) :: at                     !! From 0.
    type(climlink_variable), intent(out) :: entry
    type(c_ptr) :: name, units, role, names, sizes
    type(c_ptr), pointer :: dim_name(:)
    integer(c_int64_t), pointer :: extent(:)
    integer(c_int64_t) :: width, offset
    integer(c_int32_t) :: n
    integer :: k

    entry = no_variable()
    if (climlink_variable_c(handle, list, at, name, units, width, offset) /= climlink_ok) return
    entry%name = c_text(name)
    entry%units = c_text(units)
    entry%width = int(width)
    if (climlink_variable_role_c(handle, list, at, role) == climlink_ok) entry%role = c_text(role)
    if (climlink_variable_dims_c(handle, list, at, n, names, sizes) /= climlink_ok) return
    if (n == 0) return
    call c_f_pointer(names, dim_name, [n])
    call c_f_pointer(sizes, extent, [n])
    entry%sizes = int(extent)
    deallocate (entry%dims)
    allocate (entry%dims(n))
    do k = 1, n
      entry%dims(k) = c_text(dim_name(k))
    end do
  end subroutine read_variable

  !> What there is where the package has no variable: texts '', no dims, width 0.
  pure function no_variable() result(entry)
    type(climlink_variable) :: entry

    entry%name = ''
    entry%units = ''
    entry%role = ''
    allocate (entry%sizes(0), entry%dims(0))
  end function no_variable

  !> Place of a name, from 1; 0 if none has it, also where the list is not allocated.
  pure function position_of(list, name) result(at)
    type(climlink_variable), intent(in), allocatable :: list(:)
    character(len=*), intent(in) :: name
    integer :: at

    if (allocated(list)) then
      do at = 1, size(list)
        if (list(at)%name == name) return
      end do
    end if
    at = 0
  end function position_of

  !> The first value that is neither a number nor a profile per column, such as `sst [lat, lon]`; ''
  !! for none. What is carried may be of any shape: who keeps it need not know what it means.
  pure function beyond_columns(list) result(text)
    type(climlink_variable), intent(in) :: list(:)
    character(len=:), allocatable :: text
    integer :: i, k

    text = ''
    do i = 1, size(list)
      associate (entry => list(i))
        if (entry%role /= 'value' .or. size(entry%dims) == 0) cycle
        if (size(entry%dims) == 1 .and. entry%dims(1) == 'level') cycle
        text = entry%name // ' [' // trim(entry%dims(1))
        do k = 2, size(entry%dims)
          text = text // ', ' // trim(entry%dims(k))
        end do
        text = text // ']'
        return
      end associate
    end do
  end function beyond_columns

end module climlink_variables
