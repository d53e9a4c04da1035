!> Writes pairs in the format of ClimSim: mli, the state before the emulated part, and mlo, after
!! it. CDF-5, dimensions ncol and lev, float64, profiles (lev, ncol), scalars (ncol), and the
!! variables of the published files in their order.
module aqua_climsim_output
  use netcdf, only: nf90_def_dim, nf90_def_var, nf90_double, nf90_enddef, nf90_global, nf90_int, &
                    nf90_put_att, nf90_put_var
  use host_calendar, only: model_time, stamp, tod, ymd
  use aqua_column_table, only: column_table, name_length
  use aqua_constants, only: r8
  use aqua_coordinates, only: write_grid_file
  use netcdf_files, only: attempt, complete, create_beside, discard, netcdf_file
  implicit none (type, external)
  private

  public :: climsim_record, write_climsim_pair, write_grid_file, climsim_file_name

  character(len=*), parameter :: mli_variables(27) = &
    [character(len=name_length) :: 'cam_in_ALDIF', 'cam_in_ALDIR', &
    'cam_in_ASDIF', 'cam_in_ASDIR', 'cam_in_ICEFRAC', 'cam_in_LANDFRAC', 'cam_in_LWUP', &
    'cam_in_OCNFRAC', 'cam_in_SNOWHICE', 'cam_in_SNOWHLAND', 'pbuf_COSZRS', 'pbuf_LHFLX', &
    'pbuf_SHFLX', 'pbuf_SOLIN', 'pbuf_TAUX', 'pbuf_TAUY', 'state_pmid', 'state_ps', 'state_q0001', &
    'state_q0002', 'state_q0003', 'state_t', 'state_u', 'state_v', 'pbuf_CH4', 'pbuf_N2O', &
    'pbuf_ozone']
  character(len=*), parameter :: mlo_variables(14) = &
    [character(len=name_length) :: 'cam_out_FLWDS', 'cam_out_NETSW', &
    'cam_out_PRECC', 'cam_out_PRECSC', 'cam_out_SOLL', 'cam_out_SOLLD', 'cam_out_SOLS', &
    'cam_out_SOLSD', 'state_q0001', 'state_q0002', 'state_q0003', 'state_t', 'state_u', 'state_v']
  character(len=*), parameter :: profiles(10) = [character(len=name_length) :: 'state_pmid', &
    'state_q0001', 'state_q0002', 'state_q0003', 'state_t', 'state_u', 'state_v', 'pbuf_CH4', &
    'pbuf_N2O', 'pbuf_ozone']

  !> Values of one variable.
  type :: climsim_values
    real(r8), allocatable :: of(:, :)        !! [column, level] or [column, 1]; not allocated: not
                                             !! given yet.
    integer :: id = -1                       !! In the file.
  end type climsim_values

  !> What one file will hold. begin, add everything, write; then begin again.
  type :: climsim_record
    private
    character(len=:), allocatable :: kind
    character(len=name_length), allocatable :: names(:)
    type(climsim_values), allocatable :: values(:)
    integer :: n_level = 0
    integer :: n_column = 0
    character(len=:), allocatable :: error   !! The first thing given that does not fit, or ''.
  contains
    procedure :: begin
    procedure, private :: add_profile
    procedure, private :: add_scalar
    generic :: add => add_profile, add_scalar
    procedure :: add_table
    procedure :: write => write_record
    procedure, private :: place
    procedure, private :: create
    procedure, private :: define_variables
    procedure, private :: put_values
  end type climsim_record

contains

  !> ClimSim's name of a file.
  pure function climsim_file_name(kind, time) result(name)
    character(len=*), intent(in) :: kind                  !! mli or mlo
    type(model_time), intent(in) :: time
    character(len=:), allocatable :: name

    name = 'E3SM-MMF.' // kind // '.' // stamp(time) // '.nc'
  end function climsim_file_name

  !> Writes the pair of one step: what the emulated part was given, and the state and fluxes that it
  !! made of it.
  subroutine write_climsim_pair(folder, time, before, made, dt, error)
    character(len=*), intent(in) :: folder
    type(model_time), intent(in) :: time
    type(column_table), intent(in) :: before              !! Has all variables of mli.
    type(column_table), intent(in) :: made                !! Has cam_out_* and ptend_*, all columns.
    real(r8), intent(in) :: dt                            !! [s]
    character(len=:), allocatable, intent(out) :: error
    type(climsim_record) :: mli, mlo
    type(netcdf_file) :: input, output
    integer :: n_level

    n_level = before%width(before%find('state_t'))
    call mli%begin('mli', n_level, before%n_column)
    call mli%add_table(before)
    call mlo%begin('mlo', n_level, before%n_column)
    call mlo%add_table(made)
    call add_state_after(mlo, before, made, dt)
    ! The partners get their names one right after the other: a lone file would stop whoever reads
    ! the folder.
    call mli%create(folder, time, input, error)
    if (len(error) == 0) call mlo%create(folder, time, output, error)
    if (len(error) > 0) then
      if (input%id /= -1) call discard(input)
      return
    end if
    call complete(input, error)
    call complete(output, error)
  end subroutine write_climsim_pair

  !> The state after the emulated part, of the tendencies in made.
  subroutine add_state_after(record, before, made, dt)
    type(climsim_record), intent(inout) :: record
    type(column_table), intent(in) :: before
    type(column_table), intent(in) :: made
    real(r8), intent(in) :: dt
    character(len=*), parameter :: names(6) = [character(len=5) :: 't', 'q0001', 'q0002', 'q0003', &
      'u', 'v']
    real(r8), allocatable :: after(:, :)
    integer :: i

    do i = 1, size(names)
      after = before%section('state_' // trim(names(i))) &
        + dt * made%section('ptend_' // trim(names(i)))
      ! Taking all of a species leaves a little less than nothing, by rounding; ClimSim's files have
      ! no negative water.
      if (names(i)(1:1) == 'q') after = max(after, 0.0_r8)
      call record%add('state_' // trim(names(i)), after)
    end do
  end subroutine add_state_after

  subroutine begin(self, kind, n_level, n_column)
    class(climsim_record), intent(inout) :: self
    character(len=*), intent(in) :: kind                  !! mli or mlo
    integer, intent(in) :: n_level
    integer, intent(in) :: n_column

    self%kind = kind
    self%n_level = n_level
    self%n_column = n_column
    self%error = ''
    if (kind == 'mli') then
      self%names = mli_variables
    else
      self%names = mlo_variables
    end if
    if (allocated(self%values)) deallocate (self%values)
    allocate (self%values(size(self%names)))
  end subroutine begin

  subroutine add_profile(self, name, values)
    class(climsim_record), intent(inout) :: self
    character(len=*), intent(in) :: name
    real(r8), intent(in) :: values(:, :)                  !! [level, column]

    if (any(shape(values) /= [self%n_level, self%n_column])) then
      self%error = name // ' has not the shape (level, column)'
    else
      call self%place(name, transpose(values), any(profiles == name))
    end if
  end subroutine add_profile

  subroutine add_scalar(self, name, values)
    class(climsim_record), intent(inout) :: self
    character(len=*), intent(in) :: name
    real(r8), intent(in) :: values(:)                     !! [column]

    if (size(values) /= self%n_column) then
      self%error = name // ' has not the shape (column)'
    else
      call self%place(name, reshape(values, [size(values), 1]), all(profiles /= name))
    end if
  end subroutine add_scalar

  !> Adds all variables of a table that the file has.
  subroutine add_table(self, table)
    class(climsim_record), intent(inout) :: self
    type(column_table), intent(in) :: table
    integer :: i

    do i = 1, size(table%names)
      if (all(self%names /= table%names(i))) cycle
      associate (first => table%first(i), width => table%width(i))
        if (width > 1) then
          call self%add(trim(table%names(i)), table%values(first:first + width - 1, :))
        else
          call self%add(trim(table%names(i)), table%values(first, :))
        end if
      end associate
    end do
  end subroutine add_table

  subroutine place(self, name, values, fits)
    class(climsim_record), intent(inout) :: self
    character(len=*), intent(in) :: name
    real(r8), intent(in) :: values(:, :)         !! [column, level or 1]
    logical, intent(in) :: fits                  !! The variable is of that kind, profile or scalar.
    integer :: at

    at = findloc(self%names == name, .true., dim=1)
    if (at == 0) then
      self%error = name // ' is no variable of ' // self%kind // ' files'
    else if (.not. fits) then
      self%error = name // ' has the wrong rank'
    else
      self%values(at)%of = values
    end if
  end subroutine place

  !> Writes the file of a time into a folder. error is '' or names the file and what is wrong.
  subroutine write_record(self, folder, time, error)
    class(climsim_record), intent(inout) :: self
    character(len=*), intent(in) :: folder
    type(model_time), intent(in) :: time
    character(len=:), allocatable, intent(out) :: error
    type(netcdf_file) :: file

    call self%create(folder, time, file, error)
    if (len(error) == 0) call complete(file, error)
  end subroutine write_record

  !> Writes everything beside the final name; nothing remains after an error.
  subroutine create(self, folder, time, file, error)
    class(climsim_record), intent(inout) :: self
    character(len=*), intent(in) :: folder
    type(model_time), intent(in) :: time
    type(netcdf_file), intent(out) :: file
    character(len=:), allocatable, intent(out) :: error
    character(len=:), allocatable :: path
    integer :: date, second, i

    path = folder // '/' // climsim_file_name(self%kind, time)
    do i = 1, size(self%names)
      if (.not. allocated(self%values(i)%of) .and. len(self%error) == 0) self%error = &
        trim(self%names(i)) // ' was not given'
    end do
    error = self%error
    if (len(error) > 0) error = path // ': ' // error
    if (len(error) == 0) call create_beside(path, file, error)
    if (len(error) > 0) return
    call self%define_variables(file, date, second, error)
    if (len(error) == 0) call self%put_values(file, error)
    call attempt(error, path, nf90_put_var(file%id, date, ymd(time)))
    call attempt(error, path, nf90_put_var(file%id, second, tod(time)))
    if (len(error) > 0) call discard(file)
  end subroutine create

  subroutine define_variables(self, file, date, second, error)
    class(climsim_record), intent(inout) :: self
    type(netcdf_file), intent(in) :: file
    integer, intent(out) :: date
    integer, intent(out) :: second
    character(len=:), allocatable, intent(inout) :: error
    integer :: column, level, i

    call attempt(error, file%path, nf90_def_dim(file%id, 'ncol', self%n_column, column))
    call attempt(error, file%path, nf90_def_dim(file%id, 'lev', self%n_level, level))
    call attempt(error, file%path, nf90_def_var(file%id, 'ymd', nf90_int, date))
    call attempt(error, file%path, nf90_def_var(file%id, 'tod', nf90_int, second))
    do i = 1, size(self%names)
      if (any(profiles == self%names(i))) then
        call attempt(error, file%path, &
                     nf90_def_var(file%id, trim(self%names(i)), nf90_double, [column, level], &
                                  self%values(i)%id))
      else
        call attempt(error, file%path, nf90_def_var(file%id, trim(self%names(i)), nf90_double, &
                                                    [column], self%values(i)%id))
      end if
    end do
    call attempt(error, file%path, nf90_put_att(file%id, nf90_global, 'calendar', 'NO_LEAP'))
    call attempt(error, file%path, nf90_put_att(file%id, nf90_global, 'source', &
                                                'climlink aquaplanet'))
    call attempt(error, file%path, nf90_enddef(file%id))
  end subroutine define_variables

  subroutine put_values(self, file, error)
    class(climsim_record), intent(in) :: self
    type(netcdf_file), intent(in) :: file
    character(len=:), allocatable, intent(inout) :: error
    integer :: i

    do i = 1, size(self%names)
      associate (values => self%values(i))
        if (any(profiles == self%names(i))) then
          call attempt(error, file%path, nf90_put_var(file%id, values%id, values%of), &
                       trim(self%names(i)))
        else
          call attempt(error, file%path, nf90_put_var(file%id, values%id, values%of(:, 1)), &
                       trim(self%names(i)))
        end if
      end associate
    end do
  end subroutine put_values

end module aqua_climsim_output
