!> The value of an expression is gone when the tensor is read.
program expression
  use ftorch, only: torch_kCPU, torch_tensor, torch_tensor_from_array
  implicit none (type, external)
  type(torch_tensor) :: tensor
  real, target :: x(6)

  call torch_tensor_from_array(tensor, 2 * x, torch_kCPU)
end program expression
