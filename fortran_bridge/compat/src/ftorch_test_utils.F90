!> FTorch's helpers for tests, which its examples use: are values equal up to a relative tolerance?
!!
!! isclose(got, expect, [test_name], [rtol], [print_result]) for real32 and real64, allclose for
!! arrays of rank 1 to 3 as well. True where |got - expect| <= rtol |expect|, rtol being 1e-5 unless
!! given; false for NaN and for unequal shapes. The result is printed on the output unit unless
!! print_result is .false. FTorch 1.1.0 has both as assert_isclose and assert_allclose.
module ftorch_test_utils
  use, intrinsic :: iso_fortran_env, only: output_unit, real32, real64
  implicit none (type, external)
  private

  public :: isclose, allclose, assert_isclose, assert_allclose, test_print

  interface isclose
    module procedure isclose_real32, isclose_real64
  end interface isclose

  interface assert_isclose
    module procedure isclose_real32, isclose_real64
  end interface assert_isclose

  interface allclose
    module procedure allclose_1_real32, allclose_2_real32, allclose_3_real32, allclose_1_real64, &
                     allclose_2_real64, allclose_3_real64
  end interface allclose

  interface assert_allclose
    module procedure allclose_1_real32, allclose_2_real32, allclose_3_real32, allclose_1_real64, &
                     allclose_2_real64, allclose_3_real64
  end interface assert_allclose

contains

#define CLIMLINK_KIND real32
#define CLIMLINK_NAME isclose_real32
#define CLIMLINK_DIMENSIONS
#include "ftorch_test_utils.inc"
#define CLIMLINK_NAME allclose_1_real32
#define CLIMLINK_DIMENSIONS (:)
#include "ftorch_test_utils.inc"
#define CLIMLINK_NAME allclose_2_real32
#define CLIMLINK_DIMENSIONS (:, :)
#include "ftorch_test_utils.inc"
#define CLIMLINK_NAME allclose_3_real32
#define CLIMLINK_DIMENSIONS (:, :, :)
#include "ftorch_test_utils.inc"
#undef CLIMLINK_KIND

#define CLIMLINK_KIND real64
#define CLIMLINK_NAME isclose_real64
#define CLIMLINK_DIMENSIONS
#include "ftorch_test_utils.inc"
#define CLIMLINK_NAME allclose_1_real64
#define CLIMLINK_DIMENSIONS (:)
#include "ftorch_test_utils.inc"
#define CLIMLINK_NAME allclose_2_real64
#define CLIMLINK_DIMENSIONS (:, :)
#include "ftorch_test_utils.inc"
#define CLIMLINK_NAME allclose_3_real64
#define CLIMLINK_DIMENSIONS (:, :, :)
#include "ftorch_test_utils.inc"
#undef CLIMLINK_KIND

  !> Prints the result of a test.
  subroutine test_print(test_name, message, test_pass)
    character(len=*), intent(in) :: test_name, message
    logical, intent(in) :: test_pass

    write (output_unit, '(5a)') merge('PASSED', 'FAILED', test_pass), ' :: [', trim(test_name), &
           '] ', trim(message)
  end subroutine test_print

  subroutine report(test_name, test_pass, same_shape, tolerance, print_result)
    character(len=*), intent(in), optional :: test_name
    logical, intent(in) :: test_pass, same_shape
    real(real64), intent(in) :: tolerance
    logical, intent(in), optional :: print_result
    character(len=:), allocatable :: name
    character(len=40) :: message

    if (present(print_result)) then
      if (.not. print_result) return
    end if
    name = 'values'
    if (present(test_name)) name = test_name
    write (message, '(a,es11.4)') 'relative tolerance ', tolerance
    if (.not. same_shape) message = 'the shapes differ'
    call test_print(name, message, test_pass)
  end subroutine report

end module ftorch_test_utils
