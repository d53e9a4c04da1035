!> What an opened package says about itself. A closed one answers 0, '' or false.
module climlink_queries
  use, intrinsic :: iso_c_binding, only: c_associated, c_f_pointer, c_int32_t, c_int64_t, &
                                         c_null_ptr, c_ptr
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink_c_api, only: c_characters, c_role_input, c_role_output, c_text, climlink_carried_c, &
                            climlink_carried_count_c, climlink_constraints_off_c, &
                            climlink_device_c, climlink_digest_c, climlink_dim_size_c, &
                            climlink_engine_c, climlink_engine_note_c, climlink_precision_c, &
                            climlink_golden_difference_c, climlink_has_range_policy_c, &
                            climlink_host_postprocessing_c, &
                            climlink_level_count_c, climlink_manifest_c, climlink_time_step_c, &
                            climlink_vertical_grid_c, text_answer
  use climlink_errors, only: climlink_ok
  use climlink_variables, only: climlink_variable, no_variable, position_of, read_variables
  implicit none (type, external)
  private

  public :: opened_package, handle_of, keep_handle, inputs_of, outputs_of

  !> One package, open or closed; climlink_emulator extends it by what a host does with a package.
  type :: opened_package
    private
    type(c_ptr) :: handle = c_null_ptr
    type(climlink_variable), allocatable :: inputs(:), outputs(:)    !! In the package's order.
  contains
    procedure :: is_open, n_input, n_output, input, output, input_name, output_name, has_input, &
                 has_output, dim_size, carried_count, carried_input, carried_output, level_count, &
                 vertical_grid, time_step, golden_difference, digest, host_postprocessing, device, &
                 constraints_off, engine, precision_name, engine_note, has_range_policy, manifest
  end type opened_package

contains

  !> The package behind the C interface; null if closed. For the bridge's own modules.
  pure function handle_of(package) result(handle)
    class(opened_package), intent(in) :: package
    type(c_ptr) :: handle

    handle = package%handle
  end function handle_of

  !> Takes over what the C interface opened or closed. For the bridge's own modules.
  subroutine keep_handle(package, handle)
    class(opened_package), intent(inout) :: package
    type(c_ptr), intent(in) :: handle

    package%handle = handle
    package%inputs = read_variables(handle, c_role_input)
    package%outputs = read_variables(handle, c_role_output)
  end subroutine keep_handle

  !> The inputs themselves, without a copy, while package is a target. For the bridge's own modules.
  function inputs_of(package) result(list)
    class(opened_package), intent(in), target :: package     !! Was open once.
    type(climlink_variable), pointer :: list(:)

    list => package%inputs
  end function inputs_of

  !> The same of the outputs.
  function outputs_of(package) result(list)
    class(opened_package), intent(in), target :: package
    type(climlink_variable), pointer :: list(:)

    list => package%outputs
  end function outputs_of

  !> True between a successful open and close.
  function is_open(self) result(yes)
    class(opened_package), intent(in) :: self
    logical :: yes

    yes = c_associated(self%handle)
  end function is_open

  !> Number of input variables; 0 if closed.
  pure function n_input(self) result(n)
    class(opened_package), intent(in) :: self
    integer :: n

    n = 0
    if (allocated(self%inputs)) n = size(self%inputs)
  end function n_input

  !> Number of output variables; 0 if closed.
  pure function n_output(self) result(n)
    class(opened_package), intent(in) :: self
    integer :: n

    n = 0
    if (allocated(self%outputs)) n = size(self%outputs)
  end function n_output

  !> Input variable i, from 1 in the package's order; one without a name if there is none.
  pure function input(self, i) result(entry)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    type(climlink_variable) :: entry

    entry = no_variable()
    if (i >= 1 .and. i <= self%n_input()) entry = self%inputs(i)
  end function input

  !> Output variable i, from 1 in the package's order; one without a name if there is none.
  pure function output(self, i) result(entry)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    type(climlink_variable) :: entry

    entry = no_variable()
    if (i >= 1 .and. i <= self%n_output()) entry = self%outputs(i)
  end function output

  !> Name of input variable i; '' if there is none.
  pure function input_name(self, i) result(name)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    character(len=:), allocatable :: name

    name = ''
    if (i >= 1 .and. i <= self%n_input()) name = self%inputs(i)%name
  end function input_name

  !> Name of output variable i; '' if there is none.
  pure function output_name(self, i) result(name)
    class(opened_package), intent(in) :: self
    integer, intent(in) :: i
    character(len=:), allocatable :: name

    name = ''
    if (i >= 1 .and. i <= self%n_output()) name = self%outputs(i)%name
  end function output_name

  !> True if the package takes an input variable of this name.
  pure function has_input(self, name) result(yes)
    class(opened_package), intent(in) :: self
    character(len=*), intent(in) :: name
    logical :: yes

    yes = position_of(self%inputs, name) > 0
  end function has_input

  !> True if the package gives an output variable of this name.
  pure function has_output(self, name) result(yes)
    class(opened_package), intent(in) :: self
    character(len=*), intent(in) :: name
    logical :: yes

    yes = position_of(self%outputs, name) > 0
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

  !> Hybrid coefficients at the interfaces of the package's levels, p = p0 * hyai + hybi * ps, top
  !! down [level + 1]; of size 0 if it states none, or is closed.
  subroutine vertical_grid(self, p0, hyai, hybi)
    class(opened_package), intent(in) :: self
    real(real64), intent(out) :: p0                            !! [Pa]
    real(real64), allocatable, intent(out) :: hyai(:), hybi(:)
    real(real64), pointer :: a(:), b(:)
    type(c_ptr) :: a_c, b_c
    integer(c_int64_t) :: n

    p0 = 0.0_real64
    n = 0
    if (climlink_vertical_grid_c(self%handle, p0, a_c, b_c, n) /= climlink_ok) n = 0
    allocate (hyai(n), hybi(n))
    if (n == 0) return
    call c_f_pointer(a_c, a, [n])
    call c_f_pointer(b_c, b, [n])
    hyai = a
    hybi = b
  end subroutine vertical_grid

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

    text = text_answer(climlink_digest_c, self%handle)
  end function digest

  !> Device in use, such as cpu or cuda:1; '' if closed.
  function device(self) result(text)
    class(opened_package), intent(in) :: self
    character(len=:), allocatable :: text

    text = text_answer(climlink_device_c, self%handle)
  end function device

  !> What runs the network: torchscript, or aotinductor where option compiled was followed; '' if
  !! closed.
  function engine(self) result(text)
    class(opened_package), intent(in) :: self
    character(len=:), allocatable :: text

    text = text_answer(climlink_engine_c, self%handle)
  end function engine

  !> Its precision: float32 or bfloat16; '' if closed.
  function precision_name(self) result(text)
    class(opened_package), intent(in) :: self
    character(len=:), allocatable :: text

    text = text_answer(climlink_precision_c, self%handle)
  end function precision_name

  !> Which compiled artefact runs, or the one reason why the one asked for does not; '' where none
  !! was.
  function engine_note(self) result(text)
    class(opened_package), intent(in) :: self
    character(len=:), allocatable :: text

    text = text_answer(climlink_engine_note_c, self%handle)
  end function engine_note

  !> Constraints that are switched off, in the package's order, separated by commas; '' for none.
  function constraints_off(self) result(text)
    class(opened_package), intent(in) :: self
    character(len=:), allocatable :: text

    text = text_answer(climlink_constraints_off_c, self%handle)
  end function constraints_off

  !> True if a constraint of the range policy (input_clip, range_relaxation) is in the package and
  !! not switched off: then range_use has something to tell.
  function has_range_policy(self) result(yes)
    class(opened_package), intent(in) :: self
    logical :: yes
    integer(c_int32_t) :: has

    yes = .false.
    if (climlink_has_range_policy_c(self%handle, has) == climlink_ok) yes = has == 1_c_int32_t
  end function has_range_policy

  !> What the graph asks of the host: none, or legacy for an imported wrapper that relies on E3SM's
  !! post-processing; '' if closed.
  function host_postprocessing(self) result(text)
    class(opened_package), intent(in) :: self
    character(len=:), allocatable :: text

    text = text_answer(climlink_host_postprocessing_c, self%handle)
  end function host_postprocessing

  !> The package's manifest as JSON text; '' if closed.
  function manifest(self) result(text)
    class(opened_package), intent(in) :: self
    character(len=:), allocatable :: text

    text = text_answer(climlink_manifest_c, self%handle)
  end function manifest

end module climlink_queries
