!> The grid and levels of the model as E3SM's files describe them, with E3SM's names, units and
!! texts; and ClimSim's grid file.
module aqua_coordinates
  use netcdf, only: nf90_def_dim, nf90_def_var, nf90_double, nf90_enddef, nf90_global, &
                    nf90_put_att, nf90_put_var
  use aqua_constants, only: pi, r8
  use aqua_grid, only: gaussian_grid
  use aqua_levels, only: hybrid_levels
  use netcdf_files, only: attempt, complete, create_beside, netcdf_file
  implicit none (type, external)
  private

  public :: coordinate_variables, define_coordinates, write_coordinates, write_grid_file

  !> Dimensions and variables of the grid in a file.
  type :: coordinate_variables
    integer :: n_column, level, interface               !! Dimensions ncol, lev and ilev.
    integer :: lat, lon, area                           !! Variables (ncol)
    integer :: lev, hyam, hybm                          !! Variables (lev)
    integer :: ilev, hyai, hybi                         !! Variables (ilev)
    integer :: p0                                       !! Variable without dimensions.
  end type coordinate_variables

  real(r8), parameter :: degrees = 180.0_r8 / pi
  character(len=*), parameter :: vertical = 'atmosphere_hybrid_sigma_pressure_coordinate'

contains

  !> Defines the dimensions ncol, lev, ilev and the variables on them. The file is in define mode.
  subroutine define_coordinates(file, grid, levels, variables, error)
    type(netcdf_file), intent(in) :: file
    type(gaussian_grid), intent(in) :: grid
    type(hybrid_levels), intent(in) :: levels
    type(coordinate_variables), intent(out) :: variables
    character(len=:), allocatable, intent(inout) :: error

    call attempt(error, file%path, nf90_def_dim(file%id, 'ncol', grid%n_column, variables%n_column))
    call attempt(error, file%path, nf90_def_dim(file%id, 'lev', levels%n_level, variables%level))
    call attempt(error, file%path, nf90_def_dim(file%id, 'ilev', levels%n_level + 1, &
                                                variables%interface))
    if (len(error) > 0) return
    associate (v => variables)
      call define(file, 'P0', [integer ::], 'reference pressure', 'Pa', v%p0, error)
      call define(file, 'lat', [v%n_column], 'latitude', 'degrees_north', v%lat, error)
      call define(file, 'lon', [v%n_column], 'longitude', 'degrees_east', v%lon, error)
      call define(file, 'area', [v%n_column], 'physics grid areas', 'radian2', v%area, error)
      call define(file, 'lev', [v%level], 'hybrid level at midpoints (1000*(A+B))', 'hPa', v%lev, &
                  error)
      call describe_vertical(file, v%lev, 'a: hyam b: hybm p0: P0 ps: PS', error)
      call define(file, 'hyam', [v%level], 'hybrid A coefficient at layer midpoints', '1', v%hyam, &
                  error)
      call define(file, 'hybm', [v%level], 'hybrid B coefficient at layer midpoints', '1', v%hybm, &
                  error)
      call define(file, 'ilev', [v%interface], 'hybrid level at interfaces (1000*(A+B))', 'hPa', &
                  v%ilev, error)
      call describe_vertical(file, v%ilev, 'a: hyai b: hybi p0: P0 ps: PS', error)
      call define(file, 'hyai', [v%interface], 'hybrid A coefficient at layer interfaces', '1', &
                  v%hyai, error)
      call define(file, 'hybi', [v%interface], 'hybrid B coefficient at layer interfaces', '1', &
                  v%hybi, error)
    end associate
  end subroutine define_coordinates

  subroutine define(file, name, dimensions, long_name, units, variable, error)
    type(netcdf_file), intent(in) :: file
    character(len=*), intent(in) :: name, long_name, units
    integer, intent(in) :: dimensions(:)
    integer, intent(out) :: variable
    character(len=:), allocatable, intent(inout) :: error

    call attempt(error, file%path, nf90_def_var(file%id, name, nf90_double, dimensions, variable), &
                 name)
    call attempt(error, file%path, nf90_put_att(file%id, variable, 'long_name', long_name), name)
    call attempt(error, file%path, nf90_put_att(file%id, variable, 'units', units), name)
  end subroutine define

  subroutine describe_vertical(file, variable, formula_terms, error)
    type(netcdf_file), intent(in) :: file
    integer, intent(in) :: variable
    character(len=*), intent(in) :: formula_terms
    character(len=:), allocatable, intent(inout) :: error

    call attempt(error, file%path, nf90_put_att(file%id, variable, 'positive', 'down'))
    call attempt(error, file%path, nf90_put_att(file%id, variable, 'standard_name', vertical))
    call attempt(error, file%path, nf90_put_att(file%id, variable, 'formula_terms', formula_terms))
  end subroutine describe_vertical

  !> Writes the values of what define_coordinates defined. The file is in data mode.
  subroutine write_coordinates(file, grid, levels, variables, error)
    type(netcdf_file), intent(in) :: file
    type(gaussian_grid), intent(in) :: grid
    type(hybrid_levels), intent(in) :: levels
    type(coordinate_variables), intent(in) :: variables
    character(len=:), allocatable, intent(inout) :: error
    real(r8) :: latitude(grid%n_column), longitude(grid%n_column)
    integer :: i, j

    latitude = [((grid%latitude(j) * degrees, i = 1, grid%n_lon), j = 1, grid%n_lat)]
    longitude = [((grid%longitude(i) * degrees, i = 1, grid%n_lon), j = 1, grid%n_lat)]
    associate (v => variables, id => file%id, path => file%path)
      call attempt(error, path, nf90_put_var(id, v%p0, levels%p0))
      call attempt(error, path, nf90_put_var(id, v%lat, latitude))
      call attempt(error, path, nf90_put_var(id, v%lon, longitude))
      call attempt(error, path, nf90_put_var(id, v%area, grid%area))
      call attempt(error, path, &
                   nf90_put_var(id, v%lev, levels%p0 / 100.0_r8 * (levels%hyam + levels%hybm)))
      call attempt(error, path, nf90_put_var(id, v%hyam, levels%hyam))
      call attempt(error, path, nf90_put_var(id, v%hybm, levels%hybm))
      call attempt(error, path, &
                   nf90_put_var(id, v%ilev, levels%p0 / 100.0_r8 * (levels%hyai + levels%hybi)))
      call attempt(error, path, nf90_put_var(id, v%hyai, levels%hyai))
      call attempt(error, path, nf90_put_var(id, v%hybi, levels%hybi))
    end associate
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
    if (len(error) == 0) call write_coordinates(file, grid, levels, variables, error)
    call complete(file, error)
  end subroutine write_grid_file

end module aqua_coordinates
