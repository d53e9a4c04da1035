!> A package with memory in the embedded model's columns: steps in closed form, steps without the
!! emulator, restarts, refusals, on any number of ranks. climsim_memory.pt answers ptend_t = 1e-6
!! m(:, 1) and ptend_u = -1e-5 m(:, 2) with m [level, unit] of the step before, m' = m / 2 + unit T;
!! it begins with m = 2 T (RememberedAir of memory_fixtures.py).
program test_aqua_memory
  use, intrinsic :: iso_fortran_env, only: real32
  use aqua_column_table, only: input_columns, output_columns
  use aqua_constants, only: r8
  use aqua_hybrid, only: coupling_state, hybrid_physics
  use climlink_coupling, only: climlink_coupling_policy
  use host_parallel, only: end_parallel, require
  use hybrid_test_columns, only: advance, check, check_error, equal, failures, first, inputs_of, &
    n, n_level, open_package, &
                                 product_of, refused, share, start_test
  implicit none (type, external)

  character(len=*), parameter :: package = 'climsim_memory.pt'

  call start_test('test_aqua_memory')
  call remembered_air()
  call steps_without_the_emulator()
  call restarts()
  call another_restart()
  call refusals()
  call require(failures)
  call end_parallel()

contains

  !> What the emulator remembers [level, column] of one unit before a step, if it began in another
  !! one.
  function memory(unit, begun, step) result(m)
    integer, intent(in) :: unit, begun, step
    real(r8) :: m(n_level, n)
    type(input_columns) :: inputs
    real(real32) :: remembered(n_level, n), t(n_level, n)
    integer :: k

    inputs = inputs_of(begun)
    remembered = 2.0_real32 * real(inputs%t, real32)
    do k = begun, step - 1
      inputs = inputs_of(k)
      t = real(inputs%t, real32)
      remembered = 0.5_real32 * remembered + real(unit, real32) * t
    end do
    m = real(remembered, r8)
  end function memory

  subroutine check_step(emulated, begun, step, what)
    type(output_columns), intent(in) :: emulated
    integer, intent(in) :: begun, step
    character(len=*), intent(in) :: what
    type(input_columns) :: inputs

    inputs = inputs_of(step)
    call check(equal(emulated%dtdt, product_of(memory(1, begun, step), &
                                                             1e-6_real32)), what // ': ptend_t')
    call check(equal(emulated%dudt, product_of(memory(2, begun, step), &
                                                             -1e-5_real32)), what // ': ptend_u')
    call check(equal(emulated%dvdt, product_of(inputs%v, &
                                                             2e-5_real32)), what // ': ptend_v')
  end subroutine check_step

  subroutine remembered_air()
    type(hybrid_physics), target :: hybrid
    type(climlink_coupling_policy) :: policy
    type(output_columns) :: applied
    character(len=:), allocatable :: error
    integer :: step

    call open_package(hybrid, package, policy, error)
    call check(error == '', error)
    do step = 1, 5
      call advance(hybrid, step, applied)
      call check_step(hybrid%emulated, 1, step, 'memory')
    end do
    policy%mode = 'shadow'
    hybrid%policy = policy
    do step = 6, 7
      call advance(hybrid, step, applied)
      call check_step(hybrid%emulated, 1, step, 'memory of a shadow')
    end do
  end subroutine remembered_air

  !> Spin-up, and the off steps of a ramp: what was remembered is of another time, so it begins
  !! again.
  subroutine steps_without_the_emulator()
    type(hybrid_physics), target :: hybrid
    type(climlink_coupling_policy) :: policy
    type(output_columns) :: applied
    character(len=:), allocatable :: error
    integer, parameter :: begun(10) = [0, 0, 3, 3, 3, 0, 7, 7, 7, 0]
    integer :: step

    policy%spin_up_steps = 2
    policy%ramp = 'step'
    policy%ramp_on_steps = 3
    policy%ramp_off_steps = 1
    call open_package(hybrid, package, policy, error)
    call check(error == '', error)
    do step = 1, size(begun)
      call advance(hybrid, step, applied)
      call check(hybrid%needs_emulator() .eqv. begun(step) > 0, 'steps without the emulator')
      if (begun(step) > 0) call check_step(hybrid%emulated, begun(step), step, 'ramp')
    end do
  end subroutine steps_without_the_emulator

  !> Stopped after any step and taken up by another object: every bit as without a stop.
  subroutine restarts()
    integer, parameter :: n_last = 5
    type(hybrid_physics), target :: whole, resumed
    type(climlink_coupling_policy) :: policy
    type(output_columns) :: applied, again
    type(coupling_state) :: state
    character(len=:), allocatable :: error
    integer :: stop_at, step

    policy%spin_up_steps = 1
    do stop_at = 1, n_last - 1
      call open_package(whole, package, policy, error)
      call open_package(resumed, package, policy, error)
      do step = 1, stop_at
        call advance(whole, step, applied)
      end do
      call whole%gather(state)
      call check(.not. allocated(state%lags), 'there are no lags to keep')
      call share(whole%carried%state_size(), state%carried)
      call resumed%scatter(state, first, error)
      call check(error == '', 'scatter: ' // error)
      do step = stop_at + 1, n_last
        call advance(whole, step, applied)
        call advance(resumed, step, again)
        call check(equal(applied%values, again%values), 'a restart changes nothing')
        call check_step(resumed%emulated, 2, step, 'restart')
      end do
      call whole%emulator%close()
      call resumed%emulator%close()
    end do
  end subroutine restarts

  !> A restart that holds none of this package begins; one that holds no state is refused.
  subroutine another_restart()
    type(hybrid_physics), target :: hybrid
    type(climlink_coupling_policy) :: policy
    type(output_columns) :: applied
    type(coupling_state) :: nothing, wrong
    character(len=:), allocatable :: error

    call open_package(hybrid, package, policy, error)
    call hybrid%scatter(nothing, first, error)
    call advance(hybrid, 8, applied)
    call check_step(hybrid%emulated, 8, 8, 'branched off')
    allocate (wrong%carried(hybrid%carried%state_size(), 3), source=0.5_r8)
    call hybrid%scatter(wrong, first, error)
    if (n > 0) call check_error(error, 'unpack_state: the samples are not those of a restart')
  end subroutine another_restart

  subroutine refusals()
    type(climlink_coupling_policy) :: policy

    call refused('climsim_doubled.pt', policy, &
                 'inputs that the host gives, but the emulator keeps by itself: state_pmid ' // &
                 '(carried): give it another name in the package')
    call refused('climsim_neighbours.pt', policy, &
                 'inputs that the host does not give: neighbours')
  end subroutine refusals

end program test_aqua_memory
