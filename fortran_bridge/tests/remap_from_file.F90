!> The vertical remap fed from a file written by check_vertical_remap.py; the answers go to a second
!! file.
!!
!! Raw stream: integers columns, host levels, package levels; p0, hyai, hybi, time step; interface
!! pressures, values and specific humidity of the host; tendencies of the package. Answers: values
!! on the package's layers, tendencies on the host's, the latter kept from drying out, and what was
!! moved and not filled for it.
program remap_from_file
  use, intrinsic :: iso_fortran_env, only: int32, real64
  use climlink, only: climlink_status
  use climlink_vertical_remap, only: climlink_remap
  implicit none (type, external)
  integer(int32) :: sizes(3)
  real(real64) :: p0, time_step
  real(real64), allocatable :: hyai(:), hybi(:), p(:, :), values(:, :), q(:, :), tendency(:, :)
  real(real64), allocatable :: package(:, :), host(:, :), moved(:), unfilled(:)
  type(climlink_remap) :: remap
  type(climlink_status) :: status
  character(len=512) :: path
  integer :: source, target

  call get_command_argument(1, path)
  open (newunit=source, file=trim(path), access='stream', form='unformatted', status='old', &
        action='read')
  read (source) sizes
  associate (column => sizes(1), n_host => sizes(2), n_package => sizes(3))
    allocate (hyai(n_package + 1), hybi(n_package + 1), p(column, n_host + 1))
    allocate (values(column, n_host), q(column, n_host), host(column, n_host))
    allocate (tendency(column, n_package), package(column, n_package))
    allocate (moved(column), unfilled(column))
  end associate
  read (source) p0, hyai, hybi, time_step, p, values, q, tendency
  close (source)

  call get_command_argument(2, path)
  open (newunit=target, file=trim(path), access='stream', form='unformatted', status='replace', &
        action='write')
  call remap%initialize(p0, hyai, hybi)
  call remap%to_package(p, values, package, status)
  call demand(status)
  write (target) package
  call remap%to_host(p, tendency, host, status)
  call demand(status)
  write (target) host
  call remap%keep_positive(p, q, time_step, host, moved, unfilled, status)
  call demand(status)
  write (target) host, moved, unfilled
  close (target)

contains

  subroutine demand(outcome)
    type(climlink_status), intent(in) :: outcome

    if (.not. outcome%ok()) error stop 'remap_from_file: refused'
  end subroutine demand

end program remap_from_file
