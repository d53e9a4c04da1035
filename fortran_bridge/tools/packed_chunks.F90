!> Packed rows as a model's arrays: [sample, dims...] by index, real64, in arrays that are longer
!! than the chunk they hold. A row has its values in C order of the dims, the last one fastest.
module packed_chunks
  use, intrinsic :: iso_fortran_env, only: real32, real64
  use climlink, only: climlink_emulator, climlink_variable
  implicit none (type, external)
  private

  public :: set_chunk, get_chunk

contains

  !> Binds one chunk of input variable i by name.
  subroutine set_chunk(emulator, i, rows, first, capacity)
    type(climlink_emulator), intent(inout) :: emulator
    integer, intent(in) :: i
    real(real32), intent(in) :: rows(:, :)           !! [value, sample]
    integer, intent(in) :: first                     !! Position of the first sample, from 1.
    integer, intent(in) :: capacity                  !! Samples that the arrays have room for.
    real(real64), allocatable :: one(:), two(:, :), three(:, :, :), four(:, :, :, :)
    type(climlink_variable) :: input
    integer :: n

    input = emulator%input(i)
    n = size(rows, 2)
    associate (name => input%name, units => input%units, d => input%sizes)
      select case (size(d))
      case (0)
        allocate (one(capacity))
        one(:n) = rows(1, :)
        call emulator%set(name, one(:n), first, units=units)
      case (1)
        allocate (two(capacity, d(1)))
        two(:n, :) = reshape(rows, [n, d(1)], order=[2, 1])
        call emulator%set(name, two(:n, :), first, units=units)
      case (2)
        allocate (three(capacity, d(1), d(2)))
        three(:n, :, :) = reshape(rows, [n, d(1), d(2)], order=[3, 2, 1])
        call emulator%set(name, three(:n, :, :), first, units=units)
      case default
        allocate (four(capacity, d(1), d(2), d(3)))
        four(:n, :, :, :) = reshape(rows, [n, d(1), d(2), d(3)], order=[4, 3, 2, 1])
        call emulator%set(name, four(:n, :, :, :), first, units=units)
      end select
    end associate
  end subroutine set_chunk

  !> Takes one chunk of output variable i by name.
  subroutine get_chunk(emulator, i, rows, first, capacity)
    type(climlink_emulator), intent(in) :: emulator
    integer, intent(in) :: i
    real(real32), intent(out) :: rows(:, :)          !! [value, sample]
    integer, intent(in) :: first                     !! Position of the first sample, from 1.
    integer, intent(in) :: capacity                  !! Samples that the arrays have room for.
    real(real64), allocatable :: one(:), two(:, :), three(:, :, :), four(:, :, :, :)
    type(climlink_variable) :: output
    integer :: n

    output = emulator%output(i)
    n = size(rows, 2)
    associate (name => output%name, units => output%units, d => output%sizes)
      select case (size(d))
      case (0)
        allocate (one(capacity))
        call emulator%get(name, one(:n), first, units=units)
        rows(1, :) = real(one(:n), real32)
      case (1)
        allocate (two(capacity, d(1)))
        call emulator%get(name, two(:n, :), first, units=units)
        rows = real(transpose(two(:n, :)), real32)
      case (2)
        allocate (three(capacity, d(1), d(2)))
        call emulator%get(name, three(:n, :, :), first, units=units)
        rows = reshape(real(reshape(three(:n, :, :), [d(2), d(1), n], order=[3, 2, 1]), real32), &
                       shape(rows))
      case default
        allocate (four(capacity, d(1), d(2), d(3)))
        call emulator%get(name, four(:n, :, :, :), first, units=units)
        rows = reshape(real(reshape(four(:n, :, :, :), [d(3), d(2), d(1), n], order=[4, 3, 2, 1]), &
                            real32), shape(rows))
      end select
    end associate
  end subroutine get_chunk

end module packed_chunks
