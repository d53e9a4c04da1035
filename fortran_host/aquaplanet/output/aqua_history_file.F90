!> One history file: E3SM's dimensions, coordinates and attributes, and one record per sample.
!! CDF-5, fields in single precision.
!!
!! A file appears with its first record, and every record counts only once it is whole and handed to
!! the system: who reads while the run goes on, or after it was killed, sees complete samples.
module aqua_history_file
  use, intrinsic :: iso_fortran_env, only: real32
  use netcdf, only: nf90_def_dim, nf90_double, nf90_enddef, nf90_float, nf90_get_var, nf90_global, &
                    nf90_inq_varid, nf90_inquire, nf90_inquire_dimension, nf90_inquire_variable, &
                    nf90_int, nf90_max_name, nf90_max_var_dims, nf90_nofill, nf90_nowrite, &
                    nf90_put_att, nf90_put_var, nf90_set_fill, nf90_sync, nf90_unlimited, nf90_write
  use host_calendar, only: days_since_start, model_time, ymd
  use aqua_constants, only: r8
  use aqua_coordinates, only: coordinate_variables, define_coordinates, write_coordinates
  use aqua_grid, only: gaussian_grid
  use aqua_levels, only: hybrid_levels
  use classic_netcdf, only: set_record_count
  use host_provenance, only: put_provenance, run_provenance
  use netcdf_files, only: attempt, close_file, complete, create_beside, define_variable, &
                          find_dimension, netcdf_file, open_whole, put_in_place
  implicit none (type, external)
  private

  public :: history_field, history_description, history_file

  !> A field of a stream.
  type :: history_field
    character(len=24) :: name = ''
    character(len=96) :: long_name = ''
    character(len=24) :: units = ''
    logical :: has_levels = .false.
  end type history_field

  !> What the files of a stream have in common.
  type :: history_description
    character(len=:), allocatable :: case_name
    character(len=:), allocatable :: frequency           !! E3SM's time_period_freq: month_1, day_1
                                                         !! or hour_1.
    logical :: instantaneous = .false.                   !! Samples are values at a time, not means
                                                         !! over a period.
    type(history_field), allocatable :: fields(:)
    type(run_provenance), allocatable :: made_by         !! Not allocated: the files do not say.
    type(gaussian_grid) :: grid
    type(hybrid_levels) :: levels
  end type history_description

  type, extends(netcdf_file) :: history_file
    integer, private :: n_record = 0                     !! Complete records.
    integer, private :: time, bounds, date, second       !! Variables
    integer, allocatable, private :: variables(:)        !! [field]
  contains
    procedure :: create => create_file
    procedure :: append, begin_record, put, end_record
    procedure, private :: define_time, define_fields, find_variables, check_last_record
    procedure, private :: keep_records
  end type history_file

contains

  !> Begins a file. It gets its name with the first record.
  subroutine create_file(self, path, description, error)
    class(history_file), intent(inout) :: self
    character(len=*), intent(in) :: path
    type(history_description), intent(in) :: description
    character(len=:), allocatable, intent(out) :: error
    type(coordinate_variables) :: coordinates

    call create_beside(path, self%netcdf_file, error)
    if (len(error) > 0) return
    self%n_record = 0
    call define_coordinates(self, description%grid, description%levels, coordinates, error)
    if (len(error) == 0) call self%define_time(coordinates, description, error)
    if (len(error) == 0) call write_coordinates(self, coordinates, error)
    if (len(error) > 0) call close_file(self)
  end subroutine create_file

  subroutine define_time(self, coordinates, description, error)
    class(history_file), intent(inout) :: self
    type(coordinate_variables), intent(in) :: coordinates
    type(history_description), intent(in) :: description
    character(len=:), allocatable, intent(inout) :: error
    integer :: time, bound

    call attempt(error, self%path, nf90_def_dim(self%id, 'time', nf90_unlimited, time))
    call attempt(error, self%path, nf90_def_dim(self%id, 'nbnd', 2, bound))
    call define_variable(self, 'time', nf90_double, [time], self%time, error, 'time', &
                         'days since 0001-01-01 00:00:00')
    call attempt(error, self%path, nf90_put_att(self%id, self%time, 'calendar', 'noleap'))
    call attempt(error, self%path, nf90_put_att(self%id, self%time, 'bounds', 'time_bnds'))
    call define_variable(self, 'time_bnds', nf90_double, [bound, time], self%bounds, error, &
                         'time interval endpoints')
    call define_variable(self, 'date', nf90_int, [time], self%date, error, &
                         'current date (YYYYMMDD)')
    call define_variable(self, 'datesec', nf90_int, [time], self%second, error, &
                         'current seconds of current date')
    if (len(error) == 0) call self%define_fields(coordinates, time, description, error)
  end subroutine define_time

  subroutine define_fields(self, coordinates, time, description, error)
    class(history_file), intent(inout) :: self
    type(coordinate_variables), intent(in) :: coordinates
    integer, intent(in) :: time                          !! The dimension.
    type(history_description), intent(in) :: description
    character(len=:), allocatable, intent(inout) :: error
    integer, allocatable :: dimensions(:)
    integer :: i

    if (allocated(self%variables)) deallocate (self%variables)
    allocate (self%variables(size(description%fields)))
    associate (id => self%id, path => self%path, fields => description%fields)
      do i = 1, size(fields)
        dimensions = [coordinates%n_column, time]
        if (fields(i)%has_levels) dimensions = [coordinates%n_column, coordinates%level, time]
        call define_variable(self, trim(fields(i)%name), nf90_float, dimensions, &
                             self%variables(i), error, trim(fields(i)%long_name), &
                             trim(fields(i)%units))
        call attempt(error, path, nf90_put_att(id, self%variables(i), 'cell_methods', &
                                               'time: ' &
                                               // trim(merge('point', 'mean ', &
                                                             description%instantaneous))))
      end do
      call attempt(error, path, nf90_put_att(id, nf90_global, 'Conventions', 'CF-1.7'))
      call attempt(error, path, &
                   nf90_put_att(id, nf90_global, 'title', 'history of the climlink aquaplanet'))
      call attempt(error, path, nf90_put_att(id, nf90_global, 'source', 'climlink aquaplanet'))
      call attempt(error, path, nf90_put_att(id, nf90_global, 'product', 'model-output'))
      call attempt(error, path, nf90_put_att(id, nf90_global, 'realm', 'atmos'))
      call attempt(error, path, nf90_put_att(id, nf90_global, 'case', description%case_name))
      call attempt(error, path, nf90_put_att(id, nf90_global, 'time_period_freq', &
                                             description%frequency))
      if (allocated(description%made_by)) call put_provenance(self, description%made_by, error)
      call attempt(error, path, nf90_enddef(id))
    end associate
  end subroutine define_fields

  !> Opens a file to go on after its first n_keep records, the last of which is of time `last`;
  !! later ones are dropped. error says what does not fit. If there is no such file, the stream is
  !! left closed.
  subroutine append(self, path, description, n_keep, last, error)
    class(history_file), intent(inout) :: self
    character(len=*), intent(in) :: path
    type(history_description), intent(in) :: description
    integer, intent(in) :: n_keep
    type(model_time), intent(in) :: last
    character(len=:), allocatable, intent(out) :: error
    integer :: old_mode, n_found
    logical :: exists

    error = ''
    inquire (file=path, exist=exists)
    if (.not. exists) return
    call open_whole(path, self%netcdf_file, error, nf90_nowrite)
    if (len(error) == 0) call self%find_variables(description, n_found, error)
    if (len(error) == 0) call self%check_last_record(n_keep, n_found, last, error)
    if (len(error) == 0 .and. n_found > n_keep) then
      call self%keep_records(n_keep, description, error)
    else
      call close_file(self)
    end if
    if (len(error) > 0) return
    call open_whole(path, self%netcdf_file, error, nf90_write)
    if (len(error) > 0) return
    call attempt(error, path, nf90_set_fill(self%id, nf90_nofill, old_mode))
    self%n_record = n_keep
  end subroutine append

  !> Finds the variables of a file that exists, and its number of records.
  subroutine find_variables(self, description, n_found, error)
    class(history_file), intent(inout) :: self
    type(history_description), intent(in) :: description
    integer, intent(out) :: n_found
    character(len=:), allocatable, intent(inout) :: error
    integer :: i, n_column, n_level

    if (allocated(self%variables)) deallocate (self%variables)
    allocate (self%variables(size(description%fields)))
    call find_dimension(self, 'ncol', n_column, error)
    call find_dimension(self, 'lev', n_level, error)
    call find_dimension(self, 'time', n_found, error)
    associate (id => self%id, path => self%path, fields => description%fields)
      call attempt(error, path, nf90_inq_varid(id, 'time', self%time), 'time')
      call attempt(error, path, nf90_inq_varid(id, 'time_bnds', self%bounds), 'time_bnds')
      call attempt(error, path, nf90_inq_varid(id, 'date', self%date), 'date')
      call attempt(error, path, nf90_inq_varid(id, 'datesec', self%second), 'datesec')
      do i = 1, size(fields)
        call attempt(error, path, nf90_inq_varid(id, trim(fields(i)%name), self%variables(i)), &
                     trim(fields(i)%name))
      end do
      if (len(error) > 0) return
      if (n_column /= description%grid%n_column .or. n_level /= description%levels%n_level) then
        error = path // ': the file has another grid or other levels than this case'
      end if
    end associate
  end subroutine find_variables

  subroutine check_last_record(self, n_keep, n_found, last, error)
    class(history_file), intent(in) :: self
    integer, intent(in) :: n_keep, n_found
    type(model_time), intent(in) :: last
    character(len=:), allocatable, intent(inout) :: error
    character(len=120) :: text
    real(r8) :: days

    if (n_found < n_keep) then
      write (text, '(2(a,i0))') 'the restart follows sample ', n_keep, &
        ' of this file, which has ', n_found
      error = self%path // ': ' // trim(text)
      return
    end if
    call attempt(error, self%path, &
                 nf90_get_var(self%id, self%time, days, start=[n_keep]), 'time')
    if (len(error) == 0 .and. abs(days - days_since_start(last)) > 0.0_r8) then
      write (text, '(a,i0,2(a,f0.5))') 'sample ', n_keep, ' is of day ', days, &
        ', the restart follows one of day ', days_since_start(last)
      error = self%path // ': ' // trim(text)
    end if
  end subroutine check_last_record

  !> Replaces the file, open for reading, by one that has its first n_keep records only, and closes
  !! both.
  subroutine keep_records(self, n_keep, description, error)
    class(history_file), intent(inout) :: self
    integer, intent(in) :: n_keep
    type(history_description), intent(in) :: description
    character(len=:), allocatable, intent(inout) :: error
    type(history_file) :: kept
    integer :: variable, n_variable

    call kept%create(self%path, description, error)
    if (len(error) > 0) return
    call attempt(error, self%path, nf90_inquire(self%id, nVariables=n_variable))
    do variable = 1, n_variable
      if (len(error) > 0) exit
      call copy_records(self, variable, kept, n_keep, error)
    end do
    call close_file(self)
    call complete(kept, error)
  end subroutine keep_records

  !> Copies the first records of one variable; nothing, if it has none. Float and int pass through
  !! double precision unchanged.
  subroutine copy_records(old, variable, new, n_keep, error)
    class(netcdf_file), intent(in) :: old
    integer, intent(in) :: variable                      !! In the old file.
    class(netcdf_file), intent(in) :: new
    integer, intent(in) :: n_keep
    character(len=:), allocatable, intent(inout) :: error
    real(r8), allocatable :: values(:)
    character(len=nf90_max_name) :: name
    integer :: dimensions(nf90_max_var_dims), counts(nf90_max_var_dims), starts(nf90_max_var_dims)
    integer :: n, i, record_dimension, new_variable

    call attempt(error, old%path, nf90_inquire(old%id, unlimitedDimId=record_dimension))
    call attempt(error, old%path, nf90_inquire_variable(old%id, variable, name=name, ndims=n, &
                                                        dimids=dimensions))
    if (len(error) > 0 .or. n == 0) return
    if (dimensions(n) /= record_dimension) return
    call attempt(error, old%path, nf90_inq_varid(new%id, trim(name), new_variable), trim(name))
    do i = 1, n
      call attempt(error, old%path, nf90_inquire_dimension(old%id, dimensions(i), len=counts(i)))
    end do
    counts(n) = 1
    starts = 1
    allocate (values(product(counts(:n))))
    do i = 1, n_keep
      starts(n) = i
      call attempt(error, old%path, nf90_get_var(old%id, variable, values, starts(:n), &
                                                 counts(:n)), trim(name))
      call attempt(error, old%path, nf90_put_var(new%id, new_variable, values, starts(:n), &
                                                 counts(:n)), trim(name))
      if (len(error) > 0) return
    end do
  end subroutine copy_records

  !> Begins the next record: a sample of the period from begin to end, or of the time `end`.
  subroutine begin_record(self, begin, end, error)
    class(history_file), intent(inout) :: self
    type(model_time), intent(in) :: begin, end
    character(len=:), allocatable, intent(inout) :: error
    integer :: at

    at = self%n_record + 1
    call attempt(error, self%path, &
                 nf90_put_var(self%id, self%time, days_since_start(end), start=[at]))
    call attempt(error, self%path, &
                 nf90_put_var(self%id, self%bounds, days_since_start([begin, end]), &
                              start=[1, at], count=[2, 1]))
    call attempt(error, self%path, nf90_put_var(self%id, self%date, ymd(end), start=[at]))
    call attempt(error, self%path, nf90_put_var(self%id, self%second, end%second, start=[at]))
  end subroutine begin_record

  !> Writes one field of the record: values / n_added.
  subroutine put(self, field, values, n_added, error)
    class(history_file), intent(inout) :: self
    integer, intent(in) :: field
    real(r8), intent(in) :: values(:, :)                 !! [level, column], or [1, column] for a
                                                         !! field without levels
    integer, intent(in) :: n_added
    character(len=:), allocatable, intent(inout) :: error
    real(real32) :: sample(size(values, 2), size(values, 1))
    logical :: axes(3)

    if (len(error) > 0) return
    sample = real(transpose(values) / real(n_added, r8), real32)
    axes = [.true., size(values, 1) > 1, .true.]                 ! column, level, time
    call attempt(error, self%path, &
                 nf90_put_var(self%id, self%variables(field), sample, &
                              start=pack([1, 1, self%n_record + 1], axes), &
                              count=pack([shape(sample), 1], axes)))
  end subroutine put

  !> Ends the record: hands it to the system and counts it. After an error the file has its earlier
  !! records, and is given up.
  subroutine end_record(self, error)
    class(history_file), intent(inout) :: self
    character(len=:), allocatable, intent(inout) :: error
    logical :: whole

    if (self%is_new) then
      call put_in_place(self, error)
    else
      call attempt(error, self%path, nf90_sync(self%id))
      if (len(error) > 0) then
        call close_file(self)
        call set_record_count(self%path, self%n_record, whole)
        if (.not. whole) error = error // '; the last sample of the file is not whole'
      end if
    end if
    if (len(error) > 0) return
    self%n_record = self%n_record + 1
  end subroutine end_record

end module aqua_history_file
