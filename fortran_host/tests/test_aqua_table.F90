!> The embedded model's table of columns against a package that echoes what it is sent and answers
!! every variable with a number of its own (tests/host_tables/echo_package.py): each is found under
!! its name. The argument is the package.
program test_aqua_table
  use, intrinsic :: iso_fortran_env, only: real32
  use aqua_column_table, only: input_columns
  use aqua_constants, only: r8
  use aqua_hybrid, only: hybrid_physics
  use aqua_levels, only: hybrid_levels
  use climlink, only: climlink_status
  use climlink_coupling, only: climlink_coupling_policy
  use climlink_humidity, only: relative_humidity
  use host_parallel, only: end_parallel, require
  use hybrid_test_columns, only: check, equal, failures, settings_of, start_test
  use numbered_columns, only: number_inputs
  implicit none (type, external)

  integer, parameter :: n_level = 60, n = 3
  real(r8), parameter :: latitude(n) = [-0.5_r8, 0.1_r8, 1.2_r8]
  type(hybrid_physics), target :: hybrid
  type(input_columns) :: inputs
  type(climlink_coupling_policy) :: policy
  type(hybrid_levels) :: levels
  character(len=:), allocatable :: error
  character(len=1024) :: package
  integer :: i

  call start_test('test_aqua_table')
  call get_command_argument(1, package)
  call inputs%make(n_level, n)
  call hybrid%open(settings_of(package, policy), levels, inputs, latitude, 1200.0_r8, error)
  call require(error)
  call number_inputs(inputs, 1)
  inputs%ps = [9.8e4_r8, 9.9e4_r8, 1.0e5_r8]
  do i = 1, n_level
    inputs%p_mid(i, :) = 1.0e3_r8 * real(i, r8)
  end do
  call hybrid%begin(1)
  call hybrid%run(error)
  call require(error)
  call check_given()
  call check_taken()
  call require(failures)
  call end_parallel()

contains

  !> What the package was sent.
  subroutine check_given()
    call sent_profile('state_t', inputs%t)
    call sent_profile('state_q0001', inputs%q)
    call sent_profile('state_q0002', inputs%qc)
    call sent_profile('state_q0003', inputs%qi)
    call sent_profile('state_u', inputs%u)
    call sent_profile('state_v', inputs%v)
    call sent_profile('state_pmid', inputs%p_mid)
    call sent_profile('pbuf_ozone', inputs%ozone)
    call sent_profile('pbuf_CH4', inputs%ch4)
    call sent_profile('pbuf_N2O', inputs%n2o)
    call sent_scalar('state_ps', inputs%ps)
    call sent_scalar('pbuf_SOLIN', inputs%solin)
    call sent_scalar('pbuf_COSZRS', inputs%coszrs)
    call sent_scalar('pbuf_LHFLX', inputs%lhflx)
    call sent_scalar('pbuf_SHFLX', inputs%shflx)
    call sent_scalar('pbuf_TAUX', inputs%taux)
    call sent_scalar('pbuf_TAUY', inputs%tauy)
    call sent_scalar('cam_in_ASDIR', inputs%asdir)
    call sent_scalar('cam_in_ASDIF', inputs%asdif)
    call sent_scalar('cam_in_ALDIR', inputs%aldir)
    call sent_scalar('cam_in_ALDIF', inputs%aldif)
    call sent_scalar('cam_in_LWUP', inputs%lwup)
    call sent_scalar('cam_in_OCNFRAC', inputs%ocnfrac)
    call sent_scalar('cam_in_ICEFRAC', inputs%icefrac)
    call sent_scalar('cam_in_LANDFRAC', inputs%landfrac)
    call sent_scalar('cam_in_SNOWHLAND', inputs%snowhland)
    call sent_scalar('cam_in_SNOWHICE', inputs%snowhice)
    call sent_profile('state_rh', relative_humidity(inputs%t, inputs%q, inputs%p_mid))
    call sent_scalar('clat', cos(latitude))
    call sent_scalar('slat', sin(latitude))
    call sent_scalar('icol', [1.0_r8, 2.0_r8, 3.0_r8])
  end subroutine check_given

  subroutine sent_profile(name, values)
    character(len=*), intent(in) :: name
    real(r8), intent(in) :: values(:, :)              !! [level, column]
    real(r8) :: echo(n, n_level)
    type(climlink_status) :: status

    call hybrid%emulator%get('echo_' // name, echo, 1, status)
    call check(status%ok(), name // ': ' // status%message)
    call check(equal(transpose(echo), real(real(values, real32), r8)), &
               name // ' was sent otherwise')
  end subroutine sent_profile

  subroutine sent_scalar(name, values)
    character(len=*), intent(in) :: name
    real(r8), intent(in) :: values(:)                 !! [column]
    real(r8) :: echo(n)
    type(climlink_status) :: status

    call hybrid%emulator%get('echo_' // name, echo, 1, status)
    call check(status%ok(), name // ': ' // status%message)
    call check(equal(echo, real(real(values, real32), r8)), name // ' was sent otherwise')
  end subroutine sent_scalar

  !> What the host took of the package's answers, whose numbers count from 1.
  subroutine check_taken()
    associate (made => hybrid%emulated)
      call taken_profile('dtdt', 1, made%dtdt)
      call taken_profile('dqdt', 2, made%dqdt)
      call taken_profile('dqcdt', 3, made%dqcdt)
      call taken_profile('dqidt', 4, made%dqidt)
      call taken_profile('dudt', 5, made%dudt)
      call taken_profile('dvdt', 6, made%dvdt)
      call taken_scalar('netsw', 7, made%netsw)
      call taken_scalar('flwds', 8, made%flwds)
      call taken_scalar('precsc', 9, made%precsc)
      call taken_scalar('precc', 10, made%precc)
      call taken_scalar('sols', 11, made%sols)
      call taken_scalar('soll', 12, made%soll)
      call taken_scalar('solsd', 13, made%solsd)
      call taken_scalar('solld', 14, made%solld)
    end associate
  end subroutine check_taken

  subroutine taken_profile(component, number, values)
    character(len=*), intent(in) :: component
    integer, intent(in) :: number
    real(r8), intent(in) :: values(:, :)              !! [level, column]
    real(r8) :: level(n_level)
    integer :: column, k

    level = [(real(number, r8) + 0.001_r8 * real(k - 1, r8), k = 1, n_level)]
    do column = 1, n
      call check(all(abs(values(:, column) - real(real(level, real32), r8)) <= 0.0_r8), &
                 component // ' has the values of another output')
    end do
  end subroutine taken_profile

  subroutine taken_scalar(component, number, values)
    character(len=*), intent(in) :: component
    integer, intent(in) :: number
    real(r8), intent(in) :: values(:)                 !! [column]

    call check(all(abs(values - real(number, r8)) <= 0.0_r8), &
               component // ' has the values of another output')
  end subroutine taken_scalar

end program test_aqua_table
