!> For a driver without places for an emulator, as E3SM's own phys_run1: two calls, one before and
!! one after the model's physics.
!!
!!     call mmf_nn_emulator_run1(phys_state, ztodt, phys_tend, pbuf2d, cam_in, cam_out, emulated)
!!     if (emulated) return
!!     ...                                                        ! the rest of phys_run1
!!     call mmf_nn_emulator_end_run1(phys_state, ztodt, phys_tend, pbuf2d, cam_in, cam_out)
!!
!! The first call stands after phys_timestep_init. In a step of the emulator alone it does all that
!! is left to do of phys_run1: the state that tphysac takes for its diagnostics, the emulator,
!! history, export to the surface. Averaged fluxes and energy of the global mean phys_run1 has done
!! before.
module mmf_nn_master
  use cam_control_mod, only: eccen, lambm0, mvelpp, obliqr
  use cam_diagnostics, only: diag_conv, diag_export, diag_phys_writeout
  use camsrfexch, only: cam_export, cam_in_t, cam_out_t
  use cloud_diagnostics, only: cloud_diagnostics_calc
  use mmf_nn_fields, only: constituent
  use mmf_nn_steps, only: mmf_nn_emulator_begin, mmf_nn_emulator_end, mmf_nn_emulator_run
  use orbit, only: zenith
  use phys_grid, only: get_rlat_all_p, get_rlon_all_p
  use physics_buffer, only: pbuf_get_chunk, pbuf_get_field, pbuf_get_index, physics_buffer_desc
  use physics_types, only: physics_state, physics_tend
  use ppgrid, only: begchunk, endchunk, pcols
  use rad_solar_var, only: get_variability
  use radconstants, only: get_ref_solar_band_irrad, nswbands
  use shr_kind_mod, only: r8 => shr_kind_r8
  use shr_orb_mod, only: shr_orb_decl
  use time_manager, only: get_curr_calday, get_step_size
  use tropopause, only: tropopause_output
  implicit none (type, external)
  private

  public :: mmf_nn_emulator_run1, mmf_nn_emulator_end_run1

  logical :: blends = .false.                                !! Whether both run in this step.

contains

  !> Does the whole step if the emulator alone runs in it; else leaves it to the model, and holds
  !! the emulator's answer if both run.
  subroutine mmf_nn_emulator_run1(phys_state, ztodt, phys_tend, pbuf2d, cam_in, cam_out, emulated)
    type(physics_state), intent(inout) :: phys_state(begchunk:)
    real(r8), intent(in) :: ztodt                            !! Time step [s].
    type(physics_tend), intent(inout) :: phys_tend(begchunk:)
    type(physics_buffer_desc), pointer, intent(in) :: pbuf2d(:, :)
    type(cam_in_t), intent(in) :: cam_in(begchunk:)
    type(cam_out_t), intent(inout) :: cam_out(begchunk:)
    logical, intent(out) :: emulated                         !! Whether the step is done.
    real(r8) :: coszrs(pcols, begchunk:endchunk), solin(pcols, begchunk:endchunk)
    logical :: run_model, run_emulator

    call find_sun(phys_state, coszrs, solin)
    call mmf_nn_emulator_begin(phys_state, pbuf2d, coszrs, solin, run_model, run_emulator)
    emulated = .not. run_model
    blends = run_model .and. run_emulator
    if (emulated) call open_step(phys_state, phys_tend, pbuf2d)
    if (run_emulator) call mmf_nn_emulator_run(phys_state, phys_tend, pbuf2d, cam_in, cam_out, &
                                               coszrs, solin, ztodt)
    if (.not. emulated) return
    call mmf_nn_emulator_end(phys_state, phys_tend, pbuf2d, cam_in, cam_out, ztodt)
    call close_step(phys_state, ztodt, pbuf2d, cam_out)
  end subroutine mmf_nn_emulator_run1

  !> Ends a step of the model's physics: blends if both run, and exports again what that changed.
  subroutine mmf_nn_emulator_end_run1(phys_state, ztodt, phys_tend, pbuf2d, cam_in, cam_out)
    type(physics_state), intent(inout) :: phys_state(begchunk:)
    real(r8), intent(in) :: ztodt                            !! Time step [s].
    type(physics_tend), intent(inout) :: phys_tend(begchunk:)
    type(physics_buffer_desc), pointer, intent(in) :: pbuf2d(:, :)
    type(cam_in_t), intent(in) :: cam_in(begchunk:)
    type(cam_out_t), intent(inout) :: cam_out(begchunk:)
    type(physics_buffer_desc), pointer :: buffer(:)
    integer :: c

    call mmf_nn_emulator_end(phys_state, phys_tend, pbuf2d, cam_in, cam_out, ztodt)
    if (.not. blends) return
    do c = begchunk, endchunk
      buffer => pbuf_get_chunk(pbuf2d, c)
      call cam_export(phys_state(c), cam_out(c), buffer)
    end do
  end subroutine mmf_nn_emulator_end_run1

  !> Sun of the step before, which is the one that radiation used when training data were written:
  !! cosine of the zenith angle, averaged over the step, and downward shortwave at the top.
  subroutine find_sun(phys_state, coszrs, solin)
    type(physics_state), intent(in) :: phys_state(begchunk:)
    real(r8), intent(out) :: coszrs(:, begchunk:)            !! [pcols, chunk]
    real(r8), intent(out) :: solin(:, begchunk:)             !! [pcols, chunk], W/m2
    real(r8) :: latitude(pcols), longitude(pcols), irradiance(nswbands), variability(nswbands)
    real(r8) :: day, declination, distance_factor
    integer :: c, n

    call get_ref_solar_band_irrad(irradiance)
    call get_variability(variability)
    day = get_curr_calday(-get_step_size())
    call shr_orb_decl(day, eccen, mvelpp, lambm0, obliqr, declination, distance_factor)
    coszrs = 0.0_r8
    do c = begchunk, endchunk
      n = phys_state(c)%ncol
      call get_rlat_all_p(c, n, latitude)
      call get_rlon_all_p(c, n, longitude)
      call zenith(day, latitude, longitude, coszrs(:, c), n, real(get_step_size(), r8))
    end do
    solin = sum(variability * irradiance) * distance_factor * max(coszrs, 0.0_r8)
  end subroutine find_sun

  !> What phys_run1 does between phys_timestep_init and its parameterizations.
  subroutine open_step(phys_state, phys_tend, pbuf2d)
    type(physics_state), intent(in) :: phys_state(begchunk:)
    type(physics_tend), intent(inout) :: phys_tend(begchunk:)
    type(physics_buffer_desc), pointer, intent(in) :: pbuf2d(:, :)
    integer :: c, n

    do c = begchunk, endchunk
      n = phys_state(c)%ncol
      phys_tend(c)%dtdt(:n, :) = 0.0_r8
      phys_tend(c)%dudt(:n, :) = 0.0_r8
      phys_tend(c)%dvdt(:n, :) = 0.0_r8
      call keep_profile('TINI', phys_state(c)%t(:n, :), pbuf_get_chunk(pbuf2d, c))
      call keep_profile('QINI', phys_state(c)%q(:n, :, constituent(1)), pbuf_get_chunk(pbuf2d, c))
      call keep_profile('CLDLIQINI', phys_state(c)%q(:n, :, constituent(2)), &
                        pbuf_get_chunk(pbuf2d, c))
      call keep_profile('CLDICEINI', phys_state(c)%q(:n, :, constituent(3)), &
                        pbuf_get_chunk(pbuf2d, c))
    end do
  end subroutine open_step

  subroutine keep_profile(name, values, pbuf)
    character(len=*), intent(in) :: name
    real(r8), intent(in) :: values(:, :)
    type(physics_buffer_desc), pointer, intent(in) :: pbuf(:)
    type(physics_buffer_desc), pointer :: buffer(:)
    real(r8), pointer :: field(:, :)

    buffer => pbuf
    call pbuf_get_field(buffer, pbuf_get_index(name), field)
    field(:size(values, 1), :) = values
  end subroutine keep_profile

  !> What phys_run1 does after its parameterizations.
  subroutine close_step(phys_state, ztodt, pbuf2d, cam_out)
    type(physics_state), intent(inout) :: phys_state(begchunk:)
    real(r8), intent(in) :: ztodt
    type(physics_buffer_desc), pointer, intent(in) :: pbuf2d(:, :)
    type(cam_out_t), intent(inout) :: cam_out(begchunk:)
    type(physics_buffer_desc), pointer :: buffer(:)
    integer :: c

    do c = begchunk, endchunk
      buffer => pbuf_get_chunk(pbuf2d, c)
      call diag_phys_writeout(phys_state(c), cam_out(c)%psl)
      call diag_conv(phys_state(c), ztodt, buffer)
      call cloud_diagnostics_calc(phys_state(c), buffer)
      call tropopause_output(phys_state(c))
      call cam_export(phys_state(c), cam_out(c), buffer)
      call diag_export(cam_out(c))
    end do
  end subroutine close_step

end module mmf_nn_master
