!> Packed rows as a model's arrays: [sample, dims...] by index, real64, in arrays that are longer
!! than the chunk they hold. A row has its values in C order of the dims, the last one fastest.
module packed_chunks
  use, intrinsic :: iso_fortran_env, only: real32, real64
  use climlink, only: climlink_emulator, climlink_variable
  implicit none (type, external)
  private

  public :: set_chunk, get_chunk

contains

  !> Binds one chunk of an input variable by name.
  subroutine set_chunk(emulator, input, rows, first, capacity)
    type(climlink_emulator), intent(inout) :: emulator
    type(climlink_variable), intent(in) :: input
    real(real32), intent(in) :: rows(:, :)           !! [value, sample]
    integer, intent(in) :: first                     !! Position of the first sample, from 1.
    integer, intent(in) :: capacity                  !! Samples that the arrays have room for.
    real(real64), allocatable :: values(:, :, :, :)
    integer :: n, d(3)

    n = size(rows, 2)
    d = extents(input)
    allocate (values(capacity, d(1), d(2), d(3)))
    values(:n, :, :, :) = reshape(rows, [n, d], order=[4, 3, 2, 1])
    associate (name => input%name, units => input%units)
      select case (size(input%sizes))
      case (0)
        call emulator%set(name, values(:n, 1, 1, 1), first, units=units)
      case (1)
        call emulator%set(name, values(:n, :, 1, 1), first, units=units)
      case (2)
        call emulator%set(name, values(:n, :, :, 1), first, units=units)
      case default
        call emulator%set(name, values(:n, :, :, :), first, units=units)
      end select
    end associate
  end subroutine set_chunk

  !> Takes one chunk of an output variable by name.
  subroutine get_chunk(emulator, output, rows, first, capacity)
    type(climlink_emulator), intent(in) :: emulator
    type(climlink_variable), intent(in) :: output
    real(real32), intent(out) :: rows(:, :)          !! [value, sample]
    integer, intent(in) :: first                     !! Position of the first sample, from 1.
    integer, intent(in) :: capacity                  !! Samples that the arrays have room for.
    real(real64), allocatable :: values(:, :, :, :)
    integer :: n, d(3)

    n = size(rows, 2)
    d = extents(output)
    allocate (values(capacity, d(1), d(2), d(3)))
    associate (name => output%name, units => output%units)
      select case (size(output%sizes))
      case (0)
        call emulator%get(name, values(:n, 1, 1, 1), first, units=units)
      case (1)
        call emulator%get(name, values(:n, :, 1, 1), first, units=units)
      case (2)
        call emulator%get(name, values(:n, :, :, 1), first, units=units)
      case default
        call emulator%get(name, values(:n, :, :, :), first, units=units)
      end select
    end associate
    rows = reshape(real(reshape(values(:n, :, :, :), [d(3), d(2), d(1), n], order=[4, 3, 2, 1]), &
                        real32), shape(rows))
  end subroutine get_chunk

  !> Sizes of up to three dims, those that a variable does not have being 1.
  pure function extents(variable) result(sizes)
    type(climlink_variable), intent(in) :: variable
    integer :: sizes(3)

    sizes = 1
    sizes(:size(variable%sizes)) = variable%sizes
  end function extents

end module packed_chunks
