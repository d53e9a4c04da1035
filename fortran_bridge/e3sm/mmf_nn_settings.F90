!> The namelist group mmf_nn_emulator_nl: the entries of the existing coupling with their names,
!! meanings and defaults, and those of climlink. docs/e3sm-adapter.md has the table.
module mmf_nn_settings
  use cam_history_support, only: fieldname_lenp2, pflds
  use climlink, only: climlink_options, climlink_status
  use climlink_host_settings, only: climlink_emulator_settings
  use climlink_run_options, only: number_text
  use mmf_nn_errors, only: share_integers, share_text, stop_here
  use namelist_utils, only: find_group_name
  use shr_kind_mod, only: r8 => shr_kind_r8
  use spmd_utils, only: masterproc
  use string_utils, only: to_lower
  use units, only: freeunit, getunit
  implicit none (type, external)
  private

  public :: mmf_nn_emulator_readnl, package_path, emulator_settings, number_text

  integer, parameter :: text_length = 256
  integer, parameter :: constraint_length = 64, constraint_count = 32

  !> Of the group as text: more than its longest entry takes, and one line of 80 characters or more
  !! for each output that can be blended.
  integer, parameter :: line_length = 512, line_count = pflds + 64

  !> Value of a number that the namelist does not give.
  integer, parameter, public :: not_given = -huge(1)

  ! Of the existing coupling.
  integer, public :: inputlength = not_given
  integer, public :: outputlength = not_given
  logical, public :: input_rh = .false.
  logical, public, protected :: input_rh_given = .false.
  logical, public :: cb_use_cuda = .false.
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

  ! Of climlink; without a default here, the library's.
  character(len=text_length), public :: climlink_package = ' '
  character(len=64), public :: climlink_package_digest
  character(len=text_length), public :: climlink_compiled = ' '
  character(len=64), public :: climlink_compiled_digest
  character(len=text_length), public :: climlink_tuning = ' '
  character(len=16), public :: climlink_device = 'auto'
  integer, public :: climlink_threads
  integer, public :: climlink_micro_batch                    !! 0 is the library's default too.
  real(r8), public :: climlink_device_memory_fraction
  logical, public :: climlink_cuda_graphs
  integer, public :: climlink_group_size                     !! Ranks of a node that share one
                                                             !! network; 0: one for each device.
  integer, public :: climlink_group_timeout_s
  character(len=constraint_length), public :: climlink_constraints_off(constraint_count) = ' '
  character(len=16), public :: climlink_vertical_remap = 'none'
  character(len=16), public :: climlink_rh_arithmetic = 'exact'
  character(len=16), public :: climlink_water_fixer = 'none'
  logical, public :: climlink_legacy = .false.
  logical, public, protected :: climlink_legacy_given = .false.
  logical, public :: climlink_history = .true.
  logical, public :: climlink_branch_memory = .false.
  integer, public :: climlink_log_steps = 0                  !! Steps between lines of counters; 0:
                                                             !! a day; negative: none.

  namelist /mmf_nn_emulator_nl/ inputlength, outputlength, input_rh, cb_nn_var_combo, &
    cb_torch_model, cb_use_cuda, cb_spinup_step, cb_use_input_prectm1, cb_partial_coupling, &
    cb_partial_coupling_vars, cb_do_ramp, cb_ramp_option, cb_ramp_factor, cb_ramp_linear_steps, &
    cb_ramp_step_0steps, cb_ramp_step_1steps, cb_strato_water_constraint, dtheta_thred, &
    climlink_package, climlink_package_digest, climlink_compiled, climlink_compiled_digest, &
    climlink_device, climlink_threads, climlink_micro_batch, climlink_tuning, &
    climlink_device_memory_fraction, climlink_cuda_graphs, &
    climlink_group_size, climlink_group_timeout_s, &
    climlink_constraints_off, climlink_vertical_remap, climlink_rh_arithmetic, &
    climlink_water_fixer, climlink_legacy, climlink_history, climlink_log_steps, &
    climlink_branch_memory

  type(climlink_emulator_settings) :: library                !! All defaults.

contains

  !> Reads the group on the master and gives it to all ranks. Ends the model if the group is wrong
  !! or asks for what cannot be.
  subroutine mmf_nn_emulator_readnl(nlfile)
    character(len=*), intent(in) :: nlfile             !! File with the namelists of the atmosphere.
    logical :: values(3), given(3)

    call library%set_defaults()
    climlink_threads = library%threads
    climlink_micro_batch = library%micro_batch
    climlink_device_memory_fraction = library%device_memory_fraction
    climlink_cuda_graphs = library%cuda_graphs
    climlink_group_size = library%group_size
    climlink_group_timeout_s = library%group_timeout_s
    climlink_package_digest = library%pinned_sha256(:len(climlink_package_digest))
    climlink_compiled_digest = library%compiled_sha256(:len(climlink_compiled_digest))
    if (masterproc) then
      ! What was given does not depend on what stood there before.
      call read_group(nlfile, .true.)
      given = [input_rh, cb_use_cuda, climlink_legacy]
      call read_group(nlfile, .false.)
      values = [input_rh, cb_use_cuda, climlink_legacy]
      given = given .eqv. values
      input_rh_given = given(1)
      climlink_legacy_given = given(3)
      if (given(2)) call choose_device()
      if (climlink_micro_batch == 0) climlink_micro_batch = library%micro_batch
      call check_entries()
    end if
    call share_entries()
  end subroutine mmf_nn_emulator_readnl

  !> Reads the group. Entries of which must be known whether they are given have a value before.
  subroutine read_group(nlfile, before)
    character(len=*), intent(in) :: nlfile
    logical, intent(in) :: before
    integer :: unit, found, outcome
    character(len=text_length) :: message

    input_rh = before
    cb_use_cuda = before
    climlink_legacy = before
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
    read (unit, nml=mmf_nn_emulator_nl, iostat=outcome, iomsg=message)
    if (outcome /= 0) call stop_here('&mmf_nn_emulator_nl in ' // trim(nlfile) &
                                     // ' cannot be read: ' // trim(message))
    close (unit)
    call freeunit(unit)
  end subroutine read_group

  !> Takes the device from cb_use_cuda, unless climlink_device names one of its own.
  subroutine choose_device()
    if (climlink_device == 'auto') climlink_device = merge('cuda', 'cpu ', cb_use_cuda)
    if (cb_use_cuda .eqv. climlink_device /= 'cpu') return
    call refuse('cb_use_cuda is ' // trim(merge('.true. ', '.false.', cb_use_cuda)) &
                // ", but climlink_device is '" // trim(climlink_device) &
                // "': leave one of them out")
  end subroutine choose_device

  !> What can be known to be wrong before the package is open.
  subroutine check_entries()
    type(climlink_options) :: options
    type(climlink_status) :: status

    cb_ramp_option = to_lower(trim(cb_ramp_option))
    cb_nn_var_combo = to_lower(trim(cb_nn_var_combo))
    if (len(package_path()) == 0) call refuse( &
      'climlink_package and cb_torch_model are blank: name the package to run')
    call options%set('device', climlink_device, status)
    call require('climlink_device', status)
    call options%set('threads', climlink_threads, status)
    call require('climlink_threads', status)
    call options%set('micro_batch', climlink_micro_batch, status)
    call require('climlink_micro_batch', status)
    call options%set('device_memory_fraction', climlink_device_memory_fraction, status)
    call require('climlink_device_memory_fraction', status)
    call options%set('group_size', climlink_group_size, status)
    call require('climlink_group_size', status)
    call options%set('group_timeout_s', climlink_group_timeout_s, status)
    call require('climlink_group_timeout_s', status)
    call options%set('pinned_sha256', climlink_package_digest, status)
    call require('climlink_package_digest', status)
    call options%set('compiled_sha256', climlink_compiled_digest, status)
    call require('climlink_compiled_digest', status)
    if (cb_do_ramp .and. .not. cb_partial_coupling) call refuse( &
      'cb_do_ramp acts in partial coupling only: set cb_partial_coupling')
    if (all(climlink_rh_arithmetic /= [character(len=6) :: 'exact', 'legacy'])) then
      call refuse("climlink_rh_arithmetic must be 'exact' or 'legacy', not '" &
                  // trim(climlink_rh_arithmetic) // "'")
    end if
    if (all(climlink_water_fixer /= [character(len=13) :: 'none', 'precipitation'])) then
      call refuse("climlink_water_fixer must be 'none' or 'precipitation', not '" &
                  // trim(climlink_water_fixer) // "'")
    end if
    if (count(cb_partial_coupling_vars /= ' ') > size(library%variables)) call refuse( &
      'cb_partial_coupling_vars holds more names than a package has outputs')
  end subroutine check_entries

  subroutine require(entry, status)
    character(len=*), intent(in) :: entry
    type(climlink_status), intent(in) :: status

    if (.not. status%ok()) call refuse(entry // ': ' // status%message)
  end subroutine require

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

  !> What the entries mean to the library and to the coupling. A negative cb_spinup_step means
  !! never; see mmf_nn_steps.
  function emulator_settings() result(settings)
    type(climlink_emulator_settings) :: settings
    integer :: n

    call settings%set_defaults()
    settings%package = package_path()
    settings%device = climlink_device
    settings%threads = climlink_threads
    settings%micro_batch = climlink_micro_batch
    settings%device_memory_fraction = climlink_device_memory_fraction
    settings%cuda_graphs = climlink_cuda_graphs
    settings%group_size = climlink_group_size
    settings%group_timeout_s = climlink_group_timeout_s
    settings%pinned_sha256 = climlink_package_digest
    settings%compiled = climlink_compiled
    settings%tuning = climlink_tuning
    settings%compiled_sha256 = climlink_compiled_digest
    settings%constraints_off(:size(climlink_constraints_off)) = climlink_constraints_off
    settings%vertical_remap = climlink_vertical_remap
    settings%spin_up_steps = max(cb_spinup_step, 0)
    if (.not. cb_partial_coupling) return
    settings%mode = 'partial'
    n = count(cb_partial_coupling_vars /= ' ')
    settings%variables(:n) = pack(cb_partial_coupling_vars, cb_partial_coupling_vars /= ' ')
    if (.not. cb_do_ramp) return
    settings%ramp = cb_ramp_option
    settings%ramp_factor = cb_ramp_factor
    if (settings%ramp == 'linear') settings%ramp_steps = cb_ramp_linear_steps
    if (settings%ramp == 'step') then
      settings%ramp_on_steps = cb_ramp_step_1steps
      settings%ramp_off_steps = cb_ramp_step_0steps
    end if
  end function emulator_settings

  !> All entries travel as the text of the group.
  subroutine share_entries()
    character(len=line_length), allocatable :: lines(:)
    integer :: given(2)

    allocate (lines(line_count))
    lines = ' '
    if (masterproc) write (lines, nml=mmf_nn_emulator_nl, delim='quote')
    call share_text(lines)
    read (lines, nml=mmf_nn_emulator_nl)
    given = merge(1, 0, [input_rh_given, climlink_legacy_given])
    call share_integers(given)
    input_rh_given = given(1) == 1
    climlink_legacy_given = given(2) == 1
  end subroutine share_entries

end module mmf_nn_settings
