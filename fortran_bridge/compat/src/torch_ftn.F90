!> Drop-in for pytorch-fortran's module `torch_ftn`: its inference interface, on climlink
!! (docs/drop-ins.md).
!!
!! Axes are reversed: index `(i, j)` of a Fortran array is index `[j, i]` of the tensor, over the
!! same memory on a CPU. An error is printed and ends the program. Training and Python modules are
!! absent, so that a program which needs them does not compile: torch_module's train,
!! create_optimizer_sgd and save, and torch_pymodule.
module torch_ftn
  use, intrinsic :: iso_c_binding, only: c_associated, c_double, c_f_pointer, c_int, c_int32_t, &
                                         c_int64_t, c_null_ptr, c_ptr
  use, intrinsic :: iso_fortran_env, only: int32, int64, real32, real64
  use climlink_c_api, only: c_characters, c_text
  use climlink_compat, only: c_description, c_value, c_value_integer, c_value_real, &
                             c_value_tensor, climlink_module_call_c, climlink_module_delete_c, &
                             climlink_module_device_c, climlink_module_load_c, &
                             climlink_tensor_copy_of_c, climlink_tensor_share_c, described, &
                             forget, refuse, require, wrap_array
  implicit none (type, external)
  private

  public :: torch_module, torch_tensor, torch_tensor_wrap

  integer, parameter, public :: module_use_device = 1          !! For load: CUDA device 0 instead of
                                                               !! the CPU.
  integer, parameter, public :: module_use_inference_mode = 2  !! For forward; here always so,
                                                               !! because there are no gradients.

  !> A TorchScript module.
  type :: torch_module
    private
    type(c_ptr) :: handle = c_null_ptr
  contains
    procedure :: load => torch_module_load
    procedure :: forward => torch_module_forward
    final :: torch_module_free
  end type torch_module

  !> A tensor.
  type :: torch_tensor
    private
    type(c_ptr) :: handle = c_null_ptr
  contains
    procedure :: from_array => torch_tensor_from_array
    generic :: to_array => to_real32, to_real64, to_int32, to_int64
    procedure :: get_handle => torch_tensor_get_handle
    procedure, private :: to_real32, to_real64, to_int32, to_int64
    final :: torch_tensor_free
  end type torch_tensor

  !> The arguments of a forward, in order.
  type :: torch_tensor_wrap
    private
    logical :: created = .false.
    type(c_value), allocatable :: values(:)
  contains
    procedure :: create => torch_tensor_wrap_create
    procedure :: add_array => torch_tensor_wrap_add_array
    procedure :: add_tensor => torch_tensor_wrap_add_tensor
    generic :: add_scalar => add_real32, add_real64, add_int32, add_int64
    procedure :: clear => torch_tensor_wrap_clear
    procedure, private :: add_real32, add_real64, add_int32, add_int64
    final :: torch_tensor_wrap_free
  end type torch_tensor_wrap

contains

  !> Loads a TorchScript file, in evaluation mode; flags: 0 or module_use_device.
  subroutine torch_module_load(this, file_name, flags)
    class(torch_module), intent(inout) :: this
    character(len=*), intent(in) :: file_name
    integer, optional, intent(in) :: flags
    character(len=*), parameter :: here = 'torch_module%load'
    character(len=:), allocatable :: device

    device = 'cpu'
    if (present(flags)) then
      call check_flags(flags, here)
      if (iand(flags, module_use_device) /= 0) device = 'cuda:0'
    end if
    call delete_module(this%handle)
    call require(climlink_module_load_c(c_characters(file_name), c_characters(device), &
                                        this%handle), here)
  end subroutine torch_module_load

  !> Runs the module, which returns one tensor. Arguments in host memory are copied to a module on a
  !! device.
  subroutine torch_module_forward(this, inputs, output, flags)
    class(torch_module), intent(inout) :: this
    type(torch_tensor_wrap), intent(in) :: inputs
    type(torch_tensor), intent(inout) :: output
    integer, optional, intent(in) :: flags
    character(len=*), parameter :: here = 'torch_module%forward'
    type(c_value), allocatable :: values(:)
    type(c_ptr) :: device, results(1)
    integer(c_int) :: status
    integer :: i

    if (present(flags)) call check_flags(flags, here)
    if (.not. inputs%created) call refuse(here, &
                                          'the inputs are not set; call create, then add_array')
    call require(climlink_module_device_c(this%handle, device), here)
    call on_device(inputs%values, c_text(device), values, here)
    results = c_null_ptr
    status = climlink_module_call_c(this%handle, values, int(size(values), c_int32_t), results, &
                                    1_c_int32_t)
    call require(status, here)
    do i = 1, size(values)
      call forget(values(i)%tensor)
    end do
    call forget(output%handle)
    output%handle = results(1)
  end subroutine torch_module_forward

  !> Handles of the arguments for one forward: copies on the module's device, or the tensors
  !! themselves where they are there.
  subroutine on_device(values, device, placed, where)
    type(c_value), intent(in) :: values(:)
    character(len=*), intent(in) :: device
    type(c_value), allocatable, intent(out) :: placed(:)
    character(len=*), intent(in) :: where
    type(c_description) :: info
    integer :: i

    placed = values
    do i = 1, size(values)
      if (values(i)%kind /= c_value_tensor) cycle
      info = described(values(i)%tensor, where)
      if (device /= 'cpu' .and. info%cuda == 0) then
        call require(climlink_tensor_copy_of_c(values(i)%tensor, c_characters(device), &
                                               placed(i)%tensor), where)
      else
        call require(climlink_tensor_share_c(values(i)%tensor, placed(i)%tensor), where)
      end if
    end do
  end subroutine on_device

  !> Ends the program for flags that have no meaning.
  subroutine check_flags(flags, where)
    integer, intent(in) :: flags
    character(len=*), intent(in) :: where

    if (flags < 0 .or. flags > module_use_device + module_use_inference_mode) then
      call refuse(where, &
        'flags must be 0, module_use_device (1), module_use_inference_mode (2) or their sum')
    end if
  end subroutine check_flags

  !> The tensor is the array's memory, axes reversed. The array may be of any numeric kind but
  !! complex, any rank, and strided.
  subroutine torch_tensor_from_array(this, array)
    class(torch_tensor), intent(inout) :: this
    type(*), dimension(..), intent(in), target :: array

    call forget(this%handle)
    this%handle = wrap_reversed(array, 'torch_tensor%from_array')
  end subroutine torch_tensor_from_array

  function wrap_reversed(array, where) result(tensor)
    type(*), dimension(..), intent(in), target :: array
    character(len=*), intent(in) :: where
    type(c_ptr) :: tensor
    integer :: i

    tensor = wrap_array(array, 'cpu', where, &
                        axes=[(int(rank(array) + 1 - i, c_int32_t), i=1, rank(array))])
  end function wrap_reversed

  ! Where the values of a tensor lie and its extents as a Fortran array has them; moves it to the
  ! host and lays it out, if need be.
  subroutine locate(tensor, kind_number, array_rank, values, extents)
    class(torch_tensor), intent(inout) :: tensor
    integer, intent(in) :: kind_number, array_rank
    type(c_ptr), intent(out) :: values
    integer(int64), allocatable, intent(out) :: extents(:)
    character(len=*), parameter :: here = 'torch_tensor%to_array'
    character(len=*), parameter :: kinds(7) = ['int8  ', 'int16 ', 'int32 ', 'int64 ', '      ', &
      'real32', 'real64']
    type(c_description) :: info
    type(c_ptr) :: host
    integer(int64), pointer :: tensor_shape(:)
    character(len=80) :: ranks

    info = described(tensor%handle, here)
    if (info%kind /= kind_number) call refuse(here, &
                                              'the tensor is ' // trim(kinds(info%kind)) &
                                              // ', the array pointer ' &
                                              // trim(kinds(kind_number)) &
                                              // '; give a pointer of the tensor''s kind, ' // &
                                              'nothing is cast')
    if (info%rank /= array_rank) then
      write (ranks, '(2(a,i0))') 'the tensor has rank ', info%rank, ', the array pointer rank ', &
        array_rank
      call refuse(here, trim(ranks) // '; give a pointer of the tensor''s rank')
    end if
    if (info%cuda /= 0 .or. info%contiguous == 0) then
      call require(climlink_tensor_copy_of_c(tensor%handle, c_characters('cpu'), host), here)
      call forget(tensor%handle)
      tensor%handle = host
      info = described(tensor%handle, here)
    end if
    values = info%data
    call c_f_pointer(info%shape, tensor_shape, [info%rank])
    extents = tensor_shape(info%rank:1:-1)
  end subroutine locate

#define CLIMLINK_TYPE real(real32)
#define CLIMLINK_KIND 6
#define CLIMLINK_NAME to_real32
#include "torch_ftn_to_array.inc"

#define CLIMLINK_TYPE real(real64)
#define CLIMLINK_KIND 7
#define CLIMLINK_NAME to_real64
#include "torch_ftn_to_array.inc"

#define CLIMLINK_TYPE integer(int32)
#define CLIMLINK_KIND 3
#define CLIMLINK_NAME to_int32
#include "torch_ftn_to_array.inc"

#define CLIMLINK_TYPE integer(int64)
#define CLIMLINK_KIND 4
#define CLIMLINK_NAME to_int64
#include "torch_ftn_to_array.inc"

  !> The handle of climlink behind the tensor.
  function torch_tensor_get_handle(this) result(handle)
    class(torch_tensor), intent(inout) :: this
    type(c_ptr) :: handle

    handle = this%handle
  end function torch_tensor_get_handle

  !> Starts an empty list of arguments.
  subroutine torch_tensor_wrap_create(this)
    class(torch_tensor_wrap), intent(inout) :: this

    call this%clear()
    this%created = .true.
  end subroutine torch_tensor_wrap_create

  !> Removes all arguments.
  subroutine torch_tensor_wrap_clear(this)
    class(torch_tensor_wrap), intent(inout) :: this
    integer :: i

    if (allocated(this%values)) then
      do i = 1, size(this%values)
        call forget(this%values(i)%tensor)
      end do
      deallocate (this%values)
    end if
    allocate (this%values(0))
  end subroutine torch_tensor_wrap_clear

  !> Adds an array, axes reversed; its memory is read when the module runs.
  subroutine torch_tensor_wrap_add_array(this, array)
    class(torch_tensor_wrap), intent(inout) :: this
    type(*), dimension(..), intent(in), target :: array
    character(len=*), parameter :: here = 'torch_tensor_wrap%add_array'

    call check_created(this, here)
    this%values = [this%values, c_value(tensor=wrap_reversed(array, here))]
  end subroutine torch_tensor_wrap_add_array

  !> Adds a tensor, which may be freed before the module runs.
  subroutine torch_tensor_wrap_add_tensor(this, tensor)
    class(torch_tensor_wrap), intent(inout) :: this
    type(torch_tensor), intent(in) :: tensor
    character(len=*), parameter :: here = 'torch_tensor_wrap%add_tensor'
    type(c_ptr) :: shared

    call check_created(this, here)
    call require(climlink_tensor_share_c(tensor%handle, shared), here)
    this%values = [this%values, c_value(tensor=shared)]
  end subroutine torch_tensor_wrap_add_tensor

  subroutine add_real32(this, value)
    class(torch_tensor_wrap), intent(inout) :: this
    real(real32), intent(in) :: value

    call this%add_scalar(real(value, real64))
  end subroutine add_real32

  subroutine add_real64(this, value)
    class(torch_tensor_wrap), intent(inout) :: this
    real(real64), intent(in) :: value

    call check_created(this, 'torch_tensor_wrap%add_scalar')
    this%values = [this%values, c_value(kind=c_value_real, real_value=real(value, c_double))]
  end subroutine add_real64

  subroutine add_int32(this, value)
    class(torch_tensor_wrap), intent(inout) :: this
    integer(int32), intent(in) :: value

    call this%add_scalar(int(value, int64))
  end subroutine add_int32

  subroutine add_int64(this, value)
    class(torch_tensor_wrap), intent(inout) :: this
    integer(int64), intent(in) :: value

    call check_created(this, 'torch_tensor_wrap%add_scalar')
    this%values = [this%values, c_value(kind=c_value_integer, integer_value=int(value, c_int64_t))]
  end subroutine add_int64

  subroutine check_created(this, where)
    class(torch_tensor_wrap), intent(in) :: this
    character(len=*), intent(in) :: where

    if (.not. this%created) call refuse(where, &
                                        'the list of arguments is not set; call create first')
  end subroutine check_created

  ! Finalizers pass over what was deleted through a copy of its handle.
  impure elemental subroutine torch_module_free(this)
    type(torch_module), intent(inout) :: this

    call delete_module(this%handle)
  end subroutine torch_module_free

  subroutine delete_module(handle)
    type(c_ptr), intent(inout) :: handle
    integer(c_int) :: ignored

    if (c_associated(handle)) ignored = climlink_module_delete_c(handle)
    handle = c_null_ptr
  end subroutine delete_module

  impure elemental subroutine torch_tensor_free(this)
    type(torch_tensor), intent(inout) :: this

    call forget(this%handle)
  end subroutine torch_tensor_free

  impure elemental subroutine torch_tensor_wrap_free(this)
    type(torch_tensor_wrap), intent(inout) :: this

    call this%clear()
  end subroutine torch_tensor_wrap_free

end module torch_ftn
