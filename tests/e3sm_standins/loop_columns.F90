! What the driver does to one column or one chunk.
module loop_columns
  use physconst, only: cpair, gravit
  use physics_types, only: physics_state
  use ppgrid, only: pver
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none (type, external)
  private

  public :: state_nan, fill_column
#ifdef CLIMLINK_FORK_HISTORY
  public :: shift_physics, shift_dynamics
#endif

  integer, parameter, public :: n_profile = 13, n_scalar = 19    ! of a column in the file
  integer, parameter, public :: water(3) = [1, 3, 5]             ! constituents: vapour, liquid, ice

contains

  function state_nan() result(nan)
    use, intrinsic :: ieee_arithmetic, only: ieee_quiet_nan, ieee_value
    real(r8) :: nan

    nan = ieee_value(nan, ieee_quiet_nan)
  end function state_nan

  subroutine fill_column(state, i, column)
    type(physics_state), intent(inout) :: state
    integer, intent(in) :: i
    real(r8), intent(in) :: column(:)
    real(r8) :: profiles(pver, n_profile)
    integer :: k

    profiles = reshape(column(n_scalar + 1:), [pver, n_profile])
    state%ps(i) = column(2)
    state%phis(i) = column(3)
    state%t(i, :) = profiles(:, 1)
    state%q(i, :, :) = 0.0_r8
    do k = 1, 3
      state%q(i, :, water(k)) = profiles(:, 1 + k)
    end do
    state%u(i, :) = profiles(:, 5)
    state%v(i, :) = profiles(:, 6)
    state%pmid(i, :) = profiles(:, 10)
    state%pdel(i, :) = profiles(:, 11)
    state%exner(i, :) = profiles(:, 12)
    state%zm(i, :) = profiles(:, 13)
    state%pint(i, 1) = 0.5_r8 * state%pmid(i, 1)
    state%pint(i, 2:pver) = 0.5_r8 * (state%pmid(i, :pver - 1) + state%pmid(i, 2:))
    state%pint(i, pver + 1) = state%ps(i)
    state%s(i, :) = cpair * state%t(i, :) + gravit * state%zm(i, :) + state%phis(i)
  end subroutine fill_column

#ifdef CLIMLINK_FORK_HISTORY
  !> What the driver of the ClimSim fork keeps: the change that the physics made, of the last two
  !! steps.
  subroutine shift_physics(state, before)
    type(physics_state), intent(inout) :: state
    type(physics_state), intent(in) :: before

    state%t_phy(2, :, :) = state%t_phy(1, :, :)
    state%u_phy(2, :, :) = state%u_phy(1, :, :)
    state%q_phy(2, :, :, :) = state%q_phy(1, :, :, :)
    state%t_phy(1, :, :) = (state%t - before%t) / 1200.0_r8
    state%u_phy(1, :, :) = (state%u - before%u) / 1200.0_r8
    state%q_phy(1, :, :, :) = (state%q - before%q) / 1200.0_r8
  end subroutine shift_physics

  !> The change that the dynamics made, of the last two steps.
  subroutine shift_dynamics(state, after)
    type(physics_state), intent(inout) :: state
    type(physics_state), intent(in) :: after

    state%t_adv(2, :, :) = state%t_adv(1, :, :)
    state%u_adv(2, :, :) = state%u_adv(1, :, :)
    state%q_adv(2, :, :, :) = state%q_adv(1, :, :, :)
    state%t_adv(1, :, :) = (state%t - after%t) / 1200.0_r8
    state%u_adv(1, :, :) = (state%u - after%u) / 1200.0_r8
    state%q_adv(1, :, :, :) = (state%q - after%q) / 1200.0_r8
  end subroutine shift_dynamics
#endif

end module loop_columns
