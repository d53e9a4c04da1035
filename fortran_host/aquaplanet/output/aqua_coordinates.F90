!> The grid and levels of the model as E3SM's files describe them, with E3SM's names, units and
!! texts; and ClimSim's grid file.
module aqua_coordinates
  use netcdf, only: nf90_def_dim, nf90_double, nf90_enddef, nf90_global, nf90_put_att, nf90_put_var
  use aqua_constants, only: pi, r8
  use aqua_grid, only: gaussian_grid
  use aqua_levels, only: hybrid_levels
  use netcdf_files, only: attempt, complete, create_beside, define_variable, netcdf_file
  implicit none (type, external)
  private

  public :: coordinate_variables, define_coordinates, write_coordinates, write_grid_file

  !> A variable in a file, and its values.
  type :: coordinate
    integer :: id = -1
    real(r8), allocatable :: values(:)
  end type coordinate

  !> Dimensions and variables of the grid in a file.
  type :: coordinate_variables
    integer :: n_column, level, interface               !! Dimensions ncol, lev and ilev.
    type(coordinate), allocatable, private :: all(:)
  end type coordinate_variables

  real(r8), parameter :: degrees = 180.0_r8 / pi
  character(len=*), parameter :: vertical = 'atmosphere_hybrid_sigma_pressure_coordinate'

contains

  !> Defines the dimensions ncol, lev, ilev and the variables on them. The file is in define mode.
  subroutine define_coordinates(file, grid, levels, variables, error)
    class(netcdf_file), intent(in) :: file
    type(gaussian_grid), intent(in) :: grid
    type(hybrid_levels), intent(in) :: levels
    type(coordinate_variables), intent(out) :: variables
    character(len=:), allocatable, intent(inout) :: error

    call attempt(error, file%path, nf90_def_dim(file%id, 'ncol', grid%n_column, variables%n_column))
    call attempt(error, file%path, nf90_def_dim(file%id, 'lev', levels%n_level, variables%level))
    call attempt(error, file%path, nf90_def_dim(file%id, 'ilev', levels%n_level + 1, &
                                                variables%interface))
    if (len(error) > 0) return
    allocate (variables%all(0))
    associate (n_column => variables%n_column, lev => variables%level, &
               ilev => variables%interface)
      call add('P0', [integer ::], 'reference pressure', 'Pa', [levels%p0])
      call add('lat', [n_column], 'latitude', 'degrees_north', &
               grid%column_latitude * degrees)
      call add('lon', [n_column], 'longitude', 'degrees_east', &
               grid%column_longitude * degrees)
      call add('area', [n_column], 'physics grid areas', 'radian2', grid%area)
      call add('lev', [lev], 'hybrid level at midpoints (1000*(A+B))', 'hPa', &
               levels%p0 / 100.0_r8 * (levels%hyam + levels%hybm), &
               'a: hyam b: hybm p0: P0 ps: PS')
      call add('hyam', [lev], 'hybrid A coefficient at layer midpoints', '1', levels%hyam)
      call add('hybm', [lev], 'hybrid B coefficient at layer midpoints', '1', levels%hybm)
      call add('ilev', [ilev], 'hybrid level at interfaces (1000*(A+B))', 'hPa', &
               levels%p0 / 100.0_r8 * (levels%hyai + levels%hybi), &
               'a: hyai b: hybi p0: P0 ps: PS')
      call add('hyai', [ilev], 'hybrid A coefficient at layer interfaces', '1', levels%hyai)
      call add('hybi', [ilev], 'hybrid B coefficient at layer interfaces', '1', levels%hybi)
    end associate

  contains

    !> Defines one variable, a vertical coordinate if there are formula_terms.
    subroutine add(name, dimensions, long_name, units, values, formula_terms)
      character(len=*), intent(in) :: name, long_name, units
      integer, intent(in) :: dimensions(:)
      real(r8), intent(in) :: values(:)
      character(len=*), intent(in), optional :: formula_terms
      type(coordinate) :: added

      added%values = values
      call define_variable(file, name, nf90_double, dimensions, added%id, error, long_name, units)
      variables%all = [variables%all, added]
      if (.not. present(formula_terms)) return
      associate (id => file%id, path => file%path)
        call attempt(error, path, nf90_put_att(id, added%id, 'positive', 'down'))
        call attempt(error, path, nf90_put_att(id, added%id, 'standard_name', vertical))
        call attempt(error, path, nf90_put_att(id, added%id, 'formula_terms', formula_terms))
      end associate
    end subroutine add
  end subroutine define_coordinates

  !> Writes the values of what define_coordinates defined. The file is in data mode.
  subroutine write_coordinates(file, variables, error)
    class(netcdf_file), intent(in) :: file
    type(coordinate_variables), intent(in) :: variables
    character(len=:), allocatable, intent(inout) :: error
    integer :: i

    do i = 1, size(variables%all)
      call attempt(error, file%path, &
                   nf90_put_var(file%id, variables%all(i)%id, variables%all(i)%values))
    end do
  end subroutine write_coordinates

  !> Writes the grid file that belongs to ClimSim pairs. `climlink data prepare` looks for a name
  !! that ends in grid-info.nc.
  subroutine write_grid_file(path, grid, levels, error)
    character(len=*), intent(in) :: path
    type(gaussian_grid), intent(in) :: grid
    type(hybrid_levels), intent(in) :: levels
    character(len=:), allocatable, intent(out) :: error
    type(netcdf_file) :: file
    type(coordinate_variables) :: variables

    call create_beside(path, file, error)
    if (len(error) > 0) return
    call define_coordinates(file, grid, levels, variables, error)
    call attempt(error, path, nf90_put_att(file%id, nf90_global, 'title', &
                                           'grid of the climlink aquaplanet'))
    call attempt(error, path, nf90_enddef(file%id))
    if (len(error) == 0) call write_coordinates(file, variables, error)
    call complete(file, error)
  end subroutine write_grid_file

end module aqua_coordinates
