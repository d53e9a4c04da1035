!> Numbers of FTorch's element types and reductions, and its kind of integer for layouts.
module ftorch_types
  use, intrinsic :: iso_c_binding, only: c_int
  use, intrinsic :: iso_fortran_env, only: int32
  implicit none (type, external)
  private

  integer, parameter, public :: ftorch_int = int32

  ! No Fortran array has the types torch_kUInt8 and torch_kFloat16; tensors of them are refused.
  integer(c_int), parameter, public :: torch_kUInt8 = 0_c_int, torch_kInt8 = 1_c_int, &
    torch_kInt16 = 2_c_int, torch_kInt32 = 3_c_int, torch_kInt64 = 4_c_int, &
    torch_kFloat16 = 5_c_int, torch_kFloat32 = 6_c_int, torch_kFloat64 = 7_c_int

  ! Reductions of a loss, numbered as libtorch has them. The losses themselves are absent.
  integer(c_int), parameter, public :: torch_kNone = 0_c_int, torch_kMean = 1_c_int, &
    torch_kSum = 2_c_int

end module ftorch_types
