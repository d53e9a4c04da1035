!> One step of the physics with the emulator in it, for all chunks of the rank at once or for one.
module mmf_nn_steps
  use camsrfexch, only: cam_in_t, cam_out_t
  use climlink, only: climlink_emulator, climlink_status
  use climlink_coupling, only: climlink_coupling_policy
  use mmf_nn_blending, only: blend, held_chunk, hold
  use mmf_nn_changes, only: add_changes, note_state, write_changes
  use mmf_nn_counters, only: count_answers, count_legacy, end_counted_step
  use mmf_nn_errors, only: stop_here, stop_if_any_failed, stop_if_failed
#ifdef CLIMLINK_FORK_HISTORY
  use mmf_nn_fork, only: pack_fork_lags
#endif
  use mmf_nn_history, only: add_history, write_legacy_history, write_raw_history, write_weight
  use mmf_nn_inputs, only: known_input, sent_as_zero, set_input
  use mmf_nn_legacy, only: apply_legacy, legacy_counts
  use mmf_nn_memory, only: begin_memory_step, coupling_step, end_memory_step, first_of_chunk, &
                           has_lags, initialize_memory, lags, n_column_of_rank, register_memory, &
                           registered
  use mmf_nn_opening, only: check_package, open_package, policy_of_namelist
  use mmf_nn_outputs, only: chunk_outputs, constituent, fill_ptend, fill_surface, get_outputs
  use mmf_nn_settings, only: cb_spinup_step, cb_strato_water_constraint, climlink_history, &
                             climlink_legacy, dtheta_thred, number_text
  use perf_mod, only: t_startf, t_stopf
  use physics_buffer, only: pbuf_get_chunk, physics_buffer_desc
  use physics_types, only: physics_ptend, physics_state, physics_tend
  use physics_update_mod, only: physics_update
  use ppgrid, only: begchunk, endchunk, pver
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none (type, external)
  private

  public :: mmf_nn_emulator_register, init_neural_net, mmf_nn_emulator_final
  public :: neural_net, neural_net_all_chunks
  public :: mmf_nn_emulator_begin, mmf_nn_emulator_run, mmf_nn_emulator_end

  type(climlink_emulator) :: emulator
  type(climlink_coupling_policy) :: policy
  type(held_chunk), allocatable :: held(:)  !! Of the chunks, in a step in which the model runs too.

contains

  !> Opens the package and adds to the physics buffer what restarts need. In phys_register;
  !! collective.
  subroutine mmf_nn_emulator_register()
    call open_package(emulator)
    call register_memory(emulator)
  end subroutine mmf_nn_emulator_register

  !> Opens the package, if register has not, and checks it against model and namelist. At the end of
  !! phys_init; collective.
  subroutine init_neural_net()
    call open_package(emulator)
    call initialize_memory(emulator)
    policy = policy_of_namelist()
    call check_package(emulator, policy, lags)
    if (climlink_history) call add_history(emulator, climlink_legacy)
    if (climlink_history .and. registered) call add_changes()
  end subroutine init_neural_net

  !> Frees the package.
  subroutine mmf_nn_emulator_final()
    type(climlink_status) :: status

    call emulator%close(status)
    call stop_if_failed(status, '')
  end subroutine mmf_nn_emulator_final

  !> Starts a step: notes the state before the physics and says who runs in it.
  subroutine mmf_nn_emulator_begin(state, pbuf2d, coszrs, solin, run_model, run_emulator)
    type(physics_state), intent(in) :: state(begchunk:)
    type(physics_buffer_desc), pointer, intent(in) :: pbuf2d(:, :)
    real(r8), intent(in) :: coszrs(:, begchunk:)       !! [pcols, chunk]
    real(r8), intent(in) :: solin(:, begchunk:)        !! [pcols, chunk], W/m2
    logical, intent(out) :: run_model                  !! Whether the model's own physics is needed.
    logical, intent(out) :: run_emulator

    call begin_memory_step(state, pbuf2d, coszrs, solin)
    call note_state(state)
    run_emulator = .false.
    run_model = .true.
    if (cb_spinup_step < 0) return
    run_emulator = policy%needs_emulator(coupling_step())
    run_model = policy%needs_reference(coupling_step())
  end subroutine mmf_nn_emulator_begin

  !> Runs the emulator for all chunks. Where the model's physics is not needed its answer is
  !! applied; else it is held for mmf_nn_emulator_end, and nothing changes here.
  subroutine mmf_nn_emulator_run(state, tend, pbuf2d, cam_in, cam_out, coszrs, solin, ztodt)
    type(physics_state), intent(inout) :: state(begchunk:)
    type(physics_tend), intent(inout) :: tend(begchunk:)
    type(physics_buffer_desc), pointer, intent(in) :: pbuf2d(:, :)
    type(cam_in_t), intent(in) :: cam_in(begchunk:)
    type(cam_out_t), intent(inout) :: cam_out(begchunk:)
    real(r8), intent(in) :: coszrs(:, begchunk:)             !! [pcols, chunk]
    real(r8), intent(in) :: solin(:, begchunk:)              !! [pcols, chunk], W/m2
    real(r8), intent(in) :: ztodt                            !! Time step [s].
    type(physics_ptend) :: ptend(begchunk:endchunk)
    type(chunk_outputs) :: outputs(begchunk:endchunk)
    integer :: c

    if (policy%needs_reference(coupling_step())) then
      call infer(state, pbuf2d, cam_in, coszrs, solin, ztodt, outputs)
      allocate (held(begchunk:endchunk))
      do c = begchunk, endchunk
        call hold(held(c), state(c), outputs(c), ztodt)
      end do
    else
      call neural_net_all_chunks(ptend, state, pbuf2d, cam_in, cam_out, coszrs, solin, ztodt)
      do c = begchunk, endchunk
        call physics_update(state(c), ptend(c), ztodt, tend(c))
      end do
    end if
  end subroutine mmf_nn_emulator_run

  !> Ends a step: blends what is held into what the model's physics made, and keeps what lagged
  !! inputs and restarts need.
  subroutine mmf_nn_emulator_end(state, tend, pbuf2d, cam_in, cam_out, ztodt)
    type(physics_state), intent(inout) :: state(begchunk:)
    type(physics_tend), intent(inout) :: tend(begchunk:)
    type(physics_buffer_desc), pointer, intent(in) :: pbuf2d(:, :)
    type(cam_in_t), intent(in) :: cam_in(begchunk:)
    type(cam_out_t), intent(inout) :: cam_out(begchunk:)
    real(r8), intent(in) :: ztodt                            !! Time step [s].
    integer :: c

    if (allocated(held)) then
      do c = begchunk, endchunk
        call blend(held(c), policy, coupling_step(), ztodt, state(c), tend(c), cam_in(c), &
                   cam_out(c), pbuf_get_chunk(pbuf2d, c))
      end do
      deallocate (held)
    end if
    if (climlink_history) call write_weights(state)
    call write_changes(state, ztodt)
    call end_memory_step(state, pbuf2d)
    call end_counted_step(cb_spinup_step >= 0 .and. policy%needs_emulator(coupling_step()))
  end subroutine mmf_nn_emulator_end

  subroutine write_weights(state)
    type(physics_state), intent(in) :: state(begchunk:)
    real(r8) :: weight
    integer :: c

    weight = 0.0_r8
    if (cb_spinup_step >= 0) weight = policy%weight(coupling_step())
    do c = begchunk, endchunk
      call write_weight(weight, state(c)%ncol, c)
    end do
  end subroutine write_weights

  !> All chunks of the rank in one forward: the tendencies of each, and its surface fields where the
  !! model takes them.
  subroutine neural_net_all_chunks(ptend, state, pbuf2d, cam_in, cam_out, coszrs, solin, ztodt)
    type(physics_ptend), intent(out) :: ptend(begchunk:)
    type(physics_state), intent(in) :: state(begchunk:)
    type(physics_buffer_desc), pointer, intent(in) :: pbuf2d(:, :)
    type(cam_in_t), intent(in) :: cam_in(begchunk:)
    type(cam_out_t), intent(inout) :: cam_out(begchunk:)
    real(r8), intent(in) :: coszrs(:, begchunk:)             !! [pcols, chunk]
    real(r8), intent(in) :: solin(:, begchunk:)              !! [pcols, chunk], W/m2
    real(r8), intent(in) :: ztodt                            !! Time step [s].
    type(chunk_outputs) :: outputs(begchunk:endchunk)
    integer :: c

    call infer(state, pbuf2d, cam_in, coszrs, solin, ztodt, outputs)
    do c = begchunk, endchunk
      call fill_ptend(ptend(c), state(c), outputs(c))
      call fill_surface(outputs(c)%surface, cam_in(c), cam_out(c), pbuf_get_chunk(pbuf2d, c))
    end do
  end subroutine neural_net_all_chunks

  !> Gathers all chunks, runs, and scatters. Collective, so that one rank alone says what failed.
  subroutine infer(state, pbuf2d, cam_in, coszrs, solin, ztodt, outputs)
    type(physics_state), intent(in) :: state(begchunk:)
    type(physics_buffer_desc), pointer, intent(in) :: pbuf2d(:, :)
    type(cam_in_t), intent(in) :: cam_in(begchunk:)
    real(r8), intent(in) :: coszrs(:, begchunk:), solin(:, begchunk:)
    real(r8), intent(in) :: ztodt
    type(chunk_outputs), intent(out) :: outputs(begchunk:)
    type(climlink_status) :: status
    integer :: c

    call t_startf('nn_pack')
    call emulator%begin(n_column_of_rank, status)
    if (status%ok()) call pack_lags(status)
    do c = begchunk, endchunk
      if (.not. status%ok()) exit
      call pack_chunk(first_of_chunk(c), state(c), pbuf_get_chunk(pbuf2d, c), cam_in(c), &
                      coszrs(:, c), solin(:, c), status)
    end do
    call t_stopf('nn_pack')
    call t_startf('nn_forward')
    if (status%ok()) call emulator%run(status)
    call t_stopf('nn_forward')
    call stop_if_any_failed(status)
    call t_startf('nn_unpack')
    do c = begchunk, endchunk
      call unpack_chunk(first_of_chunk(c), state(c), coszrs(:, c), ztodt, outputs(c))
    end do
    call t_stopf('nn_unpack')
  end subroutine infer

  !> Sets the lagged inputs of all columns of the rank.
  subroutine pack_lags(status)
    type(climlink_status), intent(inout) :: status           !! No error before.
    real(r8) :: values(n_column_of_rank, pver)
    character(len=:), allocatable :: name
    integer :: i, n

    do i = 1, emulator%n_input()
      if (.not. status%ok()) return
      name = emulator%input_name(i)
      if (.not. lags%has(name)) cycle
      n = lags%width(name)
      values = 0.0_r8
      if (.not. sent_as_zero(name)) call lags%get(name, values(:, :n), status)
      if (.not. status%ok()) return
      if (n > 1) then
        call emulator%set(name, values, 1, status)
      else
        call emulator%set(name, values(:, 1), 1, status)
      end if
    end do
  end subroutine pack_lags

  !> Sets one chunk of all other inputs.
  subroutine pack_chunk(first, state, pbuf, cam_in, coszrs, solin, status)
    integer, intent(in) :: first                            !! Position of the chunk's first column.
    type(physics_state), intent(in) :: state
    type(physics_buffer_desc), pointer, intent(in) :: pbuf(:)
    type(cam_in_t), intent(in) :: cam_in
    real(r8), intent(in) :: coszrs(:), solin(:)
    type(climlink_status), intent(inout) :: status          !! No error before.
    real(r8) :: nothing(state%ncol)
    character(len=:), allocatable :: name
    integer :: i

    nothing = 0.0_r8
    do i = 1, emulator%n_input()
      name = emulator%input_name(i)
      if (.not. known_input(name)) cycle
      if (sent_as_zero(name)) then
        call emulator%set(name, nothing, first, status)
      else
        call set_input(emulator, name, first, state, pbuf, cam_in, coszrs, solin, status)
      end if
      if (status%ok()) cycle
      ! Columns count from 0 in the message that follows.
      status%message = 'chunk ' // number_text(state%lchnk) // ', whose first column is column ' &
                       // number_text(first - 1) // ' of the rank: ' // status%message
      return
    end do
  end subroutine pack_chunk

  !> Takes one chunk of the outputs and does to them what the old coupling did, in legacy mode.
  subroutine unpack_chunk(first, state, coszrs, ztodt, outputs)
    integer, intent(in) :: first                            !! Position of the chunk's first column.
    type(physics_state), intent(in) :: state
    real(r8), intent(in) :: coszrs(:)
    real(r8), intent(in) :: ztodt
    type(chunk_outputs), intent(out) :: outputs
    type(legacy_counts) :: counts
    type(climlink_status) :: status

    call get_outputs(emulator, first, state%ncol, outputs, status)
    call stop_if_failed(status, '')
    call count_answers(state%ncol)
    if (climlink_history) call write_raw_history(emulator, first, state%ncol, state%lchnk)
    if (.not. climlink_legacy) return
    call apply_legacy(state, constituent(2), constituent(3), coszrs, ztodt, &
                      cb_strato_water_constraint, dtheta_thred, outputs, counts)
    call count_legacy(counts, state%lchnk)
    if (climlink_history) call write_legacy_history(counts, state%ncol, state%lchnk)
  end subroutine unpack_chunk

  !> One chunk in a forward of its own, as drivers of the existing coupling call it, from several
  !! threads or not.
  subroutine neural_net(ptend, state, state_aphys1, pbuf, cam_in, cam_out, coszrs, solin, ztodt, &
                        lchnk)
    type(physics_ptend), intent(out) :: ptend
    type(physics_state), intent(in) :: state
    type(physics_state), intent(in) :: state_aphys1   !! State after the physics of the step before.
    type(physics_buffer_desc), pointer, intent(in) :: pbuf(:)
    type(cam_in_t), intent(in) :: cam_in
    type(cam_out_t), intent(inout) :: cam_out
    real(r8), intent(in) :: coszrs(:)                 !! [pcols]
    real(r8), intent(in) :: solin(:)                  !! [pcols], W/m2
    real(r8), intent(in) :: ztodt                     !! Time step [s].
    integer, intent(in) :: lchnk
    type(chunk_outputs) :: outputs
    type(climlink_status) :: status

    if (state%lchnk /= lchnk) call stop_here('neural_net: state is not that of chunk ' &
                                             // number_text(lchnk))
    if (.not. allocated(state_aphys1%t)) call stop_here('neural_net: state_aphys1 has no fields')
#ifndef CLIMLINK_FORK_HISTORY
    if (has_lags) then
      call stop_here('the package has lagged inputs: build with -DCLIMLINK_FORK_HISTORY if ' // &
                     'the driver keeps them in physics_state, as that of the ClimSim fork ' // &
                     'does, or let the driver call mmf_nn_emulator_begin, run and end')
    end if
#endif
    !$omp critical (mmf_nn_forward)
    call emulator%begin(state%ncol, status)
    call stop_if_failed(status, '')
#ifdef CLIMLINK_FORK_HISTORY
    call pack_fork_lags(emulator, lags, state, state_aphys1, ztodt)
#endif
    call pack_chunk(1, state, pbuf, cam_in, coszrs, solin, status)
    call stop_if_failed(status, '')
    call emulator%run(status)
    call stop_if_failed(status, '')
    call unpack_chunk(1, state, coszrs, ztodt, outputs)
    !$omp end critical (mmf_nn_forward)
    call fill_ptend(ptend, state, outputs)
    call fill_surface(outputs%surface, cam_in, cam_out, pbuf)
  end subroutine neural_net

end module mmf_nn_steps
