!> FTorch's models, for inference, on climlink: any TorchScript file.
module ftorch_model
  use, intrinsic :: iso_c_binding, only: c_associated, c_int, c_int32_t, c_null_ptr, c_ptr
  use, intrinsic :: iso_fortran_env, only: output_unit
  use climlink_c_api, only: c_characters, c_text
  use climlink_compat, only: c_value, climlink_module_delete_c, climlink_module_forward_c, &
                             climlink_module_load_c, climlink_module_parameter_c, &
                             climlink_module_parameter_count_c, forget, refuse, require
  use ftorch_tensor, only: device_text, is_real, mark_gradient, torch_tensor
  implicit none (type, external)
  private

  public :: torch_model, torch_model_delete, torch_model_forward, torch_model_is_training, &
            torch_model_load, torch_model_parameters, torch_model_print_parameters

  !> A model. `p` is a handle of climlink, not an address.
  type :: torch_model
    type(c_ptr) :: p = c_null_ptr
  contains
    procedure :: is_training => torch_model_is_training
    procedure :: print_parameters => torch_model_print_parameters
    final :: finalize
  end type torch_model

contains

  !> Loads a TorchScript file, in evaluation mode. `requires_grad` changes nothing here.
  subroutine torch_model_load(model, filename, device_type, device_index, requires_grad, &
                              is_training)
    type(torch_model), intent(inout) :: model
    character(len=*), intent(in) :: filename
    integer(c_int), intent(in) :: device_type
    integer(c_int), optional, intent(in) :: device_index
    logical, optional, intent(in) :: requires_grad, is_training
    character(len=*), parameter :: here = 'torch_model_load'

    ! What gradients it asks for is known from the parameters, and no graph follows either way.
    if (present(requires_grad)) continue
    if (present(is_training)) then
      if (is_training) call refuse(here, &
        'is_training is .true., but this ftorch is for inference; link FTorch itself to train')
    end if
    call finalize(model)
    call require(climlink_module_load_c(c_characters(adjustl(filename)), &
                                        c_characters(device_text(device_type, device_index, &
                                                                 here)), model%p), here)
  end subroutine torch_model_load

  !> Runs the model and copies its results into the output tensors, which must be as many and have
  !! their shapes and element types. With `requires_grad=.true.` real outputs are marked so; they
  !! keep their memory, without a graph.
  subroutine torch_model_forward(model, input_tensors, output_tensors, requires_grad)
    type(torch_model), intent(in) :: model
    type(torch_tensor), intent(in) :: input_tensors(:), output_tensors(:)
    logical, optional, intent(in) :: requires_grad
    character(len=*), parameter :: here = 'torch_model_forward'
    type(c_value) :: inputs(size(input_tensors))
    type(c_ptr) :: outputs(size(output_tensors))
    integer :: i

    do i = 1, size(input_tensors)
      inputs(i) = c_value(tensor=input_tensors(i)%p)
    end do
    do i = 1, size(output_tensors)
      outputs(i) = output_tensors(i)%p
    end do
    call require(climlink_module_forward_c(model%p, inputs, int(size(inputs), c_int32_t), outputs, &
                                           int(size(outputs), c_int32_t)), &
                 here)
    if (.not. present(requires_grad)) return
    do i = 1, size(output_tensors)
      if (is_real(output_tensors(i))) call mark_gradient(output_tensors(i), requires_grad, here)
    end do
  end subroutine torch_model_forward

  !> False: models are in evaluation mode here.
  function torch_model_is_training(self) result(is_training)
    class(torch_model), intent(in) :: self
    logical :: is_training

    if (.not. c_associated(self%p)) call refuse('torch_model_is_training', &
                                                'the model is not set; load it first')
    is_training = .false.
  end function torch_model_is_training

  !> Gives the model's parameters, in its order, as many as it has. They are the parameters
  !! themselves: writing to them changes the model.
  subroutine torch_model_parameters(model, output_tensors)
    type(torch_model), intent(in) :: model
    type(torch_tensor), intent(inout) :: output_tensors(:)
    character(len=*), parameter :: here = 'torch_model_parameters'
    character(len=96) :: counts
    type(c_ptr) :: name
    integer(c_int32_t) :: i, n_parameter

    call require(climlink_module_parameter_count_c(model%p, n_parameter), here)
    write (counts, '(2(a,i0))') 'the model has ', n_parameter, &
           ' parameter(s), the array of tensors ', size(output_tensors)
    if (n_parameter /= size(output_tensors)) then
      call refuse(here, trim(counts) // '; give one tensor for each')
    end if
    do i = 1, n_parameter
      call forget(output_tensors(i)%p)
      call require(climlink_module_parameter_c(model%p, i - 1_c_int32_t, name, &
                                               output_tensors(i)%p), here)
    end do
  end subroutine torch_model_parameters

  !> Prints names and values of the model's parameters on the output unit.
  subroutine torch_model_print_parameters(self)
    class(torch_model), intent(in) :: self
    character(len=*), parameter :: here = 'torch_model_print_parameters'
    type(torch_tensor) :: parameter
    type(c_ptr) :: name
    integer(c_int32_t) :: i, n_parameter

    call require(climlink_module_parameter_count_c(self%p, n_parameter), here)
    do i = 1, n_parameter
      call forget(parameter%p)
      call require(climlink_module_parameter_c(self%p, i - 1_c_int32_t, name, parameter%p), here)
      write (output_unit, '(2a)') c_text(name), ':'
      call parameter%print()
    end do
  end subroutine torch_model_print_parameters

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
