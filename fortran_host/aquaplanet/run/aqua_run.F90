!> Runs a case from its start, or from a restart, to its last step.
module aqua_run
  use, intrinsic :: iso_fortran_env, only: error_unit, int64, output_unit
  use aqua_checkpoint, only: checkpoint_path, read_checkpoint, read_history, write_checkpoint
  use aqua_constants, only: r8, seconds_per_day
  use aqua_hybrid, only: coupling_state
  use aqua_model, only: aquaplanet_model
  use aqua_output, only: model_output
  use aqua_settings, only: aquaplanet_settings
  use climlink, only: climlink_emulator
  use host_lock, only: hold_folder
  use host_parallel, only: agree, exit_failed, program_name, rank, require, world
  implicit none (type, external)
  private

  public :: run_case

  !> The model left its bounds, or the emulator failed.
  integer, parameter :: exit_blown_up = 3

contains

  !> exit_code is 0 when the run finished, 1 when something could not be read or written, 3 when the
  !! model blew up; the message of a failure is on the error unit. Collective.
  subroutine run_case(settings, exit_code)
    type(aquaplanet_settings), intent(in) :: settings
    integer, intent(out) :: exit_code
    type(aquaplanet_model), allocatable, target :: model         ! large for a stack
    type(model_output) :: output
    character(len=:), allocatable :: error, closing

    allocate (model)
    call start(settings, model, output, error)
    call require(error)
    exit_code = 0
    do while (model%step_number < settings%run%n_step)
      call model%advance(error)
      if (len(error) > 0) exit_code = exit_blown_up
      if (len(error) == 0) call keep(model, output, error)
      if (len(error) > 0) exit
      call report_progress(model)
    end do
    if (exit_code == 0 .and. len(error) > 0) exit_code = exit_failed
    closing = ''
    if (rank == 0) call output%close(closing)
    if (len(error) == 0) error = closing
    call agree(error)
    if (exit_code == 0 .and. len(error) > 0) exit_code = exit_failed
    call report_memory(model)
    call report_outcome(model, exit_code, error)
  end subroutine run_case

  !> Builds the model, gives it its first state, and opens the output.
  subroutine start(settings, model, output, error)
    type(aquaplanet_settings), intent(in) :: settings
    type(aquaplanet_model), intent(inout), target :: model
    type(model_output), intent(inout) :: output
    character(len=:), allocatable, intent(out) :: error

    call hold_folder(trim(settings%run%lock_file), error)
    call require(error)
    call model%initialize(settings, error)
    call require(error)
    call report_emulator(model%hybrid%emulator)
    if (len_trim(settings%run%restart_from) > 0) then
      call go_on_from(trim(settings%run%restart_from), model, error)
      if (len(error) == 0 .and. settings%run%restart_perturbation_k &
          > 0.0_r8) call model%perturb_state()
    else
      call model%set_initial(error)
    end if
    if (len(error) == 0 .and. model%step_number >= settings%run%n_step) then
      error = '/run/ n_step: the restart is at or after the last step already'
    end if
    call require(error)
    if (rank == 0) then
      call output%open(model, error)
      if (len(error) == 0 .and. model%step_number &
          > 0) call read_history(trim(settings%run%restart_from), model, output, error)
    end if
  end subroutine start

  !> Takes the state of a restart, and says where the memory of an emulator is not in it.
  subroutine go_on_from(path, model, error)
    character(len=*), intent(in) :: path
    type(aquaplanet_model), intent(inout) :: model
    character(len=:), allocatable, intent(out) :: error
    type(coupling_state) :: coupling

    call read_checkpoint(path, model, coupling, error)
    if (len(error) > 0) return
    call model%hybrid%scatter(coupling, model%worker%first, error)
    if (len(error) > 0) error = path // ': ' // error
    if (len(error) > 0 .or. rank > 0) return
    if (allocated(coupling%carried) .or. .not. model%hybrid%carried%has_state()) return
    write (output_unit, '(4a)') program_name, ': carried state begins anew: ', path, &
      ' holds none of this package'
    flush (output_unit)
  end subroutine go_on_from

  !> A line where the emulator runs without some of its constraints, as it is another function then
  !! than the one that was scored, and one where a compiled artefact was asked for.
  subroutine report_emulator(emulator)
    type(climlink_emulator), intent(in) :: emulator

    if (rank > 0) return
    if (len(emulator%constraints_off()) > 0) write (output_unit, '(3a)') program_name, &
      ': constraints off: ', emulator%constraints_off()
    if (len(emulator%engine_note()) > 0) write (output_unit, '(5a)') program_name, ': ', &
      emulator%engine(), ' runs: ', emulator%engine_note()
    flush (output_unit)
  end subroutine report_emulator

  !> One line where ranks share a network. Collective.
  subroutine report_memory(model)
    type(aquaplanet_model), intent(in) :: model
    character(len=:), allocatable :: memory

    if (.not. model%hybrid%has_emulator) return
    if (model%settings%emulator%entries%group_size == 1) return
    allocate (memory, source=model%hybrid%emulator%node_memory(world))
    if (rank > 0) return
    write (output_unit, '(3a)') program_name, ': node of rank 0: ', memory
    flush (output_unit)
  end subroutine report_memory

  !> Output of the step, and a restart where one is due. Collective.
  subroutine keep(model, output, error)
    type(aquaplanet_model), intent(inout) :: model
    type(model_output), intent(inout) :: output
    character(len=:), allocatable, intent(out) :: error
    type(coupling_state) :: coupling
    logical :: due

    error = ''
    if (rank == 0) call output%record(model, error)
    associate (run => model%settings%run)
      due = model%step_number == run%n_step
      if (run%restart_every_steps > 0) due = due &
        .or. modulo(model%step_number, run%restart_every_steps) == 0
    end associate
    if (due) then
      call model%hybrid%gather(coupling)
      if (rank == 0) call output%hand_over(error)
      if (rank == 0 .and. len(error) == 0) then
        call write_checkpoint(checkpoint_path(model), model, output, coupling, error)
        if (len(error) == 0) write (output_unit, '(3a)') program_name, ': restart ', &
          checkpoint_path(model)
      end if
    end if
    call agree(error)
  end subroutine keep

  !> One line per simulated day.
  subroutine report_progress(model)
    type(aquaplanet_model), intent(in) :: model
    integer(int64), save :: first_count = -1_int64
    integer, save :: first_step = 0
    integer(int64) :: now, rate
    real(r8) :: day, days, seconds

    if (rank > 0) return
    call system_clock(now, rate)
    if (first_count < 0_int64) then
      first_count = now
      first_step = model%step_number
    end if
    associate (run => model%settings%run)
      day = real(model%step_number, r8) * run%time_step_s / seconds_per_day
      if (abs(modulo(real(model%step_number, r8) * run%time_step_s, seconds_per_day)) &
          > 0.0_r8) return
      days = real(model%step_number - first_step, r8) * run%time_step_s / seconds_per_day
      seconds = max(real(now - first_count, r8) / real(rate, r8), tiny(1.0_r8))
      write (output_unit, '(2a,i0,a,f0.3,a,f0.3)') program_name, ': day ', nint(day), ' of ', &
        real(run%n_step, r8) * run%time_step_s / seconds_per_day, ' simulated_years_per_day ', &
        days / 365.0_r8 / (seconds / seconds_per_day)
      flush (output_unit)
    end associate
  end subroutine report_progress

  subroutine report_outcome(model, exit_code, error)
    type(aquaplanet_model), intent(in) :: model
    integer, intent(in) :: exit_code
    character(len=*), intent(in) :: error
    character(len=32) :: day

    if (rank > 0) return
    write (day, '(f32.3)') real(model%step_number, r8) &
      * model%settings%run%time_step_s / seconds_per_day
    day = adjustl(day)
    if (exit_code /= 0) write (error_unit, '(5a)') program_name, ': on day ', trim(day), ': ', error
    write (output_unit, '(5a,i0)') program_name, ': outcome ', outcome(exit_code), &
      ' day ' // trim(day), ' step ', model%step_number
    flush (output_unit)
    flush (error_unit)
  end subroutine report_outcome

  pure function outcome(exit_code) result(name)
    integer, intent(in) :: exit_code
    character(len=:), allocatable :: name

    name = 'failed'
    if (exit_code == 0) name = 'finished'
    if (exit_code == exit_blown_up) name = 'blown_up'
  end function outcome

end module aqua_run
