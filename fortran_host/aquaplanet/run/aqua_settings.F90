!> What a run of the embedded model is told: the types of its settings, and what is wrong with them.
!! Read by aqua_namelists.
module aqua_settings
  use aqua_constants, only: r8
  use aqua_dynamics, only: dynamics_settings
  use aqua_column_types, only: physics_parameters
  implicit none (type, external)
  private

  public :: aquaplanet_settings, run_settings, level_settings, output_settings, emulator_settings, &
            settings_error

  integer, parameter, public :: text_length = 256
  integer, parameter, public :: path_length = 4096
  integer, parameter, public :: max_interfaces = 201
  integer, parameter, public :: max_variables = 64

  !> Group &run.
  type :: run_settings
    character(len=text_length) :: case_name = ''
    character(len=path_length) :: output_directory = ''
    character(len=text_length) :: start = '0001-01-01-00000'  !! Model time of step 0,
                                                              !! YYYY-MM-DD-SSSSS, no-leap calendar.
    integer :: n_step = 0                                   !! Last step, counted from start, also
                                                            !! of a resumed run.
    real(r8) :: time_step_s = 1200.0_r8
    integer :: truncation = 10
    character(len=text_length) :: physics = 'moist'         !! moist, held_suarez or none.
    character(len=text_length) :: initial = 'moist'         !! moist, rest_isothermal,
                                                            !! rest_adiabatic, baroclinic_wave.
    integer :: seed = 1
    real(r8) :: perturbation_k = 0.1_r8                     !! Amplitude of the random start
                                                            !! perturbation [K].
    real(r8) :: restart_perturbation_k = 0.0_r8             !! The same, of the temperature that
                                                            !! restart_from holds [K].
    character(len=path_length) :: restart_from = ''         !! Restart file; '' starts from initial.
    integer :: restart_every_steps = 0                      !! 0: only at the end.
    character(len=text_length) :: identity = ''             !! Text that a restart must carry; the
                                                            !! digest of the case.
    character(len=path_length) :: lock_file = ''  !! Held by all ranks while they live; '' for none.
    character(len=text_length) :: created = ''    !! Date of the run's first job, for attributes.
  end type run_settings

  !> Group &levels.
  type :: level_settings
    real(r8) :: p0 = 1.0e5_r8                     !! [Pa]
    real(r8) :: hyai(max_interfaces) = -1.0_r8    !! Interface coefficients, top down; -1 is unused.
    real(r8) :: hybi(max_interfaces) = -1.0_r8
  end type level_settings

  !> Group &output.
  type :: output_settings
    integer :: climsim_every_steps = 0                      !! Steps between mli/mlo pairs; 0: none.
    integer :: climsim_from_step = 1
    logical :: history_monthly = .true.
    logical :: history_daily = .true.
    logical :: history_hourly = .false.
    logical :: history_daily_instantaneous = .false.        !! Values at the end of each day, not
                                                            !! means over it.
  end type output_settings

  !> Group &emulator.
  type :: emulator_settings
    character(len=path_length) :: package = ''                  !! Package file; '' runs the
                                                                !! reference physics alone.
    character(len=text_length) :: package_name = ''             !! For the attributes of files.
    character(len=text_length) :: pinned_sha256 = ''
    character(len=text_length) :: device = 'cpu'
    integer :: threads = 1
    integer :: micro_batch = 64
    !> Constraints of the package that are left out.
    character(len=text_length) :: constraints_off(max_variables) = ''
    character(len=text_length) :: mode = 'full'            !! full, partial or shadow.
    !> Outputs that are blended in partial mode.
    character(len=text_length) :: variables(max_variables) = ''
    character(len=text_length) :: feedback = 'reference'   !! In shadow mode: reference or emulator.
    integer :: spin_up_steps = 0
    character(len=text_length) :: ramp = 'constant'        !! constant, linear or step.
    real(r8) :: ramp_factor = 1.0_r8
    integer :: ramp_steps = 0
    integer :: ramp_on_steps = 0
    integer :: ramp_off_steps = 0
  end type emulator_settings

  type :: aquaplanet_settings
    type(run_settings) :: run
    type(level_settings) :: levels
    type(dynamics_settings) :: dynamics
    type(physics_parameters) :: physics
    type(output_settings) :: output
    type(emulator_settings) :: emulator
  end type aquaplanet_settings

contains

  !> '' if the settings make sense; else what is wrong with which entry.
  pure function settings_error(settings) result(error)
    type(aquaplanet_settings), intent(in) :: settings
    character(len=:), allocatable :: error

    error = run_error(settings%run)
    if (len(error) == 0 .and. settings%output%climsim_every_steps < 0) error = &
      '/output/ climsim_every_steps must be 0 or more'
    if (len(error) == 0 .and. settings%output%climsim_every_steps > 0 .and. settings%run%physics &
        /= 'moist') then
      error = &
        "/output/ climsim_every_steps: there are columns to sample with physics = 'moist' in " // &
        '/run/ only'
    end if
    if (len(error) == 0 .and. len_trim(settings%emulator%package) > 0 .and. settings%run%physics &
        /= 'moist') then
      error = &
        "/emulator/ package: an emulator replaces the moist physics; set physics = 'moist' in /run/"
    end if
  end function settings_error

  pure function run_error(run) result(error)
    type(run_settings), intent(in) :: run
    character(len=:), allocatable :: error

    error = ''
    if (len_trim(run%case_name) == 0) then
      error = '/run/ case_name is missing: it begins the names of the output files'
    else if (len_trim(run%output_directory) == 0) then
      error = '/run/ output_directory is missing: name an existing folder'
    else if (run%n_step < 1) then
      error = '/run/ n_step must be 1 or more'
    else if (.not. (run%time_step_s >= 1.0_r8 .and. abs(run%time_step_s - anint(run%time_step_s)) &
                    <= 0.0_r8)) then
      error = '/run/ time_step_s must be a whole number of seconds, 1 or more'
    else if (modulo(3600, nint(run%time_step_s)) /= 0) then
      error = '/run/ time_step_s must divide an hour'
    else if (run%restart_every_steps < 0) then
      error = '/run/ restart_every_steps must be 0 or more'
    else if (all(run%physics /= [character(len=11) :: 'moist', 'held_suarez', 'none'])) then
      error = "/run/ physics must be 'moist', 'held_suarez' or 'none', not '" // trim(run%physics) &
        // "'"
    else if (all(run%initial /= [character(len=15) :: 'moist', 'rest_isothermal', &
                                 'rest_adiabatic', 'baroclinic_wave'])) then
      error = &
              "/run/ initial must be 'moist', 'rest_isothermal', 'rest_adiabatic' or " // &
              "'baroclinic_wave', not '" &
              // trim(run%initial) // "'"
    end if
  end function run_error

end module aqua_settings
