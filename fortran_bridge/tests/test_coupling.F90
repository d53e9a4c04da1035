!> Spin-up, ramps, partial coupling by output and level, and shadow mode step by step, and blends to
!! the last bit.
program test_coupling
  use, intrinsic :: ieee_arithmetic, only: ieee_quiet_nan, ieee_value
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink, only: climlink_emulator, climlink_error_argument, climlink_error_variable, &
                      climlink_status
  use climlink_coupling, only: climlink_blend, climlink_coupling_policy
  use test_support, only: check, check_error, finish, fixture, n_level, same => same_bits
  implicit none (type, external)

  real(real64), parameter :: zero = 0.0_real64, one = 1.0_real64
  type(climlink_emulator) :: emulator
  type(climlink_status) :: status

  call emulator%open(fixture('column.pt'), status, n_level=n_level)
  call check(status%ok(), 'open: ' // status%message)
  call spin_up()
  call constant_factor()
  call linear_ramp()
  call step_ramp()
  call partial_coupling()
  call coupled_levels()
  call levels_that_make_no_sense()
  call shadow_mode()
  call blends()
  call refusals()
  call emulator%close(status)
  call finish()

contains

  !> The emulator alone from the first step by default; after spin_up_steps steps of the reference
  !! alone otherwise.
  subroutine spin_up()
    type(climlink_coupling_policy) :: policy
    integer :: step

    call accepted(policy, 'the default')
    call check(same(policy%weight(1), one) .and. .not. policy%needs_reference(1) &
               .and. policy%needs_emulator(1), 'default: step 1')
    policy%spin_up_steps = 5
    call accepted(policy, 'spin-up')
    do step = 0, 9
      call check(same(policy%weight(step), merge(one, zero, step > 5)), 'spin-up: weight')
      call check(same(policy%weight_of('ptend_t', step), merge(one, zero, step > 5)), &
                 'spin-up: weight of a variable')
      call check(policy%needs_reference(step) .eqv. step <= 5, 'spin-up: reference')
      call check(policy%needs_emulator(step) .eqv. step > 5, 'spin-up: emulator')
      call check(.not. policy%is_shadow(step), 'spin-up: no shadow')
    end do
  end subroutine spin_up

  subroutine constant_factor()
    type(climlink_coupling_policy) :: policy

    policy%ramp_factor = 0.25_real64
    call accepted(policy, 'constant factor')
    call check(same(policy%weight(1), 0.25_real64) .and. same(policy%weight(1000), 0.25_real64), &
               'constant: weight')
    call check(policy%needs_reference(1) .and. policy%needs_emulator(1), 'constant: both')
    policy%ramp_factor = zero
    call accepted(policy, 'factor 0')
    call check(policy%needs_reference(1) .and. .not. policy%needs_emulator(1), &
               'factor 0: the reference alone')
  end subroutine constant_factor

  !> ramp_factor n / ramp_steps in the n-th step of the emulator, then ramp_factor.
  subroutine linear_ramp()
    type(climlink_coupling_policy) :: policy
    integer :: n

    policy%spin_up_steps = 3
    policy%ramp = 'linear'
    policy%ramp_steps = 4
    policy%ramp_factor = 0.5_real64
    call accepted(policy, 'linear ramp')
    call check(same(policy%weight(3), zero), 'linear: spin-up')
    do n = 1, 4
      call check(same(policy%weight(3 + n), 0.125_real64 * n), 'linear: rise')
    end do
    call check(same(policy%weight(8), 0.5_real64) .and. same(policy%weight(10**9), 0.5_real64), &
               'linear: after the rise')
    policy%ramp_factor = one
    call check(policy%needs_reference(6) .and. .not. policy%needs_reference(7), &
               'linear: the reference ends where the weight is 1')
  end subroutine linear_ramp

  !> The emulator in exactly ramp_on_steps of each ramp_on_steps + ramp_off_steps, first in each
  !! period.
  subroutine step_ramp()
    integer, parameter :: n_on = 20, n_off = 10, n_first = 7, n_period = 4
    type(climlink_coupling_policy) :: policy
    logical :: on(n_period * (n_on + n_off))
    integer :: n

    policy%spin_up_steps = n_first
    policy%ramp = 'step'
    policy%ramp_on_steps = n_on
    policy%ramp_off_steps = n_off
    call accepted(policy, 'step ramp')
    do n = 1, size(on)
      on(n) = policy%weight(n_first + n) > 0.5_real64
      call check(policy%needs_emulator(n_first + n) .eqv. on(n), 'step ramp: emulator')
      call check(policy%needs_reference(n_first + n) .neqv. on(n), 'step ramp: reference')
    end do
    call check(count(on) == n_period * n_on, 'step ramp: steps that are on')
    call check(all(on(:n_on)) .and. .not. any(on(n_on + 1:n_on + n_off)) &
               .and. on(n_on + n_off + 1), 'step ramp: first period')
    policy%ramp_off_steps = 0
    call accepted(policy, 'step ramp that is never off')
    call check(all([(policy%weight(n_first + n) > 0.5_real64, n=1, 100)]), 'step ramp: never off')
  end subroutine step_ramp

  subroutine partial_coupling()
    type(climlink_coupling_policy) :: policy

    policy%mode = 'partial'
    policy%variables = [character(len=16) :: 'ptend_t', 'cam_out_PRECC']
    policy%spin_up_steps = 1
    policy%ramp_factor = 0.75_real64
    call accepted(policy, 'partial coupling')
    call check(same(policy%weight_of('ptend_t', 1), zero), 'partial: spin-up')
    call check(same(policy%weight_of('ptend_t', 2), 0.75_real64), 'partial: listed')
    call check(same(policy%weight_of('cam_out_PRECC  ', 2), 0.75_real64), 'partial: listed, padded')
    call check(same(policy%weight_of('ptend_q0001', 2), zero) &
               .and. same(policy%weight_of('ptend', 2), zero), 'partial: not listed')
    policy%ramp_factor = one
    call check(policy%needs_reference(2) .and. policy%needs_emulator(2), &
               'partial: both, also at full weight')
  end subroutine partial_coupling

  !> Reference pressures of 10, 20, ... hPa: level k at 10 k hPa.
  pure function pressures() result(pressure)
    real(real64) :: pressure(n_level)
    integer :: k

    pressure = [(1000.0_real64 * k, k=1, n_level)]
  end function pressures

  !> The levels of an entry alone, their bounds inside; an output's own entry before that for all.
  subroutine coupled_levels()
    type(climlink_coupling_policy) :: policy
    integer :: k
    logical :: below(n_level)

    below = [(k >= 3, k=1, n_level)]
    call on_levels('ptend_t', [(.true., k=1, n_level)])
    call on_levels('ptend_t(3)', [(k == 3, k=1, n_level)])
    call on_levels('ptend_t(2:4)', [(k >= 2 .and. k <= 4, k=1, n_level)])
    call on_levels(' ptend_t ( 1, 3 : 4 ) ', [(any(k == [1, 3, 4]), k=1, n_level)])
    call on_levels('ptend_t(3:)', below)
    call on_levels('ptend_t(:2)', .not. below)
    call on_levels('ptend_t(30 hPa:)', below)
    call on_levels('ptend_t(20.5hPa:)', below)
    call on_levels('ptend_t(:2.5e3 Pa)', .not. below)
    call on_levels('ptend_t(:1,30 hPa:)', [(k /= 2, k=1, n_level)])
    call on_levels('ptend_t(2:40 hPa)', [(k >= 2 .and. k <= 4, k=1, n_level)])
    call on_levels('all(3:)', below)

    policy%mode = 'partial'
    policy%variables = [character(len=16) :: 'all(3:)', 'ptend_q0001(:2)']
    policy%reference_pressure = pressures()
    policy%spin_up_steps = 1
    policy%ramp_factor = 0.75_real64
    call accepted(policy, 'all and one')
    call check(all(same(policy%level_weights('ptend_t', 2), merge(0.75_real64, zero, below))), &
               'all: a profile')
    call check(all(same(policy%level_weights('ptend_q0001', 2), &
                        merge(zero, 0.75_real64, below))), 'its own entry goes before all')
    call check(same(policy%weight_of('cam_out_PRECC', 2), 0.75_real64), 'all: what has no levels')
    call check(all(same(policy%level_weights('ptend_t', 1), zero)), 'all: spin-up')
    policy%mode = 'full'
    deallocate (policy%variables)
    call check(all(same(policy%level_weights('ptend_t', 2), 0.75_real64)), &
               'full coupling knows no levels')
  end subroutine coupled_levels

  subroutine on_levels(entry, expected)
    character(len=*), intent(in) :: entry
    logical, intent(in) :: expected(n_level)
    type(climlink_coupling_policy) :: policy

    policy%mode = 'partial'
    policy%variables = [character(len=len(entry)) :: entry]
    policy%reference_pressure = pressures()
    call accepted(policy, entry)
    call check(all(same(policy%level_weights('ptend_t', 1), merge(one, zero, expected))), entry)
    call check(policy%needs_reference(1) .and. policy%needs_emulator(1), entry // ': both run')
  end subroutine on_levels

  subroutine levels_that_make_no_sense()
    type(climlink_coupling_policy) :: policy

    call refused_levels('ptend_t(0:2)', 'there is no level 0. The host has levels 1 to')
    call refused_levels('ptend_t(3:77)', 'there is no level 77')
    call refused_levels('ptend_t(12345678901)', 'there is no level 12345678901')
    call refused_levels('ptend_t(4:3)', "no level lies in '4:3'")
    call refused_levels('ptend_t(11 hPa:19 hPa)', "no level lies in '11 hPa:19 hPa'")
    call refused_levels('ptend_t(2000 hPa:)', "no level lies in '2000 hPa:'. The host has " // &
                        'levels 1 to 6, at reference pressures of 1000.00 to 6000 Pa; write')
    call refused_levels('ptend_t(10 hPa)', "'10 hPa' is no level; two bounds have a colon")
    call refused_levels('ptend_t(10 bar:)', "'10 bar' is neither a level nor a pressure in Pa")
    call refused_levels('ptend_t(-10 hPa:)', "'-10 hPa' is neither a level nor a pressure")
    call refused_levels('ptend_t(1-2 hPa:)', "'1-2 hPa' is neither")
    call refused_levels('ptend_t(0 Pa:)', "'0 Pa' is neither")
    call refused_levels('ptend_t(1:2:3)', "'2:3' is neither")
    call refused_levels('ptend_t()', "'' is no level")
    call refused_levels('ptend_t(1,)', "'' is no level")
    call refused_levels('ptend_t(1:2', 'a list of levels stands behind a name, in one pair')
    call refused_levels('ptend_t(1:2)x', 'a list of levels stands behind a name, in one pair')
    call refused_levels('ptend_t 1:2)', 'a list of levels stands behind a name, in one pair')
    call refused_levels('ptend_t((1:2))', 'a list of levels stands behind a name, in one pair')

    policy%mode = 'partial'
    policy%variables = ['ptend_t(2:)']
    call refused(policy, 'ptend_t(2:): this host has no levels to choose from')
    policy%reference_pressure = pressures()
    policy%variables = [character(len=12) :: 'ptend_t(1)', 'ptend_t']
    call refused(policy, 'ptend_t is listed twice: put all its levels into one entry')
    policy%variables = ['cam_out_PRECC(1:2)']
    call policy%check(emulator, status)
    call check_error(status, climlink_error_variable, &
                     'cam_out_PRECC(1:2): cam_out_PRECC has no levels: write cam_out_PRECC')
    policy%variables = ['ptend_x(1:2)']
    call policy%check(emulator, status)
    call check_error(status, climlink_error_variable, "the package has no output 'ptend_x'")
    policy%mode = 'full'
    policy%variables = ['all(1:2)']
    call refused(policy, "variables are for mode partial, not 'full'")
  end subroutine levels_that_make_no_sense

  subroutine refused_levels(entry, text)
    character(len=*), intent(in) :: entry, text
    type(climlink_coupling_policy) :: policy

    policy%mode = 'partial'
    policy%variables = [character(len=24) :: 'ptend_q0001', entry]
    policy%reference_pressure = pressures()
    call refused(policy, trim(entry) // ': ' // text)
  end subroutine refused_levels

  subroutine shadow_mode()
    type(climlink_coupling_policy) :: policy
    integer :: step

    policy%mode = 'shadow'
    policy%spin_up_steps = 2
    call accepted(policy, 'shadow, the reference feeds back')
    do step = 1, 4
      call check(same(policy%weight_of('ptend_t', step), zero), 'shadow: the reference feeds back')
      call check(policy%needs_reference(step), 'shadow: the reference runs')
      call check(policy%needs_emulator(step) .eqv. step > 2, 'shadow: the emulator runs')
      call check(policy%is_shadow(step) .eqv. step > 2, 'shadow: after the spin-up')
    end do
    policy%feedback = 'emulator'
    call accepted(policy, 'shadow, the emulator feeds back')
    do step = 1, 4
      call check(same(policy%weight_of('ptend_t', step), merge(one, zero, step > 2)), &
                 'shadow: the emulator feeds back')
      call check(policy%needs_reference(step), 'shadow of the reference: it runs')
    end do
  end subroutine shadow_mode

  !> One side bit for bit at weights 0 and 1, whatever the other side holds; between them the mean
  !! with these weights.
  subroutine blends()
    real(real64) :: reference(3), emulated(3), table(2, 2), broken

    broken = ieee_value(broken, ieee_quiet_nan)
    reference = [0.1_real64, -0.0_real64, tiny(one)]
    emulated = [1.0_real64 / 3.0_real64, huge(one), -0.0_real64]
    call check(all(same(climlink_blend(reference, emulated, zero), reference)), 'blend at 0')
    call check(all(same(climlink_blend(reference, emulated, one), emulated)), 'blend at 1')
    call check(all(same(climlink_blend(reference, broken, zero), reference)), &
               'blend at 0 beside NaN')
    call check(all(same(climlink_blend(broken, emulated, one), emulated)), 'blend at 1 beside NaN')
    call check(same(climlink_blend(8.0_real64, 16.0_real64, 0.25_real64), 10.0_real64), &
               'blend of scalars')
    table = climlink_blend(reshape([1.0_real64, 2.0_real64, 3.0_real64, 4.0_real64], [2, 2]), &
                           10.0_real64, reshape([zero, 0.5_real64, 0.5_real64, one], [2, 2]))
    call check(all(same(table, &
                        reshape([1.0_real64, 6.0_real64, 6.5_real64, 10.0_real64], [2, 2]))), &
                        'blend of a table')
  end subroutine blends

  subroutine accepted(policy, what)
    type(climlink_coupling_policy), intent(in) :: policy
    character(len=*), intent(in) :: what

    call policy%check(emulator, status)
    call check(status%ok(), what // ' is refused: ' // status%message)
  end subroutine accepted

  subroutine refused(policy, text)
    type(climlink_coupling_policy), intent(in) :: policy
    character(len=*), intent(in) :: text

    call policy%check(emulator, status)
    call check_error(status, climlink_error_argument, 'rank 0: coupling: ' // text)
  end subroutine refused

  subroutine refusals()
    type(climlink_coupling_policy) :: policy

    call refused(climlink_coupling_policy(mode='half'), &
                 "mode must be full, partial or shadow, not 'half'")
    call refused(climlink_coupling_policy(mode='shadow', feedback='both'), &
                 "feedback must be reference or emulator, not 'both'")
    call refused(climlink_coupling_policy(ramp='cubic'), &
                 "ramp must be constant, linear or step, not 'cubic'")
    call refused(climlink_coupling_policy(ramp_factor=1.5_real64), &
                 'ramp_factor must be between 0 and 1')
    call refused(climlink_coupling_policy(ramp_factor=ieee_value(one, ieee_quiet_nan)), &
                 'ramp_factor must be between 0 and 1')
    call refused(climlink_coupling_policy(spin_up_steps=-1), 'spin_up_steps must be 0 or more')
    call refused(climlink_coupling_policy(ramp='linear'), 'a linear ramp needs ramp_steps')
    call refused(climlink_coupling_policy(ramp='step', ramp_off_steps=3), &
                 'a step ramp needs ramp_on_steps')
    call refused(climlink_coupling_policy(mode='shadow', ramp='linear', ramp_steps=3), &
                 'shadow mode')
    call refused(climlink_coupling_policy(mode='shadow', ramp_factor=0.5_real64), 'shadow mode')
    call refused(climlink_coupling_policy(mode='partial'), 'partial coupling needs variables')
    policy%variables = [character(len=8) ::]
    call accepted(policy, 'full coupling with an empty list')
    policy%mode = 'partial'
    call refused(policy, 'partial coupling needs variables')
    policy%variables = ['ptend_t']
    policy%mode = 'full'
    call refused(policy, "variables are for mode partial, not 'full'")
    policy%mode = 'partial'
    policy%variables = [character(len=8) :: 'ptend_t', 'ptend_x']
    call policy%check(emulator, status)
    call check_error(status, climlink_error_variable, &
                     "the package has no output 'ptend_x' to blend; it has ptend_t " // &
                     'ptend_q0001 cam_out_PRECC cam_out_NETSW')
  end subroutine refusals

end program test_coupling
