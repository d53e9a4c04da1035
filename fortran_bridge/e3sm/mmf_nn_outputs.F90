!> What a package answers for one chunk, and where E3SM has it: ptend, the physics buffer's PREC_DP
!! and SNOW_DP, cam_out.
module mmf_nn_outputs
  use camsrfexch, only: cam_in_t, cam_out_t
  use climlink, only: climlink_emulator, climlink_status
  use constituents, only: cnst_get_ind, pcnst
  use physconst, only: cpair
  use physics_buffer, only: pbuf_get_field, pbuf_get_index, physics_buffer_desc
  use physics_types, only: physics_ptend, physics_ptend_init, physics_state
  use ppgrid, only: pver
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none (type, external)
  private

  public :: chunk_outputs, find_outputs, get_outputs, fill_ptend, surface_of_model, fill_surface, &
            constituent

  integer, parameter :: name_length = 16

  !> In the order of the third index of chunk_outputs%tendency.
  character(len=*), parameter, public :: tendency_names(6) = &
    [character(len=name_length) :: 'ptend_t', 'ptend_q0001', &
    'ptend_q0002', 'ptend_q0003', 'ptend_u', 'ptend_v']
  character(len=*), parameter, public :: tendency_units(6) = [character(len=8) :: 'K/s', &
    'kg/kg/s', 'kg/kg/s', 'kg/kg/s', 'm/s2', 'm/s2']

  !> In the order of the second index of chunk_outputs%surface.
  character(len=*), parameter, public :: surface_names(8) = &
    [character(len=name_length) :: 'cam_out_NETSW', 'cam_out_FLWDS', &
    'cam_out_PRECSC', 'cam_out_PRECC', 'cam_out_SOLS', 'cam_out_SOLL', 'cam_out_SOLSD', &
    'cam_out_SOLLD']
  character(len=*), parameter, public :: surface_units(8) = [character(len=8) :: 'W/m2', 'W/m2', &
    'm/s', 'm/s', 'W/m2', 'W/m2', 'W/m2', 'W/m2']
  integer, parameter, public :: netsw = 1
  integer, parameter, public :: first_solar = 5              !! From here on: the four kinds of
                                                             !! sunlight at the surface.
  integer, parameter, public :: snow = 3
  integer, parameter, public :: precipitation = 4

  !> The 368 outputs of a chunk.
  type :: chunk_outputs
    real(r8), allocatable :: tendency(:, :, :)            !! [column, level, 6]; temperature in K/s.
    real(r8), allocatable :: surface(:, :)                !! [column, 8]
  end type chunk_outputs

#ifdef MMF_NN_EMULATOR_OCN_ONLY
  logical, parameter :: ocean_only = .true.
#else
  logical, parameter :: ocean_only = .false.
#endif

  integer :: rain_index = 0
  integer :: snow_index = 0
  integer :: constituent(3) = 0                              !! Vapour, cloud liquid, cloud ice.

contains

  !> Finds the destinations and checks that the package gives all that they need. error is '' or
  !! says what is missing.
  subroutine find_outputs(emulator, error)
    type(climlink_emulator), intent(in) :: emulator          !! Open.
    character(len=:), allocatable, intent(out) :: error
    integer :: code

    error = ''
    call check_names(emulator, tendency_names, tendency_units, error)
    if (len(error) == 0) call check_names(emulator, surface_names, surface_units, error)
    constituent(1) = 1
    call cnst_get_ind('CLDLIQ', constituent(2))
    call cnst_get_ind('CLDICE', constituent(3))
    rain_index = pbuf_get_index('PREC_DP', errcode=code)
    snow_index = pbuf_get_index('SNOW_DP', errcode=code)
    if (len(error) == 0 .and. min(rain_index, snow_index) < 1) then
      error = &
        'there is no field PREC_DP or SNOW_DP in the physics buffer, where precipitation ' // &
        'goes: build E3SM with the MMF'
    end if
  end subroutine find_outputs

  subroutine check_names(emulator, names, units, error)
    type(climlink_emulator), intent(in) :: emulator
    character(len=*), intent(in) :: names(:), units(:)
    character(len=:), allocatable, intent(inout) :: error
    integer :: i, k
    logical :: found

    do i = 1, size(names)
      found = .false.
      do k = 1, emulator%n_output()
        if (emulator%output_name(k) /= names(i)) cycle
        found = .true.
        if (emulator%output_units(k) /= units(i)) then
          error = 'the package gives ' // trim(names(i)) // ' in ' // emulator%output_units(k) &
            // ', E3SM takes ' // trim(units(i))
        end if
      end do
      if (.not. found) error = 'the package has no output ' // trim(names(i)) &
        // ', which E3SM needs'
      if (len(error) > 0) return
    end do
  end subroutine check_names

  !> Takes one chunk of all outputs. first is the position of the chunk's first column.
  subroutine get_outputs(emulator, first, n_column, outputs, status)
    type(climlink_emulator), intent(in) :: emulator
    integer, intent(in) :: first, n_column
    type(chunk_outputs), intent(out) :: outputs
    type(climlink_status), intent(out) :: status
    integer :: i

    allocate (outputs%tendency(n_column, pver, size(tendency_names)), &
              outputs%surface(n_column, size(surface_names)))
    do i = 1, size(tendency_names)
      if (status%ok()) call emulator%get(trim(tendency_names(i)), outputs%tendency(:, :, i), &
                                         first, status)
    end do
    do i = 1, size(surface_names)
      if (status%ok()) call emulator%get(trim(surface_names(i)), outputs%surface(:, i), first, &
                                         status)
    end do
  end subroutine get_outputs

  !> Makes the tendencies that physics_update applies.
  subroutine fill_ptend(ptend, state, outputs)
    type(physics_ptend), intent(out) :: ptend
    type(physics_state), intent(in) :: state
    type(chunk_outputs), intent(in) :: outputs
    logical :: lq(pcnst)
    integer :: i, n

    n = state%ncol
    lq = .false.
    lq(constituent) = .true.
    call physics_ptend_init(ptend, state%psetcols, 'neural-net', ls=.true., lu=.true., lv=.true., &
                            lq=lq)
    ptend%s(:n, :) = cpair * outputs%tendency(:, :, 1)
    do i = 1, 3
      ptend%q(:n, :, constituent(i)) = outputs%tendency(:, :, 1 + i)
    end do
    ptend%u(:n, :) = outputs%tendency(:, :, 5)
    ptend%v(:n, :) = outputs%tendency(:, :, 6)
  end subroutine fill_ptend

  !> The surface fields as they stand in cam_out and the physics buffer [n, 8].
  function surface_of_model(n, cam_out, pbuf) result(surface)
    integer, intent(in) :: n
    type(cam_out_t), intent(in) :: cam_out
    type(physics_buffer_desc), pointer, intent(in) :: pbuf(:)
    real(r8) :: surface(n, 8)
    type(physics_buffer_desc), pointer :: buffer(:)
    real(r8), pointer :: rain_field(:), snow_field(:)

    buffer => pbuf
    call pbuf_get_field(buffer, rain_index, rain_field)
    call pbuf_get_field(buffer, snow_index, snow_field)
    surface(:, 1) = cam_out%netsw(:n)
    surface(:, 2) = cam_out%flwds(:n)
    surface(:, snow) = snow_field(:n)
    surface(:, precipitation) = rain_field(:n)
    surface(:, 5) = cam_out%sols(:n)
    surface(:, 6) = cam_out%soll(:n)
    surface(:, 7) = cam_out%solsd(:n)
    surface(:, 8) = cam_out%solld(:n)
  end function surface_of_model

  !> Puts surface fields [n, 8] where the model takes them; with MMF_NN_EMULATOR_OCN_ONLY, over
  !! nothing but ocean.
  subroutine fill_surface(surface, cam_in, cam_out, pbuf)
    real(r8), intent(in) :: surface(:, :)
    type(cam_in_t), intent(in) :: cam_in
    type(cam_out_t), intent(inout) :: cam_out
    type(physics_buffer_desc), pointer, intent(in) :: pbuf(:)
    type(physics_buffer_desc), pointer :: buffer(:)
    real(r8), pointer :: rain_field(:), snow_field(:)
    logical :: over(size(surface, 1))
    integer :: i

    over = .not. ocean_only .or. cam_in%ocnfrac(:size(over)) >= 1.0_r8
    buffer => pbuf
    call pbuf_get_field(buffer, rain_index, rain_field)
    call pbuf_get_field(buffer, snow_index, snow_field)
    do i = 1, size(over)
      if (.not. over(i)) cycle
      cam_out%netsw(i) = surface(i, 1)
      cam_out%flwds(i) = surface(i, 2)
      snow_field(i) = surface(i, snow)
      rain_field(i) = surface(i, precipitation)
      cam_out%sols(i) = surface(i, 5)
      cam_out%soll(i) = surface(i, 6)
      cam_out%solsd(i) = surface(i, 7)
      cam_out%solld(i) = surface(i, 8)
    end do
  end subroutine fill_surface

end module mmf_nn_outputs
