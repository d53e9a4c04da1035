!> FTorch's arithmetic on tensors, forward only: operators, sum and mean.
!!
!! Shapes are equal, or one side has one element; kinds are promoted as torch does (torchscript.h).
!! FTorch 1.1 takes numbers as exponents, FTorch 1.0 as factors and divisors too: both are here. A
!! result is a tensor of its own, with contiguous memory.
module ftorch_arithmetic
  use, intrinsic :: iso_c_binding, only: c_double, c_int, c_int64_t
  use, intrinsic :: iso_fortran_env, only: int16, int32, int64, int8, real32, real64
  use climlink_compat, only: c_value, c_value_integer, c_value_real, climlink_tensor_combine_c, &
                             climlink_tensor_reduce_c, require
  use ftorch_tensor, only: mark_gradient, torch_tensor
  implicit none (type, external)
  private

  public :: operator(+), operator(-), operator(*), operator(/), operator(**), torch_tensor_add, &
            torch_tensor_negative, torch_tensor_subtract, torch_tensor_multiply, &
            torch_tensor_divide, torch_tensor_sum, torch_tensor_mean

  ! The numbers of torchscript.h.
  integer(c_int), parameter :: adds = 0_c_int, subtracts = 1_c_int, multiplies = 2_c_int, &
    divides = 3_c_int, raises = 4_c_int
  integer(c_int), parameter :: sums = 0_c_int, averages = 1_c_int

  interface operator(+)
    module procedure torch_tensor_add
  end interface operator(+)

  interface operator(-)
    module procedure torch_tensor_negative, torch_tensor_subtract
  end interface operator(-)

  interface operator(*)
    module procedure torch_tensor_multiply, times_int8, times_int16, times_int32, times_int64, &
                     times_real32, times_real64, int8_times, int16_times, int32_times, &
                     int64_times, real32_times, real64_times
  end interface operator(*)

  interface operator(/)
    module procedure torch_tensor_divide, over_int8, over_int16, over_int32, over_int64, &
                     over_real32, over_real64
  end interface operator(/)

  interface operator(**)
    module procedure power_int8, power_int16, power_int32, power_int64, power_real32, power_real64
  end interface operator(**)

contains

  function torch_tensor_add(tensor1, tensor2) result(output)
    type(torch_tensor), intent(in) :: tensor1, tensor2
    type(torch_tensor) :: output

    call require(climlink_tensor_combine_c(adds, c_value(tensor=tensor1%p), &
                                           c_value(tensor=tensor2%p), output%p), &
                 'sum of two torch_tensors')
  end function torch_tensor_add

  function torch_tensor_subtract(tensor1, tensor2) result(output)
    type(torch_tensor), intent(in) :: tensor1, tensor2
    type(torch_tensor) :: output

    call require(climlink_tensor_combine_c(subtracts, c_value(tensor=tensor1%p), &
                                           c_value(tensor=tensor2%p), output%p), &
                 'difference of two torch_tensors')
  end function torch_tensor_subtract

  function torch_tensor_multiply(tensor1, tensor2) result(output)
    type(torch_tensor), intent(in) :: tensor1, tensor2
    type(torch_tensor) :: output

    call require(climlink_tensor_combine_c(multiplies, c_value(tensor=tensor1%p), &
                                           c_value(tensor=tensor2%p), output%p), &
                 'product of two torch_tensors')
  end function torch_tensor_multiply

  function torch_tensor_divide(tensor1, tensor2) result(output)
    type(torch_tensor), intent(in) :: tensor1, tensor2
    type(torch_tensor) :: output

    call require(climlink_tensor_combine_c(divides, c_value(tensor=tensor1%p), &
                                           c_value(tensor=tensor2%p), output%p), &
                 'quotient of two torch_tensors')
  end function torch_tensor_divide

  function torch_tensor_negative(tensor) result(output)
    type(torch_tensor), intent(in) :: tensor
    type(torch_tensor) :: output

    call require(climlink_tensor_combine_c(multiplies, &
                                           c_value(c_value_integer, &
                                                   integer_value=-1_c_int64_t), &
                                           c_value(tensor=tensor%p), output%p), &
                 'negative of a torch_tensor')
  end function torch_tensor_negative

#define CLIMLINK_TYPE integer(int8)
#define CLIMLINK_NUMBER c_value(c_value_integer, integer_value=int(number, c_int64_t))
#define CLIMLINK_TIMES times_int8
#define CLIMLINK_FACTOR int8_times
#define CLIMLINK_OVER over_int8
#define CLIMLINK_POWER power_int8
#include "ftorch_numbers.inc"

#define CLIMLINK_TYPE integer(int16)
#define CLIMLINK_NUMBER c_value(c_value_integer, integer_value=int(number, c_int64_t))
#define CLIMLINK_TIMES times_int16
#define CLIMLINK_FACTOR int16_times
#define CLIMLINK_OVER over_int16
#define CLIMLINK_POWER power_int16
#include "ftorch_numbers.inc"

#define CLIMLINK_TYPE integer(int32)
#define CLIMLINK_NUMBER c_value(c_value_integer, integer_value=int(number, c_int64_t))
#define CLIMLINK_TIMES times_int32
#define CLIMLINK_FACTOR int32_times
#define CLIMLINK_OVER over_int32
#define CLIMLINK_POWER power_int32
#include "ftorch_numbers.inc"

#define CLIMLINK_TYPE integer(int64)
#define CLIMLINK_NUMBER c_value(c_value_integer, integer_value=int(number, c_int64_t))
#define CLIMLINK_TIMES times_int64
#define CLIMLINK_FACTOR int64_times
#define CLIMLINK_OVER over_int64
#define CLIMLINK_POWER power_int64
#include "ftorch_numbers.inc"

#define CLIMLINK_TYPE real(real32)
#define CLIMLINK_NUMBER c_value(c_value_real, real_value=real(number, c_double))
#define CLIMLINK_TIMES times_real32
#define CLIMLINK_FACTOR real32_times
#define CLIMLINK_OVER over_real32
#define CLIMLINK_POWER power_real32
#include "ftorch_numbers.inc"

#define CLIMLINK_TYPE real(real64)
#define CLIMLINK_NUMBER c_value(c_value_real, real_value=real(number, c_double))
#define CLIMLINK_TIMES times_real64
#define CLIMLINK_FACTOR real64_times
#define CLIMLINK_OVER over_real64
#define CLIMLINK_POWER power_real64
#include "ftorch_numbers.inc"

  !> Sum of all elements into an output of shape [1] and of the tensor's kind.
  subroutine torch_tensor_sum(output, tensor)
    type(torch_tensor), intent(inout) :: output
    type(torch_tensor), intent(in) :: tensor

    call reduce(sums, output, tensor, 'torch_tensor_sum')
  end subroutine torch_tensor_sum

  !> Mean of all elements into an output of shape [1] and of the tensor's kind, which is a real one.
  subroutine torch_tensor_mean(output, tensor)
    type(torch_tensor), intent(inout) :: output
    type(torch_tensor), intent(in) :: tensor

    call reduce(averages, output, tensor, 'torch_tensor_mean')
  end subroutine torch_tensor_mean

  subroutine reduce(reduction, output, tensor, where)
    integer(c_int), intent(in) :: reduction
    type(torch_tensor), intent(inout) :: output
    type(torch_tensor), intent(in) :: tensor
    character(len=*), intent(in) :: where

    call require(climlink_tensor_reduce_c(reduction, tensor%p, output%p), where)
    if (tensor%requires_grad()) call mark_gradient(output, .true., where)
  end subroutine reduce

end module ftorch_arithmetic
