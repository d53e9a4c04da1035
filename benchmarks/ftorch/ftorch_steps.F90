!> Times the steps of one package by FTorch, a call per chunk and all columns in one call, and by
!! climlink, TorchScript and perhaps an artefact, in turn, on every rank:
!!
!!     mpirun -np 2 ftorch_steps PACKAGE ROWS COLUMNS_OF_A_RANK CHUNK ROUNDS STEPS_OF_A_ROUND \
!!       [ARTEFACT SHA256]
!!
!! A step begins with the host's real64 variables and ends with them: FTorch's caller packs rows by
!! itself. Writes `round` and the seconds of each, of the slowest rank; then `difference`, the
!! largest |climlink - FTorch| over the largest magnitude of the output.
program ftorch_steps
  use, intrinsic :: iso_fortran_env, only: output_unit, real32, real64
  use ftorch, only: torch_delete, torch_kCPU, torch_model, torch_model_forward, torch_model_load, &
                    torch_tensor, torch_tensor_from_array
  use mpi_f08, only: MPI_Allreduce, MPI_Barrier, MPI_Comm_rank, MPI_COMM_WORLD, &
                     MPI_DOUBLE_PRECISION, MPI_Finalize, MPI_IN_PLACE, MPI_Init, MPI_MAX, MPI_Wtime
  use climlink, only: climlink_emulator
  use bench_host, only: bench_columns, bench_variable, chosen_engine, whole_argument
  implicit none (type, external)

  integer, parameter :: by_chunk = 1, at_once = 2, by_climlink = 3, by_artefact = 4
  type(torch_model) :: model
  type(climlink_emulator) :: emulators(by_climlink:by_artefact)
  type(bench_columns) :: columns
  type(bench_variable), allocatable :: expected(:)
  real(real32), allocatable, target :: x(:, :), y(:, :), x_all(:, :), y_all(:, :)
  character(len=4096) :: package, rows
  integer :: rank, n_round, n_step, n_way, round, i, k
  real(real64) :: seconds(by_artefact), difference(by_artefact)

  call MPI_Init()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank)
  call get_command_argument(1, package)
  call get_command_argument(2, rows)
  n_round = whole_argument(5)
  n_step = whole_argument(6)
  n_way = merge(by_artefact, by_climlink, command_argument_count() > 6)
  call torch_model_load(model, trim(package), torch_kCPU)
  call emulators(by_climlink)%open(trim(package))
  if (n_way == by_artefact) call emulators(by_artefact)%open(trim(package), &
                                                             options=chosen_engine(7))
  call columns%read_rows(emulators(by_climlink), trim(rows), whole_argument(3), whole_argument(4))
  allocate (x(columns%chunk, sum(columns%inputs%width)), y(columns%chunk, &
                                                           sum(columns%outputs%width)))
  allocate (x_all(columns%n_column, size(x, 2)), y_all(columns%n_column, size(y, 2)))
  call step(at_once)
  expected = columns%outputs
  difference = 0.0_real64
  do i = 1, n_way
    call step(i)
    difference(i) = largest_difference()
  end do
  seconds = 0.0_real64
  do round = 0, n_round                                ! the first one warms up
    do k = 1, n_way
      i = 1 + mod(round + k, n_way)                    ! no one is always the last
      call MPI_Barrier(MPI_COMM_WORLD)
      seconds(i) = time_of(i)
    end do
    call MPI_Allreduce(MPI_IN_PLACE, seconds, size(seconds), MPI_DOUBLE_PRECISION, MPI_MAX, &
                       MPI_COMM_WORLD)
    if (rank == 0 .and. round > 0) &
      write (output_unit, '(a, *(es16.8))') 'round', seconds(1:n_way) / n_step
  end do
  call MPI_Allreduce(MPI_IN_PLACE, difference, size(difference), MPI_DOUBLE_PRECISION, MPI_MAX, &
                     MPI_COMM_WORLD)
  if (rank == 0) then
    write (output_unit, '(a, *(es16.8))') 'difference', difference(1:n_way)
    write (output_unit, '(2a)') 'engine ', emulators(n_way)%engine()
  end if
  call torch_delete(model)
  call MPI_Finalize()

contains

  function time_of(way) result(seconds)
    integer, intent(in) :: way
    real(real64) :: seconds
    integer :: i

    seconds = MPI_Wtime()
    do i = 1, n_step
      call step(way)
    end do
    seconds = MPI_Wtime() - seconds
  end function time_of

  subroutine step(way)
    integer, intent(in) :: way
    integer :: k

    select case (way)
    case (by_chunk)
      do k = 1, columns%n_chunk
        call pack_chunk(k, x)
        call forward(x, y)
        call unpack_chunk(k, y)
      end do
    case (at_once)
      do k = 1, columns%n_chunk
        call pack_chunk(k, x_all(first(k):first(k + 1) - 1, :))
      end do
      call forward(x_all, y_all)
      do k = 1, columns%n_chunk
        call unpack_chunk(k, y_all(first(k):first(k + 1) - 1, :))
      end do
    case default
      call columns%send(emulators(way))
      call emulators(way)%run()
      call columns%receive(emulators(way))
    end select
  end subroutine step

  !> The position of a chunk's first column.
  pure function first(k)
    integer, intent(in) :: k
    integer :: first

    first = (k - 1) * columns%chunk + 1
  end function first

  subroutine forward(inputs, outputs)
    real(real32), intent(inout), target, contiguous :: inputs(:, :), outputs(:, :)
    type(torch_tensor) :: input(1), output(1)

    call torch_tensor_from_array(input(1), inputs, torch_kCPU)
    call torch_tensor_from_array(output(1), outputs, torch_kCPU)
    call torch_model_forward(model, input, output)
    call torch_delete(input)
    call torch_delete(output)
  end subroutine forward

  subroutine pack_chunk(k, rows)
    integer, intent(in) :: k
    real(real32), intent(inout) :: rows(:, :)
    integer :: v

    do v = 1, size(columns%inputs)
      associate (variable => columns%inputs(v))
        rows(:, variable%offset + 1:variable%offset + variable%width) = &
          real(variable%values(:, :, k), real32)
      end associate
    end do
  end subroutine pack_chunk

  subroutine unpack_chunk(k, rows)
    integer, intent(in) :: k
    real(real32), intent(in) :: rows(:, :)
    integer :: v

    do v = 1, size(columns%outputs)
      associate (variable => columns%outputs(v))
        variable%values(:, :, k) = rows(:, variable%offset + 1:variable%offset + variable%width)
      end associate
    end do
  end subroutine unpack_chunk

  function largest_difference() result(largest)
    real(real64) :: largest
    integer :: v

    largest = 0.0_real64
    do v = 1, size(expected)
      largest = max(largest, maxval(abs(columns%outputs(v)%values - expected(v)%values)) &
                    / max(maxval(abs(expected(v)%values)), tiny(1.0_real64)))
    end do
  end function largest_difference

end program ftorch_steps
