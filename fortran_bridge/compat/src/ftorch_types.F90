!> Numbers of FTorch's element types, and its kind of integer for layouts.
module ftorch_types
  use, intrinsic :: iso_fortran_env, only: int32
  implicit none (type, external)
  private

  integer, parameter, public :: ftorch_int = int32

  !> No Fortran array has the types torch_kUInt8 and torch_kFloat16; tensors of them are refused.
  enum, bind(c)
    enumerator, public :: torch_kUInt8 = 0
    enumerator, public :: torch_kInt8 = 1
    enumerator, public :: torch_kInt16 = 2
    enumerator, public :: torch_kInt32 = 3
    enumerator, public :: torch_kInt64 = 4
    enumerator, public :: torch_kFloat16 = 5
    enumerator, public :: torch_kFloat32 = 6
    enumerator, public :: torch_kFloat64 = 7
  end enum

end module ftorch_types
