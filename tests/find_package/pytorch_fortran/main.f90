!> Runs the TorchScript file named by the first argument, 9 values to 5.
program host
  use torch_ftn
  use iso_fortran_env
  implicit none
  type(torch_module), allocatable :: torch_mod(:)
  type(torch_tensor_wrap) :: input_tensors
  type(torch_tensor) :: out_tensor
  real(real32) :: input(9, 4)
  real(real32), pointer :: output(:, :)
  character(len=1024) :: path

  call get_command_argument(1, path)
  input = 1.0
  input(1, 2) = 2.0
  allocate (torch_mod(1))
  call torch_mod(1)%load(trim(path), 0)
  call input_tensors%create
  call input_tensors%add_array(input)
  call torch_mod(1)%forward(input_tensors, out_tensor, flags=module_use_inference_mode)
  call out_tensor%to_array(output)
  if (any(shape(output) /= [5, 4])) error stop 'shape'
  if (any(abs(output(:, 1) - output(:, 4)) > 1e-6)) error stop 'equal columns give unequal columns'
  if (all(abs(output(:, 1) - output(:, 2)) < 1e-6)) error stop 'unequal columns give equal columns'
end program host
