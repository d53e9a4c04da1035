!> The calls of E3SM's coupling, and the rest of torch_ftn. Argument: folder of the TorchScript
!! files.
program test_torch_ftn
  use, intrinsic :: iso_c_binding, only: c_associated
  use, intrinsic :: iso_fortran_env, only: int32, int64, real32, real64
  use coupling_calls, only: init_neural_net, inputlength, neural_net, outputlength, pcols
  use test_support, only: check, finish, fixture
  use torch_ftn, only: torch_module, torch_tensor, torch_tensor_wrap
  implicit none (type, external)

  call emulator_chunks()
  call no_growth()
  call reversed_axes()
  call scalars()
  call tensors_as_arguments()
  call strided_sections()
  call kinds()
  call finish()

contains

  !> Chunks with fewer and fewer columns, so that a stale column would be seen.
  subroutine emulator_chunks()
    real(real32) :: x(inputlength, pcols), expected(outputlength, pcols)
    real(real64) :: input(pcols, inputlength), output(pcols, outputlength)
    integer :: ncol, unit

    open (newunit=unit, file=fixture('mlp_x.f32'), access='stream', form='unformatted', &
          action='read', status='old')
    read (unit) x
    close (unit)
    open (newunit=unit, file=fixture('mlp_y.f32'), access='stream', form='unformatted', &
          action='read', status='old')
    read (unit) expected
    close (unit)
    call init_neural_net(fixture('mlp.pt') // '   ')
    do ncol = pcols, 1, -5
      input = 0
      input(:ncol, :) = transpose(x(:, pcols - ncol + 1:))
      call neural_net(ncol, input, output)
      call check(maxval(abs(output(:ncol, :) - transpose(expected(:, pcols - ncol + 1:)))) &
                 < 1e-6_real64, 'as torch in Python')
      call check(maxval(abs(output(:ncol, :))) > 0.1_real64, 'outputs are set')
    end do
  end subroutine emulator_chunks

  !> Lists and outputs of a call go with it: 10 000 calls, of which each could leave 2 kB and more,
  !! do not add 15 MB.
  subroutine no_growth()
    real(real64) :: input(pcols, inputlength), output(pcols, outputlength)
    integer :: before, i

    input = 0.5_real64
    do i = 1, 1000
      call neural_net(pcols, input, output)
    end do
    before = resident_kilobytes()
    do i = 1, 10000
      call neural_net(pcols, input, output)
    end do
    call check(resident_kilobytes() - before < 15000, &
               'memory does not grow with the number of calls')
  end subroutine no_growth

  !> Memory of this process in kB; 0 where the system does not tell.
  function resident_kilobytes() result(kilobytes)
    integer :: kilobytes
    character(len=80) :: line
    integer :: unit, failed

    kilobytes = 0
    open (newunit=unit, file='/proc/self/status', action='read', status='old', iostat=failed)
    if (failed /= 0) return
    do
      read (unit, '(a)', iostat=failed) line
      if (failed /= 0) exit
      if (line(1:6) == 'VmRSS:') read (line(7:), *) kilobytes
    end do
    close (unit)
  end function resident_kilobytes

  !> numbered.pt adds 1, 2, 6 times the index of torch, which is the last, middle and first of
  !! Fortran.
  subroutine reversed_axes()
    type(torch_module) :: numbered
    type(torch_tensor_wrap) :: inputs
    type(torch_tensor) :: output
    real(real64), pointer :: y(:, :, :)
    real(real64) :: x(2, 3, 4)
    integer :: i, j, k
    logical :: same

    x = 0
    call numbered%load(fixture('numbered.pt'))
    call inputs%create
    call inputs%add_array(x)
    call numbered%forward(inputs, output)
    call output%to_array(y)
    call check(all(shape(y) == [2, 3, 4]), 'shape of the Fortran array')
    same = .true.
    do k = 1, 4
      do j = 1, 3
        do i = 1, 2
          same = same .and. nint(y(i, j, k)) == (k - 1) + 2 * (j - 1) + 6 * (i - 1)
        end do
      end do
    end do
    call check(same, 'axes are reversed')
  end subroutine reversed_axes

  subroutine scalars()
    type(torch_module) :: affine
    type(torch_tensor_wrap) :: inputs
    type(torch_tensor) :: output
    real(real32), pointer :: y(:)
    real(real32) :: x(3)

    x = [1.0_real32, 2.0_real32, 3.0_real32]
    call affine%load(fixture('affine.pt'))
    call inputs%create()
    call inputs%add_array(x)
    call inputs%add_scalar(0.5_real32)
    call inputs%add_scalar(10_int32)
    call affine%forward(inputs, output)
    call output%to_array(y)
    call check(all(abs(y - (0.5_real32 * x + 10)) < 1e-6_real32), 'real32 and int32 scalars')
    call inputs%clear()
    call inputs%add_array(x)
    call inputs%add_scalar(-1.5_real64)
    call inputs%add_scalar(2_int64)
    call affine%forward(inputs, output)
    call output%to_array(y)
    call check(all(abs(y - (-1.5_real32 * x + 2)) < 1e-6_real32), &
               'real64 and int64 scalars, list cleared, output used again')
  end subroutine scalars

  !> A tensor in the list may go before the forward; its memory may not.
  subroutine tensors_as_arguments()
    type(torch_module) :: numbered
    type(torch_tensor_wrap) :: inputs
    type(torch_tensor) :: output
    integer(int64), pointer :: y(:, :)
    integer(int64), target :: x(2, 2)

    x = reshape([10_int64, 20_int64, 30_int64, 40_int64], [2, 2])
    call numbered%load(fixture('numbered.pt'), flags=0)
    call inputs%create()
    call add_local(inputs, x)
    call numbered%forward(inputs, output)
    call output%to_array(y)
    call check(all(y == reshape([10_int64, 22_int64, 31_int64, 43_int64], [2, 2])), &
               'tensor in a list outlives its variable')
    call check(c_associated(output%get_handle()), 'an output has a handle')
  end subroutine tensors_as_arguments

  subroutine add_local(inputs, x)
    type(torch_tensor_wrap), intent(inout) :: inputs
    integer(int64), intent(in), target :: x(:, :)
    type(torch_tensor) :: tensor

    call tensor%from_array(x)
    call inputs%add_tensor(tensor)
  end subroutine add_local

  !> Sections are read where they lie: a change before the forward is seen.
  subroutine strided_sections()
    type(torch_module) :: numbered
    type(torch_tensor_wrap) :: inputs
    type(torch_tensor) :: output
    real(real32), pointer :: y(:, :)
    real(real32), target :: x(4, 6)

    x = 0
    call numbered%load(fixture('numbered.pt'))
    call inputs%create()
    call inputs%add_array(x(1:4:3, 2::2))
    x(4, 2) = 100
    call numbered%forward(inputs, output)
    call output%to_array(y)
    call check(all(nint(y) == reshape([0, 102, 1, 3, 2, 4], [2, 3])), 'a strided section')
  end subroutine strided_sections

  subroutine kinds()
    type(torch_module) :: numbered
    type(torch_tensor_wrap) :: inputs
    type(torch_tensor) :: output
    integer(int32), pointer :: y(:, :, :, :, :, :)
    integer(int32), pointer :: z(:)
    integer(int32) :: x(3)
    type(torch_tensor) :: six
    integer(int32), target :: memory(1, 2, 1, 2, 1, 2)

    x = 7
    call numbered%load(fixture('numbered.pt'))
    call inputs%create()
    call inputs%add_array(x)
    call numbered%forward(inputs, output)
    call output%to_array(z)
    call check(all(z == [7, 8, 9]), 'int32')
    memory = reshape([1, 2, 3, 4, 5, 6, 7, 8], shape(memory))
    call six%from_array(memory)
    call six%to_array(y)
    call check(all(shape(y) == shape(memory)), 'shape of rank 6')
    call check(all(y == memory), 'rank 6')
    y(1, 2, 1, 1, 1, 1) = -5
    call check(memory(1, 2, 1, 1, 1, 1) == -5, 'to_array points into the memory of the tensor')
  end subroutine kinds

end program test_torch_ftn
