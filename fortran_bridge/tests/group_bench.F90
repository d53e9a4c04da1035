!> Times steps of one package as every rank's own without MPI, as every rank's own opened together
!! (group_size 1), and shared by all ranks of the node (group_size 0), in turn:
!!
!!     mpirun -np 2 group_bench PACKAGE ROWS COLUMNS_OF_A_RANK CHUNK ROUNDS STEPS_OF_A_ROUND \
!!       [ARTEFACT SHA256]
!!
!! Writes one line per round: seconds of each of the three, of the slowest rank; then the node's
!! memory, and which engine ran.
program group_bench
  use, intrinsic :: iso_fortran_env, only: output_unit, real64
  use bench_host, only: bench_columns, chosen_engine, whole_argument
  use mpi_f08, only: MPI_Allreduce, MPI_Barrier, MPI_Comm_rank, MPI_COMM_WORLD, &
                     MPI_DOUBLE_PRECISION, MPI_Finalize, MPI_IN_PLACE, MPI_Init, MPI_MAX, MPI_Wtime
  use climlink, only: climlink_emulator, climlink_options
  implicit none (type, external)

  type(climlink_emulator) :: emulators(3)
  type(climlink_options) :: options
  type(bench_columns) :: columns
  character(len=4096) :: package, rows
  character(len=:), allocatable :: memory
  integer :: rank, n_round, n_step, round, i, k
  real(real64) :: seconds(3)

  call MPI_Init()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank)
  call get_command_argument(1, package)
  call get_command_argument(2, rows)
  n_round = whole_argument(5)
  n_step = whole_argument(6)
  options = chosen_engine(7)
  call emulators(1)%open(trim(package), options=options)
  call emulators(2)%open(trim(package), comm=MPI_COMM_WORLD%mpi_val, options=options)
  call options%set('group_size', 0)
  call emulators(3)%open(trim(package), comm=MPI_COMM_WORLD%mpi_val, options=options)
  call columns%read_rows(emulators(1), trim(rows), whole_argument(3), whole_argument(4))
  do round = 0, n_round                                ! the first one warms up
    do k = 1, 3
      i = 1 + mod(round + k, 3)                        ! no one is always the last
      call MPI_Barrier(MPI_COMM_WORLD)
      seconds(i) = time_of(emulators(i))
    end do
    call MPI_Allreduce(MPI_IN_PLACE, seconds, 3, MPI_DOUBLE_PRECISION, MPI_MAX, MPI_COMM_WORLD)
    if (rank == 0 .and. round > 0) write (output_unit, '(a, 3es16.8)') 'round', seconds
  end do
  do i = 1, 2
    call emulators(i)%close()
  end do
  allocate (memory, source=emulators(3)%node_memory(MPI_COMM_WORLD%mpi_val))
  if (rank == 0) write (output_unit, '(2a, /, 2a)') 'engine ', emulators(3)%engine(), &
    'memory: ', memory
  call emulators(3)%close()
  call MPI_Finalize()

contains

  function time_of(emulator) result(seconds)
    type(climlink_emulator), intent(inout) :: emulator
    real(real64) :: seconds
    integer :: step

    seconds = MPI_Wtime()
    do step = 1, n_step
      call columns%send(emulator)
      call emulator%run()
      call columns%receive(emulator)
    end do
    seconds = MPI_Wtime() - seconds
  end function time_of

end program group_bench
