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
                      climlink_error_state, climlink_error_variable, climlink_status
  use climlink_lagged_memory, only: climlink_lags
  use test_support, only: check, check_error, finish, fixture, n_level, same => same_bits
  implicit none (type, external)

  integer, parameter :: n_column = 5
  real(real64), parameter :: dt = 1024.0_real64
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

  !> Scale of the states: the time step for exact differences, or a number that leaves no difference
  !! exact.
  subroutine enter(memory, step, first, last, scale)
    type(climlink_lags), intent(inout) :: memory
    integer, intent(in) :: step, first, last
    real(real64), intent(in) :: scale
    real(real64) :: x(last - first + 1, n_level, 5)

    x = state(step, 0, first, last, scale)
    call memory%begin_step(x(:, :, 1), x(:, :, 2:4), x(:, :, 5), scalars(step, first, last), status)
    call check(status%ok(), 'begin_step: ' // status%message)
  end subroutine enter

  subroutine leave(memory, step, first, last, scale)
    type(climlink_lags), intent(inout) :: memory
    integer, intent(in) :: step, first, last
    real(real64), intent(in) :: scale
    real(real64) :: x(last - first + 1, n_level, 5)

    x = state(step, 1, first, last, scale)
    call memory%end_step(x(:, :, 1), x(:, :, 2:4), x(:, :, 5), status)
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
    type(climlink_lags) :: memory
    integer :: n

    call memory%initialize(n_column, n_level, dt, status)
    call check(status%ok() .and. .not. memory%ready(), 'a new memory knows nothing')
    do n = 1, 6
      call enter(memory, n, 1, n_column, dt)
      call check(memory%ready() .eqv. n > 2, 'ready from the third step on')
      if (n > 2) call check_step(memory, n)
      call leave(memory, n, 1, n_column, dt)
    end do
    call check(memory%has('tm_state_u_prvphy') .and. memory%has('state_q0_dyn  ') &
               .and. memory%has('tm_pbuf_SOLIN'), 'has')
    call check(.not. (memory%has('state_t') .or. memory%has('state_v_dyn') &
                      .or. memory%has('tm_tm_state_ps') &
                      .or. memory%has('tm_pbuf_TAUX') .or. memory%has('')), 'has not')
    call check(memory%width('state_t_dyn') == n_level .and. memory%width('tm_state_ps') == 1, &
               'width')
    call check(memory%width('state_t') == 0, 'width of what is not there')
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
      call compare_one(whole, part, first, last, trim(made(s)))
      call compare_one(whole, part, first, last, 'tm_' // trim(made(s)))
      call compare_one(whole, part, first, last, trim(previous(s)))
    end do
    do s = 1, 3
      call compare_one(whole, part, first, last, trim(moved(s)))
      call compare_one(whole, part, first, last, 'tm_' // trim(moved(s)))
    end do
  end subroutine compare

  subroutine compare_one(whole, part, first, last, name)
    type(climlink_lags), intent(in) :: whole, part
    integer, intent(in) :: first, last
    character(len=*), intent(in) :: name
    real(real64) :: all_columns(n_column, whole%width(name)), &
                    some(last - first + 1, whole%width(name))

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
    real(real64) :: t(n_column, n_level), q(n_column, n_level, 3), s(n_column, 5), &
                    buffer(n_column, n_column)

    t = 1.0_real64
    q = 1.0_real64
    s = 1.0_real64
    call memory%begin_step(t, q, t, s, status)
    call check_error(status, climlink_error_state, &
                     'rank 0: lagged memory: begin_step: call initialize first')
    call memory%get('state_t_dyn', t, status)
    call check_error(status, climlink_error_state, 'get state_t_dyn: call initialize first')
    call check(memory%state_size() == 0 .and. .not. memory%ready(), 'nothing before initialize')
    call check(.not. memory%has('state_t_dyn'), 'no variable before initialize')
    call memory%initialize(n_column, n_level, 0.0_real64, status)
    call check_error(status, climlink_error_argument, 'time step')
    call memory%initialize(n_column, n_level, dt, status)
    call memory%end_step(t, q, t, status)
    call check_error(status, climlink_error_state, 'end_step: call begin_step first')
    call enter(memory, 1, 1, n_column, dt)
    call memory%begin_step(t, q, t, s, status)
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

  subroutine wrong_shapes()
    type(climlink_lags) :: memory
    real(real64) :: t(n_column, n_level), q(n_column, n_level, 3), s(n_column, 5), &
                    buffer(7, n_column)
    integer :: n

    t = 1.0_real64
    q = 1.0_real64
    s = 1.0_real64
    buffer = 0.0_real64
    call memory%initialize(n_column, n_level, dt)
    call memory%begin_step(t(2:, :), q, t, s, status)
    call check_error(status, climlink_error_shape, 'begin_step: t must be of shape 5,6, not 4,6')
    call memory%begin_step(t, q(:, :, :2), t, s, status)
    call check_error(status, climlink_error_shape, &
                     'begin_step: q must be of shape 5,6,3, not 5,6,2')
    call memory%begin_step(t, q, t(:, 2:), s, status)
    call check_error(status, climlink_error_shape, 'begin_step: u must be')
    call memory%begin_step(t, q, t, s(:, :4), status)
    call check_error(status, climlink_error_shape, &
                     'begin_step: scalars must be of shape 5,5, not 5,4')
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
    call memory%end_step(t, q(:3, :, :), t, status)
    call check_error(status, climlink_error_shape, 'end_step: q must be')
    call check_step(memory, 3)
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
    type(climlink_lags) :: memory
    real(real64) :: profile(n_column, n_level), flux(n_column, 1)
    integer :: n, i

    call emulator%open(fixture('lagged.pt'), status, n_level=n_level)
    call check(status%ok(), 'open lagged.pt: ' // status%message)
    call memory%initialize(n_column, n_level, dt)
    do n = 1, 4
      call enter(memory, n, 1, n_column, dt)
      if (memory%ready()) then
        call emulator%begin(n_column, status)
        do i = 1, emulator%n_input()
          call send(emulator, memory, emulator%input_name(i), n)
        end do
        call emulator%run(status)
        call check(status%ok(), 'run: ' // status%message)
        call emulator%get('ptend_t', profile, 1, status)
        call check(same(profile(3, 2), physics(n - 2, 3, 2, 1)), 'emulator: tm_state_t_prvphy')
        call emulator%get('ptend_q0001', profile, 1, status)
        call check(same(profile(3, 2), sum([(dynamics(n, 3, 2, i), i=2, 4)])), &
                   'emulator: state_q0_dyn')
        call emulator%get('ptend_u', profile, 1, status)
        call check(same(profile(3, 2), dynamics(n - 1, 3, 2, 5)), 'emulator: tm_state_u_dyn')
        call emulator%get('cam_out_PRECC', flux, 1, status)
        call check(same(flux(3, 1), real(1000 + 10 * (n - 1) + 3, real64)), 'emulator: tm_state_ps')
      end if
      call leave(memory, n, 1, n_column, dt)
    end do
    call emulator%close(status)
  end subroutine through_the_emulator

  !> One input: from the memory where it has it, else the temperature.
  subroutine send(emulator, memory, name, step)
    type(climlink_emulator), intent(inout) :: emulator
    type(climlink_lags), intent(in) :: memory
    character(len=*), intent(in) :: name
    integer, intent(in) :: step
    real(real64) :: x(n_column, n_level, 5), values(n_column, max(1, memory%width(name)))

    x = state(step, 0, 1, n_column, dt)
    if (memory%has(name)) then
      call memory%get(name, values, status)
      call emulator%set(name, values, 1, status)
    else
      call emulator%set(name, x(:, :, 1), 1, status)
    end if
    call check(status%ok(), 'set ' // name // ': ' // status%message)
  end subroutine send

end program test_lagged_memory
