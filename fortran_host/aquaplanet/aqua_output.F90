!> What a run writes on its way: ClimSim pairs, history, budgets. Rank 0 writes, since it has all fields; nothing here waits for
!! others.
module aqua_output
  use aqua_budgets, only: write_budget_header, write_budget_row
  use aqua_climsim_output, only: write_climsim_pair, write_grid_file
  use aqua_calendar, only: civil_date, model_time, stamp
  use aqua_constants, only: r8
  use aqua_fields, only: profile_fields, profile_values, surface_fields, surface_values
  use aqua_history, only: history_field, history_stream
  use aqua_model, only: aquaplanet_model
  use aqua_settings, only: path_length
  implicit none (type, external)
  private

  public :: model_output

  !> Of the fields of aqua_fields, how many there are without moist physics.
  integer, parameter :: dry_profiles = 5
  integer, parameter :: dry_scalars = 1

  type :: model_output
    type(history_stream) :: streams(3)               !! Monthly, daily, hourly.
    character(len=:), allocatable :: folder
    integer :: n_profile = 0
    integer :: n_scalar = 0
    integer :: budget_unit = -1
  contains
    procedure :: open => output_open
    procedure :: record => output_record
    procedure :: close => output_close
    procedure, private :: record_history
    procedure, private :: record_pair
    procedure, private :: open_budget
  end type model_output

contains

  !> Makes the folders and files of a run, or goes on with those of the run that is resumed. error is '' or
  !! names what cannot be written.
  subroutine output_open(self, model, error)
    class(model_output), intent(inout) :: self
    type(aquaplanet_model), intent(in) :: model
    character(len=:), allocatable, intent(out) :: error
    type(history_field), allocatable :: profiles(:), scalars(:)
    character(len=:), allocatable :: name
    logical :: moist

    moist = model%settings%run%physics == 'moist'
    self%folder = trim(model%settings%run%output_directory)
    name = trim(model%settings%run%case_name)
    profiles = profile_fields()
    scalars = surface_fields()
    self%n_profile = merge(size(profiles), dry_profiles, moist)
    self%n_scalar = merge(size(scalars), dry_scalars, moist)
    error = ''
    call make_folder(self%folder // '/history', error)
    associate (wanted => model%settings%output, fields => [profiles(:self%n_profile), scalars(:self%n_scalar)])
      if (len(error) == 0 .and. wanted%history_monthly) then
        call self%streams(1)%initialize('h0', self%folder // '/history', name, fields, model%grid, model%levels, error)
      end if
      if (len(error) == 0 .and. wanted%history_daily) then
        call self%streams(2)%initialize('h1', self%folder // '/history', name, fields, model%grid, model%levels, error, &
                                        instantaneous=wanted%history_daily_instantaneous)
      end if
      if (len(error) == 0 .and. wanted%history_hourly) then
        call self%streams(3)%initialize('h2', self%folder // '/history', name, scalars(:self%n_scalar), model%grid, model%levels, &
                                        error)
      end if
      if (len(error) == 0 .and. wanted%climsim_every_steps > 0) then
        call make_folder(self%folder // '/climsim', error)
        if (len(error) == 0) call write_grid_file(self%folder // '/climsim/' // name // '_grid-info.nc', model%grid, &
                                                  model%levels, error)
      end if
    end associate
    if (len(error) == 0) call make_folder(self%folder // '/restart', error)
    if (len(error) == 0 .and. moist) call self%open_budget(model%step_number, error)
  end subroutine output_open

  !> Makes a folder and those above it, where it is not there yet: a new process is no small thing under MPI.
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

  !> Begins budgets.csv, or keeps of an earlier one in this folder the rows up to the step that is gone on from.
  subroutine open_budget(self, last_step, error)
    class(model_output), intent(inout) :: self
    integer, intent(in) :: last_step
    character(len=:), allocatable, intent(inout) :: error
    character(len=path_length) :: message, line
    integer :: failed, step

    open (newunit=self%budget_unit, file=self%folder // '/budgets.csv', action='readwrite', position='rewind', iostat=failed, &
          iomsg=message)
    if (failed /= 0) then
      error = self%folder // '/budgets.csv: ' // trim(message)
      return
    end if
    failed = -1
    if (last_step > 0) read (self%budget_unit, '(a)', iostat=failed) line
    if (failed == 0) then
      do while (failed == 0)
        read (self%budget_unit, *, iostat=failed) step
        if (failed == 0 .and. step > last_step) then
          backspace (self%budget_unit)
          exit
        end if
      end do
      if (failed < 0) backspace (self%budget_unit)
    else
      rewind (self%budget_unit)
      call write_budget_header(self%budget_unit)
    end if
  end subroutine open_budget

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
    call write_budget_row(self%budget_unit, model%budget, failed, message)
    if (failed /= 0) error = self%folder // '/budgets.csv: ' // trim(message)
  end subroutine output_record

  subroutine record_history(self, model, error)
    class(model_output), intent(inout) :: self
    type(aquaplanet_model), intent(in) :: model
    character(len=:), allocatable, intent(out) :: error
    type(model_time) :: now
    integer :: i

    error = ''
    now = model%time(model%step_number)
    if (self%streams(1)%needs_values(now) .or. self%streams(2)%needs_values(now)) then
      do i = 1, self%n_profile
        associate (values => profile_values(model, i))
          call self%streams(1)%accumulate(i, values)
          call self%streams(2)%accumulate(i, values)
        end associate
      end do
    end if
    do i = 1, self%n_scalar
      associate (values => surface_values(model, i))
        call self%streams(1)%accumulate(self%n_profile + i, values)
        call self%streams(2)%accumulate(self%n_profile + i, values)
        call self%streams(3)%accumulate(i, values)
      end associate
    end do
    do i = 1, size(self%streams)
      if (len(error) == 0) call self%streams(i)%end_step(now, model%settings%run%time_step_s, error)
    end do
  end subroutine record_history

  !> The mli/mlo pair of this step, if it is one that is sampled; in shadow mode the other physics' pair of the same input too.
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
      if (modulo(model%step_number - wanted%climsim_from_step, wanted%climsim_every_steps) /= 0) return
    end associate
    now = model%time(model%step_number)
    call civil_date(now, year, of_year, day)
    write (month, '(i4.4,"-",i2.2)') year, of_year
    folder = self%folder // '/climsim/train/' // trim(month)
    call make_folder(folder, error)
    associate (dt => model%settings%run%time_step_s, worker => model%worker)
      if (len(error) == 0) call write_climsim_pair(folder, now, model%before, worker%results, dt, error)
      if (len(error) > 0 .or. .not. model%hybrid%shadows()) return
      folder = self%folder // '/climsim/shadow/' // trim(month)
      call make_folder(folder, error)
      if (len(error) == 0) call write_climsim_pair(folder, now, model%before, worker%shadow, dt, error)
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
