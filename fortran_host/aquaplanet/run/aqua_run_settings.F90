!> Settings of a run: its case, steps, grid, physics and start.
module aqua_run_settings
  use aqua_constants, only: r8
  use host_namelists, only: namelist_group, namelist_unit, path_length, text_length
  implicit none (type, external)
  private

  public :: run_settings

  !> Group &run.
  type, extends(namelist_group) :: run_settings
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
  contains
    procedure :: transfer, problem
  end type run_settings

contains

  subroutine transfer(self, file)
    class(run_settings), intent(inout), target :: self
    type(namelist_unit), intent(inout) :: file
    character(len=:), pointer :: case_name, output_directory, start, physics, initial, &
      restart_from, identity, lock_file, created
    integer, pointer :: n_step, truncation, seed, restart_every_steps
    real(r8), pointer :: time_step_s, perturbation_k, restart_perturbation_k
    namelist /run/ case_name, output_directory, start, n_step, time_step_s, truncation, physics, &
      initial, seed, perturbation_k, restart_perturbation_k, restart_from, restart_every_steps, &
      identity, lock_file, created

    case_name => self%case_name
    output_directory => self%output_directory
    start => self%start
    n_step => self%n_step
    time_step_s => self%time_step_s
    truncation => self%truncation
    physics => self%physics
    initial => self%initial
    seed => self%seed
    perturbation_k => self%perturbation_k
    restart_perturbation_k => self%restart_perturbation_k
    restart_from => self%restart_from
    restart_every_steps => self%restart_every_steps
    identity => self%identity
    lock_file => self%lock_file
    created => self%created
    if (file%writing) then
      write (file%unit, nml=run, iostat=file%failed, iomsg=file%message)
    else
      read (file%unit, nml=run, iostat=file%failed, iomsg=file%message)
    end if
  end subroutine transfer

  !> '' if the settings make sense; else what is wrong with which entry.
  pure function problem(self) result(error)
    class(run_settings), intent(in) :: self
    character(len=:), allocatable :: error

    error = ''
    if (len_trim(self%case_name) == 0) then
      error = '/run/ case_name is missing: it begins the names of the output files'
    else if (len_trim(self%output_directory) == 0) then
      error = '/run/ output_directory is missing: name an existing folder'
    else if (self%n_step < 1) then
      error = '/run/ n_step must be 1 or more'
    else if (.not. (self%time_step_s >= 1.0_r8 &
                    .and. abs(self%time_step_s - anint(self%time_step_s)) <= 0.0_r8)) then
      error = '/run/ time_step_s must be a whole number of seconds, 1 or more'
    else if (modulo(3600, nint(self%time_step_s)) /= 0) then
      error = '/run/ time_step_s must divide an hour'
    else if (self%restart_every_steps < 0) then
      error = '/run/ restart_every_steps must be 0 or more'
    else if (all(self%physics /= [character(len=11) :: 'moist', 'held_suarez', 'none'])) then
      error = "/run/ physics must be 'moist', 'held_suarez' or 'none', not '" // &
              trim(self%physics) // "'"
    else if (all(self%initial /= [character(len=15) :: 'moist', 'rest_isothermal', &
                                 'rest_adiabatic', 'baroclinic_wave'])) then
      error = "/run/ initial must be 'moist', 'rest_isothermal', 'rest_adiabatic' or " // &
              "'baroclinic_wave', not '" // trim(self%initial) // "'"
    end if
  end function problem

end module aqua_run_settings
