!> No tensor is complex.
program kind
  use ftorch, only: torch_kCPU, torch_tensor, torch_tensor_from_array
  implicit none (type, external)
  type(torch_tensor) :: tensor
  complex, target :: x(6)

  call torch_tensor_from_array(tensor, x, torch_kCPU)
end program kind
