!> One step of the physics with the emulator in it, for all chunks of the rank at once or for one.
module mmf_nn_steps
  use camsrfexch, only: cam_in_t, cam_out_t
  use climlink, only: climlink_emulator, climlink_host_fields, climlink_status
  use climlink_coupling, only: climlink_coupling_policy
  use climlink_level_lists, only: has_level_list
  use mmf_nn_blending, only: blend, hold
  use mmf_nn_changes, only: add_changes, note_state, write_changes
  use mmf_nn_counters, only: count_answers, count_legacy, count_range_use, count_water_fix, &
                             end_counted_step
  use mmf_nn_errors, only: stop_here, stop_if_any_failed, stop_if_failed
  use mmf_nn_fields, only: add_inputs, add_lags, add_outputs, allocate_fields, chunk_fields, &
                           fields_taken
#ifdef CLIMLINK_FORK_HISTORY
  use mmf_nn_fields, only: add_fork_lags, n_fork_lag
#endif
  use mmf_nn_history, only: add_history, write_legacy_history, write_range_use, &
                            write_raw_history, write_water_fix, write_weight
  use mmf_nn_legacy, only: apply_legacy, legacy_counts
  use mmf_nn_memory, only: begin_memory_step, coupling_step, end_memory_step, first_of_chunk, &
                           has_lags, initialize_memory, lags, n_column_of_rank, register_memory, &
                           registered
  use mmf_nn_opening, only: check_package, open_package
  use mmf_nn_range_use, only: ask_range_use, range_use
  use mmf_nn_settings, only: cb_spinup_step, cb_strato_water_constraint, climlink_group_size, &
                             climlink_history, climlink_legacy, climlink_water_fixer, &
                             dtheta_thred, emulator_settings, number_text
  use mmf_nn_surface, only: fill_ptend, fill_surface
  use mmf_nn_water_fixer, only: fix_global_water, water_fix
  use perf_mod, only: t_startf, t_stopf
  use physics_buffer, only: pbuf_get_chunk, physics_buffer_desc
  use physics_types, only: physics_ptend, physics_state, physics_tend
  use physics_update_mod, only: physics_update
  use ppgrid, only: begchunk, endchunk, pcols, pver
  use ref_pres, only: pref_mid
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none (type, external)
  private

  public :: mmf_nn_emulator_register, init_neural_net, mmf_nn_emulator_final
  public :: neural_net, neural_net_all_chunks
  public :: mmf_nn_emulator_begin, mmf_nn_emulator_run, mmf_nn_emulator_end

  type(climlink_emulator) :: emulator
  type(climlink_coupling_policy) :: policy
  type(chunk_fields), allocatable, target :: held(:)  !! Of the chunks, in a step in which the model
                                                      !! runs too.

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
    associate (settings => emulator_settings())
      policy = settings%policy()
    end associate
    policy%reference_pressure = pref_mid
    call check_package(emulator, policy, lags)
    if (climlink_history) call add_history(emulator, climlink_legacy, &
                                             climlink_water_fixer /= 'none')
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
    integer :: c

    if (policy%needs_reference(coupling_step())) then
      allocate (held(begchunk:endchunk))
      call infer(state, pbuf2d, cam_in, coszrs, solin, ztodt, held)
      do c = begchunk, endchunk
        call hold(held(c), state(c), ztodt)
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
    type(chunk_fields), target :: outputs(begchunk:endchunk)
    integer :: c

    call infer(state, pbuf2d, cam_in, coszrs, solin, ztodt, outputs)
    do c = begchunk, endchunk
      call fill_ptend(ptend(c), state(c), outputs(c), fields_taken(outputs(c)))
      call fill_surface(outputs(c), cam_in(c), cam_out(c), pbuf_get_chunk(pbuf2d, c))
    end do
  end subroutine neural_net_all_chunks

  !> Gathers all chunks, runs, and scatters. Collective, so that one rank alone says what failed.
  subroutine infer(state, pbuf2d, cam_in, coszrs, solin, ztodt, outputs)
    type(physics_state), intent(in), target :: state(begchunk:)
    type(physics_buffer_desc), pointer, intent(in) :: pbuf2d(:, :)
    type(cam_in_t), intent(in), target :: cam_in(begchunk:)
    real(r8), intent(in), target :: coszrs(:, begchunk:), solin(:, begchunk:)
    real(r8), intent(in) :: ztodt
    type(chunk_fields), intent(inout), target :: outputs(begchunk:)
    type(climlink_host_fields) :: tables(begchunk:endchunk)
    type(range_use) :: use
    type(climlink_status) :: status
    integer :: c

    call t_startf('nn_pack')
    call emulator%begin(n_column_of_rank, status)
    do c = begchunk, endchunk
      call tables(c)%begin(state(c)%ncol)
      call add_inputs(tables(c), state(c), pbuf_get_chunk(pbuf2d, c), cam_in(c), coszrs(:, c), &
                      solin(:, c))
      if (has_lags) call add_lags(tables(c), lags, emulator)
      if (status%ok()) call send_chunk(tables(c), first_of_chunk(c), c, status)
    end do
    call t_stopf('nn_pack')
    call t_startf('nn_forward')
    if (status%ok()) call emulator%run(status)
    call ask_range_use(emulator, n_column_of_rank, use, status)
    call t_stopf('nn_forward')
    call stop_if_any_failed(status)
    call t_startf('nn_unpack')
    do c = begchunk, endchunk
      call unpack_chunk(tables(c), first_of_chunk(c), use, state(c), coszrs(:, c), ztodt, &
                        outputs(c))
    end do
    call t_stopf('nn_unpack')
    if (climlink_water_fixer /= 'none') call fix_water(state, outputs)
  end subroutine infer

  !> Closes the water of the globe, and counts what that moved. Collective.
  subroutine fix_water(state, outputs)
    type(physics_state), intent(in) :: state(begchunk:)
    type(chunk_fields), intent(inout) :: outputs(begchunk:)
    real(r8) :: added(pcols, begchunk:endchunk)
    type(water_fix) :: fix
    integer :: c

    call t_startf('nn_water_fixer')
    call fix_global_water(state, outputs, added, fix)
    call count_water_fix(fix)
    do c = begchunk, endchunk
      if (climlink_history) call write_water_fix(added(:, c), state(c)%ncol, c)
    end do
    call t_stopf('nn_water_fixer')
  end subroutine fix_water

  !> Sends one chunk. first is the place of its first column in the rank.
  subroutine send_chunk(table, first, lchnk, status)
    type(climlink_host_fields), intent(in) :: table
    integer, intent(in) :: first, lchnk
    type(climlink_status), intent(out) :: status

    call table%send(emulator, status, first)
    if (status%ok()) return
    status%message = 'chunk ' // number_text(lchnk) // ', whose first column is column ' &
                     // number_text(first) // ' of the rank: ' // status%message
  end subroutine send_chunk

  !> Takes one chunk of the outputs and does to them what the old coupling did, in legacy mode.
  subroutine unpack_chunk(table, first, use, state, coszrs, ztodt, outputs)
    type(climlink_host_fields), intent(inout) :: table       !! Of the inputs.
    integer, intent(in) :: first                            !! Position of the chunk's first column.
    type(range_use), intent(in) :: use                       !! Of all columns of the step.
    type(physics_state), intent(in) :: state
    real(r8), intent(in) :: coszrs(:)
    real(r8), intent(in) :: ztodt
    type(chunk_fields), intent(inout), target :: outputs
    type(legacy_counts) :: counts
    type(climlink_status) :: status

    call allocate_fields(outputs, state%ncol)
    call add_outputs(table, outputs)
    call table%receive(emulator, status, first)
    call stop_if_failed(status, '')
    call count_answers(state%ncol)
    if (climlink_history) call write_raw_history(emulator, first, state)
    if (allocated(use%heating)) then
      call count_range_use(use, first, state%ncol, state%lchnk)
      if (climlink_history) call write_range_use(use, first, state%ncol, state%lchnk)
    end if
    if (.not. climlink_legacy) return
    call apply_legacy(state, coszrs, ztodt, cb_strato_water_constraint, dtheta_thred, outputs, &
                      counts)
    call count_legacy(counts, state%lchnk)
    if (climlink_history) call write_legacy_history(counts, state%ncol, state%lchnk)
  end subroutine unpack_chunk

  !> One chunk in a forward of its own, as drivers of the existing coupling call it, from several
  !! threads or not.
  subroutine neural_net(ptend, state, state_aphys1, pbuf, cam_in, cam_out, coszrs, solin, ztodt, &
                        lchnk)
    type(physics_ptend), intent(out) :: ptend
    type(physics_state), intent(in), target :: state
    type(physics_state), intent(in) :: state_aphys1   !! State after the physics of the step before.
    type(physics_buffer_desc), pointer, intent(in) :: pbuf(:)
    type(cam_in_t), intent(in), target :: cam_in
    type(cam_out_t), intent(inout) :: cam_out
    real(r8), intent(in), target :: coszrs(:)         !! [pcols]
    real(r8), intent(in), target :: solin(:)          !! [pcols], W/m2
    real(r8), intent(in) :: ztodt                     !! Time step [s].
    integer, intent(in) :: lchnk
    type(chunk_fields), target :: outputs
    type(climlink_host_fields) :: table
    type(range_use) :: use
    type(climlink_status) :: status
#ifdef CLIMLINK_FORK_HISTORY
    real(r8), target :: room(merge(state%ncol, 0, has_lags), pver, n_fork_lag)
#endif

    if (state%lchnk /= lchnk) call stop_here('neural_net: state is not that of chunk ' &
                                             // number_text(lchnk))
    if (.not. allocated(state_aphys1%t)) call stop_here('neural_net: state_aphys1 has no fields')
    if (any(has_level_list(policy%variables))) then
      call stop_here('cb_partial_coupling_vars names levels, but this driver blends by ' // &
                     'itself, whole outputs: let it call mmf_nn_emulator_begin, run and end')
    end if
    if (climlink_water_fixer /= 'none') then
      call stop_here("climlink_water_fixer = '" // trim(climlink_water_fixer) // "' needs the " // &
                     'answers of all chunks at once; this driver calls neural_net chunk by ' // &
                     'chunk. Leave it out, or let the driver call mmf_nn_emulator_begin, run ' // &
                     'and end')
    end if
    if (climlink_group_size /= 1) then
      call stop_here('climlink_group_size is ' // number_text(climlink_group_size) // &
                     ', but ranks that share a network run it together; this driver calls ' // &
                     'neural_net chunk by chunk. Leave it out, or let the driver call ' // &
                     'mmf_nn_emulator_begin, run and end')
    end if
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
    call table%begin(state%ncol)
    call add_inputs(table, state, pbuf, cam_in, coszrs, solin)
#ifdef CLIMLINK_FORK_HISTORY
    if (has_lags) call add_fork_lags(table, lags, emulator, state, state_aphys1, ztodt, room)
#endif
    call send_chunk(table, 1, lchnk, status)
    call stop_if_failed(status, '')
    call emulator%run(status)
    call ask_range_use(emulator, state%ncol, use, status)
    call stop_if_failed(status, '')
    call unpack_chunk(table, 1, use, state, coszrs, ztodt, outputs)
    !$omp end critical (mmf_nn_forward)
    call fill_ptend(ptend, state, outputs, fields_taken(outputs))
    call fill_surface(outputs, cam_in, cam_out, pbuf)
  end subroutine neural_net

end module mmf_nn_steps
