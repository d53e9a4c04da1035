!> The lagged inputs of the sets v4 and v6: what dynamics and physics did in the steps before. The host owns them and keeps them in its
!! restart; this module is how any host does it.
!!
!! Per physics step of the host:
!!
!!     call memory%begin_step(t, q, u)              ! state before the physics: the dynamics tendency is now known
!!     call memory%get('state_t_dyn', values, status)
!!     call memory%end_step(t, q, u)                ! state after what the emulator replaces
!!
!! With b(n) the state before and a(n) the state after step n, and dt the time step:
!!
!!     X_dyn        = (b(n) - a(n-1)) / dt          tm_X_dyn    = (b(n-1) - a(n-2)) / dt
!!     X_prvphy     = (a(n-1) - b(n-1)) / dt        tm_X_prvphy = (a(n-2) - b(n-2)) / dt
!!
!! Water in state_q0_dyn is vapour, liquid and ice together. The scalars tm_state_ps, tm_pbuf_SOLIN, tm_pbuf_LHFLX, tm_pbuf_SHFLX and
!! tm_pbuf_COSZRS are those given to the step before.
module climlink_lagged_memory
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink_errors, only: climlink_error_argument, climlink_error_state, climlink_error_variable, climlink_status, failure
  implicit none (type, external)
  private

  public :: climlink_lags

  !> Steps before the memory can answer: tm_X_dyn needs b(n-1) - a(n-2).
  integer, parameter :: needed_steps = 2

  integer, parameter :: n_state = 5      ! t, q0001, q0002, q0003, u
  integer, parameter :: n_scalar = 5     ! ps, SOLIN, LHFLX, SHFLX, COSZRS
  character(len=*), parameter :: scalar_names(n_scalar) = [character(len=14) :: 'tm_state_ps', 'tm_pbuf_SOLIN', 'tm_pbuf_LHFLX', &
    'tm_pbuf_SHFLX', 'tm_pbuf_COSZRS']

  type :: climlink_lags
    private
    real(real64) :: time_step = 0.0_real64
    integer :: completed = 0                                 !! Steps that ended.
    logical :: within_step = .false.
    real(real64), allocatable :: before(:, :, :)             !! b(n) [column, level, state]
    real(real64), allocatable :: after(:, :, :)              !! a(n-1)
    real(real64), allocatable :: dynamics(:, :, :, :)        !! X_dyn and tm_X_dyn of t, water, u [column, level, 3, 2]
    real(real64), allocatable :: physics(:, :, :, :)         !! X_prvphy and tm_X_prvphy [column, level, state, 2]
    real(real64), allocatable :: scalars(:, :, :)            !! Given to this step, and to the one before [column, 5, 2]
  contains
    procedure :: initialize
    procedure :: begin_step
    procedure :: end_step
    procedure :: has
    procedure :: ready
    procedure :: get
    procedure :: state_size
    procedure :: pack_state
    procedure :: unpack_state
  end type climlink_lags

contains

  !> Makes an empty memory for the columns of this rank.
  subroutine initialize(self, n_column, n_level, time_step)
    class(climlink_lags), intent(inout) :: self
    integer, intent(in) :: n_column
    integer, intent(in) :: n_level
    real(real64), intent(in) :: time_step                    !! [s]

    self%time_step = time_step
    self%completed = 0
    self%within_step = .false.
    if (allocated(self%before)) deallocate (self%before, self%after, self%dynamics, self%physics, self%scalars)
    allocate (self%before(n_column, n_level, n_state), self%after(n_column, n_level, n_state), &
              self%dynamics(n_column, n_level, 3, 2), self%physics(n_column, n_level, n_state, 2), &
              self%scalars(n_column, n_scalar, 2), source=0.0_real64)
  end subroutine initialize

  !> Takes the state before the physics [column, level], with q of vapour, liquid and ice [column, level, 3], and the scalars ps [Pa],
  !! SOLIN, LHFLX, SHFLX [W/m2] and COSZRS [column, 5].
  subroutine begin_step(self, t, q, u, scalars)
    class(climlink_lags), intent(inout) :: self
    real(real64), intent(in) :: t(:, :)
    real(real64), intent(in) :: q(:, :, :)
    real(real64), intent(in) :: u(:, :)
    real(real64), intent(in) :: scalars(:, :)

    self%before(:, :, 1) = t
    self%before(:, :, 2:4) = q
    self%before(:, :, 5) = u
    self%scalars(:, :, 2) = self%scalars(:, :, 1)
    self%scalars(:, :, 1) = scalars
    if (self%completed > 0) then
      self%dynamics(:, :, :, 2) = self%dynamics(:, :, :, 1)
      self%dynamics(:, :, 1, 1) = (t - self%after(:, :, 1)) / self%time_step
      self%dynamics(:, :, 2, 1) = (sum(q, dim=3) - sum(self%after(:, :, 2:4), dim=3)) / self%time_step
      self%dynamics(:, :, 3, 1) = (u - self%after(:, :, 5)) / self%time_step
    end if
    self%within_step = .true.
  end subroutine begin_step

  !> Takes the state after what the emulator replaces.
  subroutine end_step(self, t, q, u)
    class(climlink_lags), intent(inout) :: self
    real(real64), intent(in) :: t(:, :)
    real(real64), intent(in) :: q(:, :, :)
    real(real64), intent(in) :: u(:, :)

    self%after(:, :, 1) = t
    self%after(:, :, 2:4) = q
    self%after(:, :, 5) = u
    self%physics(:, :, :, 2) = self%physics(:, :, :, 1)
    self%physics(:, :, :, 1) = (self%after - self%before) / self%time_step
    self%completed = self%completed + 1
    self%within_step = .false.
  end subroutine end_step

  !> True once two steps have ended: from the third on, every lagged input has a value. Without columns there is nothing to wait for.
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

  !> A lagged input [column, level], or [column, 1] for a scalar, between begin_step and end_step.
  subroutine get(self, name, values, status)
    class(climlink_lags), intent(in) :: self
    character(len=*), intent(in) :: name
    real(real64), intent(out) :: values(:, :)
    type(climlink_status), intent(out) :: status
    integer :: kind, state, lag, width
    character(len=96) :: text

    values = 0.0_real64
    call locate(name, kind, state, lag)
    width = merge(1, size(self%before, 2), kind == 3)
    if (kind == 0) then
      status = failure(climlink_error_variable, -1, "lagged memory: there is no lagged input '" // name // "'")
    else if (.not. (self%within_step .and. self%ready())) then
      write (text, '(a,i0,a,i0,a)') 'needs ', needed_steps, ' steps of history, there are ', self%completed, &
        ': let the host run its own physics first (spin_up_steps)'
      status = failure(climlink_error_state, -1, 'lagged memory: ' // name // ' ' // trim(text))
    else if (any(shape(values) /= [size(self%before, 1), width])) then
      write (text, '(3(a,i0))') ' has ', size(self%before, 1), ' columns and ', width, ' levels, not ', size(values, 1)
      status = failure(climlink_error_argument, -1, 'lagged memory: ' // name // trim(text))
    else if (kind == 1) then
      values = self%dynamics(:, :, state, lag)
    else if (kind == 2) then
      values = self%physics(:, :, state, lag)
    else
      values(:, 1) = self%scalars(:, state, 2)
    end if
  end subroutine get

  !> Where a variable is kept: kind 1 dynamics, 2 physics, 3 scalars, 0 nowhere.
  pure subroutine locate(name, kind, state, lag)
    character(len=*), intent(in) :: name
    integer, intent(out) :: kind, state, lag
    character(len=*), parameter :: moved(3) = [character(len=16) :: 'state_t_dyn', 'state_q0_dyn', 'state_u_dyn']
    character(len=*), parameter :: made(n_state) = [character(len=20) :: 'state_t_prvphy', 'state_q0001_prvphy', &
      'state_q0002_prvphy', 'state_q0003_prvphy', 'state_u_prvphy']
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

  !> All that an exact restart needs [state_size, column], between steps. Columns may be gathered and spread over other ranks.
  pure subroutine pack_state(self, buffer)
    class(climlink_lags), intent(in) :: self
    real(real64), intent(out) :: buffer(:, :)
    integer :: column, n

    do column = 1, size(self%before, 1)
      n = self%state_size()
      buffer(:n, column) = [real(self%completed, real64), reshape(self%after(column, :, :), [size(self%after(column, :, :))]), &
                            reshape(self%dynamics(column, :, :, 1), [size(self%dynamics(column, :, :, 1))]), &
                            reshape(self%physics(column, :, :, :), [size(self%physics(column, :, :, :))]), &
                            self%scalars(column, :, 1)]
    end do
  end subroutine pack_state

  !> Goes on from what pack_state wrote, of the columns of this rank.
  pure subroutine unpack_state(self, buffer)
    class(climlink_lags), intent(inout) :: self
    real(real64), intent(in) :: buffer(:, :)
    integer :: column, l, at

    l = size(self%before, 2)
    do column = 1, size(self%before, 1)
      self%completed = nint(buffer(1, column))
      at = 1
      self%after(column, :, :) = reshape(buffer(at + 1:at + n_state * l, column), [l, n_state])
      at = at + n_state * l
      self%dynamics(column, :, :, 1) = reshape(buffer(at + 1:at + 3 * l, column), [l, 3])
      at = at + 3 * l
      self%physics(column, :, :, :) = reshape(buffer(at + 1:at + 2 * n_state * l, column), [l, n_state, 2])
      at = at + 2 * n_state * l
      self%scalars(column, :, 1) = buffer(at + 1:at + n_scalar, column)
    end do
  end subroutine unpack_state

end module climlink_lagged_memory
