!> The variables of a package as the C interface lists them. A null handle has none.
module climlink_variables
  use, intrinsic :: iso_c_binding, only: c_f_pointer, c_int, c_int32_t, c_int64_t, c_ptr
  use climlink_c_api, only: c_role_input, c_role_output, c_text, climlink_variable_c, &
                            climlink_variable_count_c, climlink_variable_dims_c, &
                            climlink_variable_role_c
  use climlink_errors, only: climlink_ok
  implicit none (type, external)
  private

  public :: package_variable, variable_count, variable, has_variable, beyond_columns

  integer, parameter :: name_length = 256

  !> One entry of the manifest's lists of inputs and outputs.
  type :: package_variable
    character(len=:), allocatable :: name
    character(len=:), allocatable :: units
    character(len=:), allocatable :: role                    !! value, confidence, carried or start
    integer :: width = 0                                     !! Values per sample.
    integer, allocatable :: sizes(:)                         !! Of its dims; none for one value.
    character(len=name_length), allocatable :: dims(:)       !! Their names.
  end type package_variable

contains

  !> Number of inputs or outputs.
  function variable_count(handle, list) result(n)
    type(c_ptr), intent(in) :: handle                        !! An opened package, or null.
    integer(c_int), intent(in) :: list                       !! c_role_input or c_role_output.
    integer :: n
    integer(c_int32_t) :: count
    integer(c_int64_t) :: total_width

    n = 0
    if (climlink_variable_count_c(handle, list, count, total_width) == climlink_ok) n = int(count)
  end function variable_count

  !> Variable i, from 1 in the package's order; all of it '' or empty if there is none.
  function variable(handle, list, i) result(entry)
    type(c_ptr), intent(in) :: handle                        !! An opened package, or null.
    integer(c_int), intent(in) :: list                       !! c_role_input or c_role_output.
    integer, intent(in) :: i
    type(package_variable) :: entry
    type(c_ptr) :: name, units, role
    integer(c_int64_t) :: width, offset
    integer(c_int32_t) :: at

    entry%name = ''
    entry%units = ''
    entry%role = ''
    allocate (entry%sizes(0), entry%dims(0))
    at = int(i - 1, c_int32_t)
    if (climlink_variable_c(handle, list, at, name, units, width, offset) /= climlink_ok) return
    entry%name = c_text(name)
    entry%units = c_text(units)
    entry%width = int(width)
    if (climlink_variable_role_c(handle, list, at, role) == climlink_ok) entry%role = c_text(role)
    call take_dims(handle, list, at, entry)
  end function variable

  subroutine take_dims(handle, list, at, entry)
    type(c_ptr), intent(in) :: handle
    integer(c_int), intent(in) :: list
    integer(c_int32_t), intent(in) :: at                     !! From 0.
    type(package_variable), intent(inout) :: entry
    type(c_ptr) :: names, sizes
    type(c_ptr), pointer :: name(:)
    integer(c_int64_t), pointer :: extent(:)
    integer(c_int32_t) :: n
    integer :: k

    if (climlink_variable_dims_c(handle, list, at, n, names, sizes) /= climlink_ok) return
    if (n == 0) return
    call c_f_pointer(names, name, [n])
    call c_f_pointer(sizes, extent, [n])
    entry%sizes = int(extent)
    deallocate (entry%dims)
    allocate (entry%dims(n))
    do k = 1, n
      entry%dims(k) = c_text(name(k))
    end do
  end subroutine take_dims

  !> True if one of them has this name.
  function has_variable(handle, list, name) result(yes)
    type(c_ptr), intent(in) :: handle                        !! An opened package, or null.
    integer(c_int), intent(in) :: list                       !! c_role_input or c_role_output.
    character(len=*), intent(in) :: name
    logical :: yes
    type(package_variable) :: entry
    integer :: i

    yes = .false.
    do i = 1, variable_count(handle, list)
      entry = variable(handle, list, i)
      yes = entry%name == name
      if (yes) return
    end do
  end function has_variable

  !> The first value that is neither a number nor a profile per column, such as
  !! `the input sst [lat, lon]`; '' for none. What is carried may be of any shape: who keeps it need
  !! not know what it means.
  function beyond_columns(handle) result(text)
    type(c_ptr), intent(in) :: handle                        !! An opened package, or null.
    character(len=:), allocatable :: text
    character(len=*), parameter :: list_names(2) = [character(len=6) :: 'input', 'output']
    integer(c_int), parameter :: lists(2) = [c_role_input, c_role_output]
    type(package_variable) :: entry
    integer :: i, k, list

    text = ''
    do list = 1, 2
      do i = 1, variable_count(handle, lists(list))
        entry = variable(handle, lists(list), i)
        if (entry%role /= 'value' .or. size(entry%dims) == 0) cycle
        if (size(entry%dims) == 1 .and. entry%dims(1) == 'level') cycle
        text = 'the ' // trim(list_names(list)) // ' ' // entry%name // ' [' // trim(entry%dims(1))
        do k = 2, size(entry%dims)
          text = text // ', ' // trim(entry%dims(k))
        end do
        text = text // ']'
        return
      end do
    end do
  end function beyond_columns

end module climlink_variables
