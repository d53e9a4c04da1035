!> The hosts' use of MPI: a share of columns per rank, errors that end all ranks together, and
!! gathering.
module host_parallel
  use, intrinsic :: iso_fortran_env, only: error_unit, real64
  use mpi_f08, only: MPI_Abort, MPI_Allgatherv, MPI_Allreduce, MPI_Barrier, MPI_Bcast, &
                     MPI_CHARACTER, MPI_Comm_rank, MPI_Comm_size, MPI_COMM_WORLD, &
                     MPI_DOUBLE_PRECISION, MPI_Exscan, MPI_Finalize, MPI_Gather, MPI_Gatherv, &
                     MPI_IN_PLACE, MPI_Init, MPI_INTEGER, MPI_MAX, MPI_MIN, MPI_SUM
  implicit none (type, external)
  private

  public :: start_parallel, end_parallel, only_argument, agree, require, end_from_here, &
            share_of, first_column, complete_shares, gather_columns, maxima_over_ranks

  integer, parameter, public :: exit_failed = 1
  integer, parameter :: exit_usage = 2

  integer, protected, public :: rank = 0      !! This process, from 0.
  integer, protected, public :: n_rank = 1    !! Number of processes.
  integer, protected, public :: world = -1    !! Communicator of all, as the handle for climlink.

  character(len=:), allocatable, protected, public :: program_name    !! Begins every error line.

contains

  !> Joins the other ranks; program begins the error lines of require.
  subroutine start_parallel(program)
    character(len=*), intent(in) :: program

    program_name = program
    call MPI_Init()
    call MPI_Comm_rank(MPI_COMM_WORLD, rank)
    call MPI_Comm_size(MPI_COMM_WORLD, n_rank)
    world = MPI_COMM_WORLD%mpi_val
  end subroutine start_parallel

  subroutine end_parallel()
    call MPI_Finalize()
  end subroutine end_parallel

  !> The command line of the program: a namelist file, or --list-settings. With anything else all
  !! ranks end. Collective.
  function only_argument() result(argument)
    character(len=:), allocatable :: argument, error
    integer :: length

    error = ''
    if (command_argument_count() /= 1) error = 'usage: ' // program_name // ' NAMELIST, or ' // &
                                               program_name // ' --list-settings'
    call require(error, exit_usage)
    call get_command_argument(1, length=length)
    allocate (character(len=length) :: argument)
    call get_command_argument(1, argument)
  end function only_argument

  !> Gives all ranks one view of errors: that of the lowest rank that has one, or ''. Collective.
  subroutine agree(error)
    character(len=:), allocatable, intent(inout) :: error
    integer :: lowest, length

    lowest = merge(n_rank, rank, len(error) == 0)
    call MPI_Allreduce(MPI_IN_PLACE, lowest, 1, MPI_INTEGER, MPI_MIN, MPI_COMM_WORLD)
    if (lowest == n_rank) return
    length = len(error)
    call MPI_Bcast(length, 1, MPI_INTEGER, lowest, MPI_COMM_WORLD)
    if (rank /= lowest) then
      if (allocated(error)) deallocate (error)
      allocate (character(len=length) :: error)
    end if
    call MPI_Bcast(error, length, MPI_CHARACTER, lowest, MPI_COMM_WORLD)
  end subroutine agree

  !> Goes on if error is '' on every rank; else the lowest rank that failed writes its error and all
  !! ranks end. Collective.
  subroutine require(error, exit_code)
    character(len=*), intent(in) :: error
    integer, intent(in), optional :: exit_code
    integer :: lowest, code

    lowest = merge(n_rank, rank, len(error) == 0)
    call MPI_Allreduce(MPI_IN_PLACE, lowest, 1, MPI_INTEGER, MPI_MIN, MPI_COMM_WORLD)
    if (lowest == n_rank) return
    if (rank == lowest) then
      write (error_unit, '(3a)') program_name, ': ', error
      flush (error_unit)
    end if
    call MPI_Barrier(MPI_COMM_WORLD)
    call MPI_Finalize()
    code = exit_failed
    if (present(exit_code)) code = exit_code
    stop code, quiet=.true.
  end subroutine require

  !> Ends all ranks from this one, which writes the error: for what no agreement can be had about,
  !! as a rank is gone.
  subroutine end_from_here(error)
    character(len=*), intent(in) :: error

    write (error_unit, '(3a)') program_name, ': ', error
    flush (error_unit)
    call MPI_Abort(MPI_COMM_WORLD, exit_failed)
  end subroutine end_from_here

  !> The contiguous share of columns (or of anything that is counted) of this rank: counts differ by
  !! at most one, and ranks may have none.
  pure subroutine share_of(n_column, first, count)
    integer, intent(in) :: n_column
    integer, intent(out) :: first    !! First column of this rank, from 1.
    integer, intent(out) :: count
    integer :: counts(n_rank), starts(n_rank)

    call shares(n_column, counts, starts)
    first = starts(rank + 1) + 1
    count = counts(rank + 1)
  end subroutine share_of

  !> How many of n columns every rank has, and how many lie before them.
  pure subroutine shares(n, counts, starts)
    integer, intent(in) :: n
    integer, intent(out) :: counts(:), starts(:)     !! [rank]
    integer :: i, extra

    extra = mod(n, n_rank)
    counts = [(n / n_rank + merge(1, 0, i < extra), i = 0, n_rank - 1)]
    starts = [(i * (n / n_rank) + min(i, extra), i = 0, n_rank - 1)]
  end subroutine shares

  !> Brings what every rank has filled, its share_of(n), to all ranks. Collective.
  subroutine complete_shares(width, n, values)
    integer, intent(in) :: width                     !! Numbers per column
    integer, intent(in) :: n
    real(real64), intent(inout) :: values(width, n)
    integer :: counts(n_rank), starts(n_rank)

    call shares(n, counts, starts)
    call MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DOUBLE_PRECISION, values, width * counts, &
                        width * starts, MPI_DOUBLE_PRECISION, MPI_COMM_WORLD)
  end subroutine complete_shares

  !> Number of the first column of this rank, from 1, among the columns of all ranks, of which this
  !! one has count. Collective.
  function first_column(count) result(first)
    integer, intent(in) :: count
    integer :: first
    integer :: before

    before = 0
    call MPI_Exscan(count, before, 1, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD)
    first = 1
    if (rank > 0) first = before + 1       ! on rank 0, MPI leaves the sum undefined
  end function first_column

  !> Brings the columns of all ranks, in order, to rank 0; elsewhere the result has no columns.
  !! Collective.
  subroutine gather_columns(local, global)
    real(real64), intent(in) :: local(:, :)                    !! [column of this rank, level]
    real(real64), allocatable, intent(out) :: global(:, :)     !! [column, level] on rank 0
    real(real64), allocatable :: sent(:, :), received(:, :)
    integer :: counts(n_rank), starts(n_rank), i

    allocate (sent, source=transpose(local))
    call MPI_Gather(size(sent), 1, MPI_INTEGER, counts, 1, MPI_INTEGER, 0, MPI_COMM_WORLD)
    if (rank > 0) counts = 0
    starts(1) = 0
    do i = 2, n_rank
      starts(i) = starts(i - 1) + counts(i - 1)
    end do
    allocate (received(size(local, 2), sum(counts) / size(local, 2)))
    call MPI_Gatherv(sent, size(sent), MPI_DOUBLE_PRECISION, received, counts, starts, &
                     MPI_DOUBLE_PRECISION, 0, MPI_COMM_WORLD)
    allocate (global, source=transpose(received))
  end subroutine gather_columns

  !> The largest value over all ranks, element by element. Collective.
  subroutine maxima_over_ranks(values)
    real(real64), intent(inout) :: values(:)

    call MPI_Allreduce(MPI_IN_PLACE, values, size(values), MPI_DOUBLE_PRECISION, MPI_MAX, &
                       MPI_COMM_WORLD)
  end subroutine maxima_over_ranks

end module host_parallel
