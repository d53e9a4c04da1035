!> Steps of ranks that share one network, of which one meets its end on the way:
!!
!!     mpirun -np 3 group_fault FIXTURES FAULT RANK TIMEOUT_S
!!
!! FAULT: killed, asleep (it does not go on and does not end) or none. The others write what they
!! are told, and end the program.
program group_fault
  use, intrinsic :: iso_c_binding, only: c_int
  use, intrinsic :: iso_fortran_env, only: output_unit, real64
  use mpi_f08, only: MPI_Comm_rank, MPI_COMM_WORLD, MPI_Finalize, MPI_Init
  use climlink, only: climlink_emulator, climlink_error_group, climlink_options, climlink_status
  use test_support, only: fixture, n_level
  implicit none (type, external)

  interface
    function kill(process, signal) result(failed) bind(c, name='kill')
      import :: c_int
      implicit none (type, external)
      integer(c_int), value, intent(in) :: process, signal
      integer(c_int) :: failed
    end function kill

    function getpid() result(process) bind(c, name='getpid')
      import :: c_int
      implicit none (type, external)
      integer(c_int) :: process
    end function getpid

    function sleep_seconds(seconds) result(left) bind(c, name='sleep')
      import :: c_int
      implicit none (type, external)
      integer(c_int), value, intent(in) :: seconds
      integer(c_int) :: left
    end function sleep_seconds
  end interface

  integer, parameter :: n_step = 2000, n_column = 8, fault_step = 1000
  integer(c_int), parameter :: sigkill = 9_c_int
  type(climlink_emulator) :: emulator
  type(climlink_options) :: options
  type(climlink_status) :: status
  character(len=16) :: fault, number, timeout
  integer :: rank, failing, step
  integer(c_int) :: left

  call get_command_argument(2, fault)
  call get_command_argument(3, number)
  read (number, *) failing
  call get_command_argument(4, timeout)
  call MPI_Init()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank)
  call options%set('group_size', 0)
  call options%set('group_timeout_s', timeout)
  call emulator%open(fixture('column.pt'), comm=MPI_COMM_WORLD%mpi_val, options=options)
  do step = 1, n_step
    call one_step(status)
    if (.not. status%ok()) exit
    if (step == fault_step .and. rank == failing) call meet_its_end()
  end do
  if (.not. status%ok()) then
    write (output_unit, '(2(a,i0),2a)') 'told in step ', step, ', code ', &
      status%code - climlink_error_group, ': ', status%message
    flush (output_unit)
    left = sleep_seconds(1_c_int)                  ! the others have time to speak
    call emulator%begin(n_column)                  ! ends the program
  end if
  call emulator%close()
  write (output_unit, '(a,i0)') 'finished ', rank
  call MPI_Finalize()

contains

  subroutine one_step(outcome)
    type(climlink_status), intent(out) :: outcome
    real(real64) :: profile(n_column, n_level), scalar(n_column)

    profile = 250.0_real64
    scalar = 1.0_real64
    call emulator%begin(n_column, outcome)
    if (outcome%ok()) call emulator%set('state_t', profile, 1, outcome)
    if (outcome%ok()) call emulator%set('state_q0001', profile, 1, outcome)
    if (outcome%ok()) call emulator%set('state_ps', scalar, 1, outcome)
    if (outcome%ok()) call emulator%set('pbuf_SOLIN', scalar, 1, outcome)
    if (outcome%ok()) call emulator%run(outcome)
  end subroutine one_step

  subroutine meet_its_end()
    integer(c_int) :: ignored

    if (fault == 'killed') ignored = kill(getpid(), sigkill)
    if (fault == 'asleep') ignored = sleep_seconds(600_c_int)
  end subroutine meet_its_end

end program group_fault
