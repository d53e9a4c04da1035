!> climlink_parallel on MPI.
submodule(climlink_parallel) climlink_parallel_mpi
  use, intrinsic :: iso_fortran_env, only: error_unit
  use mpi_f08, only: MPI_Abort, MPI_Allreduce, MPI_Bcast, MPI_BYTE, MPI_CHARACTER, MPI_Comm, &
                     MPI_COMM_NULL, MPI_Comm_free, MPI_Comm_rank, MPI_Comm_size, &
                     MPI_Comm_split_type, MPI_COMM_TYPE_SHARED, MPI_COMM_WORLD, MPI_Finalized, &
                     MPI_IN_PLACE, MPI_INFO_NULL, MPI_Initialized, MPI_INTEGER, MPI_INTEGER8, &
                     MPI_MIN
  use climlink_errors, only: climlink_error_argument, failure
  implicit none (type, external)

  !> Bytes per broadcast: MPI counts are default integers.
  integer(int64), parameter :: most_bytes = 2_int64**30

contains

  module procedure mpi_runs
    logical :: initialized, finalized

    call MPI_Initialized(initialized)
    finalized = .false.
    if (initialized) call MPI_Finalized(finalized)
    runs = initialized .and. .not. finalized
  end procedure mpi_runs

  module procedure process_rank
    rank = 0
    if (mpi_runs()) call MPI_Comm_rank(MPI_COMM_WORLD, rank)
  end procedure process_rank

  module procedure communicator_rank
    call MPI_Comm_rank(MPI_Comm(comm), rank)
  end procedure communicator_rank

  module procedure check_communicator
    if (.not. mpi_runs()) then
      status = failure(climlink_error_argument, 0, &
                       'open: a communicator was given but MPI is not running; call MPI_Init ' // &
                       'first, or leave out comm to let this process open the file by itself')
    else if (comm == MPI_COMM_NULL%mpi_val) then
      status = failure(climlink_error_argument, process_rank(), &
                       'open: the communicator is MPI_COMM_NULL; a process outside the ' // &
                       'communicator must not open the emulator with it')
    end if
  end procedure check_communicator

  module procedure agree
    type(MPI_Comm) :: communicator
    integer :: rank, n_rank, lowest, header(2)
    character(len=:), allocatable :: message

    communicator = MPI_Comm(comm)
    call MPI_Comm_rank(communicator, rank)
    call MPI_Comm_size(communicator, n_rank)
    lowest = merge(n_rank, rank, status%ok())
    call MPI_Allreduce(MPI_IN_PLACE, lowest, 1, MPI_INTEGER, MPI_MIN, communicator)
    if (lowest == n_rank) return
    message = ''
    if (rank == lowest) message = status%message
    header = [status%code, len(message)]
    call MPI_Bcast(header, 2, MPI_INTEGER, lowest, communicator)
    if (rank /= lowest) message = repeat(' ', header(2))
    call MPI_Bcast(message, header(2), MPI_CHARACTER, lowest, communicator)
    status%code = header(1)
    status%message = message
  end procedure agree

  module procedure node_rank
    type(MPI_Comm) :: node

    call MPI_Comm_split_type(MPI_Comm(comm), MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, node)
    call MPI_Comm_rank(node, rank)
    call MPI_Comm_free(node)
  end procedure node_rank

  module procedure broadcast_count
    call MPI_Bcast(count, 1, MPI_INTEGER8, 0, MPI_Comm(comm))
  end procedure broadcast_count

  module procedure broadcast_bytes
    integer(int64) :: first, last, n_byte

    n_byte = most_bytes
    if (present(chunk)) n_byte = chunk
    do first = 1_int64, size(bytes, kind=int64), n_byte
      last = min(first + n_byte - 1_int64, size(bytes, kind=int64))
      call MPI_Bcast(bytes(first:last), int(last - first + 1_int64), MPI_BYTE, 0, MPI_Comm(comm))
    end do
  end procedure broadcast_bytes

  module procedure stop_program
    write (error_unit, '(a)') 'climlink: ' // message
    flush (error_unit)
    if (mpi_runs()) call MPI_Abort(MPI_COMM_WORLD, 1)
    error stop 1
  end procedure stop_program

end submodule climlink_parallel_mpi
