!> What an opened package says about itself. A closed one answers 0, '' or false.
module climlink_queries
  use, intrinsic :: iso_c_binding, only: c_associated, c_int32_t, c_int64_t, c_null_ptr, c_ptr
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink_c_api, only: c_characters, c_role_input, c_role_output, c_text, climlink_carried_c, &
                            climlink_carried_count_c, climlink_constraints_off_c, &
                            climlink_device_c, climlink_digest_c, climlink_dim_size_c, &
                            climlink_golden_difference_c, climlink_host_postprocessing_c, &
                            climlink_level_count_c, climlink_manifest_c, climlink_time_step_c
  use climlink_errors, only: climlink_ok
  use climlink_variables, only: has_variable, package_variable, variable, variable_count
  implicit none (type, external)
  private

  public :: opened_package, handle_of, keep_handle

  !> One package, open or closed; climlink_emulator extends it by what a host does with a package.
  type :: opened_package
    private
    type(c_ptr) :: handle = c_null_ptr
  contains
    procedure :: is_open
    procedure :: n_input
    procedure :: n_output
    procedure :: input_name
    procedure :: input_width
    procedure :: input_units
    procedure :: input_dims
    procedure :: input_dim_names
    procedure :: input_role
    procedure :: output_name
    procedure :: output_width
    procedure :: output_units
    procedure :: output_dims
    procedure :: output_dim_names
    procedure :: output_role
    procedure :: has_input
    procedure :: has_output
    procedure :: dim_size
    procedure :: carried_count
    procedure :: carried_input
    procedure :: carried_output
    procedure :: level_count
    procedure :: time_step
    procedure :: golden_difference
    procedure :: digest
    procedure :: host_postprocessing
    procedure :: device
    procedure :: constraints_off
    procedure :: manifest
  end type opened_package

contains

  !> The package behind the C interface; null if closed. For the bridge's own modules.
  pure function handle_of(package) result(handle)
    class(opened_package), intent(in) :: package
    type(c_ptr) :: handle

    handle = package%handle
  end function handle_of

  !> Takes over what the C interface opened or closed. For the bridge's own modules.
  pure subroutine keep_handle(package, handle)
    class(opened_package), intent(inout) :: package
    type(c_ptr), intent(in) :: handle

    package%handle = handle
  end subroutine keep_handle

  !> True between a successful open and close.
  function is_open(self) result(yes)
    class(opened_package), intent(in) :: self
    logical :: yes

    yes = c_associated(self%handle)
  end function is_open

  !> Number of input variables; 0 if closed.
  function n_input(self) result(n)
    class(opened_package), intent(in) :: self
    integer :: n

    n = variable_count(self%handle, c_role_input)
  end function n_input

  !> Name of input variable i, from 1 in the package's order; '' if there is none.
  function input_name(self, i) result(name)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    character(len=:), allocatable :: name
    type(package_variable) :: entry

    entry = variable(self%handle, c_role_input, i)
    name = entry%name
  end function input_name

  !> Values per sample of input variable i, the product of its dims; 0 if there is none.
  function input_width(self, i) result(width)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    integer :: width
    type(package_variable) :: entry

    entry = variable(self%handle, c_role_input, i)
    width = entry%width
  end function input_width

  !> Units of input variable i; '' if there is none.
  function input_units(self, i) result(units)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    character(len=:), allocatable :: units
    type(package_variable) :: entry

    entry = variable(self%handle, c_role_input, i)
    units = entry%units
  end function input_units

  !> Sizes of the dims of input variable i; of size 0 for one value per sample.
  function input_dims(self, i) result(sizes)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    integer, allocatable :: sizes(:)
    type(package_variable) :: entry

    entry = variable(self%handle, c_role_input, i)
    sizes = entry%sizes
  end function input_dims

  !> Names of the dims of input variable i, the last one fastest in a row; of size 0 for one value.
  function input_dim_names(self, i) result(names)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    character(len=:), allocatable :: names(:)
    type(package_variable) :: entry

    entry = variable(self%handle, c_role_input, i)
    names = entry%dims
  end function input_dim_names

  !> Role of input variable i: value, carried or start; '' if there is none.
  function input_role(self, i) result(role)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    character(len=:), allocatable :: role
    type(package_variable) :: entry

    entry = variable(self%handle, c_role_input, i)
    role = entry%role
  end function input_role

  !> True if the package takes an input variable of this name.
  function has_input(self, name) result(yes)
    class(opened_package), intent(in) :: self
    character(len=*), intent(in) :: name
    logical :: yes

    yes = has_variable(self%handle, c_role_input, name)
  end function has_input

  !> Number of output variables; 0 if closed.
  function n_output(self) result(n)
    class(opened_package), intent(in) :: self
    integer :: n

    n = variable_count(self%handle, c_role_output)
  end function n_output

  !> Name of output variable i, from 1 in the package's order; '' if there is none.
  function output_name(self, i) result(name)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    character(len=:), allocatable :: name
    type(package_variable) :: entry

    entry = variable(self%handle, c_role_output, i)
    name = entry%name
  end function output_name

  !> Values per sample of output variable i, the product of its dims; 0 if there is none.
  function output_width(self, i) result(width)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    integer :: width
    type(package_variable) :: entry

    entry = variable(self%handle, c_role_output, i)
    width = entry%width
  end function output_width

  !> Units of output variable i; '' if there is none.
  function output_units(self, i) result(units)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    character(len=:), allocatable :: units
    type(package_variable) :: entry

    entry = variable(self%handle, c_role_output, i)
    units = entry%units
  end function output_units

  !> Sizes of the dims of output variable i; of size 0 for one value per sample.
  function output_dims(self, i) result(sizes)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    integer, allocatable :: sizes(:)
    type(package_variable) :: entry

    entry = variable(self%handle, c_role_output, i)
    sizes = entry%sizes
  end function output_dims

  !> Names of the dims of output variable i, the last one fastest in a row; of size 0 for one value.
  function output_dim_names(self, i) result(names)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    character(len=:), allocatable :: names(:)
    type(package_variable) :: entry

    entry = variable(self%handle, c_role_output, i)
    names = entry%dims
  end function output_dim_names

  !> Role of output variable i: value, confidence or carried; '' if there is none.
  function output_role(self, i) result(role)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    character(len=:), allocatable :: role
    type(package_variable) :: entry

    entry = variable(self%handle, c_role_output, i)
    role = entry%role
  end function output_role

  !> True if the package gives an output variable of this name.
  function has_output(self, name) result(yes)
    class(opened_package), intent(in) :: self
    character(len=*), intent(in) :: name
    logical :: yes

    yes = has_variable(self%handle, c_role_output, name)
  end function has_output

  !> Size of a named dimension, such as level; 0 if the package has none of that name.
  function dim_size(self, name) result(n)
    class(opened_package), intent(in) :: self
    character(len=*), intent(in) :: name
    integer :: n
    integer(c_int64_t) :: extent

    n = 0
    if (climlink_dim_size_c(self%handle, c_characters(name), extent) == climlink_ok) n = int(extent)
  end function dim_size

  !> Number of pairs of an output that is an input of the next step; 0 without carried state.
  function carried_count(self) result(n)
    class(opened_package), intent(in) :: self
    integer :: n
    integer(c_int32_t) :: count

    n = 0
    if (climlink_carried_count_c(self%handle, count) == climlink_ok) n = int(count)
  end function carried_count

  !> Input of carried pair i, from 1; '' if there is none.
  function carried_input(self, i) result(name)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    character(len=:), allocatable :: name
    type(c_ptr) :: output, input

    name = ''
    if (climlink_carried_c(self%handle, int(i - 1, c_int32_t), output, input) /= climlink_ok) return
    name = c_text(input)
  end function carried_input

  !> Output of carried pair i, from 1; '' if there is none.
  function carried_output(self, i) result(name)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    character(len=:), allocatable :: name
    type(c_ptr) :: output, input

    name = ''
    if (climlink_carried_c(self%handle, int(i - 1, c_int32_t), output, input) /= climlink_ok) return
    name = c_text(output)
  end function carried_output

  !> Model levels the package was made for; 0 if it has none, or is closed.
  function level_count(self) result(n)
    class(opened_package), intent(in) :: self
    integer :: n
    integer(c_int32_t) :: levels

    n = 0
    if (climlink_level_count_c(self%handle, levels) == climlink_ok) n = int(levels)
  end function level_count

  !> Time step the package was made for [s]; 0 if it states none, or is closed.
  function time_step(self) result(seconds)
    class(opened_package), intent(in) :: self
    real(real64) :: seconds

    if (climlink_time_step_c(self%handle, seconds) /= climlink_ok) seconds = 0.0_real64
  end function time_step

  !> Largest difference of the golden replay at open, in the manifest's measure; 0 if closed.
  function golden_difference(self) result(difference)
    class(opened_package), intent(in) :: self
    real(real64) :: difference
    real(real64) :: value

    difference = 0.0_real64
    if (climlink_golden_difference_c(self%handle, value) == climlink_ok) difference = value
  end function golden_difference

  !> SHA-256 of the package file, 64 hexadecimal digits; '' if closed.
  function digest(self) result(text)
    class(opened_package), intent(in) :: self
    character(len=:), allocatable :: text
    type(c_ptr) :: pointer

    text = ''
    if (climlink_digest_c(self%handle, pointer) == climlink_ok) text = c_text(pointer)
  end function digest

  !> Device in use, such as cpu or cuda:1; '' if closed.
  function device(self) result(text)
    class(opened_package), intent(in) :: self
    character(len=:), allocatable :: text
    type(c_ptr) :: pointer

    text = ''
    if (climlink_device_c(self%handle, pointer) == climlink_ok) text = c_text(pointer)
  end function device

  !> Constraints that are switched off, in the package's order, separated by commas; '' for none.
  function constraints_off(self) result(text)
    class(opened_package), intent(in) :: self
    character(len=:), allocatable :: text
    type(c_ptr) :: pointer

    text = ''
    if (climlink_constraints_off_c(self%handle, pointer) == climlink_ok) text = c_text(pointer)
  end function constraints_off

  !> What the graph asks of the host: none, or legacy for an imported wrapper that relies on E3SM's
  !! post-processing; '' if closed.
  function host_postprocessing(self) result(text)
    class(opened_package), intent(in) :: self
    character(len=:), allocatable :: text
    type(c_ptr) :: pointer

    text = ''
    if (climlink_host_postprocessing_c(self%handle, pointer) == climlink_ok) text = c_text(pointer)
  end function host_postprocessing

  !> The package's manifest as JSON text; '' if closed.
  function manifest(self) result(text)
    class(opened_package), intent(in) :: self
    character(len=:), allocatable :: text
    type(c_ptr) :: pointer

    text = ''
    if (climlink_manifest_c(self%handle, pointer) == climlink_ok) text = c_text(pointer)
  end function manifest

end module climlink_queries
