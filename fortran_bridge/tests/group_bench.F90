!> Times steps of one package as every rank's own without MPI, as every rank's own opened together
!! (group_size 1), and shared by all ranks of the node (group_size 0), in turn:
!!
!!     mpirun -np 2 group_bench PACKAGE COLUMNS_OF_A_RANK ROUNDS STEPS_OF_A_ROUND
!!
!! Writes one line per round: seconds of each of the three, of the slowest rank.
program group_bench
  use, intrinsic :: iso_fortran_env, only: output_unit, real64
  use mpi_f08, only: MPI_Allreduce, MPI_Barrier, MPI_Comm_rank, MPI_COMM_WORLD, &
                     MPI_DOUBLE_PRECISION, MPI_Finalize, MPI_IN_PLACE, MPI_Init, MPI_MAX, MPI_Wtime
  use climlink, only: climlink_emulator, climlink_options, climlink_variable
  implicit none (type, external)

  type(climlink_emulator) :: emulators(3)
  type(climlink_options) :: options
  character(len=4096) :: package
  character(len=:), allocatable :: memory
  integer :: rank, n_column, n_round, n_step, round, i, k
  real(real64) :: seconds(3)

  call MPI_Init()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank)
  call get_command_argument(1, package)
  n_column = number(2)
  n_round = number(3)
  n_step = number(4)
  call emulators(1)%open(trim(package))
  call emulators(2)%open(trim(package), comm=MPI_COMM_WORLD%mpi_val)
  call options%set('group_size', 0)
  call emulators(3)%open(trim(package), comm=MPI_COMM_WORLD%mpi_val, options=options)
  do round = 0, n_round                                ! the first one warms up
    do k = 1, 3
      i = 1 + mod(round + k, 3)                        ! no one is always the last
      call MPI_Barrier(MPI_COMM_WORLD)
      seconds(i) = time_of(emulators(i))
    end do
    call MPI_Allreduce(MPI_IN_PLACE, seconds, 3, MPI_DOUBLE_PRECISION, MPI_MAX, MPI_COMM_WORLD)
    if (rank == 0 .and. round > 0) write (output_unit, '(3es16.8)') seconds
  end do
  do i = 1, 2
    call emulators(i)%close()
  end do
  allocate (memory, source=emulators(3)%node_memory(MPI_COMM_WORLD%mpi_val))
  if (rank == 0) write (output_unit, '(2a)') 'memory: ', memory
  call emulators(3)%close()
  call MPI_Finalize()

contains

  function number(i) result(value)
    integer, intent(in) :: i
    integer :: value
    character(len=32) :: text

    call get_command_argument(i, text)
    read (text, *) value
  end function number

  function time_of(emulator) result(seconds)
    type(climlink_emulator), intent(inout) :: emulator
    real(real64) :: seconds
    integer :: step

    seconds = MPI_Wtime()
    do step = 1, n_step
      call one_step(emulator)
    end do
    seconds = MPI_Wtime() - seconds
  end function time_of

  subroutine one_step(emulator)
    type(climlink_emulator), intent(inout) :: emulator
    type(climlink_variable) :: variable
    real(real64), allocatable :: values(:, :)
    integer :: v

    call emulator%begin(n_column)
    do v = 1, emulator%n_input()
      variable = emulator%input(v)
      allocate (values(n_column, variable%width), source=1.0_real64)
      call emulator%set(variable%name, values, 1)
      deallocate (values)
    end do
    call emulator%run()
    do v = 1, emulator%n_output()
      variable = emulator%output(v)
      allocate (values(n_column, variable%width))
      call emulator%get(variable%name, values, 1)
      deallocate (values)
    end do
  end subroutine one_step

end program group_bench
