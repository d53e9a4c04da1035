!> What a replay is told: the namelist /replay/ and the list of files.
module replay_config
  use, intrinsic :: iso_fortran_env, only: iostat_end, real64
  implicit none (type, external)
  private

  public :: replay_settings, read_settings, output_path, base_name

  integer, parameter :: path_length = 4096
  integer, parameter :: name_length = 64, max_names = 32

  !> A path of its own length.
  type, public :: path_entry
    character(len=:), allocatable :: path
  end type path_entry

  !> The settings of one replay, checked.
  type :: replay_settings
    character(len=:), allocatable :: package             !! Package file.
    character(len=:), allocatable :: package_name        !! For attributes; '' if nobody said.
    character(len=:), allocatable :: output_directory    !! An existing folder.
    character(len=:), allocatable :: lock_file  !! Held by all ranks while they live; '' for none.
    character(len=:), allocatable :: created  !! Date of the run, for attributes; '' if nobody said.
    character(len=:), allocatable :: device              !! cpu, cuda, cuda:N or auto.
    character(len=:), allocatable :: grid_file           !! File with P0, hyam, hybm; '' to read
                                                         !! state_pmid from each file.
    character(len=:), allocatable :: pinned_sha256       !! SHA-256 the package must have; not
                                                         !! allocated if any will do.
    type(path_entry), allocatable :: files(:)            !! One mli file per step.
    !> Constraints of the package that are left out.
    character(len=name_length), allocatable :: constraints_off(:)
    integer :: pcols = 16                                !! Columns per chunk.
    integer :: threads = 1                               !! Threads within one operation.
    integer :: micro_batch = 64                          !! Columns per forward on a CPU.
    real(real64) :: time_step_s = 0.0_real64             !! Physics time step [s].
  end type replay_settings

contains

  !> Reads and checks the namelist file. error is '' or says what is wrong and where.
  subroutine read_settings(file, settings, error)
    character(len=*), intent(in) :: file
    type(replay_settings), intent(out) :: settings
    character(len=:), allocatable, intent(out) :: error
    character(len=path_length) :: package, package_name, files, output_directory, grid_file, &
                                  lock_file, created, device, pinned_sha256, message
    character(len=name_length) :: constraints_off(max_names)
    integer :: pcols, threads, micro_batch, unit, failed
    real(real64) :: time_step_s
    namelist /replay/ package, package_name, pinned_sha256, files, output_directory, grid_file, &
      lock_file, created, device, pcols, threads, micro_batch, constraints_off, time_step_s

    package = ''
    package_name = ''
    files = ''
    output_directory = ''
    grid_file = ''
    lock_file = ''
    created = ''
    pinned_sha256 = ''
    device = 'cpu'
    constraints_off = ''
    pcols = settings%pcols
    threads = settings%threads
    micro_batch = settings%micro_batch
    time_step_s = settings%time_step_s
    open (newunit=unit, file=file, status='old', action='read', iostat=failed, iomsg=message)
    if (failed == 0) then
      read (unit, nml=replay, iostat=failed, iomsg=message)
      close (unit)
    end if
    settings%package = trim(package)
    settings%package_name = trim(package_name)
    settings%output_directory = trim(output_directory)
    settings%lock_file = trim(lock_file)
    settings%created = trim(created)
    settings%grid_file = trim(grid_file)
    if (len_trim(pinned_sha256) > 0) settings%pinned_sha256 = trim(pinned_sha256)
    settings%device = trim(device)
    settings%pcols = pcols
    settings%threads = threads
    settings%micro_batch = micro_batch
    settings%constraints_off = pack(constraints_off, len_trim(constraints_off) > 0)
    settings%time_step_s = time_step_s
    if (failed == 0) message = settings_error(settings, trim(files))
    if (len_trim(message) > 0) then
      error = file // ': namelist /replay/: ' // trim(message)
    else
      call read_file_list(trim(files), settings%files, error)
    end if
  end subroutine read_settings

  !> '' if the settings make sense.
  pure function settings_error(settings, files) result(error)
    type(replay_settings), intent(in) :: settings
    character(len=*), intent(in) :: files
    character(len=:), allocatable :: error

    error = ''
    if (len(settings%package) == 0) then
      error = 'package is missing: name the package file'
    else if (len(files) == 0) then
      error = 'files is missing: name a text file with one mli file per line'
    else if (len(settings%output_directory) == 0) then
      error = 'output_directory is missing: name an existing folder'
    else if (settings%pcols < 1) then
      error = 'pcols must be 1 or more'
    else if (.not. settings%time_step_s > 0.0_real64) then
      error = &
        'time_step_s is missing or not positive: give the physics time step in seconds, ' // &
        '1200.0 for ClimSim'
    else if (max(len(settings%package), len(files), len(settings%output_directory), &
                 len(settings%grid_file), len(settings%lock_file)) == path_length) then
      error = 'a path is too long'
    end if
  end function settings_error

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
    path = settings%output_directory // '/' // path(:at - 1) // '.mlo.' // path(at + len('.mli.'):)
  end function output_path

  pure function base_name(path) result(name)
    character(len=*), intent(in) :: path
    character(len=:), allocatable :: name

    name = path(index(path, '/', back=.true.) + 1:)
  end function base_name

end module replay_config
