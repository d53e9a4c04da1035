!> What the drop-in for FTorch says of models, and its helpers for tests. Argument: folder of the
!! TorchScript files.
program test_ftorch_models
  use, intrinsic :: ieee_arithmetic, only: ieee_quiet_nan, ieee_value
  use, intrinsic :: iso_c_binding, only: c_int64_t
  use, intrinsic :: iso_fortran_env, only: real32, real64
  use ftorch, only: torch_kCPU, torch_kMean, torch_kNone, torch_kSum, torch_model, &
                    torch_model_forward, torch_model_is_training, torch_model_load, &
                    torch_model_parameters, torch_model_print_parameters, torch_tensor, &
                    torch_tensor_from_array, torch_tensor_to, torch_tensor_zero
  use ftorch_test_utils, only: allclose, assert_allclose, assert_isclose, isclose, test_print
  use test_support, only: check, finish, fixture
  implicit none (type, external)

  call parameters()
  call printed_parameters()
  call forward_with_gradient()
  call check(torch_kNone == 0 .and. torch_kMean == 1 .and. torch_kSum == 2, &
             'reductions are numbered as libtorch has them')
  call close_values()
  call close_arrays()
  call finish()

contains

  !> twice.pt has one parameter, twice the identity [5, 5]. It is given itself, not a copy.
  subroutine parameters()
    type(torch_model) :: model
    type(torch_tensor) :: weights(1), host, inputs(1), outputs(1)
    real(real32), target :: weight_data(5, 5), x(5), y(5)
    integer :: i

    call torch_model_load(model, fixture('twice.pt'), torch_kCPU, requires_grad=.true.)
    call check(.not. torch_model_is_training(model), 'models are in evaluation mode')
    call torch_model_parameters(model, weights)
    call check(all(weights(1)%get_shape() == [5_c_int64_t, 5_c_int64_t]), 'shape of the parameter')
    call check(weights(1)%requires_grad(), 'a parameter is marked as one whose gradient is wanted')
    call torch_tensor_from_array(host, weight_data, torch_kCPU)
    call torch_tensor_to(weights(1), host)
    call check(abs(sum(weight_data) - 10.0_real32) < 1e-6_real32, 'sum of the weights')
    call check(all(abs([(weight_data(i, i), i=1, 5)] - 2.0_real32) < 1e-6_real32), 'their diagonal')
    x = 1.0_real32
    call torch_tensor_from_array(inputs(1), x, torch_kCPU)
    call torch_tensor_from_array(outputs(1), y, torch_kCPU)
    call torch_model_forward(model, inputs, outputs)
    call check(all(abs(y - 2.0_real32) < 1e-6_real32), 'a model with its own weights')
    call torch_tensor_zero(weights(1))
    call torch_model_forward(model, inputs, outputs)
    call check(all(abs(y) < 1e-6_real32), 'a model with its weights set to zero')
  end subroutine parameters

  !> The test compat.ftorch_print reads what this prints.
  subroutine printed_parameters()
    type(torch_model) :: model

    call torch_model_load(model, fixture('twice.pt'), torch_kCPU)
    call model%print_parameters()
    call torch_model_print_parameters(model)
  end subroutine printed_parameters

  !> Values come into the array as without requires_grad; no graph is kept.
  subroutine forward_with_gradient()
    type(torch_model) :: model
    type(torch_tensor) :: inputs(1), outputs(1)
    real(real32), target :: x(5), y(5)

    x = [1.0, 2.0, 3.0, 4.0, 5.0]
    y = 0.0
    call torch_model_load(model, fixture('twice.pt'), torch_kCPU)
    call torch_tensor_from_array(inputs(1), x, torch_kCPU, requires_grad=.true.)
    call torch_tensor_from_array(outputs(1), y, torch_kCPU)
    call torch_model_forward(model, inputs, outputs, requires_grad=.true.)
    call check(all(abs(y - 2 * x) < 1e-6), 'forward with requires_grad')
    call check(outputs(1)%requires_grad(), 'its output is marked')
  end subroutine forward_with_gradient

  !> The bound itself is inside: 3 and 2 differ by half of 2.
  subroutine close_values()
    real(real32) :: not_a_number

    not_a_number = ieee_value(1.0_real32, ieee_quiet_nan)
    call check(isclose(3.0_real32, 2.0_real32, 'bound', rtol=0.5_real32), 'on the bound')
    call check(.not. isclose(3.1_real32, 2.0_real32, rtol=0.5_real32, print_result=.false.), &
               'beyond the bound, which is that of the expected value')
    call check(isclose(1.000009_real64, 1.0_real64, test_name='default'), &
               'inside the default tolerance of 1e-5')
    call check(.not. assert_isclose(1.000011_real64, 1.0_real64, 'default'), 'beyond it')
    call check(.not. isclose(not_a_number, not_a_number, print_result=.false.), &
               'NaN is close to nothing')
    call check(.not. isclose(1e-30_real32, 0.0_real32, print_result=.false.), &
               'beside 0 the tolerance is 0')
    call test_print('test_print', 'a message', .true.)
  end subroutine close_values

  subroutine close_arrays()
    real(real32) :: row(2), table(2, 3), block(2, 1, 2)

    row = [1.0, 2.0]
    table = 1.0
    block = 4.0
    call check(allclose(row, [1.0, 2.00001], test_name='row'), 'rank 1')
    call check(.not. assert_allclose(row, [1.0, 2.1], 'row'), 'one value of rank 1 is off')
    call check(.not. allclose(row, [1.0, 2.0, 3.0], test_name='shapes'), 'shapes differ')
    call check(allclose(table, reshape([1.0, 1.0, 1.0, 1.0, 1.0, 1.25], [2, 3]), rtol=0.2, &
               print_result=.false.), 'rank 2')
    call check(.not. allclose(table, reshape([1.0, 1.0, 1.0, 1.0, 1.0, 1.26], [2, 3]), rtol=0.2, &
               print_result=.false.), 'rank 2, off')
    call check(.not. allclose(table, transpose(table), print_result=.false.), &
               'rank 2, shapes differ')
    call check(allclose(block, block, print_result=.false.), 'rank 3')
    call check(.not. allclose(block, 2 * block, print_result=.false.), 'rank 3, off')
    call check(allclose(real(block, real64), real(block, real64), print_result=.false.), &
               'rank 3 of real64')
    call check(.not. allclose(real(row, real64), [1.0_real64, 3.0_real64], print_result=.false.), &
               'rank 1 of real64, off')
    call check(.not. allclose(real(table, real64), 2.0_real64 * table, print_result=.false.), &
               'rank 2 of real64, off')
  end subroutine close_arrays

end program test_ftorch_models
