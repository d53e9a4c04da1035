!> The drop-in in a shared library that a Python process with torch loads (test_in_python.py).
module ftorch_in_python
  use, intrinsic :: iso_c_binding, only: c_char, c_double, c_int, c_int64_t, c_loc
  use ftorch, only: torch_delete, torch_kCPU, torch_kFloat64, torch_model, torch_model_forward, &
                    torch_model_load, torch_tensor, torch_tensor_from_array, torch_tensor_from_blob
  implicit none (type, external)
  private

  public :: number_elements

contains

  !> y = module(x) for Fortran arrays x, y [n, m]; the path has `length` characters.
  subroutine number_elements(path, length, n, m, x, y) bind(c, name='test_number_elements')
    integer(c_int), value, intent(in) :: length
    character(kind=c_char), intent(in) :: path(length)
    integer(c_int), value, intent(in) :: n
    integer(c_int), value, intent(in) :: m
    real(c_double), intent(in), target :: x(n, m)
    real(c_double), intent(inout), target :: y(n, m)
    type(torch_model) :: model
    type(torch_tensor) :: inputs(1), outputs(1)
    character(len=length) :: text
    integer :: i

    do i = 1, length
      text(i:i) = path(i)
    end do
    call torch_model_load(model, text, torch_kCPU)
    call torch_tensor_from_array(inputs(1), x, torch_kCPU)
    call torch_tensor_from_blob(outputs(1), c_loc(y), 2_c_int, &
                                [int(n, c_int64_t), int(m, c_int64_t)], [1, 2], torch_kFloat64, &
                                torch_kCPU)
    call torch_model_forward(model, inputs, outputs)
    call torch_delete(inputs)
    call torch_delete(outputs)
    call torch_delete(model)
  end subroutine number_elements

end module ftorch_in_python
