!> Numbers of FTorch's device types.
module ftorch_devices
  use, intrinsic :: iso_c_binding, only: c_int
  implicit none (type, external)
  private

  integer(c_int), parameter, public :: torch_kCPU = 0_c_int, torch_kCUDA = 1_c_int, &
    torch_kHIP = 1_c_int, torch_kXPU = 12_c_int, torch_kMPS = 13_c_int

end module ftorch_devices
