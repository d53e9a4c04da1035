!> Packed float32 rows through a package on a device: by name through module climlink, or whole
!! through the drop-in module ftorch. For benchmarks/gpu/run.sh, on a machine without a Fortran
!! compiler. Arguments: climlink or ftorch, device, package, file of input rows, number of columns,
!! file for the output rows.
program gpu_columns
  use, intrinsic :: iso_fortran_env, only: error_unit, real32, real64
  use climlink, only: climlink_emulator, climlink_options, climlink_variable
  use climlink_queries, only: inputs_of, outputs_of
  use ftorch, only: torch_delete, torch_kCPU, torch_kCUDA, torch_model, torch_model_forward, &
                    torch_model_load, torch_tensor, torch_tensor_from_array
  implicit none (type, external)

  type(climlink_emulator), target :: emulator
  real(real32), allocatable :: x(:, :), y(:, :)
  character(len=1024) :: argument(6)
  integer :: i, n_column, unit

  do i = 1, size(argument)
    call get_command_argument(i, argument(i))
  end do
  read (argument(5), *) n_column
  call open_package()
  allocate (x(width_of(inputs_of(emulator)), n_column), y(width_of(outputs_of(emulator)), n_column))
  open (newunit=unit, file=trim(argument(4)), access='stream', form='unformatted', action='read', &
        status='old')
  read (unit) x
  close (unit)
  select case (argument(1))
  case ('climlink')
    call by_name()
  case ('ftorch')
    call whole()
  case default
    write (error_unit, '(a)') 'gpu_columns: the first argument is climlink or ftorch'
    error stop 2
  end select
  open (newunit=unit, file=trim(argument(6)), access='stream', form='unformatted', action='write', &
        status='replace')
  write (unit) y
  close (unit)
  call emulator%close()

contains

  subroutine open_package()
    type(climlink_options) :: options

    call options%set('device', merge(argument(2), 'cpu' // repeat(' ', 1021), &
                                     argument(1) == 'climlink'))
    call options%set('column_count', n_column)
    call emulator%open(trim(argument(3)), options=options)
    write (*, '(3a,es9.2)') 'opened on ', emulator%device(), ', golden columns within ', &
      emulator%golden_difference()
  end subroutine open_package

  pure function width_of(variables) result(width)
    type(climlink_variable), intent(in) :: variables(:)
    integer :: width

    width = sum(variables%width)
  end function width_of

  subroutine by_name()
    type(climlink_variable), pointer :: variables(:)
    real(real64), allocatable :: values(:, :)
    integer :: v, first

    call emulator%begin(n_column)
    variables => inputs_of(emulator)
    first = 1
    do v = 1, size(variables)
      values = transpose(real(x(first:first + variables(v)%width - 1, :), real64))
      if (size(variables(v)%dims) == 0) call emulator%set(variables(v)%name, values(:, 1), 1)
      if (size(variables(v)%dims) == 1) call emulator%set(variables(v)%name, values, 1)
      first = first + variables(v)%width
    end do
    call emulator%run()
    variables => outputs_of(emulator)
    first = 1
    do v = 1, size(variables)
      deallocate (values)
      allocate (values(n_column, variables(v)%width))
      if (size(variables(v)%dims) == 0) call emulator%get(variables(v)%name, values(:, 1), 1)
      if (size(variables(v)%dims) == 1) call emulator%get(variables(v)%name, values, 1)
      y(first:first + variables(v)%width - 1, :) = real(transpose(values), real32)
      first = first + variables(v)%width
    end do
  end subroutine by_name

  !> FTorch's axes are the array's: element (column, variable) here is [column, variable] there.
  subroutine whole()
    type(torch_model) :: model
    type(torch_tensor) :: inputs(1), outputs(1)
    real(real32), allocatable, target :: rows(:, :), results(:, :)
    integer :: kind

    kind = merge(torch_kCUDA, torch_kCPU, argument(2)(:4) == 'cuda')
    allocate (rows, source=transpose(x))
    allocate (results(n_column, size(y, 1)))
    call torch_model_load(model, trim(argument(3)), kind)
    call torch_tensor_from_array(inputs(1), rows, kind)
    call torch_tensor_from_array(outputs(1), results, torch_kCPU)
    call torch_model_forward(model, inputs, outputs)
    y = transpose(results)
    call torch_delete(inputs)
    call torch_delete(outputs)
    call torch_delete(model)
  end subroutine whole

end program gpu_columns
