!> Everything a host can do wrong comes back as a status with a code and a message that helps.
program test_errors
  use, intrinsic :: ieee_arithmetic, only: ieee_positive_inf, ieee_quiet_nan, ieee_value
  use, intrinsic :: iso_fortran_env, only: int32, real32, real64
  use climlink, only: climlink_emulator, climlink_error_argument, climlink_error_device, &
                      climlink_error_digest, climlink_error_file, climlink_error_host, &
                      climlink_error_nonfinite, climlink_error_package, climlink_error_shape, &
                      climlink_error_state, climlink_error_variable, climlink_status
  use test_support, only: check, check_error, finish, fixture, n_level, option, time_step
  implicit none (type, external)

  integer, parameter :: n_column = 5
  type(climlink_emulator) :: emulator
  type(climlink_status) :: status
  real(real64) :: t(n_column, n_level), ps(n_column)

  t = 250.0_real64
  ps = 1e5_real64
  call closed_emulator()
  call refused_packages()
  call refused_hosts()
  call emulator%open(fixture('column.pt'), status)
  call check(status%ok(), 'open: ' // status%message)
  call emulator%open(fixture('column.pt'), status)
  call check_error(status, climlink_error_state, 'open already')
  call wrong_names()
  call wrong_arrays()
  call wrong_values()
  call wrong_order()
  call finish()

contains

  subroutine closed_emulator()
    call emulator%begin(1, status)
    call check_error(status, climlink_error_state, 'rank 0: begin: the emulator is not open')
    call emulator%set('state_t', t, 1, status)
    call check_error(status, climlink_error_state, 'set state_t: the emulator is not open')
    call emulator%run(status)
    call check_error(status, climlink_error_state, 'run: the emulator is not open')
    call emulator%get('ptend_t', t, 1, status)
    call check_error(status, climlink_error_state, 'get ptend_t: the emulator is not open')
    call emulator%close(status)
    call check(status%ok(), 'closing a closed emulator is allowed')
    call check(emulator%n_input() == 0 .and. emulator%input_name(1) == '' .and. emulator%digest() &
               == '', 'queries of a closed one')
    call check(emulator%level_count() == 0 .and. .not. emulator%has_input('state_t'), &
               'more queries of a closed one')
  end subroutine closed_emulator

  subroutine refused_packages()
    call emulator%open(fixture('no_such_file.pt'), status)
    call check_error(status, climlink_error_file, 'no_such_file.pt')
    call emulator%open(fixture('not_a_package.pt'), status)
    call check_error(status, climlink_error_package, 'not_a_package.pt')
    call emulator%open(fixture('truncated.pt'), status)
    call check_error(status, climlink_error_file, 'truncated.pt')
    call emulator%open(fixture('column.pt'), status, &
                       options=option('pinned_sha256', repeat('0', 64)))
    call check_error(status, climlink_error_digest, repeat('0', 64))
    call check(.not. emulator%is_open(), 'a failed open leaves the emulator closed')
  end subroutine refused_packages

  subroutine refused_hosts()
    call emulator%open(fixture('column.pt'), status, n_level=60)
    call check_error(status, climlink_error_host, '60')
    call emulator%open(fixture('column.pt'), status, time_step=1800.0_real64)
    call check_error(status, climlink_error_host, '1800')
    call emulator%open(fixture('column.pt'), status, n_level=n_level, time_step=time_step, &
                       options=option('device', 'abacus'))
    call check_error(status, climlink_error_argument, 'abacus')
    call emulator%open(fixture('column.pt'), status, options=option('device', 'cuda:7'))
    call check_error(status, climlink_error_device, 'cuda')
    call emulator%open(fixture('column.pt'), status, options=option('micro_batch', '1'))
    call check_error(status, climlink_error_argument, 'micro_batch')
    call emulator%open(fixture('column.pt'), status, options=option('threads', '0'))
    call check_error(status, climlink_error_argument, 'threads')
    call emulator%open(fixture('switched.pt'), status, &
                       options=option('constraints_off', 'doubeld'))
    call check_error(status, climlink_error_argument, 'Near names: doubled')
    call emulator%open(fixture('column.pt'), status, options=option('constraints_off', 'scale'))
    call check_error(status, climlink_error_argument, 'no switch')
#ifndef CLIMLINK_MPI
    call emulator%open(fixture('column.pt'), status, comm=0)
    call check_error(status, climlink_error_argument, 'built without MPI')
#endif
  end subroutine refused_hosts

  subroutine wrong_names()
    call emulator%begin(n_column, status)
    call emulator%set('state_T', t, 1, status)
    call check_error(status, climlink_error_variable, 'state_T')
    call check_error(status, climlink_error_variable, 'state_t')
    call emulator%set('ptend_t', t, 1, status)
    call check_error(status, climlink_error_variable, 'output')
    call emulator%set('state_t', t, 1, status, units='degC')
    call check_error(status, climlink_error_host, 'degC')
    call emulator%set('state_t', t, 1, status, units='m')            ! as long as the right one
    call check_error(status, climlink_error_host, 'the host has units "m", the package "K"')
    call emulator%set('state_t', t, 1, status)
    call emulator%run(status)
    call check_error(status, climlink_error_variable, 'state_q0001')
  end subroutine wrong_names

  subroutine wrong_arrays()
    integer(int32) :: whole(n_column, n_level)
    logical :: flags(n_column, n_level)
    complex(real64) :: waves(n_column, n_level)
    real(real32) :: cube(n_column, n_level, 1)

    whole = 1
    flags = .true.
    waves = (1.0_real64, 0.0_real64)
    cube = 1.0_real32
    call emulator%begin(n_column, status)
    call emulator%set('state_t', whole, 1, status)
    call check_error(status, climlink_error_shape, &
      'state_t: the values must be real32 or real64; they are integer (4 bytes each)')
    call emulator%set('state_t', waves, 1, status)
    call check_error(status, climlink_error_shape, 'complex')
    call emulator%set('state_t', flags, 1, status)
    call check_error(status, climlink_error_shape, 'must be real32 or real64')
    call emulator%set('state_t', cube, 1, status)
    call check_error(status, climlink_error_shape, 'rank 3')
    call emulator%set('state_ps', ps(1), 1, status)
    call check_error(status, climlink_error_shape, 'rank 0')
    call emulator%set('state_t', ps, 1, status)
    call check_error(status, climlink_error_shape, 'state_t')
    call emulator%set('state_t', t(:, :5), 1, status)
    call check_error(status, climlink_error_shape, 'expected 6 levels')
    call emulator%set('state_ps', t, 1, status)
    call check_error(status, climlink_error_shape, 'state_ps')
    call assumed_size(t)
    call wrong_columns()
  end subroutine wrong_arrays

  !> The last extent of an assumed-size array is unknown, so a whole one is refused; a section is
  !! not.
  subroutine assumed_size(values)
    real(real64), intent(in) :: values(n_column, *)

    call emulator%set('state_t', values(:, :n_level), 1, status)
    call check(status%ok(), 'a section of an assumed-size array')
  end subroutine assumed_size

  subroutine wrong_columns()
    call emulator%set('state_t', t, 0, status)
    call check_error(status, climlink_error_shape, &
      'from column 0 do not lie within the 5 columns given to begin, which count from 1')
    call emulator%set('state_t', t, 2, status)
    call check_error(status, climlink_error_shape, '5 columns')
    call emulator%begin(-1, status)
    call check_error(status, climlink_error_argument, '-1')
  end subroutine wrong_columns

  subroutine wrong_values()
    call emulator%begin(n_column, status)
    t(4, 2) = ieee_value(t(4, 2), ieee_quiet_nan)
    call emulator%set('state_t', t, 1, status)
    call check_error(status, climlink_error_nonfinite, &
                     'rank 0: set: state_t: column 4, level 2: NaN')
    call check_error(status, climlink_error_nonfinite, 'NaN')
    t(4, 2) = ieee_value(t(4, 2), ieee_positive_inf)
    call emulator%set('state_t', t, 1, status)
    call check_error(status, climlink_error_nonfinite, 'Inf')
    t(4, 2) = 1e39_real64
    call emulator%set('state_t', t, 1, status)
    call check_error(status, climlink_error_nonfinite, 'float32')
    t(4, 2) = 250.0_real64
    call emulator%run(status)
    call check_error(status, climlink_error_variable, 'state_t (5 of 5 columns missing)')
  end subroutine wrong_values

  subroutine wrong_order()
    call emulator%begin(n_column, status)
    call emulator%get('ptend_t', t, 1, status)
    call check_error(status, climlink_error_state, 'ptend_t')
    call emulator%close(status)
  end subroutine wrong_order

end program test_errors
