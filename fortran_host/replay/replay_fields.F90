!> The one table of the replay: what a snapshot gives to a package, and what an mlo file needs of
!! it.
module replay_fields
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink, only: climlink_emulator, climlink_host_fields, climlink_status, climlink_variable
  use climlink_humidity, only: pressure_at_midpoints
  use climsim_files, only: climsim_field, climsim_file, describe_columns, field_index, &
                           hybrid_midpoints, read_field
  implicit none (type, external)
  private

  public :: snapshot_fields

  integer, parameter :: name_length = 16

  !> One variable of an mlo file: an output of the package, or the state that it changes.
  type :: mlo_variable
    character(len=name_length) :: output
    character(len=name_length) :: units            !! Of the output.
    character(len=name_length) :: state = ''       !! Of the snapshot; '': the output itself.
  end type mlo_variable

  !> In the order of the mlo files.
  type(mlo_variable), parameter :: mlo(14) = [ &
    mlo_variable('cam_out_FLWDS', 'W/m2'), mlo_variable('cam_out_NETSW', 'W/m2'), &
    mlo_variable('cam_out_PRECC', 'm/s'), mlo_variable('cam_out_PRECSC', 'm/s'), &
    mlo_variable('cam_out_SOLL', 'W/m2'), mlo_variable('cam_out_SOLLD', 'W/m2'), &
    mlo_variable('cam_out_SOLS', 'W/m2'), mlo_variable('cam_out_SOLSD', 'W/m2'), &
    mlo_variable('ptend_q0001', 'kg/kg/s', 'state_q0001'), &
    mlo_variable('ptend_q0002', 'kg/kg/s', 'state_q0002'), &
    mlo_variable('ptend_q0003', 'kg/kg/s', 'state_q0003'), &
    mlo_variable('ptend_t', 'K/s', 'state_t'), mlo_variable('ptend_u', 'm/s2', 'state_u'), &
    mlo_variable('ptend_v', 'm/s2', 'state_v')]

  !> Made of the three after it where a package takes it. Where there is a grid file, pressure is
  !! made of its coefficients and the surface's.
  character(len=*), parameter :: humidity = 'state_rh', temperature = 'state_t', &
                                 vapor = 'state_q0001', pressure = 'state_pmid', &
                                 surface_pressure = 'state_ps', grid_pressure = 'pressure of grid'

  !> Its large values are a flag (no sea-ice point), as climlink.wrappers.statistics has it.
  character(len=*), parameter :: flagged = 'cam_in_SNOWHICE'
  real(real64), parameter :: flag_from = 1e20_real64

  !> This rank's columns of one snapshot, and of the mlo file that comes of it.
  type :: snapshot_fields
    type(climsim_field), allocatable :: given(:)    !! All of the file; with values where needed.
    type(climsim_field), allocatable :: written(:)  !! In the order of the mlo files.
    type(hybrid_midpoints) :: hybrid                !! Not allocated: pressure is in the file.
  contains
    procedure :: read_snapshot, declare, advance
    procedure, private :: read_values, make_pressure
  end type snapshot_fields

contains

  !> Holds a snapshot against the package and reads what is needed of it. error is '' or names the
  !! file and what is wrong.
  subroutine read_snapshot(self, file, emulator, first, count, error)
    class(snapshot_fields), intent(inout), target :: self
    type(climsim_file), intent(in) :: file
    type(climlink_emulator), intent(in) :: emulator
    integer, intent(in) :: first, count                        !! Columns of this rank.
    character(len=:), allocatable, intent(out) :: error
    type(climlink_host_fields) :: table
    type(climlink_status) :: status
    type(climlink_variable) :: input
    integer :: i

    call describe_columns(file, self%given, error)
    if (len(error) > 0) return
    call prepare(self%written, count, file%n_level)
    call self%declare(table, 1, count)
    call table%check(emulator, status)
    if (.not. status%ok()) then
      error = file%path // ': ' // status%message // '. A replay of single snapshots gives what ' &
              // 'they hold, and ' // humidity // ': nothing of earlier time steps'
      return
    end if
    do i = 1, size(mlo)
      call self%read_values(file, mlo(i)%state, first, count, error)
    end do
    do i = 1, emulator%n_input()
      input = emulator%input(i)
      if (input%role == 'value' .and. input%name /= humidity) then
        call self%read_values(file, input%name, first, count, error)
      end if
    end do
    if (.not. emulator%has_input(humidity)) return
    if (.not. allocated(self%hybrid%hyam)) then
      call self%read_values(file, pressure, first, count, error)
    else
      call self%read_values(file, surface_pressure, first, count, error)
      if (len(error) == 0) call self%make_pressure()
    end if
  end subroutine read_snapshot

  !> Makes room for what an mlo file holds.
  pure subroutine prepare(written, n_column, n_level)
    type(climsim_field), allocatable, intent(out) :: written(:)
    integer, intent(in) :: n_column, n_level
    integer :: i

    allocate (written(size(mlo)))
    do i = 1, size(mlo)
      written(i)%is_profile = len_trim(mlo(i)%state) > 0
      written(i)%name = trim(merge(mlo(i)%state, mlo(i)%output, written(i)%is_profile))
      allocate (written(i)%values(n_column, merge(n_level, 1, written(i)%is_profile)))
    end do
  end subroutine prepare

  !> Reads a variable, once, unless something failed before.
  subroutine read_values(self, file, name, first, count, error)
    class(snapshot_fields), intent(inout) :: self
    type(climsim_file), intent(in) :: file
    character(len=*), intent(in) :: name                       !! '': nothing.
    integer, intent(in) :: first, count
    character(len=:), allocatable, intent(inout) :: error
    integer :: at

    if (len(error) > 0 .or. len_trim(name) == 0) return
    at = field_index(self%given, name)
    if (at == 0) then
      error = file%path // ': a replay needs ' // trim(name) // ', which the file does not hold'
    else if (allocated(self%given(at)%values)) then
      return
    else if (name == flagged) then
      call read_field(file, first, count, self%given(at), error, flag_from)
    else
      call read_field(file, first, count, self%given(at), error)
    end if
  end subroutine read_values

  !> The table of some of this rank's columns.
  subroutine declare(self, table, first, last)
    class(snapshot_fields), intent(inout), target :: self
    type(climlink_host_fields), intent(inout) :: table
    integer, intent(in) :: first, last
    integer :: i

    call table%begin(last - first + 1)
    do i = 1, size(self%given)
      associate (field => self%given(i))
        if (field%name /= humidity) call add(table, field, field%name, field%units, first, last)
      end associate
    end do
    if (field_index(self%given, grid_pressure) > 0) then
      call table%add_relative_humidity(humidity, temperature, vapor, grid_pressure)
    else
      call table%add_relative_humidity(humidity, temperature, vapor, pressure)
    end if
    do i = 1, size(mlo)
      call add(table, self%written(i), mlo(i)%output, mlo(i)%units, first, last, taken=.true.)
    end do
  end subroutine declare

  !> Adds columns of a field; one that has not been read is only declared.
  subroutine add(table, field, name, units, first, last, taken)
    type(climlink_host_fields), intent(inout) :: table
    type(climsim_field), intent(in), target :: field
    character(len=*), intent(in) :: name, units
    integer, intent(in) :: first, last
    logical, intent(in), optional :: taken

    if (.not. allocated(field%values)) then
      call table%add_field(name, units, trim(merge('sample level', 'sample      ', &
                                                   field%is_profile)))
    else if (field%is_profile) then
      call table%add_profile(name, units, field%values(first:last, :), taken)
    else
      call table%add_scalar(name, units, field%values(first:last, 1), taken)
    end if
  end subroutine add

  !> Adds the pressure at midpoints that the grid file's coefficients give.
  subroutine make_pressure(self)
    class(snapshot_fields), intent(inout) :: self
    type(climsim_field) :: made

    made%name = grid_pressure
    made%units = 'Pa'
    made%is_profile = .true.
    associate (surface => self%given(field_index(self%given, surface_pressure))%values, &
               hybrid => self%hybrid)
      made%values = pressure_at_midpoints(hybrid%p0, hybrid%hyam, hybrid%hybm, surface(:, 1))
    end associate
    self%given = [self%given, made]
  end subroutine make_pressure

  !> Turns the tendencies that the table received into the states after one time step.
  subroutine advance(self, time_step)
    class(snapshot_fields), intent(inout) :: self
    real(real64), intent(in) :: time_step                      !! Of the replay [s].
    integer :: i

    do i = 1, size(self%written)
      if (.not. self%written(i)%is_profile) cycle
      associate (before => self%given(field_index(self%given, self%written(i)%name))%values, &
                 after => self%written(i)%values)
        after = before + time_step * after
      end associate
    end do
  end subroutine advance

end module replay_fields
