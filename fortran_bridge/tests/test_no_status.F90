!> Without a status an error ends the program. Arguments: folder of the fixtures, case.
program test_no_status
  use, intrinsic :: ieee_arithmetic, only: ieee_quiet_nan, ieee_value
  use, intrinsic :: iso_fortran_env, only: output_unit, real64
#ifdef CLIMLINK_MPI
  use mpi_f08, only: MPI_COMM_WORLD, MPI_Finalize, MPI_Init
#endif
  use climlink, only: climlink_emulator
  use test_support, only: fixture, n_level
  implicit none (type, external)

  type(climlink_emulator) :: emulator
  real(real64) :: t(2, n_level)
  character(len=32) :: failing
  integer :: comm

  call get_command_argument(2, failing)
  comm = 0
#ifdef CLIMLINK_MPI
  call MPI_Init()
  comm = MPI_COMM_WORLD%mpi_val
#endif
  t = 250.0_real64
  select case (failing)
  case ('missing_file')
    call emulator%open(fixture('no_such_file.pt'), comm=comm)
  case ('alone')
    call emulator%open(fixture('no_such_file.pt'))
  case ('variable')
    call emulator%open(fixture('column.pt'))
    call emulator%begin(2)
    call emulator%set('state_x', t, 1)
  case ('nan')
    call emulator%open(fixture('column.pt'))
    call emulator%begin(2)
    t(2, 1) = ieee_value(t(2, 1), ieee_quiet_nan)
    call emulator%set('state_t', t, 1)
  case ('unset')
    call emulator%open(fixture('column.pt'))
    call emulator%begin(2)
    call emulator%run()
  case default
    error stop 'unknown case'
  end select
  write (output_unit, '(a)') 'still running'
#ifdef CLIMLINK_MPI
  call MPI_Finalize()
#endif
end program test_no_status
