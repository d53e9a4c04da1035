!> torch_tensor_from_array for every kind and rank: a module that numbers elements by index, so that
!! a wrong index is found. Argument: folder of the TorchScript files.
program test_ftorch_kinds
  use, intrinsic :: iso_fortran_env, only: int16, int32, int64, int8, real32, real64
  use ftorch, only: torch_kCPU, torch_kFloat32, torch_kFloat64, torch_kInt16, torch_kInt32, &
                    torch_kInt64, torch_kInt8, torch_model, torch_model_forward, torch_model_load, &
                    torch_tensor, torch_tensor_from_array
  use test_support, only: check, finish, fixture
  implicit none (type, external)

  type(torch_model) :: numbered

  call torch_model_load(numbered, fixture('numbered.pt'), torch_kCPU)
  call of_int8(numbered)
  call of_int16(numbered)
  call of_int32(numbered)
  call of_int64(numbered)
  call of_real32(numbered)
  call of_real64(numbered)
  call finish()

contains

  !> Extents are 2, 3, 2, 3, 2 and the module's weights 1, 2, 6, 12, 36, so that elements are
  !! numbered in Fortran's own order.
  pure function numbers(n) result(list)
    integer, intent(in) :: n
    integer :: list(n)
    integer :: i

    list = [(i, i=0, n - 1)]
  end function numbers

#define CLIMLINK_TYPE integer(int8)
#define CLIMLINK_NAME of_int8
#define CLIMLINK_NUMBER torch_kInt8
#include "numbered_kind.inc"

#define CLIMLINK_TYPE integer(int16)
#define CLIMLINK_NAME of_int16
#define CLIMLINK_NUMBER torch_kInt16
#include "numbered_kind.inc"

#define CLIMLINK_TYPE integer(int32)
#define CLIMLINK_NAME of_int32
#define CLIMLINK_NUMBER torch_kInt32
#include "numbered_kind.inc"

#define CLIMLINK_TYPE integer(int64)
#define CLIMLINK_NAME of_int64
#define CLIMLINK_NUMBER torch_kInt64
#include "numbered_kind.inc"

#define CLIMLINK_TYPE real(real32)
#define CLIMLINK_NAME of_real32
#define CLIMLINK_NUMBER torch_kFloat32
#include "numbered_kind.inc"

#define CLIMLINK_TYPE real(real64)
#define CLIMLINK_NAME of_real64
#define CLIMLINK_NUMBER torch_kFloat64
#include "numbered_kind.inc"

end program test_ftorch_kinds
