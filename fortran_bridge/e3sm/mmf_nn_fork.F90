!> Lagged inputs as the driver of the ClimSim fork keeps them, in members of physics_state that E3SM
!! itself does not have. So this is compiled with CLIMLINK_FORK_HISTORY only.
module mmf_nn_fork
#ifdef CLIMLINK_FORK_HISTORY
  use climlink, only: climlink_emulator, climlink_status
  use climlink_lagged_memory, only: climlink_lags
  use mmf_nn_errors, only: stop_here, stop_if_failed
  use mmf_nn_inputs, only: sent_as_zero
  use mmf_nn_outputs, only: constituent
  use physics_types, only: physics_state
  use ppgrid, only: pver
  use shr_kind_mod, only: r8 => shr_kind_r8
#endif
  implicit none (type, external)
  private

#ifdef CLIMLINK_FORK_HISTORY
  public :: pack_fork_lags

  !> That driver divides by this, whatever the time step is [s].
  real(r8), parameter :: fork_time_step = 1200.0_r8

contains

  !> Sets the lagged inputs of one chunk that is run by itself.
  subroutine pack_fork_lags(emulator, lags, state, state_aphys1, time_step)
    type(climlink_emulator), intent(inout) :: emulator
    type(climlink_lags), intent(in) :: lags           !! Knows which inputs are lagged.
    type(physics_state), intent(in) :: state
    type(physics_state), intent(in) :: state_aphys1   !! State after the physics of the step before.
    real(r8), intent(in) :: time_step                 !! [s]
    real(r8) :: nothing(state%ncol)
    character(len=:), allocatable :: name
    type(climlink_status) :: status
    integer :: i

    nothing = 0.0_r8
    do i = 1, emulator%n_input()
      name = emulator%input_name(i)
      if (.not. lags%has(name)) cycle
      if (sent_as_zero(name)) then
        call emulator%set(name, nothing, 1, status)
      else if (lags%width(name) == 1) then
        call stop_here('the driver of the fork does not keep ' // name &
                       // ': set climlink_legacy to send 0, as it does')
      else
        call emulator%set(name, lagged_profile(name, state, state_aphys1, time_step), 1, status)
      end if
      call stop_if_failed(status, '')
    end do
  end subroutine pack_fork_lags

  !> One lagged profile [column, level], per second.
  function lagged_profile(name, state, state_aphys1, time_step) result(values)
    character(len=*), intent(in) :: name
    type(physics_state), intent(in) :: state, state_aphys1
    real(r8), intent(in) :: time_step
    real(r8) :: values(state%ncol, pver)
    integer :: n, lag

    n = state%ncol
    lag = merge(2, 1, index(name, 'tm_') == 1)
    select case (name)
    case ('state_t_dyn')
      values = (state%t(:n, :) - state_aphys1%t(:n, :)) / time_step
    case ('state_u_dyn')
      values = (state%u(:n, :) - state_aphys1%u(:n, :)) / time_step
    case ('state_q0_dyn')
      values = sum(state%q(:n, :, constituent) - state_aphys1%q(:n, :, constituent), &
                   dim=3) / time_step
    case ('tm_state_t_dyn')
      values = state%t_adv(2, :n, :) * (fork_time_step / time_step)
    case ('tm_state_u_dyn')
      values = state%u_adv(2, :n, :) * (fork_time_step / time_step)
    case ('tm_state_q0_dyn')
      values = sum(state%q_adv(2, :n, :, constituent), dim=3) * (fork_time_step / time_step)
    case ('state_t_prvphy', 'tm_state_t_prvphy')
      values = state%t_phy(lag, :n, :) * (fork_time_step / time_step)
    case ('state_u_prvphy', 'tm_state_u_prvphy')
      values = state%u_phy(lag, :n, :) * (fork_time_step / time_step)
    case ('state_q0001_prvphy', 'tm_state_q0001_prvphy')
      values = state%q_phy(lag, :n, :, constituent(1)) * (fork_time_step / time_step)
    case ('state_q0002_prvphy', 'tm_state_q0002_prvphy')
      values = state%q_phy(lag, :n, :, constituent(2)) * (fork_time_step / time_step)
    case default
      values = state%q_phy(lag, :n, :, constituent(3)) * (fork_time_step / time_step)
    end select
  end function lagged_profile
#endif

end module mmf_nn_fork
