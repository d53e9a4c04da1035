!> A little model that became a host: some columns of moist air with physics of their own, which an
!! emulator may replace. All that it took: the group /emulator/ in its namelist file, one table, and
!! four calls in a step.
!!
!!     little_model little_model.nml
program little_model
  use, intrinsic :: iso_fortran_env, only: error_unit, output_unit, r8 => real64
  use climlink, only: climlink_emulator, climlink_host_fields, climlink_status
  use climlink_carried_state, only: climlink_carried
  use climlink_coupling, only: climlink_blend, climlink_coupling_policy
  use climlink_host_settings, only: climlink_emulator_settings
  use climlink_lagged_memory, only: climlink_lags
  implicit none (type, external)

  integer, parameter :: n_column = 4, n_level = 6
  real(r8), parameter :: time_step = 1200.0_r8

  ! The model's own state; the table points at it, so it is a target.
  real(r8), target :: t(n_column, n_level) = 280.0_r8             ! [K]
  real(r8), target :: water(n_column, n_level, 3) = 0.0_r8        ! vapour, liquid, ice [kg/kg]
  real(r8), target :: u(n_column, n_level) = 5.0_r8               ! [m/s]
  real(r8), target :: ps(n_column) = 1e5_r8                       ! [Pa]
  real(r8), target :: sun(n_column) = 400.0_r8, latent(n_column) = 80.0_r8, &
                      sensible(n_column) = 20.0_r8                ! [W/m2]
  real(r8), target :: zenith(n_column) = 0.5_r8                   ! cosine
  real(r8), target :: dtdt(n_column, n_level), dqdt(n_column, n_level)
  real(r8), target :: precipitation(n_column) = 0.0_r8            ! [m/s]

  type(climlink_emulator_settings) :: settings
  type(climlink_emulator) :: emulator
  type(climlink_coupling_policy) :: policy
  type(climlink_host_fields) :: fields
  type(climlink_lags), target :: lags
  type(climlink_carried) :: carried
  type(climlink_status) :: status
  integer :: n_step, step

  water(:, :, 1) = 5e-3_r8
  water(:, :, 2) = 2e-5_r8
  water(:, :, 3) = 1e-5_r8
  call read_namelists()
  call declare()
  call emulator%open(settings%package, n_level=n_level, time_step=time_step, &
                     options=settings%options())
  call fields%check(emulator, spin_up_steps=settings%spin_up_steps)
  policy = settings%policy()
  call policy%check(emulator, status)
  if (.not. status%ok()) call give_up(status%message)
  call carried%initialize(emulator, n_column)
  do step = 1, n_step
    call advance()
    write (output_unit, '(a,i3,a,f12.6,2(a,f9.4),a)') 'step', step, '  temperature', &
      t(1, n_level), ' K  vapour', 1e3_r8 * water(1, n_level, 1), ' g/kg  rain', &
      3.6e6_r8 * precipitation(1), ' mm/h'
  end do
  call emulator%close()

contains

  !> The model's own group, and the one that every host has.
  subroutine read_namelists()
    character(len=1024) :: path, message
    integer :: unit, failed
    namelist /little_model/ n_step

    n_step = 0
    call settings%set_defaults()
    call get_command_argument(1, path)
    open (newunit=unit, file=trim(path), status='old', action='read', iostat=failed, iomsg=message)
    if (failed == 0) read (unit, nml=little_model, iostat=failed, iomsg=message)
    if (failed == 0) rewind (unit)
    if (failed == 0) call settings%transfer_group(unit, .false., failed, message)
    if (failed /= 0) call give_up(trim(path) // ': ' // trim(message))
    close (unit)
  end subroutine read_namelists

  !> The one table: what this model can give, and what it takes. The lagged inputs come from their
  !! memory, which the table serves from now on.
  subroutine declare()
    call fields%begin(n_column)
    call fields%add_profile('state_t', 'K', t)
    call fields%add_profile('state_q0001', 'kg/kg', water(:, :, 1))
    call fields%add_profile('state_q0002', 'kg/kg', water(:, :, 2))
    call fields%add_profile('state_q0003', 'kg/kg', water(:, :, 3))
    call fields%add_profile('state_u', 'm/s', u)
    call fields%add_scalar('state_ps', 'Pa', ps)
    call fields%add_scalar('pbuf_SOLIN', 'W/m2', sun)
    call fields%add_scalar('pbuf_LHFLX', 'W/m2', latent)
    call fields%add_scalar('pbuf_SHFLX', 'W/m2', sensible)
    call fields%add_scalar('pbuf_COSZRS', '1', zenith)
    call lags%initialize(n_column, n_level, time_step)
    call lags%add_to(fields)
    call fields%add_profile('ptend_t', 'K/s', dtdt, taken=.true.)
    call fields%add_profile('ptend_q0001', 'kg/kg/s', dqdt, taken=.true.)
    call fields%add_scalar('cam_out_PRECC', 'm/s', precipitation, taken=.true.)
  end subroutine declare

  !> The dynamics, then the physics: this model's own, the emulator's, or some of both.
  subroutine advance()
    real(r8) :: own_dtdt(n_column, n_level), own_dqdt(n_column, n_level)

    t = t + time_step * 1e-5_r8
    call lags%begin_step(fields)
    own_dtdt = (250.0_r8 - t) / 86400.0_r8
    own_dqdt = (5e-3_r8 - water(:, :, 1)) / 86400.0_r8
    if (policy%needs_emulator(step)) call emulate()
    t = t + time_step * climlink_blend(own_dtdt, dtdt, policy%weight_of('ptend_t', step))
    water(:, :, 1) = water(:, :, 1) + time_step * &
                     climlink_blend(own_dqdt, dqdt, policy%weight_of('ptend_q0001', step))
    call lags%end_step(fields)
  end subroutine advance

  !> Without a status, whatever goes wrong ends the program with a message.
  subroutine emulate()
    call emulator%begin(n_column)
    call fields%send(emulator)
    if (carried%has_state()) call carried%send(emulator)
    call emulator%run()
    call fields%receive(emulator)
    if (carried%has_state()) call carried%receive(emulator)
  end subroutine emulate

  subroutine give_up(message)
    character(len=*), intent(in) :: message

    write (error_unit, '(2a)') 'little_model: ', message
    error stop 1
  end subroutine give_up

end program little_model
