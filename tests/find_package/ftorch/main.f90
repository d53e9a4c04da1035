!> Runs the TorchScript file named by the first argument, 9 values to 5.
program host
  use, intrinsic :: iso_fortran_env, only: wp => real32
  use ftorch
  implicit none
  type(torch_model) :: model
  type(torch_tensor), dimension(1) :: in_tensors, out_tensors
  real(wp), dimension(4, 9), target :: in_data
  real(wp), dimension(4, 5), target :: out_data
  character(len=1024) :: path

  call get_command_argument(1, path)
  in_data = 1.0_wp
  in_data(2, 1) = 2.0_wp
  out_data = 0.0_wp
  call torch_tensor_from_array(in_tensors(1), in_data, torch_kCPU)
  call torch_tensor_from_array(out_tensors(1), out_data, torch_kCPU)
  call torch_model_load(model, path, torch_kCPU)
  call torch_model_forward(model, in_tensors, out_tensors)
  if (any(abs(out_data(1, :) - out_data(4, :)) > 1e-6_wp)) error stop 'equal rows give unequal rows'
  if (all(abs(out_data(1, :) - out_data(2, :)) < 1e-6_wp)) error stop 'unequal rows give equal rows'
  call torch_delete(in_tensors)
  call torch_delete(out_tensors)
  call torch_delete(model)
end program host
