!> The inputs of a package that E3SM holds at one time: by their names, chunk by chunk. Lagged
!! inputs are in mmf_nn_memory.
module mmf_nn_inputs
  use camsrfexch, only: cam_in_t
  use climlink, only: climlink_emulator, climlink_status
  use climlink_humidity, only: relative_humidity, relative_humidity_legacy
  use constituents, only: cnst_get_ind
  use mmf_nn_settings, only: climlink_legacy, climlink_rh_arithmetic
  use phys_grid, only: get_gcol_p
  use physics_buffer, only: pbuf_get_field, pbuf_get_index, physics_buffer_desc
  use physics_types, only: physics_state
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none (type, external)
  private

  public :: find_inputs, known_input, set_input, buffer_scalar, sent_as_zero

  integer, parameter :: name_length = 16

  !> One input: its name, the units in which E3SM has it, and the physics buffer field that holds
  !! it, if one does.
  type :: host_input
    character(len=name_length) :: name
    character(len=name_length) :: units
    character(len=name_length) :: field
  end type host_input

  type(host_input), parameter :: inputs(29) = [ &
    host_input('state_t', 'K', ''), host_input('state_rh', '1', ''), &
    host_input('state_q0001', 'kg/kg', ''), host_input('state_q0002', 'kg/kg', ''), &
    host_input('state_q0003', 'kg/kg', ''), host_input('state_u', 'm/s', ''), &
    host_input('state_v', 'm/s', ''), host_input('pbuf_ozone', 'kg/kg', 'ozone'), &
    host_input('pbuf_CH4', 'kg/kg', 'CH4'), host_input('pbuf_N2O', 'kg/kg', 'N2O'), &
    host_input('state_ps', 'Pa', ''), host_input('pbuf_SOLIN', 'W/m2', ''), &
    host_input('pbuf_LHFLX', 'W/m2', 'LHFLX'), host_input('pbuf_SHFLX', 'W/m2', 'SHFLX'), &
    host_input('pbuf_TAUX', 'N/m2', 'TAUX'), host_input('pbuf_TAUY', 'N/m2', 'TAUY'), &
    host_input('pbuf_COSZRS', '1', ''), host_input('cam_in_ALDIF', '1', ''), &
    host_input('cam_in_ALDIR', '1', ''), host_input('cam_in_ASDIF', '1', ''), &
    host_input('cam_in_ASDIR', '1', ''), host_input('cam_in_LWUP', 'W/m2', ''), &
    host_input('cam_in_ICEFRAC', '1', ''), host_input('cam_in_LANDFRAC', '1', ''), &
    host_input('cam_in_OCNFRAC', '1', ''), host_input('cam_in_SNOWHICE', 'm', ''), &
    host_input('cam_in_SNOWHLAND', 'm', ''), host_input('clat', '1', ''), &
    host_input('slat', '1', '')]

  !> Position of each input's field in the physics buffer; 0 where there is none or it is not
  !! needed.
  integer :: field_index(size(inputs)) = 0
  integer :: liquid = 0                                   !! Of cloud liquid among the constituents.
  integer :: ice = 0

contains

  !> Whether E3SM has an input of this name at one time.
  pure function known_input(name) result(yes)
    character(len=*), intent(in) :: name
    logical :: yes

    yes = any(inputs%name == name) .or. name == 'icol'
  end function known_input

  !> Whether the existing coupling sends 0 for this input, as legacy mode does.
  pure function sent_as_zero(name) result(yes)
    character(len=*), intent(in) :: name
    logical :: yes

    yes = climlink_legacy .and. (name == 'icol' .or. name == 'tm_state_ps' &
                                 .or. index(name, 'tm_pbuf_') == 1)
  end function sent_as_zero

  !> Finds the fields and checks the units of what the package takes. error is '' or says what does
  !! not fit.
  subroutine find_inputs(emulator, error)
    type(climlink_emulator), intent(in) :: emulator          !! Open.
    character(len=:), allocatable, intent(out) :: error
    integer :: i, at, code

    error = ''
    call cnst_get_ind('CLDLIQ', liquid)
    call cnst_get_ind('CLDICE', ice)
    do i = 1, emulator%n_input()
      at = findloc(inputs%name, emulator%input_name(i), dim=1)
      if (at == 0) cycle
      if (emulator%input_units(i) /= inputs(at)%units) then
        error = 'the package takes ' // trim(inputs(at)%name) // ' in ' // emulator%input_units(i) &
                // ', E3SM has it in ' // trim(inputs(at)%units)
        return
      end if
      if (len_trim(inputs(at)%field) == 0) cycle
      field_index(at) = pbuf_get_index(trim(inputs(at)%field), errcode=code)
      if (field_index(at) < 1) then
        error = 'the package takes ' // trim(inputs(at)%name) // ', but there is no field ' &
                // trim(inputs(at)%field) // ' in the physics buffer'
        if (any(inputs(at)%field == [character(len=5) :: 'LHFLX', 'SHFLX', 'TAUX', 'TAUY'])) then
          error = error // ': set srf_flux_avg = 1 in &phys_ctl_nl'
        end if
        return
      end if
    end do
  end subroutine find_inputs

  !> Gives the emulator one chunk of one input. first is the position of the chunk's first column.
  subroutine set_input(emulator, name, first, state, pbuf, cam_in, coszrs, solin, status)
    type(climlink_emulator), intent(inout) :: emulator
    character(len=*), intent(in) :: name
    integer, intent(in) :: first
    type(physics_state), intent(in) :: state
    type(physics_buffer_desc), pointer, intent(in) :: pbuf(:)
    type(cam_in_t), intent(in) :: cam_in
    real(r8), intent(in) :: coszrs(:)                        !! [pcols]
    real(r8), intent(in) :: solin(:)                         !! [pcols], W/m2
    type(climlink_status), intent(out) :: status
    integer :: n

    n = state%ncol
    select case (name)
    case ('state_t', 'state_rh', 'state_q0001', 'state_q0002', 'state_q0003', 'state_u', 'state_v')
      call set_state(emulator, name, first, state, status)
    case ('pbuf_ozone', 'pbuf_CH4', 'pbuf_N2O')
      call set_gas(emulator, name, first, n, pbuf, status)
    case ('state_ps')
      call emulator%set(name, state%ps(:n), first, status)
    case ('pbuf_SOLIN')
      call emulator%set(name, solin(:n), first, status)
    case ('pbuf_COSZRS')
      call emulator%set(name, coszrs(:n), first, status)
    case ('pbuf_LHFLX', 'pbuf_SHFLX', 'pbuf_TAUX', 'pbuf_TAUY')
      call emulator%set(name, buffer_scalar(name, n, pbuf), first, status)
    case ('clat')
      call emulator%set(name, cos(state%lat(:n)), first, status)
    case ('slat')
      call emulator%set(name, sin(state%lat(:n)), first, status)
    case ('icol')
      call emulator%set(name, global_columns(state%lchnk, n), first, status)
    case default
      call set_surface(emulator, name, first, n, cam_in, status)
    end select
  end subroutine set_input

  subroutine set_state(emulator, name, first, state, status)
    type(climlink_emulator), intent(inout) :: emulator
    character(len=*), intent(in) :: name
    integer, intent(in) :: first
    type(physics_state), intent(in) :: state
    type(climlink_status), intent(out) :: status
    integer :: n

    n = state%ncol
    select case (name)
    case ('state_t')
      call emulator%set(name, state%t(:n, :), first, status)
    case ('state_rh')
      if (climlink_rh_arithmetic == 'legacy') then
        call emulator%set(name, relative_humidity_legacy(state%t(:n, :), state%q(:n, :, 1), &
                                                         state%pmid(:n, :)), first, status)
      else
        call emulator%set(name, relative_humidity(state%t(:n, :), state%q(:n, :, 1), &
                                                  state%pmid(:n, :)), first, status)
      end if
    case ('state_q0001')
      call emulator%set(name, state%q(:n, :, 1), first, status)
    case ('state_q0002')
      call emulator%set(name, state%q(:n, :, liquid), first, status)
    case ('state_q0003')
      call emulator%set(name, state%q(:n, :, ice), first, status)
    case ('state_u')
      call emulator%set(name, state%u(:n, :), first, status)
    case default
      call emulator%set(name, state%v(:n, :), first, status)
    end select
  end subroutine set_state

  subroutine set_gas(emulator, name, first, n, pbuf, status)
    type(climlink_emulator), intent(inout) :: emulator
    character(len=*), intent(in) :: name
    integer, intent(in) :: first, n
    type(physics_buffer_desc), pointer, intent(in) :: pbuf(:)
    type(climlink_status), intent(out) :: status
    type(physics_buffer_desc), pointer :: buffer(:)
    real(r8), pointer :: profile(:, :)

    buffer => pbuf
    call pbuf_get_field(buffer, field_index(findloc(inputs%name, name, dim=1)), profile)
    call emulator%set(name, profile(:n, :), first, status)
  end subroutine set_gas

  !> One of the fluxes [n] that the step before left in the physics buffer.
  function buffer_scalar(name, n, pbuf) result(values)
    character(len=*), intent(in) :: name
    integer, intent(in) :: n
    type(physics_buffer_desc), pointer, intent(in) :: pbuf(:)
    real(r8) :: values(n)
    type(physics_buffer_desc), pointer :: buffer(:)
    real(r8), pointer :: field(:)

    buffer => pbuf
    call pbuf_get_field(buffer, field_index(findloc(inputs%name, name, dim=1)), field)
    values = field(:n)
  end function buffer_scalar

  subroutine set_surface(emulator, name, first, n, cam_in, status)
    type(climlink_emulator), intent(inout) :: emulator
    character(len=*), intent(in) :: name
    integer, intent(in) :: first, n
    type(cam_in_t), intent(in) :: cam_in
    type(climlink_status), intent(out) :: status

    select case (name)
    case ('cam_in_ALDIF')
      call emulator%set(name, cam_in%aldif(:n), first, status)
    case ('cam_in_ALDIR')
      call emulator%set(name, cam_in%aldir(:n), first, status)
    case ('cam_in_ASDIF')
      call emulator%set(name, cam_in%asdif(:n), first, status)
    case ('cam_in_ASDIR')
      call emulator%set(name, cam_in%asdir(:n), first, status)
    case ('cam_in_LWUP')
      call emulator%set(name, cam_in%lwup(:n), first, status)
    case ('cam_in_ICEFRAC')
      call emulator%set(name, cam_in%icefrac(:n), first, status)
    case ('cam_in_LANDFRAC')
      call emulator%set(name, cam_in%landfrac(:n), first, status)
    case ('cam_in_OCNFRAC')
      call emulator%set(name, cam_in%ocnfrac(:n), first, status)
    case ('cam_in_SNOWHICE')
      call emulator%set(name, cam_in%snowhice(:n), first, status)
    case default
      call emulator%set(name, cam_in%snowhland(:n), first, status)
    end select
  end subroutine set_surface

  !> Numbers of a chunk's columns in the whole grid, from 1.
  function global_columns(lchnk, n) result(columns)
    integer, intent(in) :: lchnk, n
    real(r8) :: columns(n)
    integer :: i

    do i = 1, n
      columns(i) = real(get_gcol_p(lchnk, i), r8)
    end do
  end function global_columns

end module mmf_nn_inputs
