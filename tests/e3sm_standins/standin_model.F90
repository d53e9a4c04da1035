! Stand-ins of the parts of EAM that phys_run1 calls besides its parameterizations. What they are
! given goes into the records.
module shr_orb_mod
  use shr_kind_mod, only: SHR_KIND_R8
  implicit none
contains
  subroutine shr_orb_decl(calday, eccen, mvelpp, lambm0, obliqr, delta, eccf)
    real(SHR_KIND_R8), intent(in) :: calday, eccen, mvelpp, lambm0, obliqr
    real(SHR_KIND_R8), intent(out) :: delta, eccf

    delta = obliqr + lambm0 * calday
    eccf = 1.0_SHR_KIND_R8 + eccen + mvelpp
  end subroutine shr_orb_decl
end module shr_orb_mod

module orbit
contains
  subroutine zenith(calday, clat, clon, coszrs, ncol, dt_avg, uniform_angle)
    use shr_kind_mod, only: r8 => shr_kind_r8
    implicit none
    integer, intent(in) :: ncol
    real(r8), intent(in) :: calday
    real(r8), intent(in) :: clat(ncol)
    real(r8), intent(in) :: clon(ncol)
    real(r8), intent(in), optional :: dt_avg, uniform_angle
    real(r8), intent(out) :: coszrs(ncol)

    coszrs = cos(clat) * cos(clon + calday)
    if (present(dt_avg)) coszrs = coszrs * (1.0_r8 - dt_avg / 86400.0_r8)
    if (present(uniform_angle)) coszrs = cos(uniform_angle)
  end subroutine zenith
end module orbit

module radconstants
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none
  integer, parameter :: nswbands = 2
contains
  subroutine get_ref_solar_band_irrad(band_irrad)
    real(r8), intent(out) :: band_irrad(nswbands)

    band_irrad = [800.0_r8, 560.0_r8]
  end subroutine get_ref_solar_band_irrad
end module radconstants

module rad_solar_var
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none
contains
  subroutine get_variability(sfac)
    use radconstants, only: nswbands
    real(r8), intent(out) :: sfac(nswbands)

    sfac = [1.0_r8, 0.5_r8]
  end subroutine get_variability
end module rad_solar_var

module phys_control
  implicit none
contains
  logical function phys_do_flux_avg()
    phys_do_flux_avg = .true.
  end function phys_do_flux_avg
end module phys_control

module flux_avg
  implicit none
  integer :: standin_flux_calls = 0
contains
  subroutine flux_avg_init(cam_in, pbuf2d)
    use cam_abortutils, only: endrun
    use camsrfexch, only: cam_in_t
    use physics_buffer, only: physics_buffer_desc
    use ppgrid, only: begchunk, endchunk
    use time_manager, only: get_nstep
    type(cam_in_t), intent(in) :: cam_in(begchunk:endchunk)
    type(physics_buffer_desc), pointer :: pbuf2d(:, :)

    if (get_nstep() /= 0 .or. .not. associated(pbuf2d)) call endrun('flux_avg_init')
    if (cam_in(begchunk)%lchnk /= begchunk) call endrun('flux_avg_init: chunk')
    standin_flux_calls = standin_flux_calls + 1
  end subroutine flux_avg_init
end module flux_avg

module check_energy
  implicit none
  integer :: standin_gmean_calls = 0
contains
  subroutine check_energy_gmean(state, pbuf2d, dtime, nstep)
    use cam_abortutils, only: endrun
    use physics_buffer, only: physics_buffer_desc
    use physics_types, only: physics_state
    use ppgrid, only: begchunk, endchunk
    use shr_kind_mod, only: r8 => shr_kind_r8
    use time_manager, only: get_nstep, get_step_size
    type(physics_state), intent(in), dimension(begchunk:endchunk) :: state
    type(physics_buffer_desc), pointer :: pbuf2d(:, :)
    real(r8), intent(in) :: dtime
    integer, intent(in) :: nstep

    if (nstep /= get_nstep() .or. nint(dtime) /= get_step_size() &
        .or. .not. associated(pbuf2d)) call endrun('check_energy_gmean')
    if (state(begchunk)%lchnk /= begchunk) call endrun('check_energy_gmean: chunk')
    standin_gmean_calls = standin_gmean_calls + 1
  end subroutine check_energy_gmean
end module check_energy

module cam_diagnostics
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none
contains
  subroutine diag_phys_writeout(state, psl)
    use cam_history, only: standin_record
    use physics_types, only: physics_state
    use ppgrid, only: pcols
    type(physics_state), intent(inout) :: state
    real(r8), optional, intent(out) :: psl(pcols)

    if (.not. present(psl)) error stop 'diag_phys_writeout: no psl'
    psl = state%ps
    call standin_record('diag_t', state%t(:state%ncol, :), state%lchnk)
  end subroutine diag_phys_writeout

  subroutine diag_conv(state, ztodt, pbuf)
    use physics_buffer, only: physics_buffer_desc
    use physics_types, only: physics_state
    real(r8), intent(in) :: ztodt
    type(physics_state), intent(in) :: state
    type(physics_buffer_desc), pointer :: pbuf(:)

    if (ztodt <= 0.0_r8 .or. state%ncol < 0 .or. .not. associated(pbuf)) error stop 'diag_conv'
  end subroutine diag_conv

  subroutine diag_export(cam_out)
    use cam_history, only: standin_record
    use camsrfexch, only: cam_out_t
    type(cam_out_t), intent(inout) :: cam_out

    call standin_record('diag_precc', reshape(cam_out%precc(:cam_out%ncol), [cam_out%ncol, 1]), &
                        cam_out%lchnk)
  end subroutine diag_export
end module cam_diagnostics

module cloud_diagnostics
  implicit none
contains
  subroutine cloud_diagnostics_calc(state, pbuf)
    use physics_buffer, only: physics_buffer_desc
    use physics_types, only: physics_state
    type(physics_state), intent(in) :: state
    type(physics_buffer_desc), pointer :: pbuf(:)

    if (state%ncol < 0 .or. .not. associated(pbuf)) error stop 'cloud_diagnostics_calc'
  end subroutine cloud_diagnostics_calc
end module cloud_diagnostics

module tropopause
  implicit none
contains
  subroutine tropopause_output(pstate)
    use physics_types, only: physics_state
    type(physics_state), intent(in) :: pstate

    if (pstate%ncol < 0) error stop 'tropopause_output'
  end subroutine tropopause_output
end module tropopause
