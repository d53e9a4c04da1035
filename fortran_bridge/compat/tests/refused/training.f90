!> Training parts of FTorch are absent.
program training
  use ftorch, only: torch_tensor, torch_tensor_backward
  implicit none (type, external)
  type(torch_tensor) :: loss

  call torch_tensor_backward(loss)
end program training
