!> Partial coupling: the emulator's answer is held while the model runs its own physics, and blended
!! in afterwards by output and level.
module mmf_nn_blending
  use camsrfexch, only: cam_in_t, cam_out_t
  use climlink_coupling, only: climlink_blend, climlink_coupling_policy
  use mmf_nn_fields, only: chunk_fields, fields_taken, n_taken, named_field
  use mmf_nn_surface, only: fill_ptend, fill_surface, profiles_of, surface_of_model
  use physics_buffer, only: physics_buffer_desc
  use physics_types, only: physics_ptend, physics_state, physics_tend
  use physics_update_mod, only: physics_update
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none (type, external)
  private

  public :: hold, blend

contains

  !> Turns the emulator's rates for a chunk, whose state is the one before the physics, into the
  !! state that they would make of it.
  subroutine hold(held, state, time_step)
    type(chunk_fields), intent(inout), target :: held        !! Outputs, then state and surface.
    type(physics_state), intent(in) :: state
    real(r8), intent(in) :: time_step                        !! [s]
    type(chunk_fields), target :: before
    type(named_field) :: rates(n_taken), states(n_taken)
    integer :: i

    call profiles_of(state, before)
    rates = fields_taken(held)
    states = fields_taken(before)
    do i = 1, size(rates)
      if (rates(i)%is_profile) rates(i)%profile = states(i)%profile + time_step * rates(i)%profile
    end do
  end subroutine hold

  !> Blends what is held into a chunk that the model's physics has changed, with the policy's
  !! weights of this step. The model's own physics_update does it, so that energy, heights and
  !! tendencies follow.
  subroutine blend(held, policy, step, time_step, state, tend, cam_in, cam_out, pbuf)
    type(chunk_fields), intent(inout), target :: held
    type(climlink_coupling_policy), intent(in) :: policy
    integer, intent(in) :: step
    real(r8), intent(in) :: time_step                        !! [s]
    type(physics_state), intent(inout) :: state
    type(physics_tend), intent(inout) :: tend
    type(cam_in_t), intent(in) :: cam_in
    type(cam_out_t), intent(inout) :: cam_out
    type(physics_buffer_desc), pointer, intent(in) :: pbuf(:)
    type(physics_ptend) :: ptend
    type(chunk_fields), target :: blended
    type(named_field) :: emulated(n_taken), list(n_taken)
    integer :: i

    call profiles_of(state, blended)
    call surface_of_model(cam_out, pbuf, blended)
    emulated = fields_taken(held)
    list = fields_taken(blended)
    do i = 1, size(list)
      list(i)%weight = policy%weight_of(trim(list(i)%name), step)
      if (list(i)%is_profile) then
        list(i)%profile = spread(policy%level_weights(list(i)%name, step), 1, state%ncol) &
                          * (emulated(i)%profile - list(i)%profile) / time_step
      else
        list(i)%scalar = climlink_blend(list(i)%scalar, emulated(i)%scalar, list(i)%weight)
      end if
    end do
    call fill_ptend(ptend, state, blended, list)
    call physics_update(state, ptend, time_step, tend)
    call fill_surface(blended, cam_in, cam_out, pbuf)
  end subroutine blend

end module mmf_nn_blending
