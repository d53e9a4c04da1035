!> What a run writes on its way: ClimSim pairs, history, budgets. Rank 0 writes, since it has all
!! fields; nothing here waits for others.
module aqua_output
  use aqua_budgets, only: budget_layout, find_budget_row, write_budget_row
  use aqua_climsim_output, only: write_climsim_pair, write_grid_file
  use host_calendar, only: civil_date, model_time
  use aqua_constants, only: r8
  use aqua_fields, only: model_fields
  use aqua_history, only: history_stream
  use aqua_model, only: aquaplanet_model
  use host_namelists, only: path_length
  use host_provenance, only: new_provenance, run_provenance
  implicit none (type, external)
  private

  public :: model_output

  integer, parameter :: hourly = 3                   ! of the streams

  type :: model_output
    type(history_stream) :: streams(3)               !! Monthly, daily, hourly.
    character(len=:), allocatable :: folder
    logical :: goes_on = .false.   !! With the files of a run that was in this folder.
    type(model_fields) :: fields
    integer :: budget_unit = -1
    type(budget_layout) :: budget_columns
  contains
    procedure :: open => output_open
    procedure :: record => output_record
    procedure :: hand_over => output_hand_over
    procedure :: close => output_close
    procedure, private :: open_history, record_history, record_pair, open_budget
  end type model_output

contains

  !> Makes the folders and files of a run, or goes on with those of the run that is resumed. error
  !! is '' or names what cannot be written.
  subroutine output_open(self, model, error)
    class(model_output), intent(inout) :: self
    type(aquaplanet_model), intent(in), target :: model      !! Stays where it is.
    character(len=:), allocatable, intent(out) :: error
    character(len=:), allocatable :: grid_file

    self%folder = trim(model%settings%run%output_directory)
    self%goes_on = model%step_number > 0 .and. &
                   index(model%settings%run%restart_from, self%folder // '/') == 1
    call self%fields%initialize(model)
    error = ''
    call self%open_history(model, error)
    if (model%settings%output%climsim_every_steps > 0) then
      call make_folder(self%folder // '/climsim', error)
      grid_file = self%folder // '/climsim/' // trim(model%settings%run%case_name) &
                  // '_grid-info.nc'
      if (len(error) == 0) call write_grid_file(grid_file, model%grid, model%levels, error)
    end if
    call make_folder(self%folder // '/restart', error)
    if (len(error) == 0 .and. model%settings%run%physics == 'moist') then
      associate (hybrid => model%hybrid)
        self%budget_columns%has_emulator = hybrid%feeds_back()
        self%budget_columns%has_range_policy = hybrid%feeds_back() .and. hybrid%has_range_policy
      end associate
      call self%open_budget(model%step_number, error)
    end if
  end subroutine output_open

  !> Opens the streams that are wanted; the hourly one has no profiles.
  subroutine open_history(self, model, error)
    class(model_output), intent(inout) :: self
    type(aquaplanet_model), intent(in) :: model
    character(len=:), allocatable, intent(inout) :: error
    character(len=*), parameter :: kinds(3) = ['h0', 'h1', 'h2']
    logical :: is_wanted(3), is_instantaneous(3)
    integer :: i

    call make_folder(self%folder // '/history', error)
    associate (wanted => model%settings%output, fields => self%fields%all%is)
      is_wanted = [wanted%history_monthly, wanted%history_daily, wanted%history_hourly]
      is_instantaneous = [.false., wanted%history_daily_instantaneous, .false.]
      do i = 1, size(kinds)
        if (len(error) > 0 .or. .not. is_wanted(i)) cycle
        call self%streams(i)%initialize(kinds(i), self%folder // '/history', &
                                        trim(model%settings%run%case_name), &
                                        pack(fields, i < hourly .or. .not. fields%has_levels), &
                                        model%grid, model%levels, error, &
                                        instantaneous=is_instantaneous(i), &
                                        made_by=provenance_of(model))
      end do
    end associate
  end subroutine open_history

  function provenance_of(model) result(of)
    type(aquaplanet_model), intent(in) :: model
    type(run_provenance) :: of

    associate (settings => model%settings, emulator => model%hybrid%emulator)
      of = new_provenance(trim(settings%run%created), &
                          trim(settings%emulator%entries%package_name), &
                          emulator%digest(), emulator%constraints_off(), &
                          model%hybrid%remap%text(model%levels%n_level))
    end associate
  end function provenance_of

  !> Makes a folder and those above it, where it is not there yet: a new process is no small thing
  !! under MPI.
  subroutine make_folder(path, error)
    character(len=*), intent(in) :: path
    character(len=:), allocatable, intent(inout) :: error
    integer :: code
    logical :: exists

    if (len(error) > 0) return
    inquire (file=path // '/.', exist=exists)
    if (exists) return
    call execute_command_line("mkdir -p '" // path // "'", exitstat=code)
    if (code /= 0) error = path // ': the folder cannot be made'
  end subroutine make_folder

  !> Begins budgets.csv, or keeps of an earlier one in this folder the rows up to the step that is
  !! gone on from: later ones are made again.
  subroutine open_budget(self, last_step, error)
    class(model_output), intent(inout) :: self
    integer, intent(in) :: last_step
    character(len=:), allocatable, intent(inout) :: error
    character(len=path_length) :: message, header
    character(len=80) :: text
    integer :: failed, found

    associate (path => self%folder // '/budgets.csv', unit => self%budget_unit)
      found = 0
      open (newunit=unit, file=path, action='readwrite', status='old', iostat=failed)
      if (failed == 0) then
        read (unit, '(a)', iostat=failed) header
        if (failed == 0) call find_budget_row(unit, self%budget_columns, last_step, found)
        if (found > 0 .and. trim(header) /= self%budget_columns%names()) then
          error = path // ': its columns are not those of this run; move the file away to ' // &
                  'begin a new one'
          return
        end if
        if (self%goes_on .and. found > 0 .and. found < last_step) then
          write (text, '(2(a,i0))') 'the restart follows step ', last_step, &
            ', the last row before is of step ', found
          error = path // ': ' // trim(text) // '; move the file away to begin a new one'
          return
        end if
        endfile (unit)
        close (unit)
      end if
      open (newunit=unit, file=path, action='write', &
            position=merge('append', 'rewind', found > 0), iostat=failed, iomsg=message)
      if (failed /= 0) then
        error = path // ': ' // trim(message)
      else if (found == 0) then
        write (unit, '(a)') self%budget_columns%names()
      end if
    end associate
  end subroutine open_budget

  !> Writes what is still held back to the files, so that a restart never knows more than they do.
  subroutine output_hand_over(self, error)
    class(model_output), intent(in) :: self
    character(len=:), allocatable, intent(inout) :: error
    character(len=path_length) :: message
    integer :: failed

    ! Pairs and samples of history are handed to the system as they are made.
    if (len(error) > 0 .or. self%budget_unit == -1) return
    flush (self%budget_unit, iostat=failed, iomsg=message)
    if (failed /= 0) error = self%folder // '/budgets.csv: ' // trim(message)
  end subroutine output_hand_over

  !> Records the step that the model has just made.
  subroutine output_record(self, model, error)
    class(model_output), intent(inout) :: self
    type(aquaplanet_model), intent(in) :: model
    character(len=:), allocatable, intent(out) :: error
    character(len=path_length) :: message
    integer :: failed

    call self%record_history(model, error)
    if (len(error) == 0) call self%record_pair(model, error)
    if (len(error) > 0 .or. self%budget_unit == -1) return
    call write_budget_row(self%budget_unit, self%budget_columns, model%budget, failed, message)
    if (failed /= 0) error = self%folder // '/budgets.csv: ' // trim(message)
  end subroutine output_record

  subroutine record_history(self, model, error)
    class(model_output), intent(inout) :: self
    type(aquaplanet_model), intent(in) :: model
    character(len=:), allocatable, intent(out) :: error
    type(model_time) :: now
    logical :: needs_profiles
    integer :: i, n_profile

    error = ''
    now = model%time(model%step_number)
    needs_profiles = self%streams(1)%needs_values(now) .or. self%streams(2)%needs_values(now)
    call self%fields%update(model, needs_profiles)
    n_profile = count(self%fields%all%is%has_levels)
    do i = 1, size(self%fields%all)
      associate (field => self%fields%all(i))
        if (field%is%has_levels .and. .not. needs_profiles) cycle
        call self%streams(1)%accumulate(i, field%values)
        call self%streams(2)%accumulate(i, field%values)
        if (i > n_profile) call self%streams(hourly)%accumulate(i - n_profile, field%values)
      end associate
    end do
    do i = 1, size(self%streams)
      if (len(error) == 0) call self%streams(i)%end_step(now, model%settings%run%time_step_s, error)
    end do
  end subroutine record_history

  !> The mli/mlo pair of this step, if it is one that is sampled; in shadow mode the other physics'
  !! pair of the same input too.
  subroutine record_pair(self, model, error)
    class(model_output), intent(inout) :: self
    type(aquaplanet_model), intent(in) :: model
    character(len=:), allocatable, intent(out) :: error
    type(model_time) :: now
    character(len=:), allocatable :: folder
    character(len=16) :: month
    integer :: year, of_year, day

    error = ''
    associate (wanted => model%settings%output)
      if (wanted%climsim_every_steps < 1 .or. model%step_number < wanted%climsim_from_step) return
      if (modulo(model%step_number - wanted%climsim_from_step, wanted%climsim_every_steps) &
          /= 0) return
    end associate
    now = model%time(model%step_number)
    call civil_date(now, year, of_year, day)
    write (month, '(i4.4,"-",i2.2)') year, of_year
    folder = self%folder // '/climsim/train/' // trim(month)
    call make_folder(folder, error)
    associate (dt => model%settings%run%time_step_s, worker => model%worker)
      if (len(error) == 0) call write_climsim_pair(folder, now, model%before, worker%results, dt, &
                                                   error)
      if (len(error) > 0 .or. .not. model%hybrid%shadows()) return
      folder = self%folder // '/climsim/shadow/' // trim(month)
      call make_folder(folder, error)
      if (len(error) == 0) call write_climsim_pair(folder, now, model%before, worker%shadow, dt, &
                                                   error)
    end associate
  end subroutine record_pair

  !> Closes all files; what was written is complete.
  subroutine output_close(self, error)
    class(model_output), intent(inout) :: self
    character(len=:), allocatable, intent(out) :: error
    integer :: i

    error = ''
    do i = 1, size(self%streams)
      call self%streams(i)%close(error)
    end do
    if (self%budget_unit /= -1) close (self%budget_unit)
    self%budget_unit = -1
  end subroutine output_close

end module aqua_output
