!> Reads ClimSim snapshot files (mli) and the grid file: netCDF with dimensions ncol and lev,
!! profiles (lev, ncol), scalars (ncol).
!!
!! Every rank reads its own columns. Errors are texts that name file and variable; '' means none.
module climsim_files
  use, intrinsic :: ieee_arithmetic, only: ieee_is_finite
  use, intrinsic :: iso_fortran_env, only: int64, real64
  use netcdf, only: nf90_double, nf90_float, nf90_get_att, nf90_get_var, nf90_inq_varid, &
                    nf90_inquire, nf90_inquire_attribute, nf90_inquire_dimension, &
                    nf90_inquire_variable, nf90_max_name, nf90_max_var_dims, nf90_noerr
  use cf_values, only: apply_attributes, is_packed
  use netcdf_files, only: close_file, find_dimension, netcdf_file, open_whole, problem
  implicit none (type, external)
  private

  public :: climsim_file, climsim_field, hybrid_midpoints
  public :: open_climsim_file, describe_columns, read_field, read_integer, read_hybrid_midpoints, &
            field_index

  !> An opened snapshot.
  type, extends(netcdf_file) :: climsim_file
    integer :: n_column = 0
    integer :: n_level = 0
    integer :: column_dimension = -1
    integer :: level_dimension = -1
  end type climsim_file

  !> Some columns of one variable.
  type :: climsim_field
    character(len=:), allocatable :: name
    character(len=:), allocatable :: units          !! '' if the file does not say.
    logical :: is_profile = .false.
    real(real64), allocatable :: values(:, :)       !! [column, level], or [column, 1] for scalars.
  end type climsim_field

  !> Hybrid coefficients at level midpoints: p = p0 * hyam + hybm * ps.
  type :: hybrid_midpoints
    real(real64) :: p0 = 0.0_real64                 !! [Pa]
    real(real64), allocatable :: hyam(:)            !! [level]
    real(real64), allocatable :: hybm(:)            !! [level]
  end type hybrid_midpoints

contains

  subroutine open_climsim_file(path, file, error)
    character(len=*), intent(in) :: path
    type(climsim_file), intent(out) :: file
    character(len=:), allocatable, intent(out) :: error

    call open_whole(path, file%netcdf_file, error)
    if (len(error) > 0) return
    call find_dimension(file, 'ncol', file%n_column, error, file%column_dimension)
    call find_dimension(file, 'lev', file%n_level, error, file%level_dimension)
  end subroutine open_climsim_file

  !> Names, units and shapes of the variables of columns, in the order of the file; no values.
  subroutine describe_columns(file, fields, error)
    type(climsim_file), intent(in) :: file
    type(climsim_field), allocatable, intent(out) :: fields(:)
    character(len=:), allocatable, intent(out) :: error
    type(climsim_field) :: field
    character(len=nf90_max_name) :: name
    integer :: dimensions(nf90_max_var_dims), variable, n_variable, n_dimension

    allocate (fields(0))
    error = problem(file%path, nf90_inquire(file%id, nvariables=n_variable))
    if (len(error) > 0) return
    do variable = 1, n_variable
      error = problem(file%path, nf90_inquire_variable(file%id, variable, name=name, &
                                                       ndims=n_dimension, dimids=dimensions))
      if (len(error) > 0) return
      if (all(dimensions(:n_dimension) /= file%column_dimension)) cycle
      field%name = trim(name)
      field%is_profile = any(dimensions(:n_dimension) == file%level_dimension)
      call read_units(file, variable, field%units)
      fields = [fields, field]
    end do
  end subroutine describe_columns

  !> Reads columns first .. first+count-1 of a field that was described; count may be 0, the
  !! variable is then only checked. Packed values are unpacked; fill values, and values outside the
  !! variable's own limits, are errors. Values from flag_from on are a flag.
  subroutine read_field(file, first, count, field, error, flag_from)
    type(climsim_file), intent(in) :: file
    integer, intent(in) :: first, count
    type(climsim_field), intent(inout) :: field
    character(len=:), allocatable, intent(out) :: error
    real(real64), intent(in), optional :: flag_from
    character(len=6) :: axes(2)
    integer :: variable, n_level

    call find_variable(file, field%name, variable, field%is_profile, error)
    if (len(error) > 0) return
    n_level = merge(file%n_level, 1, field%is_profile)
    allocate (field%values(count, n_level))
    if (count == 0) return
    ! Of a variable with fewer dimensions, netCDF takes the first of start and count only.
    error = problem(file%path, nf90_get_var(file%id, variable, field%values, start=[first, 1], &
                                            count=[count, n_level]), field%name)
    if (len(error) > 0) return
    axes = ['column', merge('level ', '      ', field%is_profile)]
    call apply_attributes(file, variable, field%name, axes, first, field%values, error, flag_from)
  end subroutine read_field

  !> Reads an integer without dimensions, such as ymd.
  subroutine read_integer(file, name, value, error)
    type(climsim_file), intent(in) :: file
    character(len=*), intent(in) :: name
    integer, intent(out) :: value
    character(len=:), allocatable, intent(out) :: error
    integer :: variable

    value = 0
    error = problem(file%path, nf90_inq_varid(file%id, name, variable), name)
    if (len(error) == 0) error = problem(file%path, nf90_get_var(file%id, variable, value), name)
  end subroutine read_integer

  !> Reads P0, hyam and hybm of the grid file.
  subroutine read_hybrid_midpoints(path, hybrid, error)
    character(len=*), intent(in) :: path
    type(hybrid_midpoints), intent(out) :: hybrid
    character(len=:), allocatable, intent(out) :: error
    type(climsim_file) :: file
    real(real64) :: p0(1)

    call open_climsim_file(path, file, error)
    if (len(error) == 0) then
      allocate (hybrid%hyam(file%n_level), hybrid%hybm(file%n_level))
      call read_coefficients(file, 'hyam', 'level', hybrid%hyam, error)
    end if
    if (len(error) == 0) call read_coefficients(file, 'hybm', 'level', hybrid%hybm, error)
    if (len(error) == 0) call read_coefficients(file, 'P0', '', p0, error)
    if (len(error) == 0) hybrid%p0 = p0(1)
    call close_file(file)
  end subroutine read_hybrid_midpoints

  !> Position of a field in a list, 0 if it is not there.
  pure function field_index(fields, name) result(position)
    type(climsim_field), intent(in) :: fields(:)
    character(len=*), intent(in) :: name
    integer :: position

    do position = size(fields), 1, -1
      if (fields(position)%name == name) return
    end do
    position = 0
  end function field_index

  !> Finds a floating-point or packed variable with dimensions (lev, ncol) or (ncol), perhaps after
  !! a time of length 1.
  subroutine find_variable(file, name, variable, is_profile, error)
    type(climsim_file), intent(in) :: file
    character(len=*), intent(in) :: name
    integer, intent(out) :: variable
    logical, intent(out) :: is_profile
    character(len=:), allocatable, intent(out) :: error
    integer :: dimensions(nf90_max_var_dims), n_dimension, kind_of_number, code

    is_profile = .false.
    error = problem(file%path, nf90_inq_varid(file%id, name, variable), name)
    if (len(error) > 0) return
    code = nf90_inquire_variable(file%id, variable, xtype=kind_of_number, ndims=n_dimension, &
                                 dimids=dimensions)
    error = problem(file%path, code, name)
    if (len(error) == 0) call leave_time_out(file, name, dimensions, n_dimension, error)
    if (len(error) > 0) return
    ! Fortran sees the dimensions of a file in reverse order.
    if (n_dimension == 2) is_profile = all(dimensions(:2) == [file%column_dimension, &
                                                              file%level_dimension])
    if (.not. is_profile &
        .and. .not. (n_dimension == 1 .and. dimensions(1) == file%column_dimension)) then
      error = file%path // ': ' // name // ': expected dimensions (lev, ncol) or (ncol), found (' &
              // dimension_names(file, dimensions(:n_dimension)) // ')'
    else if (kind_of_number /= nf90_double .and. kind_of_number /= nf90_float .and. &
             .not. is_packed(file, variable)) then
      error = file%path // ': ' // name // ': expected floating-point numbers, or integers with ' &
              // 'scale_factor and add_offset'
    end if
  end subroutine find_variable

  !> Takes away the outermost dimension if it is time; a file holds one time.
  subroutine leave_time_out(file, name, dimensions, n_dimension, error)
    type(climsim_file), intent(in) :: file
    character(len=*), intent(in) :: name
    integer, intent(in) :: dimensions(:)
    integer, intent(inout) :: n_dimension
    character(len=:), allocatable, intent(out) :: error
    character(len=nf90_max_name) :: dimension_name
    character(len=12) :: number
    integer :: n_time

    error = ''
    if (n_dimension < 1) return
    error = problem(file%path, nf90_inquire_dimension(file%id, dimensions(n_dimension), &
                                                      name=dimension_name, len=n_time), name)
    if (len(error) > 0 .or. dimension_name /= 'time') return
    n_dimension = n_dimension - 1
    if (n_time == 1) return
    write (number, '(i0)') n_time
    error = file%path // ': ' // name // ': holds ' // trim(number) // &
            ' times; expected one time per file: split the file by time'
  end subroutine leave_time_out

  function dimension_names(file, dimensions) result(names)
    type(climsim_file), intent(in) :: file
    integer, intent(in) :: dimensions(:)
    character(len=:), allocatable :: names
    character(len=nf90_max_name) :: name
    integer :: i

    names = ''
    do i = size(dimensions), 1, -1
      if (nf90_inquire_dimension(file%id, dimensions(i), name=name) /= nf90_noerr) name = '?'
      names = names // trim(name)
      if (i > 1) names = names // ', '
    end do
  end function dimension_names

  subroutine read_units(file, variable, units)
    type(climsim_file), intent(in) :: file
    integer, intent(in) :: variable
    character(len=:), allocatable, intent(out) :: units
    integer :: length

    units = ''
    if (nf90_inquire_attribute(file%id, variable, 'units', len=length) /= nf90_noerr) return
    units = repeat(' ', length)
    if (nf90_get_att(file%id, variable, 'units', units) /= nf90_noerr) units = ''
    units = trim(units)
  end subroutine read_units

  !> Reads a variable without columns; also values that are not finite are errors.
  subroutine read_coefficients(file, name, axis, values, error)
    type(climsim_file), intent(in) :: file
    character(len=*), intent(in) :: name
    character(len=*), intent(in) :: axis            !! What a message counts; '' for one number.
    real(real64), intent(out) :: values(:)
    character(len=:), allocatable, intent(out) :: error
    character(len=6) :: axes(2)
    real(real64) :: columns(size(values), 1)
    integer :: variable

    columns = 0.0_real64
    axes(1) = axis
    axes(2) = ''
    error = problem(file%path, nf90_inq_varid(file%id, name, variable), name)
    if (len(error) == 0) error = problem(file%path, nf90_get_var(file%id, variable, columns), name)
    if (len(error) == 0) call apply_attributes(file, variable, name, axes, 1, columns, error)
    values = columns(:, 1)
    if (len(error) == 0 .and. .not. all(ieee_is_finite(values))) then
      error = file%path // ': ' // name // ': not all values are finite'
    end if
  end subroutine read_coefficients

end module climsim_files
