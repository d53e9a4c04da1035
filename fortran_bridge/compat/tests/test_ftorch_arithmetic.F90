!> Every operator, sum and mean of the drop-in for FTorch, each against values worked out by hand. A
!! value is read by torch_tensor_to. Argument: folder of the TorchScript files (not used).
program test_ftorch_arithmetic
  use, intrinsic :: iso_c_binding, only: c_int64_t
  use, intrinsic :: iso_fortran_env, only: int16, int32, int64, int8, real32, real64
  use ftorch, only: assignment(=), operator(*), operator(**), operator(+), operator(-), &
                    operator(/), torch_kCPU, torch_kFloat32, torch_kFloat64, torch_kInt32, &
                    torch_kInt64, torch_kInt8, torch_tensor, torch_tensor_add, &
                    torch_tensor_divide, torch_tensor_from_array, torch_tensor_mean, &
                    torch_tensor_multiply, torch_tensor_negative, torch_tensor_ones, &
                    torch_tensor_subtract, torch_tensor_sum, torch_tensor_to
  use test_support, only: check, finish
  implicit none (type, external)

  real(real32), target :: x_data(3), y_data(3)
  real(real64), target :: wide_data(3)
  integer(int8), target :: byte_data(3)
  integer(int32), target :: count_data(3)
  integer(int64), target :: long_data(3)
  type(torch_tensor) :: x, y, wide, byte, count, long

  x_data = [1.0_real32, 2.0_real32, 4.0_real32]
  y_data = [10.0_real32, -5.0_real32, 0.5_real32]
  wide_data = [0.25_real64, 0.5_real64, 1.0_real64]
  byte_data = [1_int8, 2_int8, 3_int8]
  count_data = [7, 8, -9]
  long_data = [100000000000_int64, 2_int64, 3_int64]
  call torch_tensor_from_array(x, x_data, torch_kCPU)
  call torch_tensor_from_array(y, y_data, torch_kCPU)
  call torch_tensor_from_array(wide, wide_data, torch_kCPU)
  call torch_tensor_from_array(byte, byte_data, torch_kCPU)
  call torch_tensor_from_array(count, count_data, torch_kCPU)
  call torch_tensor_from_array(long, long_data, torch_kCPU)

  call addition()
  call subtraction()
  call negation()
  call multiplication()
  call division()
  call factors_and_divisors()
  call powers()
  call expressions()
  call shapes()
  call sums()
  call means()
  call wanted_gradients()
  call finish()

contains

  !> The tensor has the element type and these three values.
  subroutine expect(tensor, dtype, values, what)
    type(torch_tensor), intent(in) :: tensor
    integer, intent(in) :: dtype
    real(real64), intent(in) :: values(3)
    character(len=*), intent(in) :: what
    real(real64), target :: got(3)
    type(torch_tensor) :: host
    character(len=120) :: found

    call torch_tensor_from_array(host, got, torch_kCPU)
    call torch_tensor_to(tensor, host)
    write (found, '(a,i0,a,3es15.7)') ': element type ', tensor%get_dtype(), ', values', got
    call check(tensor%get_dtype() == dtype, what // trim(found))
    ! float32 rounds the square roots and quotients below in the eighth digit; what is exact in
    ! binary must be exact.
    call check(all(abs(got - values) <= 1e-7_real64 * abs(values)), what // trim(found))
  end subroutine expect

  subroutine addition()
    call expect(x + y, torch_kFloat32, [11.0_real64, -3.0_real64, 4.5_real64], 'x + y')
    call expect(torch_tensor_add(count, count), torch_kInt32, [14.0_real64, 16.0_real64, &
                -18.0_real64], 'count + count')
    call expect(x + wide, torch_kFloat64, [1.25_real64, 2.5_real64, 5.0_real64], &
                'real32 + real64 is real64')
    call expect(long + byte, torch_kInt64, [100000000001.0_real64, 4.0_real64, 6.0_real64], &
                'int64 + int8 is int64')
  end subroutine addition

  subroutine subtraction()
    call expect(x - y, torch_kFloat32, [-9.0_real64, 7.0_real64, 3.5_real64], 'x - y')
    call expect(torch_tensor_subtract(count, byte), torch_kInt32, [6.0_real64, 6.0_real64, &
                -12.0_real64], 'int32 - int8 is int32')
  end subroutine subtraction

  subroutine negation()
    call expect(-y, torch_kFloat32, [-10.0_real64, 5.0_real64, -0.5_real64], '-y')
    call expect(torch_tensor_negative(byte), torch_kInt8, [-1.0_real64, -2.0_real64, -3.0_real64], &
                '-byte')
  end subroutine negation

  subroutine multiplication()
    call expect(x * y, torch_kFloat32, [10.0_real64, -10.0_real64, 2.0_real64], 'x * y')
    call expect(torch_tensor_multiply(count, byte), torch_kInt32, [7.0_real64, 16.0_real64, &
                -27.0_real64], 'int32 * int8')
  end subroutine multiplication

  subroutine division()
    call expect(x / y, torch_kFloat32, [0.1_real64, -0.4_real64, 8.0_real64], 'x / y')
    call expect(torch_tensor_divide(count, byte), torch_kFloat32, [7.0_real64, 4.0_real64, &
                -3.0_real64], 'integers give float32')
  end subroutine division

  !> Numbers of every kind; a real number makes float32 of integers, and changes no other element
  !! type.
  subroutine factors_and_divisors()
    real(real64), parameter :: thrice(3) = [3.0_real64, 6.0_real64, 12.0_real64]
    real(real64), parameter :: halves(3) = [0.5_real64, 1.0_real64, 2.0_real64]

    call expect(x * 3_int8, torch_kFloat32, thrice, 'x * int8')
    call expect(x * 3_int16, torch_kFloat32, thrice, 'x * int16')
    call expect(x * 3_int32, torch_kFloat32, thrice, 'x * int32')
    call expect(x * 3_int64, torch_kFloat32, thrice, 'x * int64')
    call expect(x * 3.0_real32, torch_kFloat32, thrice, 'x * real32')
    call expect(x * 3.0_real64, torch_kFloat32, thrice, 'x * real64')
    call expect(3_int8 * x, torch_kFloat32, thrice, 'int8 * x')
    call expect(3_int16 * x, torch_kFloat32, thrice, 'int16 * x')
    call expect(3_int32 * x, torch_kFloat32, thrice, 'int32 * x')
    call expect(3_int64 * x, torch_kFloat32, thrice, 'int64 * x')
    call expect(3.0_real32 * x, torch_kFloat32, thrice, 'real32 * x')
    call expect(3.0_real64 * x, torch_kFloat32, thrice, 'real64 * x')
    call expect(x / 2_int8, torch_kFloat32, halves, 'x / int8')
    call expect(x / 2_int16, torch_kFloat32, halves, 'x / int16')
    call expect(x / 2_int32, torch_kFloat32, halves, 'x / int32')
    call expect(x / 2_int64, torch_kFloat32, halves, 'x / int64')
    call expect(x / 2.0_real32, torch_kFloat32, halves, 'x / real32')
    call expect(x / 2.0_real64, torch_kFloat32, halves, 'x / real64')
    call expect(count * 2_int64, torch_kInt32, [14.0_real64, 16.0_real64, -18.0_real64], &
                'int32 * int64 number stays int32')
    call expect(0.5_real64 * count, torch_kFloat32, [3.5_real64, 4.0_real64, -4.5_real64], &
                'real number * int32 is float32')
  end subroutine factors_and_divisors

  subroutine powers()
    real(real64), parameter :: cubes(3) = [1.0_real64, 8.0_real64, 64.0_real64]
    real(real64), parameter :: roots(3) = [1.0_real64, 1.4142135623730951_real64, 2.0_real64]

    call expect(x**3_int8, torch_kFloat32, cubes, 'x ** int8')
    call expect(x**3_int16, torch_kFloat32, cubes, 'x ** int16')
    call expect(x**3_int32, torch_kFloat32, cubes, 'x ** int32')
    call expect(x**3_int64, torch_kFloat32, cubes, 'x ** int64')
    call expect(x**0.5_real32, torch_kFloat32, roots, 'x ** real32')
    call expect(x**0.5_real64, torch_kFloat32, roots, 'x ** real64')
    call expect(x**(-1), torch_kFloat32, [1.0_real64, 0.5_real64, 0.25_real64], 'x ** -1')
    call expect(byte**2, torch_kInt8, [1.0_real64, 4.0_real64, 9.0_real64], 'byte ** 2')
  end subroutine powers

  !> 3 (a^3 - b^2 / 3) for a = (2, 3), b = (6, 4) is (-12, 65); numbers as tensors of one element,
  !! as FTorch 1.1 wants them.
  subroutine expressions()
    real(real32), target :: a_data(2), b_data(2), q_data(2), three(1)
    type(torch_tensor) :: a, b, q, factor, unset

    a_data = [2.0_real32, 3.0_real32]
    b_data = [6.0_real32, 4.0_real32]
    three = 3.0_real32
    q_data = 0.0_real32
    call torch_tensor_from_array(a, a_data, torch_kCPU, requires_grad=.true.)
    call torch_tensor_from_array(b, b_data, torch_kCPU, requires_grad=.true.)
    call torch_tensor_from_array(q, q_data, torch_kCPU)
    call torch_tensor_from_array(factor, three, torch_kCPU)
    q = factor * (a**3 - b * b / factor)
    call check(all(abs(q_data - [-12.0_real32, 65.0_real32]) < 1e-5_real32), &
               'an expression ends in the array of its left side')
    unset = a + a
    call check(unset%get_rank() == 1 .and. all(unset%get_shape() == [2_c_int64_t]), &
               'an unset left side is made')
  end subroutine expressions

  !> A result has the shape of its operands, element by element; one element stands for all, in
  !! either place.
  subroutine shapes()
    real(real32), target :: table(2, 3), sum_data(2, 3), one(1)
    type(torch_tensor) :: a, ones, total, single

    table = reshape([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3])
    one = 10.0
    call torch_tensor_from_array(a, table, torch_kCPU)
    call torch_tensor_from_array(total, sum_data, torch_kCPU)
    call torch_tensor_from_array(single, one, torch_kCPU)
    call torch_tensor_ones(ones, 2, [2_c_int64_t, 3_c_int64_t], torch_kFloat32, torch_kCPU)
    total = ones + a
    call check(all(nint(sum_data) == reshape([2, 3, 4, 5, 6, 7], [2, 3])), &
               'elements meet by index, not by place in memory')
    total = single - a
    call check(all(nint(sum_data) == reshape([9, 8, 7, 6, 5, 4], [2, 3])), &
               'one element on the left')
    total = a * single
    call check(all(nint(sum_data) == reshape([10, 20, 30, 40, 50, 60], [2, 3])), &
               'one element on the right')
  end subroutine shapes

  subroutine sums()
    real(real32), target :: real_sum(1)
    integer(int8), target :: byte_sum(1)
    integer(int64), target :: long_sum(1)
    type(torch_tensor) :: output

    call torch_tensor_from_array(output, real_sum, torch_kCPU)
    call torch_tensor_sum(output, y)
    call check(abs(real_sum(1) - 5.5_real32) < 1e-6_real32, 'sum of y')
    call torch_tensor_from_array(output, byte_sum, torch_kCPU)
    call torch_tensor_sum(output, byte)
    call check(byte_sum(1) == 6_int8, 'sum of int8')
    call torch_tensor_from_array(output, long_sum, torch_kCPU)
    call torch_tensor_sum(output, long)
    call check(long_sum(1) == 100000000005_int64, 'sum of int64')
  end subroutine sums

  subroutine means()
    real(real32), target :: mean_data(1)
    real(real64), target :: wide_mean(1)
    type(torch_tensor) :: output

    call torch_tensor_from_array(output, mean_data, torch_kCPU)
    call torch_tensor_mean(output, (x - y)**2)
    call check(abs(mean_data(1) - 142.25_real32 / 3) < 1e-5_real32, 'mean of (81, 49, 12.25)')
    call torch_tensor_from_array(output, wide_mean, torch_kCPU)
    call torch_tensor_mean(output, wide)
    call check(abs(wide_mean(1) - 1.75_real64 / 3) < 1e-15_real64, 'mean of real64')
  end subroutine means

  !> The mark goes from operands to results, assignments and reductions; without one there is none.
  subroutine wanted_gradients()
    real(real32), target :: marked_data(3), out_data(3), mean_data(1)
    type(torch_tensor) :: marked, product, result, mean

    marked_data = 2.0_real32
    call torch_tensor_from_array(marked, marked_data, torch_kCPU, requires_grad=.true.)
    call torch_tensor_from_array(result, out_data, torch_kCPU)
    call torch_tensor_from_array(mean, mean_data, torch_kCPU, requires_grad=.false.)
    call check(marked%requires_grad() .and. .not. x%requires_grad(), &
               'a tensor is marked where it was asked for')
    product = x * x
    call check(.not. product%requires_grad(), 'a product without marks')
    product = x * marked
    call check(product%requires_grad(), 'a product with one')
    call torch_tensor_mean(mean, marked)
    call check(mean%requires_grad() .and. abs(mean_data(1) - 2.0_real32) < 1e-6_real32, 'a mean')
    result = marked
    call check(result%requires_grad(), 'an assignment')
    result = x
    call check(.not. result%requires_grad(), 'an assignment takes the mark off')
    call torch_tensor_to(marked, result)
    call check(result%requires_grad() .and. all(abs(out_data - 2.0_real32) < 1e-6_real32), &
               'torch_tensor_to')
  end subroutine wanted_gradients

end program test_ftorch_arithmetic
