!> Opens the package that the namelist names and checks that namelist, package and model fit
!! together, before the first step.
module mmf_nn_opening
  use cam_logfile, only: iulog
  use climlink, only: climlink_emulator, climlink_host_fields, climlink_status, climlink_variable
  use climlink_coupling, only: climlink_coupling_policy
  use climlink_host_settings, only: climlink_emulator_settings
  use climlink_lagged_memory, only: climlink_lags
  use mmf_nn_errors, only: stop_together
  use mmf_nn_fields, only: add_inputs, add_lags, add_outputs, chunk_fields, combination, &
                           find_constituents, remap, takes_humidity
  use mmf_nn_settings, only: cb_nn_var_combo, cb_spinup_step, cb_strato_water_constraint, &
                             climlink_group_size, climlink_legacy, climlink_legacy_given, &
                             climlink_water_fixer, &
                             emulator_settings, input_rh, &
                             input_rh_given, inputlength, not_given, number_text, outputlength, &
                             package_path
  use mmf_nn_surface, only: find_precipitation, ocean_only
  use mpishorthand, only: mpicom
  use physics_buffer, only: pbuf_get_index
  use ppgrid, only: pver
  use shr_kind_mod, only: r8 => shr_kind_r8
  use spmd_utils, only: masterproc
  use time_manager, only: get_step_size
  implicit none (type, external)
  private

  public :: open_package, check_package

contains

  !> Opens the package on all ranks, unless it is open. Collective; ends the model if it cannot.
  subroutine open_package(emulator)
    type(climlink_emulator), intent(inout) :: emulator
    type(climlink_emulator_settings) :: settings
    type(climlink_status) :: status
    character(len=:), allocatable :: memory
    integer, allocatable :: n_level                          ! not allocated is not present

    if (emulator%is_open()) return
    settings = emulator_settings()
    if (settings%vertical_remap == 'none') n_level = pver
    call emulator%open(package_path(), status, comm=mpicom, n_level=n_level, &
                       time_step=real(get_step_size(), r8), options=settings%options())
    if (status%ok()) call remap%initialize_from(emulator, settings%vertical_remap, status)
    if (.not. status%ok()) call stop_together(status%message)
    if (.not. climlink_legacy_given) climlink_legacy = emulator%host_postprocessing() == 'legacy'
    memory = ''
    if (climlink_group_size /= 1) memory = emulator%node_memory(mpicom)
    if (.not. masterproc) return
    if (len(memory) > 0) write (iulog, '(2a)') &
      'mmf_nn_emulator: ranks share networks; node of the master: ', memory
    if (remap%is_active()) write (iulog, '(2a)') 'mmf_nn_emulator: levels are remapped: ', &
      remap%text(pver)
    if (len(emulator%constraints_off()) > 0) write (iulog, '(2a)') &
      'mmf_nn_emulator: constraints of the package that this run leaves out: ', &
      emulator%constraints_off()
    if (len(emulator%engine_note()) > 0) write (iulog, '(4a)') 'mmf_nn_emulator: ', &
      emulator%engine(), ' runs: ', emulator%engine_note()
    if (climlink_legacy .and. .not. climlink_legacy_given) write (iulog, '(2a)') &
      'mmf_nn_emulator: the package was made for the old post-processing, ', &
      'which this run applies (climlink_legacy)'
  end subroutine open_package

  !> Ends the model if the package, the namelist and what this model has do not fit.
  subroutine check_package(emulator, policy, lags)
    type(climlink_emulator), intent(in) :: emulator          !! Open.
    type(climlink_coupling_policy), intent(in) :: policy
    type(climlink_lags), intent(in), target :: lags          !! Initialized.
    type(climlink_status) :: status
    type(climlink_host_fields) :: table                      ! all that E3SM has, without arrays
    type(chunk_fields), target :: nothing
    character(len=:), allocatable :: error

    call find_constituents()
    call table%begin(0)
    call add_inputs(table)
    call add_lags(table, lags, emulator)
    call add_outputs(table, nothing)
    call check_shapes(emulator, error)
    if (len(error) == 0) call check_entries(emulator, table%steps_needed(emulator) > 0, error)
    if (len(error) == 0) call check_table(emulator, table, error)
    if (len(error) == 0) call find_precipitation(error)
    if (len(error) == 0 .and. cb_spinup_step >= 0) call policy%check(emulator, status)
    if (.not. status%ok()) error = status%message
    if (len(error) > 0) call stop_together(package_path() // ': ' // error)
  end subroutine check_package

  !> error is '' if the package takes and gives what E3SM has, after enough steps.
  subroutine check_table(emulator, table, error)
    type(climlink_emulator), intent(in) :: emulator
    type(climlink_host_fields), intent(in) :: table
    character(len=:), allocatable, intent(out) :: error
    type(climlink_status) :: status
    integer, allocatable :: spin_up                          ! not allocated is not present
    integer :: code

    error = ''
    if (cb_spinup_step >= 0) spin_up = cb_spinup_step
    call table%check(emulator, status, spin_up, 'cb_spinup_step')
    if (status%ok()) return
    error = status%message
    if (pbuf_get_index('LHFLX', errcode=code) < 1) error = error // '. The physics buffer has ' // &
      'no averaged fluxes (LHFLX and others): set srf_flux_avg = 1 in &phys_ctl_nl'
  end subroutine check_table

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

  !> error is '' if the namelist says of the package what it is.
  subroutine check_entries(emulator, is_lagged, error)
    type(climlink_emulator), intent(in) :: emulator
    logical, intent(in) :: is_lagged
    character(len=:), allocatable, intent(out) :: error
    integer :: n_in, n_out
    logical :: humid, confident

    error = ''
    call measure(emulator, n_in, n_out, confident)
    humid = takes_humidity(emulator)
    if (cb_strato_water_constraint .and. .not. climlink_legacy) then
      error = 'cb_strato_water_constraint is part of the old post-processing: set ' // &
              'climlink_legacy, or use a package with the constraint stratospheric_water'
    else if (climlink_legacy .and. remap%is_active()) then
      error = 'the old post-processing (climlink_legacy) knows the levels that the package ' // &
              'was made for, not those that it is remapped to: set one of both off'
    else if (climlink_water_fixer /= 'none' .and. ocean_only) then
      error = 'climlink_water_fixer closes the water of the whole globe, but this model was ' // &
              'built with MMF_NN_EMULATOR_OCN_ONLY, which keeps precipitation over land: ' // &
              'leave one of both out'
    else if (inputlength /= not_given .and. inputlength /= n_in) then
      error = 'inputlength is ' // number_text(inputlength) // ', but the package takes ' &
        // number_text(n_in) // ' inputs'
    else if (outputlength /= not_given .and. outputlength /= n_out) then
      error = 'outputlength is ' // number_text(outputlength) // ', but the package gives ' &
        // number_text(n_out) // ' outputs'
    else if (input_rh_given .and. (input_rh .neqv. humid)) then
      error = 'input_rh is ' // trim(merge('.true. ', '.false.', input_rh)) &
              // ', but the package takes ' &
              // trim(merge('specific humidity', 'relative humidity', input_rh))
    else if (all(cb_nn_var_combo /= combinations(emulator, is_lagged, confident))) then
      error = "cb_nn_var_combo is '" // trim(cb_nn_var_combo) &
              // "', but the package takes the inputs of " // combination(emulator, is_lagged) &
              // merge(' and gives confidence   ', ' and gives no confidence', confident)
    end if
  end subroutine check_entries

  !> What cb_nn_var_combo may say: nothing, the set of inputs, and that with _conf where the package
  !! gives confidence.
  function combinations(emulator, is_lagged, confident) result(names)
    type(climlink_emulator), intent(in) :: emulator
    logical, intent(in) :: is_lagged, confident
    character(len=7) :: names(3)

    names(1) = ' '
    names(2:) = combination(emulator, is_lagged)
    if (confident) names(3) = trim(names(2)) // '_conf'
  end function combinations

  !> Numbers per column that the package takes and gives, and whether confidence is among them.
  subroutine measure(emulator, n_in, n_out, confident)
    type(climlink_emulator), intent(in) :: emulator
    integer, intent(out) :: n_in, n_out
    logical, intent(out) :: confident
    type(climlink_variable) :: variable
    integer :: i

    n_in = 0
    do i = 1, emulator%n_input()
      variable = emulator%input(i)
      n_in = n_in + variable%width
    end do
    n_out = 0
    confident = .false.
    do i = 1, emulator%n_output()
      variable = emulator%output(i)
      n_out = n_out + variable%width
      confident = confident .or. variable%role == 'confidence'
    end do
  end subroutine measure

end module mmf_nn_opening
