!> FTorch's tensors, for inference, on climlink.
!!
!! Index `(i, j)` of a Fortran array is index `[i, j]` of the tensor, over the same memory on a CPU.
!! Arguments and their order are FTorch's. An error is printed and ends the program, as in FTorch.
!! Gradients are absent: `requires_grad=.true.` is a mark that the tensor's query gives back.
module ftorch_tensor
  use, intrinsic :: iso_c_binding, only: c_associated, c_f_pointer, c_int, c_int32_t, c_int64_t, &
                                         c_null_ptr, c_ptr
  use, intrinsic :: iso_fortran_env, only: error_unit, int16, int32, int64, int8, output_unit, &
                                           real32, real64
  use climlink_c_api, only: c_characters, c_text, climlink_free_c
  use climlink_compat, only: c_description, climlink_tensor_copy_c, climlink_tensor_create_c, &
                             climlink_tensor_delete_c, climlink_tensor_require_gradient_c, &
                             climlink_tensor_text_c, climlink_tensor_wrap_c, &
                             climlink_tensor_zero_c, described, forget, refuse, require, wrap_array
  use ftorch_devices, only: torch_kCPU, torch_kCUDA
  use ftorch_types, only: ftorch_int, torch_kFloat32, torch_kFloat64
  implicit none (type, external)
  private

  public :: torch_tensor, assignment(=), torch_tensor_from_array, torch_tensor_from_array_legacy, &
            torch_tensor_from_blob, torch_tensor_empty, torch_tensor_zeros, torch_tensor_ones, &
            torch_tensor_delete, torch_tensor_zero, torch_tensor_to, torch_tensor_print, &
            torch_tensor_requires_grad, torch_tensor_get_rank, torch_tensor_get_shape, &
            torch_tensor_get_stride, torch_tensor_get_dtype, torch_tensor_get_device_type, &
            torch_tensor_get_device_index, device_text, is_real, mark_gradient

  integer, parameter :: largest_rank = 5
  integer(c_int), parameter :: fill_none = 0_c_int, fill_zeros = 1_c_int, fill_ones = 2_c_int

  !> A tensor. `p` is a handle of climlink, not an address.
  type :: torch_tensor
    type(c_ptr) :: p = c_null_ptr
  contains
    procedure :: get_rank => torch_tensor_get_rank
    procedure :: get_shape => torch_tensor_get_shape
    procedure :: get_stride => torch_tensor_get_stride
    procedure :: get_dtype => torch_tensor_get_dtype
    procedure :: get_device_type => torch_tensor_get_device_type
    procedure :: get_device_index => torch_tensor_get_device_index
    procedure :: requires_grad => torch_tensor_requires_grad
    procedure :: zero => torch_tensor_zero
    procedure :: print => torch_tensor_print
    final :: finalize
  end type torch_tensor

  !> (tensor, data_in, device_type, [device_index], [requires_grad]) or (tensor, data_in, layout,
  !! device_type, [device_index], [requires_grad]); the first form also takes FTorch's newer
  !! `permute_dims`, by keyword.
  interface torch_tensor_from_array
    module procedure from_int8, from_int16, from_int32, from_int64, from_real32, from_real64, &
                     from_int8_layout, from_int16_layout, from_int32_layout, from_int64_layout, &
                     from_real32_layout, from_real64_layout
  end interface torch_tensor_from_array

  !> FTorch's newer name of the form with a layout.
  interface torch_tensor_from_array_legacy
    module procedure from_int8_layout, from_int16_layout, from_int32_layout, from_int64_layout, &
                     from_real32_layout, from_real64_layout
  end interface torch_tensor_from_array_legacy

  !> (tensor, data, ndims, tensor_shape, layout, dtype, device_type, [device_index],
  !! [requires_grad]); strides in elements, of kind int64, in the place of the layout as in FTorch's
  !! newer form.
  interface torch_tensor_from_blob
    module procedure from_blob_layout, from_blob_strides
  end interface torch_tensor_from_blob

  interface assignment(=)
    module procedure torch_tensor_assign
  end interface assignment(=)

contains

#define CLIMLINK_TYPE integer(int8)
#define CLIMLINK_NATURAL from_int8
#define CLIMLINK_LAYOUT from_int8_layout
#include "ftorch_from_array.inc"

#define CLIMLINK_TYPE integer(int16)
#define CLIMLINK_NATURAL from_int16
#define CLIMLINK_LAYOUT from_int16_layout
#include "ftorch_from_array.inc"

#define CLIMLINK_TYPE integer(int32)
#define CLIMLINK_NATURAL from_int32
#define CLIMLINK_LAYOUT from_int32_layout
#include "ftorch_from_array.inc"

#define CLIMLINK_TYPE integer(int64)
#define CLIMLINK_NATURAL from_int64
#define CLIMLINK_LAYOUT from_int64_layout
#include "ftorch_from_array.inc"

#define CLIMLINK_TYPE real(real32)
#define CLIMLINK_NATURAL from_real32
#define CLIMLINK_LAYOUT from_real32_layout
#include "ftorch_from_array.inc"

#define CLIMLINK_TYPE real(real64)
#define CLIMLINK_NATURAL from_real64
#define CLIMLINK_LAYOUT from_real64_layout
#include "ftorch_from_array.inc"

  !> A tensor over memory whose indices run from fastest to slowest in the order of `layout`.
  subroutine from_blob_layout(tensor, data, ndims, tensor_shape, layout, dtype, device_type, &
                              device_index, requires_grad)
    type(torch_tensor), intent(inout) :: tensor
    type(c_ptr), intent(in) :: data
    integer(c_int), intent(in) :: ndims
    integer(c_int64_t), intent(in) :: tensor_shape(:)
    integer(ftorch_int), intent(in) :: layout(:)
    integer(c_int), intent(in) :: dtype, device_type
    integer, optional, intent(in) :: device_index
    logical, optional, intent(in) :: requires_grad
    character(len=*), parameter :: here = 'torch_tensor_from_blob'
    integer(c_int64_t) :: strides(largest_rank), elements
    integer :: i

    call check_extents(ndims, tensor_shape, size(layout), here)
    strides = 0
    elements = 1
    do i = 1, ndims
      if (layout(i) < 1 .or. layout(i) > ndims) call refuse(here, &
        'the layout must hold each number from 1 to ndims once')
      if (strides(layout(i)) /= 0) call refuse(here, &
        'the layout must hold each number from 1 to ndims once')
      strides(layout(i)) = max(1_c_int64_t, elements)
      elements = elements * tensor_shape(layout(i))
    end do
    call from_blob_strides(tensor, data, ndims, tensor_shape, strides(:ndims), dtype, device_type, &
                           device_index, requires_grad)
  end subroutine from_blob_layout

  !> A tensor over memory with given strides, in elements.
  subroutine from_blob_strides(tensor, data, ndims, tensor_shape, tensor_strides, dtype, &
                               device_type, device_index, requires_grad)
    type(torch_tensor), intent(inout) :: tensor
    type(c_ptr), intent(in) :: data
    integer(c_int), intent(in) :: ndims
    integer(c_int64_t), intent(in) :: tensor_shape(:), tensor_strides(:)
    integer(c_int), intent(in) :: dtype, device_type
    integer, optional, intent(in) :: device_index
    logical, optional, intent(in) :: requires_grad
    character(len=*), parameter :: here = 'torch_tensor_from_blob'

    call check_extents(ndims, tensor_shape, size(tensor_strides), here)
    call forget(tensor%p)
    call require(climlink_tensor_wrap_c(data, dtype, int(ndims, c_int32_t), tensor_shape, &
                                        tensor_strides, &
                                        c_characters(device_text(device_type, device_index, &
                                                                 here)), tensor%p), here)
    call mark_gradient(tensor, requires_grad, here)
  end subroutine from_blob_strides

  ! Values that are not set.
#define CLIMLINK_NAME torch_tensor_empty
#define CLIMLINK_TEXT 'torch_tensor_empty'
#define CLIMLINK_FILL fill_none
#include "ftorch_create.inc"

#define CLIMLINK_NAME torch_tensor_zeros
#define CLIMLINK_TEXT 'torch_tensor_zeros'
#define CLIMLINK_FILL fill_zeros
#include "ftorch_create.inc"

#define CLIMLINK_NAME torch_tensor_ones
#define CLIMLINK_TEXT 'torch_tensor_ones'
#define CLIMLINK_FILL fill_ones
#include "ftorch_create.inc"

  !> A tensor with memory of its own.
  subroutine create(tensor, fill, ndims, tensor_shape, dtype, device_type, device_index, &
                    requires_grad, where)
    type(torch_tensor), intent(inout) :: tensor
    integer(c_int), intent(in) :: fill, ndims
    integer(c_int64_t), intent(in) :: tensor_shape(:)
    integer(c_int), intent(in) :: dtype, device_type
    integer, optional, intent(in) :: device_index
    logical, optional, intent(in) :: requires_grad
    character(len=*), intent(in) :: where

    call check_extents(ndims, tensor_shape, size(tensor_shape), where)
    call forget(tensor%p)
    call require(climlink_tensor_create_c(dtype, int(ndims, c_int32_t), tensor_shape, fill, &
                                          c_characters(device_text(device_type, device_index, &
                                                                   where)), tensor%p), where)
    call mark_gradient(tensor, requires_grad, where)
  end subroutine create

  !> Deletes a tensor, or an array of them; one that is not set is passed over.
  impure elemental subroutine torch_tensor_delete(tensor)
    type(torch_tensor), intent(inout) :: tensor

    call require(climlink_tensor_delete_c(tensor%p), 'torch_tensor_delete')
  end subroutine torch_tensor_delete

  !> Copies the values into a tensor of the same shape, on its device and with its element type.
  subroutine torch_tensor_to(source_tensor, target_tensor, non_blocking)
    type(torch_tensor), intent(in) :: source_tensor
    type(torch_tensor), intent(inout) :: target_tensor
    logical, optional, intent(in) :: non_blocking
    character(len=*), parameter :: here = 'torch_tensor_to'
    integer(c_int32_t) :: still_running

    still_running = 0
    if (present(non_blocking)) still_running = merge(1_c_int32_t, 0_c_int32_t, non_blocking)
    call require(climlink_tensor_copy_c(source_tensor%p, target_tensor%p, 1_c_int32_t, &
                 still_running), here)
    if (source_tensor%requires_grad() &
      .and. is_real(target_tensor)) call mark_gradient(target_tensor, .true., here)
  end subroutine torch_tensor_to

  !> Copies the values and the mark of a gradient; the left side is made if it is not set, and
  !! otherwise must have shape, element type and device of the right.
  subroutine torch_tensor_assign(output, input)
    type(torch_tensor), intent(inout) :: output
    type(torch_tensor), intent(in) :: input
    character(len=*), parameter :: here = 'assignment of torch_tensor'

    if (.not. c_associated(output%p)) then
      call torch_tensor_empty(output, input%get_rank(), input%get_shape(), input%get_dtype(), &
                              input%get_device_type(), device_index=input%get_device_index())
    else if (input%get_device_type() /= output%get_device_type() .or. input%get_device_index() &
             /= output%get_device_index()) then
      call refuse(here, 'the tensors are on different devices; use torch_tensor_to')
    end if
    call require(climlink_tensor_copy_c(input%p, output%p, 0_c_int32_t, 0_c_int32_t), here)
    call mark_gradient(output, input%requires_grad(), here)
  end subroutine torch_tensor_assign

  !> Sets all elements to 0.
  subroutine torch_tensor_zero(tensor)
    class(torch_tensor), intent(inout) :: tensor

    call require(climlink_tensor_zero_c(tensor%p), 'torch_tensor_zero')
  end subroutine torch_tensor_zero

  !> Prints the values on the output unit.
  subroutine torch_tensor_print(self)
    class(torch_tensor), intent(in) :: self
    type(c_ptr) :: text

    call require(climlink_tensor_text_c(self%p, text), 'torch_tensor_print')
    write (output_unit, '(a)') c_text(text)
    call climlink_free_c(text)
  end subroutine torch_tensor_print

  function torch_tensor_get_rank(self) result(rank)
    class(torch_tensor), intent(in) :: self
    integer(int32) :: rank
    type(c_description) :: info

    info = described(self%p, 'torch_tensor_get_rank')
    rank = info%rank
  end function torch_tensor_get_rank

  !> Extents; the pointer is valid until the tensor is deleted.
  function torch_tensor_get_shape(self) result(sizes)
    class(torch_tensor), intent(in) :: self
    integer(c_int64_t), pointer :: sizes(:)
    type(c_description) :: info

    info = described(self%p, 'torch_tensor_get_shape')
    call c_f_pointer(info%shape, sizes, [info%rank])
  end function torch_tensor_get_shape

  !> Strides in elements; the pointer is valid until the tensor is deleted.
  function torch_tensor_get_stride(self) result(strides)
    class(torch_tensor), intent(in) :: self
    integer(c_int64_t), pointer :: strides(:)
    type(c_description) :: info

    info = described(self%p, 'torch_tensor_get_stride')
    call c_f_pointer(info%stride, strides, [info%rank])
  end function torch_tensor_get_stride

  function torch_tensor_get_dtype(self) result(dtype)
    class(torch_tensor), intent(in) :: self
    integer(c_int) :: dtype
    type(c_description) :: info

    info = described(self%p, 'torch_tensor_get_dtype')
    dtype = info%kind
  end function torch_tensor_get_dtype

  function torch_tensor_get_device_type(self) result(device_type)
    class(torch_tensor), intent(in) :: self
    integer(c_int) :: device_type
    type(c_description) :: info

    info = described(self%p, 'torch_tensor_get_device_type')
    device_type = merge(torch_kCUDA, torch_kCPU, info%cuda /= 0)
  end function torch_tensor_get_device_type

  !> Device number; -1 on a CPU.
  function torch_tensor_get_device_index(self) result(device_index)
    class(torch_tensor), intent(in) :: self
    integer(c_int) :: device_index
    type(c_description) :: info

    info = described(self%p, 'torch_tensor_get_device_index')
    device_index = info%device_index
  end function torch_tensor_get_device_index

  !> True if the tensor was made with `requires_grad=.true.`, is computed from such a one, or is a
  !! parameter of a model. No graph is kept and there is no gradient.
  function torch_tensor_requires_grad(self) result(requires_grad)
    class(torch_tensor), intent(in) :: self
    logical :: requires_grad
    type(c_description) :: info

    info = described(self%p, 'torch_tensor_requires_grad')
    requires_grad = info%requires_gradient /= 0
  end function torch_tensor_requires_grad

  impure elemental subroutine finalize(tensor)
    type(torch_tensor), intent(inout) :: tensor

    call forget(tensor%p)
  end subroutine finalize

  !> Marks a tensor as one whose gradient is wanted, or takes the mark off; without the argument it
  !! stays as it is.
  subroutine mark_gradient(tensor, requires_grad, where)
    type(torch_tensor), intent(in) :: tensor
    logical, optional, intent(in) :: requires_grad
    character(len=*), intent(in) :: where

    if (.not. present(requires_grad)) return
    call require(climlink_tensor_require_gradient_c(tensor%p, merge(1_c_int32_t, 0_c_int32_t, &
                 requires_grad)), where)
  end subroutine mark_gradient

  function is_real(tensor) result(yes)
    type(torch_tensor), intent(in) :: tensor
    logical :: yes

    yes = any(tensor%get_dtype() == [torch_kFloat32, torch_kFloat64])
  end function is_real

  !> FTorch's arrays have ranks 1 to 5.
  subroutine check_rank(tensor, where)
    type(torch_tensor), intent(in) :: tensor
    character(len=*), intent(in) :: where
    integer(int32) :: rank

    rank = tensor%get_rank()
    if (rank < 1 .or. rank > largest_rank) call refuse(where, 'expected an array of rank 1 to 5')
  end subroutine check_rank

  subroutine check_extents(ndims, tensor_shape, n_order, where)
    integer(c_int), intent(in) :: ndims
    integer(c_int64_t), intent(in) :: tensor_shape(:)
    integer, intent(in) :: n_order
    character(len=*), intent(in) :: where

    if (ndims < 0 .or. ndims > largest_rank) call refuse(where, 'ndims must be 0 to 5')
    if (size(tensor_shape) < ndims .or. n_order < ndims) call refuse(where, &
      'shape and layout need one number for each of ndims')
  end subroutine check_extents

  !> The device in climlink's words.
  function device_text(device_type, device_index, where) result(text)
    integer(c_int), intent(in) :: device_type
    integer, optional, intent(in) :: device_index
    character(len=*), intent(in) :: where
    character(len=:), allocatable :: text
    character(len=12) :: number
    integer :: device

    device = 0
    if (present(device_index)) device = device_index
    select case (device_type)
    case (torch_kCPU)
      if (device > 0) write (error_unit, '(3a)') '[WARNING]: ', where, &
        ': the device index has no meaning on a CPU'
      text = 'cpu'
    case (torch_kCUDA)
      write (number, '(i0)') device
      text = 'cuda:' // trim(number)
    case default
      text = ''
      call refuse(where, &
        'the device type must be torch_kCPU, torch_kCUDA or torch_kHIP; climlink has no XPU or MPS')
    end select
  end function device_text

end module ftorch_tensor
