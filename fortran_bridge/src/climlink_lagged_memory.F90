!> The lagged inputs of the sets v4 and v6: what dynamics and physics did in the steps before. The
!! host owns them and keeps them in its restart; this module is how any host does it.
!!
!! Per physics step of the host:
!!
!!     call memory%begin_step(fields, status)       ! state before the physics: the dynamics
!!                                                  ! tendency is now known
!!     call fields%send(emulator, status)
!!     call memory%end_step(fields, status)         ! state after what the emulator replaces
!!
!! where fields is the host's table (climlink_host_fields), or one table per chunk in the order of
!! the columns; add_to declares the lagged inputs in it.
!!
!! With b(n) the state before and a(n) the state after step n, and dt the time step:
!!
!!     X_dyn        = (b(n) - a(n-1)) / dt          tm_X_dyn    = (b(n-1) - a(n-2)) / dt
!!     X_prvphy     = (a(n-1) - b(n-1)) / dt        tm_X_prvphy = (a(n-2) - b(n-2)) / dt
!!
!! Water in state_q0_dyn is vapour, liquid and ice together. The scalars tm_state_ps, tm_pbuf_SOLIN,
!! tm_pbuf_LHFLX, tm_pbuf_SHFLX and tm_pbuf_COSZRS are those given to the step before. All of this
!! has a value from the third step on; a host lets its own physics make the first two.
!!
!! Between steps, pack_state gives everything a restart needs as one vector per column, which may be
!! gathered in the order of all columns and spread over other ranks. Every call takes an optional
!! status, as those of the emulator do.
module climlink_lagged_memory
  use, intrinsic :: ieee_arithmetic, only: ieee_is_finite
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink_emulators, only: climlink_emulator
  use climlink_errors, only: climlink_error_argument, climlink_error_shape, climlink_error_state, &
                             climlink_error_variable, climlink_status, failure
  use climlink_host_tables, only: climlink_host_fields
  use climlink_parallel, only: process_rank, settle
  use climlink_run_options, only: number_text
  implicit none (type, external)
  private

  public :: climlink_lags

  !> Steps before the memory can answer: tm_X_dyn needs b(n-1) - a(n-2).
  integer, parameter :: needed_steps = 2
  integer, parameter :: name_length = 21

  !> What the memory takes from the host's table before each step.
  character(len=*), parameter :: states(5) = [character(len=name_length) :: &
    'state_t', 'state_q0001', 'state_q0002', 'state_q0003', 'state_u']
  character(len=*), parameter :: scalars(5) = [character(len=name_length) :: &
    'state_ps', 'pbuf_SOLIN', 'pbuf_LHFLX', 'pbuf_SHFLX', 'pbuf_COSZRS']
  integer, parameter :: n_state = size(states), n_scalar = size(scalars)
  integer, parameter :: w1 = 2, w3 = 4, wind = 5         !! Waters and zonal wind among states.

  !> Where profiles are kept, in the order of a restart, which needs all but the last ones: the
  !! state a(n-1), X_dyn of t, water and u, X_prvphy, tm_X_prvphy, tm_X_dyn.
  integer, parameter :: after = 1, dyn = after + n_state, phy = dyn + 3, tm_phy = phy + n_state, &
                        tm_dyn = tm_phy + n_state, n_profile = tm_dyn + 2, n_packed = tm_dyn - 1
  integer, parameter :: not_here = 0

  !> What it gives: the name of the latest lag, or 'tm_' before it for the one before that.
  type :: lagged_input
    character(len=name_length) :: name
    character(len=8) :: units
    integer :: latest                                        !! Profile that it is; not_here for a
                                                             !! scalar, which the host has itself.
    integer :: before                                        !! The same of the lag before, or
                                                             !! which one of scalars it is.
  end type lagged_input

  type(lagged_input), parameter :: lagged(13) = [ &
    lagged_input('state_t_dyn', 'K/s', dyn, tm_dyn), &
    lagged_input('state_q0_dyn', 'kg/kg/s', dyn + 1, tm_dyn + 1), &
    lagged_input('state_u_dyn', 'm/s2', dyn + 2, tm_dyn + 2), &
    lagged_input('state_t_prvphy', 'K/s', phy, tm_phy), &
    lagged_input('state_q0001_prvphy', 'kg/kg/s', phy + 1, tm_phy + 1), &
    lagged_input('state_q0002_prvphy', 'kg/kg/s', phy + 2, tm_phy + 2), &
    lagged_input('state_q0003_prvphy', 'kg/kg/s', phy + 3, tm_phy + 3), &
    lagged_input('state_u_prvphy', 'm/s2', phy + 4, tm_phy + 4), &
    lagged_input('state_ps', 'Pa', not_here, 1), &
    lagged_input('pbuf_SOLIN', 'W/m2', not_here, 2), &
    lagged_input('pbuf_LHFLX', 'W/m2', not_here, 3), &
    lagged_input('pbuf_SHFLX', 'W/m2', not_here, 4), &
    lagged_input('pbuf_COSZRS', '1', not_here, 5)]
  character(len=*), parameter :: earlier = 'tm_'

  type :: climlink_lags
    private
    real(real64) :: time_step = 0.0_real64
    integer :: completed = 0                                 !! Steps that ended.
    logical :: within_step = .false.
    real(real64), allocatable :: before(:, :, :)             !! b(n) [column, level, state]
    real(real64), allocatable :: profiles(:, :, :)           !! [column, level, n_profile]
    real(real64), allocatable :: taken(:, :, :)              !! Given to this step, and to the one
                                                             !! before [column, 5, 2]
  contains
    procedure :: initialize, begin_step, end_step, add_to
    procedure, nopass :: steps_needed
    procedure :: serves, ready, get, state_size, pack_state, unpack_state
  end type climlink_lags

contains

  !> Makes an empty memory for the columns of this rank; 0 columns are legal.
  subroutine initialize(self, n_column, n_level, time_step, status)
    class(climlink_lags), intent(inout) :: self
    integer, intent(in) :: n_column, n_level
    real(real64), intent(in) :: time_step                    !! [s]
    type(climlink_status), intent(out), optional :: status
    type(climlink_status) :: outcome
    character(len=96) :: text

    if (n_column < 0 .or. n_level < 1 .or. .not. time_step > 0.0_real64) then
      write (text, '(2(a,i0),a,es12.4,a)') 'initialize: ', n_column, ' columns of ', n_level, &
        ' levels and a time step of', time_step, ' s make no memory'
      outcome = refusal(climlink_error_argument, trim(text))
    else
      self%time_step = time_step
      self%completed = 0
      self%within_step = .false.
      if (allocated(self%before)) deallocate (self%before, self%profiles, self%taken)
      allocate (self%before(n_column, n_level, n_state), &
                self%profiles(n_column, n_level, n_profile), &
                self%taken(n_column, n_scalar, 2), source=0.0_real64)
    end if
    call settle(outcome, status)
  end subroutine initialize

  !> Takes the state before the physics, and the scalars of this step, from the host's table of all
  !! columns of this rank, or from one table per chunk in the order of the columns.
  subroutine begin_step(self, fields, status)
    class(climlink_lags), intent(inout) :: self
    type(climlink_host_fields), intent(in) :: fields(..)
    type(climlink_status), intent(out), optional :: status
    type(climlink_status) :: outcome

    call check_call(self, 'begin_step', .false., outcome)
    if (outcome%ok()) call take_before(self, fields, outcome)
    call settle(outcome, status)
  end subroutine begin_step

  subroutine take_before(self, fields, outcome)
    class(climlink_lags), intent(inout) :: self
    type(climlink_host_fields), intent(in) :: fields(..)
    type(climlink_status), intent(inout) :: outcome
    real(real64) :: new(size(self%before, 1), 1, n_scalar)

    call collect(fields, scalars, new, outcome)
    call collect(fields, states, self%before, outcome)
    if (.not. outcome%ok()) return
    self%taken(:, :, 2) = self%taken(:, :, 1)
    self%taken(:, :, 1) = new(:, 1, :)
    self%within_step = .true.
    if (self%completed == 0) return
    ! The dynamics tendency is known: from the state after the last step to that before this one.
    associate (before => self%before, kept => self%profiles, dt => self%time_step)
      kept(:, :, tm_dyn:) = kept(:, :, dyn:phy - 1)
      kept(:, :, dyn) = (before(:, :, 1) - kept(:, :, after)) / dt
      kept(:, :, dyn + 1) = (sum(before(:, :, w1:w3), dim=3) &
                             - sum(kept(:, :, after + w1 - 1:after + w3 - 1), dim=3)) / dt
      kept(:, :, dyn + 2) = (before(:, :, wind) - kept(:, :, after + wind - 1)) / dt
    end associate
  end subroutine take_before

  !> Takes the state after what the emulator replaces, as begin_step took that before.
  subroutine end_step(self, fields, status)
    class(climlink_lags), intent(inout) :: self
    type(climlink_host_fields), intent(in) :: fields(..)
    type(climlink_status), intent(out), optional :: status
    type(climlink_status) :: outcome

    call check_call(self, 'end_step', .true., outcome)
    if (outcome%ok()) call collect(fields, states, self%profiles(:, :, after:dyn - 1), outcome)
    if (outcome%ok()) then
      self%profiles(:, :, tm_phy:tm_dyn - 1) = self%profiles(:, :, phy:tm_phy - 1)
      self%profiles(:, :, phy:tm_phy - 1) = (self%profiles(:, :, after:dyn - 1) - self%before) &
                                            / self%time_step
      self%completed = self%completed + 1
      self%within_step = .false.
    end if
    call settle(outcome, status)
  end subroutine end_step

  !> Some variables [column, width, variable] of the host's tables; nothing changes where one fails.
  subroutine collect(fields, names, values, outcome)
    type(climlink_host_fields), intent(in) :: fields(..)
    character(len=*), intent(in) :: names(:)
    real(real64), intent(inout) :: values(:, :, :)
    type(climlink_status), intent(inout) :: outcome
    real(real64) :: new(size(values, 1), size(values, 2), size(values, 3))
    integer :: first, chunk

    first = 1
    select rank (fields)
    rank (0)
      call collect_chunk(fields, names, first, new, outcome)
    rank (1)
      do chunk = 1, size(fields)
        call collect_chunk(fields(chunk), names, first, new, outcome)
      end do
    rank default
      outcome = refusal(climlink_error_argument, 'pass one table, or an array of rank 1 of them')
    end select
    if (outcome%ok() .and. first <= size(values, 1)) then
      outcome = refusal(climlink_error_shape, "the host's tables hold " // number_text(first - 1) &
                        // ' columns, the memory ' // number_text(size(values, 1)))
    end if
    if (outcome%ok()) values = new
  end subroutine collect

  !> The columns of one table, which are those from first on; first goes behind them.
  subroutine collect_chunk(fields, names, first, values, outcome)
    type(climlink_host_fields), intent(in) :: fields
    character(len=*), intent(in) :: names(:)
    integer, intent(inout) :: first
    real(real64), intent(inout) :: values(:, :, :)
    type(climlink_status), intent(inout) :: outcome
    integer :: i, last

    last = first + fields%count() - 1
    if (outcome%ok() .and. last > size(values, 1)) then
      outcome = refusal(climlink_error_shape, "the host's tables hold " // number_text(last) // &
                        ' columns or more, the memory ' // number_text(size(values, 1)))
    end if
    do i = 1, size(names)
      if (.not. outcome%ok()) return
      call fields%fetch(trim(names(i)), values(first:last, :, i), outcome, first)
    end do
    first = last + 1
  end subroutine collect_chunk

  !> Declares the lagged inputs in the host's table, which then points at this memory: it must be a
  !! target.
  subroutine add_to(self, fields, profiles_only)
    class(climlink_lags), intent(in), target :: self         !! Initialized.
    type(climlink_host_fields), intent(inout) :: fields
    logical, intent(in), optional :: profiles_only           !! The host has scalars of its own.
    logical :: with_scalars, is_scalar
    type(lagged_input) :: entry
    character(len=12) :: axes
    integer :: i

    with_scalars = .true.
    if (present(profiles_only)) with_scalars = .not. profiles_only
    do i = 1, size(lagged)
      entry = lagged(i)
      is_scalar = entry%latest == not_here
      if (is_scalar .and. .not. with_scalars) cycle
      axes = merge('sample      ', 'sample level', is_scalar)
      call fields%add_provider(earlier // trim(entry%name), entry%units, provide, axes, self, &
                               needed_steps)
      if (is_scalar) cycle
      call fields%add_provider(entry%name, entry%units, provide, axes, self, needed_steps)
    end do
  end subroutine add_to

  subroutine provide(context, name, first_sample, values, status)
    class(*), intent(in) :: context
    character(len=*), intent(in) :: name
    integer, intent(in) :: first_sample
    real(real64), intent(out) :: values(:, :)
    type(climlink_status), intent(inout) :: status

    values = 0.0_real64
    select type (context)
    type is (climlink_lags)
      call context%get(name, values, status, first_sample)
    end select
  end subroutine provide

  !> Steps of the host before every lagged input has a value.
  pure function steps_needed() result(n)
    integer :: n

    n = needed_steps
  end function steps_needed

  !> True if a package has inputs that are kept here.
  function serves(self, emulator) result(yes)
    class(climlink_lags), intent(in) :: self
    type(climlink_emulator), intent(in) :: emulator          !! Open.
    logical :: yes, is_scalar
    integer :: i, position

    yes = .false.
    do i = 1, emulator%n_input()
      call locate(emulator%input_name(i), position, is_scalar)
      yes = yes .or. (position /= not_here .and. allocated(self%before))
    end do
  end function serves

  !> True once two steps have ended: from the third on, every lagged input has a value. Without
  !! columns there is nothing to wait for.
  pure function ready(self) result(yes)
    class(climlink_lags), intent(in) :: self
    logical :: yes

    yes = self%completed >= needed_steps
    if (allocated(self%before)) yes = yes .or. size(self%before, 1) == 0
  end function ready

  !> A lagged input [column, level], or [column, 1] for a scalar, of the columns from first_column
  !! on, between begin_step and end_step.
  subroutine get(self, name, values, status, first_column)
    class(climlink_lags), intent(in) :: self
    character(len=*), intent(in) :: name
    real(real64), intent(out) :: values(:, :)
    type(climlink_status), intent(out), optional :: status
    integer, intent(in), optional :: first_column            !! Default 1.
    type(climlink_status) :: outcome
    integer :: position, first, last
    logical :: is_scalar

    values = 0.0_real64
    first = 1
    if (present(first_column)) first = first_column
    last = first + size(values, 1) - 1
    call check_call(self, 'get ' // trim(name), .true., outcome)
    call locate(name, position, is_scalar)
    if (position == not_here) then
      outcome = refusal(climlink_error_variable, "get: there is no lagged input '" // trim(name) &
                        // "'")
    else if (outcome%ok()) then
      call check_get(self, 'get: ' // trim(name), first, last, shape(values), is_scalar, &
                     outcome)
    end if
    if (outcome%ok() .and. is_scalar) then
      values(:, 1) = self%taken(first:last, position, 2)
    else if (outcome%ok()) then
      values = self%profiles(first:last, :, position)
    end if
    call settle(outcome, status)
  end subroutine get

  !> There is history, and the columns are those of this memory.
  subroutine check_get(self, doing, first, last, given_shape, is_scalar, outcome)
    class(climlink_lags), intent(in) :: self
    character(len=*), intent(in) :: doing
    integer, intent(in) :: first, last, given_shape(2)
    logical, intent(in) :: is_scalar
    type(climlink_status), intent(inout) :: outcome

    associate (n_column => size(self%before, 1))
      if (.not. self%ready()) then
        outcome = refusal(climlink_error_state, doing // ' needs ' // number_text(needed_steps) // &
                          ' steps of history, there are ' // number_text(self%completed) // &
                          ': let the host run its own physics first (spin_up_steps)')
      else if (first < 1 .or. last > n_column) then
        outcome = refusal(climlink_error_shape, doing // ': columns ' // number_text(first) // &
                          ' to ' // number_text(last) // ' of ' // number_text(n_column) // &
                          ' are asked for')
      else
        call check_shape(doing, given_shape, &
                         [given_shape(1), merge(1, size(self%before, 2), is_scalar)], outcome)
      end if
    end associate
  end subroutine check_get

  !> Where a lagged input is kept: among the profiles, or the scalars. not_here for any other.
  pure subroutine locate(name, position, is_scalar)
    character(len=*), intent(in) :: name
    integer, intent(out) :: position
    logical, intent(out) :: is_scalar
    integer :: at

    position = not_here
    is_scalar = .false.
    do at = 1, size(lagged)
      if (lagged(at)%name == name) position = lagged(at)%latest
      if (earlier // lagged(at)%name == name) position = lagged(at)%before
      is_scalar = lagged(at)%latest == not_here
      if (position /= not_here) return
    end do
  end subroutine locate

  !> Numbers per column that a restart keeps.
  pure function state_size(self) result(n)
    class(climlink_lags), intent(in) :: self
    integer :: n

    n = 0
    if (.not. allocated(self%before)) return
    n = 1 + size(self%before, 2) * n_packed + n_scalar
  end function state_size

  !> All that an exact restart needs [state_size, column], between steps. Columns may be gathered
  !! and spread over other ranks.
  subroutine pack_state(self, buffer, status)
    class(climlink_lags), intent(in) :: self
    real(real64), intent(out) :: buffer(:, :)
    type(climlink_status), intent(out), optional :: status
    type(climlink_status) :: outcome
    integer :: column

    call check_call(self, 'pack_state', .false., outcome)
    if (outcome%ok()) call check_shape('pack_state: buffer', shape(buffer), &
                                       [self%state_size(), size(self%before, 1)], outcome)
    if (outcome%ok()) then
      do column = 1, size(self%before, 1)
        buffer(:, column) = [real(self%completed, real64), self%profiles(column, :, :n_packed), &
                             self%taken(column, :, 1)]
      end do
    end if
    call settle(outcome, status)
  end subroutine pack_state

  !> Goes on from what pack_state wrote, of the columns of this rank.
  subroutine unpack_state(self, buffer, status)
    class(climlink_lags), intent(inout) :: self
    real(real64), intent(in) :: buffer(:, :)
    type(climlink_status), intent(out), optional :: status
    type(climlink_status) :: outcome
    integer :: column, last

    call check_call(self, 'unpack_state', .false., outcome)
    if (outcome%ok()) call check_shape('unpack_state: buffer', shape(buffer), &
                                       [self%state_size(), size(self%before, 1)], outcome)
    if (outcome%ok() .and. size(buffer, 2) > 0) call take_completed(self, buffer(1, :), outcome)
    if (outcome%ok()) then
      last = self%state_size() - n_scalar
      do column = 1, size(self%before, 1)
        self%profiles(column, :, :n_packed) = reshape(buffer(2:last, column), &
                                                      [size(self%before, 2), n_packed])
        self%taken(column, :, 1) = buffer(last + 1:, column)
      end do
    end if
    call settle(outcome, status)
  end subroutine unpack_state

  !> Takes the number of steps from a restart, where every column has it.
  subroutine take_completed(self, completed, outcome)
    class(climlink_lags), intent(inout) :: self
    real(real64), intent(in) :: completed(:)
    type(climlink_status), intent(inout) :: outcome
    logical :: is_count

    ! An unwritten or foreign restart holds anything, and to compare a NaN would end a host that
    ! traps invalid operations.
    is_count = all(ieee_is_finite(completed))
    if (is_count) is_count = minval(completed) >= 0.0_real64 .and. maxval(completed) &
                             <= minval(completed) .and. all(completed < huge(1)) &
                             .and. all(abs(completed - anint(completed)) <= 0.0_real64)
    if (is_count) then
      self%completed = nint(completed(1))
    else
      outcome = refusal(climlink_error_argument, &
        'unpack_state: the columns are not those of one restart of a lagged memory')
    end if
  end subroutine take_completed

  !> A call is in order if there is memory, and a step has begun (within) or has not.
  subroutine check_call(self, doing, within, outcome)
    class(climlink_lags), intent(in) :: self
    character(len=*), intent(in) :: doing
    logical, intent(in) :: within
    type(climlink_status), intent(out) :: outcome

    if (.not. allocated(self%before)) then
      outcome = refusal(climlink_error_state, doing // ': call initialize first')
    else if (within .and. .not. self%within_step) then
      outcome = refusal(climlink_error_state, doing // ': call begin_step first')
    else if (self%within_step .and. .not. within) then
      outcome = refusal(climlink_error_state, doing // ': a step has begun; call end_step first')
    end if
  end subroutine check_call

  subroutine check_shape(what, given, expected, outcome)
    character(len=*), intent(in) :: what
    integer, intent(in) :: given(:), expected(:)
    type(climlink_status), intent(inout) :: outcome
    character(len=96) :: text

    if (all(given == expected)) return
    write (text, '(a,*(i0,:,","))') ' must be of shape ', expected
    outcome = refusal(climlink_error_shape, what // trim(text))
    write (text, '(a,*(i0,:,","))') ', not ', given
    outcome%message = outcome%message // trim(text)
  end subroutine check_shape

  function refusal(code, message) result(status)
    integer, intent(in) :: code
    character(len=*), intent(in) :: message
    type(climlink_status) :: status

    status = failure(code, process_rank(), 'lagged memory: ' // message)
  end function refusal

end module climlink_lagged_memory
