!> Opens the package that the namelist names and checks that namelist, package and model fit
!! together, before the first step.
module mmf_nn_opening
  use cam_logfile, only: iulog
  use climlink, only: climlink_emulator, climlink_status
  use climlink_coupling, only: climlink_coupling_policy
  use climlink_lagged_memory, only: climlink_lags
  use mmf_nn_errors, only: stop_together
  use mmf_nn_inputs, only: find_inputs, known_input, sent_as_zero
  use mmf_nn_outputs, only: find_outputs
  use mmf_nn_settings, only: cb_do_ramp, cb_nn_var_combo, cb_partial_coupling, &
                             cb_partial_coupling_vars, cb_ramp_factor, cb_ramp_linear_steps, &
                             cb_ramp_option, cb_ramp_step_0steps, cb_ramp_step_1steps, &
                             cb_spinup_step, cb_strato_water_constraint, &
                             climlink_constraints_off, climlink_device, climlink_legacy, &
                             climlink_legacy_given, climlink_micro_batch, &
                             climlink_package_digest, climlink_threads, input_rh, input_rh_given, &
                             inputlength, not_given, number_text, outputlength, package_path
  use mpishorthand, only: mpicom
  use ppgrid, only: pver
  use shr_kind_mod, only: r8 => shr_kind_r8
  use spmd_utils, only: masterproc
  use time_manager, only: get_step_size
  implicit none (type, external)
  private

  public :: open_package, check_package, policy_of_namelist

  integer, parameter :: needed_spin_up = 2               !! Steps before lagged inputs have a value.

contains

  !> Opens the package on all ranks, unless it is open. Collective; ends the model if it cannot.
  subroutine open_package(emulator)
    type(climlink_emulator), intent(inout) :: emulator
    type(climlink_status) :: status
    integer, allocatable :: micro_batch
    character(len=len(climlink_package_digest)), allocatable :: digest

    if (emulator%is_open()) return
    if (climlink_micro_batch > 0) micro_batch = climlink_micro_batch  ! not allocated is not present
    if (climlink_package_digest /= ' ') digest = climlink_package_digest
    call emulator%open(package_path(), status, comm=mpicom, n_level=pver, &
                       time_step=real(get_step_size(), r8), device=trim(climlink_device), &
                       threads=climlink_threads, micro_batch=micro_batch, pinned_sha256=digest, &
                       constraints_off=climlink_constraints_off)
    if (.not. status%ok()) call stop_together(status%message)
    if (.not. climlink_legacy_given) climlink_legacy = emulator%host_postprocessing() == 'legacy'
    if (masterproc .and. len(emulator%constraints_off()) > 0) then
      write (iulog, &
             '(2a)') 'mmf_nn_emulator: constraints of the package that this run leaves out: ', &
             emulator%constraints_off()
    end if
    if (masterproc .and. climlink_legacy .and. .not. climlink_legacy_given) then
      write (iulog, '(2a)') 'mmf_nn_emulator: the package was made for the old ', &
        'post-processing, which this run applies (climlink_legacy)'
    end if
  end subroutine open_package

  !> Ends the model if the package, the namelist and what this model has do not fit.
  subroutine check_package(emulator, policy, lags)
    type(climlink_emulator), intent(in) :: emulator          !! Open.
    type(climlink_coupling_policy), intent(in) :: policy
    type(climlink_lags), intent(in) :: lags                  !! Initialized.
    type(climlink_status) :: status
    character(len=:), allocatable :: error

    call check_shapes(emulator, error)
    if (len(error) == 0) call check_layout(emulator, lags, error)
    if (len(error) == 0) call find_inputs(emulator, error)
    if (len(error) == 0) call find_outputs(emulator, error)
    if (len(error) == 0 .and. cb_spinup_step >= 0) call policy%check(emulator, status)
    if (.not. status%ok()) error = status%message
    if (len(error) > 0) call stop_together(package_path() // ': ' // error)
  end subroutine check_package

  !> error is '' if the package is one of columns whose steps do not hang together.
  subroutine check_shapes(emulator, error)
    type(climlink_emulator), intent(in) :: emulator
    character(len=:), allocatable, intent(out) :: error
    type(climlink_status) :: status

    error = ''
    call emulator%require_columns(status)
    if (.not. status%ok()) then
      error = status%message
    else if (emulator%carried_count() > 0) then
      error = 'the package has a memory (' // emulator%carried_output(1) // ' of a step is ' // &
              emulator%carried_input(1) // ' of the next one), which this adapter does not ' // &
              'carry from step to step nor keep in a restart; take a package without carried state'
    end if
  end subroutine check_shapes

  !> error is '' if the package's inputs are those that E3SM has and the namelist says.
  subroutine check_layout(emulator, lags, error)
    type(climlink_emulator), intent(in) :: emulator
    type(climlink_lags), intent(in) :: lags
    character(len=:), allocatable, intent(out) :: error
    character(len=:), allocatable :: name, missing
    integer :: i, n_in, n_out
    logical :: is_lagged

    error = ''
    if (cb_strato_water_constraint .and. .not. climlink_legacy) then
      error = 'cb_strato_water_constraint is part of the old post-processing: set ' // &
              'climlink_legacy, or use a package with the constraint stratospheric_water'
      return
    end if
    missing = ''
    is_lagged = .false.
    n_in = 0
    do i = 1, emulator%n_input()
      name = emulator%input_name(i)
      n_in = n_in + emulator%input_width(i)
      is_lagged = is_lagged .or. (lags%has(name) .and. .not. sent_as_zero(name))
      if (.not. (known_input(name) .or. lags%has(name))) missing = missing // ' ' // name
    end do
    n_out = sum([(emulator%output_width(i), i=1, emulator%n_output())])
    if (len(missing) > 0) then
      error = 'E3SM does not have the inputs' // missing
    else if (inputlength /= not_given .and. inputlength /= n_in) then
      error = 'inputlength is ' // number_text(inputlength) // ', but the package takes ' &
        // number_text(n_in) // ' inputs'
    else if (outputlength /= not_given .and. outputlength /= n_out) then
      error = 'outputlength is ' // number_text(outputlength) // ', but the package gives ' &
        // number_text(n_out) // ' outputs'
    else if (input_rh_given .and. (input_rh .neqv. emulator%has_input('state_rh'))) then
      error = 'input_rh is ' // trim(merge('.true. ', '.false.', input_rh)) &
              // ', but the package takes ' &
              // trim(merge('specific humidity', 'relative humidity', input_rh))
    else if (.not. is_combination(emulator, trim(cb_nn_var_combo), is_lagged)) then
      error = "cb_nn_var_combo is '" // trim(cb_nn_var_combo) &
              // "', but the package takes the inputs of " // combination(emulator, is_lagged) &
              // merge(' and gives confidence   ', ' and gives no confidence', &
                       has_confidence(emulator))
    else if (is_lagged .and. cb_spinup_step >= 0 .and. cb_spinup_step < needed_spin_up) then
      error = 'cb_spinup_step is ' // number_text(cb_spinup_step) &
              // ', but the lagged inputs of the package need ' // number_text(needed_spin_up) &
              // ' steps of the model''s own physics first'
    end if
  end subroutine check_layout

  !> Whether the namelist's combination is blank or that of the package: its inputs, with _conf
  !! where it gives confidence too, which need not be said.
  function is_combination(emulator, name, is_lagged) result(yes)
    type(climlink_emulator), intent(in) :: emulator
    character(len=*), intent(in) :: name
    logical, intent(in) :: is_lagged
    logical :: yes

    yes = name == '' .or. name == combination(emulator, is_lagged)
    if (has_confidence(emulator)) yes = yes .or. name == combination(emulator, is_lagged) // '_conf'
  end function is_combination

  function has_confidence(emulator) result(yes)
    type(climlink_emulator), intent(in) :: emulator
    logical :: yes
    integer :: i

    yes = any([(index(emulator%output_name(i), 'confidence_') == 1, i=1, emulator%n_output())])
  end function has_confidence

  !> What the namelist calls the package's set of inputs.
  function combination(emulator, is_lagged) result(name)
    type(climlink_emulator), intent(in) :: emulator
    logical, intent(in) :: is_lagged
    character(len=2) :: name

    name = 'v2'
    if (is_lagged) name = 'v6'
    if (is_lagged .and. emulator%has_input('icol')) name = 'v4'
  end function combination

  !> The coupling policy in the words of the namelist. A negative cb_spinup_step means never; see
  !! mmf_nn_emulator.
  function policy_of_namelist() result(policy)
    type(climlink_coupling_policy) :: policy

    policy%spin_up_steps = max(cb_spinup_step, 0)
    if (cb_partial_coupling) then
      policy%mode = 'partial'
      allocate (policy%variables(count(cb_partial_coupling_vars /= ' ')))
      policy%variables = pack(cb_partial_coupling_vars, cb_partial_coupling_vars /= ' ')
    end if
    if (.not. cb_do_ramp) return
    policy%ramp = cb_ramp_option
    policy%ramp_factor = cb_ramp_factor
    if (policy%ramp == 'linear') policy%ramp_steps = cb_ramp_linear_steps
    if (policy%ramp == 'step') then
      policy%ramp_on_steps = cb_ramp_step_1steps
      policy%ramp_off_steps = cb_ramp_step_0steps
    end if
  end function policy_of_namelist

end module mmf_nn_opening
