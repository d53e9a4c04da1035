! Stand-ins of the model's physics types.
module physics_types
  use, intrinsic :: ieee_arithmetic, only: ieee_quiet_nan, ieee_value
  use constituents, only: pcnst
  use ppgrid, only: pver, pverp
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none
  private
  public :: physics_state, physics_tend, physics_ptend
  public :: physics_ptend_init, physics_ptend_dealloc, physics_state_alloc, physics_tend_alloc

  type physics_state
    integer :: lchnk
    integer :: ngrdcol
    integer :: psetcols = 0
    integer :: ncol = 0
    real(r8), dimension(:), allocatable :: lat, lon, ps, psdry, phis, ulat, ulon
    real(r8), dimension(:, :), allocatable :: t, u, v, s, omega, pmid, pmiddry, pdel, pdeldry, &
      rpdel, rpdeldry, lnpmid, lnpmiddry, exner, zm
    real(r8), dimension(:, :, :), allocatable :: q
    real(r8), dimension(:, :), allocatable :: pint, pintdry, lnpint, lnpintdry, zi
#ifdef CLIMLINK_FORK_HISTORY
    integer :: ntracker = 2
    real(r8), dimension(:, :, :), allocatable :: t_adv, u_adv, t_phy, u_phy
    real(r8), dimension(:, :, :, :), allocatable :: q_adv, q_phy
#endif
  end type physics_state

  type physics_tend
    integer :: psetcols = 0
    real(r8), dimension(:, :), allocatable :: dtdt, dudt, dvdt
    real(r8), dimension(:), allocatable :: flx_net, te_tnd, tw_tnd
  end type physics_tend

  type physics_ptend
    integer :: psetcols = 0
    character(len=24) :: name
    logical :: ls = .false., lu = .false., lv = .false.
    logical, dimension(pcnst) :: lq = .false.
    integer :: top_level, bot_level
    real(r8), dimension(:, :), allocatable :: s, u, v
    real(r8), dimension(:, :, :), allocatable :: q
    real(r8), dimension(:), allocatable :: hflux_srf, hflux_top, taux_srf, taux_top, tauy_srf, &
                                           tauy_top
    real(r8), dimension(:, :), allocatable :: cflx_srf, cflx_top
  end type physics_ptend

contains

  subroutine physics_ptend_init(ptend, psetcols, name, ls, lu, lv, lq)
    use cam_abortutils, only: endrun
    type(physics_ptend), intent(out) :: ptend
    integer, intent(in) :: psetcols
    character(len=*) :: name
    logical, optional :: ls, lu, lv
    logical, dimension(pcnst), optional :: lq

    if (allocated(ptend%s)) call endrun( &
      'physics_ptend_init: ptend should not be allocated before calling this routine')
    ptend%name = name
    ptend%psetcols = psetcols
    ptend%top_level = 1
    ptend%bot_level = pver
    if (present(ls)) ptend%ls = ls
    if (present(lu)) ptend%lu = lu
    if (present(lv)) ptend%lv = lv
    if (present(lq)) ptend%lq = lq
    if (ptend%ls) allocate (ptend%s(psetcols, pver), source=0.0_r8)
    if (ptend%lu) allocate (ptend%u(psetcols, pver), source=0.0_r8)
    if (ptend%lv) allocate (ptend%v(psetcols, pver), source=0.0_r8)
    if (any(ptend%lq)) allocate (ptend%q(psetcols, pver, pcnst), source=0.0_r8)
  end subroutine physics_ptend_init

  subroutine physics_ptend_dealloc(ptend)
    type(physics_ptend), intent(inout) :: ptend

    if (allocated(ptend%s)) deallocate (ptend%s)
    if (allocated(ptend%u)) deallocate (ptend%u)
    if (allocated(ptend%v)) deallocate (ptend%v)
    if (allocated(ptend%q)) deallocate (ptend%q)
    ptend%ls = .false.
    ptend%lu = .false.
    ptend%lv = .false.
    ptend%lq = .false.
  end subroutine physics_ptend_dealloc

  ! Everything begins as NaN, so that columns beyond ncol show where they are used.
  subroutine physics_state_alloc(state, lchnk, psetcols)
    type(physics_state), intent(inout) :: state
    integer, intent(in) :: lchnk, psetcols
    real(r8) :: nan

    nan = ieee_value(nan, ieee_quiet_nan)
    state%lchnk = lchnk
    state%psetcols = psetcols
    state%ngrdcol = psetcols
    allocate (state%lat(psetcols), state%lon(psetcols), state%ps(psetcols), state%phis(psetcols), &
              source=nan)
    allocate (state%t(psetcols, pver), state%u(psetcols, pver), state%v(psetcols, pver), &
              state%s(psetcols, pver), state%pmid(psetcols, pver), state%pdel(psetcols, pver), &
              state%exner(psetcols, pver), state%zm(psetcols, pver), source=nan)
    allocate (state%q(psetcols, pver, pcnst), source=nan)
    allocate (state%pint(psetcols, pverp), state%zi(psetcols, pverp), source=nan)
#ifdef CLIMLINK_FORK_HISTORY
    allocate (state%t_adv(2, psetcols, pver), state%u_adv(2, psetcols, pver), &
              state%t_phy(2, psetcols, pver), state%u_phy(2, psetcols, pver), source=nan)
    allocate (state%q_adv(2, psetcols, pver, pcnst), state%q_phy(2, psetcols, pver, pcnst), &
              source=nan)
#endif
  end subroutine physics_state_alloc

  subroutine physics_tend_alloc(tend, psetcols)
    type(physics_tend), intent(inout) :: tend
    integer, intent(in) :: psetcols

    tend%psetcols = psetcols
    allocate (tend%dtdt(psetcols, pver), tend%dudt(psetcols, pver), tend%dvdt(psetcols, pver), &
              source=0.0_r8)
  end subroutine physics_tend_alloc

end module physics_types

module physics_update_mod
  use physics_types, only: physics_ptend, physics_ptend_dealloc, physics_state, physics_tend
  use ppgrid, only: pver
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none
  private
  public :: physics_update

contains

  ! Applies ptend and frees it. Heights stay as they are here, so that energy follows temperature.
  subroutine physics_update(state, ptend, dt, tend)
    use constituents, only: pcnst
    use physconst, only: cpair, gravit
    type(physics_state), intent(inout) :: state
    type(physics_ptend), intent(inout) :: ptend
    real(r8), intent(in) :: dt
    type(physics_tend), intent(inout), optional :: tend
    integer :: n, m, k

    n = state%ncol
    do k = 1, pver
      if (ptend%ls) state%t(:n, k) = state%t(:n, k) + ptend%s(:n, k) * dt / cpair
      if (ptend%lu) state%u(:n, k) = state%u(:n, k) + ptend%u(:n, k) * dt
      if (ptend%lv) state%v(:n, k) = state%v(:n, k) + ptend%v(:n, k) * dt
      do m = 1, pcnst
        if (ptend%lq(m)) state%q(:n, k, m) = state%q(:n, k, m) + ptend%q(:n, k, m) * dt
      end do
      state%s(:n, k) = cpair * state%t(:n, k) + gravit * state%zm(:n, k) + state%phis(:n)
      if (.not. present(tend)) cycle
      if (ptend%ls) tend%dtdt(:n, k) = tend%dtdt(:n, k) + ptend%s(:n, k) / cpair
      if (ptend%lu) tend%dudt(:n, k) = tend%dudt(:n, k) + ptend%u(:n, k)
      if (ptend%lv) tend%dvdt(:n, k) = tend%dvdt(:n, k) + ptend%v(:n, k)
    end do
    call physics_ptend_dealloc(ptend)
  end subroutine physics_update

end module physics_update_mod

module camsrfexch
  use, intrinsic :: ieee_arithmetic, only: ieee_quiet_nan, ieee_value
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none
  private
  public :: cam_in_t, cam_out_t, cam_export, standin_alloc

  type cam_out_t
    integer :: lchnk
    integer :: ncol
    real(r8), allocatable, dimension(:) :: tbot, zbot, ubot, vbot, pbot, rho, netsw, flwds, &
      precsc, precsl, precc, precl, soll, sols, solld, solsd, thbot, co2prog, co2diag, psl
    real(r8), allocatable :: qbot(:, :)
  end type cam_out_t

  type cam_in_t
    integer :: lchnk
    integer :: ncol
    real(r8), allocatable, dimension(:) :: asdir, asdif, aldir, aldif, lwup, lhf, shf, wsx, wsy, &
      ts, sst, snowhland, snowhice, landfrac, icefrac, ocnfrac
    real(r8), allocatable :: cflx(:, :)
    real(r8), pointer, dimension(:) :: ram1, fv
    real(r8), pointer, dimension(:) :: soilw
    real(r8), pointer, dimension(:, :) :: depvel, dstflx, meganflx
  end type cam_in_t

contains

  subroutine standin_alloc(cam_in, cam_out, lchnk, ncol, pcols)
    type(cam_in_t), intent(inout) :: cam_in
    type(cam_out_t), intent(inout) :: cam_out
    integer, intent(in) :: lchnk, ncol, pcols
    real(r8) :: nan

    nan = ieee_value(nan, ieee_quiet_nan)
    cam_in%lchnk = lchnk
    cam_in%ncol = ncol
    cam_out%lchnk = lchnk
    cam_out%ncol = ncol
    allocate (cam_in%asdir(pcols), cam_in%asdif(pcols), cam_in%aldir(pcols), cam_in%aldif(pcols), &
              cam_in%lwup(pcols), cam_in%snowhland(pcols), cam_in%snowhice(pcols), &
              cam_in%landfrac(pcols), cam_in%icefrac(pcols), cam_in%ocnfrac(pcols), source=nan)
    allocate (cam_out%netsw(pcols), cam_out%flwds(pcols), cam_out%sols(pcols), &
              cam_out%soll(pcols), cam_out%solsd(pcols), cam_out%solld(pcols), &
              cam_out%precc(pcols), cam_out%precsc(pcols), cam_out%psl(pcols), source=nan)
  end subroutine standin_alloc

  subroutine cam_export(state, cam_out, pbuf)
    use physics_buffer, only: pbuf_get_field, pbuf_get_index, physics_buffer_desc
    use physics_types, only: physics_state
    type(physics_state), intent(in) :: state
    type(cam_out_t), intent(inout) :: cam_out
    type(physics_buffer_desc), pointer :: pbuf(:)
    real(r8), pointer :: rain(:), snow(:)
    integer :: n

    n = state%ncol
    call pbuf_get_field(pbuf, pbuf_get_index('PREC_DP'), rain)
    call pbuf_get_field(pbuf, pbuf_get_index('SNOW_DP'), snow)
    cam_out%precc(:n) = rain(:n)
    cam_out%precsc(:n) = snow(:n)
  end subroutine cam_export

end module camsrfexch
