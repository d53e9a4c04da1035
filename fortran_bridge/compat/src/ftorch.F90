!> Drop-in for FTorch's module `ftorch`: its inference interface, on climlink (docs/drop-ins.md).
!!
!! What FTorch has for training is absent, so that a program which needs it does not compile:
!! torch_tensor_backward, torch_tensor_get_gradient, torch_tensor_zero_grad, torch_optim*,
!! torch_loss* and torch_model_save.
module ftorch
  use ftorch_arithmetic, only: operator(+), operator(-), operator(*), operator(/), operator(**), &
                               torch_tensor_add, torch_tensor_divide, torch_tensor_mean, &
                               torch_tensor_multiply, torch_tensor_negative, &
                               torch_tensor_subtract, torch_tensor_sum
  use ftorch_devices, only: torch_kCPU, torch_kCUDA, torch_kHIP, torch_kMPS, torch_kXPU
  use ftorch_model, only: torch_model, torch_model_delete, torch_model_forward, &
                          torch_model_is_training, torch_model_load, &
                          torch_model_parameters, torch_model_print_parameters
  use ftorch_tensor, only: assignment(=), torch_tensor, torch_tensor_delete, torch_tensor_empty, &
                           torch_tensor_from_array, torch_tensor_from_array_legacy, &
                           torch_tensor_from_blob, torch_tensor_get_device_index, &
                           torch_tensor_get_device_type, torch_tensor_get_dtype, &
                           torch_tensor_get_rank, torch_tensor_get_shape, torch_tensor_get_stride, &
                           torch_tensor_ones, torch_tensor_print, torch_tensor_requires_grad, &
                           torch_tensor_to, torch_tensor_zero, torch_tensor_zeros
  use ftorch_types, only: ftorch_int, torch_kFloat16, torch_kFloat32, torch_kFloat64, &
                          torch_kInt16, torch_kInt32, torch_kInt64, torch_kInt8, torch_kMean, &
                          torch_kNone, torch_kSum, torch_kUInt8
  implicit none (type, external)
  public

  !> Deletes a tensor, an array of tensors, or a model.
  interface torch_delete
    procedure torch_model_delete
    procedure torch_tensor_delete
  end interface torch_delete

end module ftorch
