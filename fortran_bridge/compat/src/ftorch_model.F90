!> FTorch's models, for inference, on climlink: any TorchScript file.
module ftorch_model
  use, intrinsic :: iso_c_binding, only: c_associated, c_int, c_int32_t, c_null_ptr, c_ptr
  use climlink_c_api, only: c_characters
  use climlink_compat, only: c_value, climlink_module_delete_c, climlink_module_forward_c, climlink_module_load_c, refuse, &
                             require, tensor_value
  use ftorch_tensor, only: device_text, torch_tensor, without_gradient
  implicit none (type, external)
  private

  public :: torch_model, torch_model_delete, torch_model_forward, torch_model_is_training, torch_model_load

  !> A model. `p` is a handle of climlink, not an address.
  type :: torch_model
    type(c_ptr) :: p = c_null_ptr
  contains
    procedure :: is_training => torch_model_is_training
    final :: finalize
  end type torch_model

contains

  !> Loads a TorchScript file, in evaluation mode.
  subroutine torch_model_load(model, filename, device_type, device_index, requires_grad, is_training)
    type(torch_model), intent(inout) :: model
    character(len=*), intent(in) :: filename
    integer(c_int), intent(in) :: device_type
    integer(c_int), optional, intent(in) :: device_index
    logical, optional, intent(in) :: requires_grad
    logical, optional, intent(in) :: is_training
    character(len=*), parameter :: here = 'torch_model_load'

    call without_gradient(requires_grad, here)
    if (present(is_training)) then
      if (is_training) call refuse(here, 'is_training is .true., but this ftorch is for inference; link FTorch itself to train')
    end if
    call finalize(model)
    call require(climlink_module_load_c(c_characters(adjustl(filename)), &
                                        c_characters(device_text(device_type, device_index, here)), model%p), here)
  end subroutine torch_model_load

  !> Runs the model and copies its results into the output tensors, which must be as many and have their shapes and element types.
  subroutine torch_model_forward(model, input_tensors, output_tensors, requires_grad)
    type(torch_model), intent(in) :: model
    type(torch_tensor), intent(in) :: input_tensors(:)
    type(torch_tensor), intent(in) :: output_tensors(:)
    logical, optional, intent(in) :: requires_grad
    character(len=*), parameter :: here = 'torch_model_forward'
    type(c_value) :: inputs(size(input_tensors))
    type(c_ptr) :: outputs(size(output_tensors))
    integer :: i

    call without_gradient(requires_grad, here)
    do i = 1, size(input_tensors)
      inputs(i) = tensor_value(input_tensors(i)%p)
    end do
    do i = 1, size(output_tensors)
      outputs(i) = output_tensors(i)%p
    end do
    call require(climlink_module_forward_c(model%p, inputs, int(size(inputs), c_int32_t), outputs, int(size(outputs), c_int32_t)), &
                 here)
  end subroutine torch_model_forward

  !> False: models are in evaluation mode here.
  function torch_model_is_training(self) result(is_training)
    class(torch_model), intent(in) :: self
    logical :: is_training

    if (.not. c_associated(self%p)) call refuse('torch_model_is_training', 'the model is not set; load it first')
    is_training = .false.
  end function torch_model_is_training

  !> Deletes a model; one that is not set is passed over.
  subroutine torch_model_delete(model)
    type(torch_model), intent(inout) :: model

    call require(climlink_module_delete_c(model%p), 'torch_model_delete')
  end subroutine torch_model_delete

  ! A finalizer passes over a model that was deleted through a copy of its handle.
  subroutine finalize(model)
    type(torch_model), intent(inout) :: model
    integer(c_int) :: ignored

    ignored = climlink_module_delete_c(model%p)
    model%p = c_null_ptr
  end subroutine finalize

end module ftorch_model
