!> What a replay is told: the groups /replay/ and /emulator/ of a namelist file, and the list of
!! files.
module replay_config
  use, intrinsic :: iso_fortran_env, only: iostat_end, real64
  use host_emulator_group, only: emulator_group
  use host_namelists, only: namelist_file, namelist_group, namelist_unit, path_length, text_length
  implicit none (type, external)
  private

  public :: replay_settings, read_settings, list_settings, output_path, base_name

  !> A path of its own length.
  type, public :: path_entry
    character(len=:), allocatable :: path
  end type path_entry

  !> Group &replay.
  type, extends(namelist_group) :: replay_group
    character(len=path_length) :: files = ''             !! Text file with one mli file per line.
    character(len=path_length) :: output_directory = ''  !! An existing folder.
    character(len=path_length) :: grid_file = ''         !! File with P0, hyam, hybm; '': pressure
                                                         !! is in each mli file.
    integer :: pcols = 16                                !! Columns per chunk.
    real(real64) :: time_step_s = 0.0_real64             !! Physics time step [s].
    character(len=path_length) :: lock_file = ''  !! Held by all ranks while they live; '' for none.
    character(len=text_length) :: created = ''    !! Date of the run, for attributes.
  contains
    procedure :: transfer, problem
  end type replay_group

  !> The settings of one replay, checked.
  type :: replay_settings
    type(replay_group) :: replay
    type(emulator_group) :: emulator
    type(path_entry), allocatable :: files(:)            !! One mli file per step.
  end type replay_settings

contains

  !> The groups of the file, with their defaults.
  function groups_of(settings) result(file)
    type(replay_settings), intent(inout), target :: settings
    type(namelist_file) :: file

    call settings%emulator%entries%set_defaults()
    call file%add('replay', settings%replay, is_needed=.true.)
    call file%add('emulator', settings%emulator, is_needed=.true.)
  end function groups_of

  !> Reads and checks the namelist file. error is '' or says what is wrong and where.
  subroutine read_settings(path, settings, error)
    character(len=*), intent(in) :: path
    type(replay_settings), intent(out), target :: settings
    character(len=:), allocatable, intent(out) :: error
    type(namelist_file) :: file

    file = groups_of(settings)
    call file%read(path, error)
    if (len(error) > 0) return
    error = settings%replay%problem()
    if (len(error) == 0) error = emulator_problem(settings%emulator)
    if (len(error) > 0) then
      error = path // ': ' // error
    else
      call read_file_list(trim(settings%replay%files), settings%files, error)
    end if
  end subroutine read_settings

  !> Writes every entry with its type and default.
  subroutine list_settings(unit)
    integer, intent(in) :: unit
    type(replay_settings), target :: settings
    type(namelist_file) :: file

    file = groups_of(settings)
    call file%list(unit)
  end subroutine list_settings

  subroutine transfer(self, file)
    class(replay_group), intent(inout), target :: self
    type(namelist_unit), intent(inout) :: file
    character(len=:), pointer :: files, output_directory, grid_file, lock_file, created
    integer, pointer :: pcols
    real(real64), pointer :: time_step_s
    namelist /replay/ files, output_directory, grid_file, pcols, time_step_s, lock_file, created

    files => self%files
    output_directory => self%output_directory
    grid_file => self%grid_file
    pcols => self%pcols
    time_step_s => self%time_step_s
    lock_file => self%lock_file
    created => self%created
    if (file%writing) then
      write (file%unit, nml=replay, iostat=file%failed, iomsg=file%message)
    else
      read (file%unit, nml=replay, iostat=file%failed, iomsg=file%message)
    end if
  end subroutine transfer

  !> '' if the settings make sense; else what is wrong with which entry.
  pure function problem(self) result(error)
    class(replay_group), intent(in) :: self
    character(len=:), allocatable :: error

    error = ''
    if (len_trim(self%files) == 0) then
      error = '/replay/ files is missing: name a text file with one mli file per line'
    else if (len_trim(self%output_directory) == 0) then
      error = '/replay/ output_directory is missing: name an existing folder'
    else if (self%pcols < 1) then
      error = '/replay/ pcols must be 1 or more'
    else if (.not. self%time_step_s > 0.0_real64) then
      error = '/replay/ time_step_s is missing or not positive: give the physics time step in ' // &
              'seconds, 1200.0 for ClimSim'
    else if (any(len_trim([self%files, self%output_directory, self%grid_file, self%lock_file]) &
                 == path_length)) then
      error = '/replay/: a path is too long'
    end if
  end function problem

  !> A replay applies the whole answer of its package in every step.
  function emulator_problem(emulator) result(error)
    type(emulator_group), intent(in) :: emulator
    character(len=:), allocatable :: error
    type(emulator_group) :: default
    character(len=14), allocatable :: refused(:)
    integer :: i

    call default%entries%set_defaults()
    associate (e => emulator%entries, d => default%entries)
      refused = pack([character(len=14) :: 'mode', 'variables', 'feedback', 'spin_up_steps', &
                      'ramp', 'ramp_factor', 'ramp_steps', 'ramp_on_steps', 'ramp_off_steps', &
                      'vertical_remap'], &
                     [e%mode /= d%mode, any(e%variables /= d%variables), &
                      e%feedback /= d%feedback, e%spin_up_steps /= d%spin_up_steps, &
                      e%ramp /= d%ramp, abs(e%ramp_factor - d%ramp_factor) > 0.0_real64, &
                      e%ramp_steps /= d%ramp_steps, e%ramp_on_steps /= d%ramp_on_steps, &
                      e%ramp_off_steps /= d%ramp_off_steps, &
                      e%vertical_remap /= d%vertical_remap])
      error = ''
      if (len_trim(e%package) == 0) then
        error = '/emulator/ package is missing: name the package file'
      else if (len_trim(e%package) == len(e%package)) then
        error = '/emulator/ package: the path is too long'
      else if (size(refused) > 0) then
        do i = 1, size(refused)
          error = error // ' ' // trim(refused(i))
        end do
        error = '/emulator/' // error // ': a replay has no physics of its own and the levels of ' &
                // 'its files; leave this out'
      end if
    end associate
  end function emulator_problem

  !> One path per line; empty lines are skipped.
  subroutine read_file_list(list, files, error)
    character(len=*), intent(in) :: list
    type(path_entry), allocatable, intent(out) :: files(:)
    character(len=:), allocatable, intent(out) :: error
    character(len=path_length) :: line, message
    type(path_entry) :: entry
    integer :: unit, failed

    error = ''
    allocate (files(0))
    open (newunit=unit, file=list, status='old', action='read', iostat=failed, iomsg=message)
    if (failed /= 0) then
      error = list // ': ' // trim(message)
      return
    end if
    do
      read (unit, '(a)', iostat=failed, iomsg=message) line
      if (failed /= 0) exit
      entry%path = trim(line)
      if (len(entry%path) > 0) files = [files, entry]
    end do
    close (unit)
    if (failed /= iostat_end) error = list // ': ' // trim(message)
    if (len(error) == 0) call check_file_list(list, files, error)
  end subroutine read_file_list

  subroutine check_file_list(list, files, error)
    character(len=*), intent(in) :: list
    type(path_entry), intent(in) :: files(:)
    character(len=:), allocatable, intent(out) :: error
    integer :: i, j

    error = ''
    if (size(files) == 0) error = list // ': the list of mli files is empty'
    do i = 1, size(files)
      if (index(base_name(files(i)%path), '.mli.') == 0) then
        error = list // ': ' // files(i)%path &
          // ' is not named like an mli file (E3SM-MMF.mli.YYYY-MM-DD-SSSSS.nc)'
        return
      end if
      do j = 1, i - 1
        if (base_name(files(j)%path) == base_name(files(i)%path)) then
          error = list // ': ' // base_name(files(i)%path) &
            // ' is listed twice: both outputs would have one name'
          return
        end if
      end do
    end do
  end subroutine check_file_list

  !> Where the output of one input file goes: the same name with mlo for mli, in the output folder.
  pure function output_path(settings, input) result(path)
    type(replay_settings), intent(in) :: settings
    character(len=*), intent(in) :: input
    character(len=:), allocatable :: path
    integer :: at

    path = base_name(input)
    at = index(path, '.mli.')
    path = trim(settings%replay%output_directory) // '/' // path(:at - 1) // '.mlo.' // &
           path(at + len('.mli.'):)
  end function output_path

  pure function base_name(path) result(name)
    character(len=*), intent(in) :: path
    character(len=:), allocatable :: name

    name = path(index(path, '/', back=.true.) + 1:)
  end function base_name

end module replay_config
