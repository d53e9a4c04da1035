!> The emulator in the embedded model's columns: every kind of input, blends, shadow runs, restarts,
!! faults, on any number of ranks. The packages multiply an input by a gain
!! (make_bridge_fixtures.py), so every answer is known to the last bit of real32.
program test_aqua_hybrid
  use, intrinsic :: iso_fortran_env, only: real32
  use aqua_column_table, only: input_columns, output_columns
  use aqua_constants, only: r8
  use aqua_hybrid, only: coupling_state, hybrid_physics
  use climlink_coupling, only: climlink_coupling_policy
  use climlink_humidity, only: relative_humidity
  use host_parallel, only: end_parallel, rank, require
  use hybrid_test_columns, only: advance, check, check_error, dt, equal, failures, first, &
                                 inputs_of, latitudes, n, n_level, open_package, &
                                 product_of, reference_of, refused, share, start_test
  implicit none (type, external)

  call start_test('test_aqua_hybrid')
  call answers('climsim_q.pt', 'state_q0001')
  call answers('climsim_rh.pt', 'state_rh')
  call answers('climsim_v6.pt', 'state_q0001')
  call lagged_answers()
  call restarts()
  call partial_coupling()
  call coupled_levels()
  call shadow_of_the_reference()
  call without_package()
  call refusals()
  call broken_emulator()
  call require(failures)
  call end_parallel()

contains

  !> Inputs that are the host's own, whatever the package's set of inputs.
  subroutine answers(name, humidity)
    character(len=*), intent(in) :: name, humidity
    type(hybrid_physics), target :: hybrid
    type(climlink_coupling_policy) :: policy
    type(input_columns) :: inputs
    type(output_columns) :: applied
    character(len=:), allocatable :: error
    real(r8), allocatable :: q(:, :), ice(:, :)
    integer :: step

    policy%spin_up_steps = 2
    call open_package(hybrid, name, policy, error)
    call check(error == '', name // ': ' // error)
    if (error /= '') return
    do step = 1, 3
      call advance(hybrid, step, applied)
      call check(hybrid%needs_emulator() .eqv. step > 2, name // ': spin-up')
    end do
    inputs = inputs_of(3)
    q = inputs%q
    if (humidity == 'state_rh') q = relative_humidity(inputs%t, q, &
                                                      inputs%p_mid)
    call check(equal(applied%values, hybrid%emulated%values), name // ': the emulator is applied')
    call check(equal(hybrid%emulated%dtdt, &
                     product_of(inputs%t, 1e-6_real32)), name // ': ptend_t')
    call check(equal(hybrid%emulated%dqdt, product_of(q, -1e-5_real32)), &
               name // ': ptend_q0001')
    ice = inputs%qi
    call check(equal(hybrid%emulated%dqidt, product_of(ice, -2e-5_real32)), &
               name // ': ptend_q0003')
    call check(equal(hybrid%emulated%dvdt, &
                     product_of(inputs%v, 2e-5_real32)), name // ': ptend_v')
    call check(equal(hybrid%emulated%flwds, &
                     product_of(inputs%lwup, 0.75_real32)), name // ': FLWDS')
    call check(equal(hybrid%emulated%solld, &
                     product_of(inputs%solin, 0.05_real32)), name // ': SOLLD')
  end subroutine answers

  !> climsim_v4.pt hands through what only the coupling can know.
  subroutine lagged_answers()
    type(hybrid_physics), target :: hybrid
    type(climlink_coupling_policy) :: policy
    type(input_columns) :: now, before
    type(output_columns) :: applied(3)
    character(len=:), allocatable :: error
    real(r8) :: was(n_level, n), is(n_level, n), latitude(n)
    integer :: step, i

    policy%spin_up_steps = 2
    call open_package(hybrid, 'climsim_v4.pt', policy, error)
    call check(error == '', 'climsim_v4.pt: ' // error)
    do step = 1, 3
      call advance(hybrid, step, applied(step))
    end do
    now = inputs_of(1)
    was = now%t + dt * applied(1)%dtdt
    call check(equal(hybrid%emulated%dtdt, &
                     product_of((was - now%t) / dt, 1.0_real32)), &
                     'tm_state_t_prvphy')
    before = inputs_of(2)
    now = inputs_of(3)
    was = before%u + dt * applied(2)%dudt
    call check(equal(hybrid%emulated%dudt, &
                     product_of((now%u - was) / dt, 1.0_real32)), 'state_u_dyn')
    was = before%q + dt * applied(2)%dqdt
    was = was + (before%qc + dt * applied(2)%dqcdt)
    was = was + (before%qi + dt * applied(2)%dqidt)
    is = (now%q + now%qc) + now%qi
    call check(equal(hybrid%emulated%dqdt, product_of((is - was) / dt, 1.0_real32)), &
               'state_q0_dyn')
    latitude = latitudes()
    call check(equal(hybrid%emulated%flwds, &
                     product_of(before%ps, 1.0_real32)), 'tm_state_ps')
    call check(equal(hybrid%emulated%netsw, &
                     [(real(first + i - 1, r8), i=1, n)]), 'icol')
    call check(equal(hybrid%emulated%sols, &
                     product_of(cos(latitude), 1.0_real32)), 'clat')
    call check(equal(hybrid%emulated%soll, &
                     product_of(sin(latitude), 1.0_real32)), 'slat')
  end subroutine lagged_answers

  !> Stopped after any step and taken up by another object: every bit as without a stop.
  subroutine restarts()
    integer, parameter :: n_last = 6
    type(hybrid_physics), target :: whole, resumed
    type(climlink_coupling_policy) :: policy
    type(output_columns) :: applied, again
    character(len=:), allocatable :: error
    type(coupling_state) :: state
    integer :: stop_at, step

    policy%spin_up_steps = 2
    policy%ramp = 'linear'
    policy%ramp_steps = 3
    do stop_at = 1, n_last - 1
      call open_package(whole, 'climsim_v4.pt', policy, error)
      call open_package(resumed, 'climsim_v4.pt', policy, error)
      do step = 1, stop_at
        call advance(whole, step, applied)
      end do
      call whole%gather(state)
      call share(whole%lags%state_size(), state%lags)
      call resumed%scatter(state, first, error)
      call check(error == '', 'scatter: ' // error)
      do step = stop_at + 1, n_last
        call advance(whole, step, applied)
        call advance(resumed, step, again)
        call check(equal(applied%values, again%values), 'a restart changes nothing')
      end do
      call whole%emulator%close()
      call resumed%emulator%close()
    end do
  end subroutine restarts

  subroutine partial_coupling()
    type(hybrid_physics), target :: hybrid
    type(climlink_coupling_policy) :: policy
    type(output_columns) :: applied, reference
    character(len=:), allocatable :: error

    policy%mode = 'partial'
    policy%variables = [character(len=16) :: 'ptend_q0002', 'cam_out_PRECC']
    policy%ramp_factor = 0.25_r8
    call open_package(hybrid, 'climsim_q.pt', policy, error)
    call check(error == '', 'partial: ' // error)
    call advance(hybrid, 1, applied)
    call check(hybrid%needs_reference() .and. .not. hybrid%reference_feeds_back(), &
               'partial: both feed back')
    reference = reference_of(1)
    reference%dqcdt = 0.75_r8 * reference%dqcdt + 0.25_r8 * hybrid%emulated%dqcdt
    reference%precc = 0.75_r8 * reference%precc + 0.25_r8 * hybrid%emulated%precc
    call check(equal(applied%values, reference%values), &
               'partial: blended are the listed outputs only')
  end subroutine partial_coupling

  !> Levels of the emulator and of the reference in one column, whose change the lagged memory keeps
  !! as it was applied; stopped and taken up in between.
  subroutine coupled_levels()
    type(hybrid_physics), target :: hybrid, resumed
    type(climlink_coupling_policy) :: policy
    type(output_columns) :: applied, again, reference
    type(input_columns) :: before
    type(coupling_state) :: state
    character(len=:), allocatable :: error
    real(r8) :: change(n_level, n)
    integer :: step

    policy%mode = 'partial'
    policy%variables = [character(len=24) :: 'all(500 hPa:)', 'ptend_u(:20,60)', 'ptend_q0003(60)']
    policy%spin_up_steps = 2
    call open_package(hybrid, 'climsim_v4.pt', policy, error)
    call check(error == '', 'levels: ' // error)
    call open_package(resumed, 'climsim_v4.pt', policy, error)
    do step = 1, 3
      call advance(hybrid, step, applied)
    end do
    reference = reference_of(3)
    call check(equal(applied%dtdt(:30, :), reference%dtdt(:30, :)), 'levels: T above')
    ! Sigma levels: the 31st is the first below 500 hPa.
    call check(equal(applied%dtdt(31:, :), hybrid%emulated%dtdt(31:, :)), 'levels: T below')
    call check(equal(applied%dudt(21:59, :), reference%dudt(21:59, :)) .and. &
               equal(applied%dudt(:20, :), hybrid%emulated%dudt(:20, :)) .and. &
               equal(applied%dudt(60:, :), hybrid%emulated%dudt(60:, :)), 'levels: u')
    call check(equal(applied%dqidt(:59, :), reference%dqidt(:59, :)) .and. &
               equal(applied%dqidt(60:, :), hybrid%emulated%dqidt(60:, :)), 'levels: ice')
    call check(equal(applied%precc, hybrid%emulated%precc), 'levels: precipitation has none')
    change = applied%dtdt
    before = inputs_of(3)
    change = ((before%t + dt * change) - before%t) / dt
    call hybrid%gather(state)
    call share(hybrid%lags%state_size(), state%lags)
    call resumed%scatter(state, first, error)
    do step = 4, 5
      call advance(hybrid, step, applied)
      call advance(resumed, step, again)
      call check(equal(applied%values, again%values), 'levels: a restart')
    end do
    ! ptend_t of this package is tm_state_t_prvphy: the change of two steps before.
    call check(equal(hybrid%emulated%dtdt, product_of(change, 1.0_real32)), 'levels: memory')
  end subroutine coupled_levels

  subroutine shadow_of_the_reference()
    type(hybrid_physics), target :: hybrid
    type(climlink_coupling_policy) :: policy
    type(output_columns) :: applied, reference
    character(len=:), allocatable :: error

    policy%mode = 'shadow'
    call open_package(hybrid, 'climsim_q.pt', policy, error)
    call check(error == '', 'shadow: ' // error)
    call advance(hybrid, 1, applied)
    reference = reference_of(1)
    call check(hybrid%shadows() .and. hybrid%reference_feeds_back(), &
               'shadow: the reference feeds back')
    call check(equal(applied%values, reference%values), 'shadow: the reference is applied')
    call check(equal(hybrid%other(reference), hybrid%emulated%values), &
               'shadow: the emulator is recorded')
    hybrid%policy%feedback = 'emulator'
    call advance(hybrid, 2, applied)
    reference = reference_of(2)
    call check(.not. hybrid%reference_feeds_back() &
               .and. equal(applied%values, hybrid%emulated%values), &
               'shadow: the emulator is applied')
    call check(equal(hybrid%other(reference), reference%values), &
               'shadow: the reference is recorded')
  end subroutine shadow_of_the_reference

  subroutine without_package()
    type(hybrid_physics), target :: hybrid
    type(output_columns) :: applied, reference
    type(coupling_state) :: state

    call advance(hybrid, 1, applied)
    reference = reference_of(1)
    call check(hybrid%needs_reference() .and. .not. (hybrid%needs_emulator() &
      .or. hybrid%shadows()), 'no package: the reference')
    call check(equal(applied%values, reference%values) .and. hybrid%reference_feeds_back(), &
               'no package: the reference is applied')
    call hybrid%gather(state)
    call check(.not. (allocated(state%lags) .or. allocated(state%carried)), &
               'no package: nothing to keep')
  end subroutine without_package

  !> What stands against a run is said when the package is opened, alike on all ranks.
  subroutine refusals()
    type(climlink_coupling_policy) :: policy, partial

    call refused('no_such_file.pt', policy, 'no_such_file.pt')
    call refused('climsim_26.pt', policy, '26')
    call refused('climsim_unknown.pt', policy, &
                 'inputs that the host does not give: state_omega')
    call refused('climsim_unknown.pt', policy, 'cam_in_SST')
    call refused('climsim_v6.pt', policy, &
                 "lagged inputs need 2 steps of the host's own physics first: set " // &
                 'spin_up_steps in /emulator/ to 2 or more, not 0')
    partial%mode = 'partial'
    partial%variables = ['ptend_w']
    call refused('climsim_q.pt', partial, "no output 'ptend_w'")
  end subroutine refusals

  !> Its ptend_v does not fit into real32: the message names rank, variable and column. A rank
  !! without columns has none that fails.
  subroutine broken_emulator()
    type(hybrid_physics), target :: hybrid
    type(climlink_coupling_policy) :: policy
    type(input_columns) :: inputs
    character(len=:), allocatable :: error
    character(len=16) :: text

    call open_package(hybrid, 'climsim_overflow.pt', policy, error)
    call check(error == '', 'climsim_overflow.pt: ' // error)
    inputs = inputs_of(1)
    hybrid%inputs%values = inputs%values
    call hybrid%begin(1)
    call hybrid%run(error)
    if (n == 0) then
      call check(error == '', 'no columns: ' // error)
      return
    end if
    write (text, '(a,i0)') 'rank ', rank
    call check_error(error, trim(text))
    call check_error(error, 'ptend_v')
    call check_error(error, 'column 1')
  end subroutine broken_emulator

end program test_aqua_hybrid
