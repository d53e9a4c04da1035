!> Writes pairs in the format of ClimSim: mli, the state before the emulated part, and mlo, after
!! it. CDF-5, dimensions ncol and lev, float64, profiles (lev, ncol), scalars (ncol), and the
!! variables of the published files in their order, which is that of the column tables.
module aqua_climsim_output
  use netcdf, only: nf90_def_dim, nf90_def_var, nf90_double, nf90_enddef, nf90_global, nf90_int, &
                    nf90_put_att, nf90_put_var
  use aqua_column_table, only: column_variable, input_columns, output_columns
  use aqua_constants, only: r8
  use aqua_coordinates, only: write_grid_file
  use host_calendar, only: model_time, stamp, ymd
  use netcdf_files, only: attempt, close_file, complete, create_beside, netcdf_file
  implicit none (type, external)
  private

  public :: write_climsim_pair, write_grid_file, climsim_file_name

  character(len=*), parameter :: tendency = 'ptend_', state = 'state_'

contains

  !> ClimSim's name of a file.
  pure function climsim_file_name(kind, time) result(name)
    character(len=*), intent(in) :: kind                  !! mli or mlo
    type(model_time), intent(in) :: time
    character(len=:), allocatable :: name

    name = 'E3SM-MMF.' // kind // '.' // stamp(time) // '.nc'
  end function climsim_file_name

  !> Writes the pair of one step: what the emulated part was given, and the state and fluxes that it
  !! made of it. error is '' or names the file and what is wrong; nothing remains after an error.
  subroutine write_climsim_pair(folder, time, before, made, dt, error)
    character(len=*), intent(in) :: folder
    type(model_time), intent(in) :: time
    type(input_columns), intent(in) :: before
    type(output_columns), intent(in) :: made
    real(r8), intent(in) :: dt                            !! [s]
    character(len=:), allocatable, intent(out) :: error
    type(column_variable) :: variables(size(made%variables))
    real(r8) :: after(size(made%values, 1), made%n_column)
    type(netcdf_file) :: input, output

    call state_after(before, made, dt, variables, after)
    ! The partners get their names one right after the other: a lone file would stop whoever reads
    ! the folder.
    call create(folder // '/' // climsim_file_name('mli', time), time, before%n_level, &
                before%variables, before%values, input, error)
    if (len(error) == 0) call create(folder // '/' // climsim_file_name('mlo', time), time, &
                                     made%n_level, variables, after, output, error)
    if (len(error) > 0) then
      call close_file(input)
      return
    end if
    call complete(input, error)
    call complete(output, error)
  end subroutine write_climsim_pair

  !> What the emulated part made, with the state after it in place of its tendencies.
  pure subroutine state_after(before, made, dt, variables, after)
    type(input_columns), intent(in) :: before
    type(output_columns), intent(in) :: made
    real(r8), intent(in) :: dt
    type(column_variable), intent(out) :: variables(:)
    real(r8), intent(out) :: after(:, :)                  !! [row, column]
    type(column_variable) :: was
    integer :: i

    variables = made%variables
    after = made%values
    do i = 1, size(variables)
      associate (name => variables(i)%name, first => variables(i)%first, last => variables(i)%last)
        if (index(name, tendency) /= 1) cycle
        name = state // name(len(tendency) + 1:)
        was = before%variables(findloc(before%variables%name, name, dim=1))
        after(first:last, :) = before%values(was%first:was%last, :) + dt * after(first:last, :)
        ! Taking all of a species leaves a little less than nothing, by rounding; ClimSim's files
        ! have no negative water.
        if (was%units /= 'kg/kg') cycle
        after(first:last, :) = max(after(first:last, :), 0.0_r8)
      end associate
    end do
  end subroutine state_after

  !> Writes a file of variables beside its final name; nothing remains after an error.
  subroutine create(path, time, n_level, variables, values, file, error)
    character(len=*), intent(in) :: path
    type(model_time), intent(in) :: time
    integer, intent(in) :: n_level
    type(column_variable), intent(in) :: variables(:)
    real(r8), intent(in) :: values(:, :)                  !! [row, column]
    type(netcdf_file), intent(out) :: file
    character(len=:), allocatable, intent(out) :: error
    integer :: ids(size(variables)), date, second, i

    call create_beside(path, file, error)
    if (len(error) > 0) return
    call define(file, n_level, size(values, 2), variables, ids, date, second, error)
    do i = 1, size(variables)
      associate (of => variables(i))
        ! a scalar's second dimension, of length 1, netCDF does not look at
        call attempt(error, path, nf90_put_var(file%id, ids(i), &
                                               transpose(values(of%first:of%last, :))), &
                     trim(of%name))
      end associate
    end do
    call attempt(error, path, nf90_put_var(file%id, date, ymd(time)))
    call attempt(error, path, nf90_put_var(file%id, second, time%second))
    if (len(error) > 0) call close_file(file)
  end subroutine create

  subroutine define(file, n_level, n_column, variables, ids, date, second, error)
    type(netcdf_file), intent(in) :: file
    integer, intent(in) :: n_level, n_column
    type(column_variable), intent(in) :: variables(:)
    integer, intent(out) :: ids(:), date, second
    character(len=:), allocatable, intent(inout) :: error
    integer :: dimensions(2), i

    call attempt(error, file%path, nf90_def_dim(file%id, 'ncol', n_column, dimensions(1)))
    call attempt(error, file%path, nf90_def_dim(file%id, 'lev', n_level, dimensions(2)))
    call attempt(error, file%path, nf90_def_var(file%id, 'ymd', nf90_int, date))
    call attempt(error, file%path, nf90_def_var(file%id, 'tod', nf90_int, second))
    do i = 1, size(variables)
      call attempt(error, file%path, &
                   nf90_def_var(file%id, trim(variables(i)%name), nf90_double, &
                                dimensions(:merge(2, 1, variables(i)%has_levels)), ids(i)))
    end do
    call attempt(error, file%path, nf90_put_att(file%id, nf90_global, 'calendar', 'NO_LEAP'))
    call attempt(error, file%path, nf90_put_att(file%id, nf90_global, 'source', &
                                                'climlink aquaplanet'))
    call attempt(error, file%path, nf90_enddef(file%id))
  end subroutine define

end module aqua_climsim_output
