!> Columns in which an emulator is tried: inputs that differ everywhere, a stand-in for the
!! reference physics, and a step as the model's columns do it.
module hybrid_test_columns
  use, intrinsic :: iso_fortran_env, only: real32
  use mpi_f08, only: MPI_Bcast, MPI_COMM_WORLD, MPI_DOUBLE_PRECISION
  use aqua_column_table, only: input_columns, output_columns
  use aqua_constants, only: r8
  use aqua_hybrid, only: hybrid_physics
  use aqua_levels, only: hybrid_levels, make_levels
  use climlink_coupling, only: climlink_coupling_policy
  use climlink_host_settings, only: climlink_emulator_settings
  use host_parallel, only: rank, share_of, start_parallel
  implicit none (type, external)
  private

  public :: start_test, check, check_error, product_of, equal, latitudes, inputs_of, reference_of
  public :: settings_of, open_package, refused, advance, share, no_outputs

  integer, parameter, public :: n_level = 60, n_global = 3
  real(r8), parameter, public :: dt = 1200.0_r8

  integer, protected, public :: first = 1, n = 0                  !! This rank's columns.
  character(len=:), allocatable, protected, public :: failures    !! Of all checks; '' for none.

  interface equal
    module procedure equal_profiles, equal_scalars
  end interface equal

contains

  subroutine start_test(name)
    character(len=*), intent(in) :: name

    call start_parallel(name)
    call share_of(n_global, first, n)
    failures = ''
  end subroutine start_test

  subroutine check(passed, what)
    logical, intent(in) :: passed
    character(len=*), intent(in) :: what

    if (.not. passed) failures = failures // ' [' // what // ']'
  end subroutine check

  subroutine check_error(error, text)
    character(len=*), intent(in) :: error, text

    call check(index(error, text) > 0, 'expected "' // text // '", got "' // error // '"')
  end subroutine check_error

  !> What the emulator makes of a value.
  elemental function product_of(value, gain) result(answer)
    real(r8), intent(in) :: value
    real(real32), intent(in) :: gain
    real(r8) :: answer

    answer = real(real(value, real32) * gain, r8)
  end function product_of

  pure function equal_profiles(a, b) result(yes)
    real(r8), intent(in) :: a(:, :), b(:, :)
    logical :: yes

    yes = all(abs(a - b) <= 0.0_r8)
  end function equal_profiles

  pure function equal_scalars(a, b) result(yes)
    real(r8), intent(in) :: a(:), b(:)
    logical :: yes

    yes = all(abs(a - b) <= 0.0_r8)
  end function equal_scalars

  function latitudes() result(latitude)
    real(r8) :: latitude(n)
    integer :: i

    latitude = [(0.2_r8 * real(first + i - 1, r8), i=1, n)]
  end function latitudes

  !> Inputs of a step: every value differs between variables, levels, columns and steps.
  function inputs_of(step) result(inputs)
    integer, intent(in) :: step
    type(input_columns) :: inputs
    integer :: row, i

    call inputs%make(n_level, n)
    do i = 1, n
      do row = 1, size(inputs%values, 1)
        inputs%values(row, i) = 200.0_r8 + 0.1_r8 * row + 3.0_r8 * (first + i - 1) + &
          0.7_r8 * step**2
      end do
    end do
  end function inputs_of

  function no_outputs() result(outputs)
    type(output_columns) :: outputs

    call outputs%make(n_level, n)
  end function no_outputs

  !> A stand-in for the reference physics.
  function reference_of(step) result(outputs)
    integer, intent(in) :: step
    type(output_columns) :: outputs

    outputs = no_outputs()
    outputs%values = 1e-3_r8 / real(step, r8)
  end function reference_of

  function settings_of(package, policy) result(settings)
    character(len=*), intent(in) :: package
    type(climlink_coupling_policy), intent(in) :: policy
    type(climlink_emulator_settings) :: settings

    call settings%set_defaults()
    settings%package = package
    settings%mode = policy%mode
    if (allocated(policy%variables)) settings%variables(:size(policy%variables)) = policy%variables
    settings%feedback = policy%feedback
    settings%spin_up_steps = policy%spin_up_steps
    settings%ramp = policy%ramp
    settings%ramp_factor = policy%ramp_factor
    settings%ramp_steps = policy%ramp_steps
    settings%ramp_on_steps = policy%ramp_on_steps
    settings%ramp_off_steps = policy%ramp_off_steps
  end function settings_of

  !> Opens a fixture; its error.
  subroutine open_package(hybrid, name, policy, error)
    type(hybrid_physics), intent(inout), target :: hybrid
    character(len=*), intent(in) :: name
    type(climlink_coupling_policy), intent(in) :: policy
    character(len=:), allocatable, intent(out) :: error
    character(len=1024) :: folder
    type(hybrid_levels) :: levels
    real(r8) :: sigma(n_level + 1)
    integer :: k

    call get_command_argument(1, folder)
    sigma = [(real(k, r8) / real(n_level, r8), k=0, n_level)]
    call make_levels(1.0e-3_r8 * (1.0_r8 - sigma), sigma, 1.0e5_r8, levels, error)
    call check(error == '', error)
    call hybrid%open(settings_of(trim(folder) // '/' // name, policy), levels, inputs_of(1), &
                     latitudes(), dt, error)
  end subroutine open_package

  !> One step as the model's columns do it: what is applied. What the emulator answered is in
  !! hybrid.
  subroutine advance(hybrid, step, applied)
    type(hybrid_physics), intent(inout) :: hybrid
    integer, intent(in) :: step
    type(output_columns), intent(out) :: applied
    character(len=:), allocatable :: error
    type(input_columns) :: inputs

    applied = no_outputs()
    inputs = inputs_of(step)
    if (hybrid%has_emulator) hybrid%inputs%values = inputs%values
    call hybrid%begin(step)
    if (hybrid%needs_emulator()) then
      call hybrid%run(error)
      call check(error == '', error)
    end if
    call hybrid%combine(reference_of(step), applied)
    call hybrid%finish(applied)
  end subroutine advance

  subroutine refused(name, policy, text)
    character(len=*), intent(in) :: name, text
    type(climlink_coupling_policy), intent(in) :: policy
    type(hybrid_physics), target :: hybrid
    character(len=:), allocatable :: error

    call open_package(hybrid, name, policy, error)
    call check_error(error, text)
  end subroutine refused

  !> Gives all ranks what rank 0 has [n, column].
  subroutine share(n_number, state)
    integer, intent(in) :: n_number
    real(r8), allocatable, intent(inout) :: state(:, :)
    real(r8) :: kept(n_number, n_global)

    if (rank == 0) kept = state
    call MPI_Bcast(kept, size(kept), MPI_DOUBLE_PRECISION, 0, MPI_COMM_WORLD)
    state = kept
  end subroutine share

end module hybrid_test_columns
