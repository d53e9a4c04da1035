!> E3SM's table of variables: what it gives to a package and takes from it, by name, with its units
!! and the array that holds it. No other file of the adapter names a variable.
module mmf_nn_fields
  use camsrfexch, only: cam_in_t
  use climlink, only: climlink_emulator, climlink_host_fields, climlink_status, climlink_variable
  use climlink_humidity, only: relative_humidity_legacy
  use climlink_lagged_memory, only: climlink_lags
  use climlink_vertical_remap, only: climlink_remap
  use constituents, only: cnst_get_ind
  use mmf_nn_settings, only: climlink_legacy, climlink_rh_arithmetic
  use phys_grid, only: get_gcol_p
  use physics_buffer, only: pbuf_get_field, pbuf_get_index, physics_buffer_desc
  use physics_types, only: physics_state
  use ppgrid, only: pver
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none (type, external)
  private

  public :: n_taken, chunk_fields, named_field, constituent, find_constituents, add_inputs, &
            add_lags, fields_taken, add_outputs, allocate_fields, weight_in, takes_humidity, &
            combination, remap
#ifdef CLIMLINK_FORK_HISTORY
  public :: add_fork_lags, n_fork_lag

  integer, parameter :: n_fork_lag = 16
#endif

  integer, parameter :: n_taken = 14                  !! Outputs that E3SM takes.

  !> What an emulator changes in one chunk: rates or values of the state's fields [column, level],
  !! and the fields that the surface gets [column].
  type :: chunk_fields
    real(r8), allocatable :: t(:, :), vapor(:, :), liquid(:, :), ice(:, :), u(:, :), v(:, :)
    real(r8), allocatable :: netsw(:), flwds(:), precsc(:), precc(:), sols(:), soll(:), solsd(:), &
                             solld(:)
  end type chunk_fields

  !> One of them with the name and units of the output that it is; a profile or a number per column.
  type :: named_field
    character(len=16) :: name = ''
    character(len=8) :: units = ''
    character(len=16) :: species = ''                 !! The input whose tendency it is, of water.
    logical :: is_profile = .false.
    real(r8), pointer :: profile(:, :) => null()
    real(r8), pointer :: scalar(:) => null()
    real(r8) :: weight = 1.0_r8                       !! Of the emulator, in partial coupling.
  end type named_field

  integer, protected :: constituent(3) = [1, 0, 0]    !! Vapour, cloud liquid, cloud ice.

  type(climlink_remap), target :: remap               !! Active where the package has other levels.

  !> Stand where the model has nothing to show yet.
  type(physics_state), target :: no_state
  type(cam_in_t), target :: no_surface
  real(r8), pointer :: nothing(:, :) => null()

contains

  subroutine find_constituents()
    call cnst_get_ind('CLDLIQ', constituent(2))
    call cnst_get_ind('CLDICE', constituent(3))
  end subroutine find_constituents

  !> Declares all inputs that E3SM has at one time, of one chunk; without arrays where an argument
  !! is absent. The table points at the arguments.
  subroutine add_inputs(fields, state, pbuf, cam_in, coszrs, solin)
    type(climlink_host_fields), intent(inout) :: fields      !! After begin.
    type(physics_state), intent(in), optional, target :: state
    type(physics_buffer_desc), pointer, intent(in), optional :: pbuf(:)
    type(cam_in_t), intent(in), optional, target :: cam_in
    real(r8), intent(in), optional, target :: coszrs(:)      !! [pcols]
    real(r8), intent(in), optional, target :: solin(:)       !! [pcols], W/m2
    type(physics_state), pointer :: s
    type(cam_in_t), pointer :: surface
    real(r8), pointer :: vapor(:, :), liquid(:, :), ice(:, :)

    s => no_state
    if (present(state)) s => state
    surface => no_surface
    if (present(cam_in)) surface => cam_in
    vapor => nothing
    liquid => nothing
    ice => nothing
    if (present(state)) then
      call fields%remap_levels(remap, state%pint)
      vapor => state%q(:, :, constituent(1))
      liquid => state%q(:, :, constituent(2))
      ice => state%q(:, :, constituent(3))
    end if
    call fields%add_profile('state_t', 'K', s%t)
    if (climlink_rh_arithmetic == 'legacy') then
      call fields%add_provider('state_rh', '1', legacy_humidity, 'sample level', s)
    else
      call fields%add_relative_humidity('state_rh', pressure='state_pmid', temperature='state_t', &
                                        vapor='state_q0001')
    end if
    call fields%add_profile('state_pmid', 'Pa', s%pmid, is_pressure=.true.)
    call fields%add_profile('state_q0001', 'kg/kg', vapor)
    call fields%add_profile('state_q0002', 'kg/kg', liquid)
    call fields%add_profile('state_q0003', 'kg/kg', ice)
    call fields%add_profile('state_u', 'm/s', s%u)
    call fields%add_profile('state_v', 'm/s', s%v)
    call add_buffered(fields, 'pbuf_ozone', 'kg/kg', 'ozone', .true., pbuf)
    call add_buffered(fields, 'pbuf_CH4', 'kg/kg', 'CH4', .true., pbuf)
    call add_buffered(fields, 'pbuf_N2O', 'kg/kg', 'N2O', .true., pbuf)
    call fields%add_scalar('state_ps', 'Pa', s%ps)
    call fields%add_scalar('pbuf_SOLIN', 'W/m2', solin)
    call add_buffered(fields, 'pbuf_LHFLX', 'W/m2', 'LHFLX', .false., pbuf)
    call add_buffered(fields, 'pbuf_SHFLX', 'W/m2', 'SHFLX', .false., pbuf)
    call add_buffered(fields, 'pbuf_TAUX', 'N/m2', 'TAUX', .false., pbuf)
    call add_buffered(fields, 'pbuf_TAUY', 'N/m2', 'TAUY', .false., pbuf)
    call fields%add_scalar('pbuf_COSZRS', '1', coszrs)
    call fields%add_scalar('cam_in_ALDIF', '1', surface%aldif)
    call fields%add_scalar('cam_in_ALDIR', '1', surface%aldir)
    call fields%add_scalar('cam_in_ASDIF', '1', surface%asdif)
    call fields%add_scalar('cam_in_ASDIR', '1', surface%asdir)
    call fields%add_scalar('cam_in_LWUP', 'W/m2', surface%lwup)
    call fields%add_scalar('cam_in_ICEFRAC', '1', surface%icefrac)
    call fields%add_scalar('cam_in_LANDFRAC', '1', surface%landfrac)
    call fields%add_scalar('cam_in_OCNFRAC', '1', surface%ocnfrac)
    call fields%add_scalar('cam_in_SNOWHICE', 'm', surface%snowhice)
    call fields%add_scalar('cam_in_SNOWHLAND', 'm', surface%snowhland)
    call fields%add_provider('clat', '1', cosine_of_latitude, 'sample', s)
    call fields%add_provider('slat', '1', sine_of_latitude, 'sample', s)
    call fields%add_provider('icol', '1', global_column, 'sample', s)
  end subroutine add_inputs

  !> Declares what the physics buffer holds in a field, unless this model has no such field.
  subroutine add_buffered(fields, name, units, field, is_profile, pbuf)
    type(climlink_host_fields), intent(inout) :: fields
    character(len=*), intent(in) :: name, units, field
    logical, intent(in) :: is_profile
    type(physics_buffer_desc), pointer, intent(in), optional :: pbuf(:)
    type(physics_buffer_desc), pointer :: buffer(:)
    real(r8), pointer :: profile(:, :), scalar(:)
    integer :: code, at

    nullify (profile, scalar)
    at = pbuf_get_index(field, errcode=code)
    if (at < 1) return
    if (present(pbuf)) buffer => pbuf
    if (is_profile) then
      if (present(pbuf)) call pbuf_get_field(buffer, at, profile)
      call fields%add_profile(name, units, profile)
    else
      if (present(pbuf)) call pbuf_get_field(buffer, at, scalar)
      call fields%add_scalar(name, units, scalar)
    end if
  end subroutine add_buffered

  ! What E3SM has no array of is made from a chunk's state, the context. One provider for each, so
  ! that none gives the values of another's name.

  subroutine legacy_humidity(context, name, first_sample, values, status)
    class(*), intent(in) :: context
    character(len=*), intent(in) :: name
    integer, intent(in) :: first_sample
    real(r8), intent(out) :: values(:, :)
    type(climlink_status), intent(inout) :: status
    integer :: n

    call zero(context, name, first_sample, values, status)
    n = size(values, 1)
    select type (context)
    type is (physics_state)
      values = relative_humidity_legacy(context%t(:n, :), context%q(:n, :, constituent(1)), &
                                        context%pmid(:n, :))
    end select
  end subroutine legacy_humidity

  subroutine cosine_of_latitude(context, name, first_sample, values, status)
    class(*), intent(in) :: context
    character(len=*), intent(in) :: name
    integer, intent(in) :: first_sample
    real(r8), intent(out) :: values(:, :)
    type(climlink_status), intent(inout) :: status

    call zero(context, name, first_sample, values, status)
    select type (context)
    type is (physics_state)
      values(:, 1) = cos(context%lat(:size(values, 1)))
    end select
  end subroutine cosine_of_latitude

  subroutine sine_of_latitude(context, name, first_sample, values, status)
    class(*), intent(in) :: context
    character(len=*), intent(in) :: name
    integer, intent(in) :: first_sample
    real(r8), intent(out) :: values(:, :)
    type(climlink_status), intent(inout) :: status

    call zero(context, name, first_sample, values, status)
    select type (context)
    type is (physics_state)
      values(:, 1) = sin(context%lat(:size(values, 1)))
    end select
  end subroutine sine_of_latitude

  !> Number of each column in the whole grid, from 1; 0 in legacy mode, as the old coupling sent.
  subroutine global_column(context, name, first_sample, values, status)
    class(*), intent(in) :: context
    character(len=*), intent(in) :: name
    integer, intent(in) :: first_sample
    real(r8), intent(out) :: values(:, :)
    type(climlink_status), intent(inout) :: status
    integer :: i

    call zero(context, name, first_sample, values, status)
    if (climlink_legacy) return
    select type (context)
    type is (physics_state)
      values(:, 1) = [(real(get_gcol_p(context%lchnk, i), r8), i=1, size(values, 1))]
    end select
  end subroutine global_column

  !> Checks a call as all providers do, and is one itself: for the scalars of the step before, in
  !! legacy mode.
  subroutine zero(context, name, first_sample, values, status)
    class(*), intent(in) :: context
    character(len=*), intent(in) :: name
    integer, intent(in) :: first_sample
    real(r8), intent(out) :: values(:, :)
    type(climlink_status), intent(inout) :: status

    values = 0.0_r8
    if (.not. status%ok()) return
    select type (context)
    type is (physics_state)
      if (first_sample >= 1) return
    end select
    status%message = name // ': no state to make it from'
  end subroutine zero

  !> Declares the lagged inputs that a package may take, of the adapter's own memory.
  subroutine add_lags(fields, lags, emulator)
    type(climlink_host_fields), intent(inout) :: fields
    type(climlink_lags), intent(in), target :: lags          !! Initialized.
    type(climlink_emulator), intent(in) :: emulator          !! Open.

    call lags%add_to(fields, profiles_only=climlink_legacy)
    if (climlink_legacy) call add_zeros(fields, lags, emulator)
  end subroutine add_lags

  !> Declares the lagged scalars that a package takes as 0, whatever their units.
  subroutine add_zeros(fields, lags, emulator)
    type(climlink_host_fields), intent(inout) :: fields
    type(climlink_lags), intent(in), target :: lags
    type(climlink_emulator), intent(in) :: emulator
    type(climlink_host_fields) :: known
    type(climlink_variable) :: input
    integer :: i

    call known%begin(0)
    call lags%add_to(known)
    do i = 1, emulator%n_input()
      input = emulator%input(i)
      if (.not. known%has(input%name) .or. fields%has(input%name)) cycle
      call fields%add_provider(input%name, input%units, zero, 'sample', no_state)
    end do
  end subroutine add_zeros
#ifdef CLIMLINK_FORK_HISTORY

  !> Declares the lagged inputs of one chunk as the driver of the ClimSim fork keeps them: profiles
  !! alone, in members of physics_state that E3SM itself does not have. Their values are made in
  !! room, to which the table points.
  subroutine add_fork_lags(fields, lags, emulator, state, before, time_step, room)
    type(climlink_host_fields), intent(inout) :: fields
    type(climlink_lags), intent(in), target :: lags          !! Knows which inputs are lagged.
    type(climlink_emulator), intent(in) :: emulator          !! Open.
    type(physics_state), intent(in) :: state
    type(physics_state), intent(in) :: before         !! State after the physics of the step before.
    real(r8), intent(in) :: time_step                 !! [s]
    real(r8), intent(out), target :: room(:, :, :)    !! [column, level, n_fork_lag]
    real(r8), parameter :: fork_time_step = 1200.0_r8 !! That driver divides by this [s], whatever
                                                      !! the time step is.
    real(r8) :: scale
    integer :: n, made

    n = size(room, 1)
    made = 0
    scale = fork_time_step / time_step
    call keep('state_t_dyn', 'K/s', (state%t(:n, :) - before%t(:n, :)) / time_step)
    call keep('state_q0_dyn', 'kg/kg/s', sum(state%q(:n, :, constituent) &
                                             - before%q(:n, :, constituent), dim=3) / time_step)
    call keep('state_u_dyn', 'm/s2', (state%u(:n, :) - before%u(:n, :)) / time_step)
    call keep('tm_state_t_dyn', 'K/s', state%t_adv(2, :n, :) * scale)
    call keep('tm_state_q0_dyn', 'kg/kg/s', sum(state%q_adv(2, :n, :, constituent), dim=3) * scale)
    call keep('tm_state_u_dyn', 'm/s2', state%u_adv(2, :n, :) * scale)
    call keep('state_t_prvphy', 'K/s', state%t_phy(1, :n, :) * scale)
    call keep('state_q0001_prvphy', 'kg/kg/s', state%q_phy(1, :n, :, constituent(1)) * scale)
    call keep('state_q0002_prvphy', 'kg/kg/s', state%q_phy(1, :n, :, constituent(2)) * scale)
    call keep('state_q0003_prvphy', 'kg/kg/s', state%q_phy(1, :n, :, constituent(3)) * scale)
    call keep('state_u_prvphy', 'm/s2', state%u_phy(1, :n, :) * scale)
    call keep('tm_state_t_prvphy', 'K/s', state%t_phy(2, :n, :) * scale)
    call keep('tm_state_q0001_prvphy', 'kg/kg/s', state%q_phy(2, :n, :, constituent(1)) * scale)
    call keep('tm_state_q0002_prvphy', 'kg/kg/s', state%q_phy(2, :n, :, constituent(2)) * scale)
    call keep('tm_state_q0003_prvphy', 'kg/kg/s', state%q_phy(2, :n, :, constituent(3)) * scale)
    call keep('tm_state_u_prvphy', 'm/s2', state%u_phy(2, :n, :) * scale)
    if (climlink_legacy) call add_zeros(fields, lags, emulator)

  contains

    subroutine keep(name, units, values)
      character(len=*), intent(in) :: name, units
      real(r8), intent(in) :: values(:, :)

      made = made + 1
      room(:, :, made) = values
      call fields%add_profile(name, units, room(:, :, made))
    end subroutine keep
  end subroutine add_fork_lags
#endif

  !> The outputs that E3SM takes, with their places in values; null where those are not allocated.
  function fields_taken(values) result(list)
    type(chunk_fields), intent(inout), target :: values
    type(named_field) :: list(n_taken)

    list = [profile('ptend_t', 'K/s', values%t), &
            profile('ptend_q0001', 'kg/kg/s', values%vapor, 'state_q0001'), &
            profile('ptend_q0002', 'kg/kg/s', values%liquid, 'state_q0002'), &
            profile('ptend_q0003', 'kg/kg/s', values%ice, 'state_q0003'), &
            profile('ptend_u', 'm/s2', values%u), &
            profile('ptend_v', 'm/s2', values%v), &
            scalar('cam_out_NETSW', 'W/m2', values%netsw), &
            scalar('cam_out_FLWDS', 'W/m2', values%flwds), &
            scalar('cam_out_PRECSC', 'm/s', values%precsc), &
            scalar('cam_out_PRECC', 'm/s', values%precc), &
            scalar('cam_out_SOLS', 'W/m2', values%sols), &
            scalar('cam_out_SOLL', 'W/m2', values%soll), &
            scalar('cam_out_SOLSD', 'W/m2', values%solsd), &
            scalar('cam_out_SOLLD', 'W/m2', values%solld)]
  end function fields_taken

  function profile(name, units, values, species) result(field)
    character(len=*), intent(in) :: name, units
    real(r8), intent(in), target, optional :: values(:, :)
    character(len=*), intent(in), optional :: species
    type(named_field) :: field

    field%name = name
    field%units = units
    field%is_profile = .true.
    if (present(values)) field%profile => values
    if (present(species)) field%species = species
  end function profile

  function scalar(name, units, values) result(field)
    character(len=*), intent(in) :: name, units
    real(r8), intent(in), target, optional :: values(:)
    type(named_field) :: field

    field%name = name
    field%units = units
    if (present(values)) field%scalar => values
  end function scalar

  !> Declares the outputs that E3SM takes into values, which the table points to.
  subroutine add_outputs(fields, values)
    type(climlink_host_fields), intent(inout) :: fields
    type(chunk_fields), intent(inout), target :: values
    type(named_field) :: list(n_taken)
    integer :: i

    list = fields_taken(values)
    do i = 1, size(list)
      if (list(i)%is_profile) then
        call fields%add_profile(list(i)%name, list(i)%units, list(i)%profile, taken=.true., &
                                species=list(i)%species)
      else
        call fields%add_scalar(list(i)%name, list(i)%units, list(i)%scalar, taken=.true.)
      end if
    end do
  end subroutine add_outputs

  !> Makes room for the values of one chunk.
  subroutine allocate_fields(values, n_column)
    type(chunk_fields), intent(out) :: values
    integer, intent(in) :: n_column

    allocate (values%t(n_column, pver), values%vapor(n_column, pver), &
              values%liquid(n_column, pver), values%ice(n_column, pver), &
              values%u(n_column, pver), values%v(n_column, pver), &
              values%netsw(n_column), values%flwds(n_column), &
              values%precsc(n_column), values%precc(n_column), values%sols(n_column), &
              values%soll(n_column), values%solsd(n_column), values%solld(n_column))
  end subroutine allocate_fields

  !> The weight of the field of the list whose profile is this array.
  pure function weight_in(list, values) result(weight)
    type(named_field), intent(in) :: list(:)
    real(r8), intent(in), target :: values(:, :)
    real(r8) :: weight
    integer :: i

    weight = 0.0_r8
    do i = 1, size(list)
      if (associated(list(i)%profile, values)) weight = list(i)%weight
    end do
  end function weight_in

  !> Whether a package takes relative in place of specific humidity.
  function takes_humidity(emulator) result(yes)
    type(climlink_emulator), intent(in) :: emulator          !! Open.
    logical :: yes

    yes = emulator%has_input('state_rh')
  end function takes_humidity

  !> What the namelist calls a package's set of inputs.
  function combination(emulator, is_lagged) result(name)
    type(climlink_emulator), intent(in) :: emulator          !! Open.
    logical, intent(in) :: is_lagged
    character(len=2) :: name

    name = 'v2'
    if (is_lagged) name = merge('v4', 'v6', emulator%has_input('icol'))
  end function combination

end module mmf_nn_fields
