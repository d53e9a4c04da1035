!> The lagged inputs of the sets v4 and v6: what dynamics and physics did in the steps before. The
!! host owns them and keeps them in its restart; this module is how any host does it.
!!
!! Per physics step of the host:
!!
!!     call memory%begin_step(t, q, u, scalars)     ! state before the physics: the dynamics
!!                                                  ! tendency is now known
!!     call memory%get('state_t_dyn', values, status)
!!     call memory%end_step(t, q, u)                ! state after what the emulator replaces
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
  use climlink_errors, only: climlink_error_argument, climlink_error_shape, climlink_error_state, &
                             climlink_error_variable, climlink_status, failure
  use climlink_parallel, only: process_rank, settle
  implicit none (type, external)
  private

  public :: climlink_lags

  !> Steps before the memory can answer: tm_X_dyn needs b(n-1) - a(n-2).
  integer, parameter :: needed_steps = 2

  integer, parameter :: n_state = 5      ! t, q0001, q0002, q0003, u
  integer, parameter :: n_scalar = 5     ! ps, SOLIN, LHFLX, SHFLX, COSZRS
  character(len=*), parameter :: scalar_names(n_scalar) = [character(len=14) :: 'tm_state_ps', &
    'tm_pbuf_SOLIN', 'tm_pbuf_LHFLX', 'tm_pbuf_SHFLX', 'tm_pbuf_COSZRS']

  type :: climlink_lags
    private
    real(real64) :: time_step = 0.0_real64
    integer :: completed = 0                                 !! Steps that ended.
    logical :: within_step = .false.
    real(real64), allocatable :: before(:, :, :)             !! b(n) [column, level, state]
    real(real64), allocatable :: after(:, :, :)              !! a(n-1)
    real(real64), allocatable :: dynamics(:, :, :, :)        !! X_dyn and tm_X_dyn of t, water, u
                                                             !! [column, level, 3, 2]
    real(real64), allocatable :: physics(:, :, :, :)         !! X_prvphy and tm_X_prvphy [column,
                                                             !! level, state, 2]
    real(real64), allocatable :: scalars(:, :, :)            !! Given to this step, and to the one
                                                             !! before [column, 5, 2]
  contains
    procedure :: initialize
    procedure :: begin_step
    procedure :: end_step
    procedure :: has
    procedure :: width
    procedure :: ready
    procedure :: get
    procedure :: state_size
    procedure :: pack_state
    procedure :: unpack_state
  end type climlink_lags

contains

  !> Makes an empty memory for the columns of this rank; 0 columns are legal.
  subroutine initialize(self, n_column, n_level, time_step, status)
    class(climlink_lags), intent(inout) :: self
    integer, intent(in) :: n_column
    integer, intent(in) :: n_level
    real(real64), intent(in) :: time_step                    !! [s]
    type(climlink_status), intent(out), optional :: status
    type(climlink_status) :: outcome
    character(len=96) :: text

    outcome%message = ''
    if (n_column < 0 .or. n_level < 1 .or. .not. time_step > 0.0_real64) then
      write (text, '(2(a,i0),a,es12.4,a)') 'initialize: ', n_column, ' columns of ', n_level, &
        ' levels and a time step of', time_step, ' s make no memory'
      outcome = refusal(climlink_error_argument, trim(text))
    else
      call allocate_memory(self, n_column, n_level, time_step)
    end if
    call settle(outcome, status)
  end subroutine initialize

  subroutine allocate_memory(self, n_column, n_level, time_step)
    class(climlink_lags), intent(inout) :: self
    integer, intent(in) :: n_column, n_level
    real(real64), intent(in) :: time_step

    self%time_step = time_step
    self%completed = 0
    self%within_step = .false.
    if (allocated(self%before)) deallocate (self%before, self%after, self%dynamics, self%physics, &
                                            self%scalars)
    allocate (self%before(n_column, n_level, n_state), self%after(n_column, n_level, n_state), &
              self%dynamics(n_column, n_level, 3, 2), self%physics(n_column, n_level, n_state, 2), &
              self%scalars(n_column, n_scalar, 2), source=0.0_real64)
  end subroutine allocate_memory

  !> Takes the state before the physics [column, level], with q of vapour, liquid and ice [column,
  !! level, 3], and the scalars ps [Pa], SOLIN, LHFLX, SHFLX [W/m2] and COSZRS [column, 5].
  subroutine begin_step(self, t, q, u, scalars, status)
    class(climlink_lags), intent(inout) :: self
    real(real64), intent(in) :: t(:, :)
    real(real64), intent(in) :: q(:, :, :)
    real(real64), intent(in) :: u(:, :)
    real(real64), intent(in) :: scalars(:, :)
    type(climlink_status), intent(out), optional :: status
    type(climlink_status) :: outcome

    call check_call(self, 'begin_step', .false., outcome)
    if (outcome%ok()) call check_state(self, 'begin_step', t, q, u, outcome)
    if (outcome%ok()) call check_shape('begin_step: scalars', shape(scalars), &
                                       [size(self%before, 1), n_scalar], outcome)
    if (outcome%ok()) call take_before(self, t, q, u, scalars)
    call settle(outcome, status)
  end subroutine begin_step

  subroutine take_before(self, t, q, u, scalars)
    class(climlink_lags), intent(inout) :: self
    real(real64), intent(in) :: t(:, :), q(:, :, :), u(:, :), scalars(:, :)

    self%before(:, :, 1) = t
    self%before(:, :, 2:4) = q
    self%before(:, :, 5) = u
    self%scalars(:, :, 2) = self%scalars(:, :, 1)
    self%scalars(:, :, 1) = scalars
    if (self%completed > 0) then
      self%dynamics(:, :, :, 2) = self%dynamics(:, :, :, 1)
      self%dynamics(:, :, 1, 1) = (t - self%after(:, :, 1)) / self%time_step
      self%dynamics(:, :, 2, &
                    1) = (sum(q, dim=3) - sum(self%after(:, :, 2:4), dim=3)) / self%time_step
      self%dynamics(:, :, 3, 1) = (u - self%after(:, :, 5)) / self%time_step
    end if
    self%within_step = .true.
  end subroutine take_before

  !> Takes the state after what the emulator replaces.
  subroutine end_step(self, t, q, u, status)
    class(climlink_lags), intent(inout) :: self
    real(real64), intent(in) :: t(:, :)
    real(real64), intent(in) :: q(:, :, :)
    real(real64), intent(in) :: u(:, :)
    type(climlink_status), intent(out), optional :: status
    type(climlink_status) :: outcome

    call check_call(self, 'end_step', .true., outcome)
    if (outcome%ok()) call check_state(self, 'end_step', t, q, u, outcome)
    if (outcome%ok()) then
      self%after(:, :, 1) = t
      self%after(:, :, 2:4) = q
      self%after(:, :, 5) = u
      self%physics(:, :, :, 2) = self%physics(:, :, :, 1)
      self%physics(:, :, :, 1) = (self%after - self%before) / self%time_step
      self%completed = self%completed + 1
      self%within_step = .false.
    end if
    call settle(outcome, status)
  end subroutine end_step

  !> True once two steps have ended: from the third on, every lagged input has a value. Without
  !! columns there is nothing to wait for.
  pure function ready(self) result(yes)
    class(climlink_lags), intent(in) :: self
    logical :: yes

    yes = self%completed >= needed_steps
    if (allocated(self%before)) yes = yes .or. size(self%before, 1) == 0
  end function ready

  !> Whether a variable of this name is kept here.
  pure function has(self, name) result(yes)
    class(climlink_lags), intent(in) :: self
    character(len=*), intent(in) :: name
    logical :: yes
    integer :: kind, state, lag

    call locate(name, kind, state, lag)
    yes = kind > 0 .and. allocated(self%before)
  end function has

  !> Levels of a variable that is kept here, 1 for a scalar; 0 if there is none of this name.
  pure function width(self, name) result(n)
    class(climlink_lags), intent(in) :: self
    character(len=*), intent(in) :: name
    integer :: n
    integer :: kind, state, lag

    n = 0
    if (.not. self%has(name)) return
    call locate(name, kind, state, lag)
    n = merge(1, size(self%before, 2), kind == 3)
  end function width

  !> A lagged input [column, level], or [column, 1] for a scalar, between begin_step and end_step.
  subroutine get(self, name, values, status)
    class(climlink_lags), intent(in) :: self
    character(len=*), intent(in) :: name
    real(real64), intent(out) :: values(:, :)
    type(climlink_status), intent(out), optional :: status
    type(climlink_status) :: outcome
    integer :: kind, state, lag
    character(len=128) :: text

    values = 0.0_real64
    call check_call(self, 'get ' // trim(name), .true., outcome)
    call locate(name, kind, state, lag)
    if (kind == 0) then
      outcome = refusal(climlink_error_variable, "get: there is no lagged input '" // trim(name) &
                        // "'")
    else if (outcome%ok() .and. .not. self%ready()) then
      write (text, '(2(a,i0),a)') ' needs ', needed_steps, ' steps of history, there are ', &
        self%completed, ': let the host run its own physics first (spin_up_steps)'
      outcome = refusal(climlink_error_state, 'get: ' // trim(name) // trim(text))
    end if
    if (outcome%ok()) call check_shape('get: ' // trim(name), shape(values), &
                                       [size(self%before, 1), self%width(name)], outcome)
    if (outcome%ok()) then
      select case (kind)
      case (1)
        values = self%dynamics(:, :, state, lag)
      case (2)
        values = self%physics(:, :, state, lag)
      case default
        values(:, 1) = self%scalars(:, state, 2)
      end select
    end if
    call settle(outcome, status)
  end subroutine get

  !> Where a variable is kept: kind 1 dynamics, 2 physics, 3 scalars, 0 nowhere.
  pure subroutine locate(name, kind, state, lag)
    character(len=*), intent(in) :: name
    integer, intent(out) :: kind, state, lag
    character(len=*), parameter :: moved(3) = [character(len=16) :: 'state_t_dyn', 'state_q0_dyn', &
      'state_u_dyn']
    character(len=*), parameter :: made(n_state) = [character(len=20) :: 'state_t_prvphy', &
      'state_q0001_prvphy', 'state_q0002_prvphy', 'state_q0003_prvphy', 'state_u_prvphy']
    character(len=len(name)) :: bare

    kind = 3
    lag = 1
    state = findloc(scalar_names, name, dim=1)
    if (state > 0) return
    bare = name
    if (index(name, 'tm_') == 1) then
      bare = name(4:)
      lag = 2
    end if
    kind = 1
    state = findloc(moved, bare, dim=1)
    if (state > 0) return
    kind = 2
    state = findloc(made, bare, dim=1)
    if (state == 0) kind = 0
  end subroutine locate

  !> Numbers per column that a restart keeps.
  pure function state_size(self) result(n)
    class(climlink_lags), intent(in) :: self
    integer :: n

    n = 0
    if (.not. allocated(self%before)) return
    n = 1 + size(self%before, 2) * (n_state + 3 + n_state * 2) + n_scalar
  end function state_size

  !> All that an exact restart needs [state_size, column], between steps. Columns may be gathered
  !! and spread over other ranks.
  subroutine pack_state(self, buffer, status)
    class(climlink_lags), intent(in) :: self
    real(real64), intent(out) :: buffer(:, :)
    type(climlink_status), intent(out), optional :: status
    type(climlink_status) :: outcome
    integer :: column, at

    call check_call(self, 'pack_state', .false., outcome)
    if (outcome%ok()) call check_shape('pack_state: buffer', shape(buffer), &
                                       [self%state_size(), size(self%before, 1)], outcome)
    if (outcome%ok()) then
      do column = 1, size(self%before, 1)
        at = 0
        call append(buffer(:, column), at, [real(self%completed, real64)])
        call append(buffer(:, column), at, &
                    reshape(self%after(column, :, :), [size(self%after(column, :, :))]))
        call append(buffer(:, column), at, &
                    reshape(self%dynamics(column, :, :, 1), [size(self%dynamics(column, :, :, 1))]))
        call append(buffer(:, column), at, &
                    reshape(self%physics(column, :, :, :), [size(self%physics(column, :, :, :))]))
        call append(buffer(:, column), at, self%scalars(column, :, 1))
      end do
    end if
    call settle(outcome, status)
  end subroutine pack_state

  pure subroutine append(vector, at, values)
    real(real64), intent(inout) :: vector(:)
    integer, intent(inout) :: at
    real(real64), intent(in) :: values(:)

    vector(at + 1:at + size(values)) = values
    at = at + size(values)
  end subroutine append

  !> Goes on from what pack_state wrote, of the columns of this rank.
  subroutine unpack_state(self, buffer, status)
    class(climlink_lags), intent(inout) :: self
    real(real64), intent(in) :: buffer(:, :)
    type(climlink_status), intent(out), optional :: status
    type(climlink_status) :: outcome
    integer :: column, l, at

    call check_call(self, 'unpack_state', .false., outcome)
    if (outcome%ok()) call check_shape('unpack_state: buffer', shape(buffer), &
                                       [self%state_size(), size(self%before, 1)], outcome)
    if (outcome%ok() .and. size(buffer, 2) > 0) call take_completed(self, buffer(1, :), outcome)
    if (outcome%ok()) then
      l = size(self%before, 2)
      do column = 1, size(self%before, 1)
        at = 1
        self%after(column, :, :) = reshape(buffer(at + 1:at + n_state * l, column), [l, n_state])
        at = at + n_state * l
        self%dynamics(column, :, :, 1) = reshape(buffer(at + 1:at + 3 * l, column), [l, 3])
        at = at + 3 * l
        self%physics(column, :, :, :) = reshape(buffer(at + 1:at + 2 * n_state * l, column), &
                                                [l, n_state, 2])
        at = at + 2 * n_state * l
        self%scalars(column, :, 1) = buffer(at + 1:at + n_scalar, column)
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

    outcome%message = ''
    if (.not. allocated(self%before)) then
      outcome = refusal(climlink_error_state, doing // ': call initialize first')
    else if (within .and. .not. self%within_step) then
      outcome = refusal(climlink_error_state, doing // ': call begin_step first')
    else if (self%within_step .and. .not. within) then
      outcome = refusal(climlink_error_state, doing // ': a step has begun; call end_step first')
    end if
  end subroutine check_call

  subroutine check_state(self, doing, t, q, u, outcome)
    class(climlink_lags), intent(in) :: self
    character(len=*), intent(in) :: doing
    real(real64), intent(in) :: t(:, :), q(:, :, :), u(:, :)
    type(climlink_status), intent(inout) :: outcome
    integer :: expected(2)

    expected = [size(self%before, 1), size(self%before, 2)]
    call check_shape(doing // ': t', shape(t), expected, outcome)
    if (outcome%ok()) call check_shape(doing // ': q', shape(q), [expected, 3], outcome)
    if (outcome%ok()) call check_shape(doing // ': u', shape(u), expected, outcome)
  end subroutine check_state

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
