!> The calls of E3SM's emulator module on pytorch-fortran, declarations and statements as they stand
!! there, for a chunk of columns.
module coupling_calls
  use, intrinsic :: iso_fortran_env, only: real32, real64
  use torch_ftn
  implicit none (type, external)
  private

  public :: init_neural_net, neural_net

  integer, parameter :: r8 = real64
  integer, parameter, public :: inputlength = 124
  integer, parameter, public :: outputlength = 37
  integer, parameter, public :: pcols = 16
  type(torch_module), allocatable :: torch_mod(:)

contains

  !> Loads the network once for all chunks.
  subroutine init_neural_net(cb_torch_model)
    character(len=*), intent(in) :: cb_torch_model

    allocate (torch_mod(1))
    call torch_mod(1)%load(trim(cb_torch_model), 0)
  end subroutine init_neural_net

  !> output [column, outputlength] of input [column, inputlength] for the first ncol columns.
  subroutine neural_net(ncol, input, output)
    integer, intent(in) :: ncol
    real(r8), intent(in) :: input(pcols, inputlength)
    real(r8), intent(out) :: output(pcols, outputlength)
    real(real32) :: input_torch(inputlength, pcols)
    type(torch_tensor_wrap) :: input_tensors
    type(torch_tensor) :: out_tensor
    real(real32), pointer :: output_torch(:, :)
    integer :: i, k

    output = 0.0_r8
    input_torch(:, :) = 0.0
    do i = 1, ncol
      do k = 1, inputlength
        input_torch(k, i) = real(input(i, k), real32)
      end do
    end do
    call input_tensors%create
    call input_tensors%add_array(input_torch)
    call torch_mod(1)%forward(input_tensors, out_tensor, flags=module_use_inference_mode)
    call out_tensor%to_array(output_torch)
    do i = 1, ncol
      do k = 1, outputlength
        output(i, k) = output_torch(k, i)
      end do
    end do
  end subroutine neural_net

end module coupling_calls
