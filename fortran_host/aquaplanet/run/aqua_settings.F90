!> What a run of the embedded model is told: the settings of its parts, read from one namelist file.
module aqua_settings
  use aqua_dynamics_settings, only: dynamics_settings
  use aqua_level_settings, only: level_settings
  use aqua_levels, only: hybrid_levels, reference_pressure
  use aqua_output_settings, only: output_settings
  use aqua_physics_settings, only: physics_parameters
  use aqua_run_settings, only: run_settings
  use climlink_coupling, only: climlink_coupling_policy
  use host_emulator_group, only: emulator_group
  use host_namelists, only: namelist_file
  implicit none (type, external)
  private

  public :: aquaplanet_settings, read_settings, list_settings

  type :: aquaplanet_settings
    type(run_settings) :: run
    type(level_settings) :: levels
    type(dynamics_settings) :: dynamics
    type(physics_parameters) :: physics
    type(output_settings) :: output
    type(emulator_group) :: emulator
  end type aquaplanet_settings

contains

  !> The groups of the file, with their defaults.
  function groups_of(settings) result(file)
    type(aquaplanet_settings), intent(inout), target :: settings
    type(namelist_file) :: file

    call settings%emulator%entries%set_defaults()
    call file%add('run', settings%run, is_needed=.true.)
    call file%add('levels', settings%levels, is_needed=.true.)
    call file%add('dynamics', settings%dynamics)
    call file%add('physics', settings%physics)
    call file%add('output', settings%output)
    call file%add('emulator', settings%emulator)
  end function groups_of

  !> Reads and checks a namelist file. error is '' or says what is wrong in which group.
  subroutine read_settings(path, settings, error)
    character(len=*), intent(in) :: path
    type(aquaplanet_settings), intent(out), target :: settings
    character(len=:), allocatable, intent(out) :: error
    type(namelist_file) :: file

    file = groups_of(settings)
    call file%read(path, error)
    if (len(error) > 0) return
    settings%dynamics%time_step_s = settings%run%time_step_s
    error = problem(settings)
    if (len(error) == 0) error = problem_of_coupling(settings)
    if (len(error) > 0) error = path // ': ' // error
  end subroutine read_settings

  !> Writes every entry with its type and default.
  subroutine list_settings(unit)
    integer, intent(in) :: unit
    type(aquaplanet_settings), target :: settings
    type(namelist_file) :: file

    file = groups_of(settings)
    call file%list(unit)
  end subroutine list_settings

  !> '' if the settings make sense together; else what is wrong with which entry.
  pure function problem(settings) result(error)
    type(aquaplanet_settings), intent(in) :: settings
    character(len=:), allocatable :: error

    error = settings%run%problem()
    if (len(error) > 0) return
    if (settings%output%climsim_every_steps < 0) then
      error = '/output/ climsim_every_steps must be 0 or more'
    else if (settings%run%physics == 'moist') then
      return
    else if (settings%output%climsim_every_steps > 0) then
      error = "/output/ climsim_every_steps: there are columns to sample with physics = 'moist' " &
              // 'in /run/ only'
    else if (len_trim(settings%emulator%entries%package) > 0) then
      error = "/emulator/ package: an emulator replaces the moist physics; set physics = 'moist' " &
              // 'in /run/'
    end if
  end function problem

  !> '' if /emulator/ says how a package is coupled, whatever the package; else what is wrong.
  function problem_of_coupling(settings) result(error)
    type(aquaplanet_settings), intent(in) :: settings
    character(len=:), allocatable :: error
    type(climlink_coupling_policy) :: policy
    type(hybrid_levels) :: levels

    call settings%levels%make(levels, error)
    if (len(error) > 0) return
    policy = settings%emulator%entries%policy()
    policy%reference_pressure = reference_pressure(levels)
    error = policy%problem()
    if (len(error) > 0) error = '/emulator/ ' // error
  end function problem_of_coupling

end module aqua_settings
