!> History as E3SM writes it: monthly means (h0), daily means (h1), hourly means or values (h2),
!! each with files of its own.
!!
!! Every step: accumulate every field, then end_step. A period that ends at the step is written at
!! once. A run may stop anywhere: the sums of the period in progress go to the restart
!! (packed_state) and come back (unpack_state), and the files are as if it had not.
module aqua_history
  use host_calendar, only: model_time, stamp, starts, time_after
  use aqua_constants, only: r8
  use aqua_grid, only: gaussian_grid
  use aqua_history_file, only: history_description, history_field, history_file
  use aqua_levels, only: hybrid_levels
  use host_provenance, only: run_provenance
  use netcdf_files, only: close_file
  implicit none (type, external)
  private

  public :: history_field, history_stream

  !> Of one field, the sum over the steps of a period, or the latest values.
  type :: accumulator
    real(r8), pointer :: values(:, :) => null() !! [level, column], or [1, column]; in all_sums.
    logical :: given = .false.                  !! In this step.
  end type accumulator

  integer, parameter :: n_counter = 9           ! whole numbers before the sums in a packed state

  type :: history_stream
    private
    logical, public :: is_active = .false.     !! Initialized; a stream that is not does nothing.
    character(len=2) :: kind = ''
    character(len=5) :: period = ''            !! month, day or hour
    character(len=:), allocatable :: folder
    type(history_description) :: description
    integer :: samples_per_file = 1
    type(history_file) :: file
    real(r8), pointer :: all_sums(:) => null() !! Of the fields one after another.
    type(accumulator), allocatable :: sums(:)  !! [field]
    integer :: n_added = 0                     !! Steps in the period in progress.
    integer :: n_sample = 0                    !! In the file in progress.
    type(model_time) :: period_start           !! Of the period in progress.
    type(model_time) :: file_start             !! Begin of the first sample of the file in progress.
    type(model_time) :: last_sample            !! End of the latest sample.
    character(len=:), allocatable :: error     !! Of accumulate, for end_step.
  contains
    procedure :: initialize, accumulate, needs_values, end_step
    procedure :: close => close_stream
    procedure :: packed_state, unpack_state
    procedure, private :: check_given, write_sample, path
  end type history_stream

contains

  !> Makes a stream. Nothing is written before the first period ends.
  subroutine initialize(self, kind, folder, case_name, fields, grid, levels, error, &
                        samples_per_file, instantaneous, made_by)
    class(history_stream), intent(inout) :: self
    character(len=*), intent(in) :: kind                     !! h0 monthly, h1 daily, h2 hourly
    character(len=*), intent(in) :: folder
    character(len=*), intent(in) :: case_name                !! Begins the file names.
    type(history_field), intent(in) :: fields(:)
    type(gaussian_grid), intent(in) :: grid
    type(hybrid_levels), intent(in) :: levels
    character(len=:), allocatable, intent(out) :: error
    integer, intent(in), optional :: samples_per_file        !! Default: 1 month, 30 days, 24 hours.
    logical, intent(in), optional :: instantaneous           !! Values at the end of each period.
                                                             !! Default: means over it.
    type(run_provenance), intent(in), optional :: made_by    !! For attributes. Default: none.
    integer :: i, at, n_level

    error = ''
    self%kind = kind
    self%folder = folder
    self%error = ''
    self%description = history_description(case_name=case_name, frequency='', fields=fields, &
                                           grid=grid, levels=levels)
    if (present(made_by)) self%description%made_by = made_by
    if (present(instantaneous)) self%description%instantaneous = instantaneous
    select case (kind)
    case ('h0')
      self%period = 'month'
      self%samples_per_file = 1
    case ('h1')
      self%period = 'day'
      self%samples_per_file = 30
    case ('h2')
      self%period = 'hour'
      self%samples_per_file = 24
    case default
      error = "the kind of a history stream must be h0, h1 or h2, not '" // kind // "'"
    end select
    self%description%frequency = trim(self%period) // '_1'
    if (present(samples_per_file)) self%samples_per_file = samples_per_file
    if (self%samples_per_file < 1) error = kind // ': samples per file must be 1 or more'
    if (len(error) > 0) return
    allocate (self%sums(size(fields)))
    allocate (self%all_sums(sum(merge(levels%n_level, 1, fields%has_levels)) * grid%n_column), &
              source=0.0_r8)
    at = 0
    do i = 1, size(fields)
      n_level = merge(levels%n_level, 1, fields(i)%has_levels)
      self%sums(i)%values(1:n_level, 1:grid%n_column) => self%all_sums(at + 1:)
      at = at + n_level * grid%n_column
    end do
    self%is_active = .true.
  end subroutine initialize

  !> Whether the step that ends at this time needs values: of means every step, of instantaneous
  !! values the last of a period.
  pure function needs_values(self, time) result(yes)
    class(history_stream), intent(in) :: self
    type(model_time), intent(in) :: time
    logical :: yes

    yes = self%is_active
    if (yes .and. self%description%instantaneous) yes = starts(time, self%period)
  end function needs_values

  !> Adds the values of a field in this step.
  subroutine accumulate(self, field, values)
    class(history_stream), intent(inout) :: self
    integer, intent(in) :: field                               !! Position in fields.
    real(r8), intent(in) :: values(:, :)                       !! [level, column], or [1, column]

    if (.not. self%is_active) return
    associate (sum => self%sums(field))
      if (any(shape(values) /= shape(sum%values))) then
        self%error = trim(self%description%fields(field)%name) &
          // ' has not the shape (level, column)'
      else if (self%n_added == 0 .or. self%description%instantaneous) then
        sum%values = values
      else
        sum%values = sum%values + values
      end if
      sum%given = .true.
    end associate
  end subroutine accumulate

  !> Ends a step; a sample is written if a period ends with it. error is '' or names the file and
  !! what is wrong; the samples before stay readable.
  subroutine end_step(self, time, dt, error)
    class(history_stream), intent(inout) :: self
    type(model_time), intent(in) :: time                       !! At the end of the step.
    real(r8), intent(in) :: dt                                 !! [s]
    character(len=:), allocatable, intent(out) :: error

    error = ''
    if (.not. self%is_active) return
    if (self%needs_values(time)) call self%check_given()
    error = self%error
    if (len(error) > 0) return
    if (self%n_added == 0) self%period_start = time_after(time, -1, dt)
    self%n_added = self%n_added + 1
    self%sums%given = .false.
    if (starts(time, self%period)) call self%write_sample(time, error)
  end subroutine end_step

  subroutine check_given(self)
    class(history_stream), intent(inout) :: self
    integer :: missing

    missing = findloc(self%sums%given, .false., dim=1)
    if (missing > 0 .and. len(self%error) == 0) then
      self%error = self%kind // ': ' // trim(self%description%fields(missing)%name) &
        // ' was not given in this step'
    end if
  end subroutine check_given

  !> E3SM's names: CASE.eam.h0.0001-01.nc, CASE.eam.h1.0001-01-01-00000.nc, after the begin of the
  !! first sample.
  function path(self) result(name)
    class(history_stream), intent(in) :: self
    character(len=:), allocatable :: name
    character(len=16) :: start

    start = stamp(self%file_start)
    name = self%folder // '/' // self%description%case_name // '.eam.' // self%kind // '.'
    if (self%kind == 'h0' .and. self%samples_per_file == 1) then
      name = name // start(:7) // '.nc'
    else
      name = name // start // '.nc'
    end if
  end function path

  !> Writes the period that ends at this time, in a new file when the last one is full.
  subroutine write_sample(self, time, error)
    class(history_stream), intent(inout) :: self
    type(model_time), intent(in) :: time
    character(len=:), allocatable, intent(inout) :: error
    type(model_time) :: begin
    integer :: i, divisor

    begin = self%period_start
    divisor = self%n_added
    if (self%description%instantaneous) then
      begin = time
      divisor = 1
    end if
    if (self%file%id == -1) then
      self%n_sample = 0
      self%file_start = self%period_start
      call self%file%create(self%path(), self%description, error)
      if (len(error) > 0) return
    end if
    call self%file%begin_record(begin, time, error)
    do i = 1, size(self%sums)
      call self%file%put(i, self%sums(i)%values, divisor, error)
    end do
    call self%file%end_record(error)
    if (len(error) > 0) return
    self%n_added = 0
    self%n_sample = self%n_sample + 1
    self%last_sample = time
    if (self%n_sample == self%samples_per_file) call self%close(error)
  end subroutine write_sample

  !> Closes the file in progress; its samples are complete. What is left of a period lives on in the
  !! restart only.
  subroutine close_stream(self, error)
    class(history_stream), intent(inout) :: self
    character(len=:), allocatable, intent(inout) :: error

    call close_file(self%file, error)
  end subroutine close_stream

  !> Everything that an exact restart needs, as one vector; the samples written are in the files
  !! already. Nothing of a stream that is not active.
  pure function packed_state(self) result(state)
    class(history_stream), intent(in) :: self
    real(r8), allocatable :: state(:)

    allocate (state(0))
    if (.not. self%is_active) return
    state = [real([self%n_added, self%n_sample, self%samples_per_file, &
                   self%period_start%day_number, self%period_start%second, &
                   self%file_start%day_number, self%file_start%second, &
                   self%last_sample%day_number, self%last_sample%second], r8), self%all_sums]
  end function packed_state

  !> Goes on from a packed state. The file in progress is reopened and samples after the restart are
  !! dropped from it; where it is not in the folder, a new one is begun. error is '' or names the
  !! file and what does not fit.
  subroutine unpack_state(self, buffer, error)
    class(history_stream), intent(inout) :: self
    real(r8), intent(in) :: buffer(:)                          !! From packed_state
    character(len=:), allocatable, intent(out) :: error
    integer :: counters(n_counter)

    error = ''
    if (.not. self%is_active) return
    if (size(buffer) /= n_counter + size(self%all_sums)) then
      error = self%kind // ': the restart has the sums of other history fields'
      return
    end if
    counters = nint(buffer(:n_counter))
    self%n_added = counters(1)
    self%n_sample = counters(2)
    self%period_start = model_time(counters(4), counters(5))
    self%file_start = model_time(counters(6), counters(7))
    self%last_sample = model_time(counters(8), counters(9))
    self%all_sums = buffer(n_counter + 1:)
    if (self%n_sample == 0 .or. self%n_sample == self%samples_per_file) return
    call self%file%append(self%path(), self%description, self%n_sample, self%last_sample, error)
  end subroutine unpack_state

end module aqua_history
