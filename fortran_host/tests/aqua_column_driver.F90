!> The reference physics of the embedded model on columns of a file, for benchmarks/radiation.py:
!! aqua_column_driver IN OUT [NAMELIST], the last with a group &physics.
!!
!! IN is raw: a 32-bit integer, the number of columns, then for each t, q, liquid, ice, ozone [60],
!! interface pressures [61], SOLIN, COSZRS, the albedos ASDIR, ASDIF, ALDIR, ALDIF, and LWUP in
!! real64. OUT has for each column the heating [60] in K/day, FLWDS, NETSW, SOLS, SOLL, SOLSD, SOLLD
!! and the flux out at the top.
program aqua_column_driver
  use aqua_column_physics, only: reference_physics
  use aqua_test_support, only: allocate_inputs
  use aqua_column_types, only: allocate_outputs, column_inputs, column_outputs
  use aqua_constants, only: r8, seconds_per_day
  use aqua_physics_settings, only: physics_parameters
  use host_namelists, only: namelist_file
  implicit none (type, external)

  integer, parameter :: n = 60
  real(r8), parameter :: dt = 1200.0_r8
  type(column_inputs) :: column
  type(column_outputs) :: made
  type(physics_parameters), target :: parameters
  type(namelist_file) :: settings
  character(len=:), allocatable :: error
  real(r8) :: profiles(n, 5), p_int(n + 1), scalars(7)
  character(len=1000) :: paths(3)
  integer :: source, target, i, n_column

  call get_command_argument(1, paths(1))
  call get_command_argument(2, paths(2))
  call get_command_argument(3, paths(3))
  if (len_trim(paths(3)) > 0) then
    call settings%add('physics', parameters)
    call settings%read(trim(paths(3)), error)
    if (len(error) > 0) error stop error
  end if
  call allocate_inputs(n, column)
  call allocate_outputs(n, made)
  open (newunit=source, file=paths(1), access='stream', form='unformatted', status='old', &
        action='read')
  open (newunit=target, file=paths(2), access='stream', form='unformatted', status='replace', &
        action='write')
  read (source) n_column
  do i = 1, n_column
    read (source) profiles, p_int, scalars
    column%t = profiles(:, 1)
    column%q = profiles(:, 2)
    column%qc = profiles(:, 3)
    column%qi = profiles(:, 4)
    column%ozone = profiles(:, 5)
    column%p_int = p_int
    column%dp = p_int(2:) - p_int(:n)
    column%p_mid = 0.5_r8 * (p_int(2:) + p_int(:n))
    column%solin = scalars(1)
    column%coszrs = scalars(2)
    column%asdir = scalars(3)
    column%asdif = scalars(4)
    column%aldir = scalars(5)
    column%aldif = scalars(6)
    column%lwup = scalars(7)
    call reference_physics(parameters, column, dt, made)
    write (target) made%dtdt * seconds_per_day, made%flwds, made%netsw, made%sols, made%soll, &
      made%solsd, made%solld, made%flut
  end do
  close (target)
end program aqua_column_driver
