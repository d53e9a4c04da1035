!> A section that is not contiguous would need a copy, which the tensor would outlive.
program not_contiguous
  use ftorch, only: torch_kCPU, torch_tensor, torch_tensor_from_array
  implicit none (type, external)
  type(torch_tensor) :: tensor
  real, target :: x(6)

  call torch_tensor_from_array(tensor, x(1:6:2), torch_kCPU)
end program not_contiguous
