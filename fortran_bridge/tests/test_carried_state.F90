!> The keeper of carried state against running sums in closed form (sums.pt of memory_fixtures.py):
!! steps, restarts on other numbers of samples, beginning again, refusals.
program test_carried_state
  use, intrinsic :: ieee_arithmetic, only: ieee_quiet_nan, ieee_value
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink, only: climlink_emulator, climlink_error_argument, climlink_error_shape, &
                      climlink_error_state, climlink_error_variable, climlink_status, &
                      climlink_variable
  use climlink_carried_state, only: climlink_carried
  use test_support, only: check, check_error, finish, fixture, same_bits
  implicit none (type, external)

  integer, parameter :: n_sample = 5, n_level = 6, n_unit = 2, n_band = 3
  type(climlink_emulator) :: emulator
  type(climlink_status) :: status

  call emulator%open(fixture('sums.pt'), status, n_level=n_level)
  call check(status%ok(), 'open: ' // status%message)
  call queries()
  call running_sums()
  call beginning_again()
  call samples_that_begin_beside_others()
  call restarts()
  call without_samples()
  call calls_out_of_order()
  call wrong_states()
  call emulator%close(status)
  call packages_without_state()
  call finish()

contains

  subroutine queries()
    type(climlink_variable) :: inputs(9), outputs(6)
    integer :: i

    do i = 1, 9
      inputs(i) = emulator%input(i)
    end do
    do i = 1, 6
      outputs(i) = emulator%output(i)
    end do
    call check(emulator%carried_count() == 4, 'carried_count')
    call check(emulator%carried_input(3) == 'sum_table' .and. &
               emulator%carried_output(3) == 'sum_table_next', 'carried pair 3')
    call check(emulator%carried_input(0) == '' .and. emulator%carried_output(5) == '', &
               'pairs outside the list')
    call check(inputs(1)%role == 'value' .and. inputs(3)%role == 'start', &
               'roles of inputs')
    call check(inputs(4)%role == 'carried' .and. outputs(5)%role == 'carried', &
               'carried roles')
    call check(outputs(1)%role == 'value' .and. outputs(6)%role == '', &
               'roles of outputs')
    call check(size(inputs(1)%sizes) == 0 .and. size(inputs(9)%sizes) == 0, &
               'dims of a number, and of nothing')
    call check(all(inputs(7)%sizes == [n_unit, n_level, n_band]), 'dims of an input')
    call check(all(outputs(4)%sizes == [n_level, n_unit]), 'dims of an output')
    call check(inputs(7)%dims(3) == 'band' .and. outputs(4)%dims(1) == 'level', 'names of dims')
    call check(size(inputs(7)%dims) == 3 .and. size(inputs(1)%dims) == 0, 'no such dim')
    call check(emulator%dim_size('band') == n_band .and. emulator%dim_size('lat') == 0, 'dim_size')
    call emulator%require_columns(status)
    call check(status%ok(), 'carried state may have any dims: ' // status%message)
  end subroutine queries

  !> What drives sample i in a step.
  elemental function forcing(i, step) result(value)
    integer, intent(in) :: i, step
    real(real64) :: value

    value = real(i + 10 * step, real64)
  end function forcing

  !> The first running sum of sample i: it begins in step first, at 100 i.
  elemental function total(i, first, step) result(value)
    integer, intent(in) :: i, first, step
    real(real64) :: value
    integer :: k

    value = 100.0_real64 * i
    do k = first, step
      value = value + forcing(i, k)
    end do
  end function total

  !> One step of samples first to last.
  subroutine advance(carried, first, last, step)
    type(climlink_carried), intent(inout) :: carried
    integer, intent(in) :: first, last, step
    integer :: i

    call emulator%begin(last - first + 1, status)
    call emulator%set('forcing', [(forcing(i, step), i=first, last)], 1, status)
    call emulator%set('initial', [(100.0_real64 * i, i=first, last)], 1, status)
    call carried%send(emulator, status)
    call check(status%ok(), 'send: ' // status%message)
    call emulator%run(status)
    call check(status%ok(), 'run: ' // status%message)
    call carried%receive(emulator, status)
    call check(status%ok(), 'receive: ' // status%message)
  end subroutine advance

  !> Every carried value of samples first to last is its weight times the first sum, whatever its
  !! place.
  subroutine check_sums(first, last, begun, step, what)
    integer, intent(in) :: first, last, begun, step
    character(len=*), intent(in) :: what
    real(real64) :: answer(last - first + 1), profile(last - first + 1, n_level), &
      table(last - first + 1, n_level, n_unit)
    real(real64) :: cube(last - first + 1, n_unit, n_level, n_band), expected(last - first + 1)
    integer :: i, l, u, b, weight

    expected = [(total(i, begun, step), i=first, last)]
    call emulator%get('answer', answer, 1, status)
    call emulator%get('sum_profile_next', profile, 1, status)
    call emulator%get('sum_table_next', table, 1, status)
    call emulator%get('sum_cube_next', cube, 1, status)
    call check(status%ok(), what // ': get: ' // status%message)
    call check(all(same_bits(answer, expected)), what // ': answer')
    do l = 1, n_level
      call check(all(same_bits(profile(:, l), (1 + l) * expected)), what // ': profile')
      do u = 1, n_unit
        call check(all(same_bits(table(:, l, u), (7 + 2 * (l - 1) + u) * expected)), what // &
                   ': table')
        do b = 1, n_band
          weight = 19 + 3 * (n_level * (u - 1) + l - 1) + b
          call check(all(same_bits(cube(:, u, l, b), weight * expected)), what // ': cube')
        end do
      end do
    end do
  end subroutine check_sums

  subroutine running_sums()
    type(climlink_carried) :: carried
    integer :: step

    call carried%initialize(emulator, n_sample, status)
    call check(status%ok() .and. carried%has_state(), 'initialize: ' // status%message)
    call check(carried%owns('start') .and. carried%owns('sum_cube') .and. &
               .not. carried%owns('forcing'), 'owns')
    call check(.not. carried%owns('sum_cube_next'), 'owns inputs only')
    call check(carried%steps_needed() == 0, 'no step before the first')
    do step = 1, 4
      call advance(carried, 1, n_sample, step)
      call check_sums(1, n_sample, 1, step, 'running sums')
    end do
  end subroutine running_sums

  !> After steps without the emulator, what was carried counts no more.
  subroutine beginning_again()
    type(climlink_carried) :: carried
    integer :: step

    call carried%initialize(emulator, n_sample, status)
    do step = 1, 3
      call advance(carried, 1, n_sample, step)
    end do
    call carried%begin_again()
    do step = 6, 7
      call advance(carried, 1, n_sample, step)
      call check_sums(1, n_sample, 6, step, 'begin_again')
    end do
  end subroutine beginning_again

  !> `start` is of each sample: those of a restart that begin do so beside others that go on.
  subroutine samples_that_begin_beside_others()
    type(climlink_carried) :: begun, fresh
    real(real64), allocatable :: state(:, :), other(:, :)
    real(real64) :: answer(n_sample)
    integer :: i

    call begun%initialize(emulator, n_sample, status)
    call fresh%initialize(emulator, n_sample, status)
    call advance(begun, 1, n_sample, 1)
    allocate (state(begun%state_size(), n_sample), other(begun%state_size(), n_sample))
    call begun%pack_state(state, status)
    call fresh%pack_state(other, status)
    state(:, 2) = other(:, 2)
    call begun%unpack_state(state, status)
    call advance(begun, 1, n_sample, 2)
    call emulator%get('answer', answer, 1, status)
    call check(all(same_bits(answer, [(total(i, merge(2, 1, i == 2), 2), i=1, n_sample)])), &
               'one sample begins')
  end subroutine samples_that_begin_beside_others

  !> Stopped after any step and taken up by ranks of other sizes: every bit as without a stop.
  subroutine restarts()
    integer, parameter :: n_last = 4
    integer, parameter :: starts(4) = [1, 3, 3, n_sample + 1]     ! three ranks, one without samples
    type(climlink_carried) :: whole, parts(3)
    real(real64), allocatable :: saved(:, :)
    integer :: stop_at, step, r

    do stop_at = 0, n_last - 1
      call whole%initialize(emulator, n_sample, status)
      do step = 1, stop_at
        call advance(whole, 1, n_sample, step)
      end do
      call check(whole%state_size() == 1 + 1 + 6 + 12 + 36, 'state_size')
      if (allocated(saved)) deallocate (saved)
      allocate (saved(whole%state_size(), n_sample), source=huge(1.0_real64))
      call whole%pack_state(saved, status)
      call check(status%ok() .and. all(saved < huge(1.0_real64)), 'pack_state fills the array')
      call check(all(same_bits(saved(1, :), merge(1.0_real64, 0.0_real64, stop_at == 0))), &
                 'start is part of the state')
      do r = 1, 3
        call parts(r)%initialize(emulator, starts(r + 1) - starts(r), status)
        call parts(r)%unpack_state(saved(:, starts(r):starts(r + 1) - 1), status)
        call check(status%ok(), 'unpack_state: ' // status%message)
        do step = stop_at + 1, n_last
          call advance(parts(r), starts(r), starts(r + 1) - 1, step)
          call check_sums(starts(r), starts(r + 1) - 1, 1, step, 'restart')
        end do
      end do
    end do
  end subroutine restarts

  subroutine without_samples()
    type(climlink_carried) :: carried

    call carried%initialize(emulator, 0, status)
    call advance(carried, 1, 0, 1)
    call advance(carried, 1, 0, 2)
    call check(status%ok() .and. carried%has_state() .and. carried%state_size() == 56, &
               'no samples: ' // status%message)
  end subroutine without_samples

  subroutine calls_out_of_order()
    type(climlink_carried) :: carried
    real(real64) :: state(56, n_sample)

    call carried%send(emulator, status)
    call check_error(status, climlink_error_state, &
                     'rank 0: carried state: send: call initialize first')
    call carried%pack_state(state, status)
    call check_error(status, climlink_error_state, 'pack_state: call initialize first')
    call check(.not. carried%has_state() .and. carried%state_size() == 0 .and. &
               .not. carried%owns('start'), 'nothing at first')
    call carried%initialize(emulator, -1, status)
    call check_error(status, climlink_error_argument, '-1 samples')
    call carried%initialize(emulator, n_sample, status)
    call carried%receive(emulator, status)
    call check_error(status, climlink_error_state, 'receive: call send first')
    call advance(carried, 1, n_sample, 1)
    call carried%receive(emulator, status)
    call check_error(status, climlink_error_state, 'receive: call send first')
    call emulator%begin(n_sample, status)
    call carried%send(emulator, status)
    call carried%receive(emulator, status)
    call check_error(status, climlink_error_state, 'get: ')
    call carried%pack_state(state, status)
    call check_error(status, climlink_error_state, 'pack_state: a step is under way')
    call carried%unpack_state(state, status)
    call check_error(status, climlink_error_state, 'unpack_state: a step is under way')
    call advance(carried, 1, n_sample, 2)
    call check_sums(1, n_sample, 1, 2, 'a step that was refused may be repeated')
    call emulator%begin(n_sample + 1, status)
    call carried%send(emulator, status)
    call emulator%run(status)
    call check_error(status, climlink_error_variable, 'start (1 of 6')
  end subroutine calls_out_of_order

  !> What cannot be from pack_state is refused, and changes nothing.
  subroutine wrong_states()
    type(climlink_carried) :: carried
    real(real64) :: state(56, n_sample), wrong(4)
    integer :: i

    call carried%initialize(emulator, n_sample, status)
    call carried%pack_state(state(:, :2), status)
    call check_error(status, climlink_error_shape, &
                     'pack_state: the state must be of shape 56,5, not 56,2')
    call carried%unpack_state(state(:7, :), status)
    call check_error(status, climlink_error_shape, &
                     'unpack_state: the state must be of shape 56,5, not 7,5')
    wrong = [0.5_real64, -1.0_real64, 1e300_real64, ieee_value(1.0_real64, ieee_quiet_nan)]
    do i = 1, size(wrong)
      state = 0.0_real64
      state(1, 4) = wrong(i)
      call carried%unpack_state(state, status)
      call check_error(status, climlink_error_argument, 'not those of a restart')
    end do
    state = 0.0_real64
    state(20, 3) = wrong(4)
    call carried%unpack_state(state, status)
    call check_error(status, climlink_error_argument, 'not those of a restart')
    call advance(carried, 1, n_sample, 1)
    call check_sums(1, n_sample, 1, 1, 'a refused state changes nothing')
  end subroutine wrong_states

  subroutine packages_without_state()
    type(climlink_carried) :: carried
    real(real64) :: state(0, n_sample)

    call carried%initialize(emulator, n_sample, status)
    call check_error(status, climlink_error_state, 'initialize: the emulator is not open')
    call emulator%open(fixture('column.pt'), status)
    call carried%initialize(emulator, n_sample, status)
    call check(status%ok() .and. .not. carried%has_state(), 'without state: ' // status%message)
    call check(.not. carried%owns('state_t') .and. carried%state_size() == 0, &
               'without state: nothing is owned')
    call carried%begin_again()
    call carried%send(emulator, status)
    call check_error(status, climlink_error_state, 'send: the package carries no state')
    call carried%receive(emulator, status)
    call check_error(status, climlink_error_state, 'receive: the package carries no state')
    call carried%unpack_state(state, status)
    call check_error(status, climlink_error_state, 'unpack_state: the package carries no state')
    call emulator%close(status)
  end subroutine packages_without_state

end program test_carried_state
