!> One step of a replay: columns to the package in chunks, and what it gives back.
module replay_coupling
  use, intrinsic :: iso_fortran_env, only: real64
  use mpi_f08, only: MPI_Wtime
  use climlink, only: climlink_emulator, climlink_error_group, climlink_host_fields, &
                      climlink_status
  use climlink_carried_state, only: climlink_carried
  use host_parallel, only: end_from_here
  use replay_fields, only: snapshot_fields
  implicit none (type, external)
  private

  public :: run_step, step_seconds

  !> Seconds spent in the parts of a step.
  type :: step_seconds
    real(real64) :: pack = 0.0_real64
    real(real64) :: forward = 0.0_real64
    real(real64) :: unpack = 0.0_real64
  end type step_seconds

contains

  !> Sends this rank's columns through the package in chunks and makes the fields of an mlo file.
  !! run is called on every rank, also on one without columns.
  subroutine run_step(emulator, carried, fields, pcols, time_step, seconds, error)
    type(climlink_emulator), intent(inout) :: emulator
    type(climlink_carried), intent(inout) :: carried
    type(snapshot_fields), intent(inout), target :: fields         !! Read.
    integer, intent(in) :: pcols
    real(real64), intent(in) :: time_step                          !! [s]
    type(step_seconds), intent(inout) :: seconds
    character(len=:), allocatable, intent(out) :: error
    type(climlink_host_fields) :: chunk
    type(climlink_status) :: status
    real(real64) :: start
    integer :: n_column, first

    n_column = size(fields%written(1)%values, 1)
    start = MPI_Wtime()
    call emulator%begin(n_column, status)
    do first = 1, n_column, pcols
      if (.not. status%ok()) exit
      call fields%declare(chunk, first, min(first + pcols - 1, n_column))
      call chunk%send(emulator, status, first)
    end do
    if (status%ok() .and. carried%has_state()) call carried%send(emulator, status)
    call count_time(start, seconds%pack)
    if (status%ok()) call emulator%run(status)
    call count_time(start, seconds%forward)
    do first = 1, n_column, pcols
      if (.not. status%ok()) exit
      call fields%declare(chunk, first, min(first + pcols - 1, n_column))
      call chunk%receive(emulator, status, first)
    end do
    if (status%ok() .and. carried%has_state()) call carried%receive(emulator, status)
    call fields%advance(time_step)
    call count_time(start, seconds%unpack)
    if (status%code == climlink_error_group) call end_from_here(status%message)
    error = ''
    if (.not. status%ok()) error = status%message
  end subroutine run_step

  !> Adds the time since start to a sum and starts anew.
  subroutine count_time(start, total)
    real(real64), intent(inout) :: start, total
    real(real64) :: now

    now = MPI_Wtime()
    total = total + now - start
    start = now
  end subroutine count_time

end module replay_coupling
