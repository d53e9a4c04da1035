!> Numbers of FTorch's device types.
module ftorch_devices
  implicit none (type, external)
  private

  enum, bind(c)
    enumerator, public :: torch_kCPU = 0
    enumerator, public :: torch_kCUDA = 1
    enumerator, public :: torch_kHIP = 1
    enumerator, public :: torch_kXPU = 12
    enumerator, public :: torch_kMPS = 13
  end enum

end module ftorch_devices
