!> Collective opening, ranks without columns, and failures on one rank: nobody hangs and everybody
!! knows.
program test_parallel
  use, intrinsic :: ieee_arithmetic, only: ieee_quiet_nan, ieee_value
  use, intrinsic :: iso_fortran_env, only: int64, int8, real64
  use mpi_f08, only: MPI_Allreduce, MPI_Comm, MPI_COMM_NULL, MPI_Comm_rank, MPI_Comm_size, &
                     MPI_Comm_split, MPI_COMM_WORLD, MPI_Finalize, MPI_Init, MPI_INTEGER, MPI_SUM
  use climlink, only: climlink_emulator, climlink_error_argument, climlink_error_digest, &
                      climlink_error_file, climlink_error_host, climlink_error_nonfinite, &
                      climlink_error_package, climlink_error_state, climlink_status
  use climlink_parallel, only: broadcast_bytes
  use test_support, only: check, check_error, finish, fixture, gain_t, n_level, option, time_step
  implicit none (type, external)

  type(climlink_emulator) :: emulator
  type(climlink_status) :: status
  integer :: rank, n_rank
  character(len=8) :: last_rank

  call emulator%open(fixture('column.pt'), status, comm=MPI_COMM_WORLD%mpi_val)
  call check_error(status, climlink_error_argument, 'MPI is not running')
  call MPI_Init()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank)
  call MPI_Comm_size(MPI_COMM_WORLD, n_rank)
  write (last_rank, '(i0)') n_rank - 1

  call bytes_in_pieces()
  call failures_of_the_file()
  call failures_of_one_rank()
  call open_and_run(MPI_COMM_WORLD)
  call open_in_half_of_the_ranks()
  call not_a_number()
  call MPI_Finalize()
  call finish()

contains

  !> Files beyond what one MPI message can carry go in pieces.
  subroutine bytes_in_pieces()
    integer(int8) :: sent(1000), bytes(1000)
    integer :: i

    sent = [(int(mod(i, 100), int8), i=1, size(sent))]
    bytes = 0_int8
    if (rank == 0) bytes = sent
    call broadcast_bytes(MPI_COMM_WORLD%mpi_val, bytes, chunk=7_int64)
    call check(all(bytes == sent), 'bytes in pieces')
  end subroutine bytes_in_pieces

  !> Rank 0 alone sees the file; all ranks get its error.
  subroutine failures_of_the_file()
    call emulator%open(fixture('no_such_file.pt'), status, comm=MPI_COMM_WORLD%mpi_val)
    call check_error(status, climlink_error_file, 'rank 0: open: ')
    call check_error(status, climlink_error_file, 'no_such_file.pt')
    call emulator%open(fixture('not_a_package.pt'), status, comm=MPI_COMM_WORLD%mpi_val)
    call check_error(status, climlink_error_package, 'not_a_package.pt')
    call emulator%open(fixture('truncated.pt'), status, comm=MPI_COMM_WORLD%mpi_val)
    call check_error(status, climlink_error_file, 'truncated.pt')
    call emulator%open('', status, comm=MPI_COMM_WORLD%mpi_val)
    call check_error(status, climlink_error_file, 'rank 0')
    call emulator%open(fixture('column.pt'), status, comm=MPI_COMM_NULL%mpi_val)
    call check_error(status, climlink_error_argument, 'MPI_COMM_NULL')
    call check(.not. emulator%is_open(), 'closed after failures')
  end subroutine failures_of_the_file

  !> The last rank alone makes a wrong claim, or has the emulator open already.
  subroutine failures_of_one_rank()
    integer :: levels
    character(len=64) :: pinned

    levels = n_level
    if (rank == n_rank - 1) levels = 61
    call emulator%open(fixture('column.pt'), status, comm=MPI_COMM_WORLD%mpi_val, n_level=levels)
    call check_error(status, climlink_error_host, 'rank ' // trim(last_rank) // ': open: ')
    call check_error(status, climlink_error_host, '61')
    call check(.not. emulator%is_open(), 'closed on the ranks that could have opened')

    call emulator%open(fixture('column.pt'), status)
    pinned = emulator%digest()
    call emulator%close(status)
    if (rank == n_rank - 1) pinned = repeat('f', 64)
    call emulator%open(fixture('column.pt'), status, comm=MPI_COMM_WORLD%mpi_val, &
                       options=option('pinned_sha256', pinned))
    call check_error(status, climlink_error_digest, 'rank ' // trim(last_rank))

    call other_physics_on_one_rank()
    if (rank == n_rank - 1) call emulator%open(fixture('column.pt'), status)
    call emulator%open(fixture('column.pt'), status, comm=MPI_COMM_WORLD%mpi_val)
    call check_error(status, climlink_error_state, &
                     'rank ' // trim(last_rank) // ': open: this emulator is open already')
    call check(emulator%is_open() .eqv. rank == n_rank - 1, 'the emulator that was open stays open')
    call emulator%close(status)
  end subroutine failures_of_one_rank

  !> The last rank alone leaves a constraint out, which each of them could.
  subroutine other_physics_on_one_rank()
    character(len=16) :: off

    off = 'doubled'
    call emulator%open(fixture('switched.pt'), status, comm=MPI_COMM_WORLD%mpi_val, &
                       options=option('constraints_off', off))
    call check(status%ok() .and. emulator%constraints_off() == 'doubled', &
               'the same on all ranks: ' // status%message)
    call emulator%close(status)
    if (n_rank == 1) return
    if (rank < n_rank - 1) off = ''
    call emulator%open(fixture('switched.pt'), status, comm=MPI_COMM_WORLD%mpi_val, &
                       options=option('constraints_off', off))
    call check_error(status, climlink_error_argument, &
                     'rank ' // trim(last_rank) // ': open: constraints_off is "doubled" here')
    call check_error(status, climlink_error_argument, 'but "" on rank 0')
    call check(.not. emulator%is_open(), 'closed where the constraints differ')
    if (rank == n_rank - 1) off = 'doubeld'
    call emulator%open(fixture('switched.pt'), status, comm=MPI_COMM_WORLD%mpi_val, &
                       options=option('constraints_off', off))
    call check_error(status, climlink_error_argument, 'rank ' // trim(last_rank) // ': open: ')
  end subroutine other_physics_on_one_rank

  !> Rank r of n has r columns: rank 0 has none.
  subroutine open_and_run(comm)
    type(MPI_Comm), intent(in) :: comm
    real(real64), allocatable :: t(:, :), scalar(:)
    integer :: i, my_rank, mine, total

    call MPI_Comm_rank(comm, my_rank)
    call emulator%open(fixture('column.pt'), status, comm=comm%mpi_val, n_level=n_level, &
                       time_step=time_step)
    call check(status%ok(), 'collective open: ' // status%message)
    allocate (t(my_rank, n_level), scalar(my_rank))
    do i = 1, my_rank
      t(i, :) = 200.0_real64 + 10 * my_rank + i
    end do
    scalar = 1.0_real64
    call emulator%begin(my_rank, status)
    call emulator%set('state_t', t, 1, status)
    call emulator%set('state_q0001', t, 1, status)
    call emulator%set('state_ps', scalar, 1, status)
    call emulator%set('pbuf_SOLIN', scalar, 1, status)
    call check(status%ok(), 'set: ' // status%message)
    call emulator%run(status)
    call check(status%ok(), 'run: ' // status%message)
    call emulator%get('ptend_t', t, 1, status)
    call check(status%ok(), 'get: ' // status%message)
    do i = 1, my_rank
      call check(all(abs(t(i, :) - gain_t * (200.0_real64 + 10 * my_rank + i)) < 1e-9_real64), &
                 'values')
    end do
    mine = my_rank
    call MPI_Allreduce(mine, total, 1, MPI_INTEGER, MPI_SUM, comm)
    call check(size(t, 1) == mine .and. total >= mine, 'all ranks came here')
    call emulator%close(status)
  end subroutine open_and_run

  !> A component of a model on some of the ranks.
  subroutine open_in_half_of_the_ranks()
    type(MPI_Comm) :: half

    call MPI_Comm_split(MPI_COMM_WORLD, mod(rank, 2), rank, half)
    call open_and_run(half)
  end subroutine open_in_half_of_the_ranks

  !> The message names the rank within the communicator, the variable and the column; other ranks
  !! are not affected.
  subroutine not_a_number()
    real(real64) :: t(3, n_level)

    call emulator%open(fixture('column.pt'), status, comm=MPI_COMM_WORLD%mpi_val)
    t = 250.0_real64
    if (rank == n_rank - 1) t(2, 5) = ieee_value(t(2, 5), ieee_quiet_nan)
    call emulator%begin(3, status)
    call emulator%set('state_t', t, 1, status)
    if (rank == n_rank - 1) then
      call check_error(status, climlink_error_nonfinite, &
                       'rank ' // trim(last_rank) // ': set: state_t: column 2, level 5')
    else
      call check(status%ok(), 'ranks with finite values')
    end if
    call emulator%close(status)
  end subroutine not_a_number

end program test_parallel
