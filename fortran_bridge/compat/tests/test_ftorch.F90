!> FTorch's inference interface as its examples use it. Argument: folder of the TorchScript files.
program test_ftorch
  use, intrinsic :: iso_c_binding, only: c_associated, c_int, c_int64_t, c_loc
  use, intrinsic :: iso_fortran_env, only: int32, real32, real64
  use ftorch, only: assignment(=), ftorch_int, torch_delete, torch_kCPU, torch_kFloat32, &
                    torch_kFloat64, torch_kInt32, torch_model, torch_model_forward, &
                    torch_model_load, torch_tensor, torch_tensor_empty, torch_tensor_from_array, &
                    torch_tensor_from_blob, torch_tensor_get_device_type, torch_tensor_get_rank, &
                    torch_tensor_get_shape, torch_tensor_get_stride, torch_tensor_ones, &
                    torch_tensor_print, torch_tensor_to, torch_tensor_zeros
  use test_support, only: check, finish, fixture
  implicit none (type, external)

  call simple_net()
  call several_inputs_and_outputs()
  call looping()
  call layouts()
  call blobs()
  call constructors_and_queries()
  call moving()
  call finish()

contains

  subroutine simple_net()
    integer, parameter :: wp = real32
    real(wp), dimension(5), target :: in_data
    real(wp), dimension(5), target :: out_data
    type(torch_model) :: model
    type(torch_tensor), dimension(1) :: in_tensors
    type(torch_tensor), dimension(1) :: out_tensors

    in_data = [0.0_wp, 1.0_wp, 2.0_wp, 3.0_wp, 4.0_wp]
    call torch_tensor_from_array(in_tensors(1), in_data, torch_kCPU)
    call torch_tensor_from_array(out_tensors(1), out_data, torch_kCPU)
    call torch_model_load(model, '  ' // fixture('twice.pt') // '   ', torch_kCPU)
    call torch_model_forward(model, in_tensors, out_tensors)
    call check(all(abs(out_data - 2 * in_data) < 1e-6_wp), &
               'simple net; the saved module was in training mode')
    call check(.not. model%is_training(), 'models are in evaluation mode')
    call torch_delete(in_tensors)
    call torch_delete(out_tensors)
    call torch_delete(model)
    call torch_delete(model)
    call check(.not. c_associated(in_tensors(1)%p) .and. .not. c_associated(model%p), &
               'deleted, a second time without effect')
  end subroutine simple_net

  subroutine several_inputs_and_outputs()
    real(real32), target :: in1(2, 3), in2(4), out1(2, 3), out2(4), out3(2, 3)
    type(torch_model) :: model
    type(torch_tensor) :: input_tensors(2), output_tensors(2)

    in1 = reshape([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3])
    in2 = [-1.0, 0.5, 2.0, 8.0]
    call torch_model_load(model, fixture('two_of_two.pt'), torch_kCPU, device_index=-1, &
                          requires_grad=.false., is_training=.false.)
    call torch_tensor_from_array(input_tensors(1), in1, torch_kCPU)
    call torch_tensor_from_array(input_tensors(2), in2, torch_kCPU, -1, .false.)
    call torch_tensor_from_array(output_tensors(1), out1, torch_kCPU)
    call torch_tensor_from_array(output_tensors(2), out2, torch_kCPU)
    call torch_model_forward(model, input_tensors, output_tensors, requires_grad=.false.)
    call check(all(abs(out1 - 2 * in1) < 1e-6) .and. all(abs(out2 - 3 * in2) < 1e-6), &
               'a tuple of outputs')
    call torch_model_load(model, fixture('list_of_two.pt'), torch_kCPU)
    call torch_tensor_from_array(output_tensors(2), out3, torch_kCPU)
    call torch_model_forward(model, input_tensors(1:1), output_tensors)
    call check(all(abs(out1 - in1) < 1e-6) .and. all(abs(out3 + in1) < 1e-6), 'a list of outputs')
  end subroutine several_inputs_and_outputs

  !> Tensors over the same memory, values changed between forwards.
  subroutine looping()
    real(real64), target :: x(3, 2), y(3, 2)
    type(torch_model) :: model
    type(torch_tensor) :: input_tensors(1), output_tensors(1)
    integer :: step
    logical :: same

    call torch_model_load(model, fixture('numbered.pt'), torch_kCPU)
    call torch_tensor_from_array(input_tensors(1), x, torch_kCPU)
    call torch_tensor_from_array(output_tensors(1), y, torch_kCPU)
    same = .true.
    do step = 1, 50
      x = step
      call torch_model_forward(model, input_tensors, output_tensors)
      same = same .and. all(nint(y) == step + reshape([0, 1, 2, 2, 3, 4], [3, 2]))
    end do
    call check(same, 'fifty forwards with the same tensors')
  end subroutine looping

  !> The shape stays that of the array; the layout says which index is fastest in memory.
  subroutine layouts()
    real(real32), target :: x(2, 3), y(2, 3), z(3, 2)
    type(torch_model) :: model
    type(torch_tensor) :: input_tensors(1), output_tensors(1)

    x = 0
    call torch_model_load(model, fixture('numbered.pt'), torch_kCPU)
    call torch_tensor_from_array(input_tensors(1), x, [1, 2], torch_kCPU)
    call torch_tensor_from_array(output_tensors(1), y, [1, 2], torch_kCPU)
    call check(all(input_tensors(1)%get_stride() == [1_c_int64_t, 2_c_int64_t]), &
               'layout [1, 2] is Fortran''s')
    call torch_model_forward(model, input_tensors, output_tensors)
    call check(all(nint(y) == reshape([0, 1, 2, 3, 4, 5], [2, 3])), &
               'layout [1, 2]: indices keep their places')
    call torch_tensor_from_array(output_tensors(1), y, [2, 1], torch_kCPU)
    call check(all(output_tensors(1)%get_shape() == [2_c_int64_t, 3_c_int64_t]), &
               'layout [2, 1] keeps the shape')
    call check(all(output_tensors(1)%get_stride() == [3_c_int64_t, 1_c_int64_t]), &
               'layout [2, 1] makes the second index fastest')
    call torch_model_forward(model, input_tensors, output_tensors)
    call check(all(nint(reshape(y, [6])) == [0, 2, 4, 1, 3, 5]), &
               'layout [2, 1]: the second index is fastest in memory')
    call torch_tensor_from_array(output_tensors(1), z, torch_kCPU, permute_dims=[2, 1])
    call check(all(output_tensors(1)%get_shape() == [2_c_int64_t, 3_c_int64_t]), &
               'permute_dims turns the shape')
    call torch_model_forward(model, input_tensors, output_tensors)
    call check(all(nint(z) == reshape([0, 2, 4, 1, 3, 5], [3, 2])), &
               'permute_dims: z(j, i) is [i, j]')
  end subroutine layouts

  subroutine blobs()
    integer(int32), target :: x(2, 3), y(2, 3)
    integer(c_int64_t), parameter :: tensor_shape(2) = [3_c_int64_t, 2_c_int64_t]
    type(torch_model) :: model
    type(torch_tensor) :: input_tensors(1), output_tensors(1)

    x = 100
    call torch_model_load(model, fixture('numbered.pt'), torch_kCPU)
    call torch_tensor_from_blob(input_tensors(1), c_loc(x), 2_c_int, tensor_shape, &
                                [2_ftorch_int, 1_ftorch_int], torch_kInt32, torch_kCPU)
    call torch_tensor_from_blob(output_tensors(1), c_loc(y), 2_c_int, tensor_shape, &
                                [2_c_int64_t, 1_c_int64_t], torch_kInt32, torch_kCPU)
    call torch_model_forward(model, input_tensors, output_tensors)
    call check(all(y == 100 + reshape([0, 2, 1, 3, 2, 4], [2, 3])), &
               'blob [3, 2] over an array (2, 3), by layout and by strides')
  end subroutine blobs

  subroutine constructors_and_queries()
    real(real64), target :: values(2, 3, 4)
    type(torch_tensor) :: tensor, other
    integer(c_int64_t), parameter :: tensor_shape(3) = [2_c_int64_t, 3_c_int64_t, 4_c_int64_t]

    call torch_tensor_from_array(other, values, torch_kCPU)
    values = -1
    call torch_tensor_ones(tensor, 3, tensor_shape, torch_kFloat64, torch_kCPU)
    call torch_tensor_to(tensor, other)
    call check(all(abs(values - 1) < tiny(1.0_real64)), 'ones')
    call torch_tensor_zeros(tensor, 3, tensor_shape, torch_kFloat64, torch_kCPU, device_index=-1, &
                            requires_grad=.false.)
    call torch_tensor_to(tensor, other, non_blocking=.false.)
    call check(all(abs(values) < tiny(1.0_real64)), 'zeros')
    call torch_tensor_empty(tensor, 3, tensor_shape, torch_kFloat64, torch_kCPU)
    call check(tensor%get_rank() == 3 .and. torch_tensor_get_rank(other) == 3, 'rank')
    call check(all(tensor%get_shape() == tensor_shape) &
               .and. all(torch_tensor_get_shape(other) == tensor_shape), 'shape')
    call check(all(tensor%get_stride() == [12_c_int64_t, 4_c_int64_t, 1_c_int64_t]), &
               'strides of a tensor of its own')
    call check(all(torch_tensor_get_stride(other) == [1_c_int64_t, 2_c_int64_t, 6_c_int64_t]), &
               'strides of an array')
    call check(tensor%get_dtype() == torch_kFloat64, 'element type')
    call check(tensor%get_device_type() == torch_kCPU .and. torch_tensor_get_device_type(other) &
               == torch_kCPU, 'device type')
    call check(tensor%get_device_index() == -1, 'device index')
    call check(.not. tensor%requires_grad(), 'no gradient')
    values = 5
    call other%zero()
    call check(all(abs(values) < tiny(1.0_real64)), 'zero')
    call torch_tensor_print(other)
    call other%print()
  end subroutine constructors_and_queries

  !> torch_tensor_to converts, because its target says so; an assignment copies.
  subroutine moving()
    real(real32), target :: x(3)
    real(real64), target :: y(3)
    type(torch_tensor) :: source, target_tensor, copy
    type(torch_tensor), allocatable :: many(:)

    x = [1.5_real32, -2.5_real32, 3.0_real32]
    call torch_tensor_from_array(source, x, torch_kCPU)
    call torch_tensor_from_array(target_tensor, y, torch_kCPU)
    call torch_tensor_to(source, target_tensor)
    call check(all(abs(y - x) < tiny(1.0_real64)), 'real32 into real64')
    copy = source
    x = 9
    call check(copy%get_dtype() == torch_kFloat32, 'a copy has the element type')
    call torch_tensor_to(copy, target_tensor)
    call check(all(abs(y - [1.5_real64, -2.5_real64, 3.0_real64]) < tiny(1.0_real64)), &
               'a copy has memory of its own')
    copy = source
    call torch_tensor_to(copy, target_tensor)
    call check(all(abs(y - 9) < tiny(1.0_real64)), 'assignment to a tensor that is set')
    allocate (many(4))
    call torch_tensor_from_array(many(2), x, torch_kCPU)
    call torch_delete(many)
    call check(.not. c_associated(many(2)%p), 'array of tensors, some not set')
  end subroutine moving

end program test_ftorch
