!> Where E3SM has the fields that an emulator changes: the state, ptend, cam_out, and the physics
!! buffer's PREC_DP and SNOW_DP.
module mmf_nn_surface
  use camsrfexch, only: cam_in_t, cam_out_t
  use constituents, only: pcnst
  use mmf_nn_fields, only: allocate_fields, chunk_fields, constituent, fields_taken, named_field, &
                           weight_in
  use physconst, only: cpair
  use physics_buffer, only: pbuf_get_field, pbuf_get_index, physics_buffer_desc
  use physics_types, only: physics_ptend, physics_ptend_init, physics_state
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none (type, external)
  private

  public :: find_precipitation, profiles_of, fill_ptend, surface_of_model, fill_surface, ocean_only

#ifdef MMF_NN_EMULATOR_OCN_ONLY
  logical, parameter :: ocean_only = .true.
#else
  logical, parameter :: ocean_only = .false.
#endif

  integer :: rain_index = 0
  integer :: snow_index = 0

contains

  !> Finds precipitation in the physics buffer. error is '' or says what is missing.
  subroutine find_precipitation(error)
    character(len=:), allocatable, intent(out) :: error
    integer :: code

    error = ''
    rain_index = pbuf_get_index('PREC_DP', errcode=code)
    snow_index = pbuf_get_index('SNOW_DP', errcode=code)
    if (min(rain_index, snow_index) < 1) then
      error = 'there is no field PREC_DP or SNOW_DP in the physics buffer, where ' // &
              'precipitation goes: build E3SM with the MMF'
    end if
  end subroutine find_precipitation

  !> The profiles of a state that an emulator changes; there is room for the surface.
  subroutine profiles_of(state, values)
    type(physics_state), intent(in) :: state
    type(chunk_fields), intent(out) :: values
    integer :: n

    n = state%ncol
    call allocate_fields(values, n)
    values%t = state%t(:n, :)
    values%vapor = state%q(:n, :, constituent(1))
    values%liquid = state%q(:n, :, constituent(2))
    values%ice = state%q(:n, :, constituent(3))
    values%u = state%u(:n, :)
    values%v = state%v(:n, :)
  end subroutine profiles_of

  !> Makes the tendencies that physics_update applies, of those rates that have a weight in list.
  subroutine fill_ptend(ptend, state, rates, list)
    type(physics_ptend), intent(out) :: ptend
    type(physics_state), intent(in) :: state
    type(chunk_fields), intent(in), target :: rates
    type(named_field), intent(in) :: list(:)                 !! fields_taken of rates.
    logical :: lq(pcnst)
    integer :: n

    n = state%ncol
    lq = .false.
    lq(constituent) = [is_on(rates%vapor), is_on(rates%liquid), is_on(rates%ice)]
    call physics_ptend_init(ptend, state%psetcols, 'neural-net', ls=is_on(rates%t), &
                            lu=is_on(rates%u), lv=is_on(rates%v), lq=lq)
    if (ptend%ls) ptend%s(:n, :) = cpair * rates%t
    if (lq(constituent(1))) ptend%q(:n, :, constituent(1)) = rates%vapor
    if (lq(constituent(2))) ptend%q(:n, :, constituent(2)) = rates%liquid
    if (lq(constituent(3))) ptend%q(:n, :, constituent(3)) = rates%ice
    if (ptend%lu) ptend%u(:n, :) = rates%u
    if (ptend%lv) ptend%v(:n, :) = rates%v

  contains

    pure function is_on(profile) result(yes)
      real(r8), intent(in), target :: profile(:, :)
      logical :: yes

      yes = weight_in(list, profile) > 0.0_r8
    end function is_on
  end subroutine fill_ptend

  !> The surface fields as they stand in cam_out and the physics buffer.
  subroutine surface_of_model(cam_out, pbuf, values)
    type(cam_out_t), intent(in) :: cam_out
    type(physics_buffer_desc), pointer, intent(in) :: pbuf(:)
    type(chunk_fields), intent(inout) :: values              !! Of the chunk's columns.
    type(physics_buffer_desc), pointer :: buffer(:)
    real(r8), pointer :: rain(:), snow(:)
    integer :: n

    n = size(values%netsw)
    buffer => pbuf
    call pbuf_get_field(buffer, rain_index, rain)
    call pbuf_get_field(buffer, snow_index, snow)
    values%netsw = cam_out%netsw(:n)
    values%flwds = cam_out%flwds(:n)
    values%precsc = snow(:n)
    values%precc = rain(:n)
    values%sols = cam_out%sols(:n)
    values%soll = cam_out%soll(:n)
    values%solsd = cam_out%solsd(:n)
    values%solld = cam_out%solld(:n)
  end subroutine surface_of_model

  !> Puts surface fields where the model takes them; with MMF_NN_EMULATOR_OCN_ONLY, over nothing but
  !! ocean.
  subroutine fill_surface(values, cam_in, cam_out, pbuf)
    type(chunk_fields), intent(in) :: values
    type(cam_in_t), intent(in) :: cam_in
    type(cam_out_t), intent(inout) :: cam_out
    type(physics_buffer_desc), pointer, intent(in) :: pbuf(:)
    type(physics_buffer_desc), pointer :: buffer(:)
    real(r8), pointer :: rain(:), snow(:)
    integer :: i

    buffer => pbuf
    call pbuf_get_field(buffer, rain_index, rain)
    call pbuf_get_field(buffer, snow_index, snow)
    do i = 1, size(values%netsw)
      if (ocean_only .and. cam_in%ocnfrac(i) < 1.0_r8) cycle
      cam_out%netsw(i) = values%netsw(i)
      cam_out%flwds(i) = values%flwds(i)
      snow(i) = values%precsc(i)
      rain(i) = values%precc(i)
      cam_out%sols(i) = values%sols(i)
      cam_out%soll(i) = values%soll(i)
      cam_out%solsd(i) = values%solsd(i)
      cam_out%solld(i) = values%solld(i)
    end do
  end subroutine fill_surface

end module mmf_nn_surface
