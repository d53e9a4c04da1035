!> What a package says about itself, asked through its handle. Questions to a null handle get 0, '' or false.
module climlink_queries
  use, intrinsic :: iso_c_binding, only: c_int, c_int32_t, c_int64_t, c_ptr
  use climlink_c_api, only: c_text, climlink_variable_c, climlink_variable_count_c
  use climlink_errors, only: climlink_ok
  implicit none (type, external)
  private

  public :: variable_entry, variable_count, variable, has_variable

  !> One entry of the manifest's variable lists.
  type :: variable_entry
    character(len=:), allocatable :: name
    character(len=:), allocatable :: units
    integer :: width = 0
  end type variable_entry

contains

  !> Number of variables of a role.
  function variable_count(handle, role) result(n)
    type(c_ptr), intent(in) :: handle                    !! An opened package, or null.
    integer(c_int), intent(in) :: role                   !! c_role_input or c_role_output.
    integer :: n
    integer(c_int32_t) :: count
    integer(c_int64_t) :: total_width

    n = 0
    if (climlink_variable_count_c(handle, role, count, total_width) == climlink_ok) n = int(count)
  end function variable_count

  !> Variable i of a role, from 1 in the package's order; without name, units and width if there is none.
  function variable(handle, role, i) result(entry)
    type(c_ptr), intent(in) :: handle                    !! An opened package, or null.
    integer(c_int), intent(in) :: role                   !! c_role_input or c_role_output.
    integer, intent(in) :: i
    type(variable_entry) :: entry
    type(c_ptr) :: name, units
    integer(c_int64_t) :: width, offset

    entry%name = ''
    entry%units = ''
    if (climlink_variable_c(handle, role, int(i - 1, c_int32_t), name, units, width, offset) /= climlink_ok) return
    entry%name = c_text(name)
    entry%units = c_text(units)
    entry%width = int(width)
  end function variable

  !> True if the role has a variable of this name.
  function has_variable(handle, role, name) result(yes)
    type(c_ptr), intent(in) :: handle                    !! An opened package, or null.
    integer(c_int), intent(in) :: role                   !! c_role_input or c_role_output.
    character(len=*), intent(in) :: name
    logical :: yes
    type(variable_entry) :: entry
    integer :: i

    yes = .false.
    do i = 1, variable_count(handle, role)
      entry = variable(handle, role, i)
      yes = entry%name == name
      if (yes) return
    end do
  end function has_variable

end module climlink_queries
