!> Every rank loads the model and runs rows of its own, as many as its number; none is legal.
!! Argument: folder of the TorchScript files.
program test_ftorch_mpi
  use, intrinsic :: iso_fortran_env, only: real32
  use mpi_f08, only: MPI_Allreduce, MPI_COMM_WORLD, MPI_Comm_rank, MPI_Comm_size, MPI_Finalize, &
                     MPI_Init, MPI_INTEGER, MPI_SUM
  use ftorch, only: torch_delete, torch_kCPU, torch_model, torch_model_forward, torch_model_load, &
                    torch_tensor, torch_tensor_from_array
  use test_support, only: check, finish, fixture
  implicit none (type, external)

  type(torch_model) :: model
  type(torch_tensor) :: inputs(1), outputs(1)
  real(real32), allocatable, target :: x(:, :), y(:, :)
  integer :: rank, n_rank, total

  call MPI_Init()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank)
  call MPI_Comm_size(MPI_COMM_WORLD, n_rank)
  allocate (x(rank, 5), y(rank, 5))
  x = real(rank, real32)
  call torch_model_load(model, fixture('twice.pt'), torch_kCPU)
  call torch_tensor_from_array(inputs(1), x, torch_kCPU)
  call torch_tensor_from_array(outputs(1), y, torch_kCPU)
  call torch_model_forward(model, inputs, outputs)
  call check(all(abs(y - 2 * x) < 1e-6_real32), 'rows of this rank')
  call MPI_Allreduce(nint(sum(y)), total, 1, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD)
  call check(total == 10 * sum([(rank**2, rank=0, n_rank - 1)]), 'rows of all ranks')
  call torch_delete(inputs)
  call torch_delete(outputs)
  call torch_delete(model)
  call MPI_Finalize()
  call finish()
end program test_ftorch_mpi
