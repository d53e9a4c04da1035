!> Partial coupling: the emulator's answer is held while the model runs its own physics, and blended
!! in afterwards by output.
module mmf_nn_blending
  use camsrfexch, only: cam_in_t, cam_out_t
  use climlink_coupling, only: climlink_blend, climlink_coupling_policy
  use constituents, only: pcnst
  use mmf_nn_outputs, only: chunk_outputs, constituent, fill_surface, surface_names, &
                            surface_of_model, tendency_names
  use physconst, only: cpair
  use physics_buffer, only: physics_buffer_desc
  use physics_types, only: physics_ptend, physics_ptend_init, physics_state, physics_tend
  use physics_update_mod, only: physics_update
  use ppgrid, only: pver
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none (type, external)
  private

  public :: held_chunk, hold, blend, fields_of

  !> What the emulator would have made of one chunk.
  type :: held_chunk
    real(r8), allocatable :: state(:, :, :)                  !! t, three waters, u, v after the step
                                                             !! [column, level, 6].
    real(r8), allocatable :: surface(:, :)                   !! [column, 8]
  end type held_chunk

contains

  !> Holds the answer for a chunk whose state is the one before the physics.
  subroutine hold(held, state, outputs, time_step)
    type(held_chunk), intent(out) :: held
    type(physics_state), intent(in) :: state
    type(chunk_outputs), intent(in) :: outputs
    real(r8), intent(in) :: time_step                        !! [s]

    held%state = fields_of(state) + time_step * outputs%tendency
    held%surface = outputs%surface
  end subroutine hold

  !> The fields of a state that outputs change, in the order of the outputs.
  function fields_of(state) result(fields)
    type(physics_state), intent(in) :: state
    real(r8) :: fields(state%ncol, pver, 6)
    integer :: i, n

    n = state%ncol
    fields(:, :, 1) = state%t(:n, :)
    do i = 1, 3
      fields(:, :, 1 + i) = state%q(:n, :, constituent(i))
    end do
    fields(:, :, 5) = state%u(:n, :)
    fields(:, :, 6) = state%v(:n, :)
  end function fields_of

  !> Blends what is held into a chunk that the model's physics has changed, with the policy's
  !! weights of this step. The model's own physics_update does it, so that energy, heights and
  !! tendencies follow.
  subroutine blend(held, policy, step, time_step, state, tend, cam_in, cam_out, pbuf)
    type(held_chunk), intent(in) :: held
    type(climlink_coupling_policy), intent(in) :: policy
    integer, intent(in) :: step
    real(r8), intent(in) :: time_step                        !! [s]
    type(physics_state), intent(inout) :: state
    type(physics_tend), intent(inout) :: tend
    type(cam_in_t), intent(in) :: cam_in
    type(cam_out_t), intent(inout) :: cam_out
    type(physics_buffer_desc), pointer, intent(in) :: pbuf(:)
    type(physics_ptend) :: ptend
    real(r8) :: rate(state%ncol, pver, 6), surface(state%ncol, size(surface_names))
    integer :: i

    do i = 1, size(tendency_names)
      rate(:, :, i) = policy%weight_of(trim(tendency_names(i)), step)
    end do
    rate = rate * (held%state - fields_of(state)) / time_step
    call fill_rates(ptend, state, rate, &
                    [(policy%weight_of(trim(tendency_names(i)), step) > 0.0_r8, i=1, &
                      size(tendency_names))])
    call physics_update(state, ptend, time_step, tend)
    surface = surface_of_model(state%ncol, cam_out, pbuf)
    do i = 1, size(surface_names)
      surface(:, i) = climlink_blend(surface(:, i), held%surface(:, i), &
                                     policy%weight_of(trim(surface_names(i)), step))
    end do
    call fill_surface(surface, cam_in, cam_out, pbuf)
  end subroutine blend

  !> Makes a ptend of those rates that are on.
  subroutine fill_rates(ptend, state, rate, is_on)
    type(physics_ptend), intent(out) :: ptend
    type(physics_state), intent(in) :: state
    real(r8), intent(in) :: rate(:, :, :)
    logical, intent(in) :: is_on(:)
    logical :: lq(pcnst)
    integer :: i, n

    n = state%ncol
    lq = .false.
    lq(constituent) = is_on(2:4)
    call physics_ptend_init(ptend, state%psetcols, 'neural-net', ls=is_on(1), lu=is_on(5), &
                            lv=is_on(6), lq=lq)
    if (is_on(1)) ptend%s(:n, :) = cpair * rate(:, :, 1)
    do i = 1, 3
      if (is_on(1 + i)) ptend%q(:n, :, constituent(i)) = rate(:, :, 1 + i)
    end do
    if (is_on(5)) ptend%u(:n, :) = rate(:, :, 5)
    if (is_on(6)) ptend%v(:n, :) = rate(:, :, 6)
  end subroutine fill_rates

end module mmf_nn_blending
