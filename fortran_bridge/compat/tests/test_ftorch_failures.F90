!> What FTorch does silently, or crashes on, ends the program with a message. Arguments: folder of
!! the TorchScript files, case.
program test_ftorch_failures
  use, intrinsic :: iso_c_binding, only: c_int64_t
  use, intrinsic :: iso_fortran_env, only: int8, output_unit, real32, real64
  use ftorch, only: assignment(=), operator(**), operator(+), torch_delete, torch_kCPU, &
                    torch_kCUDA, torch_kFloat16, torch_kMPS, torch_model, torch_model_forward, &
                    torch_model_load, torch_model_parameters, torch_tensor, &
                    torch_tensor_from_array, torch_tensor_mean, torch_tensor_sum, torch_tensor_to, &
                    torch_tensor_zeros
  use test_support, only: fixture
  implicit none (type, external)

  character(len=32) :: failing

  call get_command_argument(2, failing)
  select case (failing)
  case ('missing_file', 'no_torchscript', 'device', 'no_device', 'training')
    call loading()
  case ('deleted_model', 'deleted_by_copy', 'deleted_input', 'deleted_output', 'unset_model', &
        'unset_input')
    call handles()
  case ('layout', 'gradient', 'half_kind', 'assignment', 'to')
    call tensors()
  case ('operands', 'unset_operand', 'negative_power', 'mean_of_integers', 'sum_overflow', &
    'sum_target', 'parameter_count')
    call arithmetic()
  case default
    call outputs_that_do_not_fit()
  end select
  write (output_unit, '(a)') 'still running'

contains

  subroutine loading()
    type(torch_model) :: model

    select case (failing)
    case ('missing_file')
      call torch_model_load(model, fixture('no_such_file.pt'), torch_kCPU)
    case ('no_torchscript')
      call torch_model_load(model, fixture('no_zip.pt'), torch_kCPU)
    case ('device')
      call torch_model_load(model, fixture('twice.pt'), torch_kCUDA, device_index=63)
    case ('no_device')
      call torch_model_load(model, fixture('twice.pt'), torch_kMPS)
    case ('training')
      call torch_model_load(model, fixture('twice.pt'), torch_kCPU, is_training=.true.)
    case default
      error stop 'unknown case'
    end select
  end subroutine loading

  subroutine handles()
    type(torch_model) :: model, copy
    type(torch_tensor) :: inputs(1), outputs(1), stale(1)
    real(real32), target :: x(5), y(5)

    x = 1
    if (failing /= 'unset_model') call torch_model_load(model, fixture('twice.pt'), torch_kCPU)
    if (failing /= 'unset_input') call torch_tensor_from_array(inputs(1), x, torch_kCPU)
    call torch_tensor_from_array(outputs(1), y, torch_kCPU)
    copy%p = model%p
    select case (failing)
    case ('deleted_model')
      call torch_delete(model)
    case ('deleted_by_copy')
      call torch_delete(copy)
    case ('deleted_input')
      stale(1)%p = inputs(1)%p
      call torch_delete(inputs)
      inputs(1)%p = stale(1)%p
    case ('deleted_output')
      stale(1)%p = outputs(1)%p
      call torch_delete(outputs)
      outputs(1)%p = stale(1)%p
    case default
      continue
    end select
    call torch_model_forward(model, inputs, outputs)
  end subroutine handles

  subroutine tensors()
    type(torch_tensor) :: a, b
    real(real32), target :: x(2, 3), y(2, 1)
    integer(int8), target :: counts(3)

    call torch_tensor_from_array(a, y, torch_kCPU)
    select case (failing)
    case ('layout')
      call torch_tensor_from_array(b, x, [1, 1], torch_kCPU)
    case ('gradient')
      call torch_tensor_from_array(b, counts, torch_kCPU, requires_grad=.true.)
    case ('half_kind')
      call torch_tensor_zeros(b, 1, [3_c_int64_t], torch_kFloat16, torch_kCPU)
    case ('assignment')
      call torch_tensor_from_array(b, x, torch_kCPU)
      b = a
    case ('to')
      call torch_tensor_from_array(b, x, torch_kCPU)
      call torch_tensor_to(a, b)
    case default
      error stop 'unknown case'
    end select
  end subroutine tensors

  subroutine arithmetic()
    type(torch_model) :: model
    type(torch_tensor) :: row, table, bytes, output, unset, many(2)
    real(real32), target :: x(2, 3), y(2, 1)
    integer(int8), target :: counts(3), total(1)

    x = 1
    y = 1
    counts = 100_int8
    call torch_tensor_from_array(table, x, torch_kCPU)
    call torch_tensor_from_array(row, y, torch_kCPU)
    call torch_tensor_from_array(bytes, counts, torch_kCPU)
    call torch_tensor_from_array(output, total, torch_kCPU)
    select case (failing)
    case ('operands')
      row = table + row
    case ('unset_operand')
      row = table + unset
    case ('negative_power')
      bytes = bytes**(-1)
    case ('mean_of_integers')
      call torch_tensor_mean(output, bytes)
    case ('sum_overflow')
      call torch_tensor_sum(output, bytes)
    case ('sum_target')
      call torch_tensor_sum(bytes, bytes)
    case ('parameter_count')
      call torch_model_load(model, fixture('twice.pt'), torch_kCPU)
      call torch_model_parameters(model, many)
    case default
      error stop 'unknown case'
    end select
  end subroutine arithmetic

  subroutine outputs_that_do_not_fit()
    type(torch_model) :: model
    type(torch_tensor) :: inputs(2), outputs(3)
    real(real32), target :: x(4, 5), y(4, 5), z(4, 3)
    real(real64), target :: wide(4, 5)

    x = 1
    wide = 1
    call torch_tensor_from_array(inputs(1), x, torch_kCPU)
    call torch_tensor_from_array(inputs(2), wide, torch_kCPU)
    call torch_tensor_from_array(outputs(1), y, torch_kCPU)
    call torch_tensor_from_array(outputs(2), wide, torch_kCPU)
    call torch_tensor_from_array(outputs(3), z, torch_kCPU)
    select case (failing)
    case ('broadcast')
      call torch_model_load(model, fixture('mean_row.pt'), torch_kCPU)
      call torch_model_forward(model, inputs(1:1), outputs(1:1))
    case ('cast')
      call torch_model_load(model, fixture('float64.pt'), torch_kCPU)
      call torch_model_forward(model, inputs(1:1), outputs(1:1))
    case ('cast_up')
      call torch_model_load(model, fixture('twice.pt'), torch_kCPU)
      call torch_model_forward(model, inputs(1:1), outputs(2:2))
    case ('shape')
      call torch_model_load(model, fixture('twice.pt'), torch_kCPU)
      call torch_model_forward(model, inputs(1:1), outputs(3:3))
    case ('input_kind')
      call torch_model_load(model, fixture('twice.pt'), torch_kCPU)
      call torch_model_forward(model, inputs(2:2), outputs(2:2))
    case ('too_few')
      call torch_model_load(model, fixture('two_of_two.pt'), torch_kCPU)
      call torch_model_forward(model, inputs, outputs(1:1))
    case ('too_many')
      call torch_model_load(model, fixture('twice.pt'), torch_kCPU)
      call torch_model_forward(model, inputs(1:1), outputs(1:2))
    case ('half')
      call torch_model_load(model, fixture('half.pt'), torch_kCPU)
      call torch_model_forward(model, inputs(1:1), outputs(1:1))
    case ('named')
      call torch_model_load(model, fixture('named.pt'), torch_kCPU)
      call torch_model_forward(model, inputs(1:1), outputs(1:1))
    case default
      error stop 'unknown case'
    end select
  end subroutine outputs_that_do_not_fit

end program test_ftorch_failures
