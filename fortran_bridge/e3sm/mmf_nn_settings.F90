!> The namelist group mmf_nn_emulator_nl: the entries of the existing coupling with their names,
!! meanings and defaults, and those of climlink. docs/e3sm-adapter.md has the table.
module mmf_nn_settings
  use cam_history_support, only: fieldname_lenp2, pflds
  use mmf_nn_errors, only: share_integers, share_reals, share_text, stop_here
  use namelist_utils, only: find_group_name
  use shr_kind_mod, only: r8 => shr_kind_r8
  use spmd_utils, only: masterproc
  use string_utils, only: to_lower
  use units, only: freeunit, getunit
  implicit none (type, external)
  private

  public :: mmf_nn_emulator_readnl, package_path, number_text

  integer, parameter :: text_length = 256
  integer, parameter :: constraint_length = 64, constraint_count = 32

  !> Value of a number that the namelist does not give.
  integer, parameter, public :: not_given = -huge(1)

  ! Of the existing coupling.
  integer, public :: inputlength = not_given
  integer, public :: outputlength = not_given
  logical, public :: input_rh = .false.
  logical, public, protected :: input_rh_given = .false.
  character(len=text_length), public :: cb_nn_var_combo = ' '
  character(len=text_length), public :: cb_torch_model = ' '
  integer, public :: cb_spinup_step = 72
  logical, public :: cb_use_input_prectm1 = .false.
  logical, public :: cb_partial_coupling = .false.
  character(len=fieldname_lenp2), public :: cb_partial_coupling_vars(pflds) = ' '
  logical, public :: cb_do_ramp = .false.
  character(len=text_length), public :: cb_ramp_option = 'constant'
  real(r8), public :: cb_ramp_factor = 1.0_r8
  integer, public :: cb_ramp_linear_steps = 0
  integer, public :: cb_ramp_step_0steps = 10
  integer, public :: cb_ramp_step_1steps = 20
  logical, public :: cb_strato_water_constraint = .false.
  real(r8), public :: dtheta_thred = 10.0_r8

  ! Of climlink.
  character(len=text_length), public :: climlink_package = ' '
  character(len=64), public :: climlink_package_digest = ' '
  character(len=16), public :: climlink_device = 'auto'
  integer, public :: climlink_threads = 1
  integer, public :: climlink_micro_batch = 0
  character(len=constraint_length), public :: climlink_constraints_off(constraint_count) = ' '
  logical, public :: climlink_legacy = .false.
  logical, public :: climlink_history = .true.
  logical, public :: climlink_branch_memory = .false.
  integer, public :: climlink_log_steps = 0                  !! Steps between lines of counters; 0:
                                                             !! a day; negative: none.

  namelist /mmf_nn_emulator_nl/ inputlength, outputlength, input_rh, cb_nn_var_combo, &
    cb_torch_model, cb_spinup_step, cb_use_input_prectm1, cb_partial_coupling, &
    cb_partial_coupling_vars, cb_do_ramp, cb_ramp_option, cb_ramp_factor, cb_ramp_linear_steps, &
    cb_ramp_step_0steps, cb_ramp_step_1steps, cb_strato_water_constraint, dtheta_thred, &
    climlink_package, climlink_package_digest, climlink_device, climlink_threads, &
    climlink_micro_batch, climlink_constraints_off, climlink_legacy, climlink_history, &
    climlink_log_steps, climlink_branch_memory

contains

  !> Reads the group on the master and gives it to all ranks. Ends the model if the group is wrong
  !! or asks for what cannot be.
  subroutine mmf_nn_emulator_readnl(nlfile)
    character(len=*), intent(in) :: nlfile             !! File with the namelists of the atmosphere.

    if (masterproc) then
      call read_group(nlfile)
      call check_entries()
    end if
    call share_entries()
  end subroutine mmf_nn_emulator_readnl

  !> Reads the group twice: input_rh was given if its value does not depend on what stood there
  !! before.
  subroutine read_group(nlfile)
    character(len=*), intent(in) :: nlfile
    integer :: unit, found, outcome
    character(len=text_length) :: message
    logical :: first_value

    message = ' '
    unit = getunit()
    open (unit, file=trim(nlfile), status='old', action='read', iostat=outcome, iomsg=message)
    if (outcome /= 0) call stop_here('cannot read the namelist file ' // trim(nlfile) // ': ' &
                                     // trim(message))
    call find_group_name(unit, 'mmf_nn_emulator_nl', status=found)
    if (found /= 0) then
      call stop_here(trim(nlfile) &
        // ' has no group &mmf_nn_emulator_nl; it must at least name the package: climlink_package')
    end if
    input_rh = .false.
    read (unit, nml=mmf_nn_emulator_nl, iostat=outcome, iomsg=message)
    if (outcome /= 0) call stop_here('&mmf_nn_emulator_nl in ' // trim(nlfile) &
                                     // ' cannot be read: ' // trim(message))
    first_value = input_rh
    input_rh = .true.
    rewind (unit)
    call find_group_name(unit, 'mmf_nn_emulator_nl', status=found)
    read (unit, nml=mmf_nn_emulator_nl, iostat=outcome)
    input_rh_given = outcome == 0 .and. (first_value .eqv. input_rh)
    input_rh = first_value
    close (unit)
    call freeunit(unit)
  end subroutine read_group

  !> What can be known to be wrong before the package is open.
  subroutine check_entries()
    character(len=:), allocatable :: device

    cb_ramp_option = to_lower(trim(cb_ramp_option))
    device = trim(climlink_device)
    if (len(package_path()) == 0) call refuse( &
      'climlink_package and cb_torch_model are blank: name the package to run')
    if (device /= 'auto' .and. device /= 'cpu' .and. device /= 'cuda' .and. index(device, 'cuda:') &
        /= 1) then
      call refuse("climlink_device must be 'auto', 'cpu' or 'cuda', not '" // device // "'")
    end if
    if (climlink_threads < 1) call refuse('climlink_threads must be 1 or more, not ' &
                                          // number_text(climlink_threads))
    if (climlink_micro_batch < 0 .or. climlink_micro_batch == 1) then
      call refuse('climlink_micro_batch must be 0 (the choice of the library) or at least 2, not ' &
                  // number_text(climlink_micro_batch))
    end if
    if (cb_do_ramp .and. .not. cb_partial_coupling) call refuse( &
      'cb_do_ramp acts in partial coupling only: set cb_partial_coupling')
    if (cb_strato_water_constraint .and. .not. climlink_legacy) then
      call refuse('cb_strato_water_constraint is part of the old post-processing: set ' // &
                  'climlink_legacy, or use a package with the constraint stratospheric_water')
    end if
  end subroutine check_entries

  subroutine refuse(message)
    character(len=*), intent(in) :: message

    call stop_here('&mmf_nn_emulator_nl: ' // message)
  end subroutine refuse

  !> The package to open; '' if none is named.
  function package_path() result(path)
    character(len=:), allocatable :: path

    path = trim(climlink_package)
    if (len(path) == 0) path = trim(cb_torch_model)
  end function package_path

  !> A number as it is written in messages.
  function number_text(number) result(text)
    integer, intent(in) :: number
    character(len=:), allocatable :: text
    character(len=12) :: digits

    write (digits, '(i0)') number
    text = trim(digits)
  end function number_text

  subroutine share_entries()
    integer :: numbers(16), further(2)
    real(r8) :: reals(2)
    character(len=text_length) :: texts(6)

    numbers = [inputlength, outputlength, cb_spinup_step, cb_ramp_linear_steps, &
               cb_ramp_step_0steps, cb_ramp_step_1steps, climlink_threads, climlink_micro_batch, &
               merge(1, 0, [input_rh, input_rh_given, cb_use_input_prectm1, &
               cb_partial_coupling, cb_do_ramp, cb_strato_water_constraint, climlink_legacy, &
               climlink_history])]
    call share_integers(numbers)
    call take_numbers(numbers)
    further = [climlink_log_steps, merge(1, 0, climlink_branch_memory)]
    call share_integers(further)
    climlink_log_steps = further(1)
    climlink_branch_memory = further(2) == 1
    reals = [cb_ramp_factor, dtheta_thred]
    call share_reals(reals)
    cb_ramp_factor = reals(1)
    dtheta_thred = reals(2)
    texts(1) = cb_nn_var_combo
    texts(2) = cb_torch_model
    texts(3) = cb_ramp_option
    texts(4) = climlink_package
    texts(5) = climlink_package_digest
    texts(6) = climlink_device
    call share_text(texts)
    cb_nn_var_combo = texts(1)
    cb_torch_model = texts(2)
    cb_ramp_option = texts(3)
    climlink_package = texts(4)
    climlink_package_digest = texts(5)(:len(climlink_package_digest))
    climlink_device = texts(6)(:len(climlink_device))
    call share_text(cb_partial_coupling_vars)
    call share_text(climlink_constraints_off)
  end subroutine share_entries

  subroutine take_numbers(numbers)
    integer, intent(in) :: numbers(:)

    inputlength = numbers(1)
    outputlength = numbers(2)
    cb_spinup_step = numbers(3)
    cb_ramp_linear_steps = numbers(4)
    cb_ramp_step_0steps = numbers(5)
    cb_ramp_step_1steps = numbers(6)
    climlink_threads = numbers(7)
    climlink_micro_batch = numbers(8)
    input_rh = numbers(9) == 1
    input_rh_given = numbers(10) == 1
    cb_use_input_prectm1 = numbers(11) == 1
    cb_partial_coupling = numbers(12) == 1
    cb_do_ramp = numbers(13) == 1
    cb_strato_water_constraint = numbers(14) == 1
    climlink_legacy = numbers(15) == 1
    climlink_history = numbers(16) == 1
  end subroutine take_numbers

end module mmf_nn_settings
