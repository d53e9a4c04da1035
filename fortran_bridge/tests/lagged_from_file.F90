!> The lagged memory fed from a file: states before and after some steps, written by check_lags.py;
!! the answers go to a second file.
!!
!! Raw stream: integers columns, levels, steps; the time step; per step b [column, level, 5],
!! scalars [column, 5] and, but for the last, a [column, level, 5]. Answers: for each name in a text
!! file of names, its values in the order of get.
program lagged_from_file
  use, intrinsic :: iso_fortran_env, only: int32, real64
  use climlink, only: climlink_host_fields, climlink_status
  use climlink_lagged_memory, only: climlink_lags
  implicit none (type, external)
  character(len=*), parameter :: states(5) = [character(len=11) :: 'state_t', 'state_q0001', &
    'state_q0002', 'state_q0003', 'state_u']
  character(len=*), parameter :: given(5) = [character(len=11) :: 'state_ps', 'pbuf_SOLIN', &
    'pbuf_LHFLX', 'pbuf_SHFLX', 'pbuf_COSZRS']
  integer(int32) :: sizes(3)
  real(real64) :: time_step
  real(real64), allocatable, target :: x(:, :, :), scalars(:, :)
  real(real64), allocatable :: values(:, :)
  type(climlink_lags), target :: memory
  type(climlink_host_fields) :: fields
  type(climlink_status) :: status
  character(len=32) :: name
  character(len=512) :: path
  integer :: source, target, names, step, ended, i

  call get_command_argument(1, path)
  open (newunit=source, file=trim(path), access='stream', form='unformatted', status='old', &
        action='read')
  call get_command_argument(2, path)
  open (newunit=names, file=trim(path), status='old', action='read')
  call get_command_argument(3, path)
  open (newunit=target, file=trim(path), access='stream', form='unformatted', status='replace', &
        action='write')
  read (source) sizes, time_step
  allocate (x(sizes(1), sizes(2), 5), scalars(sizes(1), 5))
  call fields%begin(int(sizes(1)))
  do i = 1, 5
    call fields%add_profile(states(i), '1', x(:, :, i))
    call fields%add_scalar(given(i), '1', scalars(:, i))
  end do
  call memory%initialize(int(sizes(1)), int(sizes(2)), time_step)
  do step = 1, sizes(3)
    read (source) x, scalars
    call memory%begin_step(fields, status)
    if (.not. status%ok()) error stop 'lagged_from_file: begin_step was refused'
    if (step == sizes(3)) exit
    read (source) x
    call memory%end_step(fields, status)
    if (.not. status%ok()) error stop 'lagged_from_file: end_step was refused'
  end do
  do
    read (names, '(a)', iostat=ended) name
    if (ended /= 0) exit
    allocate (values(sizes(1), merge(1, sizes(2), any('tm_' // given == name))))
    call memory%get(trim(name), values, status)
    if (.not. status%ok()) error stop 'lagged_from_file: get was refused'
    write (target) values
    deallocate (values)
  end do
  close (target)
end program lagged_from_file
