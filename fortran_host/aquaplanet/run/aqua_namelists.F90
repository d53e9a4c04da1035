!> The namelist file of a run. Its groups, declared here and nowhere else, are read from a file, or
!! written as the list of what may be set: `climlink-aquaplanet --list-settings` is made from the
!! same declarations that read the file.
module aqua_namelists
  use aqua_constants, only: r8
  use aqua_settings, only: aquaplanet_settings, emulator_settings, level_settings, max_interfaces, &
                           max_variables, output_settings, path_length, run_settings, &
                           settings_error, text_length
  use aqua_column_types, only: physics_parameters
  use aqua_dynamics, only: dynamics_settings
  implicit none (type, external)
  private

  public :: read_settings, list_settings

  integer, parameter :: line_length = 65536    ! of a scratch record: the longest group on one line
  character(len=*), parameter :: groups(6) = [character(len=8) :: 'run', 'levels', 'dynamics', &
    'physics', 'output', 'emulator']

contains

  !> Reads and checks a namelist file. error is '' or says what is wrong in which group. Groups may
  !! be left out, /run/ and /levels/ excepted; a group of another name is an error.
  subroutine read_settings(file, settings, error)
    character(len=*), intent(in) :: file
    type(aquaplanet_settings), intent(out) :: settings
    character(len=:), allocatable, intent(out) :: error
    character(len=path_length) :: message
    logical :: present_groups(size(groups))
    integer :: unit, failed, i

    open (newunit=unit, file=file, status='old', action='read', iostat=failed, iomsg=message)
    if (failed /= 0) then
      error = file // ': ' // trim(message)
      return
    end if
    call find_groups(unit, present_groups, error)
    do i = 1, size(groups)
      if (len(error) > 0) exit
      if (.not. present_groups(i)) cycle
      rewind (unit)
      call transfer_group(groups(i), unit, .false., settings, failed, message)
      if (failed /= 0) error = '/' // trim(groups(i)) // '/: ' // trim(message)
    end do
    close (unit)
    if (len(error) == 0 .and. .not. all(present_groups(1:2))) error = &
      'the groups /run/ and /levels/ are needed'
    if (len(error) == 0) error = settings_error(settings)
    if (len(error) > 0) error = file // ': ' // error
  end subroutine read_settings

  !> Which groups the file has; error names one that does not exist.
  subroutine find_groups(unit, found, error)
    integer, intent(in) :: unit
    logical, intent(out) :: found(:)
    character(len=:), allocatable, intent(out) :: error
    character(len=text_length) :: line, name
    integer :: failed, at

    error = ''
    found = .false.
    do
      read (unit, '(a)', iostat=failed) line
      if (failed /= 0) exit
      line = adjustl(line)
      if (line(1:1) /= '&') cycle
      name = lower(line(2:scan(line // ' ', ' ,/') - 1))
      at = findloc(groups, name, dim=1)
      if (at == 0) then
        error = 'there is no group /' // trim(name) &
          // '/; the groups are run, levels, dynamics, physics, output, emulator'
        return
      end if
      found(at) = .true.
    end do
  end subroutine find_groups

  !> Writes one line per entry: group, name, type (text, integer, real or logical) and default.
  subroutine list_settings(unit)
    integer, intent(in) :: unit
    type(aquaplanet_settings) :: settings
    character(len=path_length) :: message
    integer :: scratch, failed, i

    do i = 1, size(groups)
      open (newunit=scratch, status='scratch', action='readwrite', delim='apostrophe', &
            recl=line_length)
      call transfer_group(groups(i), scratch, .true., settings, failed, message)
      rewind (scratch)
      call list_group(scratch, trim(groups(i)), unit)
      close (scratch)
    end do
  end subroutine list_settings

  !> Turns a group as the compiler writes it, NAME= value, into lines.
  subroutine list_group(scratch, group, unit)
    integer, intent(in) :: scratch
    character(len=*), intent(in) :: group
    integer, intent(in) :: unit
    character(len=line_length) :: line
    character(len=:), allocatable :: name, value
    integer :: failed, at

    do
      read (scratch, '(a)', iostat=failed) line
      if (failed /= 0) exit
      line = adjustl(line)
      at = index(line, '=')
      if (line(1:1) == '&' .or. at == 0) cycle
      name = lower(trim(line(:at - 1)))
      if (index(name, '(') > 0) name = name(:index(name, '(') - 1)
      value = shortened(trim(adjustl(line(at + 1:))))
      write (unit, '(7a)') group, ' ', name, ' ', type_of_value(value), ' ', value
    end do
  end subroutine list_group

  !> A value without its comma, of an array the first element, of a text no trailing blanks.
  function shortened(written) result(value)
    character(len=*), intent(in) :: written
    character(len=:), allocatable :: value
    integer :: first, last

    first = index(written, '*') + 1
    value = written(first:)
    if (value(1:1) == "'") then
      last = index(value(2:), "'")
      value = "'" // trim(value(2:last)) // "'"
    else
      last = scan(value // ',', ',')
      value = trim(value(:last - 1))
    end if
  end function shortened

  pure function type_of_value(value) result(name)
    character(len=*), intent(in) :: value
    character(len=:), allocatable :: name

    if (value(1:1) == "'") then
      name = 'text'
    else if (value == 'T' .or. value == 'F') then
      name = 'logical'
    else if (scan(value, '.E') > 0) then
      name = 'real'
    else
      name = 'integer'
    end if
  end function type_of_value

  pure function lower(text) result(lowered)
    character(len=*), intent(in) :: text
    character(len=len(text)) :: lowered
    integer :: i, code

    do i = 1, len(text)
      code = iachar(text(i:i))
      if (code >= iachar('A') .and. code <= iachar('Z')) code = code + 32
      lowered(i:i) = achar(code)
    end do
  end function lower

  subroutine transfer_group(group, unit, writing, settings, failed, message)
    character(len=*), intent(in) :: group
    integer, intent(in) :: unit
    logical, intent(in) :: writing
    type(aquaplanet_settings), intent(inout) :: settings
    integer, intent(out) :: failed
    character(len=*), intent(inout) :: message

    select case (group)
    case ('run')
      call transfer_run(unit, writing, settings%run, failed, message)
    case ('levels')
      call transfer_levels(unit, writing, settings%levels, failed, message)
    case ('dynamics')
      call transfer_dynamics(unit, writing, settings%dynamics, failed, message)
    case ('physics')
      call transfer_physics(unit, writing, settings%physics, failed, message)
    case ('output')
      call transfer_output(unit, writing, settings%output, failed, message)
    case default
      call transfer_emulator(unit, writing, settings%emulator, failed, message)
    end select
  end subroutine transfer_group

  subroutine transfer_run(unit, writing, settings, failed, message)
    integer, intent(in) :: unit
    logical, intent(in) :: writing
    type(run_settings), intent(inout) :: settings
    integer, intent(out) :: failed
    character(len=*), intent(inout) :: message
    character(len=text_length) :: case_name, start, physics, initial, identity, created
    character(len=path_length) :: output_directory, restart_from, lock_file
    integer :: n_step, truncation, seed, restart_every_steps
    real(r8) :: time_step_s, perturbation_k, restart_perturbation_k
    namelist /run/ case_name, output_directory, start, n_step, time_step_s, truncation, physics, &
      initial, seed, perturbation_k, restart_perturbation_k, restart_from, restart_every_steps, &
      identity, lock_file, created

    case_name = settings%case_name
    output_directory = settings%output_directory
    start = settings%start
    n_step = settings%n_step
    time_step_s = settings%time_step_s
    truncation = settings%truncation
    physics = settings%physics
    initial = settings%initial
    seed = settings%seed
    perturbation_k = settings%perturbation_k
    restart_perturbation_k = settings%restart_perturbation_k
    restart_from = settings%restart_from
    restart_every_steps = settings%restart_every_steps
    identity = settings%identity
    lock_file = settings%lock_file
    created = settings%created
    if (writing) then
      write (unit, nml=run, iostat=failed, iomsg=message)
    else
      read (unit, nml=run, iostat=failed, iomsg=message)
    end if
    settings = run_settings(case_name, output_directory, start, n_step, time_step_s, truncation, &
                            physics, initial, seed, perturbation_k, restart_perturbation_k, &
                            restart_from, restart_every_steps, identity, lock_file, created)
  end subroutine transfer_run

  subroutine transfer_levels(unit, writing, settings, failed, message)
    integer, intent(in) :: unit
    logical, intent(in) :: writing
    type(level_settings), intent(inout) :: settings
    integer, intent(out) :: failed
    character(len=*), intent(inout) :: message
    real(r8) :: p0, hyai(max_interfaces), hybi(max_interfaces)
    namelist /levels/ p0, hyai, hybi

    p0 = settings%p0
    hyai = settings%hyai
    hybi = settings%hybi
    if (writing) then
      write (unit, nml=levels, iostat=failed, iomsg=message)
    else
      read (unit, nml=levels, iostat=failed, iomsg=message)
    end if
    settings = level_settings(p0, hyai, hybi)
  end subroutine transfer_levels

  subroutine transfer_dynamics(unit, writing, settings, failed, message)
    integer, intent(in) :: unit
    logical, intent(in) :: writing
    type(dynamics_settings), intent(inout) :: settings
    integer, intent(out) :: failed
    character(len=*), intent(inout) :: message
    integer :: diffusion_order
    real(r8) :: diffusion_time_d, sponge_top_pa, sponge_time_d, reference_temperature_k, &
                filter_nu, filter_alpha
    namelist /dynamics/ diffusion_order, diffusion_time_d, sponge_top_pa, sponge_time_d, &
      reference_temperature_k, filter_nu, filter_alpha

    diffusion_order = settings%diffusion_order
    diffusion_time_d = settings%diffusion_time_d
    sponge_top_pa = settings%sponge_top_pa
    sponge_time_d = settings%sponge_time_d
    reference_temperature_k = settings%reference_temperature_k
    filter_nu = settings%filter_nu
    filter_alpha = settings%filter_alpha
    if (writing) then
      write (unit, nml=dynamics, iostat=failed, iomsg=message)
    else
      read (unit, nml=dynamics, iostat=failed, iomsg=message)
    end if
    settings%diffusion_order = diffusion_order
    settings%diffusion_time_d = diffusion_time_d
    settings%sponge_top_pa = sponge_top_pa
    settings%sponge_time_d = sponge_time_d
    settings%reference_temperature_k = reference_temperature_k
    settings%filter_nu = filter_nu
    settings%filter_alpha = filter_alpha
  end subroutine transfer_dynamics

  subroutine transfer_physics(unit, writing, settings, failed, message)
    integer, intent(in) :: unit
    logical, intent(in) :: writing
    type(physics_parameters), intent(inout) :: settings
    integer, intent(out) :: failed
    character(len=*), intent(inout) :: message
    real(r8) :: co2_ppm, convection_time_s, convection_humidity, detrained_fraction, &
      convective_momentum, critical_humidity, rain_time_s, rain_threshold, ice_fall_speed, &
      rain_evaporation, liquid_radius_um, ice_radius_um, cloud_uniformity
    namelist /physics/ &
      co2_ppm, convection_time_s, convection_humidity, detrained_fraction, convective_momentum, &
      critical_humidity, rain_time_s, rain_threshold, ice_fall_speed, rain_evaporation, &
      liquid_radius_um, ice_radius_um, cloud_uniformity

    co2_ppm = settings%co2_ppm
    convection_time_s = settings%convection_time_s
    convection_humidity = settings%convection_humidity
    detrained_fraction = settings%detrained_fraction
    convective_momentum = settings%convective_momentum
    critical_humidity = settings%critical_humidity
    rain_time_s = settings%rain_time_s
    rain_threshold = settings%rain_threshold
    ice_fall_speed = settings%ice_fall_speed
    rain_evaporation = settings%rain_evaporation
    liquid_radius_um = settings%liquid_radius_um
    ice_radius_um = settings%ice_radius_um
    cloud_uniformity = settings%cloud_uniformity
    if (writing) then
      write (unit, nml=physics, iostat=failed, iomsg=message)
    else
      read (unit, nml=physics, iostat=failed, iomsg=message)
    end if
    settings = physics_parameters(co2_ppm, convection_time_s, convection_humidity, &
                                  detrained_fraction, convective_momentum, critical_humidity, &
                                  rain_time_s, rain_threshold, ice_fall_speed, rain_evaporation, &
                                  liquid_radius_um, ice_radius_um, cloud_uniformity)
  end subroutine transfer_physics

  subroutine transfer_output(unit, writing, settings, failed, message)
    integer, intent(in) :: unit
    logical, intent(in) :: writing
    type(output_settings), intent(inout) :: settings
    integer, intent(out) :: failed
    character(len=*), intent(inout) :: message
    integer :: climsim_every_steps, climsim_from_step
    logical :: history_monthly, history_daily, history_hourly, history_daily_instantaneous
    namelist /output/ climsim_every_steps, climsim_from_step, history_monthly, history_daily, &
      history_hourly, history_daily_instantaneous

    climsim_every_steps = settings%climsim_every_steps
    climsim_from_step = settings%climsim_from_step
    history_monthly = settings%history_monthly
    history_daily = settings%history_daily
    history_hourly = settings%history_hourly
    history_daily_instantaneous = settings%history_daily_instantaneous
    if (writing) then
      write (unit, nml=output, iostat=failed, iomsg=message)
    else
      read (unit, nml=output, iostat=failed, iomsg=message)
    end if
    settings = output_settings(climsim_every_steps, climsim_from_step, history_monthly, &
                               history_daily, history_hourly, history_daily_instantaneous)
  end subroutine transfer_output

  subroutine transfer_emulator(unit, writing, settings, failed, message)
    integer, intent(in) :: unit
    logical, intent(in) :: writing
    type(emulator_settings), intent(inout) :: settings
    integer, intent(out) :: failed
    character(len=*), intent(inout) :: message
    character(len=path_length) :: package
    character(len=text_length) :: package_name, pinned_sha256, device, mode, feedback, ramp
    character(len=text_length) :: constraints_off(max_variables), variables(max_variables)
    integer :: threads, micro_batch, spin_up_steps, ramp_steps, ramp_on_steps, ramp_off_steps
    real(r8) :: ramp_factor
    namelist /emulator/ package, package_name, pinned_sha256, device, threads, micro_batch, &
      constraints_off, mode, variables, feedback, spin_up_steps, ramp, ramp_factor, ramp_steps, &
      ramp_on_steps, ramp_off_steps

    package = settings%package
    package_name = settings%package_name
    pinned_sha256 = settings%pinned_sha256
    device = settings%device
    threads = settings%threads
    micro_batch = settings%micro_batch
    constraints_off = settings%constraints_off
    mode = settings%mode
    variables = settings%variables
    feedback = settings%feedback
    spin_up_steps = settings%spin_up_steps
    ramp = settings%ramp
    ramp_factor = settings%ramp_factor
    ramp_steps = settings%ramp_steps
    ramp_on_steps = settings%ramp_on_steps
    ramp_off_steps = settings%ramp_off_steps
    if (writing) then
      write (unit, nml=emulator, iostat=failed, iomsg=message)
    else
      read (unit, nml=emulator, iostat=failed, iomsg=message)
    end if
    settings = emulator_settings(package, package_name, pinned_sha256, device, threads, &
                                 micro_batch, constraints_off, mode, variables, feedback, &
                                 spin_up_steps, ramp, ramp_factor, ramp_steps, &
                                 ramp_on_steps, ramp_off_steps)
  end subroutine transfer_emulator

end module aqua_namelists
