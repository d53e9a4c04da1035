!> Lagged inputs against closed forms, restarts to the last bit on other numbers of ranks, and their
!! way through an emulator.
!!
!! In step n, state s (1 to 5 for t, vapour, liquid, ice, u) of column i at level k is, in units of
!! the time step, b = s n^2 + i + k before the physics and a = b + s n i + k after it: small
!! integers, and a time step of 2^10 s, so that differences and quotients are exact.
program test_lagged_memory
  use, intrinsic :: ieee_arithmetic, only: ieee_quiet_nan, ieee_value
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink, only: climlink_emulator, climlink_error_argument, climlink_error_shape, &
                      climlink_error_state, climlink_error_variable, climlink_host_fields, &
                      climlink_status
  use climlink_lagged_memory, only: climlink_lags
  use test_support, only: check, check_error, finish, fixture, n_level, same => same_bits
  implicit none (type, external)

  integer, parameter :: n_column = 5
  real(real64), parameter :: dt = 1024.0_real64
  character(len=*), parameter :: states(5) = [character(len=11) :: 'state_t', 'state_q0001', &
    'state_q0002', 'state_q0003', 'state_u']
  character(len=*), parameter :: made(5) = [character(len=18) :: 'state_t_prvphy', &
    'state_q0001_prvphy', 'state_q0002_prvphy', 'state_q0003_prvphy', 'state_u_prvphy']
  character(len=*), parameter :: moved(3) = [character(len=12) :: 'state_t_dyn', 'state_q0_dyn', &
    'state_u_dyn']
  character(len=*), parameter :: previous(5) = [character(len=14) :: 'tm_state_ps', &
    'tm_pbuf_SOLIN', 'tm_pbuf_LHFLX', 'tm_pbuf_SHFLX', 'tm_pbuf_COSZRS']
  type(climlink_status) :: status

  call closed_forms()
  call other_time_step()
  call restarts()
  call without_columns()
  call calls_out_of_order()
  call tables_that_do_not_fit()
  call wrong_shapes()
  call foreign_restarts()
  call through_the_emulator()
  call finish()

contains

  !> State before (0) or after (1) the physics [column, level, s] of columns first to last, all
  !! times scale.
  pure function state(step, after, first, last, scale) result(x)
    integer, intent(in) :: step, after, first, last
    real(real64), intent(in) :: scale
    real(real64) :: x(last - first + 1, n_level, 5)
    integer :: i, k, s

    do s = 1, 5
      do k = 1, n_level
        do i = first, last
          x(i - first + 1, k, s) = scale * real(s * step**2 + i + k + after * (s * step * i + k), &
                                                real64)
        end do
      end do
    end do
  end function state

  pure function scalars(step, first, last) result(x)
    integer, intent(in) :: step, first, last
    real(real64) :: x(last - first + 1, 5)
    integer :: i, s

    do s = 1, 5
      x(:, s) = [(real(1000 * s + 10 * step + i, real64), i=first, last)]
    end do
  end function scalars

  !> The table of a host with these states [column, level, s] and scalars [column, s].
  subroutine declare(fields, x, given)
    type(climlink_host_fields), intent(inout) :: fields
    real(real64), target, intent(in) :: x(:, :, :), given(:, :)
    integer :: s

    call fields%begin(size(x, 1))
    do s = 1, 5
      call fields%add_profile(states(s), '1', x(:, :, s))
      call fields%add_scalar(previous(s)(4:), '1', given(:, s))
    end do
  end subroutine declare

  !> Scale of the states: the time step for exact differences, or a number that leaves no difference
  !! exact. Even steps come as two chunks.
  subroutine enter(memory, step, first, last, scale)
    type(climlink_lags), intent(inout) :: memory
    integer, intent(in) :: step, first, last
    real(real64), intent(in) :: scale
    real(real64), target :: x(last - first + 1, n_level, 5), given(last - first + 1, 5)
    type(climlink_host_fields) :: fields, chunks(2)

    x = state(step, 0, first, last, scale)
    given = scalars(step, first, last)
    if (mod(step, 2) == 0) then
      call declare(chunks(1), x(:size(x, 1) / 3, :, :), given)
      call declare(chunks(2), x(size(x, 1) / 3 + 1:, :, :), given(size(x, 1) / 3 + 1:, :))
      call memory%begin_step(chunks, status)
    else
      call declare(fields, x, given)
      call memory%begin_step(fields, status)
    end if
    call check(status%ok(), 'begin_step: ' // status%message)
  end subroutine enter

  subroutine leave(memory, step, first, last, scale)
    type(climlink_lags), intent(inout) :: memory
    integer, intent(in) :: step, first, last
    real(real64), intent(in) :: scale
    real(real64), target :: x(last - first + 1, n_level, 5), given(last - first + 1, 5)
    type(climlink_host_fields) :: fields

    x = state(step, 1, first, last, scale)
    given = huge(given)
    call declare(fields, x, given)
    call memory%end_step(fields, status)
    call check(status%ok(), 'end_step: ' // status%message)
  end subroutine leave

  !> The physics tendency of step n, and the dynamics tendency between steps n - 1 and n, of state
  !! s.
  pure function physics(n, i, k, s) result(tendency)
    integer, intent(in) :: n, i, k, s
    real(real64) :: tendency

    tendency = real(s * n * i + k, real64)
  end function physics

  pure function dynamics(n, i, k, s) result(tendency)
    integer, intent(in) :: n, i, k, s
    real(real64) :: tendency

    tendency = real(s * (n**2 - (n - 1)**2), real64) - physics(n - 1, i, k, s)
  end function dynamics

  subroutine closed_forms()
    type(climlink_lags), target :: memory
    type(climlink_host_fields) :: fields
    integer :: n

    call memory%initialize(n_column, n_level, dt, status)
    call check(status%ok() .and. .not. memory%ready(), 'a new memory knows nothing')
    do n = 1, 6
      call enter(memory, n, 1, n_column, dt)
      call check(memory%ready() .eqv. n > 2, 'ready from the third step on')
      if (n > 2) call check_step(memory, n)
      call leave(memory, n, 1, n_column, dt)
    end do
    call fields%begin(n_column)
    call memory%add_to(fields)
    call check(fields%has('tm_state_u_prvphy') .and. fields%has('state_q0_dyn  ') &
               .and. fields%has('tm_pbuf_SOLIN'), 'has')
    call check(.not. (fields%has('state_t') .or. fields%has('state_v_dyn') &
                      .or. fields%has('tm_tm_state_ps') &
                      .or. fields%has('tm_pbuf_TAUX') .or. fields%has('')), 'has not')
    call check(memory%steps_needed() == 2, 'steps_needed')
  end subroutine closed_forms

  subroutine check_step(memory, n)
    type(climlink_lags), intent(in) :: memory
    integer, intent(in) :: n
    integer :: i, k, s

    do i = 1, n_column
      do s = 1, 5
        call check(same(scalar(memory, previous(s), i), &
                        real(1000 * s + 10 * (n - 1) + i, real64)), previous(s))
        do k = 1, n_level
          call check(same(value(memory, made(s), i, k), physics(n - 1, i, k, s)), made(s))
          call check(same(value(memory, 'tm_' // made(s), i, k), physics(n - 2, i, k, s)), &
                     'tm_' // made(s))
        end do
      end do
      do k = 1, n_level
        call check(same(value(memory, moved(1), i, k), dynamics(n, i, k, 1)), moved(1))
        call check(same(value(memory, moved(2), i, k), sum([(dynamics(n, i, k, s), s=2, 4)])), &
                   moved(2))
        call check(same(value(memory, moved(3), i, k), dynamics(n, i, k, 5)), moved(3))
        call check(same(value(memory, 'tm_' // moved(1), i, k), dynamics(n - 1, i, k, 1)), &
                   'tm_' // moved(1))
        call check(same(value(memory, 'tm_' // moved(2), i, k), &
                        sum([(dynamics(n - 1, i, k, s), s=2, 4)])), 'tm_' // moved(2))
        call check(same(value(memory, 'tm_' // moved(3), i, k), dynamics(n - 1, i, k, 5)), &
                   'tm_' // moved(3))
      end do
    end do
  end subroutine check_step

  function value(memory, name, i, k) result(x)
    type(climlink_lags), intent(in) :: memory
    character(len=*), intent(in) :: name
    integer, intent(in) :: i, k
    real(real64) :: x
    real(real64) :: values(n_column, n_level)

    call memory%get(trim(name), values, status)
    call check(status%ok(), trim(name) // ': ' // status%message)
    x = values(i, k)
  end function value

  function scalar(memory, name, i) result(x)
    type(climlink_lags), intent(in) :: memory
    character(len=*), intent(in) :: name
    integer, intent(in) :: i
    real(real64) :: x
    real(real64) :: values(n_column, 1)

    call memory%get(trim(name), values, status)
    call check(status%ok(), trim(name) // ': ' // status%message)
    x = values(i, 1)
  end function scalar

  !> Twice the time step, half the tendencies.
  subroutine other_time_step()
    type(climlink_lags) :: memory
    integer :: n

    call memory%initialize(n_column, n_level, 2.0_real64 * dt)
    do n = 1, 2
      call enter(memory, n, 1, n_column, dt)
      call leave(memory, n, 1, n_column, dt)
    end do
    call enter(memory, 3, 1, n_column, dt)
    call check(same(value(memory, 'state_q0003_prvphy', 4, 2), 0.5_real64 * physics(2, 4, 2, 4)), &
               'other time step: physics')
    call check(same(value(memory, 'state_u_dyn', 4, 2), 0.5_real64 * dynamics(3, 4, 2, 5)), &
               'other time step: dynamics')
  end subroutine other_time_step

  !> Stopped after any step, even before the memory is ready, and taken up by ranks of other sizes:
  !! every bit as without a stop.
  subroutine restarts()
    real(real64), parameter :: scale = 0.1_real64
    integer, parameter :: n_last = 6
    ! three ranks, one of them without columns
    integer, parameter :: starts(4) = [1, 3, 3, n_column + 1]
    type(climlink_lags) :: whole, parts(3)
    real(real64), allocatable :: saved(:, :)
    integer :: stop_at, n, r

    do stop_at = 0, n_last - 1
      call whole%initialize(n_column, n_level, dt)
      do n = 1, stop_at
        call enter(whole, n, 1, n_column, scale)
        call leave(whole, n, 1, n_column, scale)
      end do
      if (allocated(saved)) deallocate (saved)
      allocate (saved(whole%state_size(), n_column), source=huge(scale))
      call whole%pack_state(saved, status)
      call check(status%ok() .and. all(saved < huge(scale)), 'pack_state fills the buffer')
      do r = 1, 3
        call parts(r)%initialize(starts(r + 1) - starts(r), n_level, dt)
        call parts(r)%unpack_state(saved(:, starts(r):starts(r + 1) - 1), status)
        call check(status%ok(), 'unpack_state: ' // status%message)
      end do
      do n = stop_at + 1, n_last
        call enter(whole, n, 1, n_column, scale)
        do r = 1, 3
          call enter(parts(r), n, starts(r), starts(r + 1) - 1, scale)
          call check((parts(r)%ready() .eqv. whole%ready()) .or. starts(r + 1) == starts(r), &
                     'a restart knows how far it was')
          if (whole%ready()) call compare(whole, parts(r), starts(r), starts(r + 1) - 1)
          call leave(parts(r), n, starts(r), starts(r + 1) - 1, scale)
        end do
        call leave(whole, n, 1, n_column, scale)
      end do
    end do
  end subroutine restarts

  !> Every variable of columns first to last agrees bit for bit.
  subroutine compare(whole, part, first, last)
    type(climlink_lags), intent(in) :: whole, part
    integer, intent(in) :: first, last
    integer :: s

    do s = 1, 5
      call compare_one(whole, part, first, last, trim(made(s)), n_level)
      call compare_one(whole, part, first, last, 'tm_' // trim(made(s)), n_level)
      call compare_one(whole, part, first, last, trim(previous(s)), 1)
    end do
    do s = 1, 3
      call compare_one(whole, part, first, last, trim(moved(s)), n_level)
      call compare_one(whole, part, first, last, 'tm_' // trim(moved(s)), n_level)
    end do
  end subroutine compare

  subroutine compare_one(whole, part, first, last, name, width)
    type(climlink_lags), intent(in) :: whole, part
    integer, intent(in) :: first, last
    character(len=*), intent(in) :: name
    integer, intent(in) :: width
    real(real64) :: all_columns(n_column, width), some(last - first + 1, width)

    call whole%get(name, all_columns, status)
    call part%get(name, some, status)
    call check(status%ok(), 'restart: ' // name // ': ' // status%message)
    call check(all(same(some, all_columns(first:last, :))), 'restart: ' // name)
  end subroutine compare_one

  !> A rank without columns goes through all calls, and has nothing to wait for.
  subroutine without_columns()
    type(climlink_lags) :: memory
    real(real64) :: none(0, n_level)

    call memory%initialize(0, n_level, dt)
    call enter(memory, 1, 1, 0, dt)
    call memory%get('tm_state_t_dyn', none, status)
    call check(status%ok() .and. memory%ready(), 'without columns: ' // status%message)
    call leave(memory, 1, 1, 0, dt)
  end subroutine without_columns

  subroutine calls_out_of_order()
    type(climlink_lags) :: memory
    real(real64) :: t(n_column, n_level), buffer(n_column, n_column)
    type(climlink_host_fields) :: fields

    t = 1.0_real64
    call fields%begin(n_column)
    call memory%begin_step(fields, status)
    call check_error(status, climlink_error_state, &
                     'rank 0: lagged memory: begin_step: call initialize first')
    call memory%get('state_t_dyn', t, status)
    call check_error(status, climlink_error_state, 'get state_t_dyn: call initialize first')
    call check(memory%state_size() == 0 .and. .not. memory%ready(), 'nothing before initialize')
    call memory%initialize(n_column, n_level, 0.0_real64, status)
    call check_error(status, climlink_error_argument, 'time step')
    call memory%initialize(n_column, n_level, dt, status)
    call memory%end_step(fields, status)
    call check_error(status, climlink_error_state, 'end_step: call begin_step first')
    call enter(memory, 1, 1, n_column, dt)
    call memory%begin_step(fields, status)
    call check_error(status, climlink_error_state, &
                     'begin_step: a step has begun; call end_step first')
    call memory%pack_state(buffer, status)
    call check_error(status, climlink_error_state, 'pack_state: a step has begun')
    call memory%unpack_state(buffer, status)
    call check_error(status, climlink_error_state, 'unpack_state: a step has begun')
    call memory%get('state_x_dyn', t, status)
    call check_error(status, climlink_error_variable, "there is no lagged input 'state_x_dyn'")
    call memory%get('tm_state_ps', t(:, :1), status)
    call check_error(status, climlink_error_state, &
                     'tm_state_ps needs 2 steps of history, there are 0: let the host run')
    call leave(memory, 1, 1, n_column, dt)
    call memory%get('tm_state_ps', t(:, :1), status)
    call check_error(status, climlink_error_state, 'get tm_state_ps: call begin_step first')
  end subroutine calls_out_of_order

  !> A refused step may be repeated: nothing of it is kept.
  subroutine tables_that_do_not_fit()
    type(climlink_lags) :: memory
    type(climlink_host_fields) :: fields, chunks(2), square(2, 1)
    real(real64), target :: x(n_column, n_level, 5), given(n_column, 5)
    integer :: n

    call memory%initialize(n_column, n_level, dt)
    do n = 1, 2
      call enter(memory, n, 1, n_column, dt)
      call leave(memory, n, 1, n_column, dt)
    end do
    x = 1.0_real64
    given = 1.0_real64
    call declare(fields, x(2:, :, :), given)
    call memory%begin_step(fields, status)
    call check_error(status, climlink_error_shape, &
                     "rank 0: lagged memory: the host's tables hold 4 columns, the memory 5")
    call declare(chunks(1), x, given)
    call declare(chunks(2), x, given)
    call memory%begin_step(chunks, status)
    call check_error(status, climlink_error_shape, 'hold 10 columns or more, the memory 5')
    call declare(fields, x(:, 2:, :), given)
    call memory%begin_step(fields, status)
    call check_error(status, climlink_error_shape, &
                     "the host's table: state_t: the array has not the shape")
    call memory%begin_step(square, status)
    call check_error(status, climlink_error_argument, 'pass one table, or an array of rank 1')
    call fields%begin(n_column)
    call fields%add_scalar(previous(1)(4:), 'Pa', given(:, 1))
    call memory%begin_step(fields, status)
    call check_error(status, climlink_error_variable, 'the host gives no pbuf_SOLIN')
    call enter(memory, 3, 1, n_column, dt)
    call memory%end_step(fields, status)
    call check_error(status, climlink_error_variable, 'the host gives no state_t')
    call check_step(memory, 3)
    call leave(memory, 3, 1, n_column, dt)
    call enter(memory, 4, 1, n_column, dt)
    call check_step(memory, 4)
  end subroutine tables_that_do_not_fit

  subroutine wrong_shapes()
    type(climlink_lags) :: memory
    real(real64) :: t(n_column, n_level), buffer(7, n_column)
    integer :: n

    buffer = 0.0_real64
    call memory%initialize(n_column, n_level, dt)
    call memory%pack_state(buffer, status)
    call check_error(status, climlink_error_shape, &
                     'pack_state: buffer must be of shape 114,5, not 7,5')
    call memory%unpack_state(buffer, status)
    call check_error(status, climlink_error_shape, 'unpack_state: buffer must be')
    do n = 1, 2
      call enter(memory, n, 1, n_column, dt)
      call leave(memory, n, 1, n_column, dt)
    end do
    call enter(memory, 3, 1, n_column, dt)
    call memory%get('state_t_dyn', t(:, :1), status)
    call check_error(status, climlink_error_shape, 'get: state_t_dyn must be of shape 5,6, not 5,1')
    call memory%get('tm_state_ps', t, status)
    call check_error(status, climlink_error_shape, 'get: tm_state_ps must be of shape 5,1, not 5,6')
    call memory%get('state_t_dyn', t, status, first_column=2)
    call check_error(status, climlink_error_shape, 'get: state_t_dyn: columns 2 to 6 of 5')
  end subroutine wrong_shapes

  !> What cannot be from one pack_state is refused.
  subroutine foreign_restarts()
    type(climlink_lags) :: memory
    real(real64), allocatable :: buffer(:, :)
    real(real64) :: wrong(4)
    integer :: i

    call memory%initialize(n_column, n_level, dt)
    allocate (buffer(memory%state_size(), n_column))
    wrong = [-1.0_real64, 2.5_real64, 1e30_real64, ieee_value(dt, ieee_quiet_nan)]
    do i = 1, size(wrong)
      buffer = wrong(i)
      call memory%unpack_state(buffer, status)
      call check_error(status, climlink_error_argument, 'unpack_state: the columns are not')
      buffer = 3.0_real64
      buffer(1, 2) = wrong(i)
      call memory%unpack_state(buffer, status)
      call check_error(status, climlink_error_argument, &
                       'unpack_state: the columns are not those of one restart')
    end do
    call check(.not. memory%ready(), 'a refused restart changes nothing')
  end subroutine foreign_restarts

  !> lagged.pt multiplies lagged inputs by one: what comes out is what the memory gave, as real32.
  subroutine through_the_emulator()
    type(climlink_emulator) :: emulator
    type(climlink_lags), target :: memory
    type(climlink_host_fields) :: fields
    real(real64), target :: profile(n_column, n_level), water(n_column, n_level), &
                            wind(n_column, n_level), flux(n_column), t(n_column, n_level)
    integer :: n, i

    call emulator%open(fixture('lagged.pt'), status, n_level=n_level)
    call check(status%ok(), 'open lagged.pt: ' // status%message)
    t = 250.0_real64
    call fields%begin(n_column)
    call fields%add_profile('state_t', 'K', t)
    call fields%add_profile('ptend_t', 'K/s', profile, taken=.true.)
    call fields%add_profile('ptend_q0001', 'kg/kg/s', water, taken=.true.)
    call fields%add_profile('ptend_u', 'm/s2', wind, taken=.true.)
    call fields%add_scalar('cam_out_PRECC', 'm/s', flux, taken=.true.)
    call memory%initialize(n_column, n_level, dt)
    call memory%add_to(fields)
    call fields%check(emulator, status, spin_up_steps=2)
    call check(status%ok(), 'the units of the memory are those of packages: ' // status%message)
    call check(memory%serves(emulator) .and. fields%steps_needed(emulator) == 2, 'serves')
    do n = 1, 4
      call enter(memory, n, 1, n_column, dt)
      call emulator%begin(n_column, status)
      call fields%send(emulator, status)
      if (.not. memory%ready()) then
        call check_error(status, climlink_error_state, 'needs 2 steps of history')
      else
        call emulator%run(status)
        call check(status%ok(), 'run: ' // status%message)
        call fields%receive(emulator, status)
        call check(same(profile(3, 2), physics(n - 2, 3, 2, 1)), 'emulator: tm_state_t_prvphy')
        call check(same(water(3, 2), sum([(dynamics(n, 3, 2, i), i=2, 4)])), &
                   'emulator: state_q0_dyn')
        call check(same(wind(3, 2), dynamics(n - 1, 3, 2, 5)), 'emulator: tm_state_u_dyn')
        call check(same(flux(3), real(1000 + 10 * (n - 1) + 3, real64)), 'emulator: tm_state_ps')
      end if
      call leave(memory, n, 1, n_column, dt)
    end do
    call emulator%close(status)
  end subroutine through_the_emulator

end program test_lagged_memory
