!> The emulator as E3SM's driver calls it. The names of the existing coupling are kept:
!! mmf_nn_emulator_readnl, init_neural_net, neural_net, and the namelist variables.
!!
!! A driver that calls once per step for all chunks of the rank, with one forward for all of them:
!!
!!     call mmf_nn_emulator_readnl(nlfile)                        ! with the other namelists
!!     call mmf_nn_emulator_register()                            ! in phys_register
!!     call init_neural_net()                                     ! at the end of phys_init
!!     call mmf_nn_emulator_begin(..., run_model, run_emulator)   ! each step, before the physics
!!     if (run_emulator) call mmf_nn_emulator_run(...)
!!     if (run_model) ...                                         ! the model's own physics
!!     call mmf_nn_emulator_end(...)                              ! blends, and keeps what lagged
!!                                                                ! inputs and restarts need
!!
!! docs/e3sm-adapter.md says what happens in each of them. An error ends the model with one message.
module mmf_nn_emulator
  use mmf_nn_master, only: mmf_nn_emulator_end_run1, mmf_nn_emulator_run1
  use mmf_nn_settings, only: cb_do_ramp, cb_partial_coupling, cb_partial_coupling_vars, &
                             cb_ramp_factor, cb_ramp_linear_steps, cb_ramp_option, &
                             cb_ramp_step_0steps, cb_ramp_step_1steps, cb_spinup_step, &
                             mmf_nn_emulator_readnl
  use mmf_nn_steps, only: init_neural_net, mmf_nn_emulator_begin, mmf_nn_emulator_end, &
                          mmf_nn_emulator_final, mmf_nn_emulator_register, mmf_nn_emulator_run, &
                          neural_net, neural_net_all_chunks
  implicit none (type, external)
  private

  public :: mmf_nn_emulator_readnl, mmf_nn_emulator_register, init_neural_net, mmf_nn_emulator_final
  public :: neural_net, neural_net_all_chunks
  public :: mmf_nn_emulator_begin, mmf_nn_emulator_run, mmf_nn_emulator_end
  public :: mmf_nn_emulator_run1, mmf_nn_emulator_end_run1
  public :: cb_partial_coupling, cb_partial_coupling_vars, cb_spinup_step, cb_do_ramp, &
            cb_ramp_linear_steps, cb_ramp_option, cb_ramp_factor, cb_ramp_step_0steps, &
            cb_ramp_step_1steps

end module mmf_nn_emulator
