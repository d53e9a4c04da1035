!> A package in a host written for FTorch: wrap_model.pt is TorchScript with one input [column, 557]
!! and one output [column, 368], or as many as the last two arguments say. What a package with
!! memory carries stands in these rows; the host hands it back.
!!
!! The same source compiles against FTorch itself and against climlink's drop-in. Arguments:
!! package, file of packed float32 rows, number of columns, file for the output rows, and perhaps
!! the lengths of the rows.
program package_in_ftorch
  use, intrinsic :: iso_fortran_env, only: real32
  use ftorch, only: torch_delete, torch_kCPU, torch_model, torch_model_forward, torch_model_load, &
                    torch_tensor, torch_tensor_from_array
  implicit none (type, external)

  type(torch_model) :: model
  type(torch_tensor) :: inputs(1), outputs(1)
  real(real32), allocatable, target :: x(:, :), y(:, :)
  real(real32), allocatable :: rows(:, :)
  character(len=1024) :: package, input_path, output_path, text
  integer :: n_column, n_input, n_output, unit, failed

  call get_command_argument(1, package)
  call get_command_argument(2, input_path)
  call get_command_argument(3, text)
  call get_command_argument(4, output_path)
  read (text, *, iostat=failed) n_column
  if (failed /= 0) error stop 'package_in_ftorch PACKAGE INPUT N_COLUMN OUTPUT [N_INPUT N_OUTPUT]'
  n_input = 557
  n_output = 368
  if (command_argument_count() > 4) then
    call get_command_argument(5, text)
    read (text, *) n_input
    call get_command_argument(6, text)
    read (text, *) n_output
  end if

  ! FTorch's axes are the array's: element (column, variable) here is [column, variable] there.
  allocate (rows(n_input, n_column), x(n_column, n_input), y(n_column, n_output))
  open (newunit=unit, file=trim(input_path), access='stream', form='unformatted', action='read', &
        status='old')
  read (unit) rows
  close (unit)
  x = transpose(rows)

  call torch_model_load(model, trim(package), torch_kCPU)
  call torch_tensor_from_array(inputs(1), x, torch_kCPU)
  call torch_tensor_from_array(outputs(1), y, torch_kCPU)
  call torch_model_forward(model, inputs, outputs)

  open (newunit=unit, file=trim(output_path), access='stream', form='unformatted', action='write', &
        status='replace')
  write (unit) transpose(y)
  close (unit)
  call torch_delete(inputs)
  call torch_delete(outputs)
  call torch_delete(model)
end program package_in_ftorch
