!> What pytorch-fortran does silently, or crashes on, ends the program with a message.
!! Arguments: folder of the TorchScript files, case.
program test_torch_ftn_failures
  use, intrinsic :: iso_fortran_env, only: output_unit, real32, real64
  use test_support, only: fixture
  use torch_ftn, only: torch_module, torch_tensor, torch_tensor_wrap
  implicit none (type, external)

  type(torch_module) :: module
  type(torch_tensor_wrap) :: inputs
  type(torch_tensor) :: output
  real(real32) :: x(5, 4)
  real(real64), pointer :: wide(:, :)
  real(real32), pointer :: flat(:)
  complex(real32) :: z(3)
  character(len=32) :: failing

  call get_command_argument(2, failing)
  x = 1
  if (failing /= 'no_create') call inputs%create()
  select case (failing)
  case ('missing_file')
    call module%load(fixture('no_such_file.pt'), 0)
  case ('flags')
    call module%load(fixture('twice.pt'), 8)
  case ('unset_module')
    call inputs%add_array(x)
    call module%forward(inputs, output)
  case ('no_create')
    call inputs%add_array(x)
  case ('two_outputs')
    call module%load(fixture('two_of_two.pt'), 0)
    call inputs%add_array(x)
    call inputs%add_array(x)
    call module%forward(inputs, output)
  case ('to_array_kind')
    call output%from_array(x)
    call output%to_array(wide)
  case ('to_array_rank')
    call output%from_array(x)
    call output%to_array(flat)
  case ('unset_output')
    call output%to_array(flat)
  case ('complex')
    z = 0
    call inputs%add_array(z)
  case ('shape')
    call module%load(fixture('mlp.pt'), 0)
    call inputs%add_array(x)
    call module%forward(inputs, output)
  case default
    error stop 'unknown case'
  end select
  write (output_unit, '(a)') 'still running'
end program test_torch_ftn_failures
